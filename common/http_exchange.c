/* http_exchange.c: what a handler sees of a request, and the making of its answer.
 *
 * Everything here may run on any thread: an exchange has one owner at a time, and libmicrohttpd leaves the headers of a
 * suspended connection alone. */
#include "common/http_parts.h"

#include <arpa/inet.h>
#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"

#define PROBLEM_BYTES_MAX 4096
#define FILE_PIECE_BYTES (64 * 1024)

struct text http_body(const struct http_exchange *exchange)
{
    return exchange->body != NULL ? (struct text){ exchange->body, exchange->body_bytes } : TEXT("");
}

struct text http_header(const struct http_exchange *exchange, const char *name)
{
    struct text value = { NULL, 0 };

    if (MHD_lookup_connection_value_n(exchange->connection->mhd, MHD_HEADER_KIND, name, strlen(name), &value.at,
                                      &value.bytes) != MHD_YES)
        return (struct text){ NULL, 0 };
    return value.at != NULL ? value : TEXT("");
}

const char *http_path(const struct http_exchange *exchange)
{
    return exchange->path;
}

const char *http_url(const struct http_exchange *exchange)
{
    return exchange->target;
}

const char *http_method(const struct http_exchange *exchange)
{
    return exchange->method;
}

void *http_context(const struct http_exchange *exchange)
{
    return exchange->connection->server->settings.context;
}

const char *http_path_value(const struct http_exchange *exchange, const char *name)
{
    for (size_t i = 0; i < exchange->path_values.count; i++) {
        if (text_is(exchange->path_values.at[i].name, name))
            return exchange->path_values.at[i].value;
    }
    return NULL;
}

/* The query is read when it is first asked for; one that cannot be read has no values. */
const char *http_query_value(const struct http_exchange *exchange, const char *name)
{
    struct http_exchange *self = (struct http_exchange *)exchange;
    const char *query = strchr(exchange->target, '?');

    if (query == NULL)
        return NULL;
    if (self->query == NULL) {
        self->query = arena_alloc(http_arena(self), sizeof(*self->query));
        if (!form_read(text_of(query + 1), self->arena, self->query, NULL))
            self->query->count = 0;
    }
    return form_get(self->query, name);
}

const char *http_peer(const struct http_exchange *exchange)
{
    static const uint8_t v4_in_v6[12] = { [10] = 0xFF, [11] = 0xFF };
    struct http_connection *connection = exchange->connection;

    if (connection->peer[0] != '\0')
        return connection->peer;
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection->mhd, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    const void *bytes = NULL;
    int family = address != NULL ? address->sa_family : AF_UNSPEC;
    if (family == AF_INET)
        bytes = &((const struct sockaddr_in *)(const void *)address)->sin_addr;
    if (family == AF_INET6) {
        const struct in6_addr *v6 = &((const struct sockaddr_in6 *)(const void *)address)->sin6_addr;
        bytes = v6;
        if (memcmp(v6, v4_in_v6, sizeof(v4_in_v6)) == 0) {
            bytes = v6->s6_addr + sizeof(v4_in_v6);
            family = AF_INET;
        }
    }
    if (bytes != NULL)
        inet_ntop(family, bytes, connection->peer, sizeof(connection->peer));
    return connection->peer;
}

struct arena *http_arena(struct http_exchange *exchange)
{
    if (exchange->arena == NULL)
        exchange->arena = arena_new(HTTP_ARENA_BYTES_MAX);
    return exchange->arena;
}

bool http_client_left(const struct http_exchange *exchange)
{
    return atomic_load_explicit(&exchange->client_left, memory_order_relaxed);
}

static void response_add_header(struct MHD_Response *response, const char *name, const char *value)
{
    /* libmicrohttpd refuses what would break out of its line */
    if (value[0] != '\0' && MHD_add_response_header(response, name, value) != MHD_YES)
        log_error("left out a header of an answer: it is not a valid one", LOG_TEXT("header", name));
}

/* `response` NULL ends the process. */
static struct MHD_Response *response_describe(struct MHD_Response *response, const char *content_type,
                                              const struct http_answer_header *headers)
{
    if (response == NULL) {
        log_error("could not make an answer: out of memory");
        abort();
    }
    if (content_type != NULL)
        response_add_header(response, "Content-Type", content_type);
    for (; headers != NULL && headers->name != NULL; headers++)
        response_add_header(response, headers->name, headers->value);
    return response;
}

struct MHD_Response *response_new(const char *content_type, struct text body, const struct http_answer_header *headers)
{
    return response_describe(
        MHD_create_response_from_buffer(body.bytes, (void *)(uintptr_t)body.at, MHD_RESPMEM_MUST_COPY), content_type,
        headers);
}

void problem_print(struct buf *out, int status, const char *detail, const char *pointer)
{
    buf_add_string(out, "{");
    json_name(out, "type");
    json_write_string(out, "about:blank");
    json_name(out, "title");
    json_write_string(out, MHD_get_reason_phrase_for((unsigned int)status));
    json_name(out, "status");
    json_write_integer(out, status);
    json_name(out, "detail");
    json_write_string(out, detail);
    if (pointer != NULL) {
        json_name(out, "pointer");
        json_write_string(out, pointer);
    }
    buf_add_string(out, "}\n");
}

