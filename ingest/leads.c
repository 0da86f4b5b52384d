/* leads.c: the recorder's part of what people did about a missed call, and decided about a lead. */
#include "ingest/api_rows.h"
#include "ingest/changes.h"
#include "requests.h"

#include <string.h>

/* The rows as they are about to be: $1 the id, $2 the scope, $3 now, $4 who. */
static const struct statement compose_callback = {
    .name = "compose_callback",
    .text = "SELECT c.call_id, c.tenant, c.status, c.callback_done_at IS NOT NULL AS was_done,"
            " 'done' AS callback_state,"
            " floor(extract(epoch FROM $3::timestamptz - c.call_at))::bigint AS callback_age_s,"
            " " API_UTC("coalesce(c.callback_done_at, $3::timestamptz)") " AS callback_done_at,"
            " coalesce(c.callback_done_by, $4) AS callback_done_by"
            " FROM calls c WHERE c.call_id = $1 AND " CHANGE_IN_SCOPE("c.tenant", "$2")
            " ORDER BY c.call_at DESC LIMIT 1",
    .params = 4,
};
static const struct statement close_callback = {
    .name = "close_callback",
    .text = "UPDATE calls SET callback_done_at = $3::timestamptz, callback_done_by = $4, updated_at = now()"
            " WHERE tenant = $1 AND call_id = $2 AND status = 'missed' AND callback_done_at IS NULL",
    .params = 4,
    .must = 1,
};
static const struct statement compose_lead = {
    .name = "compose_lead",
    .text = "WITH p AS (SELECT l.lead_id, l.tenant, l.contact_id, l.status AS was, 'closed'::text AS status,"
            " l.status_call_at, l.created_at,"
            " CASE l.status WHEN 'closed' THEN l.updated_at ELSE $3::timestamptz END AS updated_at"
            " FROM leads l WHERE l.lead_id = $1::uuid AND " CHANGE_IN_SCOPE("l.tenant", "$2") ")"
            " SELECT p.was," LEAD_COLUMNS " FROM p" LEAD_JOINS,
    .params = 3,
};
static const struct statement close_lead = {
    .name = "close_lead",
    .text = "UPDATE leads SET status = 'closed', updated_at = $3::timestamptz"
            " WHERE tenant = $1 AND lead_id = $2::uuid AND status <> 'closed'",
    .params = 3,
    .must = 1,
};

static const struct api_member call_members[] = {
    { "call_id", API_STRING }, { "tenant", API_STRING }, { "status", API_STRING }, { 0 }
};
static const struct api_part call_parts[] = {
    { NULL, "", call_members, NULL },
    { "callback", "callback_", api_callback_members, NULL },
    { 0 },
};

enum outcome change_update_call(struct work *work, const struct change *change, struct change_answer *ret)
{
    const char *id = change->requested->about;
    struct update_call wanted;
    struct rows rows;

    if (!update_call_read(change->requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    TRY(work_query(work, &compose_callback, &rows, id, change->scope, change->at, change->by));
    if (rows.count == 0)
        return change_refuse_absent(work, "call", ret);
    if (strcmp(row_get(&rows, 0, "status"), "missed") != 0)
        return change_refuse(work, 409, "/callback", ret, "the call was not missed");
    const char *tenant = row_get(&rows, 0, "tenant");
    work_set_tenant(work, tenant);
    if (strcmp(row_get(&rows, 0, "was_done"), "t") != 0)
        effect_row(work, &close_callback, tenant, id, change->at, change->by);
    return change_answer(work, 200, &rows, call_parts, ret);
}

enum outcome change_update_lead(struct work *work, const struct change *change, struct change_answer *ret)
{
    const char *id = change->requested->about;
    struct update_lead wanted;
    struct rows rows;

    if (!update_lead_read(change->requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    TRY(work_query(work, &compose_lead, &rows, id, change->scope, change->at));
    if (rows.count == 0)
        return change_refuse_absent(work, "lead", ret);
    const char *tenant = row_get(&rows, 0, "tenant");
    work_set_tenant(work, tenant);
    if (strcmp(row_get(&rows, 0, "was"), "closed") != 0)
        effect_row(work, &close_lead, tenant, id, change->at);
    return change_answer(work, 200, &rows, lead_parts, ret);
}
