/* door_parts.h: what door.c (messages going through) and door_open.c (opening, closing, what can be seen) share.
 *
 * Threads: the loop thread, as in door.h. */
#pragma once

#include "common/metrics.h"
#include "ingest/door.h"
#include "ingest/producers.h"
#include "ingest/spool.h"

/* A partition of a topic: within it order is kept. */
struct lane {
    const struct topic *topic;
    int32_t partition;
    int64_t spooled;                    /* in the spool, or on the way into it */
    int64_t sending;                    /* in a producer, not from the spool */
    enum producer_linger linger;        /* its producer … */
    bool changing; /* … to be another one once nothing is on its way; until then the new ones wait */
    bool draining;                      /* being read, or sent from the spool */
    bool drain_failed;
    int64_t drain_again_us, drain_wait_ms;
    int drain_left;                     /* of those sent from the spool, without a report */
    int sent_count;                     /* of those, what Kafka has */
    int64_t sent[SPOOL_READ_MAX];       /* their numbers */
};

struct door {
    struct door_settings settings;
    struct producers *producers;
    struct spool *spool;                /* NULL: there is none */
    struct lane *lanes;                 /* topic after topic */
    size_t lane_count;
    struct parcel *first, *last;        /* in a producer, not in the spool, somebody waits */
    int64_t waiting;                    /* so many */
    int64_t sending, spooled;           /* sums over the lanes */
    int64_t writing;                    /* parcels that the spool will answer */
    bool away;                          /* Kafka let time out, and nothing came from it since */
    bool lost;                          /* some that wait are in no producer any more */
    bool spool_refuses;                 /* the last addition failed */
    bool closing;
    int64_t heard_us;                   /* from Kafka */
    int64_t away_us;                    /* since when */
    int tick_fd;
    bool ticking;
    struct parcel *spare;
    int spares;
};

extern struct metric door_kept_time, door_not_kept;

/* The lane of a topic that is written, else NULL. */
struct lane *door_lane(struct door *door, const char *topic, int32_t partition);
bool door_is_away(const struct door *door);
void door_start_ticking(struct door *door);

/* The loop's calls; `context` is the door. */
void door_kafka_ready(void *context);
void door_spool_ready(void *context);
void door_tick(void *context);
/* The producers' and the spool's calls: producers.h, spool.h. */
void door_delivered(void *context, void *message_context, rd_kafka_resp_err_t error);
void door_spool_added(void *context, void *message_context, bool on_disk);
void door_spool_was_read(void *context, const char *topic, int32_t partition, const struct spool_message *messages,
                         int count);
void door_spool_removed(void *context, const char *topic, int32_t partition, int count, bool gone);
