/* What a generated reader takes and refuses, by pointer and reason; and that what is written reads back. */
#include "answers.h"
#include "common/json.h"
#include "common/record.h"
#include "events.h"

#include <string.h>

#include <setjmp.h>
#include <cmocka.h>     /* last: it has a macro named fail */

#define ARENA_BYTES_MAX (1024 * 1024)
#define UUID "886313e1-3b8a-5372-9b90-0c9aee199e5d"

struct reader_case {
    const char *what;
    const struct event_type *type;
    const char *json;
    const char *pointer;        /* NULL: valid */
    const char *reason;         /* its beginning */
};

#define PROGRESSED(members)                                                                                            \
    "{\"call_id\":\"CAL1\",\"status\":\"ringing\",\"tracking_number\":null,\"customer_number\":null,"                  \
    "\"answered\":null" members "}"
#define RECORDED(url) "{\"call_id\":\"CAL1\",\"recording_url\":" url "}"
#define ANALYZED(score)                                                                                                \
    "{\"call_id\":\"CAL1\",\"provider\":\"rules\",\"lead_qualification\":\"hot\",\"booking_status\":\"booked\","       \
    "\"call_outcome_category\":\"booked\",\"sentiment_score\":" score "}"

static const struct reader_case cases[] = {
    { "the least that is required", &EVENT_CALL_PROGRESSED, PROGRESSED(""), NULL, NULL },
    { "white space", &EVENT_CALL_RECORDED, " { \"call_id\" : \"a\" ,\n\t\"recording_url\" : \"a:b\" } ", NULL, NULL },
    { "another order", &EVENT_CALL_RECORDED, "{\"recording_url\":\"http://x/y\",\"call_id\":\"a\"}", NULL, NULL },
    { "an escaped name", &EVENT_CALL_RECORDED, "{\"c\\u0061ll_id\":\"a\",\"recording_url\":\"http://x/y\"}", NULL,
      NULL },
    { "null where it may be", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":null"), NULL, NULL },

    { "not JSON", &EVENT_CALL_RECORDED, "{\"call_id\":", "", "" },
    { "two values", &EVENT_CALL_RECORDED, RECORDED("\"a:b\"") "{}", "", "" },
    { "not an object", &EVENT_CALL_RECORDED, "[]", "", "must be an object, is an array" },
    { "a member missing", &EVENT_CALL_RECORDED, "{\"call_id\":\"a\"}", "/recording_url", "is missing" },
    { "a member missing, nullable or not", &EVENT_CALL_PROGRESSED, "{\"call_id\":\"a\",\"status\":\"ringing\"}",
      "/tracking_number", "is missing" },
    { "a member nobody knows", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"colour\":1"), "/colour", "is not in the schema" },
    { "an empty name", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"\":1"), "/", "is not in the schema" },
    { "a name to escape", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"a/b~c\\n\":1"), "/a~1b~0c\n", "is not in the schema" },
    { "a member twice", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"call_id\":\"CAL1\""), "/call_id", "is given twice" },
    { "a member twice, null first", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"lead_id\":null,\"lead_id\":null"),
      "/lead_id", "is given twice" },

    { "a number for a string", &EVENT_CALL_RECORDED, RECORDED("1"), "/recording_url", "must be a string, is a number" },
    { "null for a string", &EVENT_CALL_RECORDED, RECORDED("null"), "/recording_url", "must be a string, is null" },
    { "a string for a boolean", &EVENT_CALL_PROGRESSED,
      "{\"call_id\":\"a\",\"status\":\"ringing\",\"tracking_number\":null,\"customer_number\":null,\"answered\":"
      "\"yes\"}",
      "/answered", "must be true or false, is a string" },
    { "a string for an integer", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":\"3\""), "/duration_s",
      "must be an integer, is a string" },

    { "an integer below", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":-3"), "/duration_s",
      "must be at least 0, is -3" },
    { "an integer with a fraction", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":3.5"), "/duration_s",
      "must be an integer of 64 bits, is 3.5" },
    { "an integer too large", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":9223372036854775808"), "/duration_s",
      "must be an integer of 64 bits, is 9223372036854775808" },
    { "an integer written otherwise", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"duration_s\":3.0e1"), NULL, NULL },
    { "a number at its limit", &EVENT_CALL_ANALYZED, ANALYZED("-1"), NULL, NULL },
    { "a number below", &EVENT_CALL_ANALYZED, ANALYZED("-1.5"), "/sentiment_score", "must be at least -1, is -1.5" },
    { "a number above", &EVENT_CALL_ANALYZED, ANALYZED("1.01"), "/sentiment_score", "must be at most 1, is 1.01" },
    { "a number no double holds", &EVENT_CALL_ANALYZED, ANALYZED("1e999"), "/sentiment_score",
      "must be a number that a double can hold, is 1e999" },

    { "a string too short", &EVENT_CALL_RECORDED, "{\"call_id\":\"\",\"recording_url\":\"http://x\"}", "/call_id",
      "must have at least 1 character, has 0" },
    { "a time with offset and fraction", &EVENT_CALL_PROGRESSED,
      PROGRESSED(",\"lead_id\":null,\"started_at\":\"2026-11-21T06:29:49.123+05:30\""), NULL, NULL },
    { "none of the list", &EVENT_CALL_ANALYZED,
      "{\"call_id\":\"a\",\"provider\":\"rules\",\"lead_qualification\":\"lukewarm\"}", "/lead_qualification",
      "must be \"hot\", \"warm\" or \"cold\", is \"lukewarm\"" },
    { "the beginning of one of the list", &EVENT_CALL_TRANSCRIBED, "{\"call_id\":\"a\",\"provider\":\"loca\"}",
      "/provider", "must be \"local\", \"openai\" or \"shunya\", is \"loca\"" },

    { "no UUID", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"lead_id\":\"886313e1\""), "/lead_id", "must be a UUID" },
    { "a UUID", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"lead_id\":\"" UUID "\""), NULL, NULL },
    { "a time without offset", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"started_at\":\"2026-11-21T06:29:49\""),
      "/started_at", "must be a date and time" },
    { "a day that is not", &EVENT_CALL_PROGRESSED, PROGRESSED(",\"started_at\":\"2026-02-30T06:29:49Z\""),
      "/started_at", "must be a date and time" },
    { "a relative reference", &EVENT_CALL_RECORDED, RECORDED("\"//host/path\""), "/recording_url",
      "must be an absolute URI" },
    { "a URI with a space", &EVENT_CALL_RECORDED, RECORDED("\"http://host/a b\""), "/recording_url",
      "must be an absolute URI" },
    { "a URI with half an escape", &EVENT_CALL_RECORDED, RECORDED("\"http://host/%4\""), "/recording_url",
      "must be an absolute URI" },
    { "a URI with two fragments", &EVENT_CALL_RECORDED, RECORDED("\"http://host/#a#b\""), "/recording_url",
      "must be an absolute URI" },
    { "a URI with brackets in its path", &EVENT_CALL_RECORDED, RECORDED("\"http://host/[1]\""), "/recording_url",
      "must be an absolute URI" },
    { "a URI with everything", &EVENT_CALL_RECORDED, RECORDED("\"https://u:p@[::1]:80/a;b=c/%C3%A9?d[]#e\""),
      "/recording_url", "must be an absolute URI" },
    { "a URI with what it may have", &EVENT_CALL_RECORDED,
      RECORDED("\"https://u:p@[::1]:80/a;b=c/%C3%A9?d=1&e=(2)#f/g?\""), NULL, NULL },
};

