/* The recorder by its effects: record_api_request.  What the database would say is given; what is described, and what
 * the client is answered, is looked at. */
#include "ingest/changes.h"

#include <string.h>

#include "tests/unit/handler_fixture.h"

static struct ingest ingest = { .default_region = "US" };
static const struct stage stage = { .name = "ingest", .context = &ingest };

#define ROW_ID       "11111111-1111-4111-8111-111111111111"
#define TOKEN        "33333333-3333-4333-8333-333333333333"
#define SHA256_OF_IT "abababababababababababababababababababababababababababababababab"

/* --- asking ------------------------------------------------------------------------------------------------------- */

struct asked {
    const char *operation, *role, *user_id, *about, *body;
};

static enum outcome ask_for(const struct asked *asked, const struct query_rows *rows)
{
    struct buf data;
    const struct api_requested requested = {
        .operation = asked->operation,
        .tenant = "acme",
        .role = asked->role ? asked->role : "admin",
        .user_id = asked->user_id,
        .token_id = TOKEN,
        .requested_at = EVENT_TIME,
        .about = asked->about,
        .fingerprint = SHA256_OF_IT,
        .body = text_of(asked->body),
    };

    buf_init(&data, EVENT_BYTES_MAX);
    api_requested_write(&data, &requested);
    enum outcome outcome = try_event(&stage, record_api_request,
                                     &(struct event){ .type = "api.requested",
                                                      .subject = asked->about ? asked->about : ROW_ID,
                                                      .data = text_of(arena_copy_text(arena, buf_text(&data))) },
                                     rows, NULL);
    buf_done(&data);
    return outcome;
}

/* --- the rows that there would be --------------------------------------------------------------------------------- */

#define SESSION_COLUMN_NAMES                                                                                           \
    "session_id", "tenant", "appointment_id", "rep_user_id", "status", "stale", "started_at", "stopped_at",            \
        "created_at", "updated_at"

static struct query_rows session_to_start(const char *status, const char *rep, const char *running)
{
    return (struct query_rows){ "compose_session",
                                { SESSION_COLUMN_NAMES, "appointment_status", "assigned_rep_id", "running" },
                                { ROW_ID, "acme", ROW_ID, rep, "recording", "f", EVENT_TIME, NULL, EVENT_TIME,
                                  EVENT_TIME, status, rep, running },
                                1 };
}

static struct query_rows session_to_stop(const char *was, const char *rep)
{
    return (struct query_rows){ "compose_stopped",
                                { SESSION_COLUMN_NAMES, "was" },
                                { ROW_ID, "acme", ROW_ID, rep, "completed", "f", EVENT_TIME, EVENT_TIME, EVENT_TIME,
                                  EVENT_TIME, was },
                                1 };
}

/* --- what becomes of it ------------------------------------------------------------------------------------------- */

static void a_visit_is_started(void **state)
{
    static const struct {
        const char *name, *role, *user_id, *status, *rep, *running, *answer;
        bool done;
    } cases[] = {
        { "an admin", "admin", NULL, "scheduled", "ana", NULL, "\"status\":201", true },
        { "the rep", "rep", "ana", "confirmed", "ana", NULL, "\"status\":201", true },
        { "a rep, of nobody's", "rep", "bob", "scheduled", NULL, NULL, "\"status\":201", true },
        { "another rep", "rep", "bob", "scheduled", "ana", NULL, "\"status\":403", false },
        { "a rep without a name", "rep", NULL, "scheduled", "ana", NULL, "\"status\":403", false },
        { "what was cancelled", "admin", NULL, "cancelled", NULL, NULL, "\"status\":409", false },
        { "twice", "admin", NULL, "scheduled", NULL, ROW_ID, "\"status\":409", false },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const struct query_rows rows[] = { session_to_start(cases[i].status, cases[i].rep, cases[i].running), { 0 } };
        const struct asked asked = { "startSession", cases[i].role, cases[i].user_id, NULL,
                                     "{\"appointment_id\":\"" ROW_ID "\"}" };
        print_message("%s\n", cases[i].name);
        expect(ask_for(&asked, rows), DONE);
        expect_text(effects.at, cases[i].answer);
        expect_text(effects.at, "row insert_operation acme|" EVENT_ID "|" TOKEN "|");
        expect_text(effects.at, "event api.answered " ROW_ID " {\"request_id\":\"" EVENT_ID "\",\"fingerprint\":\""
                                SHA256_OF_IT);
        if (cases[i].done)
            expect_text(effects.at, "row insert_session acme|");
        else
            expect_no_text(effects.at, "insert_session");
    }
}

static void a_visit_is_stopped_once(void **state)
{
    const struct asked asked = { "stopSession", "admin", NULL, ROW_ID, "{\"audio_url\":\"https://x/a.wav\"}" };
    (void)state;
    expect(ask_for(&asked, (struct query_rows[]){ session_to_stop("recording", "ana"), { 0 } }), DONE);
    expect_text(effects.at, "row stop_session acme|" ROW_ID "|https://x/a.wav|" EVENT_TIME "\n");
    expect_text(effects.at, "event visit.recorded " ROW_ID " {\"session_id\":\"" ROW_ID "\",\"appointment_id\":\""
                            ROW_ID "\",\"audio_url\":\"https://x/a.wav\"}");
    expect(ask_for(&asked, (struct query_rows[]){ session_to_stop("completed", "ana"), { 0 } }), DONE);
    expect_no_text(effects.at, "stop_session");
    expect_no_text(effects.at, "visit.recorded");
    expect_text(effects.at, "\"status\":200");
    expect(ask_for(&asked, (struct query_rows[]){ session_to_stop("failed", "ana"), { 0 } }), DONE);
    expect_text(effects.at, "\"status\":409");
    const struct asked by_another = { "stopSession", "rep", "bob", ROW_ID, asked.body };
    expect(ask_for(&by_another, (struct query_rows[]){ session_to_stop("recording", "ana"), { 0 } }), DONE);
    expect_text(effects.at, "\"status\":403");
    expect_no_text(effects.at, "visit.recorded");
}

