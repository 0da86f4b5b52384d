#include "ingest/inbound.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/metrics.h"
#include "common/utf8.h"
#include "events.h"
#include "ingest/refusals.h"

#define EVENT_SOURCE "/ingest"
#define DEAD_TOPIC "dead.ingest"

static struct metric refused = METRIC_COUNTER(
    "ingest_signatures_refused_total", "webhooks that are not authentic, by source and reason", "source", "reason");
static struct metric unreadable =
    METRIC_COUNTER("ingest_unreadable_total", "authentic webhooks kept in dead.ingest", "source");
static struct metric too_many = METRIC_COUNTER("ingest_too_many_total", "authentic webhooks answered 429", "source");
static struct metric heard =
    METRIC_GAUGE("ingest_last_heard_seconds", "when an authentic webhook came last, seconds since 1970", "source");
static struct metric key_used =
    METRIC_GAUGE("ingest_key_last_used_seconds",
                 "when a source signed with its n-th key last (from 0), seconds since 1970", "source", "key");

void inbound_open(void)
{
    static struct metric *const metrics[] = { &refused, &unreadable, &too_many, &heard, &key_used };
    for (size_t i = 0; i < LENGTH(metrics); i++)
        metric_register(metrics[i]);
}

/* --- what a body and a header become -------------------------------------------------------------------------- */

struct inbound_body inbound_body(struct text raw, struct arena *arena)
{
    bool is_text = raw.bytes <= INBOUND_TEXT_BYTES_MAX && (raw.bytes == 0 || !memchr(raw.at, '\0', raw.bytes)) &&
                   text_is_utf8(raw);
    if (is_text)
        return (struct inbound_body){ "text", raw };
    char *encoded = arena_alloc(arena, BASE64_BYTES(raw.bytes));
    base64_print(raw.at, raw.bytes, encoded);
    return (struct inbound_body){ "base64", { encoded, BASE64_BYTES(raw.bytes) - 1 } };
}

const char *inbound_header(struct text header, size_t bytes_max, struct arena *arena)
{
    size_t bytes = 0;
    while (bytes < header.bytes) {
        size_t sequence = utf8_sequence(header.at + bytes, header.at + header.bytes);
        if (sequence == 0 || header.at[bytes] == '\0' || bytes + sequence > bytes_max)
            break;
        bytes += sequence;
    }
    return arena_copy_text(arena, (struct text){ header.at ? header.at : "", bytes });
}

/* --- who sent it ---------------------------------------------------------------------------------------------- */

static struct source *source_find(struct ingest *ingest, const char *name)
{
    for (size_t i = 0; i < ingest->source_count; i++)
        if (strcmp(ingest->sources[i].name, name) == 0)
            return &ingest->sources[i];
    if (ingest->source_count == SOURCES_MAX)
        return &ingest->sources[SOURCES_MAX - 1];
    struct source *source = &ingest->sources[ingest->source_count++];
    snprintf(source->name, sizeof(source->name), "%s", ingest->source_count == SOURCES_MAX ? "other" : name);
    return source;
}

/* The gauges count in seconds, so once a second is enough. */
static void note_heard(struct source *source, int key)
{
    char number[12];
    int64_t now_s = now_us() / 1000000;

    if (source->heard_s == now_s && source->key == key)
        return;
    source->heard_s = now_s;
    source->key = key;
    snprintf(number, sizeof(number), "%d", key);
    metric_set(&heard, now_s, source->name);
    metric_set(&key_used, now_s, source->name, number);
}

struct source *inbound_source(struct ingest *ingest, struct http_exchange *exchange, const char *name,
                              const char *company, int key)
{
    char company_name[sizeof(((struct source *)NULL)->name)];
    if (company) {
        snprintf(company_name, sizeof(company_name), "%s/%s", name, company);
        name = company_name;
    }
    struct source *source = source_find(ingest, name);
    note_heard(source, key);
    if (source->in_flight < ingest->in_flight_per_key_max)
        return source;
    static const struct http_answer_header later[] = { { "Retry-After", "1" }, { 0 } };
    metric_add(&too_many, 1, source->name);
    http_answer(exchange, 429, "text/plain", TEXT("too many requests at once\n"), later);
    return NULL;
}

void inbound_refuse(struct http_exchange *exchange, const char *source, const char *reason, const char *explanation)
{
    metric_add(&refused, 1, source, reason);
    refusal_note(source, reason, http_path(exchange), explanation);
    log_warning("a webhook is not authentic", LOG_TEXT("path", http_path(exchange)),
                LOG_TEXT("peer", http_peer(exchange)), LOG_TEXT("reason", explanation));
    http_answer_problem(exchange, 401, "the request is not signed with a key that is known here", NULL);
}

