#include "ingest/door_parts.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"

struct metric door_kept_time =
    METRIC_HISTOGRAM("ingest_kept_seconds", "from acceptance until a message is durable, by what keeps it", "by");
struct metric door_not_kept =
    METRIC_COUNTER("ingest_not_kept_total", "messages that could not be kept and were refused with 503");

/* --- parcels -------------------------------------------------------------------------------------------------- */

struct parcel *door_parcel(struct door *door)
{
    struct parcel *parcel = door->spare;
    if (parcel) {
        struct buf payload = parcel->payload;
        door->spare = parcel->next;
        door->spares--;
        *parcel = (struct parcel){ .payload = payload };
        buf_clear(&parcel->payload);
    } else {
        parcel = must_alloc(sizeof(*parcel));
        buf_init(&parcel->payload, DOOR_MESSAGE_BYTES_MAX);
    }
    parcel->door = door;
    return parcel;
}

void door_forget(struct door *door, struct parcel *parcel)
{
    if (door->spares < DOOR_SPARE_PARCELS_MAX && parcel->payload.room <= DOOR_SPARE_BYTES_MAX) {
        parcel->next = door->spare;
        door->spare = parcel;
        door->spares++;
        return;
    }
    buf_done(&parcel->payload);
    free(parcel);
}

static struct text parcel_key(const struct parcel *parcel)
{
    return (struct text){ parcel->key, parcel->key_bytes };
}

static void waiting_add(struct door *door, struct parcel *parcel)
{
    parcel->previous = door->last;
    parcel->next = NULL;
    *(door->last ? &door->last->next : &door->first) = parcel;
    door->last = parcel;
    door->waiting++;
}

static void waiting_remove(struct door *door, struct parcel *parcel)
{
    *(parcel->previous ? &parcel->previous->next : &door->first) = parcel->next;
    *(parcel->next ? &parcel->next->previous : &door->last) = parcel->previous;
    parcel->previous = parcel->next = NULL;
    door->waiting--;
}

static void parcel_tell(struct parcel *parcel, enum kept how)
{
    parcel->told = true;
    if (how == KEPT_NOT)
        metric_add(&door_not_kept, 1);
    else
        metric_time(&door_kept_time, monotonic_us() - parcel->accepted_us, how == KEPT_BY_KAFKA ? "kafka" : "spool");
    parcel->kept(parcel, how);
}

/* Frees the parcel when neither Kafka nor the spool holds on to it. */
static void parcel_settle(struct parcel *parcel)
{
    if (!parcel->in_producer && !parcel->in_writer)
        door_forget(parcel->door, parcel);
}

void door_start_ticking(struct door *door)
{
    static const struct itimerspec tick = { { 0, DOOR_TICK_MS * 1000000 }, { 0, DOOR_TICK_MS * 1000000 } };
    if (!door->ticking && timerfd_settime(door->tick_fd, 0, &tick, NULL) == 0)
        door->ticking = true;
}

static void stop_ticking(struct door *door)
{
    static const struct itimerspec never = { { 0, 0 }, { 0, 0 } };
    if (timerfd_settime(door->tick_fd, 0, &never, NULL) == 0)
        door->ticking = false;
}

/* --- is Kafka there? ------------------------------------------------------------------------------------------ */

/* Something must be on its way to find out that Kafka is back; without that the next message finds out. */
bool door_is_away(const struct door *door)
{
    return door->away && (door->sending > 0 || door->spooled > 0);
}

static void note_heard(struct door *door)
{
    door->heard_us = monotonic_us();
    if (!door->away)
        return;
    door->away = false;
    log_info("Kafka answers again", LOG_INT("away_ms", (door->heard_us - door->away_us) / 1000),
             LOG_INT("spooled", door->spooled));
}

static void note_silence(struct door *door, int64_t at_us)
{
    if (door->away || at_us - door->heard_us < DOOR_PATIENCE_MS * 1000)
        return;
    door->away = true;
    door->away_us = at_us;
    log_warning(door->spool ? "Kafka does not answer: what comes in is spooled"
                            : "Kafka does not answer, and there is no spool: what comes in is refused with 503",
                LOG_TEXT("brokers", door->settings.brokers));
}

/* --- into the spool ------------------------------------------------------------------------------------------- */

