/* api_calls.c: GET /api/v1/calls and /api/v1/calls/{id}.
 *
 * How far a call has come is seen by the rows it has, and by the ledger where one is missing. */
#include "ingest/api_calls.h"

#include <string.h>

#include "common/json.h"
#include "ingest/api_list.h"
#include "ingest/api_rows.h"
#include "ingest/api_writes.h"
#include "requests.h"

#define CALL_ID_BYTES_MAX 128
#define DELIVERIES_MAX   100  /* of one call */
#define HISTORY_MAX      1000 /* events of one call */
#define TEXT_OF_(number) #number
#define TEXT_OF(number)  TEXT_OF_(number)

/* --- statements ------------------------------------------------------------------------------------------ */

/* clang-format off */
#define UTC API_UTC

#define CALL_COLUMNS                                                                                              \
    " p.call_id, p.tenant, p.source, p.status, p.direction, p.answered, p.voicemail,"                             \
    " " UTC("p.call_at") " AS call_at, " UTC("p.started_at") " AS started_at, p.duration_s,"                      \
    " p.recording_url IS NOT NULL AS recorded, p.tracking_number, p.customer_number, p.customer_name,"            \
    " p.csr_user_id, p.brought_by, " UTC("p.created_at") " AS created_at,"                                        \
    " " UTC("p.updated_at") " AS updated_at,"                                                                     \
    " CASE WHEN p.status <> 'missed' THEN NULL WHEN p.callback_done_at IS NULL THEN 'open' ELSE 'done' END"       \
    " AS callback_state, floor(extract(epoch FROM now() - p.call_at))::bigint AS callback_age_s,"                 \
    " " UTC("p.callback_done_at") " AS callback_done_at, p.callback_done_by AS callback_done_by,"                 \
    " cc.contact_id AS contact_contact_id, cc.phone AS contact_phone, cc.name AS contact_name,"                   \
    " l.lead_id AS lead_lead_id, l.status AS lead_status,"                                                        \
    " a.lead_qualification AS analysis_lead_qualification, a.booking_status AS analysis_booking_status,"          \
    " a.call_outcome_category AS analysis_call_outcome_category, a.sentiment_score AS analysis_sentiment_score,"  \
    " a.objections AS analysis_objections, a.sop_score AS analysis_sop_score,"                                    \
    " a.sop_missed_steps AS analysis_sop_missed_steps, a.summary AS analysis_summary,"                            \
    " a.evidence AS analysis_evidence, a.dropped_without_evidence AS analysis_dropped_without_evidence,"          \
    " a.corrections AS analysis_corrections,"                                                                     \
    " a.provider AS analysis_provider, a.model AS analysis_model, a.prompt_version AS analysis_prompt_version,"   \
    " " UTC("a.updated_at") " AS analysis_updated_at, t.call_id IS NOT NULL AS transcribed,"                      \
    LAST_OUTCOME_COLUMNS

#define CALL_JOINS                                                                                                \
    " LEFT JOIN contact_cards cc ON cc.tenant = p.tenant AND cc.contact_id = p.contact_id"                        \
    " LEFT JOIN leads l ON l.tenant = p.tenant AND l.lead_id = p.lead_id"                                         \
    " LEFT JOIN call_transcripts t ON t.tenant = p.tenant AND t.call_id = p.call_id"                              \
    " LEFT JOIN call_analyses a ON a.tenant = p.tenant AND a.call_id = p.call_id"                                 \
    LAST_OUTCOME("heard", "transcribe", "call.recorded", "p.call_id", "t.call_id")                                \
    LAST_OUTCOME("understood", "analyze", "call.transcribed", "p.call_id", "a.call_id")

/* Which calls are in the list: $6 from, $7 to, $8 status, $9 callback.  (Row-level security keeps a COALESCE out of the
 * index, but not a CASE.) */
#define LISTED(tenancy)                                                                                           \
    tenancy " AND ($8::text IS NULL OR c.status = $8)"                                                            \
    " AND ($9::text IS NULL OR (c.status = 'missed' AND (c.callback_done_at IS NULL) = ($9 = 'open')))"
