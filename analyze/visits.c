/* visits.c: visit.transcribed → visit.analyzed: what a visit came to, its appointment's outcome, and its lead's end. */
#include "analyze/analyze.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_visit = {
    .name = "find_visit",
    .text = "SELECT s.tenant, s.appointment_id, s.started_at, co.name AS company, t.text, t.words,"
            " to_char(s.started_at AT TIME ZONE co.time_zone, 'YYYY-MM-DD\"T\"HH24:MI') AS started_local, co.time_zone"
            " FROM recording_sessions s JOIN recording_transcripts t USING (tenant, session_id)"
            " JOIN companies co USING (tenant) WHERE s.session_id = $1::uuid",
    .params = 1,
};
static const struct statement upsert_visit_analysis = {
    .name = "upsert_visit_analysis",
    .text = "INSERT INTO recording_analyses AS a (tenant, session_id, provider, model, prompt_version, outcome,"
            " sentiment_score, objections, sop_score, sop_missed_steps, summary, evidence, dropped_without_evidence,"
            " source_time, run)"
            " VALUES ($1, $2::uuid, $3, $4, $5, $6, $7::double precision, $8::jsonb, $9::double precision, $10::jsonb,"
            " $11, $12::jsonb, $13::integer, $14::timestamptz, $15::integer)"
            " ON CONFLICT (tenant, session_id) DO UPDATE SET provider = EXCLUDED.provider, model = EXCLUDED.model,"
            " prompt_version = EXCLUDED.prompt_version, outcome = EXCLUDED.outcome,"
            " sentiment_score = EXCLUDED.sentiment_score, objections = EXCLUDED.objections,"
            " sop_score = EXCLUDED.sop_score, sop_missed_steps = EXCLUDED.sop_missed_steps, summary = EXCLUDED.summary,"
            " evidence = EXCLUDED.evidence, dropped_without_evidence = EXCLUDED.dropped_without_evidence,"
            " source_time = EXCLUDED.source_time, run = EXCLUDED.run, updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run)",
    .params = 15,
};
/* The latest visit by its beginning decides. */
static const struct statement update_outcome = {
    .name = "update_outcome",
    .text = "UPDATE appointments SET outcome = $3, outcome_at = $4::timestamptz, updated_at = now()"
            " WHERE tenant = $1 AND appointment_id = $2::uuid"
            " AND (outcome_at IS NULL OR outcome_at <= $4::timestamptz)",
    .params = 4,
};
/* Won or lost: the matter is closed, and the next call opens a new lead. */
static const struct statement close_lead = {
    .name = "close_lead",
    .text = "UPDATE leads l SET status = 'closed', updated_at = now() FROM appointments a"
            " WHERE a.tenant = $1 AND a.appointment_id = $2::uuid AND a.outcome_at = $3::timestamptz"
            " AND l.tenant = a.tenant AND l.lead_id = a.lead_id AND l.status <> 'closed'",
    .params = 3,
};

/* The session's row, by name. */
struct visit {
    const char *tenant, *session_id, *appointment_id, *started_at, *started_local, *time_zone, *company, *text;
};

/* A visit as it was understood, by whomever. */
struct understood {
    const char *provider, *model, *prompt_version;
    const char *outcome, *summary;
    double sentiment_score;
    struct findings objections;
    const char *sop_score, *missed_steps;       /* a number or NULL, and JSON */
    const char *evidence;                       /* JSON */
    int dropped;
};

static void describe(struct work *work, const struct visit *visit, const struct understood *understood)
{
    struct arena *arena = work_arena(work);
    effect_row(work, &upsert_visit_analysis, visit->tenant, visit->session_id, understood->provider, understood->model,
               understood->prompt_version, understood->outcome, number_text(work, understood->sentiment_score),
               findings_json(work, &understood->objections, "category"), understood->sop_score,
               understood->missed_steps, understood->summary, understood->evidence,
               arena_printf(arena, "%d", understood->dropped), work_source_time(work),
               arena_printf(arena, "%d", work_source_run(work)));
    effect_row(work, &update_outcome, visit->tenant, visit->appointment_id, understood->outcome, visit->started_at);
    if (strcmp(understood->outcome, "pending") != 0)
        effect_row(work, &close_lead, visit->tenant, visit->appointment_id, visit->started_at);
    effect_event(work, &EVENT_VISIT_ANALYZED, visit->session_id, &(struct visit_analyzed){
        .session_id = visit->session_id,
        .appointment_id = visit->appointment_id,
        .provider = understood->provider,
        .model = understood->model,
        .prompt_version = understood->prompt_version,
        .outcome = understood->outcome,
        .sentiment_score = understood->sentiment_score,
        .has_objections = true, .objections = (int64_t)understood->objections.count,
        .has_dropped_without_evidence = true, .dropped_without_evidence = understood->dropped,
        .summary = understood->summary,
    });
}

/* --- by our own models and rules ---------------------------------------------------------------------------------- */

static bool check_analysis(struct text json, struct arena *arena, void *ret, struct problem *why)
{
    return visit_analysis_read(json, arena, ret, why);
}

