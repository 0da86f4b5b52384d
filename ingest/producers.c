#include "ingest/producers.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "common/fault.h"
#include "common/log.h"
#include "common/metrics.h"

static struct metric replaced =
    METRIC_COUNTER("ingest_producers_replaced_total", "producers that failed for good and were replaced");

static const char *const linger_ms[LINGERS] = { [LINGER_NONE] = "0", [LINGER_SHORT] = "1" };

struct producer {
    struct producers *producers;
    enum producer_linger linger;
    rd_kafka_t *client;
    rd_kafka_queue_t *queue;
    rd_kafka_topic_t *topics[PRODUCERS_TOPICS_MAX];
    int64_t made_us;
    struct producer *next;          /* of those that are retired */
};

struct producers {
    struct producers_settings settings;
    struct producer *current[LINGERS];
    struct producer *retired;       /* still to report; freed outside their callbacks */
    int fd;
    bool closing;
    enum producer_linger suits;
    int64_t most_in_flight, window_end_us;
};

static void producer_free(struct producer *producer)
{
    if (!producer)
        return;
    for (size_t i = 0; i < PRODUCERS_TOPICS_MAX; i++)
        if (producer->topics[i])
            rd_kafka_topic_destroy(producer->topics[i]);
    if (producer->queue) {
        rd_kafka_queue_io_event_enable(producer->queue, -1, NULL, 0);
        rd_kafka_queue_destroy(producer->queue);
    }
    if (producer->client)
        rd_kafka_destroy(producer->client);
    free(producer);
}

static void report(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);

static struct producer *producer_new(struct producers *producers, enum producer_linger linger, struct problem *why)
{
    static const uint64_t one = 1;      /* what an eventfd takes */
    struct producer *producer = must_alloc(sizeof(*producer));
    const struct producers_settings *settings = &producers->settings;

    producer->producers = producers;
    producer->linger = linger;
    producer->made_us = monotonic_us();
    producer->client = kafka_producer(settings->brokers, settings->client_id, linger_ms[linger],
                                      PRODUCERS_QUEUE_BYTES_MAX, report, producer, why);
    bool good = producer->client;
    for (size_t i = 0; good && settings->topics[i]; i++) {
        assert(i < PRODUCERS_TOPICS_MAX);
        producer->topics[i] = rd_kafka_topic_new(producer->client, settings->topics[i]->name, NULL);
        if (!producer->topics[i])
            good = fail(why, "could not use the topic \"%s\": %s", settings->topics[i]->name,
                        rd_kafka_err2str(rd_kafka_last_error()));
    }
    if (!good) {
        producer_free(producer);
        return NULL;
    }
    producer->queue = rd_kafka_queue_get_main(producer->client);
    rd_kafka_queue_io_event_enable(producer->queue, producers->fd, &one, sizeof(one));
    eventfd_write(producers->fd, one);  /* the queue tells only that it is not empty any more: it may not have been */
    return producer;
}

/* False when it may not be replaced yet or cannot be. */
static bool producer_replace(struct producer *producer)
{
    struct producers *producers = producer->producers;
    struct problem why = { 0 };
    char reason[256] = "";

    if (producers->current[producer->linger] != producer)
        return true;        /* it was, already */
    if (producers->closing || monotonic_us() - producer->made_us < PRODUCERS_REPLACE_MS * 1000)
        return false;
    rd_kafka_fatal_error(producer->client, reason, sizeof(reason));
    log_error("a Kafka producer failed for good and is replaced", LOG_TEXT("reason", reason));
    struct producer *fresh = producer_new(producers, producer->linger, &why);
    if (!fresh) {
        log_error("a Kafka producer could not be replaced", LOG_TEXT("reason", why.text));
        producer->made_us = monotonic_us();
        return false;
    }
    producers->current[producer->linger] = fresh;
    producer->next = producers->retired;
    producers->retired = producer;
    eventfd_write(producers->fd, 1);
    metric_add(&replaced, 1);
    return true;
}

static void report(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct producer *producer = opaque;
    const struct producers_settings *settings = &producer->producers->settings;

    FAULT_POINT("door.reported");
    bool failed = message->err != RD_KAFKA_RESP_ERR_NO_ERROR &&
                  rd_kafka_fatal_error(client, NULL, 0) != RD_KAFKA_RESP_ERR_NO_ERROR;
    if (failed)
        producer_replace(producer);
    settings->delivered(settings->context, message->_private, failed ? RD_KAFKA_RESP_ERR__FATAL : message->err);
}

