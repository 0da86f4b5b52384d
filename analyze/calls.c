/* calls.c: call.transcribed → call.analyzed: what a call meant, its lead's status, and the appointment it made. */
#include "analyze/analyze.h"
#include "common/metrics.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_transcript = {
    .name = "find_transcript",
    .text = "SELECT c.tenant, c.lead_id, c.status,"
            " to_char(c.call_at AT TIME ZONE co.time_zone, 'YYYY-MM-DD\"T\"HH24:MI') AS call_local,"
            " extract(isodow FROM c.call_at AT TIME ZONE co.time_zone)::integer AS weekday,"
            " to_char(c.call_at AT TIME ZONE co.time_zone, 'FMDay') AS weekday_name,"
            " co.time_zone, co.name AS company, t.text, t.words, b.appointment_id,"
            " (SELECT jsonb_agg(jsonb_build_object('step', s.step, 'phrases', s.phrases) ORDER BY s.number)"
            "  FROM sop_steps s WHERE s.tenant = c.tenant) AS sop_steps,"
            " a.corrections #>> '{lead_qualification,value}' AS corrected_qualification,"
            " a.corrections #>> '{booking_status,value}' AS corrected_booking,"
            " a.corrections #>> '{call_outcome_category,value}' AS corrected_category,"
            " a.corrections #>> '{sentiment_score,value}' AS corrected_sentiment"
            " FROM calls c JOIN call_transcripts t USING (tenant, call_id) JOIN companies co USING (tenant)"
            " LEFT JOIN call_analyses a USING (tenant, call_id) LEFT JOIN appointments b USING (tenant, call_id)"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement read_time = {
    .name = "read_time",
    .text = "SELECT $1::timestamp AT TIME ZONE $2 AS at",
    .params = 2,
};
/* What a person has corrected stays as that person said (ingest/corrections.c). */
#define UNLESS_CORRECTED(field, as) #field " = coalesce((a.corrections " as ", EXCLUDED." #field ")"
#define TEXT_UNLESS_CORRECTED(field) UNLESS_CORRECTED(field, "#>> '{" #field ",value}')")
#define NUMBER_UNLESS_CORRECTED(field) UNLESS_CORRECTED(field, "#>> '{" #field ",value}')::double precision")
#define JSON_UNLESS_CORRECTED(field) UNLESS_CORRECTED(field, "#> '{" #field ",value}')")
static const struct statement upsert_analysis = {
    .name = "upsert_analysis",
    .text = "INSERT INTO call_analyses AS a (tenant, call_id, provider, model, prompt_version, lead_qualification,"
            " booking_status,"
            " call_outcome_category, sentiment_score, objections, sop_score, sop_missed_steps, summary, evidence,"
            " dropped_without_evidence, source_time, run)"
            " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::double precision, $10::jsonb, $11::double precision,"
            " $12::jsonb, $13, $14::jsonb,"
            " $15::integer, $16::timestamptz, $17::integer)"
            " ON CONFLICT (tenant, call_id) DO UPDATE SET provider = EXCLUDED.provider, model = EXCLUDED.model,"
            " prompt_version = EXCLUDED.prompt_version, " TEXT_UNLESS_CORRECTED(lead_qualification) ", "
            TEXT_UNLESS_CORRECTED(booking_status) ", " TEXT_UNLESS_CORRECTED(call_outcome_category) ", "
            NUMBER_UNLESS_CORRECTED(sentiment_score) ", " JSON_UNLESS_CORRECTED(objections) ", "
            NUMBER_UNLESS_CORRECTED(sop_score) ", " JSON_UNLESS_CORRECTED(sop_missed_steps) ", "
            TEXT_UNLESS_CORRECTED(summary) ", evidence = EXCLUDED.evidence,"
            " dropped_without_evidence = EXCLUDED.dropped_without_evidence, source_time = EXCLUDED.source_time,"
            " run = EXCLUDED.run,"
            " updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run)",
    .params = 17,
};
/* The latest call by call time decides; a closed lead stays closed.  After the analysis' row, which says what was
 * corrected, and from which on the call keeps its lead (trigger analysis_holds_call). */
