/* door.h: accept → durable → answer.  Knows messages, topics and the disk; no use case and no HTTP.
 *
 *     parcel = door_parcel(door);  … fill it …  door_keep(door, parcel);      later: parcel->kept(parcel, how)
 *
 * A message is durable when all in-sync replicas of Kafka have it or, when Kafka does not answer within
 * DOOR_PATIENCE_MS, when it is fsynced in the spool.  In the spool it has the same id; when Kafka reports it late,
 * the spooled one is removed.  Once Kafka is known to be away messages go to the spool at once.
 *
 * Order.  A lane is a partition of a topic.  While the spool holds anything for a lane, new messages of the lane go
 * behind it; when the first of a lane is spooled, all of the lane that are still on their way to Kafka are spooled
 * with it.  The spool is sent lane by lane in order, when nothing of the lane is on its way by other means.  A lane
 * changes between the two producers (producers.h) only when nothing of it is on its way.  So within a key the order of
 * acceptance holds.
 *
 * A producer that fails for good is replaced; what it had not delivered is sent by the new one or spooled.
 *
 * Threads: everything on the owner's one loop thread, which also calls back. */
#pragma once

#include "common/event.h"
#include "ingest/spool.h"

#define DOOR_PATIENCE_MS 250            /* for Kafka, then the spool */
#define DOOR_TICK_MS 25                 /* how often time-outs are looked for, while there is anything to look for */
#define DOOR_DRAIN_AGAIN_MS 200         /* the spool is tried again after a failure, doubling up to … */
#define DOOR_DRAIN_AGAIN_MS_MAX 5000
#define DOOR_MESSAGE_BYTES_MAX (32 * 1024 * 1024)   /* what the largest topic takes */
#define DOOR_SPARE_PARCELS_MAX 256      /* kept for the next messages, with buffers up to … */
#define DOOR_SPARE_BYTES_MAX (16 * 1024)
#define DOOR_RETRY_AFTER_S "5"          /* said to clients when nothing can be kept */

struct door;
struct lane;

enum kept {
    KEPT_BY_KAFKA,
    KEPT_BY_SPOOL,
    KEPT_NOT,               /* Kafka is away and there is no spool, or its disk is full: try again later */
};

/* One message from its acceptance until nobody needs it any more; its payload is what Kafka and the spool read from. */
struct parcel {
    /* filled in by whoever asked for it */
    const struct topic *topic;                  /* one of those given to door_open() */
    char key[EVENT_KEY_BYTES_MAX];
    size_t key_bytes;
    char id[UUID_BYTES];
    struct buf payload;                         /* comes empty */
    void (*kept)(struct parcel *parcel, enum kept how);     /* exactly once; may read the parcel, not keep it */
    void *asker, *source;                       /* for `kept` */

    /* the door's own */
    struct door *door;
    struct lane *lane;
    struct parcel *previous, *next;             /* of those in flight, in order of acceptance */
    int64_t accepted_us;
    int64_t number;                             /* in the spool; 0: not there */
    bool told;                                  /* `kept` was called */
    bool from_spool;                            /* being sent by the drainer: nobody waits */
    bool in_producer;                           /* a delivery report will come */
    bool in_writer;                             /* the spool will say whether it has it */
    bool delivered;                             /* Kafka has it */
};

struct door_settings {
    const char *brokers, *client_id;
    const struct topic *const *topics;          /* NULL-terminated, at most PRODUCERS_TOPICS_MAX */
    const char *spool_directory;                /* NULL: no spool */
    int64_t spool_bytes_max;
    /* Calls `ready` on the loop thread whenever `fd` is readable; `loop` is what door_start() was given. */
    bool (*watch)(void *loop, int fd, void (*ready)(void *context), void *context, struct problem *why);
};

/* Opens the spool and makes the producers; Kafka may be away. */
struct door *door_open(const struct door_settings *settings, struct problem *why);
/* Begins: watches its file descriptors and sends what the spool holds.  Before it messages can be kept already. */
bool door_start(struct door *door, void *loop, struct problem *why);
/* After the last `kept`, when the loop no longer runs: gives Kafka `deadline_ms` for what the spool holds and for what is
 * still on its way; says what stays in the spool; closes it, frees all.  NULL is fine. */
void door_close(struct door *door, int64_t deadline_ms);

struct parcel *door_parcel(struct door *door);
/* Gives back a parcel that is not to be kept after all. */
void door_forget(struct door *door, struct parcel *parcel);
/* Takes the parcel; `kept` may be called before it returns.  The payload must fit the topic (asserted). */
void door_keep(struct door *door, struct parcel *parcel);

/* Can something be kept now?  False with the reason, for /ready. */
bool door_ready(const struct door *door, struct problem *why);
/* Brings the door's gauges up to date. */
void door_metrics(struct door *door);
struct spool_size door_spool(const struct door *door);  /* zeros without a spool; any thread */
