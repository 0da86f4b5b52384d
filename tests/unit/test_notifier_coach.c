/* The coach's handlers by their effects, and HubSpot's answers spoken by a server of our own. */
#include "notifier/hubspot.h"

#include "tests/unit/provider_fixture.h"

#include "tests/unit/handler_fixture.h"

#include "common/tree.h"

static struct notifier notifier;
static const struct stage stage = { .name = "notifier", .context = &notifier };

#define MEETING  "44444444-4444-4444-8444-444444444444"
#define CLIENT   "55555555-5555-4555-8555-555555555555"
#define DELIVERY "33333333-3333-4333-8333-333333333333"

enum { ROW_INSTANCES, ROW_RECIPIENT, ROW_ANNOUNCED, TABLES };
enum { EMAIL = 9, CONTACT, STATUS = 13, NOTE_STATE, NOTE_OUTCOME, NOTE_ID, NOTE_VERSION, NOTE_NEWER, NOTE_DUE, NOTE_AGE };
static struct query_rows rows[TABLES + 1];
/* A meeting has more columns than the fixture's rows. */
static const struct {
    const char *column, *value;
} usual[] = {
    { "meeting_id", MEETING },
    { "tenant", "acme" },
    { "title", "Roof <1>" },
    { "salesperson_email", "ana@acme.test" },
    { "phone", "+15550100147" },
    { "starts", "Monday, 23 November, 10:00" },
    { "client_id", CLIENT },
    { "client", "Bo Lee" },
    { "company", NULL },
    { "client_email", "bo@lee.test" },
    { "hubspot_contact_id", NULL },
    { "revision", "1" },
    { "plan_version", "2" },
    { "status", "reminder_sent" },
    { "note_state", NULL },
    { "note_outcome", NULL },
    { "hubspot_note_id", NULL },
    { "note_version", NULL },
    { "note_newer", "f" },
    { "note_due", "t" },
    { "note_age_s", "0" },
    { "plan_state", NULL },
    { "plan_sent_version", NULL },
    { "due", "t" },
    { "begun", "t" },
    { "ended", "t" },
    { "tomorrow_s", "3600" },
    { "made_version", NULL },
    { "summary", NULL },
    { "step1", NULL },
    { "step2", NULL },
    { "step3", NULL },
    { "provider", NULL },
    { "note_source_time", NULL },
};
static const char *meeting[LENGTH(usual)];

static enum outcome answer_meeting(void *context, const struct statement *statement, struct params params,
                                   struct arena *of, struct rows *ret)
{
    static const char *names[LENGTH(usual)];
    if (strcmp(statement->name, "find_meeting") != 0)
        return answer_query(context, statement, params, of, ret);
    for (size_t i = 0; i < LENGTH(usual); i++)
        names[i] = usual[i].column;
    *ret = (struct rows){ .count = 1, .columns = LENGTH(usual), .values = meeting, .names = names };
    return DONE;
}

/* Twilio takes everything, unless it is away; HubSpot is really asked, for the contact too unless it is known. */
static bool contact_known, look_up, found, uncertain, twilio_away;
static struct ask asked;
static char said[4096];

static enum outcome make_ask(void *context, const char *name, const struct ask *asking, struct arena *of,
                             struct answer *ret)
{
    (void)context;
    trying->asking = DELIVERY;
    trying->asked = look_up ? NULL : asking;
    enum outcome outcome = DONE;
    *ret = (struct answer){ .body = TEXT("queued"), .provider_id = "SM1" };
    if (strcmp(asking->provider, "twilio") == 0) {
        snprintf(said, sizeof(said), "%s", asking->content);
        outcome = twilio_away ? RETRY : DONE;
    } else if (contact_known && strcmp(name, "hubspot_contact") == 0) {
        ret->body = TEXT("101");
    } else {
        asked = *asking;
        asked.recipient = arena_copy(arena, asking->recipient);
        asked.version = arena_copy(arena, asking->version);
        assert_true(asking->no_circuit);
        outcome = look_up && asking->look_up ? asking->look_up(trying, asking->request, ret, &found)
                                             : asking->call(trying, asking->request, ret);
        uncertain = trying->uncertain;
        if (look_up && asking->look_up && outcome == DONE && !found)
            outcome = RETRY; /* where it would be written now */
    }
    ret->body.at = arena_copy_text(of, ret->body);
    ret->provider_id = arena_copy(of, ret->provider_id);
    ret->recorded = look_up && asking->look_up != NULL;
    ret->ask_id = DELIVERY;
    ret->content = arena_copy(of, asking->content);
    trying->asking = NULL;
    trying->asked = NULL;
    return outcome;
}

