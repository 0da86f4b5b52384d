/* Moments as people write them on the command line of sb, by the clock of a place that has summer time. */
#include "deploy/sb/when.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define SECOND_US   INT64_C(1000000)
#define CLOCK_BYTES 64

static int64_t when(const char *text)
{
    int64_t us;
    if (!when_read(text, &us))
        fail_msg("\"%s\" could not be read", text);
    return us;
}

static void assert_refused(const char *text)
{
    int64_t us;
    if (when_read(text, &us))
        fail_msg("\"%s\" was read", text);
}

/* What a calendar and a clock on the wall show then: "2026-11-21" and "06:29:49". */
static const char *day_of(const char *text)
{
    static char shown[CLOCK_BYTES];
    time_t seconds = (time_t)(when(text) / SECOND_US);
    struct tm then;
    strftime(shown, sizeof(shown), "%Y-%m-%d", localtime_r(&seconds, &then));
    return shown;
}

static const char *clock_of(const char *text)
{
    static char shown[CLOCK_BYTES];
    time_t seconds = (time_t)(when(text) / SECOND_US);
    struct tm then;
    strftime(shown, sizeof(shown), "%H:%M:%S", localtime_r(&seconds, &then));
    return shown;
}

static void assert_ago(const char *text, int64_t seconds)
{
    int64_t then_us = when(text), off_us = now_us() - then_us - seconds * SECOND_US;
    assert_true(off_us >= 0 && off_us < 5 * SECOND_US);
}

static void reads_how_long_ago(void **state)
{
    (void)state;
    assert_ago("30s", 30);
    assert_ago("10m", 600);
    assert_ago("2h", 7200);
    assert_ago("1d", 86400);
    assert_ago("1w", 604800);
    assert_ago("1h30m", 5400);
    assert_ago("1w2d3h4m5s", 604800 + 2 * 86400 + 3 * 3600 + 245);
}

static void reads_a_time_with_its_zone(void **state)
{
    (void)state;
    assert_true(when("2026-11-21T06:29:49Z") == when("2026-11-21T01:29:49-05:00"));
    assert_true(when("2026-11-21T06:29:49Z") == INT64_C(1795242589) * SECOND_US);
}

static void reads_a_day_and_a_time_by_the_clock_of_the_place(void **state)
{
    (void)state;
    assert_true(when("2026-11-21 01:29:49") == when("2026-11-21T06:29:49Z"));
    assert_true(when("2026-07-21 02:29:49") == when("2026-07-21T06:29:49Z")); /* summer */
    assert_true(when("2026-11-21T01:29") == when("2026-11-21T06:29:00Z"));
    assert_true(when("2026-11-21") == when("2026-11-21T05:00:00Z"));
    assert_true(when("2024-02-29") == when("2024-02-29T05:00:00Z"));
}

static void today_begins_at_midnight_and_yesterday_a_day_before(void **state)
{
    char day_before[CLOCK_BYTES];
    (void)state;
    assert_string_equal(clock_of("today"), "00:00:00");
    assert_string_equal(clock_of("yesterday"), "00:00:00");
    assert_string_equal(clock_of("yesterday 14:00"), "14:00:00");
    assert_true(when("today") <= now_us() && now_us() - when("today") < 25 * 3600 * SECOND_US);
    snprintf(day_before, sizeof(day_before), "%s", day_of("yesterday"));
    assert_true(when("yesterday") < when("today") && when("today") - when("yesterday") <= 25 * 3600 * SECOND_US);
    assert_true(when(day_before) == when("yesterday"));
    assert_string_equal(day_of("yesterday 14:00"), day_before);
}

/* Whatever the hour is now. */
static void a_time_alone_is_when_it_was_so_the_last_time(void **state)
{
    char text[CLOCK_BYTES];
    (void)state;
    for (int hour = 0; hour < 24; hour++) {
        snprintf(text, sizeof(text), "%02d:59:30", hour);
        assert_string_equal(clock_of(text), text);
        assert_true(when(text) <= now_us() && now_us() - when(text) <= 25 * 3600 * SECOND_US);
    }
}

static void refuses_everything_else(void **state)
{
    static const char *const texts[] = { "",           " ",          "5",           "-5m",        "0m",
                                         "10x",        "m",          "30m1h",       "1h1h",       "1h ",
                                         "100001s",    "14",         "14:0",        "24:00",      "14:60",
                                         "14:00:60",   "14:00:0",    "14:00 ",      "now",        "tomorrow",
                                         "todayx",     "today14:00", "yesterday 9", "2026-02-30", "2026-13-01",
                                         "2026-00-10", "2026-1-1",   "2026-11-21 ", "20261121",   "2026-11-21 6:29",
                                         "99999999999999999999s" };
    (void)state;
    for (size_t i = 0; i < LENGTH(texts); i++)
        assert_refused(texts[i]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_how_long_ago),
        cmocka_unit_test(reads_a_time_with_its_zone),
        cmocka_unit_test(reads_a_day_and_a_time_by_the_clock_of_the_place),
        cmocka_unit_test(today_begins_at_midnight_and_yesterday_a_day_before),
        cmocka_unit_test(a_time_alone_is_when_it_was_so_the_last_time),
        cmocka_unit_test(refuses_everything_else),
    };
    setenv("TZ", "America/New_York", 1);
    tzset();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
