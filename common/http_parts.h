/* http_parts.h: what the files of the HTTP server share; nobody else includes it.
 *
 *     http_server.c       start, the loop, jobs from other threads, drain
 *     http_connections.c  deadlines, refusals outside libmicrohttpd, clients that left, lingering close
 *     http_requests.c     libmicrohttpd's callbacks: a request from its first line to its end
 *     http_exchange.c     the handler's view of a request, and its answer
 *     http_routes.c       which route a path belongs to
 *     websocket.c         what becomes of a connection after the upgrade
 *
 * Threads: everything here runs on the loop thread, unless it says "any thread".
 *
 * Life of an exchange: made at the request line, freed when libmicrohttpd says the request is over.  While it is kept
 * its connection is suspended, and libmicrohttpd neither touches nor frees a suspended connection: so an exchange and
 * all views of it live until it is answered, whatever client, deadline or drain do meanwhile. */
#pragma once

#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdatomic.h>

#include "common/form.h"
#include "common/http_server.h"

#define HTTP_HEAD_BYTES_MAX (8 * 1024)          /* request line and header fields; more is answered 431 */
#define HTTP_HEADERS_MAX 100
#define HTTP_PARAMETERS_MAX 100                 /* of the query; more are answered 414 */
/* libmicrohttpd's memory for one connection: the head, 56 bytes for each field and parameter, and the head of the answer */
#define HTTP_CONNECTION_POOL_BYTES (16 * 1024)
#define HTTP_ARENA_BYTES_MAX (64 * 1024 * 1024)
#define HTTP_PATH_SEGMENTS_MAX 16

struct http_connection;
struct http_router;

/* A piece of work for the loop thread, handed over by any thread. */
struct http_job {
    struct http_job *next;
    void (*run)(struct http_server *server, struct http_job *job);
};

/* A file descriptor in the loop's epoll; what epoll's `data.ptr` points to. */
struct http_watch {
    int fd;
    void (*ready)(void *context);
    void *context;
    struct http_watch *next;        /* of those that the server frees */
};

struct http_list {
    struct http_connection *first, *last;
};

/* Where a connection stands; each phase is one list.  Within a list all deadlines are equally long, so its first is the
 * next. */
enum http_phase {
    HTTP_RECEIVING,     /* idle, or a request is coming in, or its answer is going out: request_deadline_ms */
    HTTP_KEPT,          /* suspended, the handler's owner will answer: answer_deadline_ms */
    HTTP_UNBOUND,       /* a WebSocket, or kept beyond the deadline and no longer listened to: no deadline here */
    HTTP_PHASES
};

struct http_connection {
    struct http_server *server;
    struct MHD_Connection *mhd;
    struct http_connection *previous, *next;
    struct http_exchange *exchange;         /* the request under way, or NULL */
    enum http_phase phase;
    int64_t deadline_us;
    int fd;
    bool used;                              /* a request line came already */
    bool sending;                           /* an answer is queued */
    bool linger;                            /* the client may still be sending: see connection_linger() */
    char peer[INET6_ADDRSTRLEN];            /* made when asked for */
};

struct http_path_values {
    size_t count;
    struct {
        struct text name;       /* in the route's path */
        const char *value;      /* decoded, in the exchange's arena */
    } at[HTTP_PATH_SEGMENTS_MAX];
};

enum http_progress { HTTP_HEAD, HTTP_BODY, HTTP_HANDED_OVER };

struct http_exchange {
    struct http_job answer_job;
    struct http_exchange *next_spare;
    struct http_connection *connection;
    const struct http_route *route;         /* NULL until one was found */
    enum http_progress progress;
    int64_t started_us;

    /* the request */
    char *target;                           /* as sent; followed, when it has a query, by a copy without */
    size_t target_room;
    const char *path;
    const char *method;                     /* libmicrohttpd's */
    const char *version;                    /* libmicrohttpd's */
    char *body;
    size_t body_bytes, body_room;
    size_t body_bytes_max;                  /* Content-Length, or the route's limit when the body is chunked */
    size_t counted_bytes;                   /* what it has in the server's in_flight_bytes */
    struct arena *arena;                    /* made when asked for */
    struct http_path_values path_values;
    struct form *query;                     /* made when asked for */

    /* the answer */
    int status;
    struct MHD_Response *response;
    bool answered_at_once;                  /* from inside its handler: no need to suspend */
    bool reported;
    atomic_bool client_left;
    struct websocket *websocket;            /* accepted */
};

