/* consume.c: the consumer: poll, partitions come and go, offsets go out, and not more is taken than there is room for. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <poll.h>
#include <string.h>

#define POLL_MS 100
#define COMMITTED_TIMEOUT_MS 10000
#define SESSION_TIMEOUT_MS "45000"
#define PREFETCH_KIB "16384"
#define PREFETCH_MESSAGES "4000"

void offsets_store(void)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    pthread_mutex_lock(&runtime.lock);
    for (struct partition *partition = runtime.partitions; partition; partition = partition->next)
        if (partition->assigned && partition->moved) {
            rd_kafka_topic_partition_list_add(list, partition->topic, partition->number)->offset = offsets_lowest(partition);
            partition->moved = false;
        }
    pthread_mutex_unlock(&runtime.lock);
    if (list->cnt > 0)
        rd_kafka_offsets_store(runtime.consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* --- rebalance ---------------------------------------------------------------------------------------------------------- */

static void assigned(rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_resp_err_t error = rd_kafka_committed(runtime.consumer, list, COMMITTED_TIMEOUT_MS);
    if (error) {
        log_error("could not learn the committed offsets", LOG_TEXT("why", rd_kafka_err2str(error)));
        daemon_stop("the committed offsets could not be read");
        return;
    }
    pthread_mutex_lock(&runtime.lock);
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *item = &list->elems[i];
        struct partition *partition = partition_get(item->topic, item->partition);
        partition->assigned = true;
        partition->paused = false;
        if (item->offset < 0)
            item->offset = RD_KAFKA_OFFSET_BEGINNING;       /* a new group starts at the beginning, explicitly */
        else
            offsets_drop_before(partition, item->offset);   /* another instance went on in the meantime */
    }
    runtime.subscribed = true;
    pthread_mutex_unlock(&runtime.lock);
    rd_kafka_assign(runtime.consumer, list);
}

/* Running handlers go on; what is being committed may finish, so that the next owner does not do it again. */
static void revoked(rd_kafka_topic_partition_list_t *list)
{
    int64_t deadline = monotonic_us() + REBALANCE_COMMIT_MS_MAX * 1000;
    struct timespec until = { .tv_sec = deadline / 1000000, .tv_nsec = deadline % 1000000 * 1000 };
    pthread_mutex_lock(&runtime.lock);
    while (runtime.committing > 0 && pthread_cond_timedwait(&runtime.room, &runtime.lock, &until) == 0)
        ;
    pthread_mutex_unlock(&runtime.lock);
    offsets_store();
    rd_kafka_commit(runtime.consumer, NULL, 0);
    pthread_mutex_lock(&runtime.lock);
    for (int i = 0; i < list->cnt; i++) {
        struct partition *partition = partition_get(list->elems[i].topic, list->elems[i].partition);
        partition->assigned = false;
    }
    pthread_mutex_unlock(&runtime.lock);
    rd_kafka_assign(runtime.consumer, NULL);
}

static void rebalanced(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *unused)
{
    (void)consumer, (void)unused;
    log_info(error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "partitions assigned" : "partitions revoked", LOG_INT("count", list->cnt));
    if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        assigned(list);
    else
        revoked(list);
}

/* --- one record --------------------------------------------------------------------------------------------------------- */

static const struct route *route_of(const char *type)
{
    for (const struct route *route = runtime.stage->routes; route->type; route++)
        if (strcmp(route->type->name, type) == 0)
            return route;
    return NULL;
}

/* A message that is no event of ours: it goes to the dead letters under an id made of where it stands. */
static void not_an_event(struct work *work)
{
    char *id = arena_alloc(work->keep, UUID_BYTES);
    char place[300];
    snprintf(place, sizeof(place), "%s/%d/%lld", work->partition->topic, work->partition->number, (long long)work->offset);
    work->unread = true;
    work->unread_why = arena_alloc(work->keep, sizeof(*work->unread_why));
    *work->unread_why = work->why;
    work->event = (struct event){ .id = uuid_of(id, "unreadable", place, NULL), .type = "unreadable", .subject = work->message_key.at,
                                  .source = "", .time = time_print(work->kafka_us, arena_alloc(work->keep, TIME_BYTES)) };
}

