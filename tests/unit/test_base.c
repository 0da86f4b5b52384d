/* Time, problems, views, UTF-8, arenas, buffers and log lines. */
#include "common/arena.h"
#include "common/base.h"
#include "common/buf.h"
#include "common/json.h"
#include "common/log.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail; (fail)(…) is ours */

/* --- time --------------------------------------------------------------------------------------------------------- */

static void times_are_read(void **state)
{
    static const struct {
        const char *text;
        const char *wanted; /* NULL: refused */
    } cases[] = {
        { "2026-09-21T13:53:15.000-04:00", "2026-09-21T17:53:15.000000Z" },
        { "2026-11-21T06:29:49.123456Z", "2026-11-21T06:29:49.123456Z" },
        { "2026-11-21t06:29:49z", "2026-11-21T06:29:49.000000Z" },
        { "2026-11-21T06:29:49.1Z", "2026-11-21T06:29:49.100000Z" },
        { "2026-11-21T06:29:49.123456789012345678901234567890Z", "2026-11-21T06:29:49.123456Z" },
        { "2026-11-21T06:29:49.9999999Z", "2026-11-21T06:29:49.999999Z" },
        { "2026-01-01T00:30:00+05:30", "2025-12-31T19:00:00.000000Z" },
        { "2025-12-31T23:30:00-00:45", "2026-01-01T00:15:00.000000Z" },
        { "2026-01-01T00:00:00-00:00", "2026-01-01T00:00:00.000000Z" },
        { "2024-02-29T12:00:00Z", "2024-02-29T12:00:00.000000Z" },
        { "2000-02-29T12:00:00Z", "2000-02-29T12:00:00.000000Z" },
        { "1970-01-01T00:00:00Z", "1970-01-01T00:00:00.000000Z" },
        { "1969-12-31T23:59:59.999999Z", "1969-12-31T23:59:59.999999Z" },
        { "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z" },
        { "9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z" },
        { "2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000000Z" },
        { "2017-01-01T00:59:60+01:00", "2017-01-01T00:00:00.000000Z" },
        { "2016-12-31T22:59:60Z", NULL },
        { "2016-12-31T23:59:61Z", NULL },
        { "2023-02-29T12:00:00Z", NULL },
        { "1900-02-29T12:00:00Z", NULL },
        { "2026-04-31T12:00:00Z", NULL },
        { "2026-00-10T12:00:00Z", NULL },
        { "2026-13-10T12:00:00Z", NULL },
        { "2026-10-00T12:00:00Z", NULL },
        { "2026-10-10T24:00:00Z", NULL },
        { "2026-10-10T12:60:00Z", NULL },
        { "2026-10-10T12:00:00", NULL },
        { "2026-10-10T12:00:00.Z", NULL },
        { "2026-10-10T12:00:00,5Z", NULL },
        { "2026-10-10T12:00Z", NULL },
        { "2026-10-10 12:00:00Z", NULL },
        { "2026-10-10T12:00:00+24:00", NULL },
        { "2026-10-10T12:00:00+01:60", NULL },
        { "2026-10-10T12:00:00+0100", NULL },
        { "2026-10-10T12:00:00+01", NULL },
        { "2026-10-10T12:00:00 Z", NULL },
        { "2026-10-10T12:00:00Z ", NULL },
        { " 2026-10-10T12:00:00Z", NULL },
        { "26-10-10T12:00:00Z", NULL },
        { "02026-10-10T12:00:00Z", NULL },
        { "2026-1-10T12:00:00Z", NULL },
        { "+026-10-10T12:00:00Z", NULL },
        { "2026-10-10T-1:00:00Z", NULL },
        { "0000-12-31T23:59:59Z", NULL },
        { "0001-01-01T00:00:00+00:01", NULL },
        { "9999-12-31T23:59:59-00:01", NULL },
        { "20261010T120000Z", NULL },
        { "Sat, 10 Oct 2026 12:00:00 GMT", NULL },
        { "1790000000", NULL },
        { "", NULL },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char printed[TIME_BYTES];
        int64_t us = 42;
        bool good = time_read(text_of(cases[i].text), &us);
        if (good != (cases[i].wanted != NULL))
            fail_msg("%s: %s", cases[i].text, good ? "accepted" : "refused");
        if (good)
            assert_string_equal(time_print(us, printed), cases[i].wanted);
        else
            assert_int_equal(us, 42);
    }
    assert_false(time_read((struct text){ NULL, 0 }, &(int64_t){ 0 }));
    assert_false(time_read(TEXT("2026-10-10T12:00:00\0Z"), &(int64_t){ 0 }));
}

