/* appointments.c: the recorder's part of POST /api/v1/appointments: a visit that was agreed on otherwise than in a
 * call. */
#include "ingest/api_rows.h"
#include "ingest/changes.h"
#include "requests.h"

#include <string.h>

/* The row as it is about to be: $1 its id, $2 the lead, $3 the scope, $4 the rep, $5 the start, $6 the service, $7 the
 * place, $8 now. */
static const struct statement compose_appointment = {
    .name = "compose_appointment",
    .text = "WITH p AS (SELECT $1::uuid AS appointment_id, l.tenant, NULL::text AS call_id, l.lead_id,"
            " $4::text AS assigned_rep_id, 'scheduled'::text AS status, 'pending'::text AS outcome,"
            " $5::timestamptz AS scheduled_start, $6::text AS service_type, $7::text AS location, NULL::text AS quote,"
            " $8::timestamptz AS created_at, $8::timestamptz AS updated_at"
            " FROM leads l WHERE l.lead_id = $2::uuid AND " CHANGE_IN_SCOPE("l.tenant", "$3") ")"
            " SELECT l.status AS lead_status, u.role AS rep_role," APPOINTMENT_COLUMNS
            " FROM p" APPOINTMENT_JOINS,
    .params = 8,
};
static const struct statement insert_appointment = {
    .name = "insert_appointment",
    .text = "INSERT INTO appointments (tenant, appointment_id, lead_id, assigned_rep_id, scheduled_start,"
            " service_type, location, source_time, created_at, updated_at)"
            " VALUES ($1, $2::uuid, $3::uuid, $4, $5::timestamptz, $6, $7, $8::timestamptz, $8::timestamptz,"
            " $8::timestamptz)",
    .params = 8,
    .must = 1,
};

enum outcome change_create_appointment(struct work *work, const struct change *change, struct change_answer *ret)
{
    struct create_appointment wanted;
    struct rows rows;
    char *id = arena_alloc(work_arena(work), UUID_BYTES);

    if (!create_appointment_read(change->requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    uuid_of(id, "appointment", change->id, NULL);
    TRY(work_query(work, &compose_appointment, &rows, id, wanted.lead_id, change->scope, wanted.assigned_rep_id,
                   wanted.scheduled_start, wanted.service_type, wanted.location, change->at));
    if (rows.count == 0)
        return change_refuse(work, 422, "/lead_id", ret, "there is no lead with this id");
    if (strcmp(row_get(&rows, 0, "lead_status"), "closed") == 0)
        return change_refuse(work, 409, "/lead_id", ret, "the lead is closed");
    const char *role = row_get(&rows, 0, "rep_role");
    if (wanted.assigned_rep_id && (!role || strcmp(role, "station") == 0))
        return change_refuse(work, 422, "/assigned_rep_id", ret, "there is nobody with this id in the company");
    work_set_tenant(work, row_get(&rows, 0, "tenant"));
    effect_row(work, &insert_appointment, row_get(&rows, 0, "tenant"), id, wanted.lead_id, wanted.assigned_rep_id,
               wanted.scheduled_start, wanted.service_type, wanted.location, change->at);
    return change_answer(work, 201, &rows, appointment_parts, ret);
}
