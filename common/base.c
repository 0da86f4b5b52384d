/* base.c: views of bytes, problems, time, memory that must be there. */
#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/utf8.h"

#define SECOND_US       INT64_C(1000000)
#define DAY_SECONDS     INT64_C(86400)
#define FRACTION_DIGITS 6                                       /* microseconds: what Postgres keeps */
#define TIME_US_MIN     (INT64_C(-62135596800) * SECOND_US)     /* 0001-01-01T00:00:00Z: Postgres knows no year 0 */
#define TIME_US_MAX     (INT64_C(253402300800) * SECOND_US - 1) /* end of 9999: RFC 3339 has four-digit years */

/* --- views -------------------------------------------------------------------------------------------------------- */

struct text text_of(const char *string)
{
    return (struct text){ string, string ? strlen(string) : 0 };
}

/* The absent text equals only itself: a missing header is not an empty one. */
bool text_equal(struct text a, struct text b)
{
    if (a.at == NULL || b.at == NULL)
        return a.at == b.at;
    return a.bytes == b.bytes && memcmp(a.at, b.at, a.bytes) == 0;
}

bool text_is(struct text text, const char *string)
{
    return text_equal(text, text_of(string));
}

bool text_starts(struct text text, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return text.at != NULL && text.bytes >= bytes && memcmp(text.at, prefix, bytes) == 0;
}

bool text_is_utf8(struct text text)
{
    const char *at = text.at != NULL ? text.at : "";
    const char *end = at + text.bytes;

    while (at < end) {
        if (end - at >= 8 && utf8_ascii_word(at)) {
            at += 8;
            continue;
        }
        size_t bytes = utf8_sequence(at, end);
        if (bytes == 0)
            return false;
        at += bytes;
    }
    return true;
}

/* --- problems ----------------------------------------------------------------------------------------------------- */

/* Problems end in logs, rows and answers, which must be UTF-8, but may quote bytes from anywhere: what is not UTF-8
 * becomes '?', and what does not fit ends in an ellipsis. */
static void copy_cut(char *ret, size_t room, const char *from, bool cut)
{
    size_t length = strlen(from);
    size_t keep = cut || length >= room ? room - sizeof(UTF8_ELLIPSIS) : length;
    const char *end = from + length;
    size_t used = 0;

    cut = cut || length >= room;
    while (from < end) {
        size_t bytes = utf8_sequence(from, end);
        size_t take = bytes == 0 ? 1 : bytes;
        if (used + take > keep)
            break;
        if (bytes == 0)
            ret[used] = '?';
        else
            memcpy(ret + used, from, bytes);
        used += take;
        from += take;
    }
    memcpy(ret + used, cut ? UTF8_ELLIPSIS : "", cut ? sizeof(UTF8_ELLIPSIS) : 1);
}

/* Formats beside `why` first, because a problem is often told as part of the next: fail(why, "…: %s", why->text). */
PRINTF_LIKE(3, 0)
static void problem_fill(struct problem *why, const char *pointer, const char *format, va_list arguments)
{
    char text[sizeof(why->text)];
    char place[sizeof(why->pointer)];

    int length = vsnprintf(text, sizeof(text), format, arguments);
    copy_cut(place, sizeof(place), pointer, false);
    memcpy(why->pointer, place, sizeof(place));
    copy_cut(why->text, sizeof(why->text), length < 0 ? format : text, length >= (int)sizeof(text));
}

bool fail(struct problem *why, const char *format, ...)
{
    if (why != NULL) {
        va_list arguments;
        va_start(arguments, format);
        problem_fill(why, "", format, arguments);
        va_end(arguments);
    }
    return false;
}

bool fail_at(struct problem *why, const char *pointer, const char *format, ...)
{
    if (why != NULL) {
        va_list arguments;
        va_start(arguments, format);
        problem_fill(why, pointer, format, arguments);
        va_end(arguments);
    }
    return false;
}