static void times_cut_anywhere_are_refused(void **state)
{
    static const char whole[] = "2026-09-21T13:53:15.250-04:00";
    (void)state;
    for (size_t bytes = 0; bytes < sizeof(whole) - 1; bytes++) {
        char *exact = must_alloc(bytes); /* on the heap, so that reading past the end is seen */
        memcpy(exact, whole, bytes);
        assert_false(time_read((struct text){ exact, bytes }, &(int64_t){ 0 }));
        free(exact);
    }
}

static void times_come_back_as_printed(void **state)
{
    (void)state;
    setenv("TZ", "America/St_Johns", 1);
    const int64_t day_us = INT64_C(86400) * 1000000;
    /* every 97 days and some from year 1 to 9999, so every kind of year is met */
    for (int64_t us = INT64_C(-62135596800) * 1000000; us < INT64_C(253402300800) * 1000000;
         us += 97 * day_us + 12345678901) {
        char printed[TIME_BYTES];
        int64_t again = 0;
        assert_true(time_read(text_of(time_print(us, printed)), &again));
        assert_int_equal(again, us);
    }
}

static void time_beyond_four_digit_years_is_clamped(void **state)
{
    char printed[TIME_BYTES];
    (void)state;
    assert_string_equal(time_print(INT64_MAX, printed), "9999-12-31T23:59:59.999999Z");
    assert_string_equal(time_print(INT64_MIN, printed), "0001-01-01T00:00:00.000000Z");
}

static void clocks_agree_with_the_system(void **state)
{
    (void)state;
    assert_true(llabs(now_us() / 1000000 - (int64_t)time(NULL)) <= 1);
    int64_t before = monotonic_us();
    assert_true(monotonic_us() >= before);
}

/* --- views and UTF-8 ---------------------------------------------------------------------------------------------- */

static void texts_are_compared(void **state)
{
    const struct text absent = { NULL, 0 };
    (void)state;
    assert_true(text_equal(TEXT("a\0b"), TEXT("a\0b")));
    assert_false(text_equal(TEXT("a\0b"), TEXT("a\0c")));
    assert_false(text_equal(TEXT("ab"), TEXT("abc")));
    assert_true(text_equal(absent, absent));
    assert_false(text_equal(absent, TEXT("")));
    assert_true(text_is(TEXT("abc"), "abc"));
    assert_false(text_is(absent, ""));
    assert_null(text_of(NULL).at);
    assert_true(text_starts(TEXT("abc"), "ab"));
    assert_true(text_starts(TEXT("abc"), ""));
    assert_false(text_starts(TEXT("a"), "ab"));
    assert_false(text_starts(absent, ""));
}

static void utf8_is_told_from_other_bytes(void **state)
{
    static const struct {
        const char *bytes;
        bool valid;
    } cases[] = {
        { "", true },
        { "plain text that is longer than eight bytes", true },
        { "Zo\xC3\xAB", true },
        { "\xE4\xBD\xA0\xE5\xA5\xBD", true },
        { "\xF0\x9F\x99\x82", true },
        { "\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xEF\xBF\xBF \xF0\x90\x80\x80 \xF4\x8F\xBF\xBF", true },
        { "\xED\x9F\xBF \xEE\x80\x80", true },
        { "12345678\xC3", false }, /* cut */
        { "\xE4\xBD", false },
        { "\xF0\x9F\x99", false },
        { "\x80", false }, /* a continuation alone */
        { "\xC3(", false },
        { "\xC0\xAF", false }, /* overlong */
        { "\xC1\xBF", false },
        { "\xE0\x9F\xBF", false },
        { "\xF0\x8F\xBF\xBF", false },
        { "\xED\xA0\x80", false }, /* surrogates */
        { "\xED\xBF\xBF", false },
        { "\xF4\x90\x80\x80", false }, /* above U+10FFFF */
        { "\xF5\x80\x80\x80", false },
        { "\xFE", false },
        { "\xFF", false },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        if (text_is_utf8(text_of(cases[i].bytes)) != cases[i].valid)
            fail_msg("case %zu", i);
    }
    assert_true(text_is_utf8((struct text){ NULL, 0 }));
}

/* --- problems ----------------------------------------------------------------------------------------------------- */

