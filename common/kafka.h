/* kafka.h: what the door, the stages and sb share of librdkafka: configuration, a producer, the topics' check.
 *
 * Every client: idempotent producer or read-committed-agnostic consumer, acks=all, socket.nagle.disable, caps on queues and
 * prefetch (librdkafka's defaults would hold gigabytes), `KAFKA_PROP_<name with _ for .>` set last (TLS, SASL).  librdkafka's own
 * log lines come out through log.h. */
#pragma once

#include "common/event.h"

#include <librdkafka/rdkafka.h>

/* `properties`: name, value, …, NULL; they come after ours and before KAFKA_PROP_*.  A `group.id` among them makes it a consumer's,
 * with the caps on prefetch.  The caller owns the result. NULL: `why`. */
rd_kafka_conf_t *kafka_conf(const char *brokers, const char *client_id, const char *const *properties, struct problem *why);

/* A producer whose delivery reports are given to `delivered` (dr_msg_cb): on the thread that polls it.
 * `linger` is librdkafka's linger.ms as text ("0", "1").  One request of a broker's is under way at a time: with two, what
 * is reported as delivered may not be there. */
rd_kafka_t *kafka_producer(const char *brokers, const char *client_id, const char *linger, size_t queue_bytes_max,
                           void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *opaque), void *opaque,
                           struct problem *why);

/* Makes the topics that are missing (only when `create`, i.e. local mode and tests) and refuses a partition count other than the
 * map's. `names` NULL-terminated, or NULL for all. */
bool kafka_topics_check(rd_kafka_t *client, const char *const *names, bool create, int64_t timeout_ms, struct problem *why);

/* The committed offsets of the consumer's group, each partition's error looked at: asked again for `timeout_ms`, since a coordinator that
 * moves or has just started says so, and librdkafka does not ask its successor by itself.  An offset that could not be read must not look
 * like one that was never committed.  `leave`: asked between two tries; may be NULL. */
rd_kafka_resp_err_t kafka_committed(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *list, int64_t timeout_ms, bool (*leave)(void));