#define OF_COMPANY API_ONE_COMPANY " AND " API_IN_DAYS("call_at", "$6::date", "$7::date")
#define OF_ALL     API_ALL_COMPANIES " AND " API_IN_DAYS_OF_ALL("call_at", "$6::date", "$7::date")
#define LIST_CALLS(where)                                                                                         \
    API_NEWEST_FIRST("calls_total($6::date, $7::date, $8, $9)", "calls c", LISTED(where), "call_at", "call_id",   \
                     "text", CALL_COLUMNS, CALL_JOINS)
/* Said as the indexes of what is open and of what is seldom have it, which are small however many calls there were. */
#define OPEN   " AND c.status = 'missed' AND c.callback_done_at IS NULL"
#define SELDOM " AND c.status IN ('ringing', 'in_progress', 'failed')"

static const struct statement list_calls = {
    .name = "api_list_calls",
    .text = LIST_CALLS(OF_COMPANY),
    .params = 9,
};
static const struct statement list_all_calls = {
    .name = "api_list_all_calls",
    .text = LIST_CALLS(OF_ALL),
    .params = 9,
};
static const struct statement list_callbacks = {
    .name = "api_list_callbacks",
    .text = LIST_CALLS(OF_COMPANY OPEN),
    .params = 9,
};
static const struct statement list_all_callbacks = {
    .name = "api_list_all_callbacks",
    .text = LIST_CALLS(OF_ALL OPEN),
    .params = 9,
};
static const struct statement list_seldom_calls = {
    .name = "api_list_seldom_calls",
    .text = LIST_CALLS(OF_COMPANY SELDOM),
    .params = 9,
};
static const struct statement list_all_seldom_calls = {
    .name = "api_list_all_seldom_calls",
    .text = LIST_CALLS(OF_ALL SELDOM),
    .params = 9,
};

/* What is found for $10 is counted up to so many: a word may be in every call. */
#define COUNTED_MAX 1000
#define SEARCH_CALLS(tenancy)                                                                                     \
    "WITH search AS MATERIALIZED (SELECT s.total, s.found FROM calls_search($10, $6::date, $7::date, $8, $9,"     \
    " $2::timestamptz, $3, $4, $5::integer, " TEXT_OF(COUNTED_MAX) ") s),"                                        \
    " page AS MATERIALIZED (SELECT c.* FROM (SELECT (found).* FROM search) c"                                     \
    " WHERE c.call_id IS NOT NULL AND " tenancy "),"                                                              \
    " listed AS MATERIALIZED (SELECT total,"                                                                      \
    " CASE WHEN total < " TEXT_OF(COUNTED_MAX) " THEN 'exact' ELSE 'at_least' END AS total_is FROM search LIMIT 1)" \
    API_SHOW_PAGE("call_at", "call_id", "DESC", CALL_COLUMNS, CALL_JOINS)

static const struct statement search_calls = {
    .name = "api_search_calls",
    .text = SEARCH_CALLS(API_ONE_COMPANY),
    .params = 10,
};
static const struct statement search_all_calls = {
    .name = "api_search_all_calls",
    .text = SEARCH_CALLS(API_ALL_COMPANIES),
    .params = 10,
};

