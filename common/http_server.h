/* http_server.h: HTTP/1.1 on libmicrohttpd: a route table, answers now or later from any thread, WebSocket by libwslay.
 *
 * One loop thread runs everything: libmicrohttpd's epoll, the deadlines, and whatever else the owner adds
 * (http_server_watch).  A route's handler runs on it when the whole body is there and must not block: it either
 * answers, or keeps the exchange and answers later from any thread.  Each exchange must be answered exactly once; the
 * server frees it.
 *
 * What libmicrohttpd leaves to us is done here: an absolute deadline per request (head and body; 408), refusal of
 * duplicate or conflicting Content-Length (400), 413 before the body is read, a connection limit per address (closed)
 * and in all (waits to be accepted), suspended connections whose client left, and drain (stop accepting, wait for
 * answers, answer the rest 503, stop).  The head of a request has at most 8 KiB and 100 fields (431), its query 100
 * parameters (414). */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

struct http_server;
struct http_exchange;       /* one request and its answer */
struct websocket;

struct http_route {
    const char *method;         /* NULL ends a table; a known path with another method is answered 405 with Allow */
    const char *path;           /* "/api/v1/calls/{id}": {name} matches one segment */
    void (*handle)(struct http_exchange *exchange, void *context);
    size_t body_bytes_max;      /* larger is answered 413 before it is read */
    /* not NULL: the route is a WebSocket; what is no proper upgrade gets 426, of the others `handle` decides, by
     * http_accept_websocket() or by an ordinary answer */
    const struct websocket_events *websocket;
};

#define HTTP_SMALL_BODY_BYTES (16 * 1024)
#define HTTP_ROUTE_NONE "none"
#define HTTP_STATUS_CLIENT_LEFT 499

struct http_server_settings {
    const char *listen;                 /* "0.0.0.0:5000"; port 0 picks one */
    int64_t connections_max;            /* in all */
    int64_t connections_per_address_max;
    int64_t request_deadline_ms;        /* from the first byte of a request to its last; also idle keep-alive */
    int64_t answer_deadline_ms;         /* a kept exchange nobody answered by then gets 503 */
    /* larger bodies held at once, as much of them as has come; beyond it 503 with Retry-After.  Small ones are limited by
     * the connections, and so are let in whatever else is under way */
    size_t in_flight_bytes_max;
    /* called for each request's final status, on the loop thread; may be NULL (metrics and log).  `route` is the
     * route's path, or HTTP_ROUTE_NONE; a client that left before there was an answer gives HTTP_STATUS_CLIENT_LEFT */
    void (*on_answer)(void *context, const char *route, int status, int64_t took_us);
    void *context;                      /* given to on_answer and to handlers */
};

/* `routes` must live as long as the server. */
struct http_server *http_server_start(const struct http_server_settings *settings, const struct http_route *routes,
                                      struct problem *why);
uint16_t http_server_port(const struct http_server *server);
/* Calls `ready` on the loop thread whenever `fd` is readable (level-triggered).  Any thread. */
bool http_server_watch(struct http_server *server, int fd, void (*ready)(void *context), void *context,
                       struct problem *why);
/* Stops accepting at once; open exchanges have until `deadline_ms` to be answered, then get 503.  Blocks until done and
 * frees the server; not from the loop thread.  An exchange that its owner still keeps then may be answered later, to
 * nobody: for its sake the server's memory stays. */
void http_server_drain(struct http_server *server, int64_t deadline_ms);

/* --- a handler's view; views live until the exchange is answered -------------------------------------------------- */
struct text http_body(const struct http_exchange *exchange);
struct text http_header(const struct http_exchange *exchange, const char *name); /* absent if missing; the first */
const char *http_path(const struct http_exchange *exchange);                        /* as sent, without query */
const char *http_url(const struct http_exchange *exchange);                         /* as sent: path and query, raw */
const char *http_path_value(const struct http_exchange *exchange, const char *name);
const char *http_query_value(const struct http_exchange *exchange, const char *name); /* decoded; NULL when missing */
const char *http_method(const struct http_exchange *exchange);
const char *http_peer(const struct http_exchange *exchange);                    /* the address, without port */
void *http_context(const struct http_exchange *exchange);                           /* the server's, as handlers get it */
struct arena *http_arena(struct http_exchange *exchange);                           /* freed with the exchange */
bool http_client_left(const struct http_exchange *exchange);                        /* nobody is listening any more */

struct http_answer_header {
    const char *name;           /* NULL ends a list */
    const char *value;
};
/* Answers; content is copied.  `headers` may be NULL.  Any thread. */
void http_answer(struct http_exchange *exchange, int status, const char *content_type, struct text body,
                 const struct http_answer_header *headers);
/* Answers with `bytes` of an open file from `offset` on; takes `fd`.  It is read in pieces while it is sent, on the loop
 * thread, and the request's deadline begins anew with each, so only a client that stops taking them is left. */
void http_answer_file(struct http_exchange *exchange, int status, const char *content_type, int fd, int64_t offset,
                      int64_t bytes, const struct http_answer_header *headers);
/* Answers with `bytes` that come piece by piece, of which `first` is there.  Whenever the client has taken all there is,
 * `more` is called on the loop thread: without blocking it has the next piece made, from `offset` of the answer on, and
 * one http_stream_give() follows, on any thread.  A piece must live until the next call of `more`, or of `done`, which
 * is the last, and is not called while a piece is being made.  The deadline is as for a file. */
struct http_stream;
struct http_stream_source {
    void (*more)(void *context, struct http_stream *stream, int64_t offset);
    void (*done)(void *context);
    void *context;
};
void http_answer_stream(struct http_exchange *exchange, int status, const char *content_type, int64_t bytes,
                        struct text first, const struct http_stream_source *source,
                        const struct http_answer_header *headers);
/* Absent: there is no more to be had, and the connection ends in the middle of the answer. */
void http_stream_give(struct http_stream *stream, struct text piece);
/* RFC 9457 problem details: {"type","title","status","detail","pointer"?}; `detail` is a sentence, `pointer` may be
 * NULL. */
void http_answer_problem(struct http_exchange *exchange, int status, const char *detail, const char *pointer);

/* --- WebSocket (RFC 6455).  Events are called on the loop thread. ------------------------------------------------- */
struct websocket_events {
    void (*opened)(struct websocket *websocket, void *context);
    void (*text)(struct websocket *websocket, struct text message, void *context);      /* whole, valid UTF-8 */
    void (*binary)(struct websocket *websocket, struct text message, void *context);
    void (*closed)(struct websocket *websocket, int code, void *context);               /* exactly once, last */
    size_t message_bytes_max;       /* larger: close 1009 */
    size_t queued_bytes_max;        /* a reader slower than this is closed with 1013 */
    int64_t idle_ms_max;            /* pinged at half of it, closed with 1001 at the end */
};
/* Answers the upgrade; `context` is given to the events. False when the request is no proper upgrade (then answer 426).
 * When the client leaves before the upgrade is done, `closed` comes without `opened`, with 1006. */
bool http_accept_websocket(struct http_exchange *exchange, const struct websocket_events *events, void *context);
/* Any thread while between opened and closed. */
void websocket_send_text(struct websocket *websocket, struct text message);
void websocket_close(struct websocket *websocket, int code, const char *reason);
