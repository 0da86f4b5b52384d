/* CallRail's list of calls: what its pages hold, and what each call in it says. */
#include "ingest/callrail_list.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define STARTED_US (INT64_C(1795614300) * 1000000) /* 2026-11-25T13:45:00Z */
#define SECOND     INT64_C(1000000)

static struct arena *arena;

static int start(void **state)
{
    struct problem why;
    (void)state;
    arena = arena_new(1024 * 1024);
    return crypto_init(&why) ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static struct callrail_listed read_call(const char *members)
{
    struct callrail_listed listed;
    struct problem why = { 0 };
    const char *object = arena_printf(arena, "{\"id\":\"CAL1\"%s%s}", *members ? "," : "", members);
    if (!callrail_listed_read(text_of(object), arena, &listed, &why))
        fail_msg("%s: %s", object, why.text);
    return listed;
}

static void a_page_has_calls_and_says_how_many_there_are(void **state)
{
    static const char *const wrong[] = {
        "",
        "[]",
        "null",
        "{\"calls\":[]}",
        "{\"calls\":{},\"total_pages\":1,\"total_records\":0}",
        "{\"calls\":[],\"total_pages\":\"1\",\"total_records\":0}",
        "{\"calls\":[],\"total_pages\":1,\"total_records\":-1}",
        "{\"calls\":[],\"total_pages\":1,\"total_records\":1.5}",
        "{\"calls\":[],\"total_pages\":1,\"total_records\":0",
    };
    struct callrail_page page;
    struct problem why;
    const char *good = "{\"page\":1,\"per_page\":250,\"total_pages\":3,\"total_records\":501,\"calls\":[{},{}]}";
    assert_true(callrail_page_read(text_of(good), &page, &why));
    assert_int_equal(page.pages, 3);
    assert_int_equal(page.records, 501);
    assert_int_equal(page.calls.kind, JSON_ARRAY);
    for (size_t i = 0; i < LENGTH(wrong); i++)
        if (callrail_page_read(text_of(wrong[i]), &page, &why))
            fail_msg("%s is no page", wrong[i]);
    (void)state;
}

static void when_a_call_is_over(void **state)
{
    static const struct {
        const char *members;
        int64_t after_s;
    } cases[] = {
        { "\"duration\":61,\"answered\":true", 61 },
        { "\"duration\":\"61\",\"answered\":true", 61 },
        { "\"duration\":61,\"answered\":false,\"voicemail\":true", 61 },
        { "\"duration\":0,\"answered\":false", 0 },
        /* people talk, or it rings */
        { "\"duration\":0,\"answered\":true", CALLRAIL_CALL_S_MAX },
        { "\"duration\":null,\"answered\":true", CALLRAIL_CALL_S_MAX },
        { "\"duration\":null,\"answered\":false", CALLRAIL_CALL_S_MAX },
        { "\"answered\":null", CALLRAIL_CALL_S_MAX },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct callrail_listed listed =
            read_call(arena_printf(arena, "\"start_time\":\"2026-11-25T08:45:00.000-05:00\",%s", cases[i].members));
        assert_int_equal(listed.started_us, STARTED_US);
        if (listed.over_us != STARTED_US + cases[i].after_s * SECOND)
            fail_msg("%s is over after %lld s", cases[i].members, (long long)(listed.over_us - STARTED_US) / SECOND);
    }
    (void)state;
}

static void a_call_whose_facts_cannot_be_read_has_no_start(void **state)
{
    static const char *const members[] = {
        "",
        "\"start_time\":null,\"duration\":61",
        "\"start_time\":\"yesterday\"",
        "\"start_time\":\"2026-11-25T13:45:00Z\",\"duration\":\"a while\"",
        "\"start_time\":\"2026-11-25T13:45:00Z\",\"recording\":\"nowhere\"",
        "\"start_time\":\"2026-11-25T13:45:00Z\",\"recording\":{}",
    };
    for (size_t i = 0; i < LENGTH(members); i++) {
        struct callrail_listed listed = read_call(members[i]);
        assert_string_equal(listed.call_id, "CAL1");
        assert_int_equal(listed.started_us, -1);
        assert_null(listed.recording_url);
    }
    (void)state;
}

static void what_is_no_call(void **state)
{
    static const char *const objects[] = { "7", "null", "[]", "{}", "{\"id\":null}", "{\"id\":\"a b\"}" };
    struct callrail_listed listed;
    struct problem why;
    for (size_t i = 0; i < LENGTH(objects); i++)
        if (callrail_listed_read(text_of(objects[i]), arena, &listed, &why))
            fail_msg("%s is no call", objects[i]);
    (void)state;
}

#define STARTED "\"start_time\":\"2026-11-25T13:45:00Z\",\"duration\":61"

static void its_event_is_one_until_its_recording_has_come(void **state)
{
    struct callrail_listed without = read_call(STARTED), tagged = read_call(STARTED ",\"tags\":[\"x\"]"),
                           recorded = read_call(STARTED ",\"recording\":\"https://r.test/1?signed=a\""),
                           again = read_call(STARTED ",\"recording\":\"https://r.test/1?signed=b\"");
    assert_string_equal(without.event_id, tagged.event_id);
    assert_string_equal(recorded.event_id, again.event_id);
    assert_string_not_equal(without.event_id, recorded.event_id);
    (void)state;
}

static void another_recording_takes_its_place(void **state)
{
    const char *members = "\"tags\":[ 1, {\"recording\":\"inside\"} ]," STARTED
                          ",\"recording\":\"https://api.test/1.json\"";
    struct callrail_listed listed = read_call(members), known = listed;
    callrail_listed_record(&listed, "https://r.test/\"1\"", arena);
    assert_string_equal(listed.body.at, "{\"id\":\"CAL1\",\"tags\":[ 1, {\"recording\":\"inside\"} ]," STARTED
                                        ",\"recording\":\"https://r.test/\\\"1\\\"\"}");
    assert_int_equal(listed.body.bytes, strlen(listed.body.at));
    assert_string_equal(listed.event_id, known.event_id);
    callrail_listed_record(&listed, NULL, arena);
    assert_string_equal(listed.body.at,
                        "{\"id\":\"CAL1\",\"tags\":[ 1, {\"recording\":\"inside\"} ]," STARTED ",\"recording\":null}");
    assert_null(listed.recording_url);
    assert_string_equal(listed.event_id, read_call(STARTED).event_id);
    (void)state;
}

static void a_link(void **state)
{
    struct problem why;
    assert_true(callrail_link_is(TEXT("{\"url\":\"https:\\/\\/r.test\"}"), &why));
    assert_string_equal(callrail_link_read(TEXT("{\"url\":\"https:\\/\\/r.test\"}"), arena), "https://r.test");
    assert_false(callrail_link_is(TEXT("{\"url\":null}"), &why));
    assert_false(callrail_link_is(TEXT("{}"), &why));
    assert_false(callrail_link_is(TEXT("RIFF"), &why));
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_page_has_calls_and_says_how_many_there_are),
        TEST(when_a_call_is_over),
        TEST(a_call_whose_facts_cannot_be_read_has_no_start),
        TEST(what_is_no_call),
        TEST(its_event_is_one_until_its_recording_has_come),
        TEST(another_recording_takes_its_place),
        TEST(a_link),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
