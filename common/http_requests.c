/* http_requests.c: a request as libmicrohttpd tells of it: its first line, its head, its body in pieces, its end. */
#include "common/http_parts.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define BODY_ROOM_AT_FIRST  HTTP_SMALL_BODY_BYTES /* a larger Content-Length has to send bytes before it gets memory */
#define SPARE_EXCHANGES_MAX 128                   /* each keeps a body's room up to the above, and an arena's first chunk */

static const struct http_answer_header retry_soon[] = { { "Retry-After", "1" }, { NULL, NULL } };

/* --- life of an exchange ------------------------------------------------------------------------------------------ */

static void answer_arrived(struct http_server *server, struct http_job *job)
{
    struct http_exchange *exchange = (struct http_exchange *)job;
    struct http_connection *connection = exchange->connection;

    /* an answer that cannot be sent ends the connection: request_go_on() is called once more and says no */
    exchange_send(exchange);
    MHD_resume_connection(connection->mhd);
    server->mhd_waits = true;
}

static struct http_exchange *exchange_take(struct http_server *server)
{
    struct http_exchange *exchange = server->spare;

    if (exchange == NULL) {
        exchange = must_alloc(sizeof(*exchange));
        exchange->answer_job.run = answer_arrived;
        return exchange;
    }
    server->spare = exchange->next_spare;
    server->spares--;
    return exchange;
}

static void exchange_free(struct http_exchange *exchange)
{
    arena_free(exchange->arena);
    free(exchange->body);
    free(exchange->target);
    free(exchange);
}

void exchange_release(struct http_exchange *exchange)
{
    struct http_server *server = exchange->connection->server;

    server->in_flight_bytes -= exchange->counted_bytes;
    if (exchange->response != NULL)
        MHD_destroy_response(exchange->response);
    if (exchange->websocket != NULL)
        websocket_abandon(exchange->websocket);
    if (server->spares == SPARE_EXCHANGES_MAX) {
        exchange_free(exchange);
        return;
    }
    if (exchange->body_room > BODY_ROOM_AT_FIRST) {
        free(exchange->body);
        exchange->body = NULL;
        exchange->body_room = 0;
    }
    if (exchange->arena != NULL)
        arena_reset(exchange->arena);
    *exchange = (struct http_exchange){
        .answer_job.run = answer_arrived,
        .next_spare = server->spare,
        .target = exchange->target,
        .target_room = exchange->target_room,
        .body = exchange->body,
        .body_room = exchange->body_room,
        .arena = exchange->arena,
    };
    server->spare = exchange;
    server->spares++;
}

void exchanges_free(struct http_server *server)
{
    while (server->spare != NULL) {
        struct http_exchange *exchange = server->spare;
        server->spare = exchange->next_spare;
        exchange_free(exchange);
    }
}

void exchange_report(struct http_exchange *exchange, int status)
{
    const struct http_server_settings *settings = &exchange->connection->server->settings;

    if (exchange->reported)
        return;
    exchange->reported = true;
    if (settings->on_answer != NULL)
        settings->on_answer(settings->context, exchange->route != NULL ? exchange->route->path : HTTP_ROUTE_NONE,
                            status, monotonic_us() - exchange->started_us);
}

enum MHD_Result exchange_send(struct http_exchange *exchange)
{
    struct http_connection *connection = exchange->connection;
    struct MHD_Response *response = exchange->response;

    if (connection->server->draining && exchange->websocket == NULL)
        MHD_add_response_header(response, "Connection", "close");
    enum MHD_Result queued = MHD_queue_response(connection->mhd, (unsigned int)exchange->status, response);
    MHD_destroy_response(response);
    exchange->response = NULL;
    connection->sending = true;
    connection_enter(connection, HTTP_RECEIVING);
    return queued;
}

/* --- the head ----------------------------------------------------------------------------------------------------- */

/* What of the head decides where the body ends, and whether it is wanted. */
struct head {
    int fields;
    int hosts, lengths, codings;
    bool name_is_odd;
    struct text length, coding, expect;
};

static bool name_is(const char *name, size_t bytes, const char *wanted)
{
    return strncasecmp(name, wanted, bytes) == 0;
}

