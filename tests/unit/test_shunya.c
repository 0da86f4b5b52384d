/* Shunya's analyses and the jobs they may become, by the effects of the analyze stage's handlers: its wire format
 * spoken by a server of our own, what each of its answers leads to, and what becomes of a job by webhook, by sweep
 * and too late. */
#include "analyze/analyze.h"
#include "ingest/shunya_hooks.h"
#include "transcribe/transcribe.h"

#include "tests/unit/provider_fixture.h"

#include "tests/unit/handler_fixture.h"

#include "common/json.h"
#include "common/tree.h"

static struct analyze analyze;
static const struct stage stage = { .name = "analyze", .context = &analyze };

#define JOB "99999999-9999-4999-8999-999999999999"
#define SESSION "55555555-5555-4555-8555-555555555555"
#define LEAD "11111111-1111-4111-8111-111111111111"
#define APPOINTMENT "72b6601b-0a49-5ed6-ba21-84da60210baa"
#define SUBMITTED "2026-11-21T14:00:00.000000Z"
#define BOOKED                                                                                                         \
    "{\"lead_qualification\":\"hot\",\"booking_status\":\"booked\",\"call_outcome_category\":\"booked\","              \
    "\"sentiment_score\":0.5,\"objections\":[{\"category\":\"price\",\"quote\":\"too much\"},{\"quote\":\"no\"}],"     \
    "\"sop_compliance\":{\"score\":0.75,\"missed_steps\":[\"greeting\"]},\"summary\":\"A call.\","                     \
    "\"appointment\":{\"scheduled_start\":\"2026-11-24T10:00:00\",\"service_type\":\"roof\",\"location\":\"Oak St\","  \
    "\"assigned_rep_id\":\"rep-ana\"},\"more\":[1]}"
#define COLD                                                                                                           \
    "{\"lead_qualification\":\"cold\",\"booking_status\":\"not_booked\",\"call_outcome_category\":\"other\","          \
    "\"sentiment_score\":0"
#define VISIT(outcome) COLD ",\"outcome\":\"" outcome "\"}"

/* --- what it reads ------------------------------------------------------------------------------------------------ */

enum { TRANSCRIPT, TIME, REPS, FAILED, FOUND, PLACE, VISITED };
enum { JOB_TYPE = 2, KIND = 5, STATUS = 6, AGE = 10, RESULT_STATUS = 11, RESULT = 12, RESULT_ERROR = 13, SUBJECT = 4 };
static const struct query_rows usual_rows[] = {
    [TRANSCRIPT] = { "find_transcript",
                     { "tenant", "lead_id", "status", "call_local", "weekday", "weekday_name", "time_zone",
                       "company", "text", "words", "corrected_qualification", "corrected_booking",
                       "corrected_category", "corrected_sentiment", "appointment_id", "sop_steps" },
                     { "acme", LEAD, "completed", "2026-11-21T09:30", "6", "Saturday",
                       "America/New_York", "Acme", "agent: Robert can come.\ncustomer: Yes.", "4", NULL, NULL, NULL,
                       NULL, NULL, NULL },
                     1 },
    [TIME] = { "read_time", { "at" }, { "2026-11-24 15:00:00+00" }, 1 },
    [REPS] = { "find_reps", { "user_id", "name" }, { "rep-ana", "Ana Silva", "rep-rob", "Robert Hill" }, 2 },
    [FAILED] = { "job_count_failed", { "count" }, { "0" }, 1 },
    [FOUND] = { "job_find",
                { "job_id", "tenant", "job_type", "provider_job_id", "subject", "kind", "status", "error", "run",
                  "source_time", "age_ms", "result_status", "result", "result_error" },
                { JOB, "acme", "analysis", "j/1", "CAL1", "call", "queued", NULL, "3", SUBMITTED, "20000", NULL, NULL,
                  NULL },
                0 },
    [PLACE] = { "shunya_find_asking", { "event_id", "run" }, { EVENT_ID, "0" }, 1 },
    [VISITED] = { "find_visit",
                  { "tenant", "appointment_id", "started_at", "company", "text", "words", "started_local",
                    "time_zone" },
                  { "acme", APPOINTMENT, "2026-11-21 10:00:00+00", "Acme", "speaker: Let's do it, said the customer.",
                    "7", "2026-11-21T05:00", "America/New_York" },
                  1 },
    { 0 },
};
static struct query_rows rows[LENGTH(usual_rows)];

