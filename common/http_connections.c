/* http_connections.c: what libmicrohttpd leaves to us of a connection's life.
 *
 * libmicrohttpd knows idle time-outs only, says nothing before the request line is there, and does not look at
 * suspended connections.  So each connection is in a list by phase, with a deadline, and what is overdue is shut down:
 * libmicrohttpd then sees its end and cleans up in its own time. */
#include "common/http_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define CLIENT_CHECK_MS 250 /* how often, and from which age on, kept exchanges are asked whether the client is there  \
                             */
#define CLIENT_CHECK_BATCH 128
#define LINGER_MS          2000
#define LINGER_BYTES_MAX   (32 * 1024 * 1024)
#define LINGERS_MAX        64

/* A socket that libmicrohttpd has closed, read on until the client has sent what it wanted: closing with bytes unread
 * makes the kernel send a reset, and the client may then never see the answer that refused them. */
struct http_linger {
    struct http_watch watch;
    struct http_server *server;
    struct http_linger *previous, *next;
    int64_t deadline_us;
    size_t bytes;
};

/* --- lists -------------------------------------------------------------------------------------------------------- */

static void list_remove(struct http_list *list, struct http_connection *connection)
{
    *(connection->previous != NULL ? &connection->previous->next : &list->first) = connection->next;
    *(connection->next != NULL ? &connection->next->previous : &list->last) = connection->previous;
}

static void list_append(struct http_list *list, struct http_connection *connection)
{
    connection->previous = list->last;
    connection->next = NULL;
    *(list->last != NULL ? &list->last->next : &list->first) = connection;
    list->last = connection;
}

static int64_t phase_us(const struct http_server *server, enum http_phase phase)
{
    return 1000 * (phase == HTTP_KEPT ? server->settings.answer_deadline_ms : server->settings.request_deadline_ms);
}

void connection_enter(struct http_connection *connection, enum http_phase phase)
{
    struct http_server *server = connection->server;

    list_remove(&server->phases[connection->phase], connection);
    connection->phase = phase;
    connection->deadline_us = phase == HTTP_UNBOUND ? INT64_MAX : server->now_us + phase_us(server, phase);
    list_append(&server->phases[phase], connection);
}

struct http_connection *connection_of(struct MHD_Connection *mhd)
{
    return MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_SOCKET_CONTEXT)->socket_context;
}

/* --- lingering close ---------------------------------------------------------------------------------------------- */

static void linger_free(struct http_linger *linger)
{
    struct http_server *server = linger->server;

    *(linger->previous != NULL ? &linger->previous->next : &server->first_linger) = linger->next;
    *(linger->next != NULL ? &linger->next->previous : &server->last_linger) = linger->previous;
    server->lingers--;
    close(linger->watch.fd); /* which takes it out of the epoll too: it is the last descriptor of that socket */
    free(linger);
}

static void linger_read(void *context)
{
    char unwanted[16 * 1024];
    struct http_linger *linger = context;
    ssize_t bytes = recv(linger->watch.fd, unwanted, sizeof(unwanted), MSG_DONTWAIT);

    if (bytes > 0)
        linger->bytes += (size_t)bytes;
    if (bytes == 0 || (bytes < 0 && errno != EAGAIN && errno != EINTR) || linger->bytes > LINGER_BYTES_MAX)
        linger_free(linger);
}

/* Called when libmicrohttpd is about to close the socket, its sending side being shut already. */
static void connection_linger(struct http_connection *connection)
{
    struct http_server *server = connection->server;

    if (server->lingers == LINGERS_MAX)
        return;
    int fd = fcntl(connection->fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return;
    struct http_linger *linger = must_alloc(sizeof(*linger));
    linger->watch = (struct http_watch){ .fd = fd, .ready = linger_read, .context = linger };
    linger->server = server;
    linger->deadline_us = server->now_us + LINGER_MS * 1000;
    linger->previous = server->last_linger;
    *(server->last_linger != NULL ? &server->last_linger->next : &server->first_linger) = linger;
    server->last_linger = linger;
    server->lingers++;
    shutdown(fd, SHUT_WR);
    if (!server_epoll_add(server, &linger->watch, EPOLLIN | EPOLLRDHUP, NULL))
        linger_free(linger);
}

static int unread_bytes(int fd)
{
    int bytes = 0;

    return ioctl(fd, FIONREAD, &bytes) == 0 ? bytes : 0;
}

void lingers_free(struct http_server *server)
{
    while (server->first_linger != NULL)
        linger_free(server->first_linger);
}

/* --- coming and going --------------------------------------------------------------------------------------------- */

void connection_changed(void *cls, struct MHD_Connection *mhd, void **socket_context,
                        enum MHD_ConnectionNotificationCode change)
{
    struct http_server *server = cls;
    struct http_connection *connection = *socket_context;

    if (change == MHD_CONNECTION_NOTIFY_STARTED) {
        connection = must_alloc(sizeof(*connection));
        connection->server = server;
        connection->mhd = mhd;
        connection->fd = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_CONNECTION_FD)->connect_fd;
        connection->phase = HTTP_RECEIVING;
        connection->deadline_us = server->now_us + phase_us(server, HTTP_RECEIVING);
        list_append(&server->phases[HTTP_RECEIVING], connection);
        server->connections++;
        *socket_context = connection;
        return;
    }
    if (connection->exchange != NULL) /* libmicrohttpd could not watch the socket, and says no more than this */
        exchange_release(connection->exchange);
    if (connection->linger || unread_bytes(connection->fd) > 0)
        connection_linger(connection);
    list_remove(&server->phases[connection->phase], connection);
    server->connections--;
    server->mhd_waits = true; /* at its limit it had stopped listening, and begins again only when it runs */
    *socket_context = NULL;
    free(connection);
}