static enum MHD_Result head_note(void *context, enum MHD_ValueKind kind, const char *name, size_t name_bytes,
                                 const char *value, size_t value_bytes)
{
    struct head *head = context;
    struct text text = { value, value_bytes };

    (void)kind;
    head->fields++;
    /* "Content-Length : 5" is a length to some proxies and none to libmicrohttpd: a way to smuggle a request */
    if (name_bytes == 0 || name[name_bytes - 1] == ' ' || name[name_bytes - 1] == '\t')
        head->name_is_odd = true;
    if (name_bytes == 4 && name_is(name, 4, "Host")) {
        head->hosts++;
    } else if (name_bytes == 6 && name_is(name, 6, "Expect")) {
        head->expect = text;
    } else if (name_bytes == 14 && name_is(name, 14, "Content-Length")) {
        head->lengths++;
        head->length = text;
    } else if (name_bytes == 17 && name_is(name, 17, "Transfer-Encoding")) {
        head->codings++;
        head->coding = text;
    }
    return MHD_YES;
}

/* Always false, so that a check can end in `return refuse(…)`. */
static bool refuse_with(struct http_exchange *exchange, int status, const char *detail,
                        const struct http_answer_header *headers)
{
    exchange->status = status;
    exchange->response = response_problem(status, detail, NULL, headers);
    return false;
}

static bool refuse(struct http_exchange *exchange, int status, const char *detail)
{
    return refuse_with(exchange, status, detail, NULL);
}

static bool length_read(struct text length, uint64_t *ret)
{
    uint64_t value = 0;

    if (length.bytes == 0 || length.bytes > 18)
        return false;
    for (size_t i = 0; i < length.bytes; i++) {
        if (!isdigit((unsigned char)length.at[i]))
            return false;
        value = value * 10 + (uint64_t)(length.at[i] - '0');
    }
    *ret = value;
    return true;
}

/* Whatever is wrong here leaves open where the next request begins, so the connection ends with the answer. */
static bool framing_is_sound(struct http_exchange *exchange, const struct head *head, uint64_t *ret_length)
{
    bool is_1_1 = strcmp(exchange->version, "HTTP/1.1") == 0;
    const union MHD_ConnectionInfo *size =
        MHD_get_connection_info(exchange->connection->mhd, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);

    if (head->fields > HTTP_HEADERS_MAX || (size != NULL && size->header_size > HTTP_HEAD_BYTES_MAX))
        return refuse(exchange, 431, "the head of the request has more than 100 fields or 8 KiB");
    if (head->name_is_odd)
        return refuse(exchange, 400, "the name of a header field is empty or ends in a space");
    if (head->hosts > 1 || (is_1_1 && head->hosts == 0))
        return refuse(exchange, 400, "the request must have exactly one Host field");
    if (head->lengths > 1)
        return refuse(exchange, 400, "the request has more than one Content-Length");
    if (head->lengths > 0 && head->codings > 0)
        return refuse(exchange, 400, "the request has both a Content-Length and a Transfer-Encoding");
    if (head->lengths > 0 && !length_read(head->length, ret_length))
        return refuse(exchange, 400, "the Content-Length is not a number");
    if (head->codings > 1 || (head->codings > 0 && !is_1_1))
        return refuse(exchange, 400, "the Transfer-Encoding must be given once, and in HTTP/1.1");
    if (head->codings > 0 && (head->coding.bytes != 7 || strncasecmp(head->coding.at, "chunked", 7) != 0))
        return refuse(exchange, 400, "the only Transfer-Encoding understood is chunked");
    return true;
}

static bool target_is_sound(struct http_exchange *exchange, const char *url)
{
    size_t bytes = 0;

    if (exchange->target[0] != '/')
        return refuse(exchange, 400, "the request's target must be a path that begins with /");
    for (const char *at = exchange->target; *at != '\0'; at++, bytes++) {
        if (*at <= ' ' || *at > '~')
            return refuse(exchange, 400, "the request's target has a character that must be percent-encoded");
    }
#if MHD_VERSION < 0x01000000
    /* it ends the path at a U+0000 and goes on; the version stands one space behind the whole target.  1.0 refuses it
     * itself */
    if (exchange->version > url && (size_t)(exchange->version - url) != bytes + 1)
        return refuse(exchange, 400, "the request's target has a character that must be percent-encoded");
#endif
    (void)url;
    return true;
}