static const struct statement update_lead = {
    .name = "update_lead",
    .text = "UPDATE leads l SET status = (SELECT lead_qualification FROM call_analyses WHERE tenant = $1 AND call_id = $2),"
            " status_call_at = c.call_at, updated_at = now() FROM calls c"
            " WHERE c.tenant = $1 AND c.call_id = $2 AND l.tenant = $1 AND l.lead_id = c.lead_id AND l.status <> 'closed'"
            " AND (l.status_call_at IS NULL OR l.status_call_at <= c.call_at)",
    .params = 2,
};
#define BOOKING "(SELECT booking_status FROM call_analyses WHERE tenant = $1 AND call_id = "
static const struct statement upsert_appointment = {
    .name = "upsert_appointment",
    .text = "INSERT INTO appointments AS a (tenant, appointment_id, call_id, lead_id, scheduled_start, service_type,"
            " location, quote,"
            " source_time, run, assigned_rep_id)"
            " SELECT c.tenant, $2::uuid, c.call_id, c.lead_id, $4::timestamptz, $5, $6, $7, $8::timestamptz, $9::integer, $10"
            " FROM calls c WHERE c.tenant = $1 AND c.call_id = $3 AND " BOOKING "$3) = 'booked'"
            " ON CONFLICT (tenant, call_id) DO UPDATE SET scheduled_start = EXCLUDED.scheduled_start,"
            " service_type = EXCLUDED.service_type,"
            " location = EXCLUDED.location, quote = EXCLUDED.quote, source_time = EXCLUDED.source_time,"
            " run = EXCLUDED.run,"
            " assigned_rep_id = coalesce(EXCLUDED.assigned_rep_id, a.assigned_rep_id), updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run) AND a.status = 'scheduled'"
            " AND a.outcome = 'pending'",
    .params = 10,
};
/* Of a call that is not booked, be it that an earlier run had found so: what nobody has touched yet goes. */
static const struct statement delete_appointment = {
    .name = "delete_appointment",
    .text = "DELETE FROM appointments a WHERE a.tenant = $1 AND a.call_id = $2 AND a.status = 'scheduled'"
            " AND a.outcome = 'pending'"
            " AND (a.source_time, a.run) <= ($3::timestamptz, $4::integer) AND " BOOKING "$2) <> 'booked'"
            " AND NOT EXISTS (SELECT 1 FROM recording_sessions s"
            " WHERE s.tenant = a.tenant AND s.appointment_id = a.appointment_id)",
    .params = 4,
};
static const struct statement find_reps = {
    .name = "find_reps",
    .text = "SELECT user_id, name FROM users WHERE tenant = $1 AND role = 'rep' ORDER BY user_id LIMIT 200",
    .params = 1,
};

/* The call's row, by name. */
struct transcript {
    const char *tenant, *call_id, *lead_id, *call_local, *weekday_name, *time_zone, *company, *text;
    const char *appointment_id; /* which the call made in an earlier run; NULL: none */
    const struct sop *sop;
    const char *corrected_qualification, *corrected_booking, *corrected_category, *corrected_sentiment;
    int weekday;
    bool voicemail;             /* nobody answered: it is what the caller left */
    struct evidence *evidence;
};

static bool check_analysis(struct text json, struct arena *arena, void *ret, struct problem *why)
{
    return call_analysis_read(json, arena, ret, why);
}

/* The prompt has the usual steps. */
static const char *company_steps(const struct transcript *transcript, struct arena *arena)
{
    if (transcript->sop == &sop_usual)
        return "";
    return arena_printf(arena, "\nIn this company the agent's steps are these alone:\n%s",
                        sop_print(transcript->sop, arena));
}

static enum outcome ask_model(struct work *work, const struct transcript *transcript, struct call_analysis *ret,
                              struct answer *answer)
{
    const struct llm_request request = {
        .instructions = call_analysis_prompt,
        .content =
            arena_printf(work_arena(work),
                         "Company: %s\nThe call began on %s, %s (time zone %s).%s\n%s\nTranscript:\n%s",
                         transcript->company, transcript->weekday_name, transcript->call_local, transcript->time_zone,
                         transcript->voicemail ? " Nobody answered; this is the voicemail." : "",
                         company_steps(transcript, work_arena(work)), transcript->text),
        .schema_name = "call_analysis",
        .schema = call_analysis_schema,
    };
    return llm_ask(work, "llm", &request, check_analysis, ret, answer);
}