static int begin_each(void **state)
{
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/base", server.port);
    memcpy(rows, usual_rows, sizeof(rows));
    analyze = (struct analyze){ .with = WITH_SHUNYA,
                                .llm_provider = LLM_RULES,
                                .shunya = { .key = "key-one, key-two",
                                            .url = url,
                                            .public_url = "https://sb.example.test",
                                            .timeout_ms = 5000 } };
    return handlers_start(state);
}

static enum outcome handle(stage_handler *handler, const char *type, const char *subject, const char *data, int run)
{
    return try_event(&stage, handler,
                     &(struct event){ .type = type, .subject = subject, .data = text_of(data), .run = run }, rows,
                     NULL);
}

static enum outcome a_call_is_transcribed(const char *status, const char *headers, const char *body)
{
    provider_answers(status, headers, body);
    return handle(analyze_call, "call.transcribed", "CAL1",
                  "{\"call_id\":\"CAL1\",\"provider\":\"local\",\"segments\":2,\"words\":4}", 0);
}

static enum outcome finished_handler(struct work *work, const struct event *event)
{
    return job_finished(work, event, &analysis_jobs);
}

static enum outcome due_handler(struct work *work, const struct event *event)
{
    return job_due(work, event, &analysis_jobs);
}

static enum outcome a_webhook_comes(int run)
{
    rows[FOUND].rows = 1;
    return handle(finished_handler, "job.finished", "CAL1",
                  "{\"job_id\":\"" JOB "\",\"job_type\":\"analysis\",\"status\":\"completed\"}", run);
}

static enum outcome it_is_due(const char *status, const char *body)
{
    rows[FOUND].rows = 1;
    provider_answers(status, "", body);
    return handle(due_handler, "job.due", "CAL1", "{\"job_id\":\"" JOB "\"}", 0);
}

/* --- submitting --------------------------------------------------------------------------------------------------- */

static void a_call_is_analysed_at_once(void **state)
{
    expect(a_call_is_transcribed("200 OK", "", BOOKED), DONE);
    assert_string_equal(
        effects.at,
        "row upsert_analysis acme|CAL1|shunya|NULL|NULL|hot|booked|booked|0.5|"
        "[{\"category\":\"price\",\"quote\":\"too much\"}]|0.75|[\"greeting\"]|A call.|\"vendor\"|0|" EVENT_TIME "|0\n"
        "row update_lead acme|CAL1\n"
        "row upsert_appointment acme|" APPOINTMENT "|CAL1|2026-11-24 15:00:00+00|roof|Oak St|NULL|" EVENT_TIME
        "|0|rep-ana\n"
        "row delete_appointment acme|CAL1|" EVENT_TIME "|0\n"
        "event call.analyzed CAL1 {\"call_id\":\"CAL1\",\"provider\":\"shunya\",\"lead_qualification\":\"hot\","
        "\"booking_status\":\"booked\",\"call_outcome_category\":\"booked\",\"sentiment_score\":0.5,\"objections\":1,"
        "\"dropped_without_evidence\":0,\"appointment_id\":\"" APPOINTMENT "\",\"lead_id\":\"" LEAD "\","
        "\"summary\":\"A call.\"}\n");
    expect_text(queries.at, "read_time 2026-11-24T10:00:00|America/New_York\n");
    expect_text(provider_got(arena), "POST /base/api/v1/analysis/start/CAL1 HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Authorization: Bearer key-one\r\n");
    expect_text(provider_got(arena), "Idempotency-Key: " EVENT_ID "\r\n");
    assert_string_equal(provider_got_body(arena),
                        "{\"callback_url\":\"https://sb.example.test/api/v1/shunya/webhook\","
                        "\"transcript_text\":\"agent: Robert can come.\\ncustomer: Yes.\",\"kind\":\"call\"}");
    (void)state;
}