static void problems_are_told(void **state)
{
    struct problem why;
    (void)state;
    assert_false((fail)(&why, "could not fetch \"%s\": HTTP status %d", "x", 403));
    assert_string_equal(why.text, "could not fetch \"x\": HTTP status 403");
    assert_string_equal(why.pointer, "");
    assert_false(fail_at(&why, "/data/start_time", "not a time"));
    assert_string_equal(why.pointer, "/data/start_time");
    assert_false((fail)(&why, "could not read the event: %s", why.text));
    assert_string_equal(why.text, "could not read the event: not a time");
    assert_false(fail_at(&why, why.text, "again"));
    assert_string_equal(why.pointer, "could not read the event: not a time");
    assert_false((fail)(NULL, "nobody asks"));
    assert_false((fail)(&why, "bad \xFF\xC3 byte"));
    assert_string_equal(why.text, "bad ?? byte");
}

static void long_problems_are_cut_between_characters(void **state)
{
    struct problem why;
    char text[2048];
    (void)state;
    for (size_t shift = 0; shift < 4; shift++) {
        size_t bytes = 0;
        memset(text, 'x', shift);
        for (bytes = shift; bytes + 4 < sizeof(text); bytes += 4)
            memcpy(text + bytes, "\xF0\x9F\x99\x82", 4);
        text[bytes] = '\0';
        fail_at(&why, text, "%s", text);
        assert_true(text_is_utf8(text_of(why.text)));
        assert_true(text_is_utf8(text_of(why.pointer)));
        assert_true(strlen(why.text) > sizeof(why.text) - 8);
        assert_string_equal(why.text + strlen(why.text) - 3, "\xE2\x80\xA6");
    }
    memset(text, 'x', sizeof(text));
    text[sizeof(why.text) - 1] = '\0';
    (fail)(&why, "%s", text);
    assert_string_equal(why.text, text); /* exactly fits */
}

/* --- arenas ------------------------------------------------------------------------------------------------------- */

static char deferred_order[8];

static void note_deferred(void *argument)
{
    strcat(deferred_order, argument);
}

static void arenas_give_zeroed_aligned_memory(void **state)
{
    struct arena *arena = arena_new(64 << 20);
    (void)state;
    for (int round = 0; round < 3; round++) {
        for (size_t bytes = 0; bytes < 3000; bytes += 7) {
            char *at = arena_alloc(arena, bytes);
            assert_int_equal((uintptr_t)at % _Alignof(max_align_t), 0);
            for (size_t i = 0; i < bytes; i++)
                assert_int_equal(at[i], 0);
            memset(at, 0xAB, bytes);
        }
        char *large = arena_alloc(arena, 8 << 20);
        memset(large, 0xAB, 8 << 20);
        arena_reset(arena);
    }
    arena_free(arena);
    arena_free(NULL);
}

static void arenas_copy_and_print(void **state)
{
    CLEANUP(arena_freep) struct arena *arena = arena_new(1 << 20);
    (void)state;
    assert_null(arena_copy(arena, NULL));
    assert_string_equal(arena_copy(arena, "x"), "x");
    assert_null(arena_copy_text(arena, (struct text){ NULL, 0 }));
    assert_string_equal(arena_copy_text(arena, TEXT("")), "");
    assert_memory_equal(arena_copy_text(arena, TEXT("a\0b")), "a\0b", 4);
    assert_string_equal(arena_printf(arena, "%s-%d", "call", 7), "call-7");
    char *long_one = arena_printf(arena, "%*s", 100000, "end");
    assert_int_equal(strlen(long_one), 100000);
}

static void deferred_functions_run_last_first(void **state)
{
    struct arena *arena = arena_new(1 << 20);
    (void)state;
    deferred_order[0] = '\0';
    arena_defer(arena, note_deferred, "1");
    arena_defer(arena, note_deferred, "2");
    arena_reset(arena);
    assert_string_equal(deferred_order, "21");
    arena_reset(arena);
    assert_string_equal(deferred_order, "21");
    arena_defer(arena, note_deferred, "3");
    arena_free(arena);
    assert_string_equal(deferred_order, "213");
}

static void fill_arena(size_t bytes_max, size_t piece)
{
    struct arena *arena = arena_new(bytes_max);
    for (size_t bytes = 0; bytes <= bytes_max; bytes += piece)
        arena_alloc(arena, piece);
}

