#include "ingest/api_writes.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/json.h"
#include "common/log.h"
#include "events.h"
#include "ingest/api_operations.h"
#include "ingest/api_query.h"
#include "ingest/replies.h"

#define EVENT_SOURCE "/ingest"

/* A request on its way from an API thread to the loop, where the door is. */
struct leaving {
    struct leaving *next;
    uint64_t ticket;
    char id[UUID_BYTES];
    struct buf line; /* the event */
    char key[EVENT_KEY_BYTES_MAX];
    size_t key_bytes;
};

struct api_writes {
    struct ingest *ingest;
    struct replies *replies;
    int wake_fd; /* something is leaving */
    pthread_mutex_t lock;
    struct leaving *first, **end; /* guarded by it */
};

/* --- the body -------------------------------------------------------------------------------------------- */

bool api_is_json(struct api_request *request)
{
    struct text type = http_header(request->exchange, "Content-Type");
    size_t bytes = sizeof("application/json") - 1;

    if (type.bytes >= bytes && strncasecmp(type.at, "application/json", bytes) == 0 &&
        (type.bytes == bytes || strchr("; \t", type.at[bytes])))
        return true;
    api_refuse(request, 415, "the body must be JSON, with the header \"Content-Type: application/json\"", NULL);
    return false;
}

bool api_body_read_(struct api_request *request, bool valid)
{
    struct problem why = { 0 };

    if (!api_no_parameters(http_url(request->exchange), request->arena, &why))
        api_refuse_query(request, &why);
    else if (!valid)
        api_refuse_body(request, request->why.text, request->why.pointer);
    else
        return true;
    return false;
}

void api_refuse_body(struct api_request *request, const char *detail, const char *pointer)
{
    api_send_problem(request->exchange, 422, detail, NULL, pointer);
}

/* --- to the door, on the loop ---------------------------------------------------------------------------- */

static void kept(struct parcel *parcel, enum kept how)
{
    struct api_writes *writes = parcel->source;
    uint64_t ticket = (uint64_t)(uintptr_t)parcel->asker;
    struct replies_waiter waiter;

    if (how != KEPT_NOT)
        replies_kept(writes->replies, ticket);
    else if (replies_take(writes->replies, ticket, &waiter))
        api_send_later(waiter.exchange, "this cannot be kept at the moment", DOOR_RETRY_AFTER_S);
}

static struct leaving *take_leaving(struct api_writes *writes)
{
    pthread_mutex_lock(&writes->lock);
    struct leaving *leaving = writes->first;
    if (leaving && !(writes->first = leaving->next))
        writes->end = &writes->first;
    pthread_mutex_unlock(&writes->lock);
    return leaving;
}

static void leaving_free(struct leaving *leaving)
{
    buf_done(&leaving->line);
    free(leaving);
}

static void hand_to_door(void *context)
{
    struct api_writes *writes = context;
    eventfd_t count;

    eventfd_read(writes->wake_fd, &count);
    for (struct leaving *leaving; (leaving = take_leaving(writes)); leaving_free(leaving)) {
        struct parcel *parcel = door_parcel(writes->ingest->door);
        parcel->topic = EVENT_API_REQUESTED.topic;
        parcel->key_bytes = leaving->key_bytes;
        memcpy(parcel->key, leaving->key, leaving->key_bytes);
        memcpy(parcel->id, leaving->id, sizeof(parcel->id));
        parcel->kept = kept;
        parcel->asker = (void *)(uintptr_t)leaving->ticket;
        parcel->source = writes;
        buf_add_text(&parcel->payload, buf_text(&leaving->line));
        door_keep(writes->ingest->door, parcel);
    }
}

static void leave(struct api_writes *writes, struct leaving *leaving)
{
    pthread_mutex_lock(&writes->lock);
    *writes->end = leaving;
    writes->end = &leaving->next;
    pthread_mutex_unlock(&writes->lock);
    eventfd_write(writes->wake_fd, 1);
}