/* Who sees all companies gets the newest, should two sources have named their calls alike. */
static const struct statement show_call = {
    .name = "api_show_call",
    .text = "WITH page AS MATERIALIZED"
            " (SELECT c.* FROM calls c WHERE c.call_id = $1 ORDER BY c.call_at DESC LIMIT 1)"
            " SELECT" CALL_COLUMNS ","
            TRANSCRIPT_COLUMNS "," RECORDING_COLUMNS ","
            " b.appointment_id AS appointment_appointment_id, b.status AS appointment_status,"
            " b.outcome AS appointment_outcome, " UTC("b.scheduled_start") " AS appointment_scheduled_start,"
            " b.service_type AS appointment_service_type, b.location AS appointment_location,"
            " b.assigned_rep_id AS appointment_assigned_rep_id, b.quote AS appointment_quote,"
            " " UTC("b.updated_at") " AS appointment_updated_at"
            " FROM page p" CALL_JOINS
            " LEFT JOIN recordings r ON r.tenant = p.tenant AND r.call_id = p.call_id"
            " LEFT JOIN appointments b ON b.tenant = p.tenant AND b.call_id = p.call_id",
    .params = 1,
};
static const struct statement list_deliveries = {
    .name = "api_list_deliveries",
    .text = "SELECT d.delivery_id, d.channel, d.provider, d.recipient, d.purpose, d.content, d.state, d.status,"
            " d.error_code, d.error, d.attempt, " UTC("d.created_at") " AS created_at,"
            " " UTC("d.updated_at") " AS updated_at"
            " FROM deliveries d WHERE d.correlation_id = $2 AND d.tenant = $1"
            " ORDER BY d.created_at, d.delivery_id LIMIT " TEXT_OF(DELIVERIES_MAX),
    .params = 2,
};
/* What every stage did for the call, and what each webhook said, also when the ledger has forgotten it.  An event that
 * was rejected before its company was known is nobody's: it is seen by those who see all companies. */
static const struct statement list_history = {
    .name = "api_list_history",
    .text = "SELECT stage, event_id, e.event_type, e.run, e.topic, r.hook, " UTC("r.reported_at") " AS reported_at,"
            " e.outcome, e.why, e.attempts, e.emitted, " UTC("e.received_at") " AS received_at,"
            " " UTC("e.started_at") " AS started_at, " UTC("e.committed_at") " AS committed_at,"
            " e.worked_us / 1000.0 AS worked_ms"
            " FROM (SELECT * FROM ledger WHERE correlation_id = $2 AND (tenant = $1 OR tenant IS NULL)) e"
            " FULL JOIN (SELECT 'ingest'::text AS stage, event_id, hook, reported_at, created_at FROM call_reports"
            " WHERE tenant = $1 AND call_id = $2) r USING (stage, event_id)"
            " ORDER BY coalesce(e.received_at, r.created_at), e.committed_at, stage, event_id, e.run"
            " LIMIT " TEXT_OF(HISTORY_MAX),
    .params = 2,
};
/* clang-format on */

/* --- how far it has come --------------------------------------------------------------------------------- */

static bool is(const char *value, const char *wanted)
{
    return value && strcmp(value, wanted) == 0;
}

/* What a stage that has left no row says; false when it has not handled the call. */
static bool ended_without_row(const char *stage, const char *outcome, const char *why, struct call_processing *ret)
{
    bool rejected = is(outcome, "rejected"), parked = is(outcome, "parked");

    if (rejected || parked)
        *ret = (struct call_processing){ rejected ? "failed" : "waiting", stage, why };
    return rejected || parked;
}

struct call_processing call_processing_of(const struct call_progress *progress)
{
    struct call_processing ended;
    bool on_the_line = is(progress->status, "ringing") || is(progress->status, "in_progress");

    if (progress->analyzed)
        return (struct call_processing){ "analyzed", NULL, NULL };
    if (ended_without_row("analyze", progress->analyze_outcome, progress->analyze_why, &ended))
        return ended;
    if (progress->transcribed)
        return (struct call_processing){ "transcribed", NULL,
                                         is(progress->analyze_outcome, "skipped") ? progress->analyze_why : NULL };
    if (ended_without_row("transcribe", progress->transcribe_outcome, progress->transcribe_why, &ended))
        return ended;
    if (on_the_line)
        return (struct call_processing){ "waiting", NULL, "the call is not over" };
    if (is(progress->transcribe_outcome, "skipped"))
        return (struct call_processing){ "none", NULL, progress->transcribe_why };
    if (progress->recorded && !is(progress->status, "failed"))
        return (struct call_processing){ "transcribing", NULL, NULL };
    return (struct call_processing){ "none", NULL, "there is no recording" };
}

