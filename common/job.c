#include "common/job.h"

#include "common/metrics.h"
#include "events.h"

#include <stdlib.h>
#include <string.h>

#define VERSION_DIGITS 16               /* of the hash of what is worked on */

static const struct statement count_failed_jobs = {
    .name = "job_count_failed",
    .text = "SELECT count(*) FROM jobs WHERE subject = $1 AND provider = $2 AND job_type = $3 AND status = 'failed'",
    .params = 3,
};
#define JOB_COLUMNS                                                                                                    \
    "j.job_id, j.tenant, j.job_type, j.provider_job_id, j.subject, j.kind, j.status, j.error, j.run, j.stage,"         \
    " to_char(j.source_time AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') AS source_time,"                  \
    " (extract(epoch FROM now() - j.submitted_at) * 1000)::bigint AS age_ms,"                                          \
    " r.status AS result_status, r.result, r.error AS result_error FROM jobs j LEFT JOIN job_results r USING (job_id)"
static const struct statement find_job = {
    .name = "job_find",
    .text = "SELECT " JOB_COLUMNS " WHERE j.job_id = $1::uuid",
    .params = 1,
};
static const struct statement find_provider_job = {
    .name = "job_find_by_provider",
    .text = "SELECT " JOB_COLUMNS " WHERE j.provider = $1 AND j.provider_job_id = $2",
    .params = 2,
};
static const struct statement insert_job = {
    .name = "job_insert",
    .text = "INSERT INTO jobs AS j (job_id, stage, tenant, job_type, provider, provider_job_id, subject, kind,"
            " source_time, run, next_check_at)"
            " SELECT $1::uuid, a.stage, $2, $3, $4, $5, $6, $7, $8::timestamptz, $9::integer, now() + $10::interval"
            " FROM asks a WHERE a.ask_id = $1::uuid"
            " ON CONFLICT (job_id) DO UPDATE SET source_time = EXCLUDED.source_time, run = EXCLUDED.run,"
            " updated_at = now()"
            " WHERE (EXCLUDED.source_time, EXCLUDED.run) > (j.source_time, j.run)",
    .params = 10,
};
/* By Postgres' clock: the door's was right when it took the signature. */
static const struct statement find_age = {
    .name = "job_find_age",
    .text = "SELECT (extract(epoch FROM now() - $1::timestamptz) * 1000)::bigint AS age_ms",
    .params = 1,
};
static const struct statement keep_result = {
    .name = "job_keep_result",
    .text = "INSERT INTO job_results (job_id, tenant, status, result, error) VALUES ($1::uuid, $2, $3, $4, $5)"
            " ON CONFLICT DO NOTHING",
    .params = 5,
};
/* Whoever does this ends the job; it is done once. */
static const struct statement end_job = {
    .name = "job_end",
    .text = "UPDATE jobs SET status = $2, error = $3, finished_by = $4, tenant = $5, finished_at = now(),"
            " next_check_at = NULL, updated_at = now()"
            " WHERE job_id = $1::uuid AND status NOT IN ('completed', 'failed')",
    .params = 5,
    .must = 1,
};
static const struct statement move_check = {
    .name = "job_move_check",
    .text = "UPDATE jobs SET status = CASE WHEN job_status_rank($2) > job_status_rank(status) THEN $2 ELSE status END,"
            " attempts = attempts + 1,"
            " next_check_at = now() + least(greatest((now() - submitted_at) / 2, $3::interval), $4::interval),"
            " updated_at = now() WHERE job_id = $1::uuid AND status NOT IN ('completed', 'failed')",
    .params = 4,
    .must = 1,
};

static struct metric jobs_ended =
    METRIC_COUNTER("jobs_ended_total", "asynchronous jobs of providers by type, how they ended and who told it",
                   "job_type", "status", "by");

bool job_has_ended(const struct job *job)
{
    return strcmp(job->status, "completed") == 0 || strcmp(job->status, "failed") == 0;
}

static bool has_failed(const struct job *job)
{
    return strcmp(job->status, "failed") == 0;
}

static struct job job_of(const struct rows *rows)
{
    const char *result = row_get(rows, 0, "result");
    return (struct job){ .job_id = row_get(rows, 0, "job_id"),
                         .tenant = row_get(rows, 0, "tenant"),
                         .provider_job_id = row_get(rows, 0, "provider_job_id"),
                         .subject = row_get(rows, 0, "subject"),
                         .kind = row_get(rows, 0, "kind"),
                         .status = row_get(rows, 0, "status"),
                         .error = row_get(rows, 0, "error"),
                         .source_time = row_get(rows, 0, "source_time"),
                         .run = atoi(row_get(rows, 0, "run")),
                         .age_ms = atoll(row_get(rows, 0, "age_ms")),
                         .result_status = row_get(rows, 0, "result_status"),
                         .result = text_of(result),
                         .result_error = row_get(rows, 0, "result_error") };
}

