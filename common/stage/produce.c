/* produce.c: the events of committed works go out; when the last one is acknowledged the work is finished. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <string.h>

#define PRODUCER_QUEUE_BYTES_MAX (64 * 1024 * 1024)
#define POLL_MS 100
#define QUEUE_FULL_PAUSE_MS 5

void work_finish(struct work *work)
{
    metric_time(&metric_hop_time, monotonic_us() - work->consumed_us, work->event.type);
    offsets_finish(work->partition, work->offset);
    key_pop(work);
    work->partition->in_flight--;
    runtime.in_flight--;
    runtime.in_flight_bytes -= (int64_t)work->message.bytes;
    if (work->resumed) {
        runtime.resume_parked = true;
        pthread_cond_signal(&runtime.sweep_now);
    }
    room_appeared(work->partition);
    work_free(work);
}

void committing_ended(void)
{
    if (--runtime.committing == 0)
        pthread_cond_signal(&runtime.settled);
}

void settle_until(int64_t deadline_us)
{
    struct timespec until = { .tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000 };
    while (runtime.committing > 0 && !runtime.cannot_send && pthread_cond_timedwait(&runtime.settled, &runtime.lock, &until) == 0)
        ;
}

/* What was not sent stays unfinished, and nobody waits for it: the redelivered record sends the recorded events again. */
static void sending_failed(const char *why)
{
    pthread_mutex_lock(&runtime.lock);
    bool known = runtime.cannot_send;
    runtime.cannot_send = true;
    pthread_cond_broadcast(&runtime.settled);
    pthread_mutex_unlock(&runtime.lock);
    if (!known)
        daemon_stop(why);
}

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *unused)
{
    (void)producer, (void)unused;
    struct work *work = message->_private;
    if (message->err) {
        /* there is no message time-out, so this is final: the message was purged or the producer is broken */
        log_error("could not send an event", LOG_TEXT("topic", rd_kafka_topic_name(message->rkt)),
                  LOG_TEXT("why", rd_kafka_err2str(message->err)));
        sending_failed("an event could not be sent");
        return;
    }
    if (!work)
        return;
    FAULT_POINT("produce.after");
    pthread_mutex_lock(&runtime.lock);
    if (--work->acks_due == 0) {
        committing_ended();
        work_finish(work);
    }
    pthread_mutex_unlock(&runtime.lock);
}

/* Hands one message to librdkafka, waiting while its queue is full. */
static rd_kafka_resp_err_t produce(const char *topic, const char *key, struct text payload, struct work *work)
{
    for (;;) {
        rd_kafka_resp_err_t error = rd_kafka_producev(runtime.producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY(key, strlen(key)),
                                                      RD_KAFKA_V_VALUE((void *)payload.at, payload.bytes),
                                                      RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(work),
                                                      RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return error;
        struct timespec pause = { .tv_nsec = QUEUE_FULL_PAUSE_MS * 1000000L };
        nanosleep(&pause, NULL);
    }
}

int event_count(const struct work *work)
{
    int count = 0;
    for (const struct event_effect *event = work->events; event; event = event->next)
        count++;
    return count;
}

/* Hands a work's events over; false when that failed, and the stage ends. */
static bool produce_events(struct work *work)
{
    FAULT_POINT("produce.before");
    /* the last one's report may finish and free the work: `next` is read before */
    for (const struct event_effect *event = work->events, *next; event; event = next) {
        next = event->next;
        metric_add(&metric_emitted, 1, event->topic);
        rd_kafka_resp_err_t error = produce(event->topic, event->key, event->payload, work);
        if (error) {
            log_error("could not send an event", LOG_TEXT("topic", event->topic), LOG_TEXT("why", rd_kafka_err2str(error)));
            sending_failed("an event could not be sent");
            return false;
        }
    }
    return true;
}

void produce_works(struct work *const *works, int count)
{
    struct work *speaking[LOOKUP_BATCH_MAX];
    int speaking_count = 0;
    pthread_mutex_lock(&runtime.lock);
    for (int i = 0; i < count; i++) {
        if (works[i]->from_ledger)
            runtime.committing++;
        works[i]->state = WORK_PRODUCING;
        works[i]->acks_due = event_count(works[i]);
        if (works[i]->acks_due > 0) {
            speaking[speaking_count++] = works[i];
        } else {
            committing_ended();
            work_finish(works[i]);
        }
    }
    pthread_mutex_unlock(&runtime.lock);
    for (int i = 0; i < speaking_count; i++)
        if (!produce_events(speaking[i]))
            return;
}

bool produce_payload(const char *topic, const char *key, struct text payload, struct problem *why)
{
    rd_kafka_resp_err_t error = produce(topic, key, payload, NULL);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR || fail(why, "could not send to \"%s\": %s", topic, rd_kafka_err2str(error));
}

bool produce_open(struct problem *why)
{
    char client_id[128];
    snprintf(client_id, sizeof(client_id), "%s-%s", runtime.stage->name, daemon_settings()->instance);
    runtime.producer = kafka_producer(daemon_settings()->kafka_brokers, client_id, "0", PRODUCER_QUEUE_BYTES_MAX, delivered, NULL, why);
    return runtime.producer != NULL;
}

void *produce_main(void *unused)
{
    for (;;) {
        rd_kafka_poll(runtime.producer, POLL_MS);
        char reason[256];
        if (rd_kafka_fatal_error(runtime.producer, reason, sizeof(reason)))
            sending_failed(reason);
        pthread_mutex_lock(&runtime.lock);
        bool finished = runtime.finished;
        pthread_mutex_unlock(&runtime.lock);
        if (finished)
            return unused;
    }
}