static void a_full_arena_ends_the_process(void **state)
{
    static const size_t pieces[] = { 16, 4096, (1 << 20) + 1 };
    (void)state;
    for (size_t i = 0; i < LENGTH(pieces); i++) {
        pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0) {
            setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
            signal(SIGABRT, SIG_DFL);
            close(STDERR_FILENO);
            fill_arena(1 << 20, pieces[i]);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* --- buffers ------------------------------------------------------------------------------------------------------ */

static void buffers_grow_to_their_limit(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 10);
    assert_string_equal(buf_text(&buf).at, "");
    buf_add(&buf, "", 0);
    assert_non_null(buf.at);
    buf_printf(&buf, "%d", 12345);
    buf_add_string(&buf, "6789");
    buf_add_char(&buf, '0');
    assert_string_equal(buf.at, "1234567890");
    assert_false(buf.overflowed);
    buf_add_string(&buf, "x");
    assert_true(buf.overflowed);
    assert_string_equal(buf.at, "1234567890");
    buf_add(&buf, "", 0);
    buf_printf(&buf, "%s", "");
    assert_int_equal(buf.bytes, 10);
    buf_clear(&buf);
    assert_false(buf.overflowed);
    assert_string_equal(buf.at, "");
    buf_add_text(&buf, TEXT("a\0b"));
    assert_int_equal(buf.bytes, 3);
    assert_memory_equal(buf.at, "a\0b", 4);
    buf_done(&buf);
    assert_null(buf.at);
    buf_add_string(&buf, "again");
    assert_string_equal(buf.at, "again");
    buf_done(&buf);
}

static void what_does_not_fit_is_left_out_wholly(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 1000);
    for (int i = 0; i < 333; i++)
        buf_add_string(&buf, "abc");
    assert_int_equal(buf.bytes, 999);
    buf_printf(&buf, "%s", "xy");
    assert_true(buf.overflowed);
    buf_add_char(&buf, 'z'); /* would fit, but the buffer is spoiled */
    assert_int_equal(buf.bytes, 999);
    assert_int_equal(buf.at[999], '\0');
    buf_done(&buf);
}

/* --- log ---------------------------------------------------------------------------------------------------------- */

/* Runs log_write with standard error in `to`; gives what arrived at `from`. */
static size_t logged_through(int to, int from, enum log_level level, const char *message,
                             const struct log_field *fields, char *ret, size_t room)
{
    fflush(stderr);
    int before = dup(STDERR_FILENO);
    dup2(to, STDERR_FILENO);
    log_init("test", LOG_INFO);
    log_write(level, message, fields);
    dup2(before, STDERR_FILENO);
    close(before);
    ssize_t bytes = read(from, ret, room - 1);
    if (bytes < 0)
        bytes = 0; /* nothing was written */
    ret[bytes] = '\0';
    return (size_t)bytes;
}

static size_t logged(enum log_level level, const char *message, const struct log_field *fields, char *ret, size_t room)
{
    int ends[2];
    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    size_t bytes = logged_through(ends[1], ends[0], level, message, fields, ret, room);
    close(ends[0]);
    close(ends[1]);
    return bytes;
}

static void log_lines_are_json(void **state)
{
    char line[8192];
    struct json_value value, member;
    CLEANUP(arena_freep) struct arena *arena = arena_new(1 << 20);
    (void)state;
    size_t bytes = logged(
        LOG_WARNING, "it \"broke\"\n\x1B[31m \xC2\x9B \xFF",
        (struct log_field[]){
            LOG_TEXT("event_id", "a\\b"), LOG_INT("took_ms", INT64_MIN), LOG_TEXT("none", NULL), { .name = NULL } },
        line, sizeof(line));
    assert_int_equal(line[bytes - 1], '\n');
    assert_null(memchr(line, '\n', bytes - 1));
    assert_null(memchr(line, 0x1B, bytes));
    assert_null(strstr(line, "\xC2\x9B"));
    assert_true(json_parse((struct text){ line, bytes }, &value, NULL));
    assert_true(json_find(value, "time", &member));
    assert_true(time_read(text_of(json_string(member, arena)), &(int64_t){ 0 }));
    assert_true(json_find(value, "level", &member) && json_string_is(member.raw, "warning"));
    assert_true(json_find(value, "daemon", &member) && json_string_is(member.raw, "test"));
    assert_true(json_find(value, "message", &member) &&
                json_string_is(member.raw, "it \"broke\"\n\x1B[31m \xC2\x9B \xEF\xBF\xBD"));
    assert_true(json_find(value, "event_id", &member) && json_string_is(member.raw, "a\\b"));
    int64_t number = 0;
    assert_true(json_find(value, "took_ms", &member) && json_integer(member, &number) && number == INT64_MIN);
    assert_true(json_find(value, "none", &member) && member.kind == JSON_NULL);
}

