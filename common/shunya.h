/* shunya.h: what Shunya's transcripts and analyses have in common: submitting, its jobs, its refusals.
 *
 * Every submission carries an Idempotency-Key, the id of the event that asks, so that asking once more is harmless: an
 * answer that was lost is simply asked for again. */
#pragma once

#include "common/job.h"
#include "common/tree.h"

#define SHUNYA_ANSWER_BYTES_MAX ASK_ANSWER_BYTES_MAX
#define SHUNYA_WEBHOOK_PATH "/api/v1/shunya/webhook"

/* A stage's settings. */
struct shunya {
    const char *key;            /* several, separated by commas, while they are rotated: the first is used */
    const char *url;
    const char *public_url;     /* NULL: no webhook can come, so the sweep alone asks for jobs */
    int64_t timeout_ms;
};
/* Rows of a stage's table of settings; `offset` is of its struct shunya. */
#define SHUNYA_SETTINGS(offset)                                                                                        \
    { "SHUNYA_API_KEY", SET_SECRET, (offset) + offsetof(struct shunya, key), NULL, .help = "asks Shunya" },            \
        { "SHUNYA_BASE_URL", SET_URL, (offset) + offsetof(struct shunya, url), NULL, .help = "Shunya's address" },     \
        { "SHUNYA_TIMEOUT", SET_DURATION, (offset) + offsetof(struct shunya, timeout_ms), "2m", 100, 900000,           \
          .help = "one request to Shunya, end to end" },                                                               \
        { "PUBLIC_URL", SET_URL, (offset) + offsetof(struct shunya, public_url), NULL,                                 \
          .help = "the address providers see; without it Shunya's jobs are asked for, and no webhook comes" }
/* Is all there that it takes?  `wanted_by`: the setting that names it, "TRANSCRIBE_WITH". */
bool shunya_ready(const struct shunya *shunya, const char *wanted_by, struct problem *why);

/* Begins a body: `{"callback_url": …` when there is one; the caller goes on with json_name() and ends it. */
void shunya_begin(struct work *work, const struct shunya *shunya, struct buf *body);
/* For an ask's call: posts `body`, which is freed.  DONE with the answer, which is a job when it has a provider_id. 
 * Reads `body` with `check` otherwise: an answer without what it must have is REJECT, with the pointer. */
typedef bool shunya_checker(struct text json, struct arena *arena, struct problem *why);
enum outcome shunya_submit(struct work *work, const struct shunya *shunya, const char *path, struct buf *body,
                           shunya_checker *check, struct answer *ret);
/* An ask's look_up: nobody needs to look, since the same key makes the same request harmless. */
enum outcome shunya_look_up(struct work *work, void *request, struct answer *ret, bool *ret_found);
/* For a job type's check and read. */
enum outcome shunya_check(struct work *work, const struct shunya *shunya, const struct job *job, struct answer *ret);
bool shunya_read(const struct job *job, struct text answer, struct arena *arena, struct job_news *ret,
                 struct problem *why);

/* A job's end as a webhook tells it.  `ret_job_id` and `ret_about` are the provider's job and the call or visit it
 * names. */
bool shunya_webhook_news(struct text body, struct arena *arena, struct job_news *ret, const char **ret_job_id,
                         const char **ret_about, struct problem *why);
