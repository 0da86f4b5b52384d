/* What people write by WhatsApp, by the recorder's effects: what was said, by whom, and in whose conversation it is. */
#include "ingest/recorder.h"

#include "tests/unit/handler_fixture.h"

static struct ingest ingest;
static const struct stage stage = { .name = "ingest", .context = &ingest };

#define NUMBER "+15550100001"
#define FROM "From=whatsapp%3A%2B15550100001"
#define FROM_FORMAT "From=whatsapp%%3A%%2B15550100001"
#define LATIN_A "%C3%A4"

/* Whose number it is, as find_writer answers. */
static struct query_rows writer[2];

static void writer_is(const char *tenant, const char *email, const char *known)
{
    writer[0] =
        (struct query_rows){ "find_writer", { "tenant", "email", "known" }, { tenant, email, known }, !!tenant };
    writer[1] = (struct query_rows){ 0 };
}

static enum outcome arrives(const char *body)
{
    struct buf data;
    buf_init(&data, EVENT_INBOUND_BYTES_MAX);
    const struct twilio_message_received received = {
        .url = "https://h.test/whatsapp-webhook",
        .received_at = EVENT_TIME,
        .content_type = "application/x-www-form-urlencoded",
        .signature = "s",
        .encoding = "text",
        .body = text_of(body),
    };
    twilio_message_received_write(&data, &received);
    enum outcome outcome = try_event(
        &stage, record_twilio_message,
        &(struct event){ .type = "twilio.message.received", .subject = "whatsapp:" NUMBER, .data = buf_text(&data) },
        writer, NULL);
    buf_done(&data);
    return outcome;
}

static int start(void **state)
{
    ingest = (struct ingest){ .default_tenant = "acme" };
    writer_is("beta", "ana@beta.test", "f");
    return handlers_start(state);
}

static void a_salesperson_writes(void **state)
{
    (void)state;
    expect(arrives("MessageSid=SM1&" FROM "&Body=hello+%F0%9F%91%8B&NumMedia=0&MessageType=text"), DONE);
    assert_string_equal(queries.at, "find_writer " NUMBER "|acme|SM1\n");
    assert_string_equal(effects.at,
                        "row insert_incoming beta|SM1|ana@beta.test|" NUMBER "|text|hello \xF0\x9F\x91\x8B|" EVENT_TIME
                        "\n"
                        "row note_received beta|" NUMBER "|" EVENT_TIME "\n"
                        "row receive_there beta|ana@beta.test|" NUMBER "|" EVENT_TIME "\n"
                        "event chat.received ana@beta.test {\"message_id\":\"SM1\",\"from\":\"" NUMBER "\","
                        "\"salesperson\":\"ana@beta.test\",\"kind\":\"text\",\"text\":\"hello \xF0\x9F\x91\x8B\"}\n");
}

static void somebody_nobody_knows_writes(void **state)
{
    (void)state;
    writer_is("acme", NULL, "f");
    expect(arrives("MessageSid=SM1&" FROM "&Body=hi"), DONE);
    assert_string_equal(effects.at, "row insert_incoming acme|SM1|NULL|" NUMBER "|text|hi|" EVENT_TIME "\n"
                                    "event chat.received " NUMBER " {\"message_id\":\"SM1\",\"from\":\"" NUMBER "\","
                                    "\"kind\":\"text\",\"text\":\"hi\"}\n");
}

static void a_number_of_nobody_and_no_company(void **state)
{
    (void)state;
    writer_is(NULL, NULL, NULL);
    expect(arrives("MessageSid=SM1&" FROM "&Body=hi"), REJECT);
    expect_text(why.text, "DEFAULT_TENANT \"acme\" is no company");
    ingest.default_tenant = NULL;
    expect(arrives("MessageSid=SM1&" FROM "&Body=hi"), REJECT);
    expect_text(why.text, "DEFAULT_TENANT is not set");
}

static void what_is_known_is_told_once(void **state)
{
    (void)state;
    writer_is("beta", "ana@beta.test", "t");
    expect(arrives("MessageSid=SM1&" FROM "&Body=hi"), DONE);
    assert_string_equal(effects.at, "skip message SM1 is known already\n");
}