static void a_terminal_gets_readable_text(void **state)
{
    char line[4096];
    (void)state;
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        skip(); /* no pseudo-terminals here */
    int screen = open(ptsname(terminal), O_RDWR | O_NOCTTY);
    assert_true(screen >= 0);
    logged_through(screen, terminal, LOG_WARNING, "it broke\n",
                   (struct log_field[]){ LOG_TEXT("id", "a-b"),
                                         LOG_TEXT("why", "two words \x1B[31m"),
                                         LOG_INT("ms", 5),
                                         LOG_TEXT("none", NULL),
                                         { .name = NULL } },
                   line, sizeof(line));
    close(screen);
    close(terminal);
    const char *after_time = line + sizeof("06:29:49.123") - 1;
    assert_string_equal(after_time,
                        " WARNING test: it broke\\n id=a-b why=\"two words \\u001b[31m\" ms=5 none=null\r\n");
}

static void long_log_fields_are_cut_between_characters(void **state)
{
    char line[8192];
    char text[5000];
    struct json_value value;
    (void)state;
    static const char *const units[] = { "x", "\xC3\xAB", "\xE4\xBD\xA0", "\xF0\x9F\x99\x82", "\x01", "\"", "\xFF" };
    for (size_t u = 0; u < LENGTH(units); u++) {
        size_t unit = strlen(units[u]), bytes = 0;
        for (bytes = 0; bytes + unit < sizeof(text); bytes += unit)
            memcpy(text + bytes, units[u], unit);
        text[bytes] = '\0';
        size_t line_bytes = logged(LOG_ERROR, text,
                                   (struct log_field[]){ LOG_TEXT("a", text),
                                                         LOG_TEXT("b", text),
                                                         LOG_TEXT("c", text),
                                                         LOG_TEXT("d", text),
                                                         LOG_INT("e", 5),
                                                         { .name = NULL } },
                                   line, sizeof(line));
        assert_true(line_bytes <= 4096);
        assert_int_equal(line[line_bytes - 1], '\n');
        assert_true(json_parse((struct text){ line, line_bytes }, &value, NULL));
        assert_non_null(strstr(line, "\xE2\x80\xA6\""));
        assert_non_null(strstr(line, "\"e\":5"));
        assert_non_null(strstr(line, "\"left_out\":"));
    }
}

static void quiet_levels_write_nothing(void **state)
{
    char line[256];
    enum log_level level;
    (void)state;
    assert_int_equal(logged(LOG_DEBUG, "x", NULL, line, sizeof(line)), 0);
    assert_true(logged(LOG_INFO, "x", NULL, line, sizeof(line)) > 0);
    assert_true(log_level_read("debug", &level) && level == LOG_DEBUG);
    assert_true(log_level_read("error", &level) && level == LOG_ERROR);
    assert_false(log_level_read("Error", &level));
    assert_false(log_level_read("", &level));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times_are_read),
        cmocka_unit_test(times_cut_anywhere_are_refused),
        cmocka_unit_test(times_come_back_as_printed),
        cmocka_unit_test(time_beyond_four_digit_years_is_clamped),
        cmocka_unit_test(clocks_agree_with_the_system),
        cmocka_unit_test(texts_are_compared),
        cmocka_unit_test(utf8_is_told_from_other_bytes),
        cmocka_unit_test(problems_are_told),
        cmocka_unit_test(long_problems_are_cut_between_characters),
        cmocka_unit_test(arenas_give_zeroed_aligned_memory),
        cmocka_unit_test(arenas_copy_and_print),
        cmocka_unit_test(deferred_functions_run_last_first),
        cmocka_unit_test(a_full_arena_ends_the_process),
        cmocka_unit_test(buffers_grow_to_their_limit),
        cmocka_unit_test(what_does_not_fit_is_left_out_wholly),
        cmocka_unit_test(log_lines_are_json),
        cmocka_unit_test(a_terminal_gets_readable_text),
        cmocka_unit_test(long_log_fields_are_cut_between_characters),
        cmocka_unit_test(quiet_levels_write_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