static enum outcome try_it(stage_handler *handle, const char *type, const char *data)
{
    const struct event event = { .id = EVENT_ID,
                                 .source = "/test",
                                 .type = type,
                                 .subject = "ana@acme.test",
                                 .time = EVENT_TIME,
                                 .tenant = "acme",
                                 .data = text_of(data) };
    const struct work_probe probe = { .query = answer_meeting, .ask = make_ask, .context = rows };
    struct buf message;
    tried = handle;
    why = (struct problem){ 0 };
    said[0] = '\0';
    buf_init(&message, EVENT_BYTES_MAX);
    buf_clear(&effects);
    buf_clear(&queries);
    event_write(&message, &event, event_type_find(type), NULL);
    enum outcome outcome = work_try(&stage, watched, buf_text(&message), &probe, &effects, &why);
    buf_done(&message);
    return outcome;
}

#define CHAT(act, more)                                                                                                \
    "{\"message_id\":\"SMin\",\"from\":\"+15550100147\",\"salesperson\":\"ana@acme.test\",\"act\":\"" act              \
    "\",\"meeting_id\":\"" MEETING "\"" more "}"
static enum outcome chat(const char *data)
{
    return try_it(tell_answer, "chat.answered", data);
}

static enum outcome done(void)
{
    return chat(CHAT("complete", ",\"outcome\":\"Bo & Ann signed\\nat 9 < 10\""));
}

static int start(void **state)
{
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u", server.port);
    notifier = (struct notifier){ .twilio_account = "AC1",
                                  .twilio_token = "token",
                                  .twilio_url = url,
                                  .whatsapp_from = "+14155238886",
                                  .hubspot_token = "pat-1,pat-2",
                                  .hubspot_url = url,
                                  .hubspot_path = "/crm/v3/objects",
                                  .content_plan = "HXplan",
                                  .content_reminder = "HXreminder",
                                  .twilio_timeout_ms = 20000,
                                  .hubspot_timeout_ms = 20000,
                                  .messages = PACE_NEW,
                                  .searches = PACE_NEW };
    for (size_t i = 0; i < LENGTH(usual); i++)
        meeting[i] = usual[i].value;
    rows[ROW_INSTANCES] = (struct query_rows){ "count_instances", { "live" }, { "3" }, 1 };
    rows[ROW_RECIPIENT] =
        (struct query_rows){ "find_recipient", { "stopped", "open", "begun", "begun_with" }, { "f", "t", NULL, NULL }, 1 };
    rows[ROW_ANNOUNCED] = (struct query_rows){ "find_announced", { "meeting_id" }, { MEETING }, 0 };
    contact_known = look_up = found = uncertain = twilio_away = false;
    provider_answers("200 OK", "", "{\"id\":\"101\",\"results\":[{\"id\":\"101\"}]}");
    return handlers_start(state);
}

/* --- the note ----------------------------------------------------------------------------------------------------- */

#define NOTED(state, contact, note, error, version)                                                                    \
    "|Bo & Ann signed\nat 9 < 10|" state "|" contact "|" note "|" error "|" version "|" EVENT_TIME "|NULL\n"

static void a_note_is_as_hubspot_wants_it(void **state)
{
    expect(done(), DONE);
    expect_text(provider_got(arena), "POST /crm/v3/objects/notes HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Authorization: Bearer pat-1\r\n");
    const cJSON *body = tree_read(arena, text_of(provider_got_body(arena))), *properties = tree_get(body, "properties");
    expect_text(tree_string(properties, "hs_note_body"),
                "<strong>Roof &lt;1&gt;</strong>, Monday, 23 November, 10:00<br><br>Bo &amp; Ann signed<br>at 9 &lt; "
                "10<br><br>Noted by ana@acme.test");
    assert_string_equal(tree_string(properties, "hs_timestamp"), "1795271400000");
    const cJSON *association = cJSON_GetArrayItem(tree_get(body, "associations"), 0),
                *type = cJSON_GetArrayItem(tree_get(association, "types"), 0);
    assert_string_equal(tree_string(tree_get(association, "to"), "id"), "101");
    assert_int_equal(tree_count(type, "associationTypeId"), 202);
    assert_string_equal(asked.version, "1/1");
    assert_string_equal(asked.recipient, "bo@lee.test");
    assert_string_equal(said, "\"Roof <1>\" with Bo Lee is completed, and your note is in HubSpot.");
    expect_text(effects.at, "row complete_meeting " MEETING "|1|Bo & Ann signed\nat 9 < 10\n");
    expect_text(effects.at, "row write_note acme|" MEETING "|1" NOTED("logged", "101", "101", "NULL", "1"));
    (void)state;
}

