/* What the door reads of CallRail's and Twilio's webhooks, and what becomes of those it cannot read. */
#include "ingest/callrail_hooks.h"

#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "events.h"
#include "ingest/inbound.h"
#include "ingest/twilio_hooks.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)96 << 20)

static int start(void **state)
{
    struct problem why;
    assert_true(crypto_init(&why));
    *state = arena_new(ARENA_BYTES_MAX);
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"
#define LONG_ID(c) c c c c c c c c c c c c c        /* 13 times ten: 130 */

static const struct {
    const char *name, *content_type, *body;
    const char *call_id;                /* NULL: unreadable */
    const char *numbers;                /* joined by a comma */
    const char *pointer, *reason;       /* parts of them */
} cases[] = {
    { "our spelling", JSON, "{\"call_id\":\"CAL1\",\"tracking_number\":\"+15550100009\"}", "CAL1", "+15550100009", 0,
      0 },
    { "CallRail's spelling", JSON,
      "{\"resource_id\":\"CAL2\",\"id\":\"77\",\"tracking_phone_number\":\"+15550100009\"}", "CAL2", "+15550100009", 0,
      0 },
    { "the older id, a number", JSON, "{\"id\":123456789}", "123456789", "", 0, 0 },
    { "both spellings: ours counts", JSON, "{\"resource_id\":\"B\",\"call_id\":\"A\"}", "A", "", 0, 0 },
    { "null is as if it were not there", JSON, "{\"call_id\":null,\"resource_id\":\"B\"}", "B", "", 0, 0 },
    { "so is empty text", JSON, "{\"call_id\":\"\",\"resource_id\":\"B\"}", "B", "", 0, 0 },
    { "a number in each spelling", JSON,
      "{\"call_id\":\"A\",\"tracking_number\":\"1\",\"tracking_phone_number\":\"2\"}", "A", "1,2", 0, 0 },
    { "escapes in names and values", JSON, "{\"c\\u0061ll_id\":\"C\\u0041L\\/1\"}", "CAL/1", "", 0, 0 },
    { "white space and other fields", JSON " ; charset=utf-8",
      " {\n \"a\" : [1,{\"call_id\":\"no\"}] , \"call_id\" : \"yes\" } ", "yes", "", 0, 0 },
    { "letters of the content type", "Application/JSON", "{\"call_id\":\"A\"}", "A", "", 0, 0 },
    { "a form", FORM, "call_id=CAL1&tracking_number=%2B15550100009&duration=61", "CAL1", "+15550100009", 0, 0 },
    { "a form in CallRail's spelling", FORM "; charset=UTF-8",
      "resource_id=CAL%31&tracking_phone_number=%28555%29+010-0009", "CAL1", "(555) 010-0009", 0, 0 },
    { "a number too long to be one", JSON, "{\"call_id\":\"A\",\"tracking_number\":\"" LONG_ID("0123456789") "\"}", "A",
      "", 0, 0 },

    { "no call", JSON, "{\"duration\":\"61\"}", NULL, 0, "/call_id", "is missing" },
    { "no call in a form", FORM, "duration=61", NULL, 0, "/call_id", "is missing" },
    { "an empty body", JSON, "", NULL, 0, "", "not JSON" },
    { "an empty form", FORM, "", NULL, 0, "/call_id", "is missing" },
    { "cut off", JSON, "{\"call_id\":\"A\"", NULL, 0, "", "it ends too early (byte 14)" },
    { "two values", JSON, "{\"call_id\":\"A\"}{}", NULL, 0, "", "something follows" },
    { "not an object", JSON, "[\"call_id\"]", NULL, 0, "", "not an object" },
    { "not UTF-8", JSON, "{\"call_id\":\"A\",\"note\":\"\xff\"}", NULL, 0, "", "not UTF-8" },
    { "a form that is not UTF-8", FORM, "call_id=A&note=\xff", NULL, 0, "", "not UTF-8" },
    { "U+0000", JSON, "{\"call_id\":\"A\\u0000\"}", NULL, 0, "", "U+0000" },
    { "U+0000 in a form", FORM, "call_id=A%00", NULL, 0, "/call_id", "printable" },
    { "a broken escape in a form", FORM, "call_id=%4", NULL, 0, "", "%" },
    { "given twice", JSON, "{\"call_id\":\"A\",\"call_id\":\"B\"}", NULL, 0, "/call_id", "is given twice" },
    { "given twice in a form", FORM, "tracking_number=1&call_id=A&tracking_number=2", NULL, 0, "/tracking_number",
      "is given twice" },
    { "an id that is an object", JSON, "{\"call_id\":{}}", NULL, 0, "/call_id", "must be text" },
    { "an id that is true", JSON, "{\"resource_id\":true}", NULL, 0, "/resource_id", "must be text" },
    { "a number that is a list", JSON, "{\"call_id\":\"A\",\"tracking_number\":[]}", NULL, 0, "/tracking_number",
      "must be text" },
    { "a huge id", JSON, "{\"call_id\":\"" LONG_ID("0123456789") "\"}", NULL, 0, "/call_id",
      "at most 128 bytes, has 130" },
    { "an id with a blank", JSON, "{\"resource_id\":\"A B\"}", NULL, 0, "/resource_id", "printable" },
    { "an id with a line break", JSON, "{\"id\":\"A\\n\"}", NULL, 0, "/id", "printable" },
    { "an id beyond ASCII", JSON, "{\"call_id\":\"\xc3\xa9\"}", NULL, 0, "/call_id", "printable" },
    { "another content type", "text/plain", "{\"call_id\":\"A\"}", NULL, 0, "", "content type" },
    { "a content type that only begins like ours", "application/jsonp", "{\"call_id\":\"A\"}", NULL, 0, "",
      "content type" },
    { "no content type", NULL, "{\"call_id\":\"A\"}", NULL, 0, "", "content type" },
};

static void calls_are_found(void **state)
{
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct problem why = { 0 };
        struct callrail_call call;
        bool readable = callrail_read(text_of(cases[i].content_type), text_of(cases[i].body), *state, &call, &why);
        print_message("%s\n", cases[i].name);
        if (!cases[i].call_id) {
            assert_false(readable);
            assert_string_equal(call.call_id, "");
            assert_string_equal(why.pointer, cases[i].pointer);
            if (!strstr(why.text, cases[i].reason))
                fail_msg("\"%s\" is not in \"%s\"", cases[i].reason, why.text);
            continue;
        }
        if (!readable)
            fail_msg("%s %s", why.pointer, why.text);
        assert_string_equal(call.call_id, cases[i].call_id);
        char numbers[2 * CALLRAIL_NUMBER_BYTES_MAX + 4] = "";
        for (int n = 0; n < call.number_count; n++)
            strcat(strcat(numbers, n > 0 ? "," : ""), call.numbers[n]);
        assert_string_equal(numbers, cases[i].numbers);
        arena_reset(*state);
    }
}

