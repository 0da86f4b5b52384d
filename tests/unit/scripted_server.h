/* scripted_server.h: a small HTTP/1.1 server for tests of clients: a thread for each connection, a behaviour for each
 * path.  It counts connections and requests and lets a test wait for either.  Include once. */
#pragma once

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base.h"

#define SERVER_REQUEST_BYTES_MAX (64 * 1024)
#define SERVER_CONNECTIONS_MAX 512

struct server {
    int listener;
    uint16_t port;
    pthread_t thread;

    pthread_mutex_t mutex;      /* over all below */
    pthread_cond_t changed;
    const char *location;       /* of the next redirects */
    const char *header;         /* one more in the answers of /header, with its CRLF */
    int fds[SERVER_CONNECTIONS_MAX];
    int open, connections, requests, held, held_most;
    bool released;              /* what /hold waits for */
};

/* One request, and the connection it came on. */
struct exchange {
    struct server *server;
    int fd;
    int number;                 /* of the request on its connection, from 1 */
    const char *request;
    const char *body;
};

static inline bool server_send(int fd, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t sent = send(fd, at, bytes, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        at += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

PRINTF_LIKE(2, 3) static inline bool server_printf(int fd, const char *format, ...)
{
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    return server_send(fd, text, (size_t)bytes);
}

static inline bool server_answer(int fd, const char *status, const char *headers, struct text body)
{
    return server_printf(fd, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n%s\r\n", status, body.bytes, headers) &&
           server_send(fd, body.at, body.bytes);
}

/* Keeps the connection open without a word until the client closes it. */
static inline bool server_await_close(int fd)
{
    char c;
    while (recv(fd, &c, 1, 0) > 0)
        ;
    return false;
}

static inline void server_await(struct server *server, const int *counter, int at_least)
{
    pthread_mutex_lock(&server->mutex);
    while (*counter < at_least)
        pthread_cond_wait(&server->changed, &server->mutex);
    pthread_mutex_unlock(&server->mutex);
}

static inline int server_count(struct server *server, const int *counter)
{
    pthread_mutex_lock(&server->mutex);
    int count = *counter;
    pthread_mutex_unlock(&server->mutex);
    return count;
}

static inline void server_set(struct server *server, const char **what, const char *value)
{
    pthread_mutex_lock(&server->mutex);
    *what = value;
    pthread_mutex_unlock(&server->mutex);
}

static inline const char *server_get(struct server *server, const char *const *what)
{
    pthread_mutex_lock(&server->mutex);
    const char *value = *what;
    pthread_mutex_unlock(&server->mutex);
    return value;
}

/* Lets go of all that is in /hold, now or later. */
static inline void server_release(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    server->released = true;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
}

static inline void server_hold(struct server *server)
{
    pthread_mutex_lock(&server->mutex);
    if (++server->held > server->held_most)
        server->held_most = server->held;
    pthread_cond_broadcast(&server->changed);
    while (!server->released)
        pthread_cond_wait(&server->changed, &server->mutex);
    server->held--;
    pthread_mutex_unlock(&server->mutex);
}

/* The test's: answers one request; false to close the connection. */
static bool server_behave(const struct exchange *exchange);

/* Reads one request with its body into `text`; false at the connection's end. */
static inline bool server_read(int fd, char *text, size_t *ret_head_bytes)
{
    size_t bytes = 0, wanted = 0;
    for (;;) {
        ssize_t got = recv(fd, text + bytes, wanted > 0 ? wanted - bytes : 1, 0);
        if (got <= 0)
            return false;
        bytes += (size_t)got;
        text[bytes] = '\0';
        if (wanted == 0 && bytes >= 4 && strcmp(text + bytes - 4, "\r\n\r\n") == 0) {
            const char *length = strcasestr(text, "\r\nContent-Length:");
            *ret_head_bytes = bytes;
            wanted = bytes + (length != NULL ? strtoul(length + 17, NULL, 10) : 0);
        }
        if (bytes == wanted)
            return true;
        if (bytes == SERVER_REQUEST_BYTES_MAX - 1 || wanted >= SERVER_REQUEST_BYTES_MAX)
            abort();
    }
}

struct server_connection {
    struct server *server;
    int fd;
};

static inline void *server_connection_run(void *context)
{
    struct server_connection *connection = context;
    struct server *server = connection->server;
    int fd = connection->fd;
    char *text = malloc(SERVER_REQUEST_BYTES_MAX);
    size_t head_bytes = 0;

    free(connection);
    for (int number = 1; server_read(fd, text, &head_bytes); number++) {
        pthread_mutex_lock(&server->mutex);
        server->requests++;
        pthread_cond_broadcast(&server->changed);
        pthread_mutex_unlock(&server->mutex);
        struct exchange exchange = { server, fd, number, text, text + head_bytes };
        if (!server_behave(&exchange))
            break;
    }
    free(text);
    pthread_mutex_lock(&server->mutex);
    close(fd);
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        if (server->fds[i] == fd)
            server->fds[i] = -1;
    server->open--;
    pthread_cond_broadcast(&server->changed);
    pthread_mutex_unlock(&server->mutex);
    return NULL;
}

static inline void server_accept(struct server *server, int fd)
{
    struct server_connection *connection = malloc(sizeof(*connection));
    pthread_t thread;
    pthread_attr_t attributes;
    *connection = (struct server_connection){ server, fd };
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int)); /* heads and bodies are sent apart */

    pthread_mutex_lock(&server->mutex);
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        if (server->fds[i] == -1) {
            server->fds[i] = fd;
            break;
        }
    server->open++;
    server->connections++;
    pthread_mutex_unlock(&server->mutex);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    if (pthread_create(&thread, &attributes, server_connection_run, connection) != 0)
        abort();
    pthread_attr_destroy(&attributes);
}

static inline void *server_run(void *context)
{
    struct server *server = context;
    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        server_accept(server, fd);
    }
}

/* A listening socket on a free port of 127.0.0.1. */
static inline int server_listen(uint16_t *ret_port)
{
    struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    socklen_t bytes = sizeof(address);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 512) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &bytes) < 0)
        abort();
    *ret_port = ntohs(address.sin_port);
    return fd;
}

static inline void server_start(struct server *server)
{
    memset(server, 0, sizeof(*server));
    memset(server->fds, -1, sizeof(server->fds));
    pthread_mutex_init(&server->mutex, NULL);
    pthread_cond_init(&server->changed, NULL);
    server->listener = server_listen(&server->port);
    if (pthread_create(&server->thread, NULL, server_run, server) != 0)
        abort();
}

static inline void server_stop(struct server *server)
{
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
    pthread_mutex_lock(&server->mutex);
    server->released = true;
    pthread_cond_broadcast(&server->changed);
    for (int i = 0; i < SERVER_CONNECTIONS_MAX; i++)
        if (server->fds[i] >= 0)
            shutdown(server->fds[i], SHUT_RDWR);
    while (server->open > 0)
        pthread_cond_wait(&server->changed, &server->mutex);
    pthread_mutex_unlock(&server->mutex);
    pthread_mutex_destroy(&server->mutex);
    pthread_cond_destroy(&server->changed);
}