/* Every message is reported before the producer is gone. */
static void producer_retire(struct producer *producer)
{
    int64_t end_us = monotonic_us() + PRODUCERS_RETIRE_MS_MAX * 1000;
    rd_kafka_purge(producer->client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    while (rd_kafka_outq_len(producer->client) > 0 && monotonic_us() < end_us)
        rd_kafka_poll(producer->client, 10);
    producer_free(producer);
}

struct producers *producers_open(const struct producers_settings *settings, struct problem *why)
{
    struct producers *producers = must_alloc(sizeof(*producers));
    producers->settings = *settings;
    producers->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    metric_register(&replaced);
    bool good = producers->fd >= 0 || fail(why, "could not make an event for Kafka: %s", strerror(errno));
    for (int i = 0; i < LINGERS && good; i++) {
        producers->current[i] = producer_new(producers, (enum producer_linger)i, why);
        good = producers->current[i];
    }
    if (good)
        return producers;
    producers_close(producers, 0);
    return NULL;
}

static void retire_replaced(struct producers *producers)
{
    while (producers->retired) {
        struct producer *producer = producers->retired;
        producers->retired = producer->next;
        producer_retire(producer);
    }
}

void producers_close(struct producers *producers, int64_t deadline_ms)
{
    if (!producers)
        return;
    int64_t end_us = monotonic_us() + deadline_ms * 1000;
    producers->closing = true;
    retire_replaced(producers);
    for (int i = 0; i < LINGERS; i++) {
        if (!producers->current[i])
            continue;
        while (rd_kafka_outq_len(producers->current[i]->client) > 0 && monotonic_us() < end_us)
            rd_kafka_poll(producers->current[i]->client, 10);
        producer_retire(producers->current[i]);
    }
    if (producers->fd >= 0)
        close(producers->fd);
    free(producers);
}

int producers_fd(const struct producers *producers)
{
    return producers->fd;
}

void producers_serve(struct producers *producers)
{
    eventfd_t ignored;

    eventfd_read(producers->fd, &ignored);
    for (int i = 0; i < LINGERS; i++)
        rd_kafka_poll(producers->current[i]->client, 0);
    retire_replaced(producers);
}

/* By the most in flight within a window, not the number at the moment: that is near 0 each time a batch has been
 * acknowledged. */
enum producer_linger producers_suiting(struct producers *producers, int64_t in_flight, int64_t at_us)
{
    if (at_us >= producers->window_end_us) {
        if (producers->most_in_flight <= PRODUCERS_FEW_IN_FLIGHT)
            producers->suits = LINGER_NONE;
        producers->most_in_flight = 0;
        producers->window_end_us = at_us + PRODUCERS_WINDOW_MS * 1000;
    }
    if (in_flight > producers->most_in_flight)
        producers->most_in_flight = in_flight;
    if (in_flight >= PRODUCERS_MANY_IN_FLIGHT)
        producers->suits = LINGER_SHORT;
    return producers->suits;
}

static size_t topic_index(const struct producers *producers, const struct topic *topic)
{
    size_t index = 0;
    while (producers->settings.topics[index] != topic) {
        assert(producers->settings.topics[index]);
        index++;
    }
    return index;
}

rd_kafka_resp_err_t producers_send(struct producers *producers, enum producer_linger linger, const struct topic *topic,
                                   int32_t partition, struct text key, struct text payload, void *message_context)
{
    size_t index = topic_index(producers, topic);

    FAULT_POINT("door.accepted");
    for (;;) {
        struct producer *producer = producers->current[linger];
        if (rd_kafka_produce(producer->topics[index], partition, 0, (void *)(uintptr_t)payload.at, payload.bytes,
                             key.at, key.bytes, message_context) == 0)
            return RD_KAFKA_RESP_ERR_NO_ERROR;
        rd_kafka_resp_err_t error = rd_kafka_last_error();
        if (error != RD_KAFKA_RESP_ERR__FATAL || !producer_replace(producer))
            return error;
    }
}
