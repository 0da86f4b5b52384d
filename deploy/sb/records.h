/* records.h: reads records that are in Kafka already: all of a topic, or those at given offsets.  Joins no group,
 * commits nothing. */
#pragma once

#include "common/kafka.h"

#define RECORDS_MS 30000 /* without anything from Kafka, then it is away */

struct records;

/* NULL: `why`. */
struct records *records_open(const char *brokers, struct problem *why);
void records_close(struct records *records); /* NULL is fine */

/* False ends the reading, with `why` filled. */
typedef bool records_each(void *context, const rd_kafka_message_t *record, struct problem *why);
/* What is in the topic now and came since `since_us` (0: all of it), a partition after the other. */
bool records_of_topic(struct records *records, const char *topic, int64_t since_us, records_each *each, void *context,
                      struct problem *why);

struct record_place {
    const char *topic;
    int32_t partition;
    int64_t offset;
    void *context; /* the caller's */
    bool gone;     /* filled: no longer there (retention) */
};
/* Calls `each` with a place's context for each that is still there.  Sorts `places` by topic, partition and offset. */
bool records_at(struct records *records, struct record_place *places, size_t count, records_each *each,
                struct problem *why);