static void parcel_spool(struct parcel *parcel)
{
    struct door *door = parcel->door;
    parcel->in_writer = true;
    parcel->lane->spooled++;
    door->spooled++;
    door->writing++;
    struct spool_message message = { .id = parcel->id, .topic = parcel->topic->name, .partition = parcel->lane->partition,
                                     .key = parcel_key(parcel), .payload = buf_text(&parcel->payload) };
    parcel->number = spool_add(door->spool, &message, parcel);
    door_start_ticking(door);
}

/* All of the lane that wait for Kafka go into the spool, so that what comes next can go behind them; NULL: of every
 * lane. */
static void lane_hold(struct door *door, const struct lane *lane)
{
    for (struct parcel *parcel = door->first, *next; parcel; parcel = next) {
        next = parcel->next;
        if (lane && parcel->lane != lane)
            continue;
        waiting_remove(door, parcel);
        parcel_spool(parcel);
    }
}

/* Kafka will not have one that waits, for now. */
static void give_up_waiting(struct parcel *parcel)
{
    if (parcel->door->spool) {
        lane_hold(parcel->door, parcel->lane);
        return;
    }
    waiting_remove(parcel->door, parcel);
    parcel_tell(parcel, KEPT_NOT);
    parcel_settle(parcel);
}

static void remove_one(struct parcel *parcel)
{
    spool_remove(parcel->door->spool, parcel->topic->name, parcel->lane->partition, &parcel->number, 1);
}

static void note_sent(struct door *door, struct lane *lane)
{
    lane->sending--;
    door->sending--;
}

static void lane_idle(struct door *door, struct lane *lane);

void door_spool_added(void *context, void *message_context, bool on_disk)
{
    struct door *door = context;
    struct parcel *parcel = message_context;
    struct lane *lane = parcel->lane;

    parcel->in_writer = false;
    door->writing--;
    door->spool_refuses = !on_disk;
    if (!on_disk) {
        parcel->number = 0;
        lane->spooled--;
        door->spooled--;
    }
    if (parcel->delivered && on_disk)
        remove_one(parcel);
    if (parcel->delivered)
        note_sent(door, lane);
    if (!parcel->told)
        parcel_tell(parcel, on_disk ? KEPT_BY_SPOOL : KEPT_NOT);
    parcel_settle(parcel);
    if (lane->sending == 0)
        lane_idle(door, lane);
}

/* --- to Kafka ------------------------------------------------------------------------------------------------- */