static const char *interval(struct work *work, int64_t ms)
{
    return arena_printf(work_arena(work), "%lld ms", (long long)ms);
}

/* --- ordering ----------------------------------------------------------------------------------------------------- */

/* Which question it is: the content, after how many failures, and whether a replay wants a new answer. */
static enum outcome version_of(struct work *work, const struct job_order *order, const char **ret)
{
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1];
    struct rows rows;
    TRY(work_query(work, &count_failed_jobs, &rows, order->subject, order->type->provider, order->type->name));
    const char *failed = rows.count > 0 ? row_get(&rows, 0, "count") : "0";
    sha256(order->about, hash);
    hex_print(hash, sizeof(hash), hash_text);
    const char *version = arena_printf(work_arena(work), "%.*s/%s", VERSION_DIGITS, hash_text, failed);
    bool anew = work_event(work)->ask_again && work_run(work) > 0;
    *ret = anew ? arena_printf(work_arena(work), "%s/%d", version, work_run(work)) : version;
    return DONE;
}

static void describe_job(struct work *work, const struct job_order *order, const struct answer *answer)
{
    const char *run = arena_printf(work_arena(work), "%d", work_source_run(work));
    effect_row(work, &insert_job, answer->ask_id, work_tenant(work), order->type->name, order->type->provider,
               answer->provider_id, order->subject, order->kind, work_source_time(work), run,
               interval(work, JOB_CHECK_MS_LEAST));
}

enum outcome job_order(struct work *work, const struct job_order *order, struct text *ret_result,
                       struct answer *ret_answer)
{
    const struct job_type *type = order->type;
    const char *version;
    struct rows rows;
    TRY(version_of(work, order, &version));
    TRY(ask(work, type->name, &(struct ask){
        .kind = ASK_ONCE,
        .provider = type->provider,
        .recipient = type->provider,
        .purpose = type->name,
        .subject = order->subject,
        .version = version,
        .content = arena_printf(work_arena(work), "%s of the %s %s", type->name, order->kind, order->subject),
        .timeout_ms = order->timeout_ms,
        .call = order->call,
        .look_up = order->look_up,
        .request = order->request,
    }, ret_answer));
    *ret_result = ret_answer->body;
    if (!ret_answer->provider_id)
        return DONE;
    TRY(work_query(work, &find_job, &rows, ret_answer->ask_id));
    struct job job = rows.count > 0 ? job_of(&rows) : (struct job){ .status = "queued" };
    *ret_result = job.result;
    if (has_failed(&job))
        return reject(work, "%s's job %s has failed: %.300s", type->provider, job.provider_job_id, job.error);
    if (!job_has_ended(&job)) {
        *ret_result = (struct text){ NULL, 0 };
        describe_job(work, order, ret_answer);
    }
    return DONE;
}

/* --- ending ------------------------------------------------------------------------------------------------------- */

/* It is a dead letter with the reason in work_why(), and the row says so. */
static enum outcome end_failed(struct work *work, const struct job *job, const struct job_type *type, const char *by)
{
    struct problem *why = work_why(work);
    const char *error = arena_printf(work_arena(work), "%s%s%s", why->pointer, why->pointer[0] ? " " : "", why->text);
    metric_add(&jobs_ended, 1, type->name, "failed", by);
    return reject_noting(work, &end_job, job->job_id, "failed", error, by, work_tenant(work));
}

/* The provider has said how it ended. */
static enum outcome end(struct work *work, const struct job *job, const struct job_type *type, const char *by)
{
    if (strcmp(job->result_status, "failed") == 0) {
        reject(work, "%s's job %s has failed: %.300s", type->provider, job->provider_job_id, job->result_error);
        return end_failed(work, job, type, by);
    }
    enum outcome outcome = type->finish(work, job);
    if (outcome == REJECT)
        return end_failed(work, job, type, by);
    if (outcome == DONE) {
        metric_add(&jobs_ended, 1, type->name, "completed", by);
        effect_row(work, &end_job, job->job_id, "completed", NULL, by, work_tenant(work));
    }
    return outcome;
}

/* News of a job that has ended: too late, unless an operator wants it done again. */
static enum outcome news_of_ended(struct work *work, const struct job *job, const struct job_type *type)
{
    if (work_run(work) == 0)
        return skip(work, "the job has ended already: it is %s", job->status);
    return has_failed(job) ? type->again(work, job) : type->finish(work, job);
}

/* Finds the job an event is about; `ret_done` tells that there is nothing to do but to return. */
static enum outcome open_news(struct work *work, const char *job_id, const struct job_type *type, struct job *ret,
                              bool *ret_done)
{
    struct rows rows;
    *ret_done = true;
    TRY(work_query(work, &find_job, &rows, job_id));
    if (rows.count == 0)
        return skip(work, "the job is not there any more");
    if (strcmp(row_get(&rows, 0, "job_type"), type->name) != 0)
        return skip(work, "it is a job of another type");
    *ret = job_of(&rows);
    work_set_tenant(work, ret->tenant);
    work_set_source(work, ret->source_time, ret->run);
    if (job_has_ended(ret))
        return news_of_ended(work, ret, type);
    *ret_done = false;
    return DONE;
}