/* Whatever people send: its kind and its words. */
static void what_was_said(void **state)
{
    static const struct {
        const char *body, *event;
    } cases[] = {
        { "Body=hi&NumMedia=0&MessageType=a_new_one", "\"kind\":\"text\",\"text\":\"hi\"}" },
        { "Body=&ButtonText=Yes&ButtonPayload=y&MessageType=button", "\"kind\":\"text\",\"text\":\"Yes\"}" },
        { "Body=&ListTitle=Monday&ListId=1&MessageType=interactive", "\"kind\":\"text\",\"text\":\"Monday\"}" },
        { "Body=Monday&ListTitle=Other&MessageType=interactive", "\"kind\":\"text\",\"text\":\"Monday\"}" },
        { "NumMedia=1&MediaUrl0=https%3A%2F%2Fx%2F0&MediaContentType0=audio%2Fogg%3B+codecs%3Dopus&MessageType=audio",
          "\"kind\":\"voice\",\"media_url\":\"https://x/0\",\"media_type\":\"audio/ogg; codecs=opus\"}" },
        { "NumMedia=2&MediaUrl0=https%3A%2F%2Fx%2F0&MediaContentType0=image%2Fjpeg&MediaUrl1=https%3A%2F%2Fx%2F1"
          "&MediaContentType1=AUDIO%2Fmpeg&Body=look",
          "\"kind\":\"voice\",\"text\":\"look\",\"media_url\":\"https://x/1\",\"media_type\":\"AUDIO/mpeg\"}" },
        { "NumMedia=1&MediaUrl0=https%3A%2F%2Fx%2F0&MediaContentType0=image%2Fjpeg&Body=the+roof&MessageType=image",
          "\"kind\":\"media\",\"text\":\"the roof\"}" },
        { "NumMedia=1&MediaContentType0=audio%2Fogg", "\"kind\":\"media\"}" },
        { "NumMedia=1&MediaUrl0=&MediaContentType0=audio%2Fogg", "\"kind\":\"media\"}" },
        { "NumMedia=2147483647&MediaUrl99=https%3A%2F%2Fx&MediaContentType99=audio%2Fogg", "\"kind\":\"media\"}" },
        { "NumMedia=-1&Body=hi", "\"kind\":\"text\",\"text\":\"hi\"}" },
        { "NumMedia=0&Latitude=38.9&Longitude=-77.0&MessageType=location&Label=Office", "\"kind\":\"media\"}" },
        { "NumMedia=0&MessageType=contacts&Body=Bo+Lee", "\"kind\":\"media\",\"text\":\"Bo Lee\"}" },
        { "NumMedia=1&MediaUrl0=https%3A%2F%2Fx%2F0&MediaContentType0=image%2Fwebp&MessageType=sticker",
          "\"kind\":\"media\"}" },
        { "Body=+%0A", "\"kind\":\"media\"}" },
        { "", "\"kind\":\"media\"}" },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].body);
        expect(arrives(arena_printf(arena, "MessageSid=SM1&" FROM_FORMAT "&%s", cases[i].body)), DONE);
        expect_text(effects.at, cases[i].event);
    }
}

static void an_address_is_taken_as_it_is(void **state)
{
    static const char *const addresses[][2] = {
        { "whatsapp%3AUS.13491208655302741918", "whatsapp:US.13491208655302741918" },
        { "whatsapp%3A%2B0123456789", "whatsapp:+0123456789" },
        { "%2B15550100001", "+15550100001" },
        { "messenger%3A123", "messenger:123" },
    };
    (void)state;
    writer_is("acme", NULL, "f");
    for (size_t i = 0; i < LENGTH(addresses); i++) {
        expect(arrives(arena_printf(arena, "MessageSid=SM1&From=%s&Body=hi", addresses[i][0])), DONE);
        expect_text(effects.at, arena_printf(arena, "event chat.received %s {", addresses[i][1]));
    }
}

static char *many(const char *one, int count)
{
    struct buf all;
    buf_init(&all, 1 << 20);
    for (int i = 0; i < count; i++)
        buf_add_string(&all, one);
    char *copy = arena_copy_text(arena, buf_text(&all));
    buf_done(&all);
    return copy;
}

static void long_texts_are_cut_between_characters(void **state)
{
    (void)state;
    expect(arrives(arena_printf(arena, "MessageSid=SM1&" FROM_FORMAT "&Body=%s", many(LATIN_A, 4096))), DONE);
    expect_text(effects.at, arena_printf(arena, "\"text\":\"%s\"}", many("\xc3\xa4", 4096)));
    expect(arrives(arena_printf(arena, "MessageSid=SM1&" FROM_FORMAT "&Body=x%s", many(LATIN_A, 5000))), DONE);
    expect_text(effects.at, arena_printf(arena, "\"text\":\"x%s\"}", many("\xc3\xa4", 4095)));
}

static void what_cannot_be_read_is_a_dead_letter(void **state)
{
    (void)state;
    expect(arrives(FROM "&Body=hi"), REJECT);
    assert_string_equal(why.text, "MessageSid is missing");
    expect(arrives("MessageSid=SM1&Body=hi"), REJECT);
    assert_string_equal(why.text, "From is missing");
    expect(arrives("MessageSid=%zz"), REJECT);
    expect(arrives(arena_printf(arena, FROM_FORMAT "&MessageSid=%s", many("a", 65))), REJECT);
    assert_string_equal(why.pointer, "/message_id");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_salesperson_writes),
        TEST(somebody_nobody_knows_writes),
        TEST(a_number_of_nobody_and_no_company),
        TEST(what_is_known_is_told_once),
        TEST(what_was_said),
        TEST(an_address_is_taken_as_it_is),
        TEST(long_texts_are_cut_between_characters),
        TEST(what_cannot_be_read_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