static bool route_is_found(struct http_exchange *exchange)
{
    char allow[HTTP_ALLOW_BYTES];

    switch (router_find(exchange->connection->server->router, exchange, allow)) {
    case HTTP_FOUND:
        return true;
    case HTTP_BAD_PATH:
        return refuse(exchange, 400, "the path has a broken percent-encoding, or one that is not UTF-8");
    case HTTP_NO_METHOD:
        return refuse_with(exchange, 405, "the path does not serve this method; Allow names those it does",
                           (const struct http_answer_header[]){ { "Allow", allow }, { NULL, NULL } });
    case HTTP_NO_PATH:
        break;
    }
    return refuse(exchange, 404, "there is nothing at this path");
}

/* Nothing is counted yet: who only says how much is to come takes the room of nobody. */
static bool body_is_welcome(struct http_exchange *exchange, const struct head *head, uint64_t length)
{
    struct http_server *server = exchange->connection->server;
    size_t bytes_max = exchange->route->body_bytes_max;

    if (head->expect.at != NULL && (head->expect.bytes != 12 || strncasecmp(head->expect.at, "100-continue", 12) != 0))
        return refuse(exchange, 417, "the only expectation understood is 100-continue");
    if (length > bytes_max || (head->codings > 0 && bytes_max == 0))
        return refuse(exchange, 413, "the body is larger than this path takes");
    exchange->body_bytes_max = head->codings > 0 ? bytes_max : length;
    if (length > HTTP_SMALL_BODY_BYTES && length > server->settings.in_flight_bytes_max - server->in_flight_bytes)
        return refuse_with(exchange, 503, "too much is being received at the moment", retry_soon);
    return true;
}

static enum MHD_Result request_head(struct http_exchange *exchange, const char *url)
{
    struct head head = { 0 };
    uint64_t length = 0;

    MHD_get_connection_values_n(exchange->connection->mhd, MHD_HEADER_KIND, head_note, &head);
    exchange->progress = HTTP_BODY;
    bool sound = framing_is_sound(exchange, &head, &length);
    if (sound && target_is_sound(exchange, url) && route_is_found(exchange) && body_is_welcome(exchange, &head, length))
        return MHD_YES;
    /* refused; libmicrohttpd closes after an answer given now, so without a body it waits for the end of the request */
    if (sound && length == 0 && head.codings == 0)
        return MHD_YES;
    exchange->connection->linger = true;
    return exchange_send(exchange);
}

/* --- the body and the end ----------------------------------------------------------------------------------------- */

static bool body_make_room(struct http_exchange *exchange, size_t more)
{
    struct http_server *server = exchange->connection->server;
    size_t need = exchange->body_bytes + more;

    if (need > HTTP_SMALL_BODY_BYTES) {
        if (need - exchange->counted_bytes > server->settings.in_flight_bytes_max - server->in_flight_bytes)
            return false;
        server->in_flight_bytes += need - exchange->counted_bytes;
        exchange->counted_bytes = need;
    }
    if (need < exchange->body_room) /* one stays for the terminator */
        return true;
    size_t room = exchange->body_room > 0 ? 2 * exchange->body_room : BODY_ROOM_AT_FIRST;
    if (room > exchange->body_bytes_max + 1)
        room = exchange->body_bytes_max + 1;
    exchange->body_room = room > need ? room : need + 1;
    exchange->body = must_realloc(exchange->body, exchange->body_room);
    return true;
}

static enum MHD_Result request_body(struct http_exchange *exchange, const char *upload, size_t bytes)
{
    int status = 0;

    if (exchange->response != NULL)
        return MHD_YES; /* refused at its head */
    if (bytes > exchange->body_bytes_max - exchange->body_bytes)
        status = 413;
    else if (!body_make_room(exchange, bytes))
        status = 503;
    if (status != 0) {
        exchange_report(exchange, status);
        connection_refuse(exchange->connection, status,
                          status == 413 ? "the body is larger than this path takes"
                                        : "too much is being received at the moment");
        return MHD_NO;
    }
    memcpy(exchange->body + exchange->body_bytes, upload, bytes);
    exchange->body_bytes += bytes;
    return MHD_YES;
}

static enum MHD_Result request_hand_over(struct http_exchange *exchange)
{
    static const struct http_answer_header upgrade[] = {
        { "Upgrade", "websocket" },
        { "Sec-WebSocket-Version", "13" },
        { NULL, NULL },
    };
    struct http_connection *connection = exchange->connection;
    struct http_server *server = connection->server;