/* --- keeping -------------------------------------------------------------------------------------------------- */

void inbound_release(struct parcel *parcel)
{
    ((struct source *)parcel->source)->in_flight--;
}

bool inbound_settle(struct parcel *parcel, enum kept how)
{
    static const struct http_answer_header later[] = { { "Retry-After", DOOR_RETRY_AFTER_S }, { 0 } };

    inbound_release(parcel);
    if (how == KEPT_NOT)
        http_answer(parcel->asker, 503, "text/plain", TEXT("this cannot be kept at the moment\n"), later);
    return how != KEPT_NOT;
}

static struct event event_of(const struct inbound *inbound, const char *traceparent)
{
    return (struct event){
        .id = inbound->id,
        .source = EVENT_SOURCE,
        .subject = inbound->subject ? inbound->subject : inbound->id,
        .time = inbound->received_at,
        .correlation_id = inbound->subject,
        .traceparent = traceparent,
    };
}

static char *traceparent_of(const struct http_exchange *exchange, char ret[TRACEPARENT_BYTES])
{
    char parent[TRACEPARENT_BYTES];
    struct text header = http_header(exchange, "traceparent");

    if (!traceparent_is(header))
        return traceparent_next(NULL, ret);
    memcpy(parent, header.at, header.bytes);
    parent[header.bytes] = '\0';
    return traceparent_next(parent, ret);
}

/* Writes the event into a parcel and hands it to the door. */
static void keep(struct ingest *ingest, struct http_exchange *exchange, struct source *source,
                 const struct topic *topic, const struct event *event, const struct event_type *type, const void *data,
                 void *asker, inbound_kept *kept)
{
    struct parcel *parcel = door_parcel(ingest->door);
    parcel->topic = topic;
    parcel->key_bytes = strlen(event->subject);
    assert(parcel->key_bytes <= sizeof(parcel->key));
    memcpy(parcel->key, event->subject, parcel->key_bytes);
    memcpy(parcel->id, event->id, sizeof(parcel->id));
    parcel->kept = kept;
    parcel->asker = asker ? asker : exchange;
    parcel->source = source;
    event_write(&parcel->payload, event, type, data);
    source->in_flight++;
    door_keep(ingest->door, parcel);
}

void inbound_keep(struct ingest *ingest, struct http_exchange *exchange, struct source *source,
                  const struct inbound *inbound, inbound_kept *kept)
{
    char traceparent[TRACEPARENT_BYTES];
    struct event event = event_of(inbound, traceparent_of(exchange, traceparent));
    keep(ingest, exchange, source, inbound->type->topic, &event, inbound->type, inbound->data,
         inbound->asker, kept);
}

/* The dead letter holds the whole inbound event, so that it can be given to the recorder again. */
void inbound_keep_unreadable(struct ingest *ingest, struct http_exchange *exchange, struct source *source,
                             const struct inbound *inbound, const struct problem *why, inbound_kept *kept)
{
    char traceparent[TRACEPARENT_BYTES], id[UUID_BYTES];
    struct event event = event_of(inbound, traceparent_of(exchange, traceparent));
    struct buf message;

    buf_init(&message, EVENT_INBOUND_BYTES_MAX);
    event_write(&message, &event, inbound->type, inbound->data);
    assert(!message.overflowed);
    struct event_rejected rejected = {
        .stage = "ingest",
        .reason = why->text,
        .pointer = why->pointer[0] ? why->pointer : NULL,
        .attempts = 1,
        .topic = inbound->type->topic->name,
        .partition = -1,
        .offset = -1,
        .event = buf_text(&message),
        .encoding = "text",
    };
    event.causation_id = event.id;
    event.id = event_id_of(id, inbound->id, "ingest", EVENT_EVENT_REJECTED.name, 0);
    metric_add(&unreadable, 1, source->name);
    log_warning("an authentic webhook cannot be read and is kept in " DEAD_TOPIC, LOG_TEXT("event_id", event.id),
                LOG_TEXT("source", source->name), LOG_TEXT("pointer", rejected.pointer), LOG_TEXT("reason", why->text));
    keep(ingest, exchange, source, topic_find(DEAD_TOPIC), &event, &EVENT_EVENT_REJECTED, &rejected,
         inbound->asker, kept);
    buf_done(&message);
}