static void what_is_not_there_is_refused(void **state)
{
    static const struct {
        struct asked asked;
        const char *status, *pointer;
    } cases[] = {
        { { "createAppointment", "csr", NULL, NULL,
            "{\"lead_id\":\"" ROW_ID "\",\"scheduled_start\":\"" EVENT_TIME "\"}" },
          "\"status\":422", "/lead_id" },
        { { "startSession", "rep", NULL, NULL, "{\"appointment_id\":\"" ROW_ID "\"}" },
          "\"status\":422", "/appointment_id" },
        { { "stopSession", "rep", NULL, ROW_ID, "{\"audio_url\":\"https://x\"}" }, "\"status\":404", NULL },
        { { "correctAnalysis", "exec", NULL, "CAL1", "{\"summary\":\"x\"}" }, "\"status\":404", NULL },
        { { "updateCall", "csr", NULL, "CAL1", "{\"callback\":\"done\"}" }, "\"status\":404", NULL },
        { { "updateLead", "rep", NULL, ROW_ID, "{\"status\":\"closed\"}" }, "\"status\":404", NULL },
    };
    static const struct query_rows nothing[] = { { 0 } };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        expect(ask_for(&cases[i].asked, nothing), DONE);
        expect_text(effects.at, cases[i].status);
        if (cases[i].pointer)
            expect_text(effects.at, cases[i].pointer);
        assert_non_null(strstr(queries.at, "|acme"));
        expect_no_text(effects.at, "row insert_appointment");
    }
}

static void the_platform_asks_of_all_companies(void **state)
{
    static const struct query_rows nothing[] = { { 0 } };
    (void)state;
    ask_for(&(struct asked){ "updateLead", "platform", NULL, ROW_ID, "{\"status\":\"closed\"}" }, nothing);
    assert_non_null(strstr(queries.at, "compose_lead " ROW_ID "|*|"));
    expect_text(effects.at, "row insert_operation acme|");
}

/* Only what is given is corrected, and numbers as they were written. */
static void a_correction(void **state)
{
    const struct query_rows rows[] = {
        { "compose_analysis",
          { "tenant", "lead_id", "call_at", "source_time", "run", "lead_qualification", "booking_status",
            "call_outcome_category", "sentiment_score", "objections", "sop_score", "sop_missed_steps", "summary",
            "evidence", "dropped_without_evidence", "provider" },
          { 0 },
          0 },
        { 0 },
    };
    const struct asked asked = {
        "correctAnalysis", "exec", "eve", "CAL1",
        "{\"sentiment_score\":-0.1,\"objections\":[{\"category\":\"price\",\"quote\":\"a \\\"b\\\"\"}]}"
    };
    (void)state;
    expect(ask_for(&asked, rows), DONE);
    assert_non_null(strstr(queries.at, "compose_analysis CAL1|acme|NULL|NULL|NULL|-0.10000000000000001|"
                                       "[{\"category\":\"price\",\"quote\":\"a \\\"b\\\"\"}]|NULL|NULL|NULL|" EVENT_TIME
                                       "|eve\n"));
    const struct asked by_nobody = { "correctAnalysis", "exec", NULL, "CAL1", "{\"summary\":\"x\"}" };
    expect(ask_for(&by_nobody, rows), DONE);
    assert_non_null(strstr(queries.at, "|x|" EVENT_TIME "|token " TOKEN "\n"));
}

static void who_asks_again_is_answered_the_same(void **state)
{
    static const struct query_rows recorded[] = {
        { "find_recorded", { "fingerprint", "status", "body" }, { SHA256_OF_IT, "201", "{\"data\":{}}" }, 1 }, { 0 }
    };
    (void)state;
    expect(ask_for(&(struct asked){ "updateLead", "admin", NULL, ROW_ID, "{\"status\":\"closed\"}" }, recorded),
                     DONE);
    assert_string_equal(queries.at, "find_recorded " EVENT_ID "\n");
    assert_string_equal(effects.at, "event api.answered " ROW_ID " {\"request_id\":\"" EVENT_ID "\",\"fingerprint\":\""
                                    SHA256_OF_IT "\",\"status\":201,\"body\":\"{\\\"data\\\":{}}\"}\n");
}

static void what_is_no_operation_is_a_dead_letter(void **state)
{
    static const struct query_rows nothing[] = { { 0 } };
    (void)state;
    assert_int_equal(ask_for(&(struct asked){ "dropEverything", "admin", NULL, ROW_ID, "{}" }, nothing), REJECT);
    assert_non_null(strstr(why.text, "dropEverything"));
    expect(ask_for(&(struct asked){ "updateLead", "admin", NULL, ROW_ID, "{}" }, nothing), REJECT);
    assert_string_equal(why.pointer, "/status");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, handlers_start, handlers_end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_visit_is_started),
        TEST(a_visit_is_stopped_once),
        TEST(what_is_not_there_is_refused),
        TEST(the_platform_asks_of_all_companies),
        TEST(a_correction),
        TEST(who_asks_again_is_answered_the_same),
        TEST(what_is_no_operation_is_a_dead_letter),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
