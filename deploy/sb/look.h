/* look.h: looks into Kafka: which topics there are, how much they hold, how far each stage has come.  Reads only. */
#pragma once

#include "common/kafka.h"

#define LOOK_PARTITIONS_MAX 64
#define LOOK_MS             5000 /* each question */

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
/* How many messages of its topics the stage has not finished; false: `why`. */
bool look_behind(const struct look *look, const char *name, int64_t *ret, struct problem *why);
/* Waits until the stages' groups can be joined: a consumer that is told "not coordinator" by a broker that has just
 * started waits three seconds before it tries again. */
bool look_wait_for_groups(const char *brokers, int64_t timeout_ms, struct problem *why);