struct http_server {
    struct http_server_settings settings;
    struct http_router *router;
    struct MHD_Daemon *daemon;
    uint16_t port;
    int epoll_fd;
    int wake_fd;
    struct http_watch mhd_watch, wake_watch;
    pthread_t thread;

    pthread_mutex_t jobs_lock;              /* guards the four below */
    struct http_job *first_job, *last_job;
    bool asleep;                            /* the loop waits and has to be woken for a job */
    struct http_watch *watches;

    /* the loop's own */
    int64_t now_us;                         /* since this turn began */
    bool mhd_waits;                         /* libmicrohttpd was told something that its epoll does not know */
    struct http_exchange *handling;         /* whose handler is running */
    struct http_list phases[HTTP_PHASES];
    size_t connections;
    int64_t clients_checked_us;
    size_t in_flight_bytes;                 /* of bodies beyond HTTP_SMALL_BODY_BYTES */
    struct http_exchange *spare;
    size_t spares;
    struct http_linger *first_linger, *last_linger;
    size_t lingers;
    struct websocket *websockets;
    int64_t websockets_due_us;              /* no WebSocket's timer ends before it */
    bool draining;
    int64_t drain_deadline_us;
    bool drain_forced;
    struct http_server *next_undead;
};

/* --- http_server.c ------------------------------------------------------------------------------------------------ */
/* Runs `job` on the loop thread, soon.  Any thread. */
void server_post(struct http_server *server, struct http_job *job);
bool server_is_loop_thread(const struct http_server *server);
bool server_epoll_add(struct http_server *server, struct http_watch *watch, uint32_t events, struct problem *why);

/* --- http_connections.c ------------------------------------------------------------------------------------------- */
void connection_changed(void *cls, struct MHD_Connection *mhd, void **socket_context,
                        enum MHD_ConnectionNotificationCode change);
struct http_connection *connection_of(struct MHD_Connection *mhd);
/* Moves it to the end of the phase's list with a fresh deadline. */
void connection_enter(struct http_connection *connection, enum http_phase phase);
/* Writes an answer past libmicrohttpd, which cannot give one in the middle of a request.  It must end then. */
void connection_refuse(struct http_connection *connection, int status, const char *detail);
/* Ends what is overdue; gives when to look again. */
int64_t connections_check(struct http_server *server);
void connections_stop_idle(struct http_server *server);     /* drain begins */
void connections_stop_all(struct http_server *server);      /* drain is over */
void lingers_free(struct http_server *server);

/* --- http_requests.c ---------------------------------------------------------------------------------------------- */
void *request_begin(void *cls, const char *target, struct MHD_Connection *mhd);
enum MHD_Result request_go_on(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_bytes, void **context);
void request_end(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how);
/* Gives the queued answer to libmicrohttpd. */
enum MHD_Result exchange_send(struct http_exchange *exchange);
/* Tells on_answer, once for an exchange. */
void exchange_report(struct http_exchange *exchange, int status);
void exchange_release(struct http_exchange *exchange);
void exchanges_free(struct http_server *server);

/* --- http_exchange.c ---------------------------------------------------------------------------------------------- */
/* Hands in the answer; takes over `response`.  Any thread. */
void exchange_answer(struct http_exchange *exchange, int status, struct MHD_Response *response);
/* Any thread. */
struct MHD_Response *response_new(const char *content_type, struct text body, const struct http_answer_header *headers);
struct MHD_Response *response_problem(int status, const char *detail, const char *pointer,
                                      const struct http_answer_header *headers);
void problem_print(struct buf *out, int status, const char *detail, const char *pointer);

/* --- http_routes.c ------------------------------------------------------------------------------------------------ */
enum http_found { HTTP_FOUND, HTTP_NO_PATH, HTTP_NO_METHOD, HTTP_BAD_PATH };
#define HTTP_ALLOW_BYTES 64
/* `routes` must live as long as the router. */
struct http_router *router_new(const struct http_route *routes, struct problem *why);
void router_free(struct http_router *router);
/* HTTP_FOUND fills exchange->route and its path values; HTTP_NO_METHOD fills `ret_allow`. */
enum http_found router_find(const struct http_router *router, struct http_exchange *exchange,
                            char ret_allow[HTTP_ALLOW_BYTES]);

/* --- websocket.c -------------------------------------------------------------------------------------------------- */
bool websocket_is_asked_for(const struct http_exchange *exchange);
/* The exchange ended; tells `closed` when the upgrade never came to be. */
void websocket_abandon(struct websocket *websocket);
/* Pings, closes what is idle; gives when to look again. */
int64_t websockets_check(struct http_server *server);
void websockets_close_all(struct http_server *server, bool at_once);
