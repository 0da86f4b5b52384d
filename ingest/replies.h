/* replies.h: who waits for an answer that comes by Kafka, and the consumer that brings it.
 *
 * Each instance reads the topic `replies` from its end, without a group, and drops what nobody here waits for.  What it
 * misses (it has just started, Kafka was away) comes late: whoever waited for too long is told so, and looks himself.
 *
 *     ticket = replies_expect(…);  … have the request kept …  replies_kept(replies, ticket);
 *
 * ends in exactly one of: `answered`, `late`, or replies_take() by whoever found another answer.
 *
 * Threads: any; the callbacks run on the thread of this file. */
#pragma once

#include "common/crypto.h"
#include "common/http_server.h"

#define REPLIES_TOPIC       "replies"
#define REPLIES_PATIENCE_MS 2000 /* from when the request is durable */
#define REPLIES_WAITERS_MAX 1024

struct replies;
struct api_answered; /* events.h */

struct replies_waiter {
    struct http_exchange *exchange;
    char request_id[UUID_BYTES];
    char fingerprint[2 * SHA256_BYTES + 1];
};

struct replies_settings {
    const char *brokers, *client_id;
    void (*answered)(void *context, const struct replies_waiter *waiter, const struct api_answered *answer);
    void (*late)(void *context, const struct replies_waiter *waiter);
    void *context;
};

/* Kafka may be away. */
struct replies *replies_open(const struct replies_settings *settings, struct problem *why);
/* Ends the thread; who still waits is late.  Tickets stay good, for nothing. */
void replies_stop(struct replies *replies);
void replies_free(struct replies *replies); /* NULL is fine */

/* 0: too many wait. */
uint64_t replies_expect(struct replies *replies, const struct replies_waiter *waiter);
/* The request is durable: from now on there is an end to patience. */
void replies_kept(struct replies *replies, uint64_t ticket);
/* Nobody waits with this ticket any more; false: it was answered already. */
bool replies_take(struct replies *replies, uint64_t ticket, struct replies_waiter *ret);
