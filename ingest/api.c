#include "ingest/api.h"

#include <microhttpd.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"

#define PROBLEM_BYTES_MAX 4096
#define HEADERS_MAX       6

static struct metric waiting_requests = METRIC_GAUGE("ingest_api_waiting", "API requests that wait for a thread");
static struct metric refused_tokens =
    METRIC_COUNTER("ingest_tokens_refused_total", "API requests that were not let in, by reason", "reason");

struct waiting {
    struct http_exchange *exchange;
    const struct api_operation *operation;
    const void *argument;
};

struct api {
    struct ingest *ingest;
    struct pg_pool *pool;
    struct tokens *tokens;
    pthread_t *threads;
    size_t thread_count;
    pthread_mutex_t lock; /* guards what follows */
    pthread_cond_t changed;
    struct waiting *queue; /* a ring */
    size_t first, count, room;
    bool closing;
};

/* --- answers --------------------------------------------------------------------------------------------- */

void api_send(struct http_exchange *exchange, int status, const char *content_type, struct text body,
              const struct http_answer_header *more)
{
    struct http_answer_header headers[HEADERS_MAX] = { { "Cache-Control", "no-store" } };

    for (size_t i = 1; more && more->name && i < HEADERS_MAX - 1; i++, more++)
        headers[i] = *more;
    http_answer(exchange, status, content_type, body, headers);
}

void api_write_problem(struct buf *out, int status, const char *detail, const char *parameter, const char *pointer)
{
    buf_add_char(out, '{');
    json_add_string(out, "type", "about:blank");
    json_add_string(out, "title", MHD_get_reason_phrase_for((unsigned)status));
    json_add_integer(out, "status", status);
    json_add_string(out, "detail", detail);
    if (parameter)
        json_add_string(out, "parameter", parameter);
    if (pointer)
        json_add_string(out, "pointer", pointer);
    buf_add_string(out, "}\n");
}

static void answer_problem(struct http_exchange *exchange, int status, const char *detail, const char *parameter,
                           const char *pointer, const struct http_answer_header *more)
{
    struct buf out;

    buf_init(&out, PROBLEM_BYTES_MAX);
    api_write_problem(&out, status, detail, parameter, pointer);
    api_send(exchange, status, "application/problem+json", buf_text(&out), more);
    buf_done(&out);
}

void api_send_problem(struct http_exchange *exchange, int status, const char *detail, const char *parameter,
                      const char *pointer)
{
    answer_problem(exchange, status, detail, parameter, pointer, NULL);
}

void api_send_later(struct http_exchange *exchange, const char *detail, const char *after_s)
{
    answer_problem(exchange, 503, detail, NULL, NULL,
                   (const struct http_answer_header[]){ { "Retry-After", after_s }, { 0 } });
}

void api_refuse(struct api_request *request, int status, const char *detail, const char *parameter)
{
    api_send_problem(request->exchange, status, detail, parameter, NULL);
}

void api_refuse_with(struct api_request *request, int status, const char *detail,
                     const struct http_answer_header *headers)
{
    answer_problem(request->exchange, status, detail, NULL, NULL, headers);
}

void api_refuse_query(struct api_request *request, const struct problem *why)
{
    api_refuse(request, 422, why->text, why->pointer[0] ? why->pointer : NULL);
}

void api_refuse_absent(struct api_request *request, const char *what)
{
    api_refuse(request, 404, arena_printf(request->arena, "there is no %s with this id", what), NULL);
}

const char *api_path_uuid(struct api_request *request, const char *what)
{
    const char *id = http_path_value(request->exchange, "id");

    if (uuid_is(text_of(id)))
        return id;
    api_refuse_absent(request, what);
    return NULL;
}

void api_answer_as(struct api_request *request, int status, const char *content_type, struct buf *body,
                   const struct http_answer_header *headers)
{
    if (body->overflowed)
        api_refuse(request, 500, "the answer is too large; ask for less with limit", NULL);
    else
        api_send(request->exchange, status, content_type, buf_text(body), headers);
    buf_done(body);
}

void api_answer(struct api_request *request, int status, struct buf *body)
{
    api_answer_as(request, status, "application/json", body, NULL);
}