    if (exchange->progress == HTTP_HANDED_OVER)
        return MHD_NO; /* its answer could not be sent */
    exchange->progress = HTTP_HANDED_OVER;
    if (exchange->response == NULL && exchange->route->websocket != NULL && !websocket_is_asked_for(exchange))
        refuse_with(exchange, 426, "this path is a WebSocket (RFC 6455)", upgrade);
    if (exchange->response != NULL)
        return exchange_send(exchange);
    if (exchange->body_room > 0)
        exchange->body[exchange->body_bytes] = '\0';
    server->handling = exchange;
    exchange->route->handle(exchange, server->settings.context);
    server->handling = NULL;
    /* `exchange` may have been answered by another thread by now, but answers are taken outside libmicrohttpd only */
    if (exchange->answered_at_once)
        return exchange_send(exchange);
    connection_enter(connection, HTTP_KEPT);
    MHD_suspend_connection(connection->mhd);
    return MHD_YES;
}

static size_t count_parameters(const char *query)
{
    size_t count = 0;

    for (const char *at = query; at != NULL; at = strchr(at + 1, '&'))
        count++;
    return count;
}

/* The only moment at which too many parameters can be answered: libmicrohttpd goes on to read them, and where its memory
 * ends says nothing and waits. */
static void refuse_parameters(struct http_connection *connection)
{
    exchange_report(connection->exchange, 414);
    connection_refuse(connection, 414, "the query has more than 100 parameters");
    shutdown(connection->fd, SHUT_RDWR);
}

void *request_begin(void *cls, const char *target, struct MHD_Connection *mhd)
{
    struct http_connection *connection = connection_of(mhd);
    struct http_exchange *exchange = exchange_take(cls);
    struct text whole = target != NULL ? text_of(target) : TEXT("");
    const char *query = strchr(whole.at, '?');
    size_t path_bytes = query != NULL ? (size_t)(query - whole.at) : 0;

    exchange->connection = connection;
    exchange->started_us = monotonic_us();
    connection->exchange = exchange;
    if (connection->used) /* else its time runs since it was accepted */
        connection_enter(connection, HTTP_RECEIVING);
    connection->used = true;
    if (whole.bytes + path_bytes + 2 > exchange->target_room) {
        exchange->target_room = whole.bytes + path_bytes + 2;
        exchange->target = must_realloc(exchange->target, exchange->target_room);
    }
    memcpy(exchange->target, whole.at, whole.bytes + 1);
    exchange->path = exchange->target;
    if (query != NULL) {
        char *path = exchange->target + whole.bytes + 1;
        memcpy(path, whole.at, path_bytes);
        path[path_bytes] = '\0';
        exchange->path = path;
    }
    if (count_parameters(query) > HTTP_PARAMETERS_MAX)
        refuse_parameters(connection);
    return exchange;
}

enum MHD_Result request_go_on(void *cls, struct MHD_Connection *mhd, const char *url, const char *method,
                              const char *version, const char *upload, size_t *upload_bytes, void **context)
{
    struct http_exchange *exchange = *context;

    (void)cls;
    (void)mhd;
    if (exchange->progress == HTTP_HEAD) {
        exchange->method = method;
        exchange->version = version;
        return request_head(exchange, url);
    }
    if (*upload_bytes > 0) {
        size_t bytes = *upload_bytes;
        *upload_bytes = 0;
        return request_body(exchange, upload, bytes);
    }
    return request_hand_over(exchange);
}

/* What libmicrohttpd answered by itself, or 499 when the client left before there was an answer. */
static int final_status(const struct http_exchange *exchange, struct MHD_Connection *mhd)
{
    if (exchange->status != 0)
        return exchange->status;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(mhd, MHD_CONNECTION_INFO_HTTP_STATUS);
    return info != NULL && info->http_status != 0 ? (int)info->http_status : HTTP_STATUS_CLIENT_LEFT;
}

/* libmicrohttpd may hold a lock here: nothing of it may be called but what only reads. */
void request_end(void *cls, struct MHD_Connection *mhd, void **context, enum MHD_RequestTerminationCode how)
{
    struct http_exchange *exchange = *context;

    (void)cls;
    (void)how;
    if (exchange == NULL)
        return;
    *context = NULL;
    struct http_connection *connection = exchange->connection;
    exchange_report(exchange, final_status(exchange, mhd));
    connection->exchange = NULL;
    connection->sending = false;
    exchange_release(exchange);
    connection_enter(connection, HTTP_RECEIVING);
}