static void deep_nesting_is_unreadable(void **state)
{
    char body[1024] = "{\"call_id\":\"A\",\"deep\":";
    struct problem why = { 0 };
    struct callrail_call call;

    memset(body + strlen(body), '[', 200);
    assert_false(callrail_read(TEXT(JSON), text_of(body), *state, &call, &why));
    assert_non_null(strstr(why.text, "nested too deeply"));
}

static void too_many_form_fields_are_unreadable(void **state)
{
    char body[4096] = "call_id=A";
    struct problem why = { 0 };
    struct callrail_call call;

    for (int i = 0; i < 600; i++)
        strcat(body, "&a=b");
    assert_false(callrail_read(TEXT(FORM), text_of(body), *state, &call, &why));
    assert_non_null(strstr(why.text, "more than 512 fields"));
}

static void twilio_reports_are_read(void **state)
{
    static const struct {
        const char *content_type, *body, *sid, *status, *to, *pointer;
    } reports[] = {
        { FORM, "MessageSid=SM1&MessageStatus=sent&To=whatsapp%3A%2B15550100001", "SM1", "sent",
          "whatsapp:+15550100001", 0 },
        { FORM, "SmsSid=SM1&SmsStatus=sent&To=x", "SM1", "sent", "x", 0 },
        { FORM, "SmsSid=SM0&MessageSid=SM1&MessageSid=SM1&MessageStatus=read&To=x", "SM1", "read", "x", 0 },
        { FORM, "MessageStatus=sent&To=x", 0, 0, 0, "/MessageSid" },
        { FORM, "MessageSid=SM1&MessageSid=SM2&MessageStatus=sent&To=x", 0, 0, 0, "/MessageSid" },
        { FORM, "MessageSid=SM1&MessageStatus=&To=x", 0, 0, 0, "/MessageStatus" },
        { FORM, "MessageSid=SM1&MessageStatus=sent", 0, 0, 0, "/To" },
        { FORM, "MessageSid=SM1&MessageStatus=sent&To=a%00b", 0, 0, 0, "/To" },
        { FORM, "MessageSid=SM1&MessageStatus=sent&To=" LONG_ID("0123456789"), 0, 0, 0, "/To" },
        { FORM, "MessageSid=%&MessageStatus=sent&To=x", 0, 0, 0, "" },
        { JSON, "{}", 0, 0, 0, "" },
    };
    for (size_t i = 0; i < LENGTH(reports); i++) {
        struct problem why = { 0 };
        struct twilio_notice notice;
        bool readable =
            twilio_status_read(text_of(reports[i].content_type), text_of(reports[i].body), *state, &notice, &why);
        print_message("%s\n", reports[i].body);
        assert_int_equal(readable, reports[i].sid != NULL);
        if (!readable) {
            assert_string_equal(why.pointer, reports[i].pointer);
            continue;
        }
        assert_string_equal(notice.message_sid, reports[i].sid);
        assert_string_equal(notice.status, reports[i].status);
        assert_string_equal(notice.person, reports[i].to);
    }
}

