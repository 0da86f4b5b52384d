#include "deploy/sb/when.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#define NUMBER_MAX 100000

/* So long ago: numbers, each with its unit, the greater ones first. */
static bool ago_read(const char *text, int64_t *ret_us)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = { { 'w', 604800 }, { 'd', 86400 }, { 'h', 3600 }, { 'm', 60 }, { 's', 1 } };
    int64_t seconds = 0;
    size_t i = 0;

    if (*text == '\0')
        return false;
    while (*text) {
        char *end;
        long number = strtol(text, &end, 10);
        if (*text < '0' || *text > '9' || number > NUMBER_MAX)
            return false;
        while (i < LENGTH(units) && units[i].unit != *end)
            i++;
        if (i == LENGTH(units))
            return false;
        seconds += number * units[i++].seconds;
        text = end + 1;
    }
    *ret_us = now_us() - seconds * 1000000;
    return seconds > 0;
}

/* `count` digits and nothing else. */
static bool number_read(const char **text, int count, int *ret)
{
    *ret = 0;
    for (int i = 0; i < count; i++, (*text)++) {
        if (**text < '0' || **text > '9')
            return false;
        *ret = *ret * 10 + (**text - '0');
    }
    return true;
}

static bool sign_read(const char **text, char sign)
{
    bool there = **text == sign;
    *text += there;
    return there;
}

static bool word_read(const char **text, const char *word)
{
    bool there = text_starts(text_of(*text), word);
    *text += there ? strlen(word) : 0;
    return there;
}

/* "today", "yesterday" or 2026-11-21; `ret` is today before. */
static bool day_read(const char **text, struct tm *ret)
{
    int year, month, day;

    if (word_read(text, "today"))
        return true;
    if (word_read(text, "yesterday")) {
        ret->tm_mday--;
        return true;
    }
    if (!number_read(text, 4, &year) || !sign_read(text, '-') || !number_read(text, 2, &month) ||
        !sign_read(text, '-') || !number_read(text, 2, &day))
        return false;
    ret->tm_year = year - 1900;
    ret->tm_mon = month - 1;
    ret->tm_mday = day;
    struct tm same = *ret;
    return mktime(&same) != -1 && same.tm_mon == month - 1 && same.tm_mday == day; /* not the 30th of February */
}

/* 14:00 or 14:00:30, to the end */
static bool clock_read(const char *text, struct tm *ret)
{
    int hour, minute, second = 0;

    if (!number_read(&text, 2, &hour) || !sign_read(&text, ':') || !number_read(&text, 2, &minute) ||
        (*text != '\0' && (!sign_read(&text, ':') || !number_read(&text, 2, &second))) || *text != '\0' ||
        hour > 23 || minute > 59 || second > 59)
        return false;
    ret->tm_hour = hour;
    ret->tm_min = minute;
    ret->tm_sec = second;
    return true;
}

/* By this machine's clock. */
static bool local_read(const char *text, int64_t *ret_us)
{
    time_t now = (time_t)(now_us() / 1000000);
    struct tm then;
    const char *rest = text;

    localtime_r(&now, &then);
    then.tm_hour = then.tm_min = then.tm_sec = 0;
    then.tm_isdst = -1;
    bool clock_alone = clock_read(text, &then);
    if (!clock_alone && !day_read(&rest, &then))
        return false;
    if (!clock_alone && *rest && !((sign_read(&rest, ' ') || sign_read(&rest, 'T')) && clock_read(rest, &then)))
        return false;
    struct tm day_before = then;
    day_before.tm_mday--;
    time_t at = mktime(&then);
    if (clock_alone && at > now)
        at = mktime(&day_before);
    *ret_us = (int64_t)at * 1000000;
    return at != -1;
}

bool when_read(const char *text, int64_t *ret_us)
{
    return time_read(text_of(text), ret_us) || ago_read(text, ret_us) || local_read(text, ret_us);
}
