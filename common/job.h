/* job.h: asynchronous jobs of a provider: asked for once, answered later.  Knows no provider and no use case.
 *
 *     job_order() ──▶ asks: sent ──▶ the answer at once
 *                               └──▶ jobs: queued ──▶ running ──▶ overdue ──┬──▶ completed
 *                                                                           └──▶ failed
 *
 * Belt and braces: every job has a row, a webhook (the recorder keeps its result in `job_results` and says
 * job.finished), and a sweep for when the webhook is late (job.due).  The first one wins: the end of a job is one
 * UPDATE that holds only while it is open, in the transaction of the rows it makes; whoever comes later finds it
 * ended.
 *
 * A job that failed is a dead letter of the event that brought the news, and its row says so.  It answers nothing:
 * whoever asks for the same again (a replay, a letter that is retried) submits a new one.  A job that is completed
 * answers a replay without being done again.
 *
 * Threads: those of handlers. */
#pragma once

#include "common/stage.h"

#define JOB_CHECK_MS_LEAST 15000            /* without news the provider is asked then, later after half of its age, */
#define JOB_CHECK_MS_MAX 600000             /* but at least so often */
#define JOB_OVERDUE_MS (15 * 60 * 1000)     /* an open job this old is overdue: operators see it */
#define JOB_AGE_MS_MAX (24 * 3600 * 1000)   /* one this old has failed */
#define JOB_UNKNOWN_MS_MAX (10 * 60 * 1000) /* a webhook is kept for so long without a row: it may precede our answer */
#define JOB_SWEEP_MS 2000

struct job {
    const char *job_id, *tenant, *provider_job_id, *subject, *kind, *status, *error;
    const char *source_time;                /* of the event that asked, with its run: what its rows are to say */
    int run;
    int64_t age_ms;
    const char *result_status;              /* what the provider said: "completed", "failed"; NULL: nothing yet */
    struct text result;                     /* absent unless completed */
    const char *result_error;
};
bool job_has_ended(const struct job *job);

/* How a job stands, as the provider told it. */
struct job_news {
    const char *status;                     /* queued, running, completed, failed */
    struct text result;                     /* of a completed one */
    const char *error;                      /* of a failed one */
};

/* What a stage does with jobs of one type at one provider. */
struct job_type {
    const char *name;                       /* "transcription": jobs.job_type, and the purpose of the ask */
    const char *provider;
    /* Does the stage submit to it?  If not, others who are asked must not wait for it while it fails: its circuit is
     * let alone. */
    bool (*is_asked)(struct work *work);
    /* An ask's call, `request` is the struct job; the answer is what `read` reads. */
    enum outcome (*check)(struct work *work, void *job, struct answer *ret);
    bool (*read)(const struct job *job, struct text answer, struct arena *arena, struct job_news *ret,
                 struct problem *why);
    /* Describes what a result makes: rows and events.  REJECT: it cannot be used, and the job has failed. */
    enum outcome (*finish)(struct work *work, const struct job *job);
    /* Submits the same once more: an operator retries the dead letter of one that failed. */
    enum outcome (*again)(struct work *work, const struct job *job);
};

struct job_order {
    const struct job_type *type;
    const char *subject, *kind;
    struct text about;                      /* what is worked on: with other content it is another question */
    int64_t timeout_ms;
    /* As an ask's.  DONE: the result at once, or a job under way, whose name is ret->provider_id. */
    enum outcome (*call)(struct work *work, void *request, struct answer *ret);
    enum outcome (*look_up)(struct work *work, void *request, struct answer *ret, bool *ret_found);
    void *request;
};

/* Orders it, once.  DONE with the result, or with an absent `ret_result`: it is under way, and its row is described.
 * `ret_answer` may tell that it was recorded. */
enum outcome job_order(struct work *work, const struct job_order *order, struct text *ret_result,
                       struct answer *ret_answer);

/* Handlers of job.finished and job.due, for a stage to call with its type.  Jobs of other types are skipped. */
enum outcome job_finished(struct work *work, const struct event *event, const struct job_type *type);
enum outcome job_due(struct work *work, const struct event *event, const struct job_type *type);

/* For the recorder: a webhook told that the provider's job ended.  Finds it, keeps its result and emits
 * job.finished; of a job that has no row yet RETRY, and REJECT once the webhook is too old.  `subject`: whom the
 * webhook names. */
enum outcome job_report(struct work *work, const char *provider, const char *provider_job_id, const char *subject,
                        const struct job_news *news);

/* The statement of a stage's sweep over its due jobs.  An hour after an event of it became a dead letter it is made
 * anew.  What is paused, or waits behind a parked event of its subject, would only be sent again at each look. */
#define JOB_DUE_STATEMENT(stage_name)                                                                                  \
    {                                                                                                                  \
        .name = "find_due_jobs",                                                                                       \
        .text = "SELECT j.job_id AS id, greatest(j.next_check_at, date_trunc('hour', now())) AS next_check_at,"        \
                " j.subject, j.tenant, json_build_object('job_id', j.job_id)::text AS data FROM jobs j"                \
                " WHERE j.stage = '" stage_name "' AND j.next_check_at <= now()"                                       \
                " AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'tenant' AND p.name = j.tenant"                \
                "  OR p.kind = 'provider' AND p.name = j.provider)"                                                    \
                " AND NOT EXISTS (SELECT 1 FROM parked p WHERE p.stage = j.stage AND p.subject = j.subject)"           \
                " ORDER BY j.next_check_at LIMIT 500",                                                                 \
    }
_Static_assert(SWEEP_ROWS_MAX == 500, "JOB_DUE_STATEMENT says so");
