/* coach.c: meeting.changed → plan.made: a plan for the meeting, from its invitation and from what is known of its
 * client. */
#include "analyze/coach.h"
#include "common/json.h"
#include "common/tree.h"

#include <stdlib.h>
#include <string.h>

#define CONTENT_BYTES_MAX (256 * 1024)
#define SUMMARY_CHARACTERS_MAX 1200
#define STEP_CHARACTERS_MAX 600

static const struct statement find_meeting = {
    .name = "find_meeting",
    .text = "SELECT m.tenant, m.meeting_id, m.client_id, m.title, m.description, m.revision, m.plan_version, m.status,"
            " m.salesperson_email, m.salesperson_phone, m.end_time <= now() AS ended, c.name AS client, c.company,"
            " to_char(m.start_time AT TIME ZONE co.time_zone, 'YYYY-MM-DD HH24:MI, FMDay') AS starts,"
            " to_char(m.end_time AT TIME ZONE co.time_zone, 'YYYY-MM-DD HH24:MI') AS ends,"
            " (extract(epoch FROM m.start_time - $2::timestamptz) / 60)::integer AS minutes_left,"
            " (SELECT string_agg(concat_ws(', ', nullif(o.name, ''), nullif(o.company, '')), '; ' ORDER BY mc.number)"
            "  FROM meeting_clients mc JOIN clients o USING (tenant, client_id)"
            "  WHERE mc.tenant = m.tenant AND mc.meeting_id = m.meeting_id AND mc.number BETWEEN 2 AND 10) AS others,"
            " u.name AS salesperson, co.name AS own_company, co.time_zone,"
            " (SELECT language FROM chat_answers a WHERE a.tenant = m.tenant AND a.email = m.salesperson_email"
            "  AND source_time < $2::timestamptz ORDER BY source_time DESC LIMIT 1) AS language,"
            " CASE WHEN p.source_time = $2::timestamptz THEN 'redo' WHEN p.plan_version >= m.plan_version THEN "
            "'planned' END"
            "  AS plan"
            " FROM meetings m JOIN clients c USING (tenant, client_id) JOIN companies co USING (tenant)"
            " LEFT JOIN users u ON u.tenant = m.tenant AND u.email = m.salesperson_email"
            " LEFT JOIN meeting_plans p ON p.tenant = m.tenant AND p.meeting_id = m.meeting_id"
            " WHERE m.meeting_id = $1::uuid",
    .params = 2,
};
static const struct statement find_known = {
    .name = "find_known",
    .text = "SELECT to_char(m.start_time AT TIME ZONE co.time_zone, 'YYYY-MM-DD') AS day, m.title,"
            " coalesce(n.outcome, m.last_client_reply, '') AS outcome"
            " FROM meetings m JOIN companies co USING (tenant) LEFT JOIN meeting_notes n ON n.tenant = m.tenant"
            "  AND n.meeting_id = m.meeting_id AND n.revision = m.revision AND n.state <> 'withdrawn'"
            " WHERE m.tenant = $1 AND m.client_id = $2::uuid AND m.meeting_id <> $3::uuid AND m.status <> 'cancelled'"
            " AND m.start_time < (SELECT start_time FROM meetings WHERE tenant = $1 AND meeting_id = $3::uuid)"
            " ORDER BY m.start_time DESC LIMIT 5",
    .params = 3,
};
static const struct statement upsert_plan = {
    .name = "upsert_plan",
    .text =
        "INSERT INTO meeting_plans AS p (tenant, meeting_id, plan_version, summary, steps, language, provider, model,"
        " prompt_version, source_time, run)"
        " VALUES ($1, $2::uuid, $3::integer, $4, $5::jsonb, $6, $7, $8, $9, $10::timestamptz, $11::integer)"
        " ON CONFLICT (tenant, meeting_id) DO UPDATE SET plan_version = EXCLUDED.plan_version,"
        " summary = EXCLUDED.summary, steps = EXCLUDED.steps, language = EXCLUDED.language,"
        " provider = EXCLUDED.provider, model = EXCLUDED.model, prompt_version = EXCLUDED.prompt_version,"
        " source_time = EXCLUDED.source_time, run = EXCLUDED.run, updated_at = now()"
        " WHERE (EXCLUDED.plan_version, EXCLUDED.source_time, EXCLUDED.run) >= (p.plan_version, p.source_time, p.run)",
    .params = 11,
};

/* --- what is known of the client ---------------------------------------------------------------------------------- */