static void twilio_messages_are_read(void **state)
{
    static const struct {
        const char *content_type, *body, *sid, *from, *pointer;
    } messages[] = {
        { FORM, "MessageSid=SM1&From=whatsapp%3A%2B15550100001&Body=hi", "SM1", "whatsapp:+15550100001", 0 },
        { FORM, "SmsSid=SM1&SmsMessageSid=SM1&From=whatsapp%3AUS.1234&NewName=1", "SM1", "whatsapp:US.1234", 0 },
        { FORM, "MessageSid=SM1&From=x&From=x&Body=a&Body=b", "SM1", "x", 0 },
        { FORM, "From=x&Body=hi", 0, 0, "/MessageSid" },
        { FORM, "MessageSid=SM1&Body=hi", 0, 0, "/From" },
        { FORM, "MessageSid=SM1&From=x&From=y", 0, 0, "/From" },
        { FORM, "MessageSid=SM1&From=" LONG_ID("0123456789"), 0, 0, "/From" },
        { FORM, "MessageSid=SM1&From=x&Body=%", 0, 0, "" },
        { FORM, "MessageSid=SM1&From=x&Body=\xff", 0, 0, "" },
        { JSON, "{}", 0, 0, "" },
    };
    for (size_t i = 0; i < LENGTH(messages); i++) {
        struct problem why = { 0 };
        struct twilio_notice notice;
        bool readable =
            twilio_message_read(text_of(messages[i].content_type), text_of(messages[i].body), *state, &notice, &why);
        print_message("%s\n", messages[i].body);
        assert_int_equal(readable, messages[i].sid != NULL);
        if (!readable) {
            assert_string_equal(why.pointer, messages[i].pointer);
            continue;
        }
        assert_string_equal(notice.message_sid, messages[i].sid);
        assert_string_equal(notice.person, messages[i].from);
        assert_string_equal(notice.status, "");
    }
}