/* --- the request ----------------------------------------------------------------------------------------- */

/* Printable ASCII; NULL: there is none.  False when it is refused. */
static bool read_key(struct api_request *request, const char **ret)
{
    struct text header = http_header(request->exchange, "Idempotency-Key");
    bool good = header.bytes > 0 && header.bytes <= IDEMPOTENCY_KEY_BYTES_MAX;

    *ret = NULL;
    if (!header.at)
        return true;
    for (size_t i = 0; good && i < header.bytes; i++)
        good = header.at[i] > ' ' && header.at[i] <= '~';
    if (good)
        *ret = arena_copy_text(request->arena, header);
    else
        api_refuse(request, 422,
                   "the header Idempotency-Key must have 1 to 255 printable characters, without blanks",
                   "Idempotency-Key");
    return good;
}

static void fingerprint_of(struct api_request *request, const char *about, char ret[2 * SHA256_BYTES + 1])
{
    struct text body = http_body(request->exchange);
    uint8_t hash[SHA256_BYTES];
    struct buf all;

    buf_init(&all, API_BODY_BYTES_MAX + 1024);
    buf_printf(&all, "%s\n%s\n", request->operation->id, about ? about : "");
    buf_add_text(&all, body);
    sha256(buf_text(&all), hash);
    hex_print(hash, sizeof(hash), ret);
    buf_done(&all);
}

static struct leaving *leaving_new(struct api_request *request, const struct replies_waiter *waiter, const char *about,
                                   const char *subject)
{
    const struct token *token = request->token;
    struct leaving *leaving = must_alloc(sizeof(*leaving));
    char at[TIME_BYTES], traceparent[TRACEPARENT_BYTES];
    const struct api_requested requested = {
        .operation = request->operation->id,
        .tenant = token->tenant,
        .role = token->role,
        .user_id = token->user_id[0] ? token->user_id : NULL,
        .token_id = token->id,
        .requested_at = time_print(now_us(), at),
        .about = about,
        .fingerprint = waiter->fingerprint,
        .body = http_body(request->exchange),
    };
    const struct event event = {
        .id = waiter->request_id,
        .source = EVENT_SOURCE,
        .subject = subject,
        .time = at,
        .correlation_id = subject,
        .traceparent = traceparent_next(NULL, traceparent),
    };

    memcpy(leaving->id, waiter->request_id, sizeof(leaving->id));
    leaving->key_bytes = strlen(subject);
    assert(leaving->key_bytes <= sizeof(leaving->key));
    memcpy(leaving->key, subject, leaving->key_bytes);
    buf_init(&leaving->line, (size_t)EVENT_API_REQUESTED.topic->message_bytes_max);
    event_write(&leaving->line, &event, &EVENT_API_REQUESTED, &requested);
    assert(!leaving->line.overflowed); /* what is escaped of a body doubles it at most */
    return leaving;
}

/* Who gives a key may have given it before.  True when the request is answered. */
static bool answer_recorded(struct api_request *request, const struct replies_waiter *mine)
{
    struct api_outcome outcome;

    enum api_found found = api_operation_find(request, mine->request_id, &outcome);
    if (found == API_RECORDED)
        api_send_outcome(request->exchange, mine->fingerprint, &outcome);
    return found != API_NOT_RECORDED;
}

void api_write(struct api_request *request, const char *subject)
{
    struct api_writes *writes = request->ingest->writes;
    const char *about = http_path_value(request->exchange, "id"), *key;
    struct replies_waiter mine = { .exchange = request->exchange };

    if (!read_key(request, &key))
        return;
    if (key)
        uuid_of(mine.request_id, "api", request->token->id, key, NULL);
    else
        uuid_random(mine.request_id);
    fingerprint_of(request, about, mine.fingerprint);
    if (key && answer_recorded(request, &mine))
        return;
    struct leaving *leaving = leaving_new(request, &mine, about, subject);
    /* from here on the request may be answered, and gone, at any moment */
    leaving->ticket = replies_expect(writes->replies, &mine);
    if (leaving->ticket) {
        leave(writes, leaving);
    } else {
        api_send_later(mine.exchange, "too many changes are waiting", API_BUSY_AGAIN_S);
        leaving_free(leaving);
    }
}

