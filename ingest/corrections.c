/* corrections.c: the recorder's part of PATCH /api/v1/calls/{id}/analysis: what a person knows better than a model.
 *
 * The field's column gets the value, so that everything that reads analyses follows; beside it `corrections` keeps who
 * said so and when, and what the model had said.  analyze keeps a corrected field when it analyses the call again. */
#include "ingest/api_rows.h"
#include "ingest/changes.h"
#include "requests.h"

#include <string.h>

#include "common/json.h"

/* clang-format off */
/* `value` as it is now kept in `corrections`, by $12 at $11; nothing when it is null. */
#define CORRECTED(field, value)                                                                                   \
    " || CASE WHEN " value " IS NULL THEN '{}'::jsonb ELSE jsonb_build_object('" field "', jsonb_build_object("   \
    "'value', to_jsonb(" value "),"                                                                               \
    " 'was', coalesce(a.corrections -> '" field "' -> 'was', to_jsonb(a." field ")),"                             \
    " 'by', $12::text, 'at', $11::text)) END"
#define CORRECTIONS                                                                                               \
    "a.corrections"                                                                                               \
    CORRECTED("lead_qualification", "$3::text") CORRECTED("booking_status", "$4::text")                           \
    CORRECTED("call_outcome_category", "$5::text") CORRECTED("sentiment_score", "$6::double precision")           \
    CORRECTED("objections", "$7::jsonb") CORRECTED("sop_score", "$8::double precision")                           \
    CORRECTED("sop_missed_steps", "$9::jsonb") CORRECTED("summary", "$10::text")

/* The row as it is about to be: $1 the call, $2 the scope, $3 to $10 what is corrected, $11 now, $12 who. */
static const struct statement compose_analysis = {
    .name = "compose_analysis",
    .text = "SELECT c.tenant, c.lead_id, c.call_at, a.source_time, a.run,"
            " coalesce($3, a.lead_qualification) AS lead_qualification,"
            " coalesce($4, a.booking_status) AS booking_status,"
            " coalesce($5, a.call_outcome_category) AS call_outcome_category,"
            " coalesce($6::double precision, a.sentiment_score) AS sentiment_score,"
            " coalesce($7::jsonb, a.objections) AS objections,"
            " coalesce($8::double precision, a.sop_score) AS sop_score,"
            " coalesce($9::jsonb, a.sop_missed_steps) AS sop_missed_steps, coalesce($10, a.summary) AS summary,"
            " a.evidence, a.dropped_without_evidence, " CORRECTIONS " AS corrections, a.provider, a.model,"
            " a.prompt_version, " API_UTC("$11::timestamptz") " AS updated_at"
            " FROM calls c LEFT JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id"
            " WHERE c.call_id = $1 AND " CHANGE_IN_SCOPE("c.tenant", "$2") " ORDER BY c.call_at DESC LIMIT 1",
    .params = 12,
};
/* The same parameters; $2 is the company. */
static const struct statement correct_analysis = {
    .name = "correct_analysis",
    .text = "UPDATE call_analyses a SET lead_qualification = coalesce($3, a.lead_qualification),"
            " booking_status = coalesce($4, a.booking_status),"
            " call_outcome_category = coalesce($5, a.call_outcome_category),"
            " sentiment_score = coalesce($6::double precision, a.sentiment_score),"
            " objections = coalesce($7::jsonb, a.objections), sop_score = coalesce($8::double precision, a.sop_score),"
            " sop_missed_steps = coalesce($9::jsonb, a.sop_missed_steps), summary = coalesce($10, a.summary),"
            " corrections = " CORRECTIONS ", updated_at = $11::timestamptz"
            " WHERE a.call_id = $1 AND a.tenant = $2",
    .params = 12,
    .must = 1,
};
/* clang-format on */

