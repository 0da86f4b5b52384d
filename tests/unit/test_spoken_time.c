/* A day and an hour out of spoken words: analyze/spoken_time.c. */
#include "analyze/spoken_time.h"
#include "common/buf.h"

#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)16 << 20)
#define SATURDAY "2026-11-21T09:30"
#define MONDAY "2026-11-23T16:05"
#define THURSDAY "2026-12-31T23:59"

static const struct {
    const char *said_at;
    int weekday;
    const char *words, *time;           /* NULL: no whole time */
} cases[] = {
    /* days */
    { SATURDAY, 6, "today at ten", "2026-11-21T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "the day after tomorrow at ten", "2026-11-23T10:00:00" },
    { SATURDAY, 6, "tuesday at ten", "2026-11-24T10:00:00" },
    { SATURDAY, 6, "on friday at ten", "2026-11-27T10:00:00" },
    { SATURDAY, 6, "saturday at ten", "2026-11-28T10:00:00" },
    { SATURDAY, 6, "sunday at ten", "2026-11-22T10:00:00" },
    { MONDAY, 1, "next tuesday at ten", "2026-12-01T10:00:00" },
    { MONDAY, 1, "this tuesday at ten", "2026-11-24T10:00:00" },
    { MONDAY, 1, "next monday at ten", "2026-11-30T10:00:00" },
    { MONDAY, 1, "monday at ten", "2026-11-30T10:00:00" },
    { SATURDAY, 6, "next tuesday at ten", "2026-11-24T10:00:00" },
    { SATURDAY, 6, "next week on tuesday at ten", "2026-11-24T10:00:00" },
    { MONDAY, 1, "next week on tuesday at ten", "2026-12-01T10:00:00" },
    { MONDAY, 1, "tuesday next week at ten", "2026-12-01T10:00:00" },
    { MONDAY, 1, "next week tuesday at ten", "2026-12-01T10:00:00" },
    { THURSDAY, 4, "tomorrow at ten", "2027-01-01T10:00:00" },
    { THURSDAY, 4, "wednesday at ten", "2027-01-06T10:00:00" },
    { "2028-02-28T10:00", 1, "tomorrow at ten", "2028-02-29T10:00:00" },
    { "2026-02-28T10:00", 6, "tomorrow at ten", "2026-03-01T10:00:00" },
    { MONDAY, 1, "you came last friday we can come wednesday at nine", "2026-11-25T09:00:00" },

    /* hours */
    { SATURDAY, 6, "tomorrow at ten o'clock", "2026-11-22T10:00:00" },      /* as words.h gives it: see below */
    { SATURDAY, 6, "tomorrow ten oclock", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow ten o clock", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at one", "2026-11-22T13:00:00" },
    { SATURDAY, 6, "tomorrow at six", "2026-11-22T18:00:00" },
    { SATURDAY, 6, "tomorrow at seven", "2026-11-22T07:00:00" },
    { SATURDAY, 6, "tomorrow at twelve", "2026-11-22T12:00:00" },
    { SATURDAY, 6, "tomorrow at noon", "2026-11-22T12:00:00" },
    { SATURDAY, 6, "tomorrow at 3 pm", "2026-11-22T15:00:00" },
    { SATURDAY, 6, "tomorrow 3 pm", "2026-11-22T15:00:00" },
    { SATURDAY, 6, "tomorrow at three p m", "2026-11-22T15:00:00" },
    { SATURDAY, 6, "tomorrow at three a m", "2026-11-22T03:00:00" },
    { SATURDAY, 6, "tomorrow at 12 am", "2026-11-22T00:00:00" },
    { SATURDAY, 6, "tomorrow at 12 pm", "2026-11-22T12:00:00" },
    { SATURDAY, 6, "tomorrow at 12 30 am", "2026-11-22T00:30:00" },
    { SATURDAY, 6, "tomorrow at eight in the evening", "2026-11-22T20:00:00" },
    { SATURDAY, 6, "tomorrow at eight in the morning", "2026-11-22T08:00:00" },
    { SATURDAY, 6, "tomorrow at two in the afternoon", "2026-11-22T14:00:00" },
    { SATURDAY, 6, "tonight at eight", "2026-11-21T20:00:00" },
    { SATURDAY, 6, "at eight tonight", "2026-11-21T20:00:00" },
    { SATURDAY, 6, "tomorrow evening at seven", "2026-11-22T19:00:00" },
    { SATURDAY, 6, "at seven tomorrow evening", "2026-11-22T19:00:00" },
    { SATURDAY, 6, "tuesday night around nine", "2026-11-24T21:00:00" },
    { SATURDAY, 6, "tomorrow morning at five", "2026-11-22T05:00:00" },

    /* minutes */
    { SATURDAY, 6, "tomorrow at ten thirty", "2026-11-22T10:30:00" },
    { SATURDAY, 6, "tomorrow ten thirty", "2026-11-22T10:30:00" },
    { SATURDAY, 6, "tomorrow at ten fifteen", "2026-11-22T10:15:00" },
    { SATURDAY, 6, "tomorrow at nine forty five", "2026-11-22T09:45:00" },
    { SATURDAY, 6, "tomorrow at nine twenty", "2026-11-22T09:20:00" },
    { SATURDAY, 6, "tomorrow at nine ten", "2026-11-22T09:10:00" },
    { SATURDAY, 6, "tomorrow at nine oh five", "2026-11-22T09:05:00" },
    { SATURDAY, 6, "tomorrow at two thirty p m", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow two thirty p m", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow at 2 30 pm", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow 10 30", "2026-11-22T10:30:00" },
    { SATURDAY, 6, "tomorrow at 10 05", "2026-11-22T10:05:00" },
    { SATURDAY, 6, "tomorrow at half past two", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow half past ten", "2026-11-22T10:30:00" },
    { SATURDAY, 6, "tomorrow at quarter past nine", "2026-11-22T09:15:00" },
    { SATURDAY, 6, "tomorrow at a quarter to three", "2026-11-22T14:45:00" },
    { SATURDAY, 6, "tomorrow evening at half past seven", "2026-11-22T19:30:00" },
    { SATURDAY, 6, "tuesday at half past two in the afternoon", "2026-11-24T14:30:00" },

    /* 24 hours */
    { SATURDAY, 6, "tomorrow at 14 30", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow at 18", "2026-11-22T18:00:00" },
    { SATURDAY, 6, "tomorrow at fourteen thirty", "2026-11-22T14:30:00" },
    { SATURDAY, 6, "tomorrow at twenty one fifteen", "2026-11-22T21:15:00" },
    { SATURDAY, 6, "tomorrow at 24", NULL },

    /* ranges: the beginning */
    { SATURDAY, 6, "tomorrow between ten and twelve", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow between 2 and 4", "2026-11-22T14:00:00" },

    /* what is said last counts */
    { SATURDAY, 6, "tomorrow at ten no tuesday at eleven", "2026-11-24T11:00:00" },
    { SATURDAY, 6, "tomorrow at ten or rather at eleven", "2026-11-22T11:00:00" },

    /* numbers that are no hours */
    { SATURDAY, 6, "tomorrow at ten it is at twelve oak street", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten at twenty five oak street", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten at twenty one north oak street", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten reach me at five five five oh one two three", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten reach me at five fifteen two three four", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten reach me at 555 0123", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten it costs eighty dollars at two dollars a mile", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten at one point it broke", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten it takes around two hours", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten by two hundred", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten since twenty twenty", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow at ten on oak street", "2026-11-22T10:00:00" },
    { SATURDAY, 6, "tomorrow we have two windows", NULL },
    { SATURDAY, 6, "tomorrow it costs two thirty", NULL },
    { SATURDAY, 6, "tomorrow ten works for me", "2026-11-22T10:00:00" },

    /* halves of a time, and nothing */
    { SATURDAY, 6, "tomorrow", NULL },
    { SATURDAY, 6, "at ten", NULL },
    { SATURDAY, 6, "last tuesday at ten", NULL },
    { SATURDAY, 6, "the twenty fourth of november at ten", NULL },
    { SATURDAY, 6, "", NULL },
    { SATURDAY, 6, "    ", NULL },
    { "nonsense", 6, "tomorrow at ten", NULL },
};

static void phrases_are_understood(void **state)
{
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct arena *arena = arena_new(ARENA_BYTES_MAX);
        struct spoken_time time = { 0 };
        char words[256];
        size_t used = 0;
        for (const char *at = cases[i].words; *at; at++)
            if (*at != '\'')
                words[used++] = *at;
        spoken_time_hear(&time, (struct text){ words, used }, false, cases[i].said_at, cases[i].weekday);
        const char *got = spoken_time_is_whole(&time) ? spoken_time_print(&time, arena) : NULL;
        if (!got != !cases[i].time || (got && strcmp(got, cases[i].time) != 0))
            fail_msg("\"%s\" is %s, not %s", cases[i].words, cases[i].time, got);
        arena_free(arena);
    }
    (void)state;
}

static void turns_add_up(void **state)
{
    struct spoken_time time = { 0 };
    spoken_time_hear(&time, TEXT(" can you come tomorrow "), false, SATURDAY, 6);
    assert_false(spoken_time_is_whole(&time));
    spoken_time_hear(&time, TEXT(" yes at two "), false, SATURDAY, 6);
    assert_true(spoken_time_is_whole(&time));
    spoken_time_hear(&time, TEXT(" tuesday at four "), true, SATURDAY, 6);      /* whole already */
    assert_int_equal(time.hour, 14);
    assert_int_equal(time.days_ahead, 1);
    time = (struct spoken_time){ 0 };
    spoken_time_hear(&time, TEXT(" tuesday at four wednesday at five "), true, SATURDAY, 6);
    assert_int_equal(time.hour, 16);
    assert_int_equal(time.days_ahead, 3);
    (void)state;
}

/* A turn of any length is heard to its end. */
static void a_long_turn_is_heard(void **state)
{
    struct buf words;
    struct spoken_time time = { 0 };
    buf_init(&words, 1 << 20);
    for (int i = 0; i < 50000; i++)
        buf_add_string(&words, "blah ");
    buf_add_string(&words, "tomorrow at ten");
    spoken_time_hear(&time, buf_text(&words), false, SATURDAY, 6);
    assert_true(spoken_time_is_whole(&time));
    buf_done(&words);
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(phrases_are_understood),
        cmocka_unit_test(turns_add_up),
        cmocka_unit_test(a_long_turn_is_heard),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
