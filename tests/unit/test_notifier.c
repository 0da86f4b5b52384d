/* The notifier's handlers by their effects, and Twilio's Messages API spoken by a server of our own. */
#include "notifier/notifier.h"

#include "tests/unit/provider_fixture.h"

#include "tests/unit/handler_fixture.h"

#include "common/form.h"
#include "common/tree.h"

static struct notifier notifier;
static const struct stage stage = { .name = "notifier", .context = &notifier };

#define DELIVERY "33333333-3333-4333-8333-333333333333"
#define MESSAGE "SM00000000000000000000000000000001"

/* --- a call was analysed ------------------------------------------------------------------------------------------ */

enum { ALERT, MESSAGES, SENT, RECIPIENT, TABLES };
enum { TENANT, COMPANY, SWITCH, NAME, NUMBER, SERVICE, STARTS, REP };
static const struct query_rows usual_rows[TABLES + 1] = {
    [ALERT] = { "find_alert",
                { "tenant", "company", "alert_whatsapp", "customer_name", "customer_number", "service_type", "starts",
                  "rep_phone" },
                { "acme", "Acme", "t", "Ana Silva", "+15550100001", "water heater", "Tuesday 24.11. 10:00",
                  "+15550100147" },
                1 },
    [MESSAGES] = { "find_message", { "ask_id", "provider_status" }, { DELIVERY, NULL }, 0 },
    [SENT] = { "find_sent", { "provider_id", "day", "other" }, { NULL, "2026-11-21", "SMold" }, 1 },
    [RECIPIENT] = { "find_recipient", { "stopped", "open", "begun", "begun_with" }, { "f", "f", NULL, NULL }, 1 },
};
static struct query_rows rows[TABLES + 1];

/* The ask, made as the runtime would: with an id, its request made or looked up. */
static const struct answer *recorded;   /* given instead */
static bool look_up, found, uncertain;
static const char *begun_with;          /* an earlier try said that */
static struct ask asked;

static enum outcome make_ask(void *context, const char *name, const struct ask *asking, struct arena *of,
                             struct answer *ret)
{
    (void)context, (void)name, (void)of;
    asked = *asking;                    /* its strings end with the try: they are kept */
    const char **const kept[] = { &asked.provider, &asked.recipient, &asked.purpose,
                                  &asked.subject,  &asked.version,   &asked.content };
    for (size_t i = 0; i < LENGTH(kept); i++)
        *kept[i] = arena_copy(arena, *kept[i]);
    trying->asking = DELIVERY;
    trying->asking_content = begun_with ? begun_with : asking->content;
    trying->asked = look_up ? NULL : asking;
    enum outcome outcome = DONE;
    if (recorded)
        *ret = *recorded;
    else
        outcome = look_up ? asking->look_up(trying, asking->request, ret, &found)
                          : asking->call(trying, asking->request, ret);
    uncertain = trying->uncertain;
    trying->asking = NULL;
    trying->asked = NULL;
    ret->ask_id = DELIVERY;
    ret->content = arena_copy(of, trying->asking_content);
    return outcome;
}

static enum outcome tell(const char *data)
{
    return try_event(&stage, tell_of_call,
                     &(struct event){ .type = "call.analyzed", .subject = "CAL1", .data = text_of(data) }, rows,
                     make_ask);
}

#define ANALYZED(lead, booking, summary)                                                                               \
    "{\"call_id\":\"CAL1\",\"provider\":\"rules\",\"lead_qualification\":\"" lead "\",\"booking_status\":\"" booking \
    "\",\"call_outcome_category\":\"other\",\"sentiment_score\":0,\"summary\":" summary "}"
#define BOOKED ANALYZED("hot", "booked", "\"A heater leaks.\"")
#define HOT ANALYZED("hot", "not_booked", "\"A heater leaks.\"")

static const struct answer queued = { .body = { "queued", 6 }, .provider_id = MESSAGE };

