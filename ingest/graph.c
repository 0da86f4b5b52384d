/* graph.c: requests to Microsoft Graph as an application: client credentials (learn.microsoft.com/entra/
 * identity-platform/v2-oauth2-client-creds-grant-flow), errors and waiting as Graph says them. */
#include "ingest/graph.h"

#include "common/email.h"
#include "common/form.h"
#include "common/tree.h"
#include "ingest/graph_hooks.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SCOPE "https://graph.microsoft.com/.default"
#define TOKEN_BYTES_MAX 16384
#define TOKEN_ANSWER_BYTES_MAX (64 * 1024)
#define TOKEN_MARGIN_US (60 * INT64_C(1000000))     /* before its end a new one is asked for */
#define TOKEN_LASTS_S_MAX 86400                     /* whatever Microsoft says */
#define ANSWER_BYTES_MAX (4 * 1024 * 1024)
#define PREFER "Prefer: outlook.timezone=\"UTC\", IdType=\"ImmutableId\""

/* The application's, for all its requests. */
static struct {
    pthread_mutex_t lock;
    char text[TOKEN_BYTES_MAX];
    int64_t until_us;           /* monotonic */
} token = { .lock = PTHREAD_MUTEX_INITIALIZER };

/* --- settings ----------------------------------------------------------------------------------------------------- */

bool graph_is_on(const struct ingest *ingest)
{
    return ingest->graph_tenant_id && ingest->graph_client_id && ingest->graph_client_secret;
}

bool graph_open(struct ingest *ingest, struct problem *why)
{
    static char mailbox[EMAIL_BYTES];
    graph_hooks_open();
    if (!ingest->graph_tenant_id && !ingest->graph_client_id && !ingest->graph_client_secret)
        return true;
    if (!graph_is_on(ingest))
        return fail(why, "GRAPH_TENANT_ID, GRAPH_CLIENT_ID and GRAPH_CLIENT_SECRET belong together: set all, or none");
    if (!ingest->coach_mailbox || !ingest->default_tenant || !ingest->public_url)
        return fail(why, "the GRAPH settings also need COACH_MAILBOX (whose calendar is watched), DEFAULT_TENANT (the"
                         " company of who is not known) and PUBLIC_URL (where Microsoft Graph calls)");
    if (!email_read(ingest->coach_mailbox, mailbox))
        return fail(why, "COACH_MAILBOX is no e-mail address like coach@acme.example");
    ingest->coach_mailbox = mailbox;
    return true;
}

void graph_check(const struct ingest *ingest, struct buf *out)
{
    if (graph_is_on(ingest))
        buf_printf(out, "ok   graph tells of the calendar of %s\n", ingest->coach_mailbox);
    else
        buf_add_string(out, "ok   no calendar is watched: GRAPH_TENANT_ID, GRAPH_CLIENT_ID and GRAPH_CLIENT_SECRET are"
                            " not set\n");
}

/* --- addresses ---------------------------------------------------------------------------------------------------- */

const char *graph_url(struct work *work, const char *first_part, ...)
{
    const struct ingest *ingest = work_context(work);
    struct buf url;
    va_list parts;
    buf_init(&url, 16 * 1024);
    buf_add_string(&url, ingest->graph_url);
    va_start(parts, first_part);
    for (const char *part = first_part; part; part = va_arg(parts, const char *)) {
        buf_add_char(&url, '/');
        form_encode(&url, part);
    }
    va_end(parts);
    const char *copy = arena_copy_text(work_arena(work), buf_text(&url));
    buf_done(&url);
    return copy;
}

/* --- the token ---------------------------------------------------------------------------------------------------- */

/* "" when there is none that will do. */
static const char *token_known(struct work *work)
{
    pthread_mutex_lock(&token.lock);
    const char *copy = arena_copy(work_arena(work), monotonic_us() < token.until_us ? token.text : "");
    pthread_mutex_unlock(&token.lock);
    return copy;
}

static void token_keep(const char *text, int64_t lasts_us)
{
    int64_t margin_us = lasts_us / 2 < TOKEN_MARGIN_US ? lasts_us / 2 : TOKEN_MARGIN_US;
    pthread_mutex_lock(&token.lock);
    snprintf(token.text, sizeof(token.text), "%s", text);
    token.until_us = monotonic_us() + lasts_us - margin_us;
    pthread_mutex_unlock(&token.lock);
}

static void token_forget(const char *text)
{
    pthread_mutex_lock(&token.lock);
    if (strcmp(token.text, text) == 0)
        token.until_us = 0;
    pthread_mutex_unlock(&token.lock);
}

static const char *token_body(struct work *work)
{
    const struct ingest *ingest = work_context(work);
    struct buf body;
    buf_init(&body, 16 * 1024);
    buf_add_string(&body, "grant_type=client_credentials&scope=");
    form_encode(&body, SCOPE);
    buf_add_string(&body, "&client_id=");
    form_encode(&body, ingest->graph_client_id);
    buf_add_string(&body, "&client_secret=");
    form_encode(&body, arena_copy_text(work_arena(work), (struct text){ ingest->graph_client_secret,
                                                                         strcspn(ingest->graph_client_secret, ", ") }));
    const char *copy = arena_copy_text(work_arena(work), buf_text(&body));
    buf_done(&body);
    return copy;
}

