/* door_open.c: a door's opening and closing, and what can be seen of it. */
#include "ingest/door_parts.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "common/log.h"

static struct metric in_flight =
    METRIC_GAUGE("ingest_in_flight", "messages on their way to Kafka that somebody waits for");
static struct metric kafka_away = METRIC_GAUGE("ingest_kafka_away", "1 while Kafka is known to be away");
static struct metric spool_messages =
    METRIC_GAUGE("ingest_spool_messages", "messages in the spool that Kafka does not have yet");
static struct metric spool_aside =
    METRIC_GAUGE("ingest_spool_aside", "messages in the spool that Kafka refused for good");
static struct metric spool_bytes = METRIC_GAUGE("ingest_spool_bytes", "size of the spool's files");

/* --- opening and closing -------------------------------------------------------------------------------------- */

static void make_lanes(struct door *door)
{
    for (const struct topic *const *topic = door->settings.topics; *topic; topic++)
        door->lane_count += (size_t)(*topic)->partitions;
    door->lanes = must_alloc(door->lane_count * sizeof(door->lanes[0]));
    struct lane *lane = door->lanes;
    for (const struct topic *const *topic = door->settings.topics; *topic; topic++)
        for (int32_t partition = 0; partition < (*topic)->partitions; partition++) {
            lane->topic = *topic;
            lane->partition = partition;
            lane++;
        }
}

static void count_leftovers(void *context, const struct spool_count *count)
{
    struct door *door = context;
    struct lane *lane = door_lane(door, count->topic, count->partition);

    if (!lane) {
        log_error("the spool holds messages for a topic that is no longer written: they stay there",
                  LOG_TEXT("topic", count->topic), LOG_INT("messages", count->messages));
        return;
    }
    lane->spooled = count->messages;
    door->spooled += count->messages;
}

static bool open_spool(struct door *door, struct problem *why)
{
    if (!door->settings.spool_directory)
        return true;
    door->spool = spool_open(&(struct spool_settings){ .directory = door->settings.spool_directory,
                                                       .bytes_max = door->settings.spool_bytes_max,
                                                       .added = door_spool_added,
                                                       .read = door_spool_was_read,
                                                       .removed = door_spool_removed,
                                                       .context = door },
                             why);
    if (!door->spool || !spool_leftovers(door->spool, count_leftovers, door, why))
        return false;
    if (door->spooled > 0) {
        log_info("the spool holds messages from before: they are sent first", LOG_INT("messages", door->spooled));
        door_start_ticking(door);
    }
    return true;
}

struct door *door_open(const struct door_settings *settings, struct problem *why)
{
    static struct metric *const metrics[] = { &door_kept_time,      &door_not_kept,    &in_flight,  &kafka_away,
                                              &spool_messages, &spool_aside, &spool_bytes };
    struct door *door = must_alloc(sizeof(*door));

    for (size_t i = 0; i < LENGTH(metrics); i++)
        metric_register(metrics[i]);
    door->settings = *settings;
    make_lanes(door);
    door->tick_fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    bool good = door->tick_fd >= 0 || fail(why, "could not make a timer: %s", strerror(errno));
    if (good && open_spool(door, why))
        door->producers = producers_open(&(struct producers_settings){ .brokers = settings->brokers,
                                                                       .client_id = settings->client_id,
                                                                       .topics = settings->topics,
                                                                       .delivered = door_delivered,
                                                                       .context = door },
                                         why);
    if (door->producers)
        return door;
    door_close(door, 0);
    return NULL;
}

bool door_start(struct door *door, void *loop, struct problem *why)
{
    const struct door_settings *settings = &door->settings;
    return settings->watch(loop, producers_fd(door->producers), door_kafka_ready, door, why) &&
           (!door->spool || settings->watch(loop, spool_fd(door->spool), door_spool_ready, door, why)) &&
           settings->watch(loop, door->tick_fd, door_tick, door, why);
}

/* Whoever scales in may never start this spool again: what Kafka takes now needs nobody. */
static void empty_spool(struct door *door, int64_t end_us)
{
    struct pollfd ready[] = { { .fd = producers_fd(door->producers), .events = POLLIN },
                              { .fd = spool_fd(door->spool), .events = POLLIN },
                              { .fd = door->tick_fd, .events = POLLIN } };

    while (door->spooled > 0 && monotonic_us() < end_us) {
        poll(ready, LENGTH(ready), DOOR_DRAIN_AGAIN_MS);
        door_kafka_ready(door);
        door_spool_ready(door);
        door_tick(door);
    }
}

static void tell_what_is_left(const struct door *door)
{
    int64_t left = spool_size(door->spool).messages;

    if (left > 0)
        log_warning("ends with messages that Kafka does not have yet: an instance must be started on this spool",
                    LOG_INT("messages", left), LOG_TEXT("spool", door->settings.spool_directory));
}

/* What the spool was asked to do it answers, so that no parcel is left over. */
static void finish_writing(struct door *door)
{
    while (door->writing > 0) {
        struct pollfd ready = { .fd = spool_fd(door->spool), .events = POLLIN };
        poll(&ready, 1, -1);
        spool_serve(door->spool);
    }
}

void door_close(struct door *door, int64_t deadline_ms)
{
    if (!door)
        return;
    int64_t end_us = monotonic_us() + deadline_ms * 1000;
    if (door->spool && door->producers)
        empty_spool(door, end_us);
    door->closing = true;
    producers_close(door->producers, (end_us - monotonic_us()) / 1000);
    finish_writing(door);
    if (door->spool)
        tell_what_is_left(door);
    spool_close(door->spool);
    if (door->tick_fd >= 0)
        close(door->tick_fd);
    while (door->spare) {
        struct parcel *parcel = door->spare;
        door->spare = parcel->next;
        buf_done(&parcel->payload);
        free(parcel);
    }
    free(door->lanes);
    free(door);
}

/* --- what can be seen ----------------------------------------------------------------------------------------- */

bool door_ready(const struct door *door, struct problem *why)
{
    if (!door_is_away(door))
        return true;
    if (!door->spool)
        return fail(why, "Kafka is away, and there is no spool");
    return !door->spool_refuses || fail(why, "Kafka is away, and the spool cannot be written: is its disk full?");
}

struct spool_size door_spool(const struct door *door)
{
    return door->spool ? spool_size(door->spool) : (struct spool_size){ 0 };
}

void door_metrics(struct door *door)
{
    struct spool_size size = door_spool(door);

    metric_set(&in_flight, door->waiting);
    metric_set(&kafka_away, door->away ? 1 : 0);
    metric_set(&spool_messages, size.messages);
    metric_set(&spool_aside, size.aside);
    metric_set(&spool_bytes, size.bytes);
}
