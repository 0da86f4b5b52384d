/* calls.c: call.transcribed → call.analyzed: what a call meant, its lead's status, and the appointment it made. */
#include "analyze/analyze.h"
#include "common/json.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_transcript = {
    .name = "find_transcript",
    .text = "SELECT c.tenant, c.lead_id, c.status, c.call_at,"
            " to_char(c.call_at AT TIME ZONE co.time_zone, 'YYYY-MM-DD\"T\"HH24:MI') AS call_local,"
            " extract(isodow FROM c.call_at AT TIME ZONE co.time_zone)::integer AS weekday,"
            " to_char(c.call_at AT TIME ZONE co.time_zone, 'FMDay') AS weekday_name,"
            " co.time_zone, co.name AS company, t.text, t.words"
            " FROM calls c JOIN call_transcripts t USING (tenant, call_id) JOIN companies co USING (tenant)"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};
static const struct statement read_time = {
    .name = "read_time",
    .text = "SELECT $1::timestamp AT TIME ZONE $2 AS at",
    .params = 2,
};
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
            " prompt_version = EXCLUDED.prompt_version, lead_qualification = EXCLUDED.lead_qualification,"
            " booking_status = EXCLUDED.booking_status, call_outcome_category = EXCLUDED.call_outcome_category,"
            " sentiment_score = EXCLUDED.sentiment_score, objections = EXCLUDED.objections,"
            " sop_score = EXCLUDED.sop_score,"
            " sop_missed_steps = EXCLUDED.sop_missed_steps, summary = EXCLUDED.summary, evidence = EXCLUDED.evidence,"
            " dropped_without_evidence = EXCLUDED.dropped_without_evidence, source_time = EXCLUDED.source_time,"
            " run = EXCLUDED.run,"
            " updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run)",
    .params = 17,
};
/* The latest call by call time decides; a closed lead stays closed. */
static const struct statement update_lead = {
    .name = "update_lead",
    .text = "UPDATE leads SET status = $3, status_call_at = $4::timestamptz, updated_at = now()"
            " WHERE tenant = $1 AND lead_id = $2::uuid AND status <> 'closed'"
            " AND (status_call_at IS NULL OR status_call_at <= $4::timestamptz)",
    .params = 4,
};
static const struct statement upsert_appointment = {
    .name = "upsert_appointment",
    .text = "INSERT INTO appointments AS a (tenant, appointment_id, call_id, lead_id, scheduled_start, service_type,"
            " location, quote,"
            " source_time, run, assigned_rep_id)"
            " VALUES ($1, $2::uuid, $3, $4::uuid, $5::timestamptz, $6, $7, $8, $9::timestamptz, $10::integer, $11)"
            " ON CONFLICT (tenant, call_id) DO UPDATE SET scheduled_start = EXCLUDED.scheduled_start,"
            " service_type = EXCLUDED.service_type,"
            " location = EXCLUDED.location, quote = EXCLUDED.quote, source_time = EXCLUDED.source_time,"
            " run = EXCLUDED.run,"
            " assigned_rep_id = coalesce(EXCLUDED.assigned_rep_id, a.assigned_rep_id), updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run) AND a.status = 'scheduled'"
            " AND a.outcome = 'pending'",
    .params = 11,
};
/* An earlier run's, which this one does not find: what nobody has touched yet goes. */
static const struct statement delete_appointment = {
    .name = "delete_appointment",
    .text = "DELETE FROM appointments WHERE tenant = $1 AND call_id = $2 AND status = 'scheduled'"
            " AND outcome = 'pending'"
            " AND (source_time, run) <= ($3::timestamptz, $4::integer)",
    .params = 4,
};
static const struct statement find_reps = {
    .name = "find_reps",
    .text = "SELECT user_id, name FROM users WHERE tenant = $1 AND role = 'rep' ORDER BY user_id LIMIT 200",
    .params = 1,
};

/* The call's row, by name. */
struct transcript {
    const char *tenant, *call_id, *lead_id, *call_at, *call_local, *weekday_name, *time_zone, *company, *text;
    int weekday;
    bool voicemail;             /* nobody answered: it is what the caller left */
    struct evidence *evidence;
};

static bool check_analysis(struct text json, struct arena *arena, void *ret, struct problem *why)
{
    return call_analysis_read(json, arena, ret, why);
}

static enum outcome ask_model(struct work *work, const struct transcript *transcript, struct call_analysis *ret,
                              struct answer *answer)
{
    const struct llm_request request = {
        .instructions = call_analysis_prompt,
        .content =
            arena_printf(work_arena(work), "Company: %s\nThe call began on %s, %s (time zone %s).%s\n\nTranscript:\n%s",
                         transcript->company, transcript->weekday_name, transcript->call_local, transcript->time_zone,
                         transcript->voicemail ? " Nobody answered; this is the voicemail." : "", transcript->text),
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
                                     transcript->voicemail };
    rules_analyze(&call, work_arena(work), ret);
    *answer = (struct answer){ .model = "rules" };
    if (!ret->appointment || !ret->appointment->scheduled_start)
        return DONE;
    struct rows rows;
    TRY(work_query(work, &read_time, &rows, ret->appointment->scheduled_start, transcript->time_zone));
    ret->appointment->scheduled_start = row_get(&rows, 0, "at");
    return DONE;
}

