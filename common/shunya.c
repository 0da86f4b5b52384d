#include "common/shunya.h"

#include "answers.h"
#include "common/form.h"
#include "common/json.h"

#include <string.h>

#define NO_REASON "it does not say why"

/* Which event asked, and in which run: the ask's row may be another event's. */
static const struct statement find_asking = {
    .name = "shunya_find_asking",
    .text = "SELECT event_id, run FROM asks WHERE ask_id = $1::uuid",
    .params = 1,
};

/* The setting without which it cannot be asked; NULL: all are there. */
static const char *missing(const struct shunya *shunya)
{
    return !shunya->key ? "SHUNYA_API_KEY" : !shunya->url ? "SHUNYA_BASE_URL" : NULL;
}

bool shunya_ready(const struct shunya *shunya, const char *wanted_by, struct problem *why)
{
    const char *setting = missing(shunya);
    return !setting || fail(why, "%s is shunya but %s is not set", wanted_by, setting);
}

/* --- requests ----------------------------------------------------------------------------------------------------- */

static const char *authorization(struct work *work, const struct shunya *shunya)
{
    return arena_printf(work_arena(work), "Authorization: Bearer %.*s", (int)strcspn(shunya->key, ", "), shunya->key);
}

/* The id of the event that asked first; a later run of it that asks anew has a key of its own. */
static enum outcome idempotency_key(struct work *work, const char **ret)
{
    struct rows rows;
    TRY(work_query(work, &find_asking, &rows, ask_id(work)));
    const char *event_id = rows.count > 0 ? row_get(&rows, 0, "event_id") : work_event(work)->id;
    const char *run = rows.count > 0 ? row_get(&rows, 0, "run") : "0";
    *ret = event_id;
    if (strcmp(run, "0") != 0)
        *ret = uuid_of(arena_alloc(work_arena(work), UUID_BYTES), "again", event_id, run, NULL);
    return DONE;
}

static const char *error_text(struct arena *arena, const char *code, const char *message)
{
    if (!code && !message)
        return NO_REASON;
    return arena_printf(arena, "%s%s%s", code ? code : "", code && message ? ": " : "", message ? message : "");
}

/* {"error": {"code", "message"}} */
static const char *reason(struct work *work, const struct http_reply *reply)
{
    const cJSON *error = tree_get(tree_read(work_arena(work), reply->body), "error");
    return error_text(work_arena(work), tree_string(error, "code"), tree_string(error, "message"));
}

/* What was not answered as it should be may be asked again: the Idempotency-Key makes that harmless. */
static enum outcome judge(struct work *work, const struct http_reply *reply)
{
    long status = reply->status;
    if (status >= 200 && status <= 299)
        return DONE;
    if (status == 401 || status == 403)
        return work_refused_us(work, status);
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "shunya: HTTP status %ld: %.300s",
                     status, reason(work, reply));
    return reject(work, "shunya: HTTP status %ld: %.300s", status, reason(work, reply));
}

void shunya_begin(struct work *work, const struct shunya *shunya, struct buf *body)
{
    buf_init(body, SHUNYA_ANSWER_BYTES_MAX);
    buf_add_char(body, '{');
    if (shunya->public_url)
        json_add_string(body, "callback_url",
                        arena_printf(work_arena(work), "%s" SHUNYA_WEBHOOK_PATH, shunya->public_url));
}

static enum outcome post(struct work *work, const struct shunya *shunya, const char *path, struct buf *body,
                         struct http_reply *ret)
{
    struct arena *arena = work_arena(work);
    bool too_large = body->overflowed;
    struct text copy = { arena_copy_text(arena, buf_text(body)), body->bytes };
    const char *key;
    buf_done(body);
    if (too_large)
        return reject(work, "the request to shunya is larger than %d bytes", SHUNYA_ANSWER_BYTES_MAX);
    TRY(idempotency_key(work, &key));
    const struct http_request request = {
        .method = "POST",
        .url = arena_printf(arena, "%s%s", shunya->url, path),
        .headers = (const char *const[]){ "Content-Type: application/json", authorization(work, shunya),
                                          arena_printf(arena, "Idempotency-Key: %s", key), NULL },
        .body = copy,
        .timeout_ms = shunya->timeout_ms,
        .answer_bytes_max = SHUNYA_ANSWER_BYTES_MAX,
    };
    TRY(work_http_any(work, &request, ret));
    return judge(work, ret);
}

