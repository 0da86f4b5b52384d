/* websocket.c: the socket of an upgraded connection, with libwslay reading and writing the frames.
 *
 * libwslay refuses what is unmasked, not UTF-8, too large or out of order, answers pings, and does the closing
 * handshake.  Here are the handshake before it, the limits on what waits to be sent and on silence, and the end.
 *
 * Life: made by http_accept_websocket(), opened when the 101 is sent, gone when `closed` was called; freed when its
 * exchange has ended (which libmicrohttpd says after the socket is given back) and no job speaks of it any more. */
#include "common/http_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <openssl/sha.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <wslay/wslay.h>

#include "common/crypto.h"

#define READ_BYTES_PER_TURN    (64 * 1024) /* one busy socket does not keep the others waiting */
#define QUEUED_FRAMES_MAX      1024        /* pongs have no bytes to speak of, but do add up */
#define CLOSE_MS               2000        /* for the other side to say goodbye too */
#define CLOSE_REASON_BYTES_MAX 123
#define KEY_BYTES              16
#define MAGIC                  "258EAFA5-E914-47DA-95CA-C5AB0DC85B11" /* RFC 6455 section 1.3 */

enum { GOING_AWAY = 1001, UNSUPPORTED = 1003, NO_CODE = 1005, BROKE_OFF = 1006, TRY_LATER = 1013 };

struct websocket {
    struct http_watch watch;
    struct http_server *server;
    struct http_connection *connection;
    const struct websocket_events *events;
    void *context;
    struct MHD_UpgradeResponseHandle *upgrade; /* NULL before it is opened */
    wslay_event_context_ptr wslay;
    struct websocket *previous, *next; /* in the server's list while open */
    char *early;                       /* frames that came together with the handshake */
    size_t early_bytes, early_taken;
    size_t read_bytes; /* in this turn */
    uint32_t wanted;   /* epoll's events */
    bool gone;
    bool pinged;
    int code; /* why we close it; 0: we do not */
    int64_t heard_us;
    int64_t close_by_us; /* 0: nobody is closing */

    /* any thread */
    atomic_int references;      /* the exchange's, and one for each job */
    atomic_size_t posted_bytes; /* in jobs */
    atomic_size_t queued_bytes; /* in libwslay */
    atomic_bool overflowed;
};

struct websocket_job {
    struct http_job job;
    struct websocket *websocket;
    int code; /* 0: a message; else a close */
    size_t bytes;
    char at[];
};

static void unreference(struct websocket *websocket)
{
    if (atomic_fetch_sub(&websocket->references, 1) > 1)
        return;
    free(websocket->early);
    free(websocket);
}

static void due_by(struct http_server *server, int64_t us)
{
    if (us < server->websockets_due_us)
        server->websockets_due_us = us;
}

/* --- handshake ---------------------------------------------------------------------------------------------------- */

/* A comma-separated list of words, compared without regard to case (RFC 9110 section 5.6.1). */
static bool list_has(struct text list, const char *word)
{
    const char *at = list.at, *end = list.at + list.bytes;
    size_t word_bytes = strlen(word);

    while (at != NULL && at < end) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma != NULL ? comma : end;
        const char *next = comma != NULL ? comma + 1 : end;
        while (at < stop && (*at == ' ' || *at == '\t'))
            at++;
        while (stop > at && (stop[-1] == ' ' || stop[-1] == '\t'))
            stop--;
        if ((size_t)(stop - at) == word_bytes && strncasecmp(at, word, word_bytes) == 0)
            return true;
        at = next;
    }
    return false;
}

bool websocket_is_asked_for(const struct http_exchange *exchange)
{
    uint8_t key[KEY_BYTES];
    size_t bytes;

    return strcmp(exchange->method, "GET") == 0 && strcmp(exchange->version, "HTTP/1.1") == 0 &&
           exchange->body_bytes_max == 0 && list_has(http_header(exchange, "Connection"), "upgrade") &&
           list_has(http_header(exchange, "Upgrade"), "websocket") &&
           text_is(http_header(exchange, "Sec-WebSocket-Version"), "13") &&
           base64_read(http_header(exchange, "Sec-WebSocket-Key"), key, sizeof(key), &bytes) && bytes == KEY_BYTES;
}