/* --- the outcome ----------------------------------------------------------------------------------------- */

static void answered(void *context, const struct replies_waiter *waiter, const struct api_answered *answer)
{
    (void)context;
    api_send_outcome(waiter->exchange, waiter->fingerprint,
                     &(struct api_outcome){ answer->fingerprint, (int)answer->status, answer->body });
}

static void answer_later(struct http_exchange *exchange, const char *request_id)
{
    const char *place = arena_printf(http_arena(exchange), "/api/v1/operations/%s", request_id);
    struct buf out;

    buf_init(&out, API_BODY_BYTES_MAX);
    buf_add_string(&out, "{\"data\":{");
    json_add_string(&out, "operation_id", request_id);
    json_add_string(&out, "state", "pending");
    buf_add_string(&out, "}}\n");
    api_send(exchange, 202, "application/json", buf_text(&out),
             (const struct http_answer_header[]){ { "Location", place }, { "Retry-After", API_BUSY_AGAIN_S }, { 0 } });
    buf_done(&out);
}

/* The reply may have been missed: what the recorder wrote is looked for once. */
static void look_again(struct api_request *request)
{
    const struct replies_waiter *waiter = request->argument;
    struct api_outcome outcome;

    if (api_operation_look(request, waiter->request_id, &outcome) == API_RECORDED)
        api_send_outcome(request->exchange, waiter->fingerprint, &outcome);
    else
        answer_later(request->exchange, waiter->request_id);
}

static void late(void *context, const struct replies_waiter *waiter)
{
    static const struct api_operation look = { .id = "late", .roles = API_PEOPLE, .handle = look_again };
    struct api_writes *writes = context;
    struct replies_waiter *copy = arena_alloc(http_arena(waiter->exchange), sizeof(*copy));

    *copy = *waiter;
    if (!api_resume(writes->ingest, waiter->exchange, &look, copy))
        answer_later(waiter->exchange, waiter->request_id);
}

/* --- start and end --------------------------------------------------------------------------------------- */

struct api_writes *api_writes_open(struct ingest *ingest, struct problem *why)
{
    struct api_writes *writes = must_alloc(sizeof(*writes));

    writes->ingest = ingest;
    writes->end = &writes->first;
    pthread_mutex_init(&writes->lock, NULL);
    writes->wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (writes->wake_fd >= 0)
        writes->replies = replies_open(&(struct replies_settings){ .brokers = daemon_settings()->kafka_brokers,
                                                                   .client_id = daemon_settings()->instance,
                                                                   .answered = answered,
                                                                   .late = late,
                                                                   .context = writes },
                                       why);
    else
        fail(why, "could not make an eventfd: %s", strerror(errno));
    if (writes->replies)
        return writes;
    api_writes_free(writes);
    return NULL;
}

bool api_writes_start(struct api_writes *writes, struct http_server *server, struct problem *why)
{
    return http_server_watch(server, writes->wake_fd, hand_to_door, writes, why);
}

void api_writes_stop(struct api_writes *writes)
{
    if (writes)
        replies_stop(writes->replies);
}

void api_writes_free(struct api_writes *writes)
{
    if (!writes)
        return;
    for (struct leaving *leaving; (leaving = take_leaving(writes));)
        leaving_free(leaving);
    replies_free(writes->replies);
    if (writes->wake_fd >= 0)
        close(writes->wake_fd);
    pthread_mutex_destroy(&writes->lock);
    free(writes);
}