/* Drops what nobody said; gives how many that were. */
static int drop_without_evidence(struct work *work, const struct transcript *transcript, struct call_analysis *analysis)
{
    struct arena *arena = work_arena(work);
    const struct evidence *evidence = transcript->evidence;
    int dropped = 0;
    size_t kept = 0;
    for (size_t i = 0; i < analysis->objections_count; i++)
        if (evidence_holds(evidence, analysis->objections[i].quote, arena))
            analysis->objections[kept++] = analysis->objections[i];
    dropped += (int)(analysis->objections_count - kept);
    analysis->objections_count = kept;

    kept = 0;
    for (size_t i = 0; i < analysis->evidence_count; i++)
        if (evidence_holds(evidence, analysis->evidence[i].quote, arena))
            analysis->evidence[kept++] = analysis->evidence[i];
    dropped += (int)(analysis->evidence_count - kept);
    analysis->evidence_count = kept;

    if (analysis->appointment && !evidence_holds(evidence, analysis->appointment->quote, arena)) {
        analysis->appointment = NULL;
        dropped++;
    }
    return dropped;
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

static bool has_evidence(const struct call_analysis *analysis, const char *field)
{
    for (size_t i = 0; i < analysis->evidence_count; i++)
        if (strcmp(analysis->evidence[i].field, field) == 0)
            return true;
    return false;
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
static int fall_back(struct call_analysis *analysis, bool voicemail)
{
    int dropped = 0;
    bool said_booked = analysis->appointment || has_evidence(analysis, "booking_status");
    if (strcmp(analysis->booking_status, "not_booked") != 0 && !said_booked) {
        analysis->booking_status = "not_booked";
        dropped++;
    }
    bool booked = strcmp(analysis->booking_status, "booked") == 0;
    if (!booked)
        analysis->appointment = NULL;
    if (strcmp(analysis->lead_qualification, "cold") != 0 && !booked && !has_evidence(analysis, "lead_qualification")) {
        analysis->lead_qualification = "cold";
        dropped++;
    }
    const char *category = analysis->call_outcome_category;
    bool says_booked = strcmp(category, "booked") == 0, known = voicemail && strcmp(category, "voicemail") == 0;
    bool rests_on_words = has_evidence(analysis, "call_outcome_category") || has_evidence(analysis, "booking_status")
                          || has_evidence(analysis, "lead_qualification");
    if (booked) {
        analysis->call_outcome_category = "booked";
    } else if (says_booked || (strcmp(category, "other") != 0 && !known && !rests_on_words)) {
        analysis->call_outcome_category = "other";
        dropped++;
    }
    return dropped;
}

/* --- lists as JSON, for their columns ----------------------------------------------------------------------------- */

static void list_begin(struct buf *json)
{
    buf_init(json, LLM_ANSWER_BYTES_MAX);
    buf_add_char(json, '[');
}

static const char *list_end(struct buf *json, struct work *work)
{
    buf_add_char(json, ']');
    const char *text = arena_copy_text(work_arena(work), buf_text(json));
    buf_done(json);
    return text;
}

static void list_quote(struct buf *json, const char *label_name, const char *label, const char *quote)
{
    json_separate(json);
    buf_add_char(json, '{');
    json_name(json, label_name);
    json_write_string(json, label);
    json_name(json, "quote");
    json_write_string(json, quote);
    buf_add_char(json, '}');
}

static const char *objections_json(struct work *work, const struct call_analysis *analysis)
{
    struct buf json;
    list_begin(&json);
    for (size_t i = 0; i < analysis->objections_count; i++)
        list_quote(&json, "category", analysis->objections[i].category, analysis->objections[i].quote);
    return list_end(&json, work);
}

static const char *evidence_json(struct work *work, const struct call_analysis *analysis)
{
    struct buf json;
    list_begin(&json);
    for (size_t i = 0; i < analysis->evidence_count; i++)
        list_quote(&json, "field", analysis->evidence[i].field, analysis->evidence[i].quote);
    return list_end(&json, work);
}

static const char *missed_steps_json(struct work *work, const struct call_analysis *analysis)
{
    struct buf json;
    list_begin(&json);
    for (size_t i = 0; i < analysis->sop_compliance.missed_steps_count; i++) {
        json_separate(&json);
        json_write_string(&json, analysis->sop_compliance.missed_steps[i]);
    }
    return list_end(&json, work);
}

static const char *decimal(struct work *work, double number)
{
    struct buf text;
    buf_init(&text, 64);
    json_write_number(&text, number);
    const char *copy = arena_copy_text(work_arena(work), buf_text(&text));
    buf_done(&text);
    return copy;
}

static void describe(struct work *work, const struct event *event, const struct transcript *transcript,
                     const struct call_analysis *analysis, const struct answer *answer, int dropped, const char *rep)
{
    const struct analyze *analyze = work_context(work);
    struct arena *arena = work_arena(work);
    const char *run = arena_printf(arena, "%d", work_run(work)), *tenant = transcript->tenant,
               *call_id = transcript->call_id;
    const char *provider = llm_providers[analyze->llm_provider];
    const char *prompt_version = analyze->llm_provider == LLM_RULES ? NULL : call_analysis_prompt_version;
    effect_row(work, &upsert_analysis, tenant, call_id, provider, answer->model, prompt_version,
               analysis->lead_qualification, analysis->booking_status, analysis->call_outcome_category,
               decimal(work, analysis->sentiment_score), objections_json(work, analysis),
               transcript->voicemail ? NULL : decimal(work, analysis->sop_compliance.score),
               missed_steps_json(work, analysis), analysis->summary, evidence_json(work, analysis),
               arena_printf(arena, "%d", dropped), event->time, run);
    if (transcript->lead_id)
        effect_row(work, &update_lead, tenant, transcript->lead_id, analysis->lead_qualification, transcript->call_at);

    bool booked = strcmp(analysis->booking_status, "booked") == 0;
    char *appointment_id = arena_alloc(arena, UUID_BYTES);
    uuid_of(appointment_id, "appointment", tenant, call_id, NULL);
    const struct call_analysis_appointment *agreed = analysis->appointment;
    if (booked)
        effect_row(work, &upsert_appointment, tenant, appointment_id, call_id, transcript->lead_id,
                   agreed ? agreed->scheduled_start : NULL, agreed ? agreed->service_type : NULL,
                   agreed ? agreed->location : NULL, agreed ? agreed->quote : NULL, event->time, run, rep);
    else
        effect_row(work, &delete_appointment, tenant, call_id, event->time, run);

    effect_event(work, &EVENT_CALL_ANALYZED, call_id, &(struct call_analyzed){
        .call_id = call_id,
        .provider = provider,
        .model = answer->model,
        .prompt_version = prompt_version,
        .lead_qualification = analysis->lead_qualification,
        .booking_status = analysis->booking_status,
        .call_outcome_category = analysis->call_outcome_category,
        .sentiment_score = analysis->sentiment_score,
        .has_objections = true, .objections = (int64_t)analysis->objections_count,
        .has_dropped_without_evidence = true, .dropped_without_evidence = dropped,
        .appointment_id = booked ? appointment_id : NULL,
        .lead_id = transcript->lead_id,
        .summary = analysis->summary,
    });
}

static enum outcome analyze_call(struct work *work, const struct event *event)
{
    struct call_transcribed transcribed;
    TRY(work_read_data(work, event, call_transcribed_read, &transcribed));
    struct rows rows;
    TRY(work_query(work, &find_transcript, &rows, transcribed.call_id));
    if (rows.count == 0)
        return reject(work, "call \"%s\" has no transcript", transcribed.call_id);
    struct transcript transcript = { .tenant = row_get(&rows, 0, "tenant"),
                                     .call_id = transcribed.call_id,
                                     .lead_id = row_get(&rows, 0, "lead_id"),
                                     .call_at = row_get(&rows, 0, "call_at"),
                                     .call_local = row_get(&rows, 0, "call_local"),
                                     .weekday_name = row_get(&rows, 0, "weekday_name"),
                                     .time_zone = row_get(&rows, 0, "time_zone"),
                                     .company = row_get(&rows, 0, "company"),
                                     .text = row_get(&rows, 0, "text"),
                                     .weekday = atoi(row_get(&rows, 0, "weekday")),
                                     .voicemail = strcmp(row_get(&rows, 0, "status"), "missed") == 0 };
    work_set_tenant(work, transcript.tenant);
    if (atoi(row_get(&rows, 0, "words")) == 0)
        return skip(work, "nobody said anything that was understood");

    transcript.evidence = evidence_prepare(transcript.text, work_arena(work));
    const struct analyze *analyze = work_context(work);
    struct call_analysis analysis;
    struct answer answer;
    TRY(analyze->llm_provider == LLM_RULES ? apply_rules(work, &transcript, &analysis, &answer)
                                           : ask_model(work, &transcript, &analysis, &answer));
    int dropped = drop_without_evidence(work, &transcript, &analysis);
    if (transcript.voicemail)
        judge_voicemail(&analysis);
    dropped += fall_back(&analysis, transcript.voicemail);
    const char *rep = NULL;
    if (strcmp(analysis.booking_status, "booked") == 0)
        TRY(find_named_rep(work, &transcript, &rep));
    describe(work, event, &transcript, &analysis, &answer, dropped, rep);
    return DONE;
}

const struct route analyze_routes[] = {
    { .type = &EVENT_CALL_TRANSCRIBED, .handle = analyze_call },
    { 0 },
};