static void a_call_that_becomes_a_job_has_a_row_and_nothing_else(void **state)
{
    expect(a_call_is_transcribed("202 Accepted", "", "{\"job_id\":\"j1\",\"eta\":5}"), DONE);
    assert_string_equal(effects.at,
                        "row job_insert NULL|acme|analysis|shunya|j1|CAL1|call|" EVENT_TIME "|0|15000 ms\n");
    expect(a_call_is_transcribed("202 Accepted", "", "{}"), REJECT);
    assert_string_equal(why.pointer, "/job_id");

    analyze.shunya.public_url = NULL;
    expect(a_call_is_transcribed("202 Accepted", "", "{\"job_id\":\"j1\"}"), DONE);
    expect_no_text(provider_got_body(arena), "callback_url");
    (void)state;
}

static void whoever_asked_first_gives_the_key(void **state)
{
    rows[PLACE].values[0] = JOB;
    expect(a_call_is_transcribed("200 OK", "", BOOKED), DONE);
    expect_text(provider_got(arena), "Idempotency-Key: " JOB "\r\n");
    rows[PLACE].values[1] = "2";
    expect(a_call_is_transcribed("200 OK", "", BOOKED), DONE);
    expect_no_text(provider_got(arena), JOB);
    (void)state;
}

static void what_it_answers_decides(void **state)
{
    static const struct {
        const char *status, *headers, *body;
        enum outcome outcome;
        const char *pointer, *reason;
        int64_t retry_ms;
    } cases[] = {
        { "200 OK", "", "<html>", RETRY, "", "the answer is not JSON", 0 },
        { "200 OK", "", "", RETRY, "", "the answer is not JSON", 0 },
        { "200 OK", "", "[]", REJECT, "", "must be an object", 0 },
        { "200 OK", "", COLD "}", DONE, "", "", 0 },
        { "200 OK", "", "{\"lead_qualification\":\"hot\"}", REJECT, "/booking_status", "is missing", 0 },
        { "200 OK", "", "{\"job_id\":\"j1\"}", REJECT, "/lead_qualification", "is missing", 0 },
        { "200 OK", "", COLD ",\"sentiment_score\":1}", REJECT, "/sentiment_score", "is given twice", 0 },
        { "401 No", "", "{}", RETRY, "", "refuses our credentials (HTTP status 401)", 0 },
        { "403 No", "", "{}", RETRY, "", "refuses our credentials (HTTP status 403)", 0 },
        { "404 No", "", "{\"error\":{\"code\":\"gone\",\"message\":\"no such call\"}}", REJECT, "",
          "shunya: HTTP status 404: gone: no such call", 0 },
        { "409 No", "", "{\"error\":{\"message\":\"again\"}}", REJECT, "", "shunya: HTTP status 409: again", 0 },
        { "422 No", "", "{\"error\":{\"code\":\"bad\"}}", REJECT, "", "shunya: HTTP status 422: bad", 0 },
        { "400 No", "", "no", REJECT, "", "shunya: HTTP status 400: it does not say why", 0 },
        { "408 Slow", "", "", RETRY, "", "HTTP status 408", 0 },
        { "425 Early", "", "", RETRY, "", "HTTP status 425", 0 },
        { "429 Many", "Retry-After: 7\r\n", "{}", RETRY, "", "HTTP status 429", 7000 },
        { "500 Oh", "", "{}", RETRY, "", "HTTP status 500", 0 },
        { "503 Oh", "Retry-After: 2\r\n", "{}", RETRY, "", "HTTP status 503", 2000 },
        { NULL, "", "", RETRY, "", "", 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s %s\n", cases[i].status ? cases[i].status : "closed", cases[i].body);
        expect(a_call_is_transcribed(cases[i].status, cases[i].headers, cases[i].body), cases[i].outcome);
        if (cases[i].outcome != DONE)
            expect_text(why.text, cases[i].reason);
        assert_string_equal(why.pointer, cases[i].pointer);
        assert_int_equal(retry_ms, cases[i].retry_ms);
    }
    (void)state;
}

/* The same call, booked, in other words. */
static void an_appointment_is_whose_and_when_the_vendor_says(void **state)
{
    static const struct {
        const char *appointment, *wanted;
    } cases[] = {
        { "null", "|CAL1|NULL|NULL|NULL|NULL|" EVENT_TIME "|0|rep-rob\n" },
        { "{}", "|CAL1|NULL|NULL|NULL|NULL|" EVENT_TIME "|0|rep-rob\n" },
        { "{\"scheduled_start\":\"2026-11-24T10:00:00+02:00\"}", "|2026-11-24T08:00:00.000000Z|NULL|" },
        { "{\"scheduled_start\":\"2026-11-24T10:00\"}", "|2026-11-24 15:00:00+00|NULL|" },
        { "{\"scheduled_start\":\"\"}", "|NULL|NULL|NULL|NULL|" },
        { "{\"assigned_rep_id\":\"rep-of-another-company\"}", "|0|rep-rob\n" },
        { "{\"assigned_rep_id\":\"rep-ana\"}", "|0|rep-ana\n" },
        { "{\"scheduled_start\":\"next week\"}", NULL },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *body = arena_printf(arena,
                                        "{\"lead_qualification\":\"hot\",\"booking_status\":\"booked\","
                                        "\"call_outcome_category\":\"booked\",\"sentiment_score\":0,"
                                        "\"appointment\":%s}",
                                        cases[i].appointment);
        print_message("%s\n", cases[i].appointment);
        expect(a_call_is_transcribed("200 OK", "", body), cases[i].wanted ? DONE : REJECT);
        if (cases[i].wanted)
            expect_text(strstr(effects.at, "row upsert_appointment"), cases[i].wanted);
        else
            assert_string_equal(why.pointer, "/appointment/scheduled_start");
    }
    (void)state;
}

static void what_is_unknown_is_kept_as_given(void **state)
{
    expect(a_call_is_transcribed("200 OK", "",
                                 "{\"lead_qualification\":\"cold\",\"booking_status\":\"not_booked\","
                                 "\"call_outcome_category\":\"fax_tone\",\"sentiment_score\":-1}"), DONE);
    expect_text(effects.at, "|cold|not_booked|fax_tone|-1|[]|NULL|[]|The vendor gave no summary.|\"vendor\"|0|");
    expect_text(effects.at, "row delete_appointment acme|CAL1|" EVENT_TIME "|0\n");
    (void)state;
}

/* --- a job's end -------------------------------------------------------------------------------------------------- */

static void a_webhook_ends_the_job_with_its_rows(void **state)
{
    rows[FOUND].values[RESULT_STATUS] = "completed";
    rows[FOUND].values[RESULT] = COLD "}";
    expect(a_webhook_comes(0), DONE);
    expect_text(effects.at, "row upsert_analysis acme|CAL1|shunya|");
    expect_text(effects.at, "|\"vendor\"|0|" SUBMITTED "|3\n");
    expect_text(effects.at, "row job_end " JOB "|completed|NULL|webhook|acme\n");
    expect_text(effects.at, "event call.analyzed CAL1 ");
    (void)state;
}

static void a_job_that_failed_is_a_dead_letter_and_its_row_says_so(void **state)
{
    rows[FOUND].values[RESULT_STATUS] = "failed";
    rows[FOUND].values[RESULT_ERROR] = "too_short: nothing to say";
    expect(a_webhook_comes(0), REJECT);
    assert_string_equal(why.text, "shunya's job j/1 has failed: too_short: nothing to say");
    assert_string_equal(effects.at, "row job_end " JOB
                                    "|failed|shunya's job j/1 has failed: too_short: nothing to say|webhook|acme\n");

    rows[FOUND].values[RESULT_STATUS] = "completed";
    rows[FOUND].values[RESULT] = "{\"lead_qualification\":\"hot\"}";
    expect(a_webhook_comes(0), REJECT);
    assert_string_equal(why.pointer, "/booking_status");
    assert_string_equal(effects.at, "row job_end " JOB "|failed|/booking_status is missing|webhook|acme\n");
    (void)state;
}

static void who_comes_later_changes_nothing(void **state)
{
    rows[FOUND].values[STATUS] = "completed";
    rows[FOUND].values[RESULT_STATUS] = "completed";
    rows[FOUND].values[RESULT] = COLD "}";
    expect(a_webhook_comes(0), DONE);
    assert_string_equal(effects.at, "skip the job has ended already: it is completed\n");
    expect(it_is_due("200 OK", "{}"), DONE);
    assert_string_equal(effects.at, "skip the job has ended already: it is completed\n");
    assert_string_equal(provider_got(arena), "");

    expect(a_webhook_comes(1), DONE);
    expect_text(effects.at, "row upsert_analysis acme|CAL1|shunya|");
    expect_no_text(effects.at, "job_end");

    rows[FOUND].values[JOB_TYPE] = "transcription";
    expect(a_webhook_comes(0), DONE);
    assert_string_equal(effects.at, "skip it is a job of another type\n");
    (void)state;
}

static void a_failed_job_is_submitted_anew_when_its_letter_is_retried(void **state)
{
    rows[FOUND].values[STATUS] = "failed";
    rows[FOUND].values[RESULT_STATUS] = "failed";
    rows[FAILED].values[0] = "1";
    provider_answers("200 OK", "", COLD "}");
    expect(a_webhook_comes(1), DONE);
    expect_text(provider_got(arena), "POST /base/api/v1/analysis/start/CAL1 HTTP/1.1\r\n");
    expect_text(effects.at, "row upsert_analysis acme|CAL1|shunya|");
    expect_text(effects.at, "|" SUBMITTED "|3\n");
    (void)state;
}

#define OF_CALL ",\"job_type\":\"analysis\",\"call_id\":\"CAL1\""
#define STANDS(status, more) "{\"job_id\":\"j/1\",\"status\":\"" status "\"" OF_CALL more "}"

static void a_job_is_asked_for_when_no_webhook_comes(void **state)
{
    expect(it_is_due("200 OK", STANDS("running", "")), DONE);
    assert_string_equal(effects.at, "row job_move_check " JOB "|running|15000 ms|600000 ms\n");
    expect_text(provider_got(arena), "GET /base/api/v1/jobs/j%2F1 HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Authorization: Bearer key-one\r\n");

    expect(it_is_due("200 OK", STANDS("completed", ",\"result\":" COLD "}")), DONE);
    expect_text(effects.at, "row job_keep_result " JOB "|acme|completed|" COLD "}|NULL\n");
    expect_text(effects.at, "row job_end " JOB "|completed|NULL|sweep|acme\n");

    rows[FOUND].values[AGE] = "1000000";
    expect(it_is_due("200 OK", STANDS("queued", "")), DONE);
    assert_string_equal(effects.at, "row job_move_check " JOB "|overdue|15000 ms|600000 ms\n");
    (void)state;
}

static void what_it_says_of_a_job_decides(void **state)
{
    static const struct {
        const char *status, *body;
        enum outcome outcome;
        const char *error;              /* of the job, when it has failed; NULL: it goes on */
    } cases[] = {
        { "200 OK", STANDS("failed", ",\"error\":{\"code\":\"a\",\"message\":\"b\"}"), REJECT, "has failed: a: b" },
        { "200 OK", STANDS("failed", ""), REJECT, "has failed: it does not say why" },
        { "200 OK", STANDS("completed", ""), REJECT, "/result is missing" },
        { "200 OK", STANDS("completed", ",\"result\":{}"), REJECT, "/lead_qualification is missing" },
        { "200 OK", "{\"status\":\"running\"}", REJECT, "/job_id is missing" },
        { "200 OK", "{\"job_id\":\"j2\",\"status\":\"running\",\"job_type\":\"analysis\",\"call_id\":\"CAL1\"}", REJECT,
          "/job_id must be the job that was asked about" },
        { "200 OK", STANDS("sleeping", ""), REJECT, "/status must be " },
        { "404 No", "{\"error\":{\"code\":\"not_found\"}}", REJECT, "shunya: HTTP status 404: not_found" },
        { "401 No", "{}", RETRY, NULL },
        { "503 Oh", "{}", RETRY, NULL },
        { "200 OK", "oh", RETRY, NULL },
        { NULL, "", RETRY, NULL },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s %s\n", cases[i].status ? cases[i].status : "closed", cases[i].body);
        expect(it_is_due(cases[i].status, cases[i].body), cases[i].outcome);
        if (cases[i].error)
            expect_text(effects.at, arena_printf(arena, "row job_end " JOB "|failed|"));
        expect_text(cases[i].error ? effects.at : "", cases[i].error ? cases[i].error : "");
        expect_no_text(effects.at, "upsert_analysis");
    }
    (void)state;
}

static void a_job_that_is_too_old_is_not_asked_for_any_more(void **state)
{
    rows[FOUND].values[AGE] = "86400001";
    expect(it_is_due("200 OK", STANDS("running", "")), REJECT);
    expect_text(effects.at, "|failed|shunya has not ended its job j/1 for 24 hours: it is queued|sweep|acme\n");
    assert_string_equal(provider_got(arena), "");
    (void)state;
}

/* --- visits ------------------------------------------------------------------------------------------------------- */

static enum outcome a_visit_is_transcribed(const char *body)
{
    provider_answers("200 OK", "", body);
    return handle(analyze_visit, "visit.transcribed", SESSION,
                  "{\"session_id\":\"" SESSION "\",\"provider\":\"local\",\"segments\":2,\"words\":4}", 0);
}

static void a_visit_has_an_outcome(void **state)
{
    expect(a_visit_is_transcribed(VISIT("won")), DONE);
    expect_text(effects.at, "row upsert_visit_analysis acme|" SESSION "|shunya|NULL|NULL|won|0|[]|NULL|[]|");
    expect_text(effects.at, "row update_outcome acme|" APPOINTMENT "|won|2026-11-21 10:00:00+00\n");
    expect_text(effects.at, "row close_lead acme|" APPOINTMENT "|2026-11-21 10:00:00+00\n");
    expect_text(effects.at, "event visit.analyzed " SESSION " {\"session_id\":\"" SESSION
                            "\",\"appointment_id\":\"" APPOINTMENT "\"");
    expect_text(provider_got_body(arena), "\"kind\":\"visit\"");
    expect(a_visit_is_transcribed(VISIT("pending")), DONE);
    expect_no_text(effects.at, "close_lead");
    expect(a_visit_is_transcribed(COLD "}"), REJECT);
    assert_string_equal(why.pointer, "/outcome");
    (void)state;
}

static void a_visit_is_understood_by_its_words(void **state)
{
    analyze.with = WITH_LLM;
    expect(a_visit_is_transcribed(""), DONE);
    expect_text(effects.at, "|rules|rules|NULL|won|");
    expect_text(effects.at,
                "[{\"field\":\"outcome\",\"quote\":\"Let's do it, said the customer.\"}]|0|" EVENT_TIME "|0\n");
    assert_string_equal(provider_got(arena), "");
    rows[VISITED].values[5] = "0";
    expect(a_visit_is_transcribed(""), DONE);
    assert_string_equal(effects.at, "skip nobody said anything that was understood\n");
    (void)state;
}

/* --- transcripts -------------------------------------------------------------------------------------------------- */

static void a_transcript_is_its_segments_or_its_lines(void **state)
{
    static const struct {
        const char *json, *lines, *pointer;
    } cases[] = {
        { "{\"transcript_text\":\"x\",\"segments\":["
          "{\"speaker\":\"Customer\",\"start_s\":2,\"end_s\":3,\"text\":\"Yes.\"},"
          "{\"speaker\":\"agent\",\"start_s\":0,\"end_s\":1,\"text\":\"Hello?\"},"
          "{\"start_s\":4,\"text\":\"b\\nc\"}]}",
          "agent: Hello?\ncustomer: Yes.\nspeaker: b c", NULL },
        { "{\"transcript_text\":\"agent: Hello?\\n\\nCustomer:yes\\nagents: no\"}",
          "agent: Hello?\ncustomer: yes\nspeaker: agents: no", NULL },
        { "{\"transcript_text\":\"one line\",\"segments\":[]}", "speaker: one line", NULL },
        { "{\"transcript_text\":\"\",\"language\":null,\"segments\":null}", "", NULL },
        { "{\"segments\":[]}", NULL, "/transcript_text" },
        { "{\"transcript_text\":\"\",\"segments\":[{\"speaker\":\"agent\"}]}", NULL, "/segments/0/text" },
        { "{\"transcript_text\":\"\",\"confidence\":2}", NULL, "/confidence" },
        { "{\"transcript_text\":7}", NULL, "/transcript_text" },
    };
    struct transcript transcript;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        bool read = shunya_transcript_of(text_of(cases[i].json), arena, &transcript, &why);
        print_message("%s\n", cases[i].json);
        assert_int_equal(read, cases[i].lines != NULL);
        if (read)
            assert_string_equal(transcript_lines(&transcript, arena), cases[i].lines);
        else
            assert_string_equal(why.pointer, cases[i].pointer);
    }
    (void)state;
}

