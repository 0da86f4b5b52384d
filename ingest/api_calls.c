/* api_calls.c: GET /api/v1/calls and /api/v1/calls/{id}.
 *
 * Postgres answers columns; what they are called and where they stand in the JSON is in tables below.  The columns of a
 * part ("analysis") begin with its name and an underscore; a part whose first column is null is null. */
#include "ingest/api_calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "ingest/api.h"
#include "ingest/api_query.h"

#define COLUMN_BYTES     64
#define DELIVERIES_MAX   100  /* of one call */
#define HISTORY_MAX      1000 /* events of one call */
#define TEXT_OF_(number) #number
#define TEXT_OF(number)  TEXT_OF_(number)

/* --- statements ------------------------------------------------------------------------------------------ */

/* clang-format off */
#define UTC(time) "to_char(" time " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

/* How an event of the call `p` ended last in a stage, or a job that it became did not: asked only while the stage's row
 * is missing.  Its day bounds the ledger's partitions. */
#define LAST_OUTCOME(name, of_stage, of_type, row)                                                                \
    " LEFT JOIN LATERAL (SELECT e.outcome, e.why FROM ledger e"                                                   \
    " WHERE e.correlation_id = p.call_id AND e.tenant = p.tenant"                                                 \
    " AND e.stage = '" of_stage "' AND (e.event_type = '" of_type "'"                                             \
    " OR e.event_type IN ('job.finished', 'job.due') AND e.outcome IN ('rejected', 'parked'))"                    \
    " AND e.day >= (p.created_at AT TIME ZONE 'UTC')::date - 1 AND " row ".call_id IS NULL"                       \
    " ORDER BY e.run DESC, e.committed_at DESC LIMIT 1) " name " ON true"

#define CALL_COLUMNS                                                                                              \
    " p.call_id, p.tenant, p.source, p.status, p.direction, p.answered, p.voicemail,"                             \
    " " UTC("p.call_at") " AS call_at, " UTC("p.started_at") " AS started_at, p.duration_s,"                      \
    " p.recording_url IS NOT NULL AS recorded, p.tracking_number, p.customer_number, p.customer_name,"            \
    " p.csr_user_id, p.brought_by, " UTC("p.created_at") " AS created_at, " UTC("p.updated_at") " AS updated_at,"               \
    " cc.contact_id AS contact_contact_id, cc.phone AS contact_phone, cc.name AS contact_name,"                   \
    " l.lead_id AS lead_lead_id, l.status AS lead_status,"                                                        \
    " a.lead_qualification AS analysis_lead_qualification, a.booking_status AS analysis_booking_status,"          \
    " a.call_outcome_category AS analysis_call_outcome_category, a.sentiment_score AS analysis_sentiment_score,"  \
    " a.objections AS analysis_objections, a.sop_score AS analysis_sop_score,"                                    \
    " a.sop_missed_steps AS analysis_sop_missed_steps, a.summary AS analysis_summary,"                            \
    " a.evidence AS analysis_evidence, a.dropped_without_evidence AS analysis_dropped_without_evidence,"          \
    " a.provider AS analysis_provider, a.model AS analysis_model, a.prompt_version AS analysis_prompt_version,"   \
    " " UTC("a.updated_at") " AS analysis_updated_at, t.call_id IS NOT NULL AS transcribed,"                      \
    " heard.outcome AS transcribe_outcome, heard.why AS transcribe_why,"                                          \
    " understood.outcome AS analyze_outcome, understood.why AS analyze_why"

#define CALL_JOINS                                                                                                \
    " LEFT JOIN contact_cards cc ON cc.tenant = p.tenant AND cc.contact_id = p.contact_id"                        \
    " LEFT JOIN leads l ON l.tenant = p.tenant AND l.lead_id = p.lead_id"                                         \
    " LEFT JOIN call_transcripts t ON t.tenant = p.tenant AND t.call_id = p.call_id"                              \
    " LEFT JOIN call_analyses a ON a.tenant = p.tenant AND a.call_id = p.call_id"                                 \
    LAST_OUTCOME("heard", "transcribe", "call.recorded", "t")                                                     \
    LAST_OUTCOME("understood", "analyze", "call.transcribed", "a")

/* Which calls are in the list: $1 tenant, $2 from, $3 to, $4 status.  Days are the company's own; those of UTC around
 * them let the index be used, whatever its time zone.  (Row-level security keeps a COALESCE out of the index, but not
 * a CASE.) */