static bool is_true(const char *value)
{
    return is(value, "t");
}

void call_processing_show(const struct rows *rows, int row, struct call_progress progress, const char **ret)
{
    progress.transcribe_outcome = row_get(rows, row, "transcribe_outcome");
    progress.transcribe_why = row_get(rows, row, "transcribe_why");
    progress.analyze_outcome = row_get(rows, row, "analyze_outcome");
    progress.analyze_why = row_get(rows, row, "analyze_why");
    const struct call_processing processing = call_processing_of(&progress);

    ret[0] = processing.state;
    ret[1] = processing.stage;
    ret[2] = processing.reason;
}

static void processing_values(const struct rows *rows, int row, const char **ret)
{
    call_processing_show(rows, row,
                         (struct call_progress){
                             .analyzed = row_get(rows, row, "analysis_provider"),
                             .transcribed = is_true(row_get(rows, row, "transcribed")),
                             .recorded = is_true(row_get(rows, row, "recorded")),
                             .status = row_get(rows, row, "status"),
                         },
                         ret);
}

/* --- what is shown --------------------------------------------------------------------------------------- */

static const struct api_member call_members[] = {
    { "call_id", API_STRING },         { "tenant", API_STRING },        { "source", API_STRING },
    { "status", API_STRING },          { "direction", API_STRING },     { "answered", API_BOOLEAN },
    { "voicemail", API_BOOLEAN },      { "call_at", API_STRING },       { "started_at", API_STRING },
    { "duration_s", API_INTEGER },     { "recorded", API_BOOLEAN },     { "tracking_number", API_STRING },
    { "customer_number", API_STRING }, { "customer_name", API_STRING }, { "csr_user_id", API_STRING },
    { "brought_by", API_STRING },      { "created_at", API_STRING },    { "updated_at", API_STRING },
    { 0 },
};
static const struct api_member lead_members[] = { { "lead_id", API_STRING }, { "status", API_STRING }, { 0 } };
static const struct api_member appointment_members[] = {
    { "appointment_id", API_STRING },  { "status", API_STRING },       { "outcome", API_STRING },
    { "scheduled_start", API_STRING }, { "service_type", API_STRING }, { "location", API_STRING },
    { "assigned_rep_id", API_STRING }, { "quote", API_STRING },        { "updated_at", API_STRING },
    { 0 },
};
static const struct api_member delivery_members[] = {
    { "delivery_id", API_STRING }, { "channel", API_STRING }, { "provider", API_STRING }, { "recipient", API_STRING },
    { "purpose", API_STRING },     { "content", API_STRING }, { "state", API_STRING },    { "status", API_STRING },
    { "error_code", API_STRING },  { "error", API_STRING },   { "attempt", API_INTEGER }, { "created_at", API_STRING },
    { "updated_at", API_STRING },  { 0 },
};
static const struct api_member history_members[] = {
    { "stage", API_STRING },      { "event_id", API_STRING },     { "event_type", API_STRING },
    { "run", API_INTEGER },       { "topic", API_STRING },        { "hook", API_STRING },
    { "reported_at", API_STRING }, { "outcome", API_STRING },     { "why", API_STRING },
    { "attempts", API_INTEGER },  { "emitted", API_INTEGER },     { "received_at", API_STRING },
    { "started_at", API_STRING }, { "committed_at", API_STRING }, { "worked_ms", API_NUMBER },
    { 0 },
};

static const struct api_part call_parts[] = {
    { NULL, "", call_members, NULL },
    { "callback", "callback_", api_callback_members, NULL },
    { "contact", "contact_", api_contact_members, NULL },
    { "lead", "lead_", lead_members, NULL },
    { "processing", NULL, api_processing_members, processing_values },
    { "analysis", "analysis_", api_analysis_members, NULL },
    { 0 },
};
static const struct api_part more_call_parts[] = {
    { "recording", "recording_", api_recording_members, NULL },
    { "transcript", "transcript_", api_transcript_members, NULL },
    { "appointment", "appointment_", appointment_members, NULL },
    { 0 },
};

