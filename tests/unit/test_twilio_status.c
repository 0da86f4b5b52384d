/* Twilio's reports of what became of a message, by the effects of record_twilio_status. */
#include "ingest/recorder.h"

#include "tests/unit/handler_fixture.h"

static struct ingest ingest = { .default_region = "US" };
static const struct stage stage = { .name = "ingest", .context = &ingest };
static const struct query_rows nothing[] = { { 0 } };

static enum outcome report(const char *url, const char *body)
{
    struct buf data;
    buf_init(&data, EVENT_INBOUND_BYTES_MAX);
    const struct twilio_status_received received = { .url = url,
                                                     .received_at = "2026-11-21T09:30:00Z",
                                                     .content_type = "application/x-www-form-urlencoded",
                                                     .signature = "s",
                                                     .encoding = "text",
                                                     .body = text_of(body) };
    twilio_status_received_write(&data, &received);
    enum outcome outcome =
        try_event(&stage, record_twilio_status,
                  &(struct event){
                      .type = "twilio.status.received", .subject = "whatsapp:+15550100001", .data = buf_text(&data) },
                  nothing, NULL);
    buf_done(&data);
    return outcome;
}

#define DELIVERY "33333333-3333-4333-8333-333333333333"

static void reports_are_passed_on(void **state)
{
    static const struct {
        const char *name, *url, *body, *event;
    } cases[] = {
        { "delivered", "https://h.test/twilio-status?delivery=" DELIVERY,
          "MessageSid=SM1&MessageStatus=delivered&To=whatsapp%3A%2B15550100001",
          "event message.reported whatsapp:+15550100001"
          " {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"delivery_id\":\"" DELIVERY
          "\","
          "\"recipient\":\"whatsapp:+15550100001\",\"status\":\"delivered\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
        { "failed", "https://h.test/twilio-status?a=b&delivery=" DELIVERY "&c",
          "MessageSid=SM1&MessageStatus=failed&To=x&ErrorCode=63016&ErrorMessage=outside",
          "event message.reported x {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"delivery_id\":\"" DELIVERY
          "\",\"recipient\":\"x\","
          "\"status\":\"failed\",\"error_code\":\"63016\",\"error_message\":\"outside\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
        { "without our marker, or anybody's number", "https://h.test/twilio-status",
          "MessageSid=SM1&MessageStatus=sent&To=&ErrorCode=",
          "event message.reported SM1"
          " {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"status\":\"sent\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
        { "a marker that is none", "https://h.test/?delivery=1", "MessageSid=SM1&MessageStatus=sent&To=x",
          "event message.reported x"
          " {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"recipient\":\"x\",\"status\":\"sent\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
        { "another name's end", "https://h.test/?xdelivery=" DELIVERY, "MessageSid=SM1&MessageStatus=sent&To=x",
          "event message.reported x"
          " {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"recipient\":\"x\",\"status\":\"sent\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
        { "a status nobody knows", "https://h.test/", "MessageSid=SM1&MessageStatus=pondering&To=x",
          "event message.reported x"
          " {\"provider\":\"twilio\",\"message_id\":\"SM1\",\"recipient\":\"x\",\"status\":\"pondering\","
          "\"reported_at\":\"2026-11-21T09:30:00Z\"}\n" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        expect(report(cases[i].url, cases[i].body), DONE);
        assert_string_equal(effects.at, cases[i].event);
    }
    (void)state;
}

static void reports_may_be_wrong(void **state)
{
    char *long_text = arena_alloc(arena, 6001);
    for (int i = 0; i < 1000; i++)
        memcpy(long_text + 6 * i, "%C3%A4", 6);
    expect(report("u", "MessageStatus=sent"), REJECT);
    assert_string_equal(why.text, "MessageSid is missing");
    expect(report("u", "MessageSid=SM1&MessageStatus="), REJECT);
    assert_string_equal(why.text, "MessageStatus is missing");
    expect(report("u", "MessageSid=%zz"), REJECT);
    expect(report("u", arena_printf(arena, "MessageSid=SM1&MessageStatus=%s", long_text)), REJECT);
    assert_string_equal(why.pointer, "/status");
    expect(report("u", arena_printf(arena, "MessageStatus=sent&MessageSid=%s", long_text)), REJECT);
    assert_string_equal(why.pointer, "/message_id");
    expect(report("u", arena_printf(arena, "MessageSid=SM1&MessageStatus=failed&To=%s&ErrorCode=%s&ErrorMessage=%s",
                                    long_text, long_text, long_text)),
           DONE);
    expect_text(effects.at, "event message.reported \xc3\xa4"); /* cut between characters: shown, not decided on */
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, handlers_start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(reports_are_passed_on),
        TEST(reports_may_be_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