static void a_booked_call_tells_the_rep(void **state)
{
    recorded = &queued;
    expect(tell(BOOKED), DONE);
    assert_int_equal(asked.kind, ASK_ONCE);
    assert_string_equal(asked.provider, "twilio");
    assert_string_equal(asked.recipient, "whatsapp:+15550100147");
    assert_string_equal(asked.purpose, "lead_alert");
    assert_string_equal(asked.subject, "CAL1");
    assert_string_equal(asked.version, "1");
    assert_string_equal(asked.content,
                        "Acme\nBooked: water heater, Tuesday 24.11. 10:00, Ana Silva +15550100001\nA heater leaks.");
    assert_int_equal(asked.timeout_ms, notifier.twilio_timeout_ms);
    assert_string_equal(effects.at, "row note_accepted " DELIVERY "|queued\n"
                                    "event delivery.changed whatsapp:+15550100147"
                                    " {\"delivery_id\":\"" DELIVERY "\",\"channel\":\"whatsapp\","
                                    "\"purpose\":\"lead_alert\",\"subject_id\":\"CAL1\","
                                    "\"message_id\":\"" MESSAGE "\",\"status\":\"queued\"}\n");
    (void)state;
}

static void the_headline_says_what_is_known(void **state)
{
    static const struct {
        const char *data, *service, *starts, *name, *number, *headline;
    } cases[] = {
        { BOOKED, NULL, NULL, NULL, NULL, "\nBooked: a visit, number withheld\n" },
        { BOOKED, "roof", NULL, NULL, "+1555", "\nBooked: roof, +1555\n" },
        { BOOKED, NULL, "Monday 1.1. 09:00", "Bo", "+1555", "\nBooked: a visit, Monday 1.1. 09:00, Bo +1555\n" },
        { HOT, NULL, NULL, "Bo", "+1555", "\nHot lead: Bo +1555\n" },
        { HOT, NULL, NULL, NULL, NULL, "\nHot lead: number withheld\n" },
    };
    recorded = &queued;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *const values[] = { cases[i].name, cases[i].number, cases[i].service, cases[i].starts };
        memcpy(rows[ALERT].values + NAME, values, sizeof(values));
        expect(tell(cases[i].data), DONE);
        expect_text(asked.content, cases[i].headline);
    }
    (void)state;
}

static void what_is_not_told(void **state)
{
    expect(tell(ANALYZED("cold", "not_booked", "null")), DONE);
    assert_string_equal(effects.at, "skip neither booked nor hot\n");
    expect(tell(ANALYZED("warm", "service_not_offered", "null")), DONE);
    assert_string_equal(effects.at, "skip neither booked nor hot\n");
    rows[ALERT].values[SWITCH] = "f";
    expect(tell(BOOKED), DONE);
    assert_string_equal(effects.at, "skip the company has alerts switched off\n");
    rows[ALERT].rows = 0;
    expect(tell(BOOKED), REJECT);
    assert_string_equal(why.text, "call \"CAL1\" is not there");
    expect(tell(ANALYZED("boiling", "booked", "null")), REJECT);
    assert_string_equal(why.pointer, "/lead_qualification");
    assert_null(asked.purpose);
    (void)state;
}

static void without_a_rep_the_administrator_is_told(void **state)
{
    recorded = &queued;
    rows[ALERT].values[REP] = NULL;
    expect(tell(HOT), DONE);
    assert_string_equal(asked.recipient, "whatsapp:+15550100199");
    notifier.admin_whatsapp = "whatsapp:+15550100199";
    expect(tell(HOT), DONE);
    assert_string_equal(asked.recipient, "whatsapp:+15550100199");
    notifier.admin_whatsapp = NULL;
    expect(tell(HOT), DONE);
    assert_string_equal(
        effects.at, "skip nobody to tell: the call has no rep with a phone number, and ADMIN_WHATSAPP_TO is not set\n");
    (void)state;
}