/* Without a model: from the words alone.  Times are spoken in the company's time zone; Postgres knows its rules. */
static enum outcome apply_rules(struct work *work, const struct transcript *transcript, struct call_analysis *ret,
                                struct answer *answer)
{
    const struct rules_call call = { transcript->text, transcript->call_local, transcript->weekday,
                                     transcript->voicemail, transcript->sop };
    rules_analyze(&call, work_arena(work), ret);
    *answer = (struct answer){ .provider = "rules", .model = "rules" };
    if (!ret->appointment || !ret->appointment->scheduled_start)
        return DONE;
    struct rows rows;
    TRY(work_query(work, &read_time, &rows, ret->appointment->scheduled_start, transcript->time_zone));
    ret->appointment->scheduled_start = row_get(&rows, 0, "at");
    return DONE;
}

/* A name of one word may be a word like any other ("will", "mark"): it counts where somebody is spoken of. */
static bool is_named(const struct transcript *transcript, const char *name, struct arena *arena)
{
    static const struct {
        const char *before, *after;
    } frames[] = { { "", "can" },      { "", "could" }, { "", "will" },    { "", "is coming" },
                   { "", "is going" }, { "", "comes" }, { "with", "" },    { "send", "" },
                   { "sending", "" },  { "named", "" }, { "name is", "" }, { "technician", "" } };
    bool said = evidence_holds(transcript->evidence, name, arena);
    if (!said || strchr(name, ' '))
        return said;
    for (size_t i = 0; i < LENGTH(frames); i++)
        if (evidence_holds(transcript->evidence,
                           arena_printf(arena, "%s %s %s", frames[i].before, name, frames[i].after), arena))
            return true;
    return false;
}

/* The rep who was named in the call: by the whole name, else by a first name that only one of them has. */
static enum outcome find_named_rep(struct work *work, const struct transcript *transcript, const char **ret_user_id)
{
    struct arena *arena = work_arena(work);
    struct rows reps;
    const char *by_first_name = NULL;
    int first_names = 0;
    *ret_user_id = NULL;
    TRY(work_query(work, &find_reps, &reps, transcript->tenant));
    for (int i = 0; i < reps.count; i++) {
        const char *name = row_get(&reps, i, "name");
        if (strchr(name, ' ') && is_named(transcript, name, arena)) {
            *ret_user_id = row_get(&reps, i, "user_id");
            return DONE;
        }
        if (is_named(transcript, arena_copy_text(arena, (struct text){ name, strcspn(name, " ") }), arena)) {
            by_first_name = row_get(&reps, i, "user_id");
            first_names++;
        }
    }
    *ret_user_id = first_names == 1 ? by_first_name : NULL;
    return DONE;
}

/* In a voicemail nobody agrees to anything, and no agent has steps to follow. */
static void judge_voicemail(struct call_analysis *analysis)
{
    analysis->booking_status = "not_booked";
    analysis->sop_compliance.missed_steps_count = 0;
    if (strcmp(analysis->call_outcome_category, "spam") != 0
        && strcmp(analysis->call_outcome_category, "wrong_number") != 0)
        analysis->call_outcome_category = "voicemail";
}

/* A value that claims something needs words it rests on; without them it falls back to the one that claims nothing. */
static int fall_back(struct call_analysis *analysis, const struct findings *evidence, bool voicemail)
{
    int dropped = 0;
    bool said_booked = analysis->appointment || findings_have(evidence, "booking_status");
    if (strcmp(analysis->booking_status, "not_booked") != 0 && !said_booked) {
        analysis->booking_status = "not_booked";
        dropped++;
    }
    bool booked = strcmp(analysis->booking_status, "booked") == 0;
    if (!booked)
        analysis->appointment = NULL;
    if (strcmp(analysis->lead_qualification, "cold") != 0 && !booked
        && !findings_have(evidence, "lead_qualification")) {
        analysis->lead_qualification = "cold";
        dropped++;
    }
    const char *category = analysis->call_outcome_category;
    bool says_booked = strcmp(category, "booked") == 0, known = voicemail && strcmp(category, "voicemail") == 0;
    bool rests_on_words = findings_have(evidence, "call_outcome_category") || findings_have(evidence, "booking_status")
                          || findings_have(evidence, "lead_qualification");
    if (booked) {
        analysis->call_outcome_category = "booked";
    } else if (says_booked || (strcmp(category, "other") != 0 && !known && !rests_on_words)) {
        analysis->call_outcome_category = "other";
        dropped++;
    }
    return dropped;
}