#define LISTED(tenancy)                                                                                           \
    " WHERE " tenancy " AND ($4::text IS NULL OR c.status = $4)"                                                  \
    " AND c.call_at >= CASE WHEN $2::date IS NULL THEN '-infinity' ELSE ($2::date - 1)::timestamptz END"          \
    " AND c.call_at < CASE WHEN $3::date IS NULL THEN 'infinity' ELSE ($3::date + 2)::timestamptz END"            \
    " AND ($2::date IS NULL OR " LOCAL_DAY " >= $2::date)"                                                        \
    " AND ($3::date IS NULL OR " LOCAL_DAY " <= $3::date)"
#define LOCAL_DAY                                                                                                 \
    "(c.call_at AT TIME ZONE (SELECT co.time_zone FROM companies co WHERE co.tenant = c.tenant))::date"

/* $5, $6, $7: the cursor, $8: how many.  The order is total: no call is lost or given twice between two pages. */
#define LIST_CALLS(calls, tenancy)                                                                                \
    "WITH page AS MATERIALIZED (SELECT c.* FROM " calls LISTED(tenancy)                                           \
    " AND (c.call_at, c.call_id, c.tenant) < ($5::timestamptz, $6, $7)"                                           \
    " ORDER BY c.call_at DESC, c.call_id DESC, c.tenant DESC LIMIT $8::integer),"                                 \
    " listed AS (SELECT count(*) AS total FROM " calls LISTED(tenancy) ")"                                        \
    " SELECT listed.total," CALL_COLUMNS " FROM listed LEFT JOIN page p ON true" CALL_JOINS                       \
    " ORDER BY p.call_at DESC, p.call_id DESC, p.tenant DESC"

/* Row-level security says the same; said here, it lets the tenant's index be used. */
#define ONE_COMPANY "c.tenant = $1"
#define ALL_COMPANIES "$1 = '" API_ALL_TENANTS "'"
#define MATCHING "calls_matching($9) m JOIN calls c ON c.tenant = m.tenant AND c.call_id = m.call_id"

static const struct statement list_calls = {
    .name = "api_list_calls",
    .text = LIST_CALLS("calls c", ONE_COMPANY),
    .params = 8,
};
static const struct statement list_all_calls = {
    .name = "api_list_all_calls",
    .text = LIST_CALLS("calls c", ALL_COMPANIES),
    .params = 8,
};
static const struct statement search_calls = {
    .name = "api_search_calls",
    .text = LIST_CALLS(MATCHING, ONE_COMPANY),
    .params = 9,
};
static const struct statement search_all_calls = {
    .name = "api_search_all_calls",
    .text = LIST_CALLS(MATCHING, ALL_COMPANIES),
    .params = 9,
};