/* Whatever the body is, the event that holds it is valid by its schema, fits its topic, and so does its dead letter. */
static void any_body_fits_into_an_event(void **state)
{
    static const struct {
        const char *name;
        size_t bytes;
        char fill;
        const char *encoding;
    } bodies[] = {
        { "nothing", 0, 'x', "text" },
        { "text", 1024, 'x', "text" },
        { "quotes", 1024, '"', "text" },
        { "zero bytes", 1024, '\0', "base64" },
        { "no UTF-8", 1024, '\xff', "base64" },
        { "the largest that stays text", INBOUND_TEXT_BYTES_MAX, '\x01', "text" },
        { "one more", INBOUND_TEXT_BYTES_MAX + 1, 'x', "base64" },
        { "the largest of all", WEBHOOK_BYTES_MAX, '"', "base64" },
    };
    for (size_t i = 0; i < LENGTH(bodies); i++) {
        struct problem why = { 0 };
        struct buf line, letter;
        char *raw = must_alloc(bodies[i].bytes + 1);
        memset(raw, bodies[i].fill, bodies[i].bytes);
        struct inbound_body body = inbound_body((struct text){ raw, bodies[i].bytes }, *state);
        print_message("%s\n", bodies[i].name);
        assert_string_equal(body.encoding, bodies[i].encoding);
        struct callrail_call_received received = { .hook = "call.completed",
                                                   .received_at = "2026-11-21T07:00:00Z",
                                                   .content_type = JSON,
                                                   .signature = "s",
                                                   .encoding = body.encoding,
                                                   .body = body.body };
        struct event event = { .id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8", .source = "/ingest", .subject = "CAL1",
                               .time = "2026-11-21T07:00:00Z" };
        buf_init(&line, (size_t)EVENT_CALLRAIL_CALL_RECEIVED.topic->message_bytes_max);
        event_write(&line, &event, &EVENT_CALLRAIL_CALL_RECEIVED, &received);
        assert_false(line.overflowed);
        struct event_rejected rejected = {
            .stage = "ingest", .reason = "r", .topic = "t", .event = buf_text(&line), .encoding = "text"
        };
        buf_init(&letter, (size_t)topic_find("dead.ingest")->message_bytes_max);
        event_write(&letter, &event, &EVENT_EVENT_REJECTED, &rejected);
        assert_false(letter.overflowed);
        struct event read;
        if (!event_read(buf_text(&letter), *state, &read, &why) || !EVENT_EVENT_REJECTED.check(read.data, &why) ||
            !event_read(buf_text(&line), *state, &read, &why) || !EVENT_CALLRAIL_CALL_RECEIVED.check(read.data, &why))
            fail_msg("%s %s", why.pointer, why.text);
        buf_done(&line);
        buf_done(&letter);
        free(raw);
        arena_reset(*state);
    }
}

static void headers_are_cut_to_what_an_event_takes(void **state)
{
    assert_string_equal(inbound_header((struct text){ NULL, 0 }, 8, *state), "");
    assert_string_equal(inbound_header(TEXT("12345678"), 8, *state), "12345678");
    assert_string_equal(inbound_header(TEXT("1234567\xc3\xa9"), 8, *state), "1234567");
    assert_string_equal(inbound_header(TEXT("ab\xff" "c"), 8, *state), "ab");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_are_found, start, finish),
        cmocka_unit_test_setup_teardown(deep_nesting_is_unreadable, start, finish),
        cmocka_unit_test_setup_teardown(too_many_form_fields_are_unreadable, start, finish),
        cmocka_unit_test_setup_teardown(twilio_reports_are_read, start, finish),
        cmocka_unit_test_setup_teardown(twilio_messages_are_read, start, finish),
        cmocka_unit_test_setup_teardown(any_body_fits_into_an_event, start, finish),
        cmocka_unit_test_setup_teardown(headers_are_cut_to_what_an_event_takes, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