#define NOT_UNDERSTOOD "HubSpot's answer cannot be understood"
#define ERROR(more) "{\"status\":\"error\",\"message\":\"Not so.\",\"correlationId\":\"c\"" more "}"
static void hubspots_answers_decide(void **state)
{
    static const struct {
        const char *name, *status, *headers, *body, *state, *error;
        int64_t wait_s;
        bool uncertain;
    } cases[] = {
        { "a key that is none", "401 Unauthorized", "", ERROR(",\"category\":\"INVALID_AUTHENTICATION\""), "refused",
          "HTTP status 401, INVALID_AUTHENTICATION: Not so.", 0, false },
        { "scopes", "403 Forbidden", "", ERROR(",\"category\":\"MISSING_SCOPES\""), "refused",
          "HTTP status 403, MISSING_SCOPES: Not so.", 0, false },
        { "a rule of the account's", "400 Bad Request", "", ERROR(",\"category\":\"VALIDATION_ERROR\""), "refused",
          "HTTP status 400, VALIDATION_ERROR: Not so.", 0, false },
        { "a conflict", "409 Conflict", "", ERROR(""), "refused", "HTTP status 409: Not so.", 0, false },
        { "no reason", "400 Bad Request", "", "", "refused", "HTTP status 400", 0, false },
        { "a page", "400 Bad Request", "", "<html>\xff", "refused", "HTTP status 400", 0, false },
        { "locked", "423 Locked", "", ERROR(""), "waiting", "HTTP status 423: Not so.", 60, false },
        { "moving", "477 Migration", "Retry-After: 7200\r\n", ERROR(""), "waiting", "HTTP status 477: Not so.", 7200,
          false },
        { "moving, for who knows how long", "477 Migration", "", ERROR(""), "waiting", "HTTP status 477: Not so.", 3600,
          false },
        { "too many", "429 Too Many", "",
          ERROR(",\"errorType\":\"RATE_LIMIT\",\"policyName\":\"TEN_SECONDLY_ROLLING\""), "waiting",
          "HTTP status 429, RATE_LIMIT: Not so.", 60, false },
        { "too many today", "429 Too Many", "", ERROR(",\"category\":\"RATE_LIMITS\",\"policyName\":\"DAILY\""),
          "waiting", "HTTP status 429, RATE_LIMITS: Not so.", 3660, false },
        { "broken", "502 Bad Gateway", "", "", "waiting", "HTTP status 502", 60, true },
        { "too slow", "408 Timeout", "", "", "waiting", "HTTP status 408", 60, true },
        { "theirs", "524 Timeout", "", "", "waiting", "HTTP status 524", 60, true },
        { "cut off", NULL, "", "", "waiting", "", 60, true },
        { "nobody of that address", "404 Not Found", "", ERROR(",\"category\":\"OBJECT_NOT_FOUND\""), "no_contact",
          "NULL", 0, false },
        { "nothing", "200 OK", "", "", "waiting", NOT_UNDERSTOOD, 60, true },
        { "an id that is none", "200 OK", "", "{\"id\":\"1/../2\",\"results\":[{\"id\":\"x\"}]}", "waiting",
          NOT_UNDERSTOOD, 60, true },
    };
    for (size_t i = 0; i < 2 * LENGTH(cases); i++) { /* to the search, and to the note */
        size_t number = i % LENGTH(cases);
        contact_known = i >= LENGTH(cases);
        if (contact_known && strcmp(cases[number].state, "no_contact") == 0)
            continue;
        print_message("%s\n", cases[number].name);
        provider_answers(cases[number].status, cases[number].headers, cases[number].body);
        expect(done(), DONE);
        bool none = strcmp(cases[number].state, "no_contact") == 0;
        expect_text(effects.at, arena_printf(arena, "|%s|%s|NULL|%s", cases[number].state,
                                             contact_known ? "101" : "NULL", cases[number].error));
        if (contact_known)
            assert_int_equal(uncertain, cases[number].uncertain);
        expect_text(effects.at, cases[number].wait_s == 0
                                    ? "|" EVENT_TIME "|NULL\n"
                                    : arena_printf(arena, "|" EVENT_TIME "|%lld ms\n", (long long)cases[number].wait_s * 1000));
        if (none)
            assert_string_equal(said, "\"Roof <1>\" with Bo Lee is completed, but Bo Lee is not among the contacts in "
                                      "HubSpot, so your note is"
                                      " kept here alone.");
    }
    contact_known = true;
    provider_answers("404 Not Found", "", ERROR(""));
    expect(done(), DONE);
    expect_text(effects.at, "|refused|101|NULL|HTTP status 404: the contact is not there any more|1|");
    provider_answers("201 Created", "", "<html>");
    expect(done(), DONE);
    expect_text(effects.at, "|waiting|101|NULL|HubSpot's answer cannot be understood|1|");
    assert_true(uncertain);
    (void)state;
}

