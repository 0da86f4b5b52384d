/* http_fixture.h: what the tests of the HTTP client share: three scripted servers (`server` and `other` may be reached
 * from outside, `inner` may not), a client, calls in the foreground and in threads of their own, and names that the
 * resolver is made to know.  Include once, before cmocka. */
#pragma once

#include <dlfcn.h>
#include <netdb.h>

#include "common/http_client.h"
#include "tests/unit/scripted_server.h"

#define TIMEOUT_MS 20000                /* of calls that are to succeed */
#define SHORT_MS 200                    /* of calls that are to time out */
#define ANSWER_BYTES_MAX (256 * 1024)
#define CALLER_STACK_BYTES (64 * 1024)  /* callers live on little */

static struct server server, other, inner;
static struct http_client *client;
static struct arena *arena;

struct asked {
    enum http_result result;
    struct http_reply reply;
    struct problem why;
};

static inline const char *url_of(const struct server *of, const char *path)
{
    return arena_printf(arena, "http://127.0.0.1:%u%s", of->port, path);
}

/* `also_allowed`: one more port of 127.0.0.1 that may be reached from outside, or 0. */
static inline struct http_client *start_client(int64_t connections_max, int64_t connections_per_host_max,
                                               uint16_t also_allowed)
{
    struct problem why;
    struct http_client_settings settings = {
        .connections_max = connections_max,
        .connections_per_host_max = connections_per_host_max,
        .allowed_private = arena_printf(arena, "127.0.0.1:%u,127.0.0.1:%u,127.0.0.1:%u", server.port, other.port,
                                        also_allowed > 0 ? also_allowed : server.port),
        .user_agent = "switchboard-test",
    };
    struct http_client *started = http_client_start(&settings, &why);
    if (started == NULL)
        abort();
    return started;
}

static inline struct http_request with_defaults(struct http_request request)
{
    request.method = request.method != NULL ? request.method : "GET";
    request.timeout_ms = request.timeout_ms > 0 ? request.timeout_ms : TIMEOUT_MS;
    request.answer_bytes_max = request.answer_bytes_max > 0 ? request.answer_bytes_max : ANSWER_BYTES_MAX;
    return request;
}

static inline struct asked ask(struct http_request request)
{
    struct asked asked = { 0 };
    request = with_defaults(request);
    asked.result = http_call(client, &request, arena, &asked.reply, &asked.why);
    return asked;
}

static inline struct asked get(const struct server *of, const char *path)
{
    return ask((struct http_request){ .url = url_of(of, path) });
}

/* A call in a thread of its own, with an arena of its own. */
struct background {
    pthread_t thread;
    struct arena *arena;
    struct http_request request;
    int times;                  /* 0 is once */
    int answered;               /* of them, with status 200 */
    struct asked asked;         /* the last */
};

static inline void *background_run(void *context)
{
    struct background *background = context;
    for (int i = 0; i == 0 || i < background->times; i++) {
        background->asked.result = http_call(client, &background->request, background->arena, &background->asked.reply,
                                             &background->asked.why);
        if (background->asked.result == HTTP_ANSWERED && background->asked.reply.status == 200)
            background->answered++;
    }
    return NULL;
}