bool api_query(struct api_request *request, const struct statement *statement, struct params params, struct rows *ret)
{
    struct problem why = { 0 };
    const struct pg_scope scope = { request->tenant, request->person };
    enum pg_error error = pg_query_as(request->pool, &scope, statement, params, request->arena, ret, &why);

    if (error == PG_FINE)
        return true;
    if (error == PG_WRONG) {
        log_error("an API request failed", LOG_TEXT("path", http_path(request->exchange)),
                  LOG_TEXT("reason", why.text));
        api_refuse(request, 500, "the database could not answer this; the log says why", NULL);
    } else {
        api_send_later(request->exchange, "the database does not answer at the moment", API_AGAIN_S);
    }
    return false;
}

/* --- who asks -------------------------------------------------------------------------------------------- */

/* RFC 6750: a client that has shown nothing is only told the scheme. */
static void refuse_token(struct http_exchange *exchange, const char *reason, const char *detail)
{
    bool shown = http_header(exchange, "Authorization").at;
    const struct http_answer_header headers[] = {
        { "WWW-Authenticate",
          shown ? "Bearer realm=\"switchboard\", error=\"invalid_token\"" : "Bearer realm=\"switchboard\"" },
        { 0 },
    };

    metric_add(&refused_tokens, 1, reason);
    answer_problem(exchange, 401, detail, NULL, NULL, headers);
}

/* True when the token is valid; else the request is answered. */
static bool check_token(struct api *api, struct http_exchange *exchange, struct token *ret)
{
    struct problem why;
    struct text token;

    enum token_state state = token_read(http_header(exchange, "Authorization"), &token)
                                 ? tokens_find(api->tokens, token, http_arena(exchange), ret, &why)
                                 : TOKEN_UNKNOWN;
    if (state == TOKEN_UNKNOWN)
        refuse_token(exchange, "unknown", "the bearer token is not known here");
    else if (state == TOKEN_EXPIRED)
        refuse_token(exchange, "expired", "the bearer token has expired");
    else if (state == TOKEN_REVOKED)
        refuse_token(exchange, "revoked", "the bearer token was revoked");
    else if (state == TOKEN_NOT_CHECKED)
        api_send_later(exchange, "the bearer token cannot be checked at the moment", API_AGAIN_S);
    return state == TOKEN_VALID;
}

static unsigned role_bit(const char *role)
{
    static const struct {
        const char *name;
        unsigned bit;
    } roles[] = { { "platform", API_PLATFORM }, { "admin", API_ADMIN }, { "exec", API_EXEC },      { "csr", API_CSR },
                  { "rep", API_REP },           { "owner", API_OWNER }, { "station", API_STATION } };

    for (size_t i = 0; i < LENGTH(roles); i++)
        if (strcmp(role, roles[i].name) == 0)
            return roles[i].bit;
    return 0;
}

/* A rep's token that belongs to nobody sees what is nobody's. */
static const char *person_of(const struct token *token, struct arena *arena)
{
    if (strcmp(token->role, "rep") != 0)
        return NULL;
    return token->user_id[0] ? token->user_id : arena_printf(arena, "token %s", token->id);
}

static bool check_role(struct api_request *request)
{
    const struct token *token = request->token;
    const char *detail = NULL;

    if (!(request->operation->roles & role_bit(token->role)))
        detail = arena_printf(request->arena, "a token of the role \"%s\" does not open this", token->role);
    else if (request->operation->of_self && !token->user_id[0])
        detail = "the token belongs to no person, so there is no self: make one with sb token create --email";
    if (!detail)
        return true;
    metric_add(&refused_tokens, 1, "role");
    api_refuse(request, 403, detail, NULL);
    return false;
}

/* --- threads --------------------------------------------------------------------------------------------- */

static void run(struct api *api, const struct waiting *waiting)
{
    struct http_exchange *exchange = waiting->exchange;
    struct token token;

    if (http_client_left(exchange)) {
        api_send_later(exchange, "nobody waits for this any more", API_BUSY_AGAIN_S);
        return;
    }
    if (!check_token(api, exchange, &token))
        return;
    struct api_request request = {
        .exchange = exchange,
        .arena = http_arena(exchange),
        .ingest = api->ingest,
        .pool = api->pool,
        .operation = waiting->operation,
        .tenant = strcmp(token.role, "platform") == 0 ? API_ALL_TENANTS : token.tenant,
        .person = person_of(&token, http_arena(exchange)),
        .token = &token,
        .argument = waiting->argument,
    };
    if (check_role(&request))
        waiting->operation->handle(&request);
}