static void without_a_token_or_an_address_nobody_is_asked(void **state)
{
    meeting[EMAIL] = NULL;
    expect(done(), DONE);
    expect_text(effects.at, NOTED("no_contact", "NULL", "NULL", "NULL", "1"));
    notifier.hubspot_token = NULL;
    expect(done(), DONE);
    expect_text(effects.at, NOTED("no_token", "NULL", "NULL", "NULL", "1"));
    assert_string_equal(provider_got(arena), "");
    (void)state;
}

static const char *marked(const char *id)
{
    char marker[UUID_BYTES];
    return arena_printf(
        arena,
        "{\"id\":\"%s\",\"results\":[{\"id\":\"7\",\"toObjectId\":7,\"properties\":{\"hs_note_body\":\"another\"}},"
        "{\"id\":\"%s\",\"toObjectId\":%s,\"properties\":{\"hs_note_body\":\"<p>Hi</p> Switchboard, %s\"}}]}",
        id, id, id, uuid_of(marker, "meeting note", MEETING, "1", NULL));
}

static void a_note_whose_answer_was_lost_is_looked_for(void **state)
{
    look_up = true;
    provider_answers("200 OK", "", marked("42"));
    expect(done(), DONE);
    assert_true(found);
    expect_text(provider_got(arena),
                "PATCH /crm/v3/objects/notes/42 HTTP/1.1\r\n"); /* its words may be others by now */
    expect_text(effects.at, "|logged|7|42|NULL|1|");
    static const char *const unreadable[] = { "", "[]", "{\"results\":null}" };
    for (size_t i = 0; i < LENGTH(unreadable); i++) {
        found = false;
        meeting[CONTACT] = "101";
        provider_answers("200 OK", "", unreadable[i]);
        expect(done(), DONE);
        assert_false(found);
    }
    (void)state;
}

static void what_was_noted_is_not_noted_again(void **state)
{
    meeting[STATUS] = "completed";
    meeting[NOTE_STATE] = "logged";
    meeting[NOTE_ID] = "42";
    meeting[NOTE_VERSION] = "1";
    expect(done(), DONE);
    expect_text(said, "is completed already, and noted in HubSpot");
    expect_no_text(effects.at, "write_note");
    meeting[NOTE_STATE] = "refused";
    meeting[NOTE_ID] = NULL;
    expect(done(), DONE);
    expect_text(effects.at, NOTED("logged", "101", "101", "NULL", "2"));
    meeting[NOTE_NEWER] = "t";
    expect(done(), DONE);
    assert_string_equal(effects.at, "");
    (void)state;
}

static void a_note_is_changed_and_taken_back(void **state)
{
    meeting[STATUS] = "completed";
    meeting[NOTE_STATE] = "logged";
    meeting[NOTE_ID] = "42";
    meeting[NOTE_VERSION] = "3";
    meeting[NOTE_OUTCOME] = "Signed.";
    expect(chat(CHAT("amend", ",\"outcome\":\"No.\"")), DONE);
    expect_text(provider_got(arena), "PATCH /crm/v3/objects/notes/42 HTTP/1.1\r\n");
    expect_no_text(provider_got(arena), "hs_timestamp");
    expect_text(effects.at, "|No.|logged|NULL|42|NULL|4|");
    provider_answers("404 Not Found", "", "{}");
    expect(chat(CHAT("amend", ",\"outcome\":\"No.\"")), DONE);
    expect_text(effects.at, "|No.|refused|NULL|42|the note is not in HubSpot any more|4|");
    expect(chat(CHAT("undo", "")), DONE); /* gone is gone */
    expect_text(provider_got(arena), "DELETE /crm/v3/objects/notes/42 HTTP/1.1\r\n");
    expect_text(effects.at, "|Signed.|withdrawn|NULL|NULL|NULL|4|");
    provider_answers("500 Error", "", "{}");
    expect(chat(CHAT("undo", "")), DONE);
    expect_text(said, "could not be taken back: HTTP status 500. Please try again later.");
    expect_no_text(effects.at, "write_note");
    meeting[NOTE_STATE] = "waiting";
    meeting[NOTE_ID] = NULL;
    expect(chat(CHAT("undo", "")), DONE);
    expect_text(said, "it is on its way to HubSpot");
    (void)state;
}