/* --- GET /api/v1/calls ----------------------------------------------------------------------------------- */

static const struct api_list *list_of(const struct calls_query *query)
{
    static const struct api_list list = { &calls_order, call_parts,  "call_at",
                                          "call_id",    &list_calls, &list_all_calls };
    static const struct api_list callbacks = { &calls_order, call_parts,      "call_at",
                                               "call_id",    &list_callbacks, &list_all_callbacks };
    static const struct api_list seldom = { &calls_order, call_parts,         "call_at",
                                            "call_id",    &list_seldom_calls, &list_all_seldom_calls };

    if (is(query->callback, "open"))
        return &callbacks;
    return is(query->status, "ringing") || is(query->status, "in_progress") || is(query->status, "failed") ? &seldom
                                                                                                          : &list;
}

void api_list_calls(struct api_request *request)
{
    static const struct api_list found = { &calls_order, call_parts,    "call_at",
                                           "call_id",    &search_calls, &search_all_calls };
    struct calls_query query;
    struct problem why = { 0 };

    if (!calls_query_read(http_url(request->exchange), request->arena, &query, &why))
        api_refuse_query(request, &why);
    else if (query.search)
        api_answer_list(request, &found, &query.page,
                        PARAMS(query.from, query.to, query.status, query.callback, query.search));
    else
        api_answer_list(request, list_of(&query), &query.page,
                        PARAMS(query.from, query.to, query.status, query.callback));
}

/* --- GET /api/v1/calls/{id} ------------------------------------------------------------------------------ */

void api_show_call(struct api_request *request)
{
    const char *call_id = http_path_value(request->exchange, "id");
    struct problem why = { 0 };
    struct rows call, deliveries, history;
    struct buf out;

    if (!api_no_parameters(http_url(request->exchange), request->arena, &why)) {
        api_refuse_query(request, &why);
        return;
    }
    if (!api_query(request, &show_call, PARAMS(call_id), &call))
        return;
    if (call.count == 0) {
        api_refuse(request, 404, "there is no call with this id", NULL);
        return;
    }
    const char *tenant = row_get(&call, 0, "tenant");
    if (!api_query(request, &list_deliveries, PARAMS(tenant, call_id), &deliveries) ||
        !api_query(request, &list_history, PARAMS(tenant, call_id), &history))
        return;
    buf_init(&out, API_ANSWER_BYTES_MAX);
    buf_add_string(&out, "{\"data\":{");
    api_write_parts(&out, &call, 0, call_parts);
    api_write_parts(&out, &call, 0, more_call_parts);
    api_write_list(&out, &deliveries, "deliveries", delivery_members);
    api_write_list(&out, &history, "history", history_members);
    buf_add_string(&out, "}}\n");
    api_answer(request, 200, &out);
}

/* --- PATCH ----------------------------------------------------------------------------------------------- */

/* The call in the path; NULL: no call is called so, and it was answered as absent. */
static const char *path_call(struct api_request *request)
{
    const char *call_id = http_path_value(request->exchange, "id");

    if (strlen(call_id) <= CALL_ID_BYTES_MAX)
        return call_id;
    api_refuse_absent(request, "call");
    return NULL;
}

void api_update_call(struct api_request *request)
{
    struct update_call body;
    const char *call_id = path_call(request);

    if (call_id && api_read_body(request, update_call_read, &body))
        api_write(request, call_id);
}

void api_correct_analysis(struct api_request *request)
{
    struct correct_analysis body;
    struct json_value whole;
    struct json_scan scan;
    struct text name;
    const char *call_id = path_call(request);

    if (!call_id || !api_read_body(request, correct_analysis_read, &body))
        return;
    bool any = json_parse(http_body(request->exchange), &whole, &request->why);
    json_enter(&scan, whole);
    any = any && json_member(&scan, &name, &whole);
    if (any)
        api_write(request, call_id);
    else
        api_refuse_body(request, "there is nothing to correct in it", "");
}