static void accept_print(struct text key, char ret[BASE64_BYTES(SHA_DIGEST_LENGTH)])
{
    uint8_t digest[SHA_DIGEST_LENGTH];
    struct buf both;

    buf_init(&both, 256);
    buf_add_text(&both, key);
    buf_add_string(&both, MAGIC);
    SHA1((const uint8_t *)both.at, both.bytes, digest);
    base64_print(digest, sizeof(digest), ret);
    buf_done(&both);
}

static void upgraded(void *cls, struct MHD_Connection *mhd, void *request, const char *early, size_t early_bytes,
                     int fd, struct MHD_UpgradeResponseHandle *upgrade);

bool http_accept_websocket(struct http_exchange *exchange, const struct websocket_events *events, void *context)
{
    char accept[BASE64_BYTES(SHA_DIGEST_LENGTH)];

    if (!websocket_is_asked_for(exchange))
        return false;
    struct websocket *websocket = must_alloc(sizeof(*websocket));
    struct MHD_Response *response = MHD_create_response_for_upgrade(upgraded, websocket);
    if (response == NULL)
        abort(); /* out of memory */
    accept_print(http_header(exchange, "Sec-WebSocket-Key"), accept);
    MHD_add_response_header(response, "Upgrade", "websocket");
    MHD_add_response_header(response, "Sec-WebSocket-Accept", accept);
    websocket->server = exchange->connection->server;
    websocket->connection = exchange->connection;
    websocket->events = events;
    websocket->context = context;
    atomic_store(&websocket->references, 1);
    exchange->websocket = websocket;
    exchange_answer(exchange, 101, response);
    return true;
}

void websocket_abandon(struct websocket *websocket)
{
    if (!websocket->gone) {
        websocket->gone = true;
        websocket->events->closed(websocket, BROKE_OFF, websocket->context);
    }
    unreference(websocket);
}

/* --- the end ------------------------------------------------------------------------------------------------------ */

static int final_code(const struct websocket *websocket)
{
    wslay_event_context_ptr wslay = websocket->wslay;

    if (websocket->code != 0)
        return websocket->code;
    if (wslay_event_get_close_received(wslay))
        return wslay_event_get_status_code_received(wslay);
    return wslay_event_get_close_sent(wslay) && wslay_event_get_status_code_sent(wslay) != NO_CODE
               ? wslay_event_get_status_code_sent(wslay)
               : BROKE_OFF;
}

static void finish(struct websocket *websocket)
{
    struct http_server *server = websocket->server;

    if (websocket->gone)
        return;
    websocket->gone = true;
    *(websocket->previous != NULL ? &websocket->previous->next : &server->websockets) = websocket->next;
    if (websocket->next != NULL)
        websocket->next->previous = websocket->previous;
    epoll_ctl(server->epoll_fd, EPOLL_CTL_DEL, websocket->watch.fd, NULL);
    websocket->events->closed(websocket, final_code(websocket), websocket->context);
    wslay_event_context_free(websocket->wslay);
    websocket->wslay = NULL;
    websocket->connection->linger = true; /* they may still be sending what we no longer want */
    MHD_upgrade_action(websocket->upgrade, MHD_UPGRADE_ACTION_CLOSE);
    server->mhd_waits = true;
}

/* --- reading and writing ------------------------------------------------------------------------------------------ */