static bool parcel_send(struct parcel *parcel)
{
    struct door *door = parcel->door;
    if (producers_send(door->producers, parcel->lane->linger, parcel->topic, parcel->lane->partition,
                       parcel_key(parcel), buf_text(&parcel->payload), parcel) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    parcel->in_producer = true;
    if (!parcel->from_spool) {
        parcel->lane->sending++;
        door->sending++;
    }
    return true;
}

static void wait_for_kafka(struct parcel *parcel)
{
    struct door *door = parcel->door;
    waiting_add(door, parcel);
    door_start_ticking(door);
}

static struct lane *lane_of(struct door *door, const struct topic *topic, struct text key)
{
    int32_t partition = rd_kafka_msg_partitioner_murmur2(NULL, key.at, key.bytes, topic->partitions, NULL, NULL);
    for (size_t i = 0; i < door->lane_count; i += (size_t)door->lanes[i].topic->partitions)
        if (door->lanes[i].topic == topic)
            return &door->lanes[i + (size_t)partition];
    assert(!"the topic was given to door_open");
    return NULL;
}

/* When nothing is on its way nothing waits for a change either. */
static void lane_suit(struct lane *lane, enum producer_linger suiting)
{
    if (lane->sending == 0)
        lane->linger = suiting;
    lane->changing = lane->sending > 0 && (lane->changing || lane->linger != suiting);
}

/* Sends what waits and is in no producer, in order of acceptance; `lane` NULL: of every lane. */
static void send_waiting(struct door *door, const struct lane *lane)
{
    for (struct parcel *parcel = door->first, *next; parcel; parcel = next) {
        next = parcel->next;
        if (parcel->in_producer || (lane && parcel->lane != lane))
            continue;
        parcel->lane->changing = false;
        if (parcel_send(parcel))
            continue;
        give_up_waiting(parcel);
        next = door->first;     /* others of its lane may have gone with it */
    }
}

static void lane_change(struct door *door, struct lane *lane)
{
    lane->changing = false;
    lane->linger = lane->linger == LINGER_NONE ? LINGER_SHORT : LINGER_NONE;
    send_waiting(door, lane);
}

void door_keep(struct door *door, struct parcel *parcel)
{
    assert(!parcel->payload.overflowed && (int64_t)parcel->payload.bytes <= parcel->topic->message_bytes_max);
    parcel->lane = lane_of(door, parcel->topic, parcel_key(parcel));
    parcel->accepted_us = monotonic_us();
    bool behind = parcel->lane->spooled > 0 || door_is_away(door);
    enum producer_linger suiting = producers_suiting(door->producers, door->waiting + 1, parcel->accepted_us);
    if (!behind)
        lane_suit(parcel->lane, suiting);
    if (!behind && (parcel->lane->changing || parcel_send(parcel))) {
        wait_for_kafka(parcel);
    } else if (door->spool) {
        lane_hold(door, parcel->lane);
        parcel_spool(parcel);
    } else {
        parcel_tell(parcel, KEPT_NOT);
        parcel_settle(parcel);
    }
}

/* The producer that had it failed: another one is in its place by now. */
static bool is_lost_with_producer(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR__FATAL || error == RD_KAFKA_RESP_ERR__PURGE_QUEUE ||
           error == RD_KAFKA_RESP_ERR__PURGE_INFLIGHT;
}

static void drain_delivered(struct parcel *parcel, rd_kafka_resp_err_t error);

/* What becomes of a message that somebody waits for, and that Kafka does not have. */
static void undelivered(struct parcel *parcel, rd_kafka_resp_err_t error)
{
    struct door *door = parcel->door;
    if (is_lost_with_producer(error) && !door->closing) {
        door->lost = true;      /* it goes on waiting, for kafka_ready() */
        return;
    }
    log_warning("Kafka refused a message", LOG_TEXT("event_id", parcel->id), LOG_TEXT("topic", parcel->topic->name),
                LOG_TEXT("reason", rd_kafka_err2str(error)));
    give_up_waiting(parcel);
}

void door_delivered(void *context, void *message_context, rd_kafka_resp_err_t error)
{
    struct door *door = context;
    struct parcel *parcel = message_context;
    struct lane *lane = parcel->lane;

    parcel->in_producer = false;
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        note_heard(door);
    if (parcel->from_spool) {
        drain_delivered(parcel, error);
        return;
    }
    parcel->delivered = error == RD_KAFKA_RESP_ERR_NO_ERROR;
    /* the spool must not be read between the addition and the removal of what Kafka has: spool_added() does this
     * then */
    if (!parcel->delivered || !parcel->in_writer)
        note_sent(door, lane);
    bool waits = !parcel->told && !parcel->number;
    if (!parcel->delivered && waits) {
        undelivered(parcel, error);
        return;
    }
    if (waits)
        waiting_remove(door, parcel);
    if (parcel->delivered && !parcel->told)
        parcel_tell(parcel, KEPT_BY_KAFKA);
    if (parcel->delivered && parcel->number && !parcel->in_writer)
        remove_one(parcel);
    parcel_settle(parcel);
    if (lane->sending == 0)
        lane_idle(door, lane);
}

/* --- out of the spool ----------------------------------------------------------------------------------------- */

/* While Kafka is away one message of each lane asks whether it is back. */
static void lane_drain(struct door *door, struct lane *lane)
{
    if (lane->spooled == 0 || lane->sending > 0 || lane->draining || door->closing ||
        monotonic_us() < lane->drain_again_us)
        return;
    lane->draining = true;
    lane->linger = LINGER_SHORT;
    lane->drain_failed = false;
    spool_read(door->spool, lane->topic->name, lane->partition, door->away ? 1 : SPOOL_READ_MAX);
}

/* Nothing of the lane is on its way, but for what comes from the spool. */
static void lane_idle(struct door *door, struct lane *lane)
{
    if (lane->changing)
        lane_change(door, lane);
    lane_drain(door, lane);
}

static void drain_end(struct door *door, struct lane *lane)
{
    if (lane->sent_count > 0)
        spool_remove(door->spool, lane->topic->name, lane->partition, lane->sent, lane->sent_count);
    int64_t longer_ms = lane->drain_wait_ms ? lane->drain_wait_ms * 2 : DOOR_DRAIN_AGAIN_MS;
    lane->drain_wait_ms = lane->drain_failed ? longer_ms : 0;
    if (lane->drain_wait_ms > DOOR_DRAIN_AGAIN_MS_MAX)
        lane->drain_wait_ms = DOOR_DRAIN_AGAIN_MS_MAX;
    lane->drain_again_us = monotonic_us() + lane->drain_wait_ms * 1000;
    lane->sent_count = 0;
    lane->draining = false;
    lane_drain(door, lane);
}

struct lane *door_lane(struct door *door, const char *topic, int32_t partition)
{
    for (size_t i = 0; i < door->lane_count; i++)
        if (door->lanes[i].partition == partition && strcmp(door->lanes[i].topic->name, topic) == 0)
            return &door->lanes[i];
    return NULL;
}

static bool send_spooled(struct door *door, struct lane *lane, const struct spool_message *message)
{
    struct parcel *parcel = door_parcel(door);
    assert(message->key.bytes <= sizeof(parcel->key));
    parcel->topic = lane->topic;
    parcel->lane = lane;
    parcel->from_spool = parcel->told = true;
    parcel->number = message->number;
    parcel->key_bytes = message->key.bytes;
    memcpy(parcel->key, message->key.at, message->key.bytes);
    memccpy(parcel->id, message->id, '\0', sizeof(parcel->id) - 1);
    buf_add_text(&parcel->payload, message->payload);
    if (parcel_send(parcel))
        return true;
    door_forget(door, parcel);
    return false;
}

void door_spool_was_read(void *context, const char *topic, int32_t partition, const struct spool_message *messages,
                         int count)
{
    struct door *door = context;
    struct lane *lane = door_lane(door, topic, partition);

    lane->drain_failed = count <= 0 || door->closing; /* none although some are counted: they are on their way in */
    for (int i = 0; i < count && !lane->drain_failed; i++) {
        if (send_spooled(door, lane, &messages[i]))
            lane->drain_left++;
        else
            lane->drain_failed = true;
    }
    if (lane->drain_left == 0)
        drain_end(door, lane);
}

/* What no broker will ever take.  Everything else may succeed another time. */
static bool is_refused_for_good(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE || error == RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE ||
           error == RD_KAFKA_RESP_ERR_INVALID_RECORD;
}

static void drain_delivered(struct parcel *parcel, rd_kafka_resp_err_t error)
{
    struct door *door = parcel->door;
    struct lane *lane = parcel->lane;

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        lane->sent[lane->sent_count++] = parcel->number;
    } else if (is_refused_for_good(error)) {
        log_error("Kafka refuses a spooled message for good: it stays in the spool, set aside",
                  LOG_TEXT("event_id", parcel->id), LOG_TEXT("topic", parcel->topic->name),
                  LOG_TEXT("reason", rd_kafka_err2str(error)));
        spool_set_aside(door->spool, lane->topic->name, lane->partition, parcel->number, rd_kafka_err2str(error));
    } else {
        lane->drain_failed = true;
    }
    door_forget(door, parcel);
    if (--lane->drain_left == 0)
        drain_end(door, lane);
}

