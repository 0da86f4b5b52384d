/* server_under_test.h: one HTTP server with a route for each kind of handler, for the tests that are its clients. */
#pragma once

#include <pthread.h>

#include "common/http_server.h"
#include "tests/unit/wire.h"

#define KEPT_MAX  512
#define BIG_BYTES (16 * 1024 * 1024)
#define LARGE_BYTES (40 * 1024) /* of a body that is not small */
#define HOST      "Host: x\r\n"

static struct http_server *server;
static uint16_t port;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct http_exchange *kept[KEPT_MAX];
static size_t kept_count;
static int statuses[1000]; /* how often on_answer was told of each */
static char last_route[64];

static inline void note_answer(void *context, const char *route, int status, int64_t took_us)
{
    (void)context;
    assert_true(took_us >= 0);
    pthread_mutex_lock(&lock);
    statuses[status]++;
    snprintf(last_route, sizeof(last_route), "%s", route);
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static inline void wait_for_status(int status, int count)
{
    pthread_mutex_lock(&lock);
    while (statuses[status] < count)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static inline void echo(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/plain", http_body(exchange), NULL);
}

static inline void hello(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/plain", TEXT("hello"),
                (struct http_answer_header[]){ { "X-Stage", "ingest" }, { 0 } });
}

static inline void show(struct http_exchange *exchange, void *context)
{
    struct text header = http_header(exchange, "x-odd");
    const char *id = http_path_value(exchange, "id"), *q = http_query_value(exchange, "q");

    (void)context;
    const char *line = arena_printf(http_arena(exchange), "%s|%s|%s|%s|%s|%.*s|%s", http_method(exchange),
                                    http_path(exchange), http_url(exchange), id ? id : "-", q ? q : "-",
                                    (int)header.bytes, header.at ? header.at : "", http_peer(exchange));
    http_answer(exchange, 200, "text/plain", text_of(line), NULL);
}

static inline void keep(struct http_exchange *exchange, void *context)
{
    (void)context;
    pthread_mutex_lock(&lock);
    assert_true(kept_count < KEPT_MAX);
    kept[kept_count++] = exchange;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static inline void wait_for_kept(void)
{
    pthread_mutex_lock(&lock);
    while (kept_count == 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static inline struct http_exchange *take_kept(void)
{
    pthread_mutex_lock(&lock);
    while (kept_count == 0)
        pthread_cond_wait(&changed, &lock);
    struct http_exchange *exchange = kept[0];
    memmove(kept, kept + 1, --kept_count * sizeof(*kept));
    pthread_mutex_unlock(&lock);
    return exchange;
}

static inline void big(struct http_exchange *exchange, void *context)
{
    char *at = arena_alloc(http_arena(exchange), BIG_BYTES);

    (void)context;
    http_answer(exchange, 200, "text/plain", (struct text){ at, BIG_BYTES }, NULL);
}

static inline void refuse(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer_problem(exchange, 422, "the \"name\" is missing", "/name");
}

static const struct http_route routes[] = {
    { "POST", "/echo", echo, 1000, NULL },         { "GET", "/hello", hello, 0, NULL },
    { "GET", "/calls/{id}", show, 0, NULL },       { "PUT", "/calls/{id}", show, 0, NULL },
    { "GET", "/calls/{id}/parts", show, 0, NULL }, { "GET", "/show", show, 0, NULL },
    { "POST", "/keep", keep, LARGE_BYTES, NULL },  { "GET", "/big", big, 0, NULL },
    { "GET", "/refuse", refuse, 0, NULL },         { "POST", "/large", echo, LARGE_BYTES, NULL },
    { 0 },
};

static inline struct http_server_settings usual_settings(void)
{
    return (struct http_server_settings){
        .listen = "127.0.0.1:0",
        .connections_max = 500,
        .connections_per_address_max = 500,
        .request_deadline_ms = 10000,
        .answer_deadline_ms = 10000,
        .in_flight_bytes_max = 1024 * 1024,
        .on_answer = note_answer,
    };
}

static inline void start(const struct http_server_settings *settings)
{
    struct problem why;

    memset(statuses, 0, sizeof(statuses));
    server = http_server_start(settings, routes, &why);
    assert_non_null(server);
    port = http_server_port(server);
    assert_true(port > 0);
}

static inline int stop(void **state)
{
    (void)state;
    if (server != NULL)
        http_server_drain(server, 1000);
    server = NULL;
    return 0;
}