enum outcome coach_known(struct work *work, const char *tenant, const char *client_id, const char *meeting_id,
                         struct coach_known *ret)
{
    struct arena *arena = work_arena(work);
    struct rows rows;
    *ret = (struct coach_known){ .count = 0 };
    TRY(work_query(work, &find_known, &rows, tenant, client_id, meeting_id));
    for (int row = 0; row < rows.count && ret->count < COACH_KNOWN_MAX; row++, ret->count++) {
        ret->meetings[ret->count].day = row_get(&rows, row, "day");
        ret->meetings[ret->count].title = coach_clean(arena, row_get(&rows, row, "title"), COACH_TITLE_CHARACTERS_MAX);
        ret->meetings[ret->count].outcome =
            coach_clean(arena, row_get(&rows, row, "outcome"), COACH_OUTCOME_CHARACTERS_MAX);
    }
    return DONE;
}

void coach_known_write(struct buf *json, const struct coach_known *known)
{
    buf_add_char(json, '[');
    for (size_t i = 0; i < known->count; i++) {
        json_separate(json);
        buf_add_char(json, '{');
        json_add_string(json, "day", known->meetings[i].day);
        json_add_string(json, "title", known->meetings[i].title);
        json_add_string(json, "outcome", known->meetings[i].outcome);
        buf_add_char(json, '}');
    }
    buf_add_char(json, ']');
}