static void test_cases(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct problem why = { 0 };
        bool valid = cases[i].type->check(text_of(cases[i].json), &why);
        if (valid != (cases[i].pointer == NULL))
            fail_msg("%s: %s %s", cases[i].what, why.pointer, why.text);
        if (valid)
            continue;
        if (strcmp(why.pointer, cases[i].pointer) != 0 ||
            strncmp(why.text, cases[i].reason, strlen(cases[i].reason)) != 0)
            fail_msg("%s: \"%s\" \"%s\"", cases[i].what, why.pointer, why.text);
    }
}

static void test_lengths_count_characters(void **state)
{
    (void)state;
    struct buf json;
    struct problem why;

    buf_init(&json, 64 * 1024);
    for (int count = 128; count <= 129; count++) {
        buf_clear(&json);
        buf_add_string(&json, "{\"recording_url\":\"a:b\",\"call_id\":\"");
        for (int i = 0; i < count; i++)
            buf_add_string(&json, i % 3 == 0 ? "x" : i % 3 == 1 ? "\xF0\x9F\x93\x9E" : "\\uD83D\\uDCDE");
        buf_add_string(&json, "\"}");
        bool valid = EVENT_CALL_RECORDED.check(buf_text(&json), &why);
        assert_int_equal(valid, count == 128);
    }
    assert_string_equal(why.pointer, "/call_id");
    assert_string_equal(why.text, "must have at most 128 characters, has 129");
    buf_done(&json);
}