struct MHD_Response *response_problem(int status, const char *detail, const char *pointer,
                                      const struct http_answer_header *headers)
{
    struct buf out;

    buf_init(&out, PROBLEM_BYTES_MAX);
    problem_print(&out, status, detail, pointer);
    if (out.overflowed) {
        buf_clear(&out);
        problem_print(&out, status, "the explanation is too long to be shown", NULL);
    }
    struct MHD_Response *response = response_new("application/problem+json", buf_text(&out), headers);
    buf_done(&out);
    return response;
}

/* From inside its own handler the answer stays with the exchange, and request_go_on() sends it without a detour. */
void exchange_answer(struct http_exchange *exchange, int status, struct MHD_Response *response)
{
    struct http_server *server = exchange->connection->server;

    assert(exchange->status == 0 && exchange->progress == HTTP_HANDED_OVER); /* answered once */
    exchange->status = status;
    exchange->response = response;
    if (server_is_loop_thread(server) && server->handling == exchange)
        exchange->answered_at_once = true;
    else
        server_post(server, &exchange->answer_job);
}

void http_answer(struct http_exchange *exchange, int status, const char *content_type, struct text body,
                 const struct http_answer_header *headers)
{
    exchange_answer(exchange, status, response_new(content_type, body, headers));
}

/* --- files -------------------------------------------------------------------------------------------------------- */

struct sent_file {
    int fd;
    int64_t offset;
    struct http_connection *connection;
};

static ssize_t sent_file_read(void *cls, uint64_t at, char *ret, size_t bytes_max)
{
    struct sent_file *file = cls;

    if (file->connection->phase == HTTP_RECEIVING)
        connection_enter(file->connection, HTTP_RECEIVING);
    ssize_t bytes = pread(file->fd, ret, bytes_max, file->offset + (int64_t)at);
    return bytes > 0 ? bytes : MHD_CONTENT_READER_END_WITH_ERROR; /* the file is shorter than it was */
}

static void sent_file_free(void *cls)
{
    struct sent_file *file = cls;

    close(file->fd);
    free(file);
}

void http_answer_file(struct http_exchange *exchange, int status, const char *content_type, int fd, int64_t offset,
                      int64_t bytes, const struct http_answer_header *headers)
{
    struct sent_file *file = must_alloc(sizeof(*file));

    *file = (struct sent_file){ fd, offset, exchange->connection };
    struct MHD_Response *response = MHD_create_response_from_callback((uint64_t)bytes, FILE_PIECE_BYTES, sent_file_read,
                                                                      file, sent_file_free);
    exchange_answer(exchange, status, response_describe(response, content_type, headers));
}

/* --- pieces ------------------------------------------------------------------------------------------------------- */

struct http_stream {
    struct http_job given_job;
    struct http_connection *connection;
    struct http_stream_source source;
    struct text piece;
    size_t taken; /* of the piece */
};

static void piece_given(struct http_server *server, struct http_job *job)
{
    struct http_stream *stream = (struct http_stream *)job;

    if (server->drain_forced) /* the others were ended when this one could not be */
        stream->piece = (struct text){ NULL, 0 };
    connection_enter(stream->connection, HTTP_RECEIVING);
    MHD_resume_connection(stream->connection->mhd);
    server->mhd_waits = true;
}

void http_stream_give(struct http_stream *stream, struct text piece)
{
    stream->piece = piece;
    stream->taken = 0;
    server_post(stream->connection->server, &stream->given_job);
}

static ssize_t stream_read(void *cls, uint64_t at, char *ret, size_t bytes_max)
{
    struct http_stream *stream = cls;
    size_t left = stream->piece.bytes - stream->taken;
    size_t bytes = left < bytes_max ? left : bytes_max;

    if (stream->piece.at == NULL)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (bytes == 0) {
        MHD_suspend_connection(stream->connection->mhd);
        connection_enter(stream->connection, HTTP_UNBOUND); /* whoever makes the piece has limits of their own */
        stream->source.more(stream->source.context, stream, (int64_t)at);
        return 0;
    }
    if (stream->connection->phase == HTTP_RECEIVING)
        connection_enter(stream->connection, HTTP_RECEIVING);
    memcpy(ret, stream->piece.at + stream->taken, bytes);
    stream->taken += bytes;
    return (ssize_t)bytes;
}

static void stream_free(void *cls)
{
    struct http_stream *stream = cls;

    stream->source.done(stream->source.context);
    free(stream);
}

void http_answer_stream(struct http_exchange *exchange, int status, const char *content_type, int64_t bytes,
                        struct text first, const struct http_stream_source *source,
                        const struct http_answer_header *headers)
{
    struct http_stream *stream = must_alloc(sizeof(*stream));

    *stream = (struct http_stream){ .given_job.run = piece_given,
                                    .connection = exchange->connection,
                                    .source = *source,
                                    .piece = first };
    struct MHD_Response *response =
        MHD_create_response_from_callback((uint64_t)bytes, FILE_PIECE_BYTES, stream_read, stream, stream_free);
    exchange_answer(exchange, status, response_describe(response, content_type, headers));
}

void http_answer_problem(struct http_exchange *exchange, int status, const char *detail, const char *pointer)
{
    exchange_answer(exchange, status, response_problem(status, detail, pointer, NULL));
}
