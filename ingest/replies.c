#include "ingest/replies.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "events.h"

#define POLL_MS          50 /* also how exactly patience is measured */
#define LOOK_MS          1000
#define EVENT_ARENA_MAX  ((size_t)4 * 1024 * 1024)
#define TICKET_SLOT_BITS 16
_Static_assert(REPLIES_WAITERS_MAX <= 1 << TICKET_SLOT_BITS, "a ticket holds the slot");

static struct metric waiting_changes =
    METRIC_GAUGE("ingest_api_changes_waiting", "API changes whose outcome is waited for");
static struct metric outcomes =
    METRIC_COUNTER("ingest_api_outcomes_total", "API changes by how their outcome came", "how");

struct slot {
    bool used;
    uint64_t ticket;     /* of who has it, or had it last */
    int64_t deadline_us; /* INT64_MAX: it is not durable yet */
    struct replies_waiter waiter;
};

struct replies {
    struct replies_settings settings;
    rd_kafka_t *consumer;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; /* guards what follows */
    struct slot slots[REPLIES_WAITERS_MAX];
    uint64_t tickets; /* given so far */
    int waiting;
    bool stopping;
};

/* --- who waits ------------------------------------------------------------------------------------------- */

static struct slot *slot_of(struct replies *replies, uint64_t ticket)
{
    struct slot *slot = &replies->slots[ticket & ((1 << TICKET_SLOT_BITS) - 1)];
    return slot->used && slot->ticket == ticket ? slot : NULL;
}

/* Lock held. */
static struct replies_waiter leave(struct replies *replies, struct slot *slot)
{
    slot->used = false;
    metric_set(&waiting_changes, --replies->waiting);
    return slot->waiter;
}

uint64_t replies_expect(struct replies *replies, const struct replies_waiter *waiter)
{
    uint64_t ticket = 0;

    pthread_mutex_lock(&replies->lock);
    for (size_t i = 0; i < REPLIES_WAITERS_MAX && !ticket && !replies->stopping; i++) {
        if (replies->slots[i].used)
            continue;
        ticket = ++replies->tickets << TICKET_SLOT_BITS | i;
        replies->slots[i] = (struct slot){ true, ticket, INT64_MAX, *waiter };
        metric_set(&waiting_changes, ++replies->waiting);
    }
    pthread_mutex_unlock(&replies->lock);
    return ticket;
}

void replies_kept(struct replies *replies, uint64_t ticket)
{
    pthread_mutex_lock(&replies->lock);
    struct slot *slot = slot_of(replies, ticket);
    if (slot)
        slot->deadline_us = monotonic_us() + REPLIES_PATIENCE_MS * INT64_C(1000);
    pthread_mutex_unlock(&replies->lock);
}

bool replies_take(struct replies *replies, uint64_t ticket, struct replies_waiter *ret)
{
    pthread_mutex_lock(&replies->lock);
    struct slot *slot = slot_of(replies, ticket);
    if (slot)
        *ret = leave(replies, slot);
    pthread_mutex_unlock(&replies->lock);
    return slot;
}

/* One whom `fits` says to be done with; false when there is none. */
static bool take_next(struct replies *replies, bool (*fits)(const struct slot *slot, const void *about),
                      const void *about, struct replies_waiter *ret)
{
    bool found = false;

    pthread_mutex_lock(&replies->lock);
    for (size_t i = 0; i < REPLIES_WAITERS_MAX && replies->waiting > 0 && !found; i++) {
        struct slot *slot = &replies->slots[i];
        found = slot->used && fits(slot, about);
        if (found)
            *ret = leave(replies, slot);
    }
    pthread_mutex_unlock(&replies->lock);
    return found;
}

static bool waits_for(const struct slot *slot, const void *request_id)
{
    return strcmp(slot->waiter.request_id, request_id) == 0;
}

static bool is_late(const struct slot *slot, const void *now_us)
{
    return slot->deadline_us <= *(const int64_t *)now_us;
}

static bool is_anybody(const struct slot *slot, const void *unused)
{
    (void)slot, (void)unused;
    return true;
}

static void tell_late(struct replies *replies, bool (*fits)(const struct slot *slot, const void *about),
                      const void *about)
{
    struct replies_waiter waiter;

    while (take_next(replies, fits, about, &waiter)) {
        metric_add(&outcomes, 1, "late");
        replies->settings.late(replies->settings.context, &waiter);
    }
}

/* --- the consumer ---------------------------------------------------------------------------------------- */