static void test_long_names_are_cut(void **state)
{
    (void)state;
    struct buf json;
    struct problem why;

    buf_init(&json, 64 * 1024);
    buf_add_string(&json, "{\"");
    for (int i = 0; i < 5000; i++)
        buf_add_string(&json, "\xC3\xA9");
    buf_add_string(&json, "\":1}");
    assert_false(EVENT_CALL_RECORDED.check(buf_text(&json), &why));
    assert_true(text_is_utf8(text_of(why.pointer)));
    assert_true(strlen(why.pointer) > 100);
    buf_done(&json);
}

#define ANALYSIS_HEAD                                                                                                  \
    "{\"lead_qualification\":\"hot\",\"booking_status\":\"booked\",\"call_outcome_category\":\"booked\","              \
    "\"sentiment_score\":0.25,"                                                                                        \
    "\"objections\":[{\"category\":\"price\",\"quote\":\"too \\\"dear\\\"\"},"                                         \
    "{\"category\":\"timing\",\"quote\":\"\xE2\x82\xAC\"}],"                                                           \
    "\"sop_compliance\":{\"score\":1,\"missed_steps\":[\"greeting\",\"name\"]},"
#define ANALYSIS_TAIL ",\"summary\":\"s\",\"evidence\":[]}"
#define APPOINTMENT(start)                                                                                             \
    "\"appointment\":{\"scheduled_start\":" start ",\"service_type\":\"roof\",\"location\":null,\"quote\":\"q\"}"

static void test_nested(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why;
    struct call_analysis analysis;

    const char *json = ANALYSIS_HEAD APPOINTMENT("\"2026-11-21T09:00:00-05:00\"") ANALYSIS_TAIL;
    assert_true(call_analysis_read(text_of(json), arena, &analysis, &why));
    assert_int_equal(analysis.objections_count, 2);
    assert_string_equal(analysis.objections[0].quote, "too \"dear\"");
    assert_string_equal(analysis.objections[1].category, "timing");
    assert_int_equal(analysis.sop_compliance.missed_steps_count, 2);
    assert_string_equal(analysis.sop_compliance.missed_steps[1], "name");
    assert_true(analysis.sop_compliance.score == 1);
    assert_string_equal(analysis.appointment->service_type, "roof");
    assert_null(analysis.appointment->location);
    assert_int_equal(analysis.evidence_count, 0);

    struct buf again;
    buf_init(&again, 64 * 1024);
    call_analysis_write(&again, &analysis);
    assert_string_equal(buf_text(&again).at, json);
    buf_done(&again);

    json = ANALYSIS_HEAD "\"appointment\":null" ANALYSIS_TAIL;
    assert_true(call_analysis_read(text_of(json), arena, &analysis, &why));
    assert_null(analysis.appointment);
    arena_free(arena);
}

struct nested_case {
    const char *from, *to;      /* replaced in a valid analysis */
    const char *pointer, *reason;
};
static const struct nested_case nested_cases[] = {
    { "\"category\":\"timing\",", "", "/objections/1/category", "is missing" },
    { "\"timing\"", "\"weather\"", "/objections/1/category", "must be " },
    { "\"greeting\",", "\"greeting\",7,", "/sop_compliance/missed_steps/1", "must be a string, is a number" },
    { "\"greeting\"", "\"\"", "/sop_compliance/missed_steps/0", "must have at least 1 character, has 0" },
    { "[\"greeting\",\"name\"]", "{}", "/sop_compliance/missed_steps", "must be an array, is an object" },
    { "\"2026-11-21T09:00:00-05:00\"", "\"tomorrow\"", "/appointment/scheduled_start", "must be a date" },
    { "\"location\":null,", "\"location\":null,\"location\":null,", "/appointment/location", "is given twice" },
    { "\"score\":1,", "\"score\":1,\"grade\":1,", "/sop_compliance/grade", "is not in the schema" },
    { "\"evidence\":[]", "\"evidence\":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1]", "/evidence",
      "must have at most 20 items, has 21" },
    { "\"evidence\":[]", "\"evidence\":[1]", "/evidence/0", "must be an object, is a number" },
};