/* --- the door ----------------------------------------------------------------------------------------------------- */

#define HOOK(more) "{\"event\":\"job.completed\",\"job_id\":\"j1\"" OF_CALL more "}"
#define FAILED_HOOK(rest) "{\"event\":\"job.failed\"," rest "}"

static void the_door_reads_which_job_and_whom(void **state)
{
    static const struct {
        const char *type, *body, *pointer, *reason;
    } cases[] = {
        { "application/json", HOOK(",\"result\":{\"a\":[]},\"error\":null,\"new\":1"), NULL, NULL },
        { "Application/JSON; charset=utf-8", HOOK(""), NULL, NULL },
        { "text/plain", HOOK(""), "", "the content type is not application/json" },
        { "application/json", "{", "", "" },
        { "application/json", "[]", "", "must be an object" },
        { "application/json", HOOK(",\"job_id\":\"j2\""), "/job_id", "is given twice" },
        { "application/json", "{\"event\":\"job.done\"}", "/event", "must be " },
        { "application/json", FAILED_HOOK("\"job_id\":\"j\",\"job_type\":\"analysis\""), "/call_id", "is missing" },
        { "application/json", FAILED_HOOK("\"job_id\":\"a b\",\"job_type\":\"analysis\",\"call_id\":\"C\""), "/job_id",
          "must be printable ASCII without blanks" },
        { "application/json", FAILED_HOOK("\"job_id\":\"j\",\"job_type\":\"analysis\",\"call_id\":\"\xc3\xa4\""),
          "/call_id", "must be printable ASCII without blanks" },
        { "application/json", FAILED_HOOK("\"job_id\":\"j\",\"job_type\":\"x\",\"call_id\":\"C\""), "/job_type",
          "must be " },
    };
    struct shunya_webhook webhook;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s %s\n", cases[i].type, cases[i].body);
        why = (struct problem){ 0 };
        bool read = shunya_hook_read(text_of(cases[i].type), text_of(cases[i].body), arena, &webhook, &why);
        assert_int_equal(read, cases[i].reason == NULL);
        if (read)
            assert_string_equal(webhook.job_id, "j1");
        else
            assert_string_equal(why.pointer, cases[i].pointer);
        expect_text(why.text, cases[i].reason ? cases[i].reason : "");
    }
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, begin_each, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_analysed_at_once),
        TEST(a_call_that_becomes_a_job_has_a_row_and_nothing_else),
        TEST(whoever_asked_first_gives_the_key),
        TEST(what_it_answers_decides),
        TEST(an_appointment_is_whose_and_when_the_vendor_says),
        TEST(what_is_unknown_is_kept_as_given),
        TEST(a_webhook_ends_the_job_with_its_rows),
        TEST(a_job_that_failed_is_a_dead_letter_and_its_row_says_so),
        TEST(who_comes_later_changes_nothing),
        TEST(a_failed_job_is_submitted_anew_when_its_letter_is_retried),
        TEST(a_job_is_asked_for_when_no_webhook_comes),
        TEST(what_it_says_of_a_job_decides),
        TEST(a_job_that_is_too_old_is_not_asked_for_any_more),
        TEST(a_visit_has_an_outcome),
        TEST(a_visit_is_understood_by_its_words),
        TEST(a_transcript_is_its_segments_or_its_lines),
        TEST(the_door_reads_which_job_and_whom),
    };
    return cmocka_run_group_tests(tests, provider_start, provider_stop);
}