static bool is_stopping(struct replies *replies)
{
    pthread_mutex_lock(&replies->lock);
    bool stopping = replies->stopping;
    pthread_mutex_unlock(&replies->lock);
    return stopping;
}

/* Whoever starts first makes the topics: assigned before they are there, they would be found minutes later. */
static bool topics_are_there(struct replies *replies)
{
    static const char *const names[] = { REPLIES_TOPIC, NULL };
    struct problem why;
    return kafka_topics_check(replies->consumer, names, false, LOOK_MS, &why);
}

static void assign(struct replies *replies)
{
    const struct topic *topic = topic_find(REPLIES_TOPIC);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(topic->partitions);

    for (int partition = 0; partition < topic->partitions; partition++)
        rd_kafka_topic_partition_list_add(list, topic->name, partition)->offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(replies->consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

static void receive(struct replies *replies, struct text message, struct arena *arena)
{
    struct replies_waiter waiter;
    struct api_answered answer;
    struct event event;
    struct problem why;

    if (!event_read(message, arena, &event, &why) || strcmp(event.type, EVENT_API_ANSWERED.name) != 0)
        return; /* another kind of reply */
    if (!api_answered_read(event.data, arena, &answer, &why)) {
        log_warning("a reply cannot be read", LOG_TEXT("event_id", event.id), LOG_TEXT("reason", why.text));
        return;
    }
    while (take_next(replies, waits_for, answer.request_id, &waiter)) {
        metric_add(&outcomes, 1, "reply");
        replies->settings.answered(replies->settings.context, &waiter, &answer);
    }
}

static void *thread_main(void *context)
{
    struct replies *replies = context;
    CLEANUP(arena_freep) struct arena *arena = arena_new(EVENT_ARENA_MAX);
    bool assigned = false;

    pthread_setname_np(pthread_self(), "replies");
    while (!is_stopping(replies)) {
        if (!assigned && topics_are_there(replies)) {
            assign(replies);
            assigned = true;
        }
        rd_kafka_message_t *message = rd_kafka_consumer_poll(replies->consumer, POLL_MS);
        if (message && message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
            receive(replies, (struct text){ message->payload, message->len }, arena);
        if (message)
            rd_kafka_message_destroy(message);
        arena_reset(arena);
        tell_late(replies, is_late, &(int64_t){ monotonic_us() });
    }
    return NULL;
}

/* --- start and end --------------------------------------------------------------------------------------- */

/* librdkafka wants a group's name of everyone who reads; it is never joined, and nothing is committed. */
static rd_kafka_t *consumer_new(const struct replies_settings *settings, struct problem *why)
{
    const char *properties[] = {
        "group.id",           "ingest-replies", "enable.auto.commit",   "false",
        "auto.offset.reset",  "latest",         "fetch.wait.max.ms",    "500",
        "enable.partition.eof", "false",        NULL,
    };
    char reason[256];
    rd_kafka_conf_t *conf = kafka_conf(settings->brokers, settings->client_id, properties, why);
    rd_kafka_t *consumer = conf ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason)) : NULL;

    if (consumer) {
        rd_kafka_poll_set_consumer(consumer);
    } else if (conf) {
        rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka consumer: %s", reason);
    }
    return consumer;
}

struct replies *replies_open(const struct replies_settings *settings, struct problem *why)
{
    struct replies *replies = must_alloc(sizeof(*replies));

    metric_register(&waiting_changes);
    metric_register(&outcomes);
    replies->settings = *settings;
    pthread_mutex_init(&replies->lock, NULL);
    replies->consumer = consumer_new(settings, why);
    replies->started = replies->consumer && pthread_create(&replies->thread, NULL, thread_main, replies) == 0;
    if (replies->started)
        return replies;
    if (replies->consumer)
        fail(why, "could not start the thread that reads replies");
    replies_free(replies);
    return NULL;
}

void replies_stop(struct replies *replies)
{
    pthread_mutex_lock(&replies->lock);
    replies->stopping = true;
    pthread_mutex_unlock(&replies->lock);
    if (replies->started)
        pthread_join(replies->thread, NULL);
    replies->started = false;
    tell_late(replies, is_anybody, NULL);
}

void replies_free(struct replies *replies)
{
    if (!replies)
        return;
    if (replies->started)
        replies_stop(replies);
    if (replies->consumer)
        rd_kafka_destroy(replies->consumer);
    pthread_mutex_destroy(&replies->lock);
    free(replies);
}