static bool take(struct api *api, struct waiting *ret)
{
    pthread_mutex_lock(&api->lock);
    while (api->count == 0 && !api->closing)
        pthread_cond_wait(&api->changed, &api->lock);
    bool some = !api->closing;
    if (some) {
        *ret = api->queue[api->first];
        api->first = (api->first + 1) % api->room;
        api->count--;
        metric_set(&waiting_requests, (int64_t)api->count);
    }
    pthread_mutex_unlock(&api->lock);
    return some;
}

static void *thread_main(void *context)
{
    struct api *api = context;
    struct waiting waiting;

    pthread_setname_np(pthread_self(), "api");
    while (take(api, &waiting))
        run(api, &waiting);
    return NULL;
}

static bool put(struct api *api, const struct waiting *waiting)
{
    pthread_mutex_lock(&api->lock);
    bool fits = api->count < api->room && !api->closing;
    if (fits) {
        api->queue[(api->first + api->count) % api->room] = *waiting;
        api->count++;
        metric_set(&waiting_requests, (int64_t)api->count);
        pthread_cond_signal(&api->changed);
    }
    pthread_mutex_unlock(&api->lock);
    return fits;
}

void api_accept(struct http_exchange *exchange, void *ingest, const struct api_operation *operation)
{
    struct api *api = ((struct ingest *)ingest)->api;
    struct text token;

    if (!http_header(exchange, "Authorization").at)
        refuse_token(exchange, "missing", "the header \"Authorization: Bearer sb_…\" is missing");
    else if (!token_read(http_header(exchange, "Authorization"), &token))
        refuse_token(exchange, "malformed", "the header Authorization must be \"Bearer\" and a token, sb_…");
    else if (!put(api, &(struct waiting){ .exchange = exchange, .operation = operation }))
        api_send_later(exchange, "too many requests are waiting", API_BUSY_AGAIN_S);
}

bool api_resume(struct ingest *ingest, struct http_exchange *exchange, const struct api_operation *operation,
                const void *argument)
{
    return put(ingest->api, &(struct waiting){ exchange, operation, argument });
}

/* --- start and end --------------------------------------------------------------------------------------- */

struct api *api_open(struct ingest *ingest, struct problem *why)
{
    struct api *api = must_alloc(sizeof(*api));
    size_t threads = (size_t)ingest->api_threads;

    metric_register(&waiting_requests);
    metric_register(&refused_tokens);
    api->ingest = ingest;
    api->room = (size_t)ingest->api_queue_max;
    api->queue = must_alloc(api->room * sizeof(*api->queue));
    api->threads = must_alloc(threads * sizeof(*api->threads));
    pthread_mutex_init(&api->lock, NULL);
    pthread_cond_init(&api->changed, NULL);
    api->pool = pg_pool_new(&(struct pg_pool_settings){ .url = daemon_settings()->database_url,
                                                        .role = "switchboard_api",
                                                        .application_name = "ingest api",
                                                        .connections_max = (int)threads,
                                                        .wait_ms_max = API_DATABASE_WAIT_MS });
    api->tokens = tokens_new(api->pool);
    while (api->thread_count < threads && pthread_create(&api->threads[api->thread_count], NULL, thread_main, api) == 0)
        api->thread_count++;
    if (api->thread_count == threads)
        return api;
    fail(why, "could not start the API's threads");
    api_close(api);
    return NULL;
}

void api_close(struct api *api)
{
    if (!api)
        return;
    pthread_mutex_lock(&api->lock);
    api->closing = true;
    pthread_cond_broadcast(&api->changed);
    pthread_mutex_unlock(&api->lock);
    for (size_t i = 0; i < api->thread_count; i++)
        pthread_join(api->threads[i], NULL);
    tokens_free(api->tokens);
    pg_pool_free(api->pool);
    pthread_cond_destroy(&api->changed);
    pthread_mutex_destroy(&api->lock);
    free(api->threads);
    free(api->queue);
    free(api);
}
