/* shunya.c: Shunya, POST /api/v1/analysis/start/{call_id}: the transcript goes there, and what it means comes back
 * at once or with a job. What a vendor says is taken as given: that quotes must stand in the transcript is for our
 * own models. */
#include "analyze/analyze.h"

#include "common/form.h"
#include "common/json.h"

#include <string.h>

#define ID_BYTES_MAX 128
#define SUMMARY_CHARACTERS_MAX 2000     /* as in the schemas of call.analyzed and visit.analyzed */

static bool is_call_analysis(struct text json, struct arena *arena, struct problem *why)
{
    struct shunya_analysis analysis;
    return shunya_analysis_of("call", json, arena, &analysis, why);
}

static bool is_visit_analysis(struct text json, struct arena *arena, struct problem *why)
{
    struct shunya_analysis analysis;
    return shunya_analysis_of("visit", json, arena, &analysis, why);
}

static enum outcome submit(struct work *work, void *request, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const struct shunya_order *order = request;
    struct buf body, path;
    shunya_begin(work, &analyze->shunya, &body);
    json_add_string(&body, "transcript_text", order->transcript);
    json_add_string(&body, "kind", order->kind);
    buf_add_char(&body, '}');
    buf_init(&path, sizeof("/api/v1/analysis/start/") + 3 * ID_BYTES_MAX);
    buf_add_string(&path, "/api/v1/analysis/start/");
    form_encode(&path, order->id);
    const char *copy = arena_copy_text(work_arena(work), buf_text(&path));
    buf_done(&path);
    return shunya_submit(work, &analyze->shunya, copy, &body,
                         strcmp(order->kind, "visit") == 0 ? is_visit_analysis : is_call_analysis, ret);
}

enum outcome shunya_analyze(struct work *work, const struct shunya_order *order, struct text *ret_json)
{
    const struct analyze *analyze = work_context(work);
    struct answer answer;
    return job_order(work, &(struct job_order){ .type = &analysis_jobs,
                                                .subject = order->id,
                                                .kind = order->kind,
                                                .about = text_of(order->transcript),
                                                .timeout_ms = analyze->shunya.timeout_ms,
                                                .call = submit,
                                                .look_up = shunya_look_up,
                                                .request = (void *)order }, ret_json, &answer);
}

/* --- what comes back ---------------------------------------------------------------------------------------------- */

bool shunya_analysis_of(const char *kind, struct text json, struct arena *arena, struct shunya_analysis *ret,
                        struct problem *why)
{
    if (!shunya_analysis_read(json, arena, ret, why))
        return false;
    return strcmp(kind, "visit") != 0 || ret->outcome || fail_at(why, "/outcome", "is missing");
}

/* As long as an event may say it. */
const char *shunya_summary(struct work *work, const struct shunya_analysis *analysis)
{
    size_t characters = 0;
    if (!analysis->summary || !analysis->summary[0])
        return "The vendor gave no summary.";
    const char *end = analysis->summary;
    for (; *end; end++)
        if (((unsigned char)*end & 0xC0) != 0x80 && ++characters > SUMMARY_CHARACTERS_MAX)
            break;
    return arena_copy_text(work_arena(work), (struct text){ analysis->summary, (size_t)(end - analysis->summary) });
}

/* One without words or a kind says nothing. */
struct findings shunya_objections(struct work *work, const struct shunya_analysis *analysis)
{
    size_t room = analysis->objections_count + 1;
    struct findings found = { .items = arena_alloc(work_arena(work), room * sizeof(*found.items)) };
    for (size_t i = 0; i < analysis->objections_count; i++)
        if (analysis->objections[i].category && analysis->objections[i].quote)
            found.items[found.count++] =
                (struct finding){ analysis->objections[i].category, analysis->objections[i].quote };
    return found;
}

const char *shunya_sop_score(struct work *work, const struct shunya_analysis *analysis)
{
    const struct shunya_analysis_sop_compliance *sop = analysis->sop_compliance;
    return sop && sop->has_score ? number_text(work, sop->score) : NULL;
}

const char *shunya_missed_steps(struct work *work, const struct shunya_analysis *analysis)
{
    const struct shunya_analysis_sop_compliance *sop = analysis->sop_compliance;
    return texts_json(work, sop ? sop->missed_steps : NULL, sop ? sop->missed_steps_count : 0);
}

/* --- jobs --------------------------------------------------------------------------------------------------------- */

static enum outcome check(struct work *work, void *job, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    return shunya_check(work, &analyze->shunya, job, ret);
}

static bool is_asked(struct work *work)
{
    const struct analyze *analyze = work_context(work);
    return analyze->with == WITH_SHUNYA;
}

static bool is_visit(const struct job *job)
{
    return strcmp(job->kind, "visit") == 0;
}

static enum outcome finish(struct work *work, const struct job *job)
{
    return is_visit(job) ? finish_visit(work, job) : finish_call(work, job);
}

static enum outcome again(struct work *work, const struct job *job)
{
    return is_visit(job) ? analyze_visit_again(work, job) : analyze_call_again(work, job);
}

const struct job_type analysis_jobs = {
    .name = "analysis",
    .provider = "shunya",
    .is_asked = is_asked,
    .check = check,
    .read = shunya_read,
    .finish = finish,
    .again = again,
};
