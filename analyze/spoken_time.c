/* spoken_time.c: see spoken_time.h.  An hour without "am", "pm" or a part of the day is taken within the working
 * day, 7:00 to 18:59. */
#include "analyze/spoken_time.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORKING_DAY_FIRST_HOUR 7
#define BEHIND 5                        /* words seen before and after the one that is heard */
#define AHEAD 8

static const char *const weekdays[] = { "monday", "tuesday",  "wednesday", "thursday",
                                        "friday", "saturday", "sunday",    NULL };
static const char *const numbers[] = { "zero",     "one",      "two",      "three",   "four",    "five",
                                       "six",      "seven",    "eight",    "nine",    "ten",     "eleven",
                                       "twelve",   "thirteen", "fourteen", "fifteen", "sixteen", "seventeen",
                                       "eighteen", "nineteen", NULL };
static const char *const tens[] = { "zero",  "ten",     "twenty", "thirty", "forty", "fifty",
                                    "sixty", "seventy", "eighty", "ninety", NULL };
/* Behind a number these say that it is no hour: "at two hundred", "around ten days", "at twelve oak street". */
static const char *const units[] = { "hundred", "thousand", "dollars", "dollar", "bucks", "cents",  "percent", "hours",
                                     "hour",    "minutes",  "minute",  "days",   "day",   "weeks",  "week",    "months",
                                     "month",   "years",    "year",    "miles",  "feet",  "people", "times",   "time",
                                     "point",   "of",       "st",      "nd",     "rd",    "th",     NULL };
static const char *const streets[] = { "street",    "avenue", "ave",   "road",    "lane", "drive",
                                       "boulevard", "court",  "place", "highway", NULL };
static const char *const before_hour[] = { "at", "around", "by", NULL };
static const char *const days[] = { "today",    "tomorrow", "monday",   "tuesday", "wednesday",
                                    "thursday", "friday",   "saturday", "sunday",  NULL };
static const char *const late[] = { "afternoon", "evening", "night", "tonight", "pm", NULL };
static const char *const early[] = { "morning", "am", NULL };

/* What is heard, with what stands around it; absent words beyond the ends. */
struct window {
    struct text words[BEHIND + 1 + AHEAD];
};

static struct text word(const struct window *window, int at)
{
    return window->words[BEHIND + at];
}

static bool is(const struct window *window, int at, const char *expected)
{
    return text_is(word(window, at), expected);
}

/* Where the word stands in the list; -1: nowhere. */
static int place(const struct window *window, int at, const char *const *list)
{
    for (int i = 0; list[i]; i++)
        if (is(window, at, list[i]))
            return i;
    return -1;
}

static bool is_one_of(const struct window *window, int at, const char *const *list)
{
    return place(window, at, list) >= 0;
}

/* A number below 100 in digits or words ("45", "five", "forty five"), and how many words it has: 0 when there is
 * none. */
static int number_at(const struct window *window, int at, int *ret)
{
    struct text said = word(window, at);
    if (said.bytes > 0 && said.bytes <= 2 && said.at[0] >= '0' && said.at[0] <= '9') {
        *ret = atoi((char[]){ said.at[0], said.bytes > 1 ? said.at[1] : '\0', '\0' });
        return 1;
    }
    *ret = place(window, at, numbers);
    if (*ret >= 0)
        return 1;
    *ret = place(window, at, tens) * 10;
    if (*ret < 0)
        return 0;
    int unit = place(window, at + 1, numbers);
    *ret += unit > 0 && unit < 10 ? unit : 0;
    return unit > 0 && unit < 10 ? 2 : 1;
}

static bool is_number(const struct window *window, int at)
{
    int number;
    struct text said = word(window, at);
    return number_at(window, at, &number) > 0 || is(window, at, "oh")
           || (said.bytes > 0 && said.at[0] >= '0' && said.at[0] <= '9');
}

/* Minutes behind an hour: "thirty", "forty five", "oh five", "05"; how many words that is. */
static int minutes_at(const struct window *window, int at, int *ret)
{
    if ((is(window, at, "oh") || is(window, at, "o")) && number_at(window, at + 1, ret) == 1 && *ret > 0 && *ret < 10)
        return 2;
    int words = number_at(window, at, ret);
    bool two_digits = *ret >= 10 || (words > 0 && word(window, at).at[0] == '0');
    return words > 0 && two_digits && *ret < 60 ? words : 0;
}

static void hear_day(struct spoken_time *time, const struct window *window, int weekday)
{
    int ahead, day = place(window, 0, weekdays);
    if (is(window, 0, "today") || is(window, 0, "tonight")) {
        ahead = 0;
    } else if (is(window, 0, "tomorrow")) {
        ahead = is(window, -2, "day") && is(window, -1, "after") ? 2 : 1;
    } else if (day >= 0 && !is(window, -1, "last")) {
        bool next_week = (is(window, 1, "next") && is(window, 2, "week"))
                         || (is(window, -2, "next") && is(window, -1, "week"))
                         || (is(window, -3, "next") && is(window, -2, "week"));
        ahead = (day + 1 - weekday + 7) % 7;
        if (next_week)
            ahead = day + 1 - weekday + 7;
        else if (ahead == 0 || (is(window, -1, "next") && ahead == 1))
            ahead += 7;
    } else {
        return;
    }
    time->days_ahead = ahead;
    time->has_day = true;
}