enum outcome shunya_submit(struct work *work, const struct shunya *shunya, const char *path, struct buf *body,
                           shunya_checker *check, struct answer *ret)
{
    struct arena *arena = work_arena(work);
    struct http_reply reply;
    struct json_value json;
    struct shunya_submitted submitted;
    struct problem why;
    TRY(post(work, shunya, path, body, &reply));
    if (!reply.body.at || !json_parse(reply.body, &json, &why))
        return retry(work, 0, "shunya: the answer is not JSON");
    ret->body = reply.body;
    if (reply.status != 202)
        return check(reply.body, arena, work_why(work)) ? DONE : REJECT;
    if (!shunya_submitted_read(reply.body, arena, &submitted, work_why(work)))
        return REJECT;
    ret->provider_id = submitted.job_id;
    return DONE;
}

enum outcome shunya_look_up(struct work *work, void *request, struct answer *ret, bool *ret_found)
{
    (void)work, (void)request, (void)ret;
    *ret_found = false;
    return DONE;
}

enum outcome shunya_check(struct work *work, const struct shunya *shunya, const struct job *job, struct answer *ret)
{
    struct http_reply reply;
    struct json_value json;
    struct problem why;
    struct buf name;
    if (missing(shunya))                /* somebody else is asked by now: its webhook may still come */
        return retry(work, 0, "shunya has the job %s, but %s is not set", job->provider_job_id, missing(shunya));
    buf_init(&name, 4 * 128 + 1);
    form_encode(&name, job->provider_job_id);
    const struct http_request request = {
        .method = "GET",
        .url = arena_printf(work_arena(work), "%s/api/v1/jobs/%s", shunya->url, name.at),
        .headers = (const char *const[]){ authorization(work, shunya), NULL },
        .timeout_ms = shunya->timeout_ms,
        .answer_bytes_max = SHUNYA_ANSWER_BYTES_MAX,
    };
    buf_done(&name);
    TRY(work_http_any(work, &request, &reply));
    TRY(judge(work, &reply));
    if (!reply.body.at || !json_parse(reply.body, &json, &why))
        return retry(work, 0, "shunya: the answer is not JSON");
    ret->body = reply.body;
    return DONE;
}

/* --- how a job stands --------------------------------------------------------------------------------------------- */

/* The member `result` as it stands; absent when it is null or not there. */
static struct text result_of(struct text body, struct arena *arena)
{
    struct json_value whole, result;
    struct problem why;
    if (!json_parse(body, &whole, &why) || !json_find(whole, "result", &result) || result.kind == JSON_NULL)
        return (struct text){ NULL, 0 };
    return (struct text){ arena_copy_text(arena, result.raw), result.raw.bytes };
}

static bool news_of(const char *status, struct text body, const char *error, struct arena *arena, struct job_news *ret,
                    struct problem *why)
{
    bool completed = strcmp(status, "completed") == 0;
    *ret = (struct job_news){ .status = status };
    if (completed)
        ret->result = result_of(body, arena);
    else if (strcmp(status, "failed") == 0)
        ret->error = error;
    return !completed || ret->result.at || fail_at(why, "/result", "is missing");
}

bool shunya_read(const struct job *job, struct text answer, struct arena *arena, struct job_news *ret,
                 struct problem *why)
{
    struct shunya_job told;
    if (!shunya_job_read(answer, arena, &told, why))
        return false;
    if (strcmp(told.job_id, job->provider_job_id) != 0)
        return fail_at(why, "/job_id", "must be the job that was asked about");
    const char *error = told.error ? error_text(arena, told.error->code, told.error->message) : NO_REASON;
    return news_of(told.status, answer, error, arena, ret, why);
}

bool shunya_webhook_news(struct text body, struct arena *arena, struct job_news *ret, const char **ret_job_id,
                         const char **ret_about, struct problem *why)
{
    struct shunya_webhook told;
    if (!shunya_webhook_read(body, arena, &told, why))
        return false;
    *ret_job_id = told.job_id;
    *ret_about = told.call_id;
    const char *error = told.error ? error_text(arena, told.error->code, told.error->message) : NO_REASON;
    const char *status = strcmp(told.event, "job.completed") == 0 ? "completed" : "failed";
    return news_of(status, body, error, arena, ret, why);
}