/* --- what is written ---------------------------------------------------------------------------------------------- */

/* A call as it was understood, by whomever. */
struct understood {
    const char *provider, *model, *prompt_version;
    const char *lead_qualification, *booking_status, *category, *summary;
    double sentiment_score;
    struct findings objections;
    const char *sop_score, *missed_steps;       /* a number or NULL, and JSON */
    const char *evidence;                       /* JSON */
    int dropped;
    const char *scheduled_start, *service_type, *location, *quote, *rep;    /* of an appointment; each may be NULL */
};

static void describe_appointment(struct work *work, const struct transcript *transcript, const struct understood *call,
                                 const char *appointment_id)
{
    const char *run = arena_printf(work_arena(work), "%d", work_source_run(work)), *time = work_source_time(work);
    if (strcmp(call->booking_status, "booked") == 0)
        effect_row(work, &upsert_appointment, transcript->tenant, appointment_id, transcript->call_id,
                   call->scheduled_start, call->service_type, call->location, call->quote, time,
                   run, call->rep);
    effect_row(work, &delete_appointment, transcript->tenant, transcript->call_id, time, run);
}

/* The event says what the row does. */
static void tell(struct work *work, const struct transcript *transcript, const struct understood *call,
                 const char *appointment_id)
{
    const char *qualification = transcript->corrected_qualification, *booking = transcript->corrected_booking,
               *category = transcript->corrected_category, *sentiment = transcript->corrected_sentiment;
    booking = booking ? booking : call->booking_status;
    effect_event(work, &EVENT_CALL_ANALYZED, transcript->call_id, &(struct call_analyzed){
        .call_id = transcript->call_id,
        .provider = call->provider,
        .model = call->model,
        .prompt_version = call->prompt_version,
        .lead_qualification = qualification ? qualification : call->lead_qualification,
        .booking_status = booking,
        .call_outcome_category = category ? category : call->category,
        .sentiment_score = sentiment ? strtod(sentiment, NULL) : call->sentiment_score,
        .has_objections = true, .objections = (int64_t)call->objections.count,
        .has_dropped_without_evidence = true, .dropped_without_evidence = call->dropped,
        .appointment_id = strcmp(booking, "booked") == 0 ? appointment_id : NULL,
        .lead_id = transcript->lead_id,
        .summary = call->summary,
    });
}

static void describe(struct work *work, const struct transcript *transcript, const struct understood *call)
{
    struct arena *arena = work_arena(work);
    const char *tenant = transcript->tenant, *call_id = transcript->call_id;
    /* one that was made before the call's number had a company keeps its id */
    const char *appointment_id = transcript->appointment_id;
    if (!appointment_id)
        appointment_id = uuid_of(arena_alloc(arena, UUID_BYTES), "appointment", tenant, call_id, NULL);
    effect_row(work, &upsert_analysis, tenant, call_id, call->provider, call->model, call->prompt_version,
               call->lead_qualification, call->booking_status, call->category, number_text(work, call->sentiment_score),
               findings_json(work, &call->objections, "category"), call->sop_score, call->missed_steps, call->summary,
               call->evidence, arena_printf(arena, "%d", call->dropped), work_source_time(work),
               arena_printf(arena, "%d", work_source_run(work)));
    effect_row(work, &update_lead, tenant, call_id);
    describe_appointment(work, transcript, call, appointment_id);
    tell(work, transcript, call, appointment_id);
}

/* --- by our own models and rules ---------------------------------------------------------------------------------- */

