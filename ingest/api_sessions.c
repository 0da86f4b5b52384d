/* api_sessions.c: visits: GET /api/v1/recordings/sessions, …/{id}, POST …/start, …/{id}/stop. */
#include <string.h>

#include "ingest/api_calls.h"
#include "ingest/api_list.h"
#include "ingest/api_rows.h"
#include "ingest/api_writes.h"
#include "requests.h"

/* clang-format off */
#define ANALYSIS_COLUMNS                                                                                          \
    ", a.outcome AS analysis_outcome, a.sentiment_score AS analysis_sentiment_score,"                             \
    " a.objections AS analysis_objections, a.sop_score AS analysis_sop_score,"                                    \
    " a.sop_missed_steps AS analysis_sop_missed_steps, a.summary AS analysis_summary,"                            \
    " a.evidence AS analysis_evidence, a.dropped_without_evidence AS analysis_dropped_without_evidence,"          \
    " a.provider AS analysis_provider, a.model AS analysis_model, a.prompt_version AS analysis_prompt_version,"   \
    " " API_UTC("a.updated_at") " AS analysis_updated_at"
#define ANALYSIS_JOIN                                                                                             \
    " LEFT JOIN recording_analyses a ON a.tenant = p.tenant AND a.session_id = p.session_id"
/* $6: status, or stale.  Nearly all are completed: the others are said as the index of them has it, and counted. */
#define LISTED(tenancy) tenancy " AND ($6::text IS NULL OR c.status = $6)"
#define SELDOM(tenancy)                                                                                           \
    tenancy " AND c.status <> 'completed'"                                                                        \
            " AND (c.status = $6 OR ($6 = 'stale' AND c.status = 'recording'"                                     \
            " AND c.started_at < now() - " SESSION_STALE "))"
#define TOTAL(tenancy)                                                                                            \
    "visits_total() - CASE WHEN $6::text IS NULL THEN 0 ELSE "                                                    \
    API_COUNT("recording_sessions c", tenancy " AND c.status <> 'completed'") " END"
#define LIST_SESSIONS(total, where)                                                                               \
    API_NEWEST_FIRST(total, "recording_sessions c", where, "started_at", "session_id", "uuid",                    \
                     SESSION_COLUMNS ANALYSIS_COLUMNS, ANALYSIS_JOIN)
#define LIST_SELDOM(tenancy) LIST_SESSIONS(API_COUNT("recording_sessions c", SELDOM(tenancy)), SELDOM(tenancy))

static const struct statement list_sessions = {
    .name = "api_list_sessions",
    .text = LIST_SESSIONS(TOTAL(API_ONE_COMPANY), LISTED(API_ONE_COMPANY)),
    .params = 6,
};
static const struct statement list_all_sessions = {
    .name = "api_list_all_sessions",
    .text = LIST_SESSIONS(TOTAL(API_ALL_COMPANIES), LISTED(API_ALL_COMPANIES)),
    .params = 6,
};
static const struct statement list_seldom_sessions = {
    .name = "api_list_seldom_sessions",
    .text = LIST_SELDOM(API_ONE_COMPANY),
    .params = 6,
};
static const struct statement list_all_seldom_sessions = {
    .name = "api_list_all_seldom_sessions",
    .text = LIST_SELDOM(API_ALL_COMPANIES),
    .params = 6,
};
static const struct statement show_session = {
    .name = "api_show_session",
    .text = "SELECT" SESSION_COLUMNS ANALYSIS_COLUMNS ","
            TRANSCRIPT_COLUMNS "," RECORDING_COLUMNS "," LAST_OUTCOME_COLUMNS
            " FROM recording_sessions p" ANALYSIS_JOIN
            " LEFT JOIN recording_transcripts t ON t.tenant = p.tenant AND t.session_id = p.session_id"
            " LEFT JOIN session_recordings r ON r.tenant = p.tenant AND r.session_id = p.session_id"
            LAST_OUTCOME("heard", "transcribe", "visit.recorded", "p.session_id::text", "t.session_id")
            LAST_OUTCOME("understood", "analyze", "visit.transcribed", "p.session_id::text", "a.session_id")
            " WHERE p.session_id = $1::uuid",
    .params = 1,
};
/* clang-format on */