bool coach_steps(struct arena *arena, const char *json, const char *ret[COACH_STEPS])
{
    const cJSON *steps = tree_read(arena, text_of(json));
    if (!cJSON_IsArray(steps) || cJSON_GetArraySize(steps) != COACH_STEPS)
        return false;
    for (int i = 0; i < COACH_STEPS; i++) {
        const cJSON *step = cJSON_GetArrayItem(steps, i);
        if (!cJSON_IsString(step))
            return false;
        ret[i] = step->valuestring;
    }
    return true;
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

/* The meeting's row. */
struct planned {
    struct coach_meeting meeting;
    const char *tenant, *salesperson_email, *revision, *plan_version, *others, *language;
    const char *salesperson, *company, *time_zone;
    int64_t minutes_left;
};

static const char *content_of(struct arena *arena, const struct planned *planned, const struct coach_known *known)
{
    const struct coach_meeting *meeting = &planned->meeting;
    struct buf json;
    buf_init(&json, CONTENT_BYTES_MAX);
    buf_add_char(&json, '{');
    json_add_string(&json, "salesperson", planned->salesperson);
    json_add_string(&json, "company", planned->company);
    json_name(&json, "meeting");
    buf_add_char(&json, '{');
    json_add_string(&json, "title", meeting->title);
    json_add_string(&json, "description", meeting->description);
    json_add_string(&json, "client", meeting->client);
    json_add_string(&json, "client_company", meeting->company);
    json_add_string(&json, "also_invited", planned->others);
    json_add_string(&json, "starts", meeting->starts);
    json_add_string(&json, "ends", meeting->ends);
    json_add_string(&json, "time_zone", planned->time_zone);
    json_add_integer(&json, "minutes_left", planned->minutes_left);
    buf_add_char(&json, '}');
    json_name(&json, "known_of_client");
    coach_known_write(&json, known);
    json_add_string(&json, "language", planned->language);
    buf_add_char(&json, '}');
    const char *content = arena_copy_text(arena, buf_text(&json));
    buf_done(&json);
    return content;
}

static bool check_plan(struct text json, struct arena *arena, void *ret, struct problem *why)
{
    struct meeting_plan *plan = ret;
    if (!meeting_plan_read(json, arena, plan, why))
        return false;
    plan->summary = coach_style(arena, plan->summary, SUMMARY_CHARACTERS_MAX);
    if (!*plan->summary)
        return fail_at(why, "/summary", "it says nothing");
    for (size_t i = 0; i < COACH_STEPS; i++) {
        plan->steps[i] = coach_style(arena, plan->steps[i], STEP_CHARACTERS_MAX);
        if (!*plan->steps[i])
            return fail_at(why, "/steps", "step %zu says nothing", i + 1);
    }
    return true;
}

static enum outcome make_plan(struct work *work, const struct planned *planned, const struct coach_known *known,
                              struct meeting_plan *ret, struct answer *answer)
{
    const struct analyze *analyze = work_context(work);
    if (analyze->llm_provider == LLM_RULES) {
        rules_plan(&planned->meeting, known, planned->minutes_left, work_arena(work), ret);
        return DONE;
    }
    const struct llm_request request = {
        .instructions = meeting_plan_prompt,
        .content = content_of(work_arena(work), planned, known),
        .schema_name = "meeting_plan",
        .schema = meeting_plan_schema,
    };
    return llm_ask(work, "plan", &request, check_plan, ret, answer);
}

static void describe(struct work *work, const struct planned *planned, const struct meeting_plan *plan,
                     const struct answer *answer)
{
    const struct analyze *analyze = work_context(work);
    bool by_rules = analyze->llm_provider == LLM_RULES;
    const char *prompt_version = by_rules ? NULL : meeting_plan_prompt_version;
    effect_row(work, &upsert_plan, planned->tenant, planned->meeting.meeting_id, planned->plan_version, plan->summary,
               texts_json(work, plan->steps, plan->steps_count), plan->language, answer->provider, answer->model,
               prompt_version, work_source_time(work), arena_printf(work_arena(work), "%d", work_source_run(work)));
    effect_event(work, &EVENT_PLAN_MADE, planned->salesperson_email, &(struct plan_made){
        .meeting_id = planned->meeting.meeting_id,
        .salesperson = planned->salesperson_email,
        .revision = strtoll(planned->revision, NULL, 10),
        .plan_version = strtoll(planned->plan_version, NULL, 10),
        .provider = answer->provider,
        .model = answer->model,
        .prompt_version = prompt_version,
    });
}

static struct planned read_meeting(struct work *work, const struct rows *rows)
{
    struct arena *arena = work_arena(work);
    return (struct planned){
        .meeting = {
            .meeting_id = row_get(rows, 0, "meeting_id"),
            .client_id = row_get(rows, 0, "client_id"),
            .title = coach_clean(arena, row_get(rows, 0, "title"), COACH_TITLE_CHARACTERS_MAX),
            .description = coach_clean(arena, row_get(rows, 0, "description"), COACH_DESCRIPTION_CHARACTERS_MAX),
            .client = coach_clean(arena, row_get(rows, 0, "client"), COACH_NAME_CHARACTERS_MAX),
            .company = coach_clean(arena, row_get(rows, 0, "company"), COACH_NAME_CHARACTERS_MAX),
            .starts = row_get(rows, 0, "starts"),
            .ends = row_get(rows, 0, "ends"),
        },
        .tenant = row_get(rows, 0, "tenant"),
        .salesperson_email = row_get(rows, 0, "salesperson_email"),
        .revision = row_get(rows, 0, "revision"),
        .plan_version = row_get(rows, 0, "plan_version"),
        .others = coach_clean(arena, row_get(rows, 0, "others"), COACH_OUTCOME_CHARACTERS_MAX),
        .language = row_get(rows, 0, "language"),
        .salesperson = coach_clean(arena, row_get(rows, 0, "salesperson"), COACH_NAME_CHARACTERS_MAX),
        .company = coach_clean(arena, row_get(rows, 0, "own_company"), COACH_NAME_CHARACTERS_MAX),
        .time_zone = row_get(rows, 0, "time_zone"),
        .minutes_left = strtoll(row_get(rows, 0, "minutes_left"), NULL, 10),
    };
}

/* Why there is nothing to plan; NULL: there is.  What a replayed event planned is planned again, however late. */
static const char *reason_not_to(const struct rows *rows)
{
    const char *plan = row_get(rows, 0, "plan");
    if (strcmp(row_get(rows, 0, "status"), "cancelled") == 0)
        return "the meeting is cancelled";
    if (!row_get(rows, 0, "salesperson_phone"))
        return "nobody knows the organizer yet";
    if (plan && strcmp(plan, "redo") == 0)
        return NULL;
    if (plan)
        return "the meeting is planned already";
    return strcmp(row_get(rows, 0, "ended"), "t") == 0 ? "the meeting has ended" : NULL;
}

enum outcome plan_meeting(struct work *work, const struct event *event)
{
    struct meeting_changed changed;
    struct rows rows;
    struct coach_known known;
    struct meeting_plan plan;
    struct answer answer = { .provider = "rules", .model = "rules" };
    TRY(work_read_data(work, event, meeting_changed_read, &changed));
    TRY(work_query(work, &find_meeting, &rows, changed.meeting_id, work_source_time(work)));
    if (rows.count == 0)
        return reject(work, "meeting \"%s\" is not there", changed.meeting_id);
    work_set_tenant(work, row_get(&rows, 0, "tenant"));
    const char *reason = reason_not_to(&rows);
    if (reason)
        return skip(work, "%s", reason);
    struct planned planned = read_meeting(work, &rows);
    TRY(coach_known(work, planned.tenant, planned.meeting.client_id, planned.meeting.meeting_id, &known));
    TRY(make_plan(work, &planned, &known, &plan, &answer));
    describe(work, &planned, &plan, &answer);
    return DONE;
}