static void without_its_settings_a_message_is_blocked(void **state)
{
    const char **const settings[] = { &notifier.twilio_account, &notifier.twilio_token, &notifier.whatsapp_from,
                                      &notifier.content_lead };
    static const char *const names[] = { "TWILIO_ACCOUNT_SID", "TWILIO_AUTH_TOKEN", "TWILIO_WHATSAPP_FROM",
                                         "TWILIO_CONTENT_SID_LEAD" };
    for (size_t i = 0; i < LENGTH(settings); i++) {
        const char *before = *settings[i];
        *settings[i] = NULL;
        expect(tell(BOOKED), DONE);
        assert_string_equal(
            effects.at,
            arena_printf(
                arena,
                "row insert_blocked e7e1166e-b786-5f69-9314-12c600b32bf7|" EVENT_ID
                "|0|lead_alert/CAL1/1|acme|CAL1|whatsapp:+15550100147|"
                "lead_alert|CAL1|1|Acme\nBooked: water heater, Tuesday 24.11. 10:00, Ana Silva +15550100001\nA"
                " heater leaks.|"
                "%s is not set\nevent delivery.changed whatsapp:+15550100147 {\"delivery_id\":"
                "\"e7e1166e-b786-5f69-9314-12c600b32bf7\",\"channel\":\"whatsapp\",\"purpose\":\"lead_alert\","
                "\"subject_id\":\"CAL1\",\"status\":\"blocked\"}\n",
                names[i]));
        *settings[i] = before;
    }
    assert_null(asked.purpose);

    notifier.content_lead = NULL;
    rows[MESSAGES].rows = 1;                            /* blocked before: the same row */
    rows[MESSAGES].values[1] = "blocked";
    expect(tell(BOOKED), DONE);
    expect_text(effects.at, "{\"delivery_id\":\"" DELIVERY "\"");
    rows[MESSAGES].values[1] = NULL;                    /* sent before */
    expect(tell(BOOKED), DONE);
    assert_string_equal(effects.at, "skip TWILIO_CONTENT_SID_LEAD is not set, but the message was sent before\n");
    rows[MESSAGES].values[1] = "delivered";
    expect(tell(BOOKED), DONE);
    expect_text(effects.at, "skip ");
    (void)state;
}

/* --- what Twilio gets --------------------------------------------------------------------------------------------- */

static int start(void **state)
{
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    notifier = (struct notifier){ .twilio_account = "AC1",
                                  .twilio_token = "token-one,token-two",
                                  .twilio_url = url,
                                  .whatsapp_from = "+14155238886",
                                  .admin_whatsapp = "+15550100199",
                                  .content_lead = "HX1",
                                  .public_url = "https://hooks.test",
                                  .twilio_timeout_ms = 20000 };
    memcpy(rows, usual_rows, sizeof(rows));
    asked = (struct ask){ 0 };
    recorded = NULL;
    look_up = found = uncertain = false;
    provider_answers("201 Created", "", "{\"sid\":\"" MESSAGE "\",\"status\":\"queued\",\"error_code\":null}");
    return handlers_start(state);
}

static const char *sent_field(const char *name)
{
    struct form *form = arena_alloc(arena, sizeof(*form));
    assert_true(form_read(text_of(provider_got_body(arena)), arena, form, &why));
    return form_get(form, name);
}

static void the_form_is_as_twilio_wants_it(void **state)
{
    expect(tell(BOOKED), DONE);
    expect_text(effects.at, "\"message_id\":\"" MESSAGE "\",\"status\":\"queued\"}");
    expect_text(provider_got(arena), "POST /2010-04-01/Accounts/AC1/Messages.json HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Content-Type: application/x-www-form-urlencoded\r\n");
    expect_text(provider_got(arena), "Authorization: Basic QUMxOnRva2VuLW9uZQ==\r\n");         /* AC1:token-one */
    assert_string_equal(sent_field("To"), "whatsapp:+15550100147");
    assert_string_equal(sent_field("From"), "whatsapp:+14155238886");
    assert_string_equal(sent_field("ContentSid"), "HX1");
    assert_string_equal(sent_field("ContentVariables"),
                        "{\"1\":\"Acme\",\"2\":\"Booked: water heater, Tuesday 24.11. 10:00, Ana Silva"
                        " +15550100001\",\"3\":\"A heater leaks.\"}");
    assert_string_equal(sent_field("StatusCallback"), "https://hooks.test/twilio-status?delivery=" DELIVERY);
    assert_null(sent_field("Body"));

    notifier.public_url = NULL;
    notifier.whatsapp_from = "whatsapp:+14155238886";
    expect(tell(BOOKED), DONE);
    assert_null(sent_field("StatusCallback"));
    assert_string_equal(sent_field("From"), "whatsapp:+14155238886");
    (void)state;
}