static const struct api_member session_members[] = {
    { "session_id", API_STRING }, { "tenant", API_STRING },     { "appointment_id", API_STRING },
    { "rep_user_id", API_STRING }, { "status", API_STRING },    { "stale", API_BOOLEAN },
    { "started_at", API_STRING }, { "stopped_at", API_STRING }, { "created_at", API_STRING },
    { "updated_at", API_STRING }, { 0 },
};
static const struct api_member analysis_members[] = {
    { "outcome", API_STRING },
    { "sentiment_score", API_NUMBER },
    { "objections", API_JSON },
    { "sop_score", API_NUMBER },
    { "sop_missed_steps", API_JSON },
    { "summary", API_STRING },
    { "evidence", API_JSON },
    { "dropped_without_evidence", API_INTEGER },
    { "provider", API_STRING },
    { "model", API_STRING },
    { "prompt_version", API_STRING },
    { "updated_at", API_STRING },
    { 0 },
};
/* How far it has come, as of a call that is over. */
static void processing_values(const struct rows *rows, int row, const char **ret)
{
    if (strcmp(row_get(rows, row, "status"), "recording") == 0) {
        ret[0] = "waiting";
        ret[1] = NULL;
        ret[2] = "the visit is not over";
        return;
    }
    call_processing_show(rows, row,
                         (struct call_progress){
                             .analyzed = row_get(rows, row, "analysis_provider"),
                             .transcribed = row_get(rows, row, "transcript_provider"),
                             .recorded = true,
                             .status = "completed",
                         },
                         ret);
}

const struct api_part session_parts[] = { { NULL, "", session_members, NULL }, { 0 } };
static const struct api_part listed_parts[] = {
    { NULL, "", session_members, NULL },
    { "analysis", "analysis_", analysis_members, NULL },
    { 0 },
};
static const struct api_part shown_parts[] = {
    { NULL, "", session_members, NULL },
    { "processing", NULL, api_processing_members, processing_values },
    { "analysis", "analysis_", analysis_members, NULL },
    { "transcript", "transcript_", api_transcript_members, NULL },
    { "recording", "recording_", api_recording_members, NULL },
    { 0 },
};

void api_list_sessions(struct api_request *request)
{
    static const struct api_list list = { &sessions_order, listed_parts,   "started_at",
                                          "session_id",    &list_sessions, &list_all_sessions };
    static const struct api_list seldom = { &sessions_order, listed_parts,          "started_at",
                                            "session_id",    &list_seldom_sessions, &list_all_seldom_sessions };
    struct sessions_query query;
    struct problem why = { 0 };

    if (!sessions_query_read(http_url(request->exchange), request->arena, &query, &why))
        api_refuse_query(request, &why);
    else
        api_answer_list(request, query.status && strcmp(query.status, "completed") != 0 ? &seldom : &list, &query.page,
                        PARAMS(query.status));
}

void api_show_session(struct api_request *request)
{
    const char *session_id = api_path_uuid(request, "visit");
    struct problem why = { 0 };
    struct rows rows;

    if (!session_id)
        return;
    if (!api_no_parameters(http_url(request->exchange), request->arena, &why))
        api_refuse_query(request, &why);
    else if (api_query(request, &show_session, PARAMS(session_id), &rows))
        api_answer_one(request, &rows, shown_parts, "visit");
}

void api_start_session(struct api_request *request)
{
    struct start_session body;

    if (api_read_body(request, start_session_read, &body))
        api_write(request, body.appointment_id);
}

/* http or https, and a host.  Where it may lead is transcribe's to say, which fetches it. */
static bool is_of_the_web(const char *url)
{
    size_t scheme = strncmp(url, "https://", 8) == 0 ? 8 : strncmp(url, "http://", 7) == 0 ? 7 : 0;
    return scheme > 0 && strcspn(url + scheme, "/?#:@") > 0;
}

void api_stop_session(struct api_request *request)
{
    const char *session_id = api_path_uuid(request, "visit");
    struct stop_session body;

    if (!session_id || !api_read_body(request, stop_session_read, &body))
        return;
    if (!is_of_the_web(body.audio_url))
        api_refuse_body(request, "must be an address that begins with https:// or http:// and a host", "/audio_url");
    else
        api_write(request, session_id);
}
