/* The envelope: what is read, what is refused and where, and that what was written is read back; ids and traces. */
#include "common/event.h"
#include "common/json.h"
#include "events.h"
#include "topics.h"

#include <string.h>

#include <setjmp.h>
#include <cmocka.h>     /* last: it has a macro named fail */

#define ARENA_BYTES_MAX (1024 * 1024)
#define ID "886313e1-3b8a-5372-9b90-0c9aee199e5d"
#define CAUSE "c1f8de20-59d7-5f31-a5a0-4fd0b0f4b5f5"
#define TRACE "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"

/* One attribute changed at a time. */
#define ENVELOPE(specversion, id, source, type, subject, time, more, data)                                             \
    "{\"specversion\":" specversion ",\"id\":" id ",\"source\":" source ",\"type\":" type ",\"subject\":" subject      \
    ",\"time\":" time more ",\"data\":" data "}"
#define VERSION_ "\"1.0\""
#define ID_ "\"" ID "\""
#define SOURCE_ "\"/ingest\""
#define TYPE_ "\"call.recorded\""
#define SUBJECT_ "\"CAL1\""
#define TIME_ "\"2026-11-21T06:29:49.123456Z\""
#define DATA_ "{\"call_id\":\"CAL1\"}"
#define MORE(more) ENVELOPE(VERSION_, ID_, SOURCE_, TYPE_, SUBJECT_, TIME_, more, DATA_)

struct envelope_case {
    const char *what;
    const char *json;
    const char *pointer;        /* NULL: valid */
    const char *reason;
};
static const struct envelope_case cases[] = {
    { "the least", MORE(""), NULL, NULL },
    { "attributes unknown to us", MORE(",\"partitionkey\":\"x\",\"sequence\":[1],\"partitionkey\":1"), NULL, NULL },
    { "null is absent",
      MORE(",\"tenant\":null,\"correlationid\":null,\"causationid\":null,\"traceparent\":null,\"resend\":null"), NULL,
      NULL },
    { "a malformed trace breaks nothing", MORE(",\"traceparent\":\"00-zz\""), NULL, NULL },
    { "everything",
      MORE(",\"datacontenttype\":\"application/json\",\"dataschema\":\"/s\",\"tenant\":\"acme\","
           "\"correlationid\":\"CAL1\",\"causationid\":\"" CAUSE "\",\"run\":3,\"traceparent\":\"" TRACE "\","
           "\"askagain\":true,\"resend\":false"),
      NULL, NULL },

    { "not JSON", "call", "", "" },
    { "cut off", "{\"specversion\":\"1.0\"", "", "" },
    { "an array", "[]", "", "must be an object" },
    { "empty", "", "", "" },
    { "nothing in it", "{}", "/specversion", "is missing" },
    { "no data",
      "{\"specversion\":\"1.0\",\"id\":" ID_ ",\"source\":\"a\",\"type\":\"a\",\"subject\":\"a\",\"time\":" TIME_ "}",
      "/data", "is missing" },
    { "another version", ENVELOPE("\"0.3\"", ID_, SOURCE_, TYPE_, SUBJECT_, TIME_, "", DATA_), "/specversion",
      "must be \"1.0\"" },
    { "an id that is none", ENVELOPE(VERSION_, "\"1\"", SOURCE_, TYPE_, SUBJECT_, TIME_, "", DATA_), "/id",
      "must be a UUID" },
    { "an empty source", ENVELOPE(VERSION_, ID_, "\"\"", TYPE_, SUBJECT_, TIME_, "", DATA_), "/source",
      "must have at least 1" },
    { "a number for a type", ENVELOPE(VERSION_, ID_, SOURCE_, "7", SUBJECT_, TIME_, "", DATA_), "/type",
      "must be a string" },
    { "an empty subject", ENVELOPE(VERSION_, ID_, SOURCE_, TYPE_, "\"\"", TIME_, "", DATA_), "/subject",
      "must have at least 1" },
    { "no time", ENVELOPE(VERSION_, ID_, SOURCE_, TYPE_, SUBJECT_, "\"today\"", "", DATA_), "/time", "must be a date" },
    { "data that is a string", ENVELOPE(VERSION_, ID_, SOURCE_, TYPE_, SUBJECT_, TIME_, "", "\"{}\""), "/data",
      "must be an object" },
    { "two ids", MORE(",\"id\":" ID_), "/id", "is given twice" },
    { "another content", MORE(",\"datacontenttype\":\"text/xml\""), "/datacontenttype",
      "must be \"application/json\"" },
    { "a run below 0", MORE(",\"run\":-1"), "/run", "must be at least 0" },
    { "a run beyond an int", MORE(",\"run\":2147483648"), "/run", "must be at most 2147483647" },
    { "null for a run", MORE(",\"run\":null"), "/run", "must be an integer, is null" },
    { "a cause that is no id", MORE(",\"causationid\":\"x\""), "/causationid", "must be a UUID" },
    { "a string for a switch", MORE(",\"askagain\":\"yes\""), "/askagain", "must be true or false" },
};