static void test_nested_wrong(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    const char *json = ANALYSIS_HEAD APPOINTMENT("\"2026-11-21T09:00:00-05:00\"") ANALYSIS_TAIL;

    for (size_t i = 0; i < LENGTH(nested_cases); i++) {
        const struct nested_case *one = &nested_cases[i];
        const char *from = strstr(json, one->from);
        assert_non_null(from);
        const char *changed =
            arena_printf(arena, "%.*s%s%s", (int)(from - json), json, one->to, from + strlen(one->from));
        struct call_analysis analysis = { .summary = "untouched" };
        struct problem why;
        assert_false(call_analysis_read(text_of(changed), arena, &analysis, &why));
        assert_string_equal(analysis.summary, "untouched");
        if (strcmp(why.pointer, one->pointer) != 0 || strncmp(why.text, one->reason, strlen(one->reason)) != 0)
            fail_msg("%s: \"%s\" \"%s\"", one->to, why.pointer, why.text);
    }
    arena_free(arena);
}

static void test_absent_and_null(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why;
    struct call_progressed call = { .call_id = "a", .status = "missed", .answered = true, .has_duration_s = true };
    struct buf out;

    buf_init(&out, 64 * 1024);
    call_progressed_write(&out, &call);
    assert_string_equal(buf_text(&out).at,
                        "{\"call_id\":\"a\",\"status\":\"missed\",\"tracking_number\":null,\"customer_number\":null,"
                        "\"answered\":null,\"duration_s\":0}");
    assert_true(call_progressed_read(buf_text(&out), arena, &call, &why));
    assert_false(call.has_answered);
    assert_true(call.has_duration_s);
    assert_null(call.lead_id);

    /* what the caller forgot is written as null, and found by the check */
    buf_clear(&out);
    call_progressed_write(&out, &(struct call_progressed){ .call_id = "a" });
    assert_false(EVENT_CALL_PROGRESSED.check(buf_text(&out), &why));
    assert_string_equal(why.pointer, "/status");
    buf_done(&out);
    arena_free(arena);
}

static void test_long_text(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why;
    struct callrail_call_received hook = {
        .hook = "call.incoming",
        .received_at = "2026-11-21T06:29:49Z",
        .content_type = "application/json",
        .signature = "",
        .encoding = "text",
        .body = TEXT("{\"a\":\"\\u00e9\n\"}"),
    };
    struct callrail_call_received again;
    struct buf out;

    buf_init(&out, 64 * 1024);
    callrail_call_received_write(&out, &hook);
    assert_true(callrail_call_received_read(buf_text(&out), arena, &again, &why));
    assert_true(text_equal(hook.body, again.body));
    buf_done(&out);
    arena_free(arena);
}

static void test_ranks(void **state)
{
    (void)state;
    assert_int_equal(call_status_rank("ringing"), 0);
    assert_int_equal(call_status_rank("failed"), 4);
    assert_int_equal(call_status_rank("Ringing"), -1);
    assert_int_equal(call_status_rank(NULL), -1);
    assert_true(delivery_status_rank("delivered") < delivery_status_rank("read"));
}

static void test_schema_text(void **state)
{
    (void)state;
    struct json_value schema, type;
    struct problem why;

    assert_true(json_parse(text_of(call_analysis_schema), &schema, &why));
    assert_true(json_find(schema, "type", &type));
    assert_false(json_find(schema, "title", &type));
    assert_false(json_find(schema, "$schema", &type));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cases),           cmocka_unit_test(test_lengths_count_characters),
        cmocka_unit_test(test_long_names_are_cut), cmocka_unit_test(test_nested),
        cmocka_unit_test(test_nested_wrong),    cmocka_unit_test(test_absent_and_null),
        cmocka_unit_test(test_long_text),       cmocka_unit_test(test_ranks),
        cmocka_unit_test(test_schema_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