static enum outcome ask_model(struct work *work, const struct visit *visit, struct visit_analysis *ret,
                              struct answer *answer)
{
    const struct llm_request request = {
        .instructions = visit_analysis_prompt,
        .content = arena_printf(work_arena(work),
                                "Company: %s\nThe visit began at %s (time zone %s).\n\nTranscript:\n%s", visit->company,
                                visit->started_local, visit->time_zone, visit->text),
        .schema_name = "visit_analysis",
        .schema = visit_analysis_schema,
    };
    return llm_ask(work, "llm", &request, check_analysis, ret, answer);
}

static enum outcome judge(struct work *work, const struct visit *visit)
{
    const struct analyze *analyze = work_context(work);
    struct arena *arena = work_arena(work);
    const struct evidence *said = evidence_prepare(visit->text, arena);
    bool by_rules = analyze->llm_provider == LLM_RULES;
    struct visit_analysis analysis;
    struct answer answer = { .provider = "rules", .model = "rules" };
    struct findings objections, evidence;
    if (by_rules)
        rules_analyze_visit(visit->text, arena, &analysis);
    else
        TRY(ask_model(work, visit, &analysis, &answer));
    FINDINGS_TAKE(&objections, arena, analysis.objections, analysis.objections_count, category);
    FINDINGS_TAKE(&evidence, arena, analysis.evidence, analysis.evidence_count, field);
    int dropped = findings_drop_unsaid(&objections, said, arena) + findings_drop_unsaid(&evidence, said, arena);
    if (strcmp(analysis.outcome, "pending") != 0 && !findings_have(&evidence, "outcome")) {
        analysis.outcome = "pending";       /* what claims nothing */
        dropped++;
    }
    const struct visit_analysis_sop_compliance *sop = &analysis.sop_compliance;
    describe(work, visit, &(struct understood){
        .provider = answer.provider,
        .model = answer.model,
        .prompt_version = by_rules ? NULL : visit_analysis_prompt_version,
        .outcome = analysis.outcome,
        .summary = analysis.summary,
        .sentiment_score = analysis.sentiment_score,
        .objections = objections,
        .sop_score = number_text(work, sop->score),
        .missed_steps = texts_json(work, sop->missed_steps, sop->missed_steps_count),
        .evidence = findings_json(work, &evidence, "field"),
        .dropped = dropped,
    });
    return DONE;
}

/* --- by Shunya ---------------------------------------------------------------------------------------------------- */

static enum outcome take_shunya(struct work *work, const struct visit *visit, struct text json)
{
    struct shunya_analysis told;
    if (!shunya_analysis_of("visit", json, work_arena(work), &told, work_why(work)))
        return REJECT;
    describe(work, visit, &(struct understood){
        .provider = "shunya",
        .outcome = told.outcome,
        .summary = shunya_summary(work, &told),
        .sentiment_score = told.sentiment_score,
        .objections = shunya_objections(work, &told),
        .sop_score = shunya_sop_score(work, &told),
        .missed_steps = shunya_missed_steps(work, &told),
        .evidence = VENDOR_EVIDENCE,
    });
    return DONE;
}

/* --- the way ------------------------------------------------------------------------------------------------------ */

static enum outcome find(struct work *work, const char *session_id, struct visit *ret, bool *ret_silent)
{
    struct rows rows;
    TRY(work_query(work, &find_visit, &rows, session_id));
    if (rows.count == 0)
        return reject(work, "visit \"%s\" has no transcript", session_id);
    *ret = (struct visit){ .tenant = row_get(&rows, 0, "tenant"),
                           .session_id = session_id,
                           .appointment_id = row_get(&rows, 0, "appointment_id"),
                           .started_at = row_get(&rows, 0, "started_at"),
                           .started_local = row_get(&rows, 0, "started_local"),
                           .time_zone = row_get(&rows, 0, "time_zone"),
                           .company = row_get(&rows, 0, "company"),
                           .text = row_get(&rows, 0, "text") };
    *ret_silent = atoi(row_get(&rows, 0, "words")) == 0;
    work_set_tenant(work, ret->tenant);
    return DONE;
}

static enum outcome understand(struct work *work, const char *session_id)
{
    const struct analyze *analyze = work_context(work);
    struct visit visit;
    struct text json;
    bool silent;
    TRY(find(work, session_id, &visit, &silent));
    if (silent)
        return skip(work, "nobody said anything that was understood");
    if (analyze->with != WITH_SHUNYA)
        return judge(work, &visit);
    TRY(shunya_analyze(work, &(struct shunya_order){ session_id, "visit", visit.text }, &json));
    return json.at ? take_shunya(work, &visit, json) : DONE;
}

enum outcome analyze_visit(struct work *work, const struct event *event)
{
    struct visit_transcribed transcribed;
    TRY(work_read_data(work, event, visit_transcribed_read, &transcribed));
    return understand(work, transcribed.session_id);
}

enum outcome analyze_visit_again(struct work *work, const struct job *job)
{
    return understand(work, job->subject);
}

enum outcome finish_visit(struct work *work, const struct job *job)
{
    struct visit visit;
    bool silent;
    TRY(find(work, job->subject, &visit, &silent));
    return take_shunya(work, &visit, job->result);
}