static enum outcome judge(struct work *work, const struct transcript *transcript)
{
    const struct analyze *analyze = work_context(work);
    struct arena *arena = work_arena(work);
    bool by_rules = analyze->llm_provider == LLM_RULES;
    struct call_analysis analysis;
    struct answer answer;
    struct findings objections, evidence;
    TRY(by_rules ? apply_rules(work, transcript, &analysis, &answer)
                 : ask_model(work, transcript, &analysis, &answer));
    FINDINGS_TAKE(&objections, arena, analysis.objections, analysis.objections_count, category);
    FINDINGS_TAKE(&evidence, arena, analysis.evidence, analysis.evidence_count, field);
    int dropped = findings_drop_unsaid(&objections, transcript->evidence, arena)
                  + findings_drop_unsaid(&evidence, transcript->evidence, arena);
    if (analysis.appointment && !evidence_holds(transcript->evidence, analysis.appointment->quote, arena)) {
        analysis.appointment = NULL;
        dropped++;
    }
    if (transcript->voicemail)
        judge_voicemail(&analysis);
    dropped += fall_back(&analysis, &evidence, transcript->voicemail);
    const struct call_analysis_sop_compliance *sop = &analysis.sop_compliance;
    const struct call_analysis_appointment *agreed = analysis.appointment;
    struct understood call = {
        .provider = answer.provider,
        .model = answer.model,
        .prompt_version = by_rules ? NULL : call_analysis_prompt_version,
        .lead_qualification = analysis.lead_qualification,
        .booking_status = analysis.booking_status,
        .category = analysis.call_outcome_category,
        .summary = analysis.summary,
        .sentiment_score = analysis.sentiment_score,
        .objections = objections,
        .sop_score = transcript->voicemail ? NULL : number_text(work, sop->score),
        .missed_steps = texts_json(work, sop->missed_steps, sop->missed_steps_count),
        .evidence = findings_json(work, &evidence, "field"),
        .dropped = dropped,
        .scheduled_start = agreed ? agreed->scheduled_start : NULL,
        .service_type = agreed ? agreed->service_type : NULL,
        .location = agreed ? agreed->location : NULL,
        .quote = agreed ? agreed->quote : NULL,
    };
    if (strcmp(call.booking_status, "booked") == 0)
        TRY(find_named_rep(work, transcript, &call.rep));
    describe(work, transcript, &call);
    return DONE;
}

/* --- by Shunya ---------------------------------------------------------------------------------------------------- */

static const char *const categories[] = { "booked", "qualified_not_booked", "not_qualified", "service_not_offered",
                                          "existing_customer", "wrong_number", "spam", "voicemail", "missed", "other" };
static struct metric unknown_categories =
    METRIC_COUNTER("analyze_unknown_categories_total",
                   "outcomes of calls that a vendor names and we do not know, kept as given", "provider");

static void count_unknown(const char *category)
{
    for (size_t i = 0; i < LENGTH(categories); i++)
        if (strcmp(categories[i], category) == 0)
            return;
    metric_add(&unknown_categories, 1, "shunya");
}

/* With an offset it is said; without one it is the company's own time. */
static enum outcome read_start(struct work *work, const struct transcript *transcript, const char *start,
                               const char **ret)
{
    int64_t us;
    struct rows rows;
    *ret = NULL;
    if (!start || !start[0])
        return DONE;
    if (time_read(text_of(start), &us)) {
        *ret = work_time(work, us);
        return DONE;
    }
    if (!time_read(text_of(arena_printf(work_arena(work), "%sZ", start)), &us)
        && !time_read(text_of(arena_printf(work_arena(work), "%s:00Z", start)), &us))
        return fail_at(work_why(work), "/appointment/scheduled_start", "must be a time"), REJECT;
    TRY(work_query(work, &read_time, &rows, start, transcript->time_zone));
    *ret = row_get(&rows, 0, "at");
    return DONE;
}

/* The rep whom Shunya names, when the company has him; else the one who was named in the call. */
static enum outcome find_assigned_rep(struct work *work, const struct transcript *transcript, const char *named,
                                      const char **ret)
{
    struct rows reps;
    TRY(work_query(work, &find_reps, &reps, transcript->tenant));
    for (int i = 0; named && i < reps.count; i++)
        if (strcmp(row_get(&reps, i, "user_id"), named) == 0) {
            *ret = row_get(&reps, i, "user_id");
            return DONE;
        }
    return find_named_rep(work, transcript, ret);
}

/* Shunya does not know that nobody answered: what takes an agent was not. */
static void told_of_voicemail(struct shunya_analysis *told)
{
    told->booking_status = "not_booked";
    told->sop_compliance = NULL;
    if (strcmp(told->call_outcome_category, "booked") == 0)
        told->call_outcome_category = "voicemail";
}