/* As analyze does: the latest call by call time decides; a closed lead stays closed. */
static const struct statement correct_lead = {
    .name = "correct_lead",
    .text = "UPDATE leads SET status = $3, status_call_at = $4::timestamptz, updated_at = now()"
            " WHERE tenant = $1 AND lead_id = $2::uuid AND status <> 'closed'"
            " AND (status_call_at IS NULL OR status_call_at <= $4::timestamptz)",
    .params = 4,
};
/* As old as the analysis, so that one that finds out more may fill it in. */
static const struct statement book_appointment = {
    .name = "book_appointment",
    .text = "INSERT INTO appointments (tenant, appointment_id, call_id, lead_id, source_time, run)"
            " VALUES ($1, $2::uuid, $3, $4::uuid, $5::timestamptz, $6::integer)"
            " ON CONFLICT (tenant, call_id) DO NOTHING",
    .params = 6,
};
/* What nobody has touched yet goes. */
static const struct statement unbook_appointment = {
    .name = "unbook_appointment",
    .text = "DELETE FROM appointments a WHERE a.tenant = $1 AND a.call_id = $2 AND a.status = 'scheduled'"
            " AND a.outcome = 'pending' AND NOT EXISTS (SELECT 1 FROM recording_sessions s"
            " WHERE s.tenant = a.tenant AND s.appointment_id = a.appointment_id)",
    .params = 2,
};

static const struct api_part analysis_parts[] = { { NULL, "", api_analysis_members, NULL }, { 0 } };

static const char *number(struct work *work, bool given, double value)
{
    return given ? arena_printf(work_arena(work), "%.17g", value) : NULL;
}

/* A member of the body as it stands there; NULL: it is not there. */
static const char *raw_member(struct work *work, struct text body, const char *name)
{
    struct json_value whole, member;

    if (!json_parse(body, &whole, work_why(work)) || !json_find(whole, name, &member))
        return NULL;
    return arena_copy_text(work_arena(work), member.raw);
}

/* The lead's status and the appointment are as if the model had said it. */
static void follow(struct work *work, const struct change *change, const struct correct_analysis *wanted,
                   const struct rows *row)
{
    const char *tenant = row_get(row, 0, "tenant"), *lead_id = row_get(row, 0, "lead_id"),
               *call_id = change->requested->about;
    char *appointment_id = arena_alloc(work_arena(work), UUID_BYTES);

    if (wanted->lead_qualification && lead_id)
        effect_row(work, &correct_lead, tenant, lead_id, wanted->lead_qualification, row_get(row, 0, "call_at"));
    if (!wanted->booking_status)
        return;
    uuid_of(appointment_id, "appointment", tenant, call_id, NULL);
    if (strcmp(wanted->booking_status, "booked") == 0)
        effect_row(work, &book_appointment, tenant, appointment_id, call_id, lead_id, row_get(row, 0, "source_time"),
                   row_get(row, 0, "run"));
    else
        effect_row(work, &unbook_appointment, tenant, call_id);
}

enum outcome change_correct_analysis(struct work *work, const struct change *change, struct change_answer *ret)
{
    const struct api_requested *requested = change->requested;
    struct correct_analysis wanted;
    struct rows rows;

    if (!correct_analysis_read(requested->body, work_arena(work), &wanted, work_why(work)))
        return REJECT;
    const char *values[] = { requested->about,
                             change->scope,
                             wanted.lead_qualification,
                             wanted.booking_status,
                             wanted.call_outcome_category,
                             number(work, wanted.has_sentiment_score, wanted.sentiment_score),
                             raw_member(work, requested->body, "objections"),
                             number(work, wanted.has_sop_score, wanted.sop_score),
                             raw_member(work, requested->body, "sop_missed_steps"),
                             wanted.summary,
                             change->at,
                             change->by };
    TRY(work_query_params(work, &compose_analysis, &rows, (struct params){ LENGTH(values), values }));
    if (rows.count == 0)
        return change_refuse_absent(work, "call", ret);
    if (!row_get(&rows, 0, "provider"))
        return change_refuse(work, 409, NULL, ret, "the call has no analysis yet");
    values[1] = row_get(&rows, 0, "tenant");
    work_set_tenant(work, values[1]);
    effect_row_params(work, &correct_analysis, (struct params){ LENGTH(values), values });
    follow(work, change, &wanted, &rows);
    return change_answer(work, 200, &rows, analysis_parts, ret);
}