static void read_record(struct work *work, const rd_kafka_message_t *record)
{
    rd_kafka_timestamp_type_t kind;
    int64_t timestamp_ms = rd_kafka_message_timestamp(record, &kind);
    work->kafka_us = timestamp_ms > 0 ? timestamp_ms * 1000 : 0;
    work->consumed_us = work->first_us = monotonic_us();
    work->offset = record->offset;
    work->message = (struct text){ record->payload, record->len };
    work->message.at = record->len > 0 ? arena_copy_text(work->keep, work->message) : arena_copy(work->keep, "");
    struct text key = { record->key, record->key_len };
    bool key_is_fine = key.bytes <= EVENT_KEY_BYTES_MAX && text_is_utf8(key) && !memchr(key.at ? key.at : "", '\0', key.bytes);
    work->message_key = key_is_fine && key.bytes > 0 ? (struct text){ arena_copy_text(work->keep, key), key.bytes } : TEXT("");
    if (!key_is_fine) {
        fail(&work->why, "its key is not UTF-8 of at most %d bytes", EVENT_KEY_BYTES_MAX);
        not_an_event(work);
    } else if (!event_read(work->message, work->keep, &work->event, &work->why)) {
        not_an_event(work);
    } else if (work->message_key.bytes == 0) {
        work->message_key = text_of(work->event.subject);
    }
}

static void accept_record(const rd_kafka_message_t *record)
{
    pthread_mutex_lock(&runtime.lock);
    struct partition *partition = partition_get(rd_kafka_topic_name(record->rkt), record->partition);
    bool wanted = offsets_begin(partition, record->offset);
    struct work *work = wanted ? work_new() : NULL;
    pthread_mutex_unlock(&runtime.lock);
    if (!wanted)
        return;

    work->partition = partition;
    read_record(work, record);
    if (!work->unread)
        work->route = route_of(work->event.type);
    pthread_mutex_lock(&runtime.lock);
    if (!work->unread && !work->route) {        /* not for this stage */
        offsets_finish(partition, work->offset);
        work_free(work);
    } else {
        runtime.in_flight++;
        runtime.in_flight_bytes += (int64_t)work->message.bytes;
        key_append(work);
    }
    pthread_mutex_unlock(&runtime.lock);
}

/* --- not more than there is room for -------------------------------------------------------------------------------------- */

static bool window_is_full(const struct partition *partition, bool paused)
{
    return partition->count >= (size_t)(paused ? UNFINISHED_OFFSETS_MAX / 2 : UNFINISHED_OFFSETS_MAX);
}