static enum outcome take_shunya(struct work *work, const struct transcript *transcript, struct text json)
{
    struct shunya_analysis told;
    if (!shunya_analysis_of("call", json, work_arena(work), &told, work_why(work)))
        return REJECT;
    const struct shunya_analysis_appointment *agreed = told.appointment;
    if (transcript->voicemail)
        told_of_voicemail(&told);
    struct understood call = {
        .provider = "shunya",
        .lead_qualification = told.lead_qualification,
        .booking_status = told.booking_status,
        .category = told.call_outcome_category,
        .summary = shunya_summary(work, &told),
        .sentiment_score = told.sentiment_score,
        .objections = shunya_objections(work, &told),
        .sop_score = shunya_sop_score(work, &told),
        .missed_steps = shunya_missed_steps(work, &told),
        .evidence = VENDOR_EVIDENCE,
        .service_type = agreed ? agreed->service_type : NULL,
        .location = agreed ? agreed->location : NULL,
    };
    if (strcmp(call.booking_status, "booked") == 0) {
        TRY(read_start(work, transcript, agreed ? agreed->scheduled_start : NULL, &call.scheduled_start));
        TRY(find_assigned_rep(work, transcript, agreed ? agreed->assigned_rep_id : NULL, &call.rep));
    }
    count_unknown(call.category);
    describe(work, transcript, &call);
    return DONE;
}

/* --- the way ------------------------------------------------------------------------------------------------------ */

static enum outcome find(struct work *work, const char *call_id, struct transcript *ret, bool *ret_silent)
{
    struct rows rows;
    TRY(work_query(work, &find_transcript, &rows, call_id));
    if (rows.count == 0)
        return reject(work, "call \"%s\" has no transcript", call_id);
    *ret = (struct transcript){ .tenant = row_get(&rows, 0, "tenant"),
                                .call_id = call_id,
                                .lead_id = row_get(&rows, 0, "lead_id"),
                                .call_local = row_get(&rows, 0, "call_local"),
                                .weekday_name = row_get(&rows, 0, "weekday_name"),
                                .time_zone = row_get(&rows, 0, "time_zone"),
                                .company = row_get(&rows, 0, "company"),
                                .text = row_get(&rows, 0, "text"),
                                .appointment_id = row_get(&rows, 0, "appointment_id"),
                                .sop = sop_read(row_get(&rows, 0, "sop_steps"), work_arena(work)),
                                .corrected_qualification = row_get(&rows, 0, "corrected_qualification"),
                                .corrected_booking = row_get(&rows, 0, "corrected_booking"),
                                .corrected_category = row_get(&rows, 0, "corrected_category"),
                                .corrected_sentiment = row_get(&rows, 0, "corrected_sentiment"),
                                .weekday = atoi(row_get(&rows, 0, "weekday")),
                                .voicemail = strcmp(row_get(&rows, 0, "status"), "missed") == 0 };
    ret->evidence = evidence_prepare(ret->text, work_arena(work));
    *ret_silent = atoi(row_get(&rows, 0, "words")) == 0;
    work_set_tenant(work, ret->tenant);
    return DONE;
}

static enum outcome understand(struct work *work, const char *call_id)
{
    const struct analyze *analyze = work_context(work);
    struct transcript transcript;
    struct text json;
    bool silent;
    TRY(find(work, call_id, &transcript, &silent));
    if (silent)
        return skip(work, "nobody said anything that was understood");
    if (analyze->with != WITH_SHUNYA)
        return judge(work, &transcript);
    TRY(shunya_analyze(work, &(struct shunya_order){ call_id, "call", transcript.text }, &json));
    return json.at ? take_shunya(work, &transcript, json) : DONE;
}

enum outcome analyze_call(struct work *work, const struct event *event)
{
    struct call_transcribed transcribed;
    TRY(work_read_data(work, event, call_transcribed_read, &transcribed));
    return understand(work, transcribed.call_id);
}

enum outcome analyze_call_again(struct work *work, const struct job *job)
{
    return understand(work, job->subject);
}

enum outcome finish_call(struct work *work, const struct job *job)
{
    struct transcript transcript;
    bool silent;
    TRY(find(work, job->subject, &transcript, &silent));
    return take_shunya(work, &transcript, job->result);
}