/* --- time --------------------------------------------------------------------------------------------------------- */

static int64_t clock_us(clockid_t clock)
{
    struct timespec time;
    clock_gettime(clock, &time);
    return (int64_t)time.tv_sec * SECOND_US + time.tv_nsec / 1000;
}

int64_t now_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

int64_t monotonic_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

/* Days since 1970-01-01 of a date in the proleptic Gregorian calendar.  Years are counted from March, so that the leap
 * day is the last of its year, and in cycles of 400 years, which all have 146097 days. */
static int64_t days_of_date(int64_t year, int month, int day)
{
    if (month <= 2)
        year--;
    int64_t cycle = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_cycle = year - cycle * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_cycle = year_of_cycle * 365 + year_of_cycle / 4 - year_of_cycle / 100 + day_of_year;
    return cycle * 146097 + day_of_cycle - 719468;
}

static void date_of_days(int64_t days, int *ret_year, int *ret_month, int *ret_day)
{
    days += 719468;
    int64_t cycle = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_cycle = days - cycle * 146097;
    int64_t year_of_cycle = (day_of_cycle - day_of_cycle / 1460 + day_of_cycle / 36524 - day_of_cycle / 146096) / 365;
    int64_t day_of_year = day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    int64_t month_from_march = (5 * day_of_year + 2) / 153;

    *ret_day = (int)(day_of_year - (153 * month_from_march + 2) / 5 + 1);
    *ret_month = (int)(month_from_march < 10 ? month_from_march + 3 : month_from_march - 9);
    *ret_year = (int)(year_of_cycle + cycle * 400 + (*ret_month <= 2 ? 1 : 0));
}

static char *print_digits(char *at, int64_t number, int digits)
{
    for (int i = digits - 1; i >= 0; i--) {
        at[i] = (char)('0' + number % 10);
        number /= 10;
    }
    return at + digits;
}

char *time_print(int64_t us, char *ret)
{
    if (us < TIME_US_MIN)
        us = TIME_US_MIN;
    if (us > TIME_US_MAX)
        us = TIME_US_MAX;
    int64_t seconds = us / SECOND_US - (us % SECOND_US < 0);
    int64_t days = seconds / DAY_SECONDS - (seconds % DAY_SECONDS < 0);
    int64_t second_of_day = seconds - days * DAY_SECONDS;
    int year, month, day;
    date_of_days(days, &year, &month, &day);

    char *at = print_digits(ret, year, 4);
    *at++ = '-';
    at = print_digits(at, month, 2);
    *at++ = '-';
    at = print_digits(at, day, 2);
    *at++ = 'T';
    at = print_digits(at, second_of_day / 3600, 2);
    *at++ = ':';
    at = print_digits(at, second_of_day / 60 % 60, 2);
    *at++ = ':';
    at = print_digits(at, second_of_day % 60, 2);
    *at++ = '.';
    at = print_digits(at, us - seconds * SECOND_US, FRACTION_DIGITS);
    *at++ = 'Z';
    *at = '\0';
    return ret;
}

struct time_fields {
    int64_t year, month, day, hour, minute, second, us, offset_minutes;
};

static bool read_digits(struct text *text, int digits, int64_t *ret)
{
    int64_t number = 0;

    if (text->bytes < (size_t)digits)
        return false;
    for (int i = 0; i < digits; i++) {
        if (text->at[i] < '0' || text->at[i] > '9')
            return false;
        number = number * 10 + (text->at[i] - '0');
    }
    text->at += digits;
    text->bytes -= (size_t)digits;
    *ret = number;
    return true;
}

static bool read_one_of(struct text *text, const char *set, char *ret)
{
    if (text->bytes == 0 || text->at[0] == '\0' || strchr(set, text->at[0]) == NULL)
        return false;
    *ret = text->at[0];
    text->at++;
    text->bytes--;
    return true;
}