/* Its text explains itself at length; the code is enough, and names no secret. */
static enum outcome token_refused(struct work *work, const struct http_reply *reply, const cJSON *json)
{
    const char *code = tree_string(json, "error");
    if (reply->status == 429 || reply->status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0,
                     "Microsoft gives no token: HTTP status %ld", reply->status);
    return retry(work, 0, "Microsoft gives no token (HTTP status %ld, %.60s): check GRAPH_TENANT_ID, GRAPH_CLIENT_ID"
                 " and GRAPH_CLIENT_SECRET", reply->status, code ? code : "no reason");
}

static enum outcome token_get(struct work *work, const char **ret)
{
    const struct ingest *ingest = work_context(work);
    *ret = token_known(work);
    if (**ret)
        return DONE;
    const struct http_request request = {
        .method = "POST",
        .url = arena_printf(work_arena(work), "%s/%s/oauth2/v2.0/token", ingest->graph_login_url,
                            ingest->graph_tenant_id),
        .headers = (const char *const[]){ "Content-Type: application/x-www-form-urlencoded", NULL },
        .body = text_of(token_body(work)),
        .timeout_ms = GRAPH_TIMEOUT_MS,
        .answer_bytes_max = TOKEN_ANSWER_BYTES_MAX,
    };
    struct http_reply reply;
    TRY(work_http_any(work, &request, &reply));
    const cJSON *json = tree_read(work_arena(work), reply.body);
    if (reply.status != 200)
        return token_refused(work, &reply, json);
    const char *text = tree_string(json, "access_token"), *lasts = tree_string(json, "expires_in");
    int64_t lasts_s = lasts ? atoll(lasts) : tree_count(json, "expires_in");
    if (!text || !*text || strlen(text) >= TOKEN_BYTES_MAX || strpbrk(text, "\r\n") || lasts_s <= 0)
        return retry(work, 0, "Microsoft's answer has no token that can be used");
    token_keep(text, (lasts_s < TOKEN_LASTS_S_MAX ? lasts_s : TOKEN_LASTS_S_MAX) * 1000000);
    *ret = text;
    return DONE;
}

static enum outcome prepare(struct work *work, void *request, struct answer *ret)
{
    const char *text;
    (void)request, (void)ret;
    return token_get(work, &text);
}

enum outcome graph_prepare(struct work *work)
{
    struct answer answer;
    return ask(work, "token",
               &(struct ask){ .kind = ASK_AGAIN, .provider = GRAPH_PROVIDER, .no_circuit = true, .unrecorded = true,
                              .timeout_ms = GRAPH_TIMEOUT_MS, .call = prepare },
               &answer);
}

/* --- a request ---------------------------------------------------------------------------------------------------- */

static enum outcome call_once(struct work *work, const struct graph_request *request, const char *text,
                              struct http_reply *ret)
{
    struct arena *arena = work_arena(work);
    const char *const headers[] = {
        arena_printf(arena, "Authorization: Bearer %s", text),
        request->prefer ? arena_printf(arena, PREFER ", %s", request->prefer) : PREFER,
        request->body ? "Content-Type: application/json" : NULL,
        NULL,
    };
    const struct http_request http = { .method = request->method,
                                       .url = request->url,
                                       .headers = headers,
                                       .body = request->body ? text_of(request->body) : (struct text){ 0 },
                                       .timeout_ms = GRAPH_TIMEOUT_MS,
                                       .answer_bytes_max = ANSWER_BYTES_MAX };
    return work_http_any(work, &http, ret);
}

enum outcome graph_call(struct work *work, const struct graph_request *request, struct http_reply *ret)
{
    const struct ingest *ingest = work_context(work);
    const char *text;
    assert(http_leads_to(request->url, ingest->graph_url));
    TRY(token_get(work, &text));
    TRY(call_once(work, request, text, ret));
    if (ret->status != 401)
        return DONE;
    token_forget(text);         /* it was taken back before its time */
    TRY(token_get(work, &text));
    return call_once(work, request, text, ret);
}

enum outcome graph_refused(struct work *work, const struct http_reply *reply)
{
    const cJSON *error = tree_get(tree_read(work_arena(work), reply->body), "error");
    const char *code = tree_string(error, "code"), *said = tree_string(error, "message");
    const char *reason = arena_printf(work_arena(work), "HTTP status %ld, %.60s: %.200s", reply->status,
                                      code ? code : "no code", said ? said : "");
    if (reply->status == 401 || reply->status == 403)
        return retry(work, 0, "Microsoft Graph refuses our application (%s): it needs the application permission"
                     " Calendars.Read, with an administrator's consent", reason);
    if (reply->status == 408 || reply->status == 425 || reply->status == 429 || reply->status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "Microsoft Graph: %s", reason);
    return reject(work, "Microsoft Graph: %s", reason);
}