static void a_note_that_waits_is_given_up_in_the_end(void **state)
{
    meeting[STATUS] = "completed";
    meeting[NOTE_STATE] = "waiting";
    meeting[NOTE_OUTCOME] = "Signed.";
    meeting[NOTE_VERSION] = "1";
    meeting[NOTE_AGE] = "700000";
    meeting[LENGTH(usual) - 1] = "2026-11-20 10:00:00+00";
    provider_answers("503 Unavailable", "", "");
    expect(try_it(handle_due_note, "note.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), DONE);
    expect_text(effects.at, "|Signed.|refused|NULL|NULL|HTTP status 503|1|2026-11-20 10:00:00+00|NULL\n");
    expect_no_text(effects.at, "complete_meeting"); /* it may have been moved since */
    expect_text(said, "HubSpot did not take your note");
    meeting[NOTE_AGE] = "7200";
    expect(try_it(handle_due_note, "note.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), DONE);
    expect_text(effects.at, "|Signed.|waiting|");
    expect_text(effects.at, "|3600000 ms\n");
    assert_string_equal(said, "");
    meeting[NOTE_DUE] = "f";
    expect(try_it(handle_due_note, "note.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), DONE);
    assert_string_equal(effects.at, "skip the note does not wait any more\n");
    (void)state;
}

static void the_path_is_a_setting(void **state)
{
    notifier.hubspot_path = "/crm/objects/2026-03";
    look_up = true;
    provider_answers("200 OK", "", "{\"id\":\"101\",\"results\":[]}");
    meeting[CONTACT] = "101";
    expect(done(), DONE);
    expect_text(provider_got(arena), "GET /crm/objects/2026-03/contacts/101/associations/notes?limit=500 HTTP/1.1\r\n");
    notifier.hubspot_path = "/crm/v3/objects";
    expect(done(), DONE);
    expect_text(provider_got(arena), "GET /crm/v4/objects/contacts/101/associations/notes?limit=500 HTTP/1.1\r\n");
    (void)state;
}

/* --- what is due -------------------------------------------------------------------------------------------------- */

static void nothing_is_done_for_a_meeting_that_moved(void **state)
{
    expect(try_it(handle_due_meeting, "meeting.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":2}"), DONE);
    assert_string_equal(effects.at, "skip the meeting was moved since\n");
    expect(try_it(handle_due_meeting, "meeting.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), DONE);
    assert_string_equal(effects.at, "row end_check " MEETING "|1\n"); /* reminded already */
    meeting[STATUS] = "scheduled";
    expect(try_it(handle_due_meeting, "meeting.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), DONE);
    expect_text(effects.at, "row note_reminder " MEETING "|1\n");
    expect_text(said, "How did \"Roof <1>\" with Bo Lee go?");
    (void)state;
}

/* With the dead letter that comes of it when it is given up: else the sweep finds it for ever. */
static void a_reminder_that_is_given_up_is_not_due_any_more(void **state)
{
    meeting[STATUS] = "scheduled";
    twilio_away = true;
    expect(try_it(handle_due_meeting, "meeting.due", "{\"meeting_id\":\"" MEETING "\",\"revision\":1}"), RETRY);
    assert_string_equal(effects.at, "row end_check " MEETING "|1\n");
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_note_is_as_hubspot_wants_it),
        TEST(hubspots_answers_decide),
        TEST(without_a_token_or_an_address_nobody_is_asked),
        TEST(a_note_whose_answer_was_lost_is_looked_for),
        TEST(what_was_noted_is_not_noted_again),
        TEST(a_note_is_changed_and_taken_back),
        TEST(a_note_that_waits_is_given_up_in_the_end),
        TEST(the_path_is_a_setting),
        TEST(nothing_is_done_for_a_meeting_that_moved),
        TEST(a_reminder_that_is_given_up_is_not_due_any_more),
    };
    return cmocka_run_group_tests(tests, provider_start, provider_stop);
}
