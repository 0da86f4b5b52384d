/* inbound.h: an authentic webhook becomes an event, whatever it holds, and is answered once that is durable.
 *
 * Threads: the loop thread. */
#pragma once

#include "ingest/ingest.h"

/* Bodies up to here are kept as text when they are text; in a dead letter each byte can take seven.  Larger ones
 * are kept in base64. */
#define INBOUND_TEXT_BYTES_MAX (3 * 1024 * 1024)

/* How a body stands in an event: `encoding` is "text" or "base64". */
struct inbound_body {
    const char *encoding;
    struct text body;
};
struct inbound_body inbound_body(struct text raw, struct arena *arena);

/* A header for an event: UTF-8 of at most `bytes_max` bytes; what is neither is cut off before it. */
const char *inbound_header(struct text header, size_t bytes_max, struct arena *arena);

struct inbound {
    const struct event_type *type;
    char id[UUID_BYTES];
    const char *subject;                /* the conversation; NULL: it could not be read, the id stands for it */
    char received_at[TIME_BYTES];
    const void *data;                   /* the type's generated struct */
    void *asker;                        /* parcel->asker for `kept`; NULL: the exchange */
};

/* The source of that name and company (NULL: the shared account), with its key just used.  NULL: it has too many
 * webhooks without an answer and was answered 429. */
struct source *inbound_source(struct ingest *ingest, struct http_exchange *exchange, const char *name,
                              const char *company, int key);
/* Not authentic: 401, counted, logged, and told by `sb doctor`. */
void inbound_refuse(struct http_exchange *exchange, const char *source, const char *reason, const char *explanation);

/* Answers when the event is durable: calls inbound_settle(), and when that is true answers as its source wants it. */
typedef void inbound_kept(struct parcel *parcel, enum kept how);
/* Its source has one less without an answer: for whoever answers by itself in both cases … */
void inbound_release(struct parcel *parcel);
/* … and with it, for the others: false when it could not be kept; then it is answered (503 with Retry-After). */
bool inbound_settle(struct parcel *parcel, enum kept how);

void inbound_keep(struct ingest *ingest, struct http_exchange *exchange, struct source *source,
                  const struct inbound *inbound, inbound_kept *kept);
/* The same for what cannot be read: the event goes to dead.ingest, with the reason. */
void inbound_keep_unreadable(struct ingest *ingest, struct http_exchange *exchange, struct source *source,
                             const struct inbound *inbound, const struct problem *why, inbound_kept *kept);

void inbound_open(void);                /* declares the metrics */