static inline void background_start(struct background *background, struct http_request request)
{
    pthread_attr_t attributes;
    background->arena = arena_new(1 << 20);
    background->request = with_defaults(request);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, CALLER_STACK_BYTES);
    if (pthread_create(&background->thread, &attributes, background_run, background) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

static inline void background_join(struct background *background)
{
    pthread_join(background->thread, NULL);
    arena_free(background->arena);
}

static inline int set_up(void **state)
{
    (void)state;
    arena = arena_new(16 << 20);
    server_start(&server);
    server_start(&other);
    server_start(&inner);
    client = start_client(256, 128, 0);
    return 0;
}

static inline int tear_down(void **state)
{
    (void)state;
    http_client_stop(client);
    client = NULL;
    server_stop(&server);
    server_stop(&other);
    server_stop(&inner);
    arena_free(arena);
    return 0;
}

/* --- names ------------------------------------------------------------------------------------------------------- */

static pthread_mutex_t resolver_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t resolver_changed = PTHREAD_COND_INITIALIZER;
static int resolver_stuck;
static bool resolver_freed;

/* Stands before libc's: inside.test and metadata.test lead to private addresses, stuck.test answers when the test says
 * so, and no other name exists, so that no test asks the network. */
int getaddrinfo(const char *node, const char *service, const struct addrinfo *hints, struct addrinfo **ret)
{
    int (*real)(const char *, const char *, const struct addrinfo *, struct addrinfo **) = NULL;
    *(void **)&real = dlsym(RTLD_NEXT, "getaddrinfo");

    if (strcmp(node, "inside.test") == 0)
        return real("127.0.0.1", service, hints, ret);
    if (strcmp(node, "metadata.test") == 0)
        return real("169.254.169.254", service, hints, ret);
    if (strcmp(node, "stuck.test") == 0) {
        pthread_mutex_lock(&resolver_mutex);
        resolver_stuck++;
        pthread_cond_broadcast(&resolver_changed);
        while (!resolver_freed)
            pthread_cond_wait(&resolver_changed, &resolver_mutex);
        resolver_stuck--;
        pthread_cond_broadcast(&resolver_changed);
        pthread_mutex_unlock(&resolver_mutex);
    }
    return EAI_NONAME;
}

/* --- behaviours -------------------------------------------------------------------------------------------------- */

static bool behave_ok(const struct exchange *exchange)
{
    return server_answer(exchange->fd, "200 OK", "Content-Type: application/json\r\n", TEXT("{\"good\":true}"));
}

static bool behave_echo(const struct exchange *exchange)
{
    return server_answer(exchange->fd, "200 OK", "Content-Type: text/plain\r\n", text_of(exchange->request));
}

static bool behave_header(const struct exchange *exchange)
{
    return server_answer(exchange->fd, "429 Too Many Requests",
                         server_get(exchange->server, &exchange->server->header), TEXT("slow down"));
}

static bool behave_folded(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\n as it was: or not\r\n\r\n");
    return false;
}

static bool behave_missing(const struct exchange *exchange)
{
    return server_answer(exchange->fd, "404 Not Found", "", TEXT("no such thing"));
}

static bool behave_empty(const struct exchange *exchange)
{
    return server_printf(exchange->fd, "HTTP/1.1 204 No Content\r\n\r\n");
}

static bool behave_head(const struct exchange *exchange)
{
    return server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
}

static bool behave_chunked(const struct exchange *exchange)
{
    return server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n") &&
           server_printf(exchange->fd, "7\r\n, world\r\n0\r\n\r\n");
}

static bool behave_never(const struct exchange *exchange)
{
    return server_await_close(exchange->fd);
}

static bool behave_cut(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part");
    return false;
}

static bool behave_cut_chunked(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n");
    return false;
}

static bool behave_dropped(const struct exchange *exchange)
{
    (void)exchange;
    return false;
}

static bool behave_stalled(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nonly a part");
    return server_await_close(exchange->fd);
}

static bool behave_declared(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n");
    return server_await_close(exchange->fd);
}

static bool behave_endless(const struct exchange *exchange)
{
    static const char chunk[4096] = { 0 };
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
    while (server_printf(exchange->fd, "1000\r\n") && server_send(exchange->fd, chunk, sizeof(chunk)) &&
           server_printf(exchange->fd, "\r\n"))
        ;
    return false;
}

static bool behave_endless_header(const struct exchange *exchange)
{
    server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nX-Long: ");
    while (server_printf(exchange->fd, "and so on "))
        ;
    return false;
}

/* Answers the first request of each connection and drops the second one, once it is read. */
static bool behave_dies_when_reused(const struct exchange *exchange)
{
    return exchange->number == 1 && behave_ok(exchange);
}

static bool behave_hold(const struct exchange *exchange)
{
    server_hold(exchange->server);
    return behave_ok(exchange);
}

static bool behave_redirect(const struct exchange *exchange)
{
    const char *status = strstr(exchange->request, "/redirect/") + strlen("/redirect/");
    return server_printf(exchange->fd, "HTTP/1.1 %.3s Elsewhere\r\nLocation: %s\r\nContent-Length: 4\r\n\r\ngone",
                         status, server_get(exchange->server, &exchange->server->location));
}

static bool server_behave(const struct exchange *exchange)
{
    static const struct {
        const char *path;
        bool (*behave)(const struct exchange *);
    } behaviours[] = {
        { "/ok ", behave_ok },
        { "/echo ", behave_echo },
        { "/header ", behave_header },
        { "/folded ", behave_folded },
        { "/missing ", behave_missing },
        { "/empty ", behave_empty },
        { "/head ", behave_head },
        { "/chunked ", behave_chunked },
        { "/never ", behave_never },
        { "/cut ", behave_cut },
        { "/cut-chunked ", behave_cut_chunked },
        { "/dropped ", behave_dropped },
        { "/stalled ", behave_stalled },
        { "/declared ", behave_declared },
        { "/endless ", behave_endless },
        { "/endless-header ", behave_endless_header },
        { "/dies-when-reused ", behave_dies_when_reused },
        { "/hold ", behave_hold },
        { "/redirect/", behave_redirect },
    };
    const char *path = strchr(exchange->request, ' ') + 1;
    for (size_t i = 0; i < LENGTH(behaviours); i++)
        if (strncmp(path, behaviours[i].path, strlen(behaviours[i].path)) == 0)
            return behaviours[i].behave(exchange);
    abort();
}