static ssize_t on_recv(wslay_event_context_ptr wslay, uint8_t *at, size_t room, int flags, void *context)
{
    struct websocket *websocket = context;
    size_t early = websocket->early_bytes - websocket->early_taken;

    (void)flags;
    if (early > 0) {
        size_t bytes = early < room ? early : room;
        memcpy(at, websocket->early + websocket->early_taken, bytes);
        websocket->early_taken += bytes;
        return (ssize_t)bytes;
    }
    ssize_t bytes = -1;
    if (websocket->read_bytes >= READ_BYTES_PER_TURN)
        errno = EAGAIN;
    else
        bytes = recv(websocket->watch.fd, at, room, MSG_DONTWAIT);
    if (bytes > 0) {
        websocket->read_bytes += (size_t)bytes;
        websocket->heard_us = websocket->server->now_us;
        websocket->pinged = false;
        return bytes;
    }
    bool later = bytes < 0 && (errno == EAGAIN || errno == EINTR);
    wslay_event_set_error(wslay, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    return -1;
}

static ssize_t on_send(wslay_event_context_ptr wslay, const uint8_t *at, size_t bytes, int flags, void *context)
{
    struct websocket *websocket = context;
    int more = flags & WSLAY_MSG_MORE ? MSG_MORE : 0;
    ssize_t sent = send(websocket->watch.fd, at, bytes, MSG_DONTWAIT | MSG_NOSIGNAL | more);

    if (sent < 0) {
        bool later = errno == EAGAIN || errno == EINTR;
        wslay_event_set_error(wslay, later ? WSLAY_ERR_WOULDBLOCK : WSLAY_ERR_CALLBACK_FAILURE);
    }
    return sent;
}

static void begin_close(struct websocket *websocket, int code, struct text reason)
{
    if (websocket->gone || websocket->code != 0)
        return;
    if (reason.bytes > CLOSE_REASON_BYTES_MAX || !text_is_utf8(reason))
        reason.bytes = 0;
    /* fails when they closed first */
    if (wslay_event_queue_close(websocket->wslay, (uint16_t)code, (const uint8_t *)reason.at, reason.bytes) == 0)
        websocket->code = code;
}

static void on_message(wslay_event_context_ptr wslay, const struct wslay_event_on_msg_recv_arg *message, void *context)
{
    struct websocket *websocket = context;
    const struct websocket_events *events = websocket->events;
    struct text text = { message->msg != NULL ? (const char *)message->msg : "", message->msg_length };

    (void)wslay;
    if (wslay_is_ctrl_frame(message->opcode) || websocket->code != 0)
        return;
    void (*take)(struct websocket *, struct text, void *) =
        message->opcode == WSLAY_TEXT_FRAME ? events->text : events->binary;
    if (take != NULL)
        take(websocket, text, websocket->context);
    else
        begin_close(websocket, UNSUPPORTED, TEXT("this kind of message is not taken here"));
}

/* Sends what can be sent, then sees what there is to wait for. */
static void go_on(struct websocket *websocket)
{
    wslay_event_context_ptr wslay = websocket->wslay;
    struct http_server *server = websocket->server;

    if (wslay_event_get_queued_msg_count(wslay) > QUEUED_FRAMES_MAX)
        begin_close(websocket, TRY_LATER, TEXT("too much is waiting to be sent"));
    bool sound = wslay_event_send(wslay) == 0;
    atomic_store(&websocket->queued_bytes, wslay_event_get_queued_msg_length(wslay));
    bool reads = wslay_event_want_read(wslay), writes = wslay_event_want_write(wslay);
    if (!sound || (!reads && !writes)) {
        finish(websocket);
        return;
    }
    if (websocket->close_by_us == 0 && (websocket->code != 0 || !reads)) {
        websocket->close_by_us = server->now_us + CLOSE_MS * 1000;
        due_by(server, websocket->close_by_us);
    }
    uint32_t wanted = (reads ? EPOLLIN : 0u) | (writes ? EPOLLOUT : 0u);
    if (wanted != websocket->wanted) {
        struct epoll_event event = { .events = wanted, .data.ptr = &websocket->watch };
        epoll_ctl(server->epoll_fd, EPOLL_CTL_MOD, websocket->watch.fd, &event);
        websocket->wanted = wanted;
    }
}

static void is_ready(void *context)
{
    struct websocket *websocket = context;

    websocket->read_bytes = 0;
    if (wslay_event_want_read(websocket->wslay) && wslay_event_recv(websocket->wslay) != 0)
        finish(websocket);
    else
        go_on(websocket);
}

/* libmicrohttpd has sent the 101 and hands over the socket; `early` is what the client has sent since. */
static void upgraded(void *cls, struct MHD_Connection *mhd, void *request, const char *early, size_t early_bytes,
                     int fd, struct MHD_UpgradeResponseHandle *upgrade)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_recv,
        .send_callback = on_send,
        .on_msg_recv_callback = on_message,
    };
    struct websocket *websocket = cls;
    struct http_server *server = websocket->server;

    (void)mhd;
    (void)request;
    if (wslay_event_context_server_init(&websocket->wslay, &callbacks, websocket) != 0)
        abort(); /* out of memory */
    wslay_event_config_set_max_recv_msg_length(websocket->wslay, websocket->events->message_bytes_max);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    connection_enter(websocket->connection, HTTP_UNBOUND);
    exchange_report(websocket->connection->exchange, 101);
    websocket->upgrade = upgrade;
    websocket->heard_us = server->now_us;
    websocket->next = server->websockets;
    if (server->websockets != NULL)
        server->websockets->previous = websocket;
    server->websockets = websocket;
    due_by(server, server->now_us + websocket->events->idle_ms_max * 1000 / 2);
    websocket->watch = (struct http_watch){ .fd = fd, .ready = is_ready, .context = websocket };
    websocket->wanted = EPOLLIN;
    websocket->events->opened(websocket, websocket->context);
    if (!server_epoll_add(server, &websocket->watch, EPOLLIN, NULL)) {
        finish(websocket);
        return;
    }
    if (server->draining)
        begin_close(websocket, GOING_AWAY, TEXT("the server is stopping"));
    if (early_bytes > 0) {
        websocket->early = must_alloc(early_bytes);
        websocket->early_bytes = early_bytes;
        memcpy(websocket->early, early, early_bytes);
    }
    is_ready(websocket);
}