static void test_envelopes(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);

    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct event event;
        struct problem why = { 0 };
        bool valid = event_read(text_of(cases[i].json), arena, &event, &why);
        if (valid != (cases[i].pointer == NULL))
            fail_msg("%s: %s %s", cases[i].what, why.pointer, why.text);
        if (!valid && (strcmp(why.pointer, cases[i].pointer) != 0 ||
                       strncmp(why.text, cases[i].reason, strlen(cases[i].reason)) != 0))
            fail_msg("%s: \"%s\" \"%s\"", cases[i].what, why.pointer, why.text);
    }
    arena_free(arena);
}

static void test_key_bytes(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct event event;
    struct problem why;
    struct buf out;
    char subject[2 * 129 + 1] = "";

    for (int i = 0; i < 129; i++)
        strcat(subject, "\xC3\xA9");
    buf_init(&out, 64 * 1024);
    event_write(&out,
                &(struct event){ .id = ID,
                                 .source = "/a",
                                 .type = "t",
                                 .subject = subject,
                                 .time = "2026-11-21T06:29:49Z",
                                 .data = TEXT("{}") },
                NULL, NULL);
    assert_false(event_read(buf_text(&out), arena, &event, &why));
    assert_string_equal(why.pointer, "/subject");
    buf_done(&out);
    arena_free(arena);
}

static void test_written_is_read(void **state)
{
    (void)state;
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct call_recorded data = {
        .call_id = "CAL\"1", .recording_url = "http://x/y", .has_duration_s = true, .duration_s = 7
    };
    struct event event = {
        .id = ID,
        .source = "/ingest",
        .subject = "CAL\"1",
        .time = "2026-11-21T06:29:49.123456Z",
        .tenant = "acme",
        .correlation_id = "CAL\"1",
        .causation_id = CAUSE,
        .run = 2,
        .traceparent = TRACE,
        .ask_again = true,
        .resend = true,
    };
    struct event again;
    struct problem why;
    struct buf out;

    buf_init(&out, EVENT_BYTES_MAX);
    event_write(&out, &event, &EVENT_CALL_RECORDED, &data);
    assert_null(strchr(out.at, '\n'));
    assert_true(event_read(buf_text(&out), arena, &again, &why));
    assert_string_equal(again.id, ID);
    assert_string_equal(again.source, "/ingest");
    assert_string_equal(again.type, "call.recorded");
    assert_string_equal(again.subject, "CAL\"1");
    assert_string_equal(again.time, event.time);
    assert_string_equal(again.tenant, "acme");
    assert_string_equal(again.correlation_id, "CAL\"1");
    assert_string_equal(again.causation_id, CAUSE);
    assert_int_equal(again.run, 2);
    assert_string_equal(again.traceparent, TRACE);
    assert_true(again.ask_again && again.resend);
    assert_true(EVENT_CALL_RECORDED.check(again.data, &why));

    /* as it stands, and once more: the same line */
    struct buf twice;
    buf_init(&twice, EVENT_BYTES_MAX);
    event_write(&twice, &again, event_type_find(again.type), NULL);
    assert_string_equal(twice.at, out.at);
    buf_done(&twice);
    buf_done(&out);
    arena_free(arena);
}