void door_spool_removed(void *context, const char *topic, int32_t partition, int count, bool gone)
{
    struct door *door = context;
    struct lane *lane = door_lane(door, topic, partition);

    if (gone) {
        lane->spooled -= count;
        door->spooled -= count;
        if (door->spooled == 0)
            log_info("the spool is empty: Kafka has everything");
    } else {
        lane->drain_again_us = monotonic_us() + DOOR_DRAIN_AGAIN_MS_MAX * 1000;
    }
    lane_drain(door, lane);
}

/* --- the loop's calls ----------------------------------------------------------------------------------------- */

void door_kafka_ready(void *context)
{
    struct door *door = context;
    producers_serve(door->producers);
    if (door->lost) {
        door->lost = false;
        send_waiting(door, NULL);   /* only now: a failed producer does not report in order */
    }
}

void door_spool_ready(void *context)
{
    spool_serve(((struct door *)context)->spool);
}

/* Nobody waits longer than Kafka is given; what went to the spool now does not count as waiting. */
static void end_patience(struct door *door, int64_t at_us)
{
    while (door->first && at_us - door->first->accepted_us >= DOOR_PATIENCE_MS * 1000) {
        note_silence(door, at_us);
        if (door->spool && door->away)
            lane_hold(door, NULL);
        else
            give_up_waiting(door->first);
    }
}

void door_tick(void *context)
{
    struct door *door = context;
    uint64_t ignored;

    if (read(door->tick_fd, &ignored, sizeof(ignored)) < 0)
        return;
    end_patience(door, monotonic_us());
    for (size_t i = 0; i < door->lane_count; i++)
        lane_drain(door, &door->lanes[i]);
    if (!door->first && door->spooled == 0)
        stop_ticking(door);
}