/* --- from any thread ---------------------------------------------------------------------------------------------- */

static void run_job(struct http_server *server, struct http_job *job)
{
    struct websocket_job *self = (struct websocket_job *)job;
    struct websocket *websocket = self->websocket;

    (void)server;
    atomic_fetch_sub(&websocket->posted_bytes, self->bytes);
    if (!websocket->gone && websocket->upgrade != NULL) {
        if (self->code != 0)
            begin_close(websocket, self->code, (struct text){ self->at, self->bytes });
        else
            wslay_event_queue_msg(websocket->wslay, &(struct wslay_event_msg){ .opcode = WSLAY_TEXT_FRAME,
                                                                               .msg = (const uint8_t *)self->at,
                                                                               .msg_length = self->bytes });
        go_on(websocket);
    }
    unreference(websocket);
    free(self);
}

static void post(struct websocket *websocket, int code, struct text text)
{
    struct websocket_job *job = must_alloc(sizeof(*job) + text.bytes);

    job->job.run = run_job;
    job->websocket = websocket;
    job->code = code;
    job->bytes = text.bytes;
    if (text.bytes > 0)
        memcpy(job->at, text.at, text.bytes);
    atomic_fetch_add(&websocket->references, 1);
    atomic_fetch_add(&websocket->posted_bytes, text.bytes);
    server_post(websocket->server, &job->job);
}

void websocket_send_text(struct websocket *websocket, struct text message)
{
    size_t waiting = atomic_load(&websocket->posted_bytes) + atomic_load(&websocket->queued_bytes);

    if (atomic_load(&websocket->overflowed))
        return;
    if (waiting + message.bytes <= websocket->events->queued_bytes_max)
        post(websocket, 0, message);
    else if (!atomic_exchange(&websocket->overflowed, true))
        post(websocket, TRY_LATER, TEXT("too much is waiting to be sent"));
}

void websocket_close(struct websocket *websocket, int code, const char *reason)
{
    post(websocket, code, reason != NULL ? text_of(reason) : TEXT(""));
}

/* --- timers ------------------------------------------------------------------------------------------------------- */

static void check(struct websocket *websocket)
{
    struct http_server *server = websocket->server;
    int64_t idle_us = websocket->events->idle_ms_max * 1000;
    int64_t silent_us = server->now_us - websocket->heard_us;

    if (websocket->close_by_us != 0) {
        if (websocket->close_by_us <= server->now_us)
            finish(websocket);
        else
            due_by(server, websocket->close_by_us);
        return;
    }
    if (silent_us >= idle_us) {
        begin_close(websocket, GOING_AWAY, TEXT("nothing was heard for too long"));
    } else if (silent_us >= idle_us / 2 && !websocket->pinged) {
        websocket->pinged = true;
        wslay_event_queue_msg(websocket->wslay, &(struct wslay_event_msg){ .opcode = WSLAY_PING });
    }
    due_by(server, websocket->heard_us + (websocket->pinged ? idle_us : idle_us / 2));
    go_on(websocket);
}

int64_t websockets_check(struct http_server *server)
{
    if (server->websockets == NULL || server->websockets_due_us > server->now_us)
        return server->websockets != NULL ? server->websockets_due_us : INT64_MAX;
    server->websockets_due_us = INT64_MAX;
    for (struct websocket *websocket = server->websockets, *next; websocket != NULL; websocket = next) {
        next = websocket->next;
        check(websocket);
    }
    return server->websockets_due_us;
}

void websockets_close_all(struct http_server *server, bool at_once)
{
    for (struct websocket *websocket = server->websockets, *next; websocket != NULL; websocket = next) {
        next = websocket->next;
        begin_close(websocket, GOING_AWAY, TEXT("the server is stopping"));
        if (at_once)
            finish(websocket);
        else
            go_on(websocket);
    }
}
