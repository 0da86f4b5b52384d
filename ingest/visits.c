/* visits.c: the recorder's part of visits: a recording begins, and when it ended visit.recorded tells transcribe. */
#include "ingest/api_rows.h"
#include "ingest/changes.h"
#include "requests.h"

#include <string.h>

/* The row as it is about to be: $1 its id, $2 the appointment, $3 the scope, $4 the rep who asks, $5 now, $6 who else
 * asks. */
static const struct statement compose_session = {
    .name = "compose_session",
    .text = "WITH p AS (SELECT $1::uuid AS session_id, a.tenant, a.appointment_id,"
            " coalesce($4::text, a.assigned_rep_id, $6::text) AS rep_user_id, 'recording'::text AS status,"
            " $5::timestamptz AS started_at, NULL::timestamptz AS stopped_at, $5::timestamptz AS created_at,"
            " $5::timestamptz AS updated_at, a.status AS appointment_status, a.assigned_rep_id,"
            " (SELECT r.session_id FROM recording_sessions r WHERE r.tenant = a.tenant"
            " AND r.appointment_id = a.appointment_id AND r.status = 'recording') AS running"
            " FROM appointments a WHERE a.appointment_id = $2::uuid AND " CHANGE_IN_SCOPE("a.tenant", "$3") ")"
            " SELECT p.appointment_status, p.assigned_rep_id, p.running," SESSION_COLUMNS " FROM p",
    .params = 6,
};
static const struct statement insert_session = {
    .name = "insert_session",
    .text = "INSERT INTO recording_sessions (tenant, session_id, appointment_id, rep_user_id, started_at, created_at,"
            " updated_at)"
            " VALUES ($1, $2::uuid, $3::uuid, $4, $5::timestamptz, $5::timestamptz, $5::timestamptz)",
    .params = 5,
    .must = 1,
};
/* $1 the visit, $2 the scope, $3 now */
static const struct statement compose_stopped = {
    .name = "compose_stopped",
    .text = "WITH p AS (SELECT s.session_id, s.tenant, s.appointment_id, s.rep_user_id, s.started_at, s.created_at,"
            " s.status AS was, CASE s.status WHEN 'recording' THEN 'completed' ELSE s.status END AS status,"
            " CASE s.status WHEN 'recording' THEN greatest($3::timestamptz, s.started_at) ELSE s.stopped_at END"
            " AS stopped_at,"
            " CASE s.status WHEN 'recording' THEN greatest($3::timestamptz, s.started_at) ELSE s.updated_at END"
            " AS updated_at"
            " FROM recording_sessions s WHERE s.session_id = $1::uuid AND " CHANGE_IN_SCOPE("s.tenant", "$2") ")"
            " SELECT p.was," SESSION_COLUMNS " FROM p",
    .params = 3,
};
static const struct statement stop_session = {
    .name = "stop_session",
    .text = "UPDATE recording_sessions SET status = 'completed', audio_url = $3,"
            " stopped_at = greatest($4::timestamptz, started_at), updated_at = greatest($4::timestamptz, started_at)"
            " WHERE tenant = $1 AND session_id = $2::uuid AND status = 'recording'",
    .params = 4,
    .must = 1,
};

/* A rep records visits of his own, and those that are nobody's. */
static bool is_anothers(const struct change *change, const char *rep_user_id)
{
    const char *user_id = change->requested->user_id;
    return strcmp(change->requested->role, "rep") == 0 && rep_user_id &&
           (!user_id || strcmp(user_id, rep_user_id) != 0);
}

enum outcome change_start_session(struct work *work, const struct change *change, struct change_answer *ret)
{
    bool is_rep = strcmp(change->requested->role, "rep") == 0;
    const char *user_id = change->requested->user_id;
    struct start_session wanted;
    struct rows rows;
    char *id = arena_alloc(work_arena(work), UUID_BYTES);

    if (!start_session_read(change->requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    uuid_of(id, "session", change->id, NULL);
    TRY(work_query(work, &compose_session, &rows, id, wanted.appointment_id, change->scope, is_rep ? user_id : NULL,
                   change->at, user_id));
    if (rows.count == 0)
        return change_refuse(work, 422, "/appointment_id", ret, "there is no appointment with this id");
    if (is_anothers(change, row_get(&rows, 0, "assigned_rep_id")))
        return change_refuse(work, 403, NULL, ret, "the appointment is another rep's");
    if (strcmp(row_get(&rows, 0, "appointment_status"), "cancelled") == 0)
        return change_refuse(work, 409, "/appointment_id", ret, "the appointment was cancelled");
    if (row_get(&rows, 0, "running"))
        return change_refuse(work, 409, "/appointment_id", ret, "the visit is being recorded already, as session %s",
                             row_get(&rows, 0, "running"));
    const char *tenant = row_get(&rows, 0, "tenant");
    work_set_tenant(work, tenant);
    effect_row(work, &insert_session, tenant, id, wanted.appointment_id, row_get(&rows, 0, "rep_user_id"), change->at);
    return change_answer(work, 201, &rows, session_parts, ret);
}

/* Who stops twice is answered as once, with whatever address: the first counts. */
enum outcome change_stop_session(struct work *work, const struct change *change, struct change_answer *ret)
{
    const char *id = change->requested->about;
    struct stop_session wanted;
    struct rows rows;

    if (!stop_session_read(change->requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    TRY(work_query(work, &compose_stopped, &rows, id, change->scope, change->at));
    if (rows.count == 0)
        return change_refuse_absent(work, "visit", ret);
    if (is_anothers(change, row_get(&rows, 0, "rep_user_id")))
        return change_refuse(work, 403, NULL, ret, "the visit is another rep's");
    const char *was = row_get(&rows, 0, "was"), *tenant = row_get(&rows, 0, "tenant");
    if (strcmp(was, "failed") == 0)
        return change_refuse(work, 409, NULL, ret, "the recording failed");
    work_set_tenant(work, tenant);
    if (strcmp(was, "recording") == 0) {
        effect_row(work, &stop_session, tenant, id, wanted.audio_url, change->at);
        effect_event(work, &EVENT_VISIT_RECORDED, id,
                     &(struct visit_recorded){ .session_id = id,
                                               .appointment_id = row_get(&rows, 0, "appointment_id"),
                                               .audio_url = wanted.audio_url });
    }
    return change_answer(work, 200, &rows, session_parts, ret);
}