/* What is finer than a microsecond is cut off. */
static bool read_fraction(struct text *text, int64_t *ret_us)
{
    int digits = 0;
    int64_t us = 0;

    for (; text->bytes > 0 && text->at[0] >= '0' && text->at[0] <= '9'; text->at++, text->bytes--, digits++) {
        if (digits < FRACTION_DIGITS)
            us = us * 10 + (text->at[0] - '0');
    }
    for (int i = digits; i < FRACTION_DIGITS; i++)
        us *= 10;
    *ret_us = us;
    return digits > 0;
}

static bool read_offset(struct text *text, int64_t *ret_minutes)
{
    char sign, colon;
    int64_t hours, minutes;

    if (!read_one_of(text, "Zz+-", &sign))
        return false;
    *ret_minutes = 0;
    if (sign == 'Z' || sign == 'z')
        return true;
    if (!read_digits(text, 2, &hours) || !read_one_of(text, ":", &colon) || !read_digits(text, 2, &minutes))
        return false;
    *ret_minutes = (sign == '-' ? -1 : 1) * (hours * 60 + minutes);
    return hours <= 23 && minutes <= 59;
}

static bool time_read_fields(struct text text, struct time_fields *ret)
{
    char separator;

    if (!read_digits(&text, 4, &ret->year) || !read_one_of(&text, "-", &separator) ||
        !read_digits(&text, 2, &ret->month) || !read_one_of(&text, "-", &separator) ||
        !read_digits(&text, 2, &ret->day) || !read_one_of(&text, "Tt", &separator) ||
        !read_digits(&text, 2, &ret->hour) || !read_one_of(&text, ":", &separator) ||
        !read_digits(&text, 2, &ret->minute) || !read_one_of(&text, ":", &separator) ||
        !read_digits(&text, 2, &ret->second))
        return false;
    ret->us = 0;
    if (read_one_of(&text, ".", &separator) && !read_fraction(&text, &ret->us))
        return false;
    return read_offset(&text, &ret->offset_minutes) && text.bytes == 0;
}

static bool date_exists(int64_t year, int64_t month, int64_t day)
{
    static const int days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;

    if (month < 1 || month > 12)
        return false;
    return day >= 1 && day <= days[month - 1] + (leap && month == 2);
}

bool time_read(struct text text, int64_t *ret_us)
{
    struct time_fields fields;

    if (text.at == NULL || !time_read_fields(text, &fields) || !date_exists(fields.year, fields.month, fields.day) ||
        fields.hour > 23 || fields.minute > 59 || fields.second > 60)
        return false;
    int64_t minutes = days_of_date(fields.year, (int)fields.month, (int)fields.day) * 1440 + fields.hour * 60 +
                      fields.minute - fields.offset_minutes;
    /* a leap second is the last of a UTC day; our count of time has none, so it is the first of the next day */
    if (fields.second == 60 && (minutes % 1440 + 1440) % 1440 != 1439)
        return false;
    int64_t us = (minutes * 60 + fields.second) * SECOND_US + fields.us;
    if (us < TIME_US_MIN || us > TIME_US_MAX)
        return false;
    *ret_us = us;
    return true;
}

/* --- memory ------------------------------------------------------------------------------------------------------- */

static _Noreturn void out_of_memory(size_t bytes)
{
    log_error("out of memory", LOG_INT("bytes", bytes));
    abort();
}

void *must_alloc(size_t bytes)
{
    void *at = calloc(1, bytes > 0 ? bytes : 1);
    if (at == NULL)
        out_of_memory(bytes);
    return at;
}

void *must_realloc(void *at, size_t bytes)
{
    void *moved = realloc(at, bytes > 0 ? bytes : 1);
    if (moved == NULL)
        out_of_memory(bytes);
    return moved;
}

char *must_copy(const char *string)
{
    size_t bytes = strlen(string) + 1;
    return memcpy(must_alloc(bytes), string, bytes);
}