/* A template takes neither line breaks nor empty values, and not so many characters. */
static void variables_fit_a_template(void **state)
{
    static const struct {
        const char *summary, *wanted;
    } cases[] = {
        { "\"one\\ntwo\\r\\n\\tthree     four\"", "\"3\":\"one two three four\"}" },
        { "\"  \\\"quoted\\\" & 100% + \\\\ \"", "\"3\":\"\\\"quoted\\\" & 100% + \\\\\"}" },
        { "\" \\n \"", "\"3\":\"-\"}" },
        { "null", "\"3\":\"Booked: water heater, Tuesday 24.11. 10:00, Ana Silva +15550100001\"}" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        expect(
            tell(arena_printf(
                arena,
                "{\"call_id\":\"CAL1\",\"provider\":\"rules\",\"lead_qualification\":\"hot\","
                "\"booking_status\":\"booked\","
                "\"call_outcome_category\":\"booked\",\"sentiment_score\":0,\"summary\":%s}",
                cases[i].summary)),
            DONE);
        expect_text(sent_field("ContentVariables"), cases[i].wanted);
    }
    char *huge = arena_alloc(arena, 4096);
    for (int i = 0; i < 1000; i++)
        memcpy(huge + 3 * i, "\xe2\x82\xac", 3);
    rows[ALERT].values[COMPANY] = huge;
    expect(tell(BOOKED), DONE);
    const cJSON *variables = tree_read(arena, text_of(sent_field("ContentVariables")));
    assert_int_equal(strlen(tree_string(variables, "1")), 3 * WHATSAPP_VARIABLE_CHARACTERS_MAX);
    (void)state;
}

#define ERROR(code, message, status)                                                                                   \
    "{\"code\":" #code ",\"message\":\"" message "\",\"more_info\":\"https://x\",\"status\":" #status "}"
static void twilios_answers_decide(void **state)
{
    static const struct {
        const char *name, *status, *headers, *body;
        enum outcome outcome;
        bool uncertain;
        const char *reason;
        int64_t retry_ms;
    } cases[] = {
        { "a status of its own", "201 Created", "", "{\"sid\":\"SM9\",\"status\":\"scheduled\"}", DONE, false, "", 0 },
        { "no status", "200 OK", "", "{\"sid\":\"SM9\"}", DONE, false, "", 0 },
        { "no sid", "201 Created", "", "{\"status\":\"queued\"}", RETRY, true, "without a message sid", 0 },
        { "an empty sid", "201 Created", "", "{\"sid\":\"\"}", RETRY, true, "without a message sid", 0 },
        { "a sid beyond all", "201 Created", "",
          "{\"sid\":\"0123456789012345678901234567890123456789012345678901234567890123456789\"}", RETRY, true,
          "without a message sid", 0 },
        { "not JSON", "201 Created", "", "<html>", RETRY, true, "without a message sid", 0 },
        { "not UTF-8", "201 Created", "", "{\"sid\":\"\xff\"}", RETRY, true, "without a message sid", 0 },
        { "a sender that is none", "400 Bad Request", "", ERROR(63007, "Could not find a Channel", 400), REJECT,
          false, "HTTP status 400: {\"code\":63007,\"message\":\"Could not find a Channel\"", 0 },
        { "a wrong token", "401 Unauthorized", "", ERROR(20003, "Authenticate", 401), RETRY, false,
          "twilio refuses our credentials (HTTP status 401)", 0 },
        { "forbidden", "403 Forbidden", "", ERROR(20003, "Permission denied", 403), RETRY, false,
          "refuses our credentials", 0 },
        { "an account that is none", "404 Not Found", "", ERROR(20404, "not found", 404), REJECT, false,
          "HTTP status 404", 0 },
        { "too many at once", "429 Too Many", "", ERROR(20429, "Too Many Requests", 429), RETRY, false,
          "HTTP status 429", 0 },
        { "too many, with a pause", "429 Too Many", "Retry-After: 4\r\n", ERROR(20429, "Too Many Requests", 429), RETRY,
          false, "HTTP status 429", 4000 },
        { "too slow for them", "408 Timeout", "", "", RETRY, true, "HTTP status 408", 0 },
        { "broken", "500 Error", "", ERROR(20500, "Internal", 500), RETRY, true, "HTTP status 500", 0 },
        { "overloaded", "503 Unavailable", "Retry-After: 2\r\n", "", RETRY, true, "HTTP status 503", 2000 },
        { "cut off", NULL, "", "", RETRY, true, "", 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        provider_answers(cases[i].status, cases[i].headers, cases[i].body);
        expect(tell(BOOKED), cases[i].outcome);
        assert_int_equal(uncertain, cases[i].uncertain);
        expect_text(why.text, cases[i].reason);
        assert_int_equal(retry_ms, cases[i].retry_ms);
        if (cases[i].outcome == DONE)
            expect_text(effects.at, "\"message_id\":\"SM9\",\"status\":\"accepted\"}");
        else if (cases[i].outcome == RETRY)
            assert_int_equal(effects.bytes, 0);
    }
    notifier.twilio_url = "http://127.0.0.1:1";         /* nobody listens: surely not sent */
    expect(tell(BOOKED), RETRY);
    assert_false(uncertain);
    (void)state;
}

/* About this message alone: it is seen in deliveries, and the event is done.  What is our own fault is a dead letter, and
 * seen there too. */
static void what_twilio_refuses_is_told_with_its_code(void **state)
{
    static const char *const for_good[] = { "21211", "21614", "63003", "63024", "21610", "63016", "63018" };
    for (size_t i = 0; i < LENGTH(for_good); i++) {
        provider_answers("400 Bad Request", "", arena_printf(arena, "{\"code\":%s,\"message\":\"No.\",\"status\":400}", for_good[i]));
        expect(tell(BOOKED), DONE);
        expect_text(effects.at, arena_printf(arena, "row note_failed " DELIVERY "|%s\n", for_good[i]));
        expect_text(effects.at, arena_printf(arena, "\"status\":\"failed\",\"error_code\":\"%s\"}\n", for_good[i]));
        assert_int_equal(strstr(effects.at, "row stop_number +15550100147\n") != NULL, strcmp(for_good[i], "21610") == 0);
    }
    provider_answers("400 Bad Request", "", ERROR(21655, "The ContentSid is invalid", 400));
    expect(tell(BOOKED), REJECT);
    assert_string_equal(effects.at, "row note_code " DELIVERY "|21655\n");
    provider_answers("503 Unavailable", "", ERROR(21610, "Not now", 503));
    expect(tell(BOOKED), RETRY);
    (void)state;
}

static void who_wants_no_messages_gets_none(void **state)
{
    rows[RECIPIENT].values[0] = "t";
    expect(tell(BOOKED), DONE);
    expect_text(effects.at, "|the person wants no messages at this number\nevent delivery.changed");
    assert_string_equal(provider_got(arena), "");
    expect_text(queries.at, "find_recipient +15550100147|whatsapp:+15550100147|lead_alert|CAL1|1|0|acme\n");
    (void)state;
}

/* --- was it sent? ------------------------------------------------------------------------------------------------- */

#define LISTED(sid, body) "{\"sid\":\"" sid "\",\"status\":\"delivered\",\"body\":\"" body "\"}"
#define OURS                                                                                                           \
    "New lead for Acme! Booked: water heater, Tuesday 24.11. 10:00, Ana Silva +15550100001. A heater leaks. Call now."

static void a_report_told_of_it(void **state)
{
    look_up = true;
    rows[SENT].values[0] = MESSAGE;
    expect(tell(BOOKED), DONE);
    assert_true(found);
    assert_string_equal(provider_got(arena), "");
    expect_text(effects.at, "\"message_id\":\"" MESSAGE "\",\"status\":\"accepted\"}");
    (void)state;
}

static void it_is_looked_for_in_the_list(void **state)
{
    static const struct {
        const char *name, *list;
        bool found;
    } cases[] = {
        { "ours", LISTED("SMother", "Hi") "," LISTED("SM9", OURS), true },
        { "one that we know", LISTED("SMold", OURS), false },
        { "one that we know, and ours", LISTED("SMold", OURS) "," LISTED("SM9", OURS), true },
        { "another call's", LISTED("SM9", "New lead for Acme! Booked: roof, +1555. A heater leaks. Call now."), false },
        { "no text", "{\"sid\":\"SM9\",\"body\":null}", false },
        { "no sid", "{\"body\":\"" OURS "\"}", false },
        { "nonsense", "null,[],1,\"x\"", false },
        { "nothing", "", false },
    };
    look_up = true;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        found = false;
        provider_answers("200 OK", "", arena_printf(arena, "{\"messages\":[%s]}", cases[i].list));
        tell(BOOKED);
        assert_int_equal(found, cases[i].found);
        if (found)
            expect_text(effects.at, "\"message_id\":\"SM9\",\"status\":\"delivered\"}");
    }
    expect_text(
        provider_got(arena),
        "GET /2010-04-01/Accounts/AC1/Messages.json?To=whatsapp%3A%2B15550100147&DateSent%3E=2026-11-21"
        "&PageSize=1000 HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Authorization: Basic QUMxOnRva2VuLW9uZQ==\r\n");
    expect_text(queries.at, "find_sent " DELIVERY "|whatsapp:+15550100147\n");
    (void)state;
}

static void what_was_begun_in_other_words_is_found_and_sent_in_those(void **state)
{
    begun_with = "Acme\nHot\nA boiler";
    look_up = true;
    provider_answers("200 OK", "", "{\"messages\":[" LISTED("SM8", OURS) "]}");
    tell(BOOKED);
    assert_false(found);
    provider_answers("200 OK", "", "{\"messages\":[" LISTED("SM9", "New lead for Acme! Hot. A boiler. Call now.") "]}");
    tell(BOOKED);
    assert_true(found);
    look_up = false;
    provider_answers("201 Created", "", "{\"sid\":\"" MESSAGE "\",\"status\":\"queued\"}");
    expect(tell(BOOKED), DONE);
    const cJSON *variables = tree_read(arena, text_of(sent_field("ContentVariables")));
    assert_string_equal(tree_string(variables, "2"), "Hot");
    assert_string_equal(tree_string(variables, "3"), "A boiler");
    assert_null(tree_get(variables, "4"));
    (void)state;
}

static void a_look_up_that_fails_is_tried_again(void **state)
{
    static const char *const unreadable[] = { "", "upstream error", "{\"messages\":[", "{}", "[]", "{\"messages\":null}" };
    look_up = true;
    for (size_t i = 0; i < LENGTH(unreadable); i++) {
        provider_answers("200 OK", "", unreadable[i]);
        expect(tell(BOOKED), RETRY);
        assert_false(found);
        assert_string_equal(why.text, "twilio's list of messages cannot be read");
    }
    provider_answers("500 Error", "", "");
    expect(tell(BOOKED), RETRY);
    assert_false(uncertain);
    provider_answers("401 No", "", "");
    expect(tell(BOOKED), RETRY);
    provider_answers(NULL, "", "");
    expect(tell(BOOKED), RETRY);
    assert_false(uncertain);
    rows[SENT].rows = 0;
    expect(tell(BOOKED), REJECT);
    assert_string_equal(why.text, "the row of the message is gone");
    (void)state;
}

/* --- what became of it -------------------------------------------------------------------------------------------- */

static void reports_move_a_message_forward(void **state)
{
    static const struct {
        const char *name, *before, *known_id, *report, *effects;
    } cases[] = {
        { "the first", NULL, MESSAGE, "\"status\":\"sent\"",
          "row update_delivery " DELIVERY "|sent|NULL|NULL|" MESSAGE "\n"
          "event delivery.changed whatsapp:+15550100147 {\"delivery_id\":\"" DELIVERY
          "\",\"channel\":\"whatsapp\",\"purpose\":\"lead_alert\","
          "\"subject_id\":\"CAL1\",\"message_id\":\"" MESSAGE "\",\"status\":\"sent\"}\n" },
        { "of a message whose answer was lost", NULL, NULL, "\"status\":\"queued\"",
          "row update_delivery " DELIVERY "|queued|NULL|NULL|" MESSAGE "\n" },
        { "after it was blocked", "blocked", NULL, "\"status\":\"accepted\"",
          "row update_delivery " DELIVERY "|accepted|" },
        { "the next", "sent", MESSAGE, "\"status\":\"delivered\"", "row update_delivery " DELIVERY "|delivered|" },
        { "read at once", "sent", MESSAGE, "\"status\":\"read\"", "row update_delivery " DELIVERY "|read|" },
        { "failed", "sent", MESSAGE,
          "\"status\":\"failed\",\"error_code\":\"63016\",\"error_message\":\"outside the window\"",
          "row update_delivery " DELIVERY "|failed|63016|outside the window|" MESSAGE "\n" },
        { "the same again", "sent", MESSAGE, "\"status\":\"sent\"", "skip \"sent\" is no news after \"sent\"\n" },
        { "late", "delivered", MESSAGE, "\"status\":\"sent\"", "skip \"sent\" is no news after \"delivered\"\n" },
        { "after the end", "failed", MESSAGE, "\"status\":\"delivered\"",
          "skip \"delivered\" is no news after \"failed\"\n" },
        { "after a status we do not rank", "scheduled", MESSAGE, "\"status\":\"accepted\"",
          "row update_delivery " DELIVERY "|accepted|" },
        { "a status nobody knows", "sent", MESSAGE, "\"status\":\"pondering\"",
          "skip status \"pondering\" is not known\n" },
        { "another message's", "sent", "SMother", "\"status\":\"delivered\"",
          "skip message \"" MESSAGE "\" is not the one this delivery is known by\n" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const struct query_rows delivery[] = {
            { "find_delivery",
              { "ask_id", "tenant", "recipient", "purpose", "subject", "version", "status", "provider_id" },
              { DELIVERY, "acme", "whatsapp:+15550100147", "lead_alert", "CAL1", "1", cases[i].before, cases[i].known_id },
              1 },
            { 0 },
        };
        print_message("%s\n", cases[i].name);
        expect(
            try_event(&stage, note_report,
                      &(struct event){ .type = "message.reported",
                                       .subject = "whatsapp:+15550100147",
                                       .data = text_of(arena_printf(arena,
                                                                    "{\"provider\":\"twilio\",\"message_id\":\"" MESSAGE
                                                                    "\",\"delivery_id\":\"" DELIVERY "\",%s}",
                                                                    cases[i].report)) },
                      delivery, NULL),
            DONE);
        expect_text(effects.at, cases[i].effects);
        assert_string_equal(queries.at, "find_delivery twilio|" DELIVERY "|" MESSAGE "\n");
    }
    (void)state;
}

static void reports_of_others_are_passed_over(void **state)
{
    const struct query_rows nothing[] = { { 0 } };
    const struct event report = { .type = "message.reported",
                                  .subject = "x",
                                  .data =
                                      TEXT("{\"provider\":\"twilio\",\"message_id\":\"SMx\",\"status\":\"sent\"}") };
    expect(try_event(&stage, note_report, &report, nothing, NULL), DONE);
    assert_string_equal(effects.at, "skip message \"SMx\" is not one of ours\n");
    assert_string_equal(queries.at, "find_delivery twilio|NULL|SMx\n");
    expect(try_event(
               &stage, note_report,
               &(struct event){ .type = "message.reported", .subject = "x", .data = TEXT("{\"provider\":\"pigeon\"}") },
               nothing, NULL),
           REJECT);
    assert_string_equal(why.pointer, "/provider");
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_booked_call_tells_the_rep),
        TEST(the_headline_says_what_is_known),
        TEST(what_is_not_told),
        TEST(without_a_rep_the_administrator_is_told),
        TEST(without_its_settings_a_message_is_blocked),
        TEST(the_form_is_as_twilio_wants_it),
        TEST(variables_fit_a_template),
        TEST(twilios_answers_decide),
        TEST(what_twilio_refuses_is_told_with_its_code),
        TEST(who_wants_no_messages_gets_none),
        TEST(a_report_told_of_it),
        TEST(it_is_looked_for_in_the_list),
        TEST(what_was_begun_in_other_words_is_found_and_sent_in_those),
        TEST(a_look_up_that_fails_is_tried_again),
        TEST(reports_move_a_message_forward),
        TEST(reports_of_others_are_passed_over),
    };
    return cmocka_run_group_tests(tests, provider_start, provider_stop);
}