/* Which part of the day is said behind the hour: "pm", "p m", "in the afternoon", "tomorrow evening"; 1 late, -1
 * early, 0 none. */
static int part_behind(const struct window *window, int at)
{
    bool spelled = is(window, at + 1, "m");
    if (spelled && (is(window, at, "p") || is(window, at, "a")))
        return is(window, at, "p") ? 1 : -1;
    for (int i = at; i < at + 4 && i <= AHEAD; i++) {
        if (is_one_of(window, i, late) || is_one_of(window, i, early))
            return is_one_of(window, i, late) ? 1 : -1;
        if (!is(window, i, "in") && !is(window, i, "the") && !is(window, i, "this") && !is(window, i, "on")
            && !is(window, i, "tomorrow") && !is_one_of(window, i, weekdays))
            return 0;
    }
    return 0;
}

/* And before it: "tomorrow evening at seven". */
static int part_before(const struct window *window, int at)
{
    return is_one_of(window, at, late) ? 1 : is_one_of(window, at, early) ? -1 : 0;
}

static bool is_o_clock(const struct window *window, int at, int *ret_words)
{
    *ret_words = is(window, at, "oclock") ? 1 : is(window, at, "o") && is(window, at + 1, "clock") ? 2 : 0;
    return *ret_words > 0;
}

/* "twelve north oak street", but not "twelve on oak street". */
static bool is_address(const struct window *window, int at)
{
    for (int i = at; i < at + 3 && i <= AHEAD; i++) {
        if (is_one_of(window, i, streets))
            return true;
        if (is(window, i, "on") || is(window, i, "at") || is(window, i, "in") || is(window, i, "and"))
            return false;
    }
    return false;
}

static void set_hour(struct spoken_time *time, int hour, int minute)
{
    time->hour = hour;
    time->minute = minute;
    time->has_hour = true;
}

/* "10:30", "tuesday ten thirty", "ten works" */
static bool is_bare_hour(const struct window *window, int next, int minute_words)
{
    bool digits = word(window, 0).at[0] <= '9' && minute_words == 1 && word(window, 1).at[0] <= '9';
    return digits || (minute_words > 0 && is_one_of(window, -1, days)) || is(window, next, "works");
}

static int on_the_clock(int hour, int part)
{
    if (part < 0)
        return hour % 12 + (hour > 12 ? 12 : 0);
    return hour < 12 && (part > 0 || hour < WORKING_DAY_FIRST_HOUR) ? hour + 12 : hour;
}

/* A number is an hour when it is said as one: after "at" or "half past", or before "o'clock", "pm", "in the
 * morning". */
static void hear_hour(struct spoken_time *time, const struct window *window)
{
    int hour, minute = 0, clock_words, next = number_at(window, 0, &hour);
    if (is(window, 0, "noon") || is(window, 0, "midday"))
        set_hour(time, 12, 0);
    if (next == 0 || hour < 1 || hour > 23)
        return;
    bool past = is(window, -1, "past"), half = past && is(window, -2, "half");
    bool quarter = is(window, -2, "quarter") && (past || is(window, -1, "to"));
    int start = half || quarter ? -2 : 0, minute_words = start == 0 ? minutes_at(window, next, &minute) : 0;
    next += minute_words;
    bool between = is(window, -1, "between") && is(window, next, "and") && is_number(window, next + 1);
    bool after_at = between || is_one_of(window, start - 1, before_hour),
         clock = is_o_clock(window, next, &clock_words);
    next += clock_words;
    int part = part_behind(window, next), before = start - 1 - after_at;
    if (is_number(window, next) || (!after_at && is_number(window, before)) || is_one_of(window, next, units)
        || is_address(window, next))
        return;
    if (!after_at && start == 0 && !clock && part == 0 && !is_bare_hour(window, next, minute_words))
        return;
    hour = on_the_clock(hour, part ? part : part_before(window, before));
    if (half || quarter)
        minute = half ? 30 : past ? 15 : 45;
    else if (minute_words == 0)
        minute = 0;
    set_hour(time, quarter && !past ? (hour + 23) % 24 : hour, minute);
}

static struct text next_word(struct text *words)
{
    while (words->bytes > 0 && words->at[0] == ' ')
        *words = (struct text){ words->at + 1, words->bytes - 1 };
    const char *blank = memchr(words->at, ' ', words->bytes);
    struct text next = { words->at, blank ? (size_t)(blank - words->at) : words->bytes };
    *words = (struct text){ words->at + next.bytes, words->bytes - next.bytes };
    return next;
}

void spoken_time_hear(struct spoken_time *time, struct text words, bool until_whole, const char *said_at, int weekday)
{
    struct window window = { 0 };
    snprintf(time->said_on, sizeof(time->said_on), "%.10s", said_at);
    for (int i = 1; i <= AHEAD; i++)
        window.words[BEHIND + i] = next_word(&words);
    do {
        memmove(window.words, window.words + 1, (LENGTH(window.words) - 1) * sizeof(window.words[0]));
        window.words[BEHIND + AHEAD] = next_word(&words);
        if (until_whole && spoken_time_is_whole(time))
            return;
        hear_day(time, &window, weekday);
        hear_hour(time, &window);
    } while (word(&window, 0).bytes > 0);
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
