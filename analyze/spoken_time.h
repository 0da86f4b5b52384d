/* spoken_time.h: "tomorrow at ten", "tuesday at half past two in the afternoon", "3 pm": a day and an hour out of
 * spoken words. Days of a month ("the twenty fourth") are not understood, and nothing is made up for them. */
#pragma once

#include "common/arena.h"

struct spoken_time {
    bool has_day, has_hour;
    int days_ahead;                 /* of the day on which it is said */
    int hour, minute;
    char said_on[16];               /* that day: YYYY-MM-DD */
};

/* Hears words (lower case, parted by blanks, as in words.h); later ones replace earlier ones.  `until_whole`: but no
 * more once a day and an hour are known.  `said_at` is local wall-clock time ("2026-11-21T09:30"), `weekday` its
 * day, 1 Monday … 7 Sunday. */
void spoken_time_hear(struct spoken_time *time, struct text words, bool until_whole, const char *said_at, int weekday);
bool spoken_time_is_whole(const struct spoken_time *time);
/* Local wall-clock time, "2026-11-24T10:00:00". */
const char *spoken_time_print(const struct spoken_time *time, struct arena *arena);
