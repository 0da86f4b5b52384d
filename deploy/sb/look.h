/* look.h: looks into Kafka: which topics there are, how much they hold, how far each stage has come.  Reads only. */
#pragma once

#include "common/kafka.h"

#define LOOK_PARTITIONS_MAX 64
#define LOOK_MS             5000   /* each question */
#define LOOK_RECORDS_MAX    100000 /* of one partition, looked through for a key */

struct look_topic {
    const struct topic *topic;
    int partitions;                    /* 0: it is not there */
    int64_t low[LOOK_PARTITIONS_MAX];  /* the first offset kept */
    int64_t high[LOOK_PARTITIONS_MAX]; /* behind the last */
};

struct look {
    const char *brokers;
    rd_kafka_t *client;
    struct look_topic *topics; /* one for each of topics[], in its order */
    size_t count;
};

/* A client that neither reads nor writes, and is silent: what goes wrong is told by whoever asks. NULL: `why`. */
rd_kafka_t *look_client(const char *brokers, struct problem *why);

/* NULL: `why`.  Brokers that do not answer are noticed within LOOK_MS. */
struct look *look_new(const char *brokers, struct problem *why);
void look_free(struct look *look);

int64_t look_kept(const struct look_topic *topic); /* messages in it */
const struct look_topic *look_find(const struct look *look, const char *name);

/* What of its topics a stage has not finished. */
struct look_lag {
    int64_t events;
    int64_t oldest_us; /* Kafka's time of the first of them; 0: there is none, or it could not be read in time */
};
bool look_lag_of(const struct look *look, const char *stage, struct look_lag *ret, struct problem *why);
/* Gives each message the stage has not finished of those partitions of its topics that `key` is in, in order. */
typedef void look_record(void *context, const rd_kafka_message_t *message);
bool look_unfinished_of(const struct look *look, const char *stage, const char *key, look_record *each, void *context,
                        struct problem *why);

/* Waits until the stages' groups can be joined: a consumer that is told "not coordinator" by a broker that has just
 * started waits three seconds before it tries again. */
bool look_wait_for_groups(const char *brokers, int64_t timeout_ms, struct problem *why);
