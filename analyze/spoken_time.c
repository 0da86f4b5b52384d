/* spoken_time.c: see spoken_time.h.  An hour without "am" or "pm" is taken within the working day, 7:00 to 18:59. */
#include "analyze/spoken_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORDS_MAX 400
#define WORD_BYTES_MAX 24
#define WORKING_DAY_FIRST_HOUR 7

static const char *const weekdays[] = { "monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday" };
static const char *const numbers[] = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
                                       "twelve" };
static const struct {
    const char *word;
    int minute;
} minutes[] = { { "thirty", 30 }, { "fifteen", 15 }, { "forty", 40 }, { "twenty", 20 }, { "ten", 10 }, { "00", 0 }, { "15", 15 }, { "30", 30 },
                { "45", 45 } };

struct words {
    char word[WORDS_MAX][WORD_BYTES_MAX];
    int count;
};

static void split(const char *text, struct words *words)
{
    for (const char *at = text; *at && words->count < WORDS_MAX;) {
        size_t bytes = strcspn(at, " ");
        if (bytes > 0)
            snprintf(words->word[words->count++], WORD_BYTES_MAX, "%.*s", (int)(bytes < WORD_BYTES_MAX ? bytes : WORD_BYTES_MAX - 1), at);
        at += bytes + (at[bytes] == ' ');
    }
}

static const char *word(const struct words *words, int at)
{
    return at >= 0 && at < words->count ? words->word[at] : "";
}

static bool is(const struct words *words, int at, const char *expected)
{
    return strcmp(word(words, at), expected) == 0;
}

static int hour_of(const char *said)
{
    for (int i = 1; i < (int)LENGTH(numbers); i++)
        if (strcmp(said, numbers[i]) == 0)
            return i;
    int number = atoi(said);
    return number >= 1 && number <= 23 && strlen(said) <= 2 ? number : -1;
}

static void hear_day(struct spoken_time *time, const struct words *words, int at, int weekday)
{
    if (is(words, at, "today") || is(words, at, "tonight")) {
        time->days_ahead = 0;
        time->has_day = true;
    } else if (is(words, at, "tomorrow")) {
        time->days_ahead = is(words, at - 2, "day") && is(words, at - 1, "after") ? 2 : 1;
        time->has_day = true;
    }
    for (int i = 0; i < (int)LENGTH(weekdays); i++)
        if (is(words, at, weekdays[i])) {
            int ahead = (i + 1 - weekday + 7) % 7;
            time->days_ahead = ahead == 0 || (is(words, at - 1, "next") && ahead < 2) ? ahead + 7 : ahead;
            time->has_day = true;
        }
}

static bool is_morning(const struct words *words, int at)
{
    return is(words, at, "am") || (is(words, at, "a") && is(words, at + 1, "m")) || (is(words, at, "in") && is(words, at + 2, "morning"));
}

static bool is_afternoon(const struct words *words, int at)
{
    return is(words, at, "pm") || (is(words, at, "p") && is(words, at + 1, "m"))
           || (is(words, at, "in") && (is(words, at + 2, "afternoon") || is(words, at + 2, "evening")));
}

/* A number is an hour when it is said as one: after "at", "half past", or before "o'clock", "am", "pm", "in the morning". */
static void hear_hour(struct spoken_time *time, const struct words *words, int at)
{
    int hour = hour_of(word(words, at)), minute = 0, next = at + 1;
    if (hour < 0)
        return;
    bool after_at = is(words, at - 1, "at") || is(words, at - 1, "around") || is(words, at - 1, "by");
    bool half = is(words, at - 2, "half") && is(words, at - 1, "past");
    bool quarter = is(words, at - 2, "quarter") && is(words, at - 1, "past");
    for (size_t i = 0; i < LENGTH(minutes) && !half && !quarter; i++)
        if (is(words, next, minutes[i].word)) {
            minute = minutes[i].minute;
            next++;
            break;
        }
    bool clock = is(words, next, "oclock") || is(words, next, "clock") || (is(words, next, "o") && is(words, next + 1, "clock"));
    if (clock)
        next += is(words, next, "o") ? 2 : 1;
    bool morning = is_morning(words, next), afternoon = is_afternoon(words, next);
    if (!after_at && !half && !quarter && !clock && !morning && !afternoon)
        return;
    if ((afternoon && hour < 12) || (!morning && !afternoon && hour < WORKING_DAY_FIRST_HOUR))
        hour += 12;
    if (morning && hour == 12)
        hour = 0;
    time->hour = hour;
    time->minute = half ? 30 : quarter ? 15 : minute;
    time->has_hour = true;
}

void spoken_time_hear(struct spoken_time *time, const char *text, const char *said_at, int weekday)
{
    struct words words = { .count = 0 };
    split(text, &words);
    snprintf(time->said_on, sizeof(time->said_on), "%.10s", said_at);
    for (int at = 0; at < words.count; at++) {
        hear_day(time, &words, at, weekday);
        hear_hour(time, &words, at);
    }
}

bool spoken_time_is_whole(const struct spoken_time *time)
{
    return time->has_day && time->has_hour;
}

const char *spoken_time_print(const struct spoken_time *time, struct arena *arena)
{
    char midnight[32], day[TIME_BYTES];
    int64_t us;
    snprintf(midnight, sizeof(midnight), "%sT00:00:00Z", time->said_on);
    if (!time_read(text_of(midnight), &us))
        return NULL;
    time_print(us + (int64_t)time->days_ahead * 24 * 3600 * 1000000, day);
    return arena_printf(arena, "%.10sT%02d:%02d:00", day, time->hour, time->minute);
}