void connection_refuse(struct http_connection *connection, int status, const char *detail)
{
    char head[256];
    struct buf answer, body;

    buf_init(&answer, 2048);
    buf_init(&body, 1024);
    problem_print(&body, status, detail, NULL);
    snprintf(head, sizeof(head),
             "HTTP/1.1 %d %s\r\nContent-Type: application/problem+json\r\nContent-Length: %zu\r\nConnection: "
             "close\r\n%s\r\n",
             status, MHD_get_reason_phrase_for((unsigned int)status), body.bytes,
             status == 503 ? "Retry-After: 1\r\n" : "");
    buf_add_string(&answer, head);
    buf_add_text(&answer, buf_text(&body));
    /* nothing was sent before it on this request, so it fits into the socket's buffer, or the client does not read */
    (void)!send(connection->fd, answer.at, answer.bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
    connection->linger = true;
    buf_done(&answer);
    buf_done(&body);
}

/* --- deadlines ---------------------------------------------------------------------------------------------------- */

static void receiving_is_overdue(struct http_connection *connection)
{
    struct http_server *server = connection->server;

    /* a connection that is merely idle between requests ends without a word, as does one whose client does not take its
     * answer */
    if (!connection->sending && (connection->exchange != NULL || !connection->used)) {
        if (connection->exchange != NULL)
            exchange_report(connection->exchange, 408);
        else if (server->settings.on_answer != NULL)
            server->settings.on_answer(server->settings.context, HTTP_ROUTE_NONE, 408,
                                       phase_us(server, HTTP_RECEIVING));
        connection_refuse(connection, 408, "the request did not arrive in time");
    }
    connection_enter(connection, HTTP_UNBOUND);
    shutdown(connection->fd, SHUT_RDWR);
}

/* The exchange still is its owner's, and with it the suspended connection; only the client hears that it is over. */
static void kept_is_overdue(struct http_connection *connection)
{
    exchange_report(connection->exchange, 503);
    connection_refuse(connection, 503, "no answer was found in time");
    atomic_store(&connection->exchange->client_left, true);
    connection_enter(connection, HTTP_UNBOUND);
    shutdown(connection->fd, SHUT_RDWR);
}

static void clients_ask(struct http_connection **connections, struct pollfd *polls, nfds_t count)
{
    if (count == 0 || poll(polls, count, 0) <= 0)
        return;
    for (nfds_t i = 0; i < count; i++) {
        if (polls[i].revents & (POLLRDHUP | POLLHUP | POLLERR))
            atomic_store(&connections[i]->exchange->client_left, true);
    }
}

/* A suspended connection is not in libmicrohttpd's epoll. */
static void clients_check(struct http_server *server)
{
    struct http_connection *connections[CLIENT_CHECK_BATCH];
    struct pollfd polls[CLIENT_CHECK_BATCH];
    nfds_t count = 0;
    int64_t young_us = server->now_us + phase_us(server, HTTP_KEPT) - CLIENT_CHECK_MS * 1000;

    server->clients_checked_us = server->now_us;
    for (struct http_connection *connection = server->phases[HTTP_KEPT].first;
         connection != NULL && connection->deadline_us <= young_us; connection = connection->next) {
        connections[count] = connection;
        polls[count++] = (struct pollfd){ .fd = connection->fd, .events = POLLRDHUP };
        if (count == CLIENT_CHECK_BATCH) {
            clients_ask(connections, polls, count);
            count = 0;
        }
    }
    clients_ask(connections, polls, count);
}

static int64_t earlier(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

int64_t connections_check(struct http_server *server)
{
    struct http_list *phases = server->phases;
    int64_t next_us = INT64_MAX;

    while (phases[HTTP_RECEIVING].first != NULL && phases[HTTP_RECEIVING].first->deadline_us <= server->now_us)
        receiving_is_overdue(phases[HTTP_RECEIVING].first);
    while (phases[HTTP_KEPT].first != NULL && phases[HTTP_KEPT].first->deadline_us <= server->now_us)
        kept_is_overdue(phases[HTTP_KEPT].first);
    while (server->first_linger != NULL && server->first_linger->deadline_us <= server->now_us)
        linger_free(server->first_linger);
    if (phases[HTTP_RECEIVING].first != NULL)
        next_us = phases[HTTP_RECEIVING].first->deadline_us;
    if (phases[HTTP_KEPT].first != NULL) {
        if (server->now_us - server->clients_checked_us >= CLIENT_CHECK_MS * 1000)
            clients_check(server);
        next_us = earlier(next_us, phases[HTTP_KEPT].first->deadline_us);
        next_us = earlier(next_us, server->clients_checked_us + CLIENT_CHECK_MS * 1000);
    }
    if (server->first_linger != NULL)
        next_us = earlier(next_us, server->first_linger->deadline_us);
    return next_us;
}

/* What a client had sent before is still read and answered; what it sends now is not. */
void connections_stop_idle(struct http_server *server)
{
    for (struct http_connection *connection = server->phases[HTTP_RECEIVING].first; connection != NULL;
         connection = connection->next) {
        if (connection->exchange == NULL)
            shutdown(connection->fd, SHUT_RD);
    }
}

void connections_stop_all(struct http_server *server)
{
    while (server->phases[HTTP_KEPT].first != NULL)
        kept_is_overdue(server->phases[HTTP_KEPT].first);
    while (server->phases[HTTP_RECEIVING].first != NULL)
        receiving_is_overdue(server->phases[HTTP_RECEIVING].first);
}