enum outcome job_finished(struct work *work, const struct event *event, const struct job_type *type)
{
    struct job_finished finished;
    struct job job;
    bool done;
    TRY(work_read_data(work, event, job_finished_read, &finished));
    enum outcome outcome = open_news(work, finished.job_id, type, &job, &done);
    if (outcome != DONE || done)
        return outcome;
    if (!job.result_status)
        return reject(work, "the job's result is not there");
    return end(work, &job, type, "webhook");
}

/* --- a webhook that is late --------------------------------------------------------------------------------------- */

/* The provider has been asked: it goes on, or this is its end. */
static enum outcome take_news(struct work *work, struct job *job, const struct job_type *type,
                              const struct job_news *news)
{
    bool completed = strcmp(news->status, "completed") == 0;
    if (!completed && strcmp(news->status, "failed") != 0) {
        effect_row(work, &move_check, job->job_id, job->age_ms > JOB_OVERDUE_MS ? "overdue" : news->status,
                   interval(work, JOB_CHECK_MS_LEAST), interval(work, JOB_CHECK_MS_MAX));
        return DONE;
    }
    job->result_status = news->status;
    job->result = news->result;
    job->result_error = news->error;
    effect_row(work, &keep_result, job->job_id, job->tenant, news->status, completed ? news->result.at : NULL,
               completed ? NULL : news->error);
    return end(work, job, type, "sweep");
}

static enum outcome ask_for_news(struct work *work, struct job *job, const struct job_type *type, struct job_news *ret)
{
    struct answer answer;
    TRY(ask(work, "job", &(struct ask){ .kind = ASK_AGAIN,
                                        .provider = type->provider,
                                        .no_circuit = !type->is_asked(work),
                                        .call = type->check,
                                        .request = job }, &answer));
    return type->read(job, answer.body, work_arena(work), ret, work_why(work)) ? DONE : REJECT;
}

enum outcome job_due(struct work *work, const struct event *event, const struct job_type *type)
{
    struct job_due due;
    struct job job;
    struct job_news news;
    bool done;
    TRY(work_read_data(work, event, job_due_read, &due));
    enum outcome outcome = open_news(work, due.job_id, type, &job, &done);
    if (outcome != DONE || done)
        return outcome;
    if (job.result_status)              /* its webhook came first, and that event is on its way */
        return end(work, &job, type, "webhook");
    if (job.age_ms > JOB_AGE_MS_MAX) {
        reject(work, "%s has not ended its job %s for %d hours: it is %s", type->provider, job.provider_job_id,
               JOB_AGE_MS_MAX / 3600000, job.status);
        return end_failed(work, &job, type, "sweep");
    }
    outcome = ask_for_news(work, &job, type, &news);
    if (outcome == REJECT)
        return end_failed(work, &job, type, "sweep");
    return outcome == DONE ? take_news(work, &job, type, &news) : outcome;
}

/* --- a webhook ---------------------------------------------------------------------------------------------------- */

static enum outcome wait_for_row(struct work *work, const char *provider, const char *provider_job_id)
{
    struct rows rows;
    TRY(work_query(work, &find_age, &rows, work_event(work)->time));
    if (atoll(row_get(&rows, 0, "age_ms")) > JOB_UNKNOWN_MS_MAX)
        return reject(work, "nobody here has submitted %s's job %s: it has had no row for %d minutes", provider,
                      provider_job_id, JOB_UNKNOWN_MS_MAX / 60000);
    return retry(work, 0, "%s's job %s has no row yet", provider, provider_job_id);
}

enum outcome job_report(struct work *work, const char *provider, const char *provider_job_id, const char *subject,
                        const struct job_news *news)
{
    struct rows rows;
    TRY(work_query(work, &find_provider_job, &rows, provider, provider_job_id));
    if (rows.count == 0)
        return wait_for_row(work, provider, provider_job_id);
    struct job job = job_of(&rows);
    work_set_tenant(work, job.tenant);
    if (strcmp(job.subject, subject) != 0)
        return reject(work, "the webhook is about %s, but %s's job %s is about %s", subject, provider, provider_job_id,
                      job.subject);
    if (job_has_ended(&job) && work_run(work) == 0)
        return skip(work, "the job has ended already: it is %s", job.status);
    effect_row(work, &keep_result, job.job_id, job.tenant, news->status, news->result.at, news->error);
    effect_event(work, &EVENT_JOB_FINISHED, job.subject, &(struct job_finished){
        .job_id = job.job_id, .job_type = row_get(&rows, 0, "job_type"), .status = news->status });
    return DONE;
}