static void test_data_on_one_line(void **state)
{
    (void)state;
    struct buf out;
    struct event event = { .id = ID, .source = "/a", .type = "x", .subject = "s", .time = "2026-11-21T06:29:49Z",
                           .data = TEXT("{\r\n \"a\\n\":1\n}\n") };

    buf_init(&out, EVENT_BYTES_MAX);
    event_write(&out, &event, NULL, NULL);
    assert_non_null(strstr(out.at, "\"data\":{   \"a\\n\":1 } }"));
    assert_null(strstr(out.at, "dataschema"));
    buf_done(&out);
}

static void test_names(void **state)
{
    (void)state;
    assert_ptr_equal(event_type_find("call.recorded"), &EVENT_CALL_RECORDED);
    assert_null(event_type_find("call.record"));
    assert_string_equal(EVENT_CALL_RECORDED.topic->name, "calls");
    assert_null(EVENT_EVENT_REJECTED.topic);
    assert_string_equal(topic_find("calls")->writer, "ingest");
    assert_string_equal(topic_find("dead.analyze")->writer, "analyze");
    assert_non_null(topic_find("replay.notifier"));
    assert_null(topic_find("nobody"));
    for (const struct stage_topics *stage = stage_topics; stage->stage != NULL; stage++) {
        int partitions = 0;
        const char *last = NULL;
        for (const char *const *name = stage->reads; *name != NULL; name++) {
            assert_non_null(topic_find(*name));
            assert_true(partitions == 0 || partitions == topic_find(*name)->partitions);
            partitions = topic_find(*name)->partitions;
            last = *name;
        }
        assert_memory_equal(last, "replay.", strlen("replay."));
    }
}

static void test_ids(void **state)
{
    (void)state;
    char a[UUID_BYTES], b[UUID_BYTES];

    assert_string_equal(event_id_of(a, CAUSE, "transcribe", "call.transcribed", 0),
                        event_id_of(b, CAUSE, "transcribe", "call.transcribed", 0));
    assert_true(uuid_is(text_of(a)));
    assert_string_not_equal(a, event_id_of(b, CAUSE, "transcribe", "call.transcribed", 1));
    assert_string_not_equal(a, event_id_of(b, CAUSE, "analyze", "call.transcribed", 0));
    assert_string_not_equal(a, event_id_of(b, ID, "transcribe", "call.transcribed", 0));
}

static void test_traces(void **state)
{
    (void)state;
    static const char *const malformed[] = {
        "",
        "00",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-011",
        "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
        "00-4BF92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "00-4bf92f3577b34da6a3ce929d0e0e47-6-00f067aa0ba902b7-01",
    };
    char next[TRACEPARENT_BYTES], other[TRACEPARENT_BYTES];

    assert_true(traceparent_is(text_of(TRACE)));
    assert_false(traceparent_is(text_of(NULL)));
    for (size_t i = 0; i < LENGTH(malformed); i++)
        assert_false(traceparent_is(text_of(malformed[i])));

    assert_true(
        traceparent_is(text_of(traceparent_next("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00", next))));
    assert_memory_equal(next, TRACE, 35);
    assert_string_equal(next + 52, "-00");
    assert_memory_not_equal(next + 36, TRACE + 36, 16);
    assert_true(traceparent_is(text_of(traceparent_next(NULL, next))));
    assert_true(traceparent_is(text_of(traceparent_next("nonsense", other))));
    assert_memory_not_equal(next, other, 35);
}

int main(void)
{
    struct problem why;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_envelopes),       cmocka_unit_test(test_key_bytes),
        cmocka_unit_test(test_written_is_read), cmocka_unit_test(test_data_on_one_line),
        cmocka_unit_test(test_names),           cmocka_unit_test(test_ids),
        cmocka_unit_test(test_traces),
    };
    if (!crypto_init(&why))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
