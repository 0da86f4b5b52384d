/* producers.h: the door's two producers: linger 0 for few messages in flight, linger 1 ms for many and for what
 * must stay in order.
 *
 * Measured: linger 0 at high load costs the broker four to six times the work, a fixed 1 ms costs a third of the
 * throughput at 16 connections.  So the choice follows the most that were in flight at once lately.
 *
 * A producer that fails for good (an idempotent producer does, rather than break its promise) is replaced at once;
 * what it had not delivered is reported undelivered.
 *
 * Threads: everything on the owner's loop thread.  There is no thread for polling: the file descriptor tells of
 * delivery reports. */
#pragma once

#include "common/kafka.h"

#define PRODUCERS_TOPICS_MAX 16
#define PRODUCERS_QUEUE_BYTES_MAX (64 * 1024 * 1024)    /* of each; more is refused */
#define PRODUCERS_MANY_IN_FLIGHT 32         /* from here on linger 1 ms … */
#define PRODUCERS_FEW_IN_FLIGHT 16          /* … down to here */
#define PRODUCERS_WINDOW_MS 20              /* "lately" */
#define PRODUCERS_REPLACE_MS 1000           /* a producer lives at least that long: no storm of new ones */
#define PRODUCERS_RETIRE_MS_MAX 1000        /* for the last reports of a replaced one */

struct producers;

enum producer_linger { LINGER_NONE, LINGER_SHORT, LINGERS };

struct producers_settings {
    const char *brokers, *client_id;
    const struct topic *const *topics;      /* NULL-terminated */
    /* What became of the message sent with `message_context`: RD_KAFKA_RESP_ERR_NO_ERROR: all in-sync replicas have
     * it; else why not; RD_KAFKA_RESP_ERR__FATAL: its producer failed for good. */
    void (*delivered)(void *context, void *message_context, rd_kafka_resp_err_t error);
    void *context;
};

/* Kafka may be away. */
struct producers *producers_open(const struct producers_settings *settings, struct problem *why);
/* Waits up to `deadline_ms` for reports, then gives up on the rest (they are reported undelivered) and frees all;
 * NULL is fine. */
void producers_close(struct producers *producers, int64_t deadline_ms);

int producers_fd(const struct producers *producers);
void producers_serve(struct producers *producers);

/* The one that suits so many in flight. */
enum producer_linger producers_suiting(struct producers *producers, int64_t in_flight, int64_t at_us);

/* `key` and `payload` must live until `delivered`.  What goes through one of the two stays in order; between them there
 * is none.  RD_KAFKA_RESP_ERR_NO_ERROR: `delivered` will be called; else it will not. */
rd_kafka_resp_err_t producers_send(struct producers *producers, enum producer_linger linger, const struct topic *topic,
                                   int32_t partition, struct text key, struct text payload, void *message_context);