/* Who sees all companies gets the newest, should two sources have named their calls alike. */
static const struct statement show_call = {
    .name = "api_show_call",
    .text = "WITH page AS MATERIALIZED"
            " (SELECT c.* FROM calls c WHERE c.call_id = $1 ORDER BY c.call_at DESC LIMIT 1)"
            " SELECT" CALL_COLUMNS ","
            " t.provider AS transcript_provider, t.model AS transcript_model, t.language AS transcript_language,"
            " t.text AS transcript_text, t.segments AS transcript_segments, t.speakers AS transcript_speakers,"
            " t.words AS transcript_words, t.duration_s AS transcript_duration_s,"
            " " UTC("t.updated_at") " AS transcript_updated_at,"
            " r.bytes AS recording_bytes, r.sha256 AS recording_sha256, r.format AS recording_format,"
            " r.channels AS recording_channels, r.sample_rate_hz AS recording_sample_rate_hz,"
            " r.duration_s AS recording_duration_s, " UTC("r.created_at") " AS recording_created_at,"
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

/* --- from columns to JSON -------------------------------------------------------------------------------- */

enum kind { END, STRING, INTEGER, NUMBER, BOOLEAN, JSON };

struct member {
    const char *name;
    enum kind kind;
};

static const struct member call_members[] = {
    { "call_id", STRING },         { "tenant", STRING },        { "source", STRING },
    { "status", STRING },          { "direction", STRING },     { "answered", BOOLEAN },
    { "voicemail", BOOLEAN },      { "call_at", STRING },       { "started_at", STRING },
    { "duration_s", INTEGER },     { "recorded", BOOLEAN },     { "tracking_number", STRING },
    { "customer_number", STRING }, { "customer_name", STRING }, { "csr_user_id", STRING },
    { "brought_by", STRING },      { "created_at", STRING },    { "updated_at", STRING },
    { NULL, END },
};
static const struct member contact_members[] = {
    { "contact_id", STRING }, { "phone", STRING }, { "name", STRING }, { NULL, END }
};
static const struct member lead_members[] = { { "lead_id", STRING }, { "status", STRING }, { NULL, END } };
static const struct member analysis_members[] = {
    { "lead_qualification", STRING },
    { "booking_status", STRING },
    { "call_outcome_category", STRING },
    { "sentiment_score", NUMBER },
    { "objections", JSON },
    { "sop_score", NUMBER },
    { "sop_missed_steps", JSON },
    { "summary", STRING },
    { "evidence", JSON },
    { "dropped_without_evidence", INTEGER },
    { "provider", STRING },
    { "model", STRING },
    { "prompt_version", STRING },
    { "updated_at", STRING },
    { NULL, END },
};
static const struct member transcript_members[] = {
    { "provider", STRING },   { "model", STRING },     { "language", STRING }, { "text", STRING },
    { "segments", JSON },     { "speakers", INTEGER }, { "words", INTEGER },   { "duration_s", NUMBER },
    { "updated_at", STRING }, { NULL, END },
};
static const struct member recording_members[] = {
    { "bytes", INTEGER },          { "sha256", STRING },     { "format", STRING },     { "channels", INTEGER },
    { "sample_rate_hz", INTEGER }, { "duration_s", NUMBER }, { "created_at", STRING }, { NULL, END },
};
static const struct member appointment_members[] = {
    { "appointment_id", STRING }, { "status", STRING },   { "outcome", STRING },         { "scheduled_start", STRING },
    { "service_type", STRING },   { "location", STRING }, { "assigned_rep_id", STRING }, { "quote", STRING },
    { "updated_at", STRING },     { NULL, END },
};
static const struct member delivery_members[] = {
    { "delivery_id", STRING }, { "channel", STRING }, { "provider", STRING }, { "recipient", STRING },
    { "purpose", STRING },     { "content", STRING }, { "state", STRING },    { "status", STRING },
    { "error_code", STRING },  { "error", STRING },   { "attempt", INTEGER }, { "created_at", STRING },
    { "updated_at", STRING },  { NULL, END },
};
static const struct member history_members[] = {
    { "stage", STRING },      { "event_id", STRING },     { "event_type", STRING },  { "run", INTEGER },
    { "topic", STRING },      { "hook", STRING },         { "reported_at", STRING }, { "outcome", STRING },
    { "why", STRING },        { "attempts", INTEGER },    { "emitted", INTEGER },    { "received_at", STRING },
    { "started_at", STRING }, { "committed_at", STRING }, { "worked_ms", NUMBER },   { NULL, END },
};

static bool is_true(const char *value)
{
    return value && strcmp(value, "t") == 0;
}

static void write_value(struct buf *out, enum kind kind, const char *value)
{
    if (!value || kind == STRING)
        json_write_string(out, value);
    else if (kind == BOOLEAN)
        json_write_bool(out, is_true(value));
    else if (kind == NUMBER)
        json_write_number(out, strtod(value, NULL));
    else
        buf_add_string(out, value);
}

static const char *column_of(const struct rows *rows, int row, const char *prefix, const char *name)
{
    char column[COLUMN_BYTES];
    snprintf(column, sizeof(column), "%s%s", prefix, name);
    return row_get(rows, row, column);
}

static void write_members(struct buf *out, const struct rows *rows, int row, const char *prefix,
                          const struct member *members)
{
    for (; members->name; members++) {
        json_name(out, members->name);
        write_value(out, members->kind, column_of(rows, row, prefix, members->name));
    }
}

static void write_part(struct buf *out, const struct rows *rows, int row, const char *name, const char *prefix,
                       const struct member *members)
{
    json_name(out, name);
    if (!column_of(rows, row, prefix, members->name)) {
        buf_add_string(out, "null");
        return;
    }
    buf_add_char(out, '{');
    write_members(out, rows, row, prefix, members);
    buf_add_char(out, '}');
}

static void write_list(struct buf *out, const struct rows *rows, const char *name, const struct member *members)
{
    json_name(out, name);
    buf_add_char(out, '[');
    for (int row = 0; row < rows->count; row++) {
        json_separate(out);
        buf_add_char(out, '{');
        write_members(out, rows, row, "", members);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

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

static void write_processing(struct buf *out, const struct rows *rows, int row)
{
    const struct call_progress progress = {
        .analyzed = row_get(rows, row, "analysis_provider"),
        .transcribed = is_true(row_get(rows, row, "transcribed")),
        .recorded = is_true(row_get(rows, row, "recorded")),
        .status = row_get(rows, row, "status"),
        .transcribe_outcome = row_get(rows, row, "transcribe_outcome"),
        .transcribe_why = row_get(rows, row, "transcribe_why"),
        .analyze_outcome = row_get(rows, row, "analyze_outcome"),
        .analyze_why = row_get(rows, row, "analyze_why"),
    };
    const struct call_processing processing = call_processing_of(&progress);

    json_name(out, "processing");
    buf_add_char(out, '{');
    json_name(out, "state");
    json_write_string(out, processing.state);
    json_name(out, "stage");
    json_write_string(out, processing.stage);
    json_name(out, "reason");
    json_write_string(out, processing.reason);
    buf_add_char(out, '}');
}

static void write_call(struct buf *out, const struct rows *rows, int row)
{
    write_members(out, rows, row, "", call_members);
    write_part(out, rows, row, "contact", "contact_", contact_members);
    write_part(out, rows, row, "lead", "lead_", lead_members);
    write_processing(out, rows, row);
    write_part(out, rows, row, "analysis", "analysis_", analysis_members);
}

/* --- GET /api/v1/calls ----------------------------------------------------------------------------------- */

static bool find_calls(struct api_request *request, const struct calls_query *query, struct rows *ret)
{
    bool all = strcmp(request->tenant, API_ALL_TENANTS) == 0;
    const struct calls_cursor *after = &query->after;
    const char *one_more = arena_printf(request->arena, "%d", query->limit + 1);

    if (query->search)
        return api_query(request, all ? &search_all_calls : &search_calls,
                         PARAMS(request->tenant, query->from, query->to, query->status, after->at, after->call_id,
                                after->tenant, one_more, query->search),
                         ret);
    return api_query(request, all ? &list_all_calls : &list_calls,
                     PARAMS(request->tenant, query->from, query->to, query->status, after->at, after->call_id,
                            after->tenant, one_more),
                     ret);
}

static const char *cursor_behind(const struct rows *rows, int row, struct arena *arena)
{
    const struct calls_cursor cursor = { .at = row_get(rows, row, "call_at"),
                                         .call_id = row_get(rows, row, "call_id"),
                                         .tenant = row_get(rows, row, "tenant") };
    return calls_cursor_print(&cursor, arena);
}

void api_list_calls(struct api_request *request)
{
    struct calls_query query;
    struct problem why = { 0 };
    struct rows rows;
    struct buf out;

    if (!calls_query_read(http_url(request->exchange), request->arena, &query, &why)) {
        api_refuse(request, 422, why.text, why.pointer[0] ? why.pointer : NULL);
        return;
    }
    if (!find_calls(request, &query, &rows))
        return;
    /* an empty page still has a row, for the total */
    int found = row_get(&rows, 0, "call_id") ? rows.count : 0;
    int shown = found > query.limit ? query.limit : found;
    buf_init(&out, API_ANSWER_BYTES_MAX);
    buf_add_string(&out, "{\"data\":{\"items\":[");
    for (int row = 0; row < shown; row++) {
        json_separate(&out);
        buf_add_char(&out, '{');
        write_call(&out, &rows, row);
        buf_add_char(&out, '}');
    }
    buf_add_string(&out, "],\"total\":");
    buf_add_string(&out, row_get(&rows, 0, "total"));
    json_name(&out, "next_cursor");
    json_write_string(&out, found > shown ? cursor_behind(&rows, shown - 1, request->arena) : NULL);
    buf_add_string(&out, "}}\n");
    api_answer(request, &out);
}

/* --- GET /api/v1/calls/{id} ------------------------------------------------------------------------------ */

void api_show_call(struct api_request *request)
{
    static const char *const no_names[] = { NULL };
    const char *no_values[1], *call_id = http_path_value(request->exchange, "id");
    struct problem why = { 0 };
    struct rows call, deliveries, history;
    struct buf out;

    if (!api_parameters(http_url(request->exchange), no_names, no_values, request->arena, &why)) {
        api_refuse(request, 422, why.text, why.pointer[0] ? why.pointer : NULL);
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
    write_call(&out, &call, 0);
    write_part(&out, &call, 0, "recording", "recording_", recording_members);
    write_part(&out, &call, 0, "transcript", "transcript_", transcript_members);
    write_part(&out, &call, 0, "appointment", "appointment_", appointment_members);
    write_list(&out, &deliveries, "deliveries", delivery_members);
    write_list(&out, &history, "history", history_members);
    buf_add_string(&out, "}}\n");
    api_answer(request, &out);
}
