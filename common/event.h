/* event.h: what travels: CloudEvents 1.0, structured JSON, one line a message (cloudevents.io, JSON format 1.0.2).
 *
 * An event type is a schema in schemas/events/: the generator makes a struct, a reader, a writer and an `event_type` of each. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"
#include "common/crypto.h"

#define EVENT_BYTES_MAX (256 * 1024)                /* a domain event; what is larger is a row */
#define EVENT_INBOUND_BYTES_MAX (24 * 1024 * 1024)  /* an accepted webhook with its raw body: 16 MiB in base64 and the rest */
#define EVENT_KEY_BYTES_MAX 256

struct topic {
    const char *name;
    const char *writer;             /* the one stage that writes it */
    int partitions;                 /* outside tests fixed for ever: a change is a new topic */
    int64_t retention_ms;
    int64_t message_bytes_max;
};
extern const struct topic topics[];                 /* generated from schemas/topics.json; name NULL ends it */
const struct topic *topic_find(const char *name);

struct event_type {
    const char *name;               /* "call.recorded" */
    const struct topic *topic;      /* NULL: each stage has one of its own for it … */
    const char *per_stage;          /* … whose name begins so: "dead."; else NULL */
    const char *schema;             /* dataschema: "/schemas/events/call.recorded.json" */
    void (*write)(struct buf *out, const void *data);           /* `data` is the generated struct */
    bool (*check)(struct text json, struct problem *why);       /* valid by its schema? */
};
extern const struct event_type *const event_types[];            /* generated; NULL ends it */
const struct event_type *event_type_find(const char *name);
/* The topic on which `stage` sends events of the type. */
const struct topic *event_topic(const struct event_type *type, const char *stage);

struct event {
    const char *id;                 /* UUID */
    const char *source;             /* "/ingest" */
    const char *type;
    const char *subject;            /* the conversation, and the message's key */
    const char *time;               /* when it happened, RFC 3339 */
    const char *tenant;             /* NULL until the recorder knows */
    const char *correlation_id;     /* the conversation */
    const char *causation_id;       /* the event this one follows from; NULL at the door */
    int run;                        /* 0, and one more at each replay */
    const char *traceparent;        /* W3C Trace Context; NULL: none */
    bool ask_again;                 /* a replay that wants new answers … */
    bool resend;                    /* … or new messages */
    struct text data;               /* raw JSON, valid as JSON */
};

/* Reads an envelope.  Strings are copied into `arena`; `data` points into `message`.  Attributes unknown to us are ignored; a
 * missing, doubled or wrong one is named by pointer. */
bool event_read(struct text message, struct arena *arena, struct event *ret, struct problem *why);
/* Writes one line without a newline.  `write_data` NULL: `event->data` is written as it stands. */
void event_write(struct buf *out, const struct event *event, const struct event_type *type, const void *data);

/* The id of an event that follows from another: UUIDv5 of (cause, stage, name, run), so that a repeat has the same id. */
char *event_id_of(char ret[UUID_BYTES], const char *cause_id, const char *stage, const char *name, int run);

#define TRACEPARENT_BYTES sizeof("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
/* A new span in the parent's trace, or a new trace when `parent` is NULL or malformed; random bits are drawn, not derived. */
char *traceparent_next(const char *parent, char ret[TRACEPARENT_BYTES]);
bool traceparent_is(struct text text);