static void pause_partitions(bool all, bool pause)
{
    pthread_mutex_lock(&runtime.lock);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);
    for (struct partition *partition = runtime.partitions; partition; partition = partition->next) {
        bool change = all ? partition->paused != pause : pause ? !partition->paused && window_is_full(partition, false)
                                                               : partition->paused && !window_is_full(partition, true);
        if (partition->assigned && change) {
            rd_kafka_topic_partition_list_add(list, partition->topic, partition->number);
            partition->paused = pause;
        }
    }
    pthread_mutex_unlock(&runtime.lock);
    if (list->cnt > 0 && pause)
        rd_kafka_pause_partitions(runtime.consumer, list);
    else if (list->cnt > 0)
        rd_kafka_resume_partitions(runtime.consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* Lock held. */
static bool there_is_room(bool paused)
{
    int64_t share = paused ? 2 : 1;         /* once paused, not before half is free */
    return runtime.circuits_stopping == 0 && runtime.postgres_away_us == 0 && runtime.in_flight < runtime.in_flight_max / share
           && runtime.in_flight_bytes < runtime.in_flight_bytes_max / share;
}

static bool wait_for_room(int64_t most_ms)
{
    int64_t deadline = monotonic_us() + most_ms * 1000;
    struct timespec until = { .tv_sec = deadline / 1000000, .tv_nsec = deadline % 1000000 * 1000 };
    pthread_mutex_lock(&runtime.lock);
    while (!there_is_room(false) && !daemon_stopping() && pthread_cond_timedwait(&runtime.room, &runtime.lock, &until) == 0)
        ;
    bool room = there_is_room(false);
    pthread_mutex_unlock(&runtime.lock);
    return room;
}

static void consumer_failed(const rd_kafka_message_t *record)
{
    if (record->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET || record->err == RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE) {
        log_error("events are missing: the topic no longer holds the offset this stage stands at; rewind it to where it shall go on",
                  LOG_TEXT("topic", record->rkt ? rd_kafka_topic_name(record->rkt) : "?"), LOG_INT("partition", record->partition),
                  LOG_TEXT("why", rd_kafka_message_errstr(record)));
        daemon_stop("a gap in a topic");
    } else if (record->err == RD_KAFKA_RESP_ERR__FATAL) {
        log_error("the consumer cannot go on", LOG_TEXT("why", rd_kafka_message_errstr(record)));
        daemon_stop("a fatal error of the consumer");
    } else {
        log_warning("kafka reported", LOG_TEXT("why", rd_kafka_message_errstr(record)));
    }
}

static void poll_once(int timeout_ms)
{
    rd_kafka_message_t *record = rd_kafka_consumer_poll(runtime.consumer, timeout_ms);
    if (!record)
        return;
    if (record->err)
        consumer_failed(record);
    else
        accept_record(record);
    rd_kafka_message_destroy(record);
}

static bool work_is_waiting(void)
{
    pthread_mutex_lock(&runtime.lock);
    bool room = there_is_room(true);
    pthread_mutex_unlock(&runtime.lock);
    return !room;
}

void consume_run(void)
{
    bool all_paused = false;
    int64_t next_upkeep = 0;
    while (!daemon_stopping()) {
        int64_t now = monotonic_us();
        if (now >= next_upkeep) {
            offsets_store();
            next_upkeep = now + OFFSETS_STORE_MS * 1000;
            if (!all_paused) {
                pause_partitions(false, true);
                pause_partitions(false, false);
            }
        }
        if (all_paused) {
            poll_once(POLL_MS);                     /* keeps the group membership while nothing is taken */
            if (!work_is_waiting()) {
                all_paused = false;
                pause_partitions(true, false);
            }
            continue;
        }
        if (!wait_for_room(PAUSE_AFTER_MS)) {
            if (!daemon_stopping()) {
                all_paused = true;
                pause_partitions(true, true);
            }
            continue;
        }
        poll_once(POLL_MS);
    }
}

/* --- open and close --------------------------------------------------------------------------------------------------------- */

bool consume_open(struct problem *why)
{
    char client_id[128];
    snprintf(client_id, sizeof(client_id), "%s-%s", runtime.stage->name, daemon_settings()->instance);
    const char *properties[] = {
        "group.id", runtime.stage->name, "group.instance.id", client_id, "partition.assignment.strategy", "range",
        "enable.auto.offset.store", "false", "enable.auto.commit", "true", "auto.commit.interval.ms", "1000",
        "auto.offset.reset", "error", "session.timeout.ms", SESSION_TIMEOUT_MS, "max.poll.interval.ms", "120000",
        "queued.max.messages.kbytes", PREFETCH_KIB, "queued.min.messages", PREFETCH_MESSAGES, "fetch.message.max.bytes", "1048576",
        "fetch.wait.max.ms", "100", "enable.partition.eof", "false", NULL };
    rd_kafka_conf_t *conf = kafka_conf(daemon_settings()->kafka_brokers, client_id, properties, why);
    if (!conf)
        return false;
    rd_kafka_conf_set_rebalance_cb(conf, rebalanced);
    char reason[256];
    runtime.consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
    if (!runtime.consumer) {
        rd_kafka_conf_destroy(conf);
        return fail(why, "could not start the consumer: %s", reason);
    }
    rd_kafka_poll_set_consumer(runtime.consumer);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(TOPICS_MAX);
    for (const char *const *topic = runtime.topics; *topic; topic++)
        rd_kafka_topic_partition_list_add(list, *topic, RD_KAFKA_PARTITION_UA);
    rd_kafka_resp_err_t error = rd_kafka_subscribe(runtime.consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(why, "could not subscribe: %s", rd_kafka_err2str(error));
}

void consume_close(void)
{
    if (!runtime.consumer)
        return;
    offsets_store();
    rd_kafka_commit(runtime.consumer, NULL, 0);
    rd_kafka_consumer_close(runtime.consumer);
    rd_kafka_destroy(runtime.consumer);
    runtime.consumer = NULL;
}
