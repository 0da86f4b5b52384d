/* provider_fixture.h: a provider that answers every request as it was told, and the client that asks it.  Include once, before
 * handler_fixture.h. */
#pragma once

#include "tests/unit/scripted_server.h"

#include "common/stage/runtime.h"

static struct server server;
static struct provider {
    const char *status, *headers, *body;        /* status NULL: the connection is closed; "": nothing ever comes */
} provider_told;
static char provider_request[SERVER_REQUEST_BYTES_MAX];     /* the last one; under the server's mutex, as what it answers */

static bool server_behave(const struct exchange *exchange)
{
    pthread_mutex_lock(&exchange->server->mutex);
    struct provider told = provider_told;
    char *body = must_copy(told.body);          /* a client that has had enough leaves while it is sent */
    snprintf(provider_request, sizeof(provider_request), "%s", exchange->request);
    pthread_mutex_unlock(&exchange->server->mutex);
    bool goes_on = told.status && (told.status[0] ? server_answer(exchange->fd, told.status, told.headers, text_of(body))
                                                  : server_await_close(exchange->fd));
    free(body);
    return goes_on;
}

/* What it answers from now on; forgets the last request. */
static inline void provider_answers(const char *status, const char *headers, const char *body)
{
    pthread_mutex_lock(&server.mutex);
    provider_told = (struct provider){ status, headers, body };
    provider_request[0] = '\0';
    pthread_mutex_unlock(&server.mutex);
}

/* The last request, head and body; "": there was none. */
static inline const char *provider_got(struct arena *arena)
{
    pthread_mutex_lock(&server.mutex);
    const char *request = arena_copy(arena, provider_request);
    pthread_mutex_unlock(&server.mutex);
    return request;
}

static inline const char *provider_got_body(struct arena *arena)
{
    const char *end = strstr(provider_got(arena), "\r\n\r\n");
    return end ? end + 4 : "";
}

/* For cmocka's set-up and tear-down of the whole group. */
static inline int provider_start(void **state)
{
    const struct http_client_settings settings = {
        .connections_max = 8, .connections_per_host_max = 8, .user_agent = "test"
    };
    struct problem why;
    (void)state;
    server_start(&server);
    runtime.http = http_client_start(&settings, &why);
    return runtime.http ? 0 : -1;
}

static inline int provider_stop(void **state)
{
    (void)state;
    http_client_stop(runtime.http);
    server_stop(&server);
    return 0;
}
