/* The transcribe stage when the n-th thing it asks of the disk, or of the resampler, is refused: whatever n is, the
 * call is transcribed whole or tried again, never in part and never given up; and what bears a recording's name is
 * whole. */
#include "tests/unit/transcribe_fixture.h"

#include "tests/unit/failing.h"

#include "common/log.h"

#include <soxr.h>

#define RECORDING "telephone.wav"

static struct buf wanted; /* what an untroubled run describes, but for how long it took */

/* Stands before libsoxr's. */
soxr_t soxr_create(double input_rate, double output_rate, unsigned channels, soxr_error_t *ret_error,
                   soxr_io_spec_t const *io, soxr_quality_spec_t const *quality,
                   soxr_runtime_spec_t const *runtime_spec)
{
    FAILING_NEXT(soxr_create);
    if (!failing_now(FAILING_LIBRARY))
        return next(input_rate, output_rate, channels, ret_error, io, quality, runtime_spec);
    *ret_error = "memory allocation failed";
    return NULL;
}

static struct text rows_of(const struct buf *described)
{
    const char *event = strstr(described->at, "\nevent ");
    assert_non_null(event);
    return (struct text){ described->at, (size_t)(event - described->at) };
}

static enum outcome transcribe_it(void)
{
    struct asked asked = { 0 };
    openai_says("200 OK", AS_JSON, "{\"text\":\"yes\"}", "{\"text\":\"no\"}");
    return try_path(RECORDING, &asked);
}

static void expect_it_whole(const char *when)
{
    struct stat original, copy;
    if (!text_equal(rows_of(&effects), rows_of(&wanted)))
        fail_msg("%s: described\n%s\ninstead of\n%s", when, effects.at, wanted.at);
    assert_int_equal(stat(path_of(RECORDING), &original), 0);
    const char *path = strstr(effects.at, TENANT "/");
    assert_int_equal(
        stat(arena_printf(arena, "%s/%.*s", transcribe.recordings.store.dir, (int)strcspn(path, "|"), path), &copy), 0);
    assert_int_equal(copy.st_size, original.st_size);
}

static void try_all(enum failing_kind what, enum failing how, bool copied)
{
    int nth = 0, calls = 0;
    do {
        char when[64];
        begin_each(NULL);
        if (copied)
            expect(transcribe_it(), DONE, "");
        snprintf(when, sizeof(when), "call %d failed %s", ++nth, failing_names[how]);
        failing_begin(what, nth, how);
        enum outcome outcome = transcribe_it();
        calls = failing_end();
        if (outcome == REJECT || (outcome == RETRY && !why.text[0]))
            fail_msg("%s: given up: %s", when, why.text);
        if (outcome == DONE)
            expect_it_whole(when);
        assert_int_equal(count_files(".part"), 0);
        expect(transcribe_it(), DONE, "");
        expect_it_whole(when);
    } while (nth <= calls);
    print_message("%s%s: each of %d calls\n", failing_names[how], copied ? ", the copy is there" : "", calls);
    assert_true(calls > (what == FAILING_DISK ? 10 : 1)); /* they are seen */
}

static void a_disk_that_fails_costs_no_call(void **state)
{
    (void)state;
    for (enum failing how = 0; how < FAILINGS; how++) {
        try_all(FAILING_DISK, how, false);
        try_all(FAILING_DISK, how, true);
    }
}

static void nor_does_a_resampler_that_cannot_be_had(void **state)
{
    (void)state;
    try_all(FAILING_LIBRARY, FAILS_ONCE, false);
    try_all(FAILING_LIBRARY, FAILS_FOR_GOOD, true);
}

static int begin_with_what_is_wanted(void **state)
{
    int begun = begin(state);
    log_init("test_transcribe_failures", (enum log_level)(LOG_ERROR + 1)); /* it is told hundreds of times */
    begin_each(state);
    write_audio(path_of(RECORDING), SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000, 2, 2, agent_speaks, customer_speaks);
    buf_init(&wanted, 1024 * 1024);
    expect(transcribe_it(), DONE, "");
    buf_add_text(&wanted, buf_text(&effects));
    return begun;
}

static int end_with_it(void **state)
{
    buf_done(&wanted);
    return end(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_disk_that_fails_costs_no_call),
        cmocka_unit_test(nor_does_a_resampler_that_cannot_be_had),
    };
    return cmocka_run_group_tests(tests, begin_with_what_is_wanted, end_with_it);
}
