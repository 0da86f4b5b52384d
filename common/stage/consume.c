/* consume.c: the consumer: partitions come and go, offsets go out, and not more is taken than there is room for.
 *
 * Each partition has a queue of its own in librdkafka, read in turn: one that has no room is left alone, and librdkafka stops fetching
 * for it when PREFETCH_… is there.  So nothing is paused, and a partition full of waiting events holds up no other.  The consumer's main
 * queue carries rebalances and errors alone, and is polled often enough to stay in the group. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <string.h>

#define UPKEEP_MS 100                   /* offsets are stored, and the group is polled at least so often */
#define COMMITTED_TIMEOUT_MS 10000
#define SESSION_TIMEOUT_MS "45000"
#define PREFETCH_KIB "4096"             /* of each partition */
#define PREFETCH_MESSAGES "1000"
#define TAKE_MAX 64                     /* from one partition before the next one has its turn */
#define ROOM_WORTH_TAKING 16            /* the consumer is not woken for less, unless nothing else is in flight */

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
    FAULT_POINT("offset.before");
    if (list->cnt > 0)
        rd_kafka_offsets_store(runtime.consumer, list);
    rd_kafka_topic_partition_list_destroy(list);
}

/* --- rebalance ---------------------------------------------------------------------------------------------------------- */

/* librdkafka's, on any of its threads, when a queue that was empty is not any more. */
static void arrived(rd_kafka_t *consumer, void *partition_or_null)
{
    (void)consumer;
    struct partition *partition = partition_or_null;
    pthread_mutex_lock(&runtime.lock);
    if (partition)
        partition->fetched = true;
    else
        runtime.group_news = true;
    pthread_cond_signal(&runtime.arrived);
    pthread_mutex_unlock(&runtime.lock);
}

/* Before fetching starts, so that nothing of it comes by the main queue. */
static void open_queue(struct partition *partition)
{
    partition->queue = rd_kafka_queue_get_partition(runtime.consumer, partition->topic, partition->number);
    rd_kafka_queue_forward(partition->queue, NULL);
    rd_kafka_queue_cb_event_enable(partition->queue, arrived, partition);
}

static void close_queue(struct partition *partition)
{
    if (!partition->queue)
        return;
    rd_kafka_queue_cb_event_enable(partition->queue, NULL, NULL);
    rd_kafka_queue_destroy(partition->queue);
    partition->queue = NULL;
}

static void assigned(rd_kafka_topic_partition_list_t *list)
{
    if (daemon_stopping())              /* nothing of them would be begun */
        return;
    rd_kafka_resp_err_t error = kafka_committed(runtime.consumer, list, COMMITTED_TIMEOUT_MS, daemon_stopping);
    if (error && !daemon_stopping()) {
        log_error("could not learn the committed offsets", LOG_TEXT("why", rd_kafka_err2str(error)));
        daemon_stop("the committed offsets could not be read");
    }
    if (error)
        return;
    for (int i = 0; i < list->cnt; i++) {
        rd_kafka_topic_partition_t *item = &list->elems[i];
        pthread_mutex_lock(&runtime.lock);
        struct partition *partition = partition_get(item->topic, item->partition);
        partition->assigned = true;
        partition->fetched = true;                          /* what an earlier assignment left there makes no news */
        if (item->offset < 0)
            item->offset = RD_KAFKA_OFFSET_BEGINNING;       /* a new group starts at the beginning, explicitly */
        else
            offsets_drop_before(partition, item->offset);   /* another instance went on in the meantime */
        partition->moved = partition->stored >= 0;          /* it was stored, but perhaps not committed: it is stored again */
        runtime.subscribed = true;
        pthread_mutex_unlock(&runtime.lock);
        open_queue(partition);
    }
    rd_kafka_assign(runtime.consumer, list);
}

/* Running handlers go on; what is being committed may finish, so that the next owner does not do it again. */
static void revoked(rd_kafka_topic_partition_list_t *list)
{
    pthread_mutex_lock(&runtime.lock);
    settle_until(monotonic_us() + REBALANCE_COMMIT_MS_MAX * 1000);
    pthread_mutex_unlock(&runtime.lock);
    offsets_store();
    rd_kafka_commit(runtime.consumer, NULL, 0);
    for (int i = 0; i < list->cnt; i++) {
        pthread_mutex_lock(&runtime.lock);
        struct partition *partition = partition_get(list->elems[i].topic, list->elems[i].partition);
        partition->assigned = false;
        pthread_mutex_unlock(&runtime.lock);
        close_queue(partition);
    }
    rd_kafka_assign(runtime.consumer, NULL);
}

static void rebalanced(rd_kafka_t *consumer, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *unused)
{
    (void)consumer, (void)unused;
    log_info(error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "partitions assigned" : "partitions revoked", LOG_INT("count", list->cnt));
    FAULT_POINT("rebalance");
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

/* --- not more than there is room for -------------------------------------------------------------------------------------- */

static bool takes_nothing(void)
{
    return runtime.circuits_stopping > 0 || runtime.postgres_away_us != 0;
}

/* Lock held: how many more works this partition may have in flight.  What there is room for is shared by the partitions that have
 * anything, so that one with much to do or to wait for leaves the others their part. */
static int64_t room_of(const struct partition *partition)
{
    if (!partition->assigned || takes_nothing() || runtime.in_flight_bytes >= runtime.in_flight_bytes_max)
        return 0;
    int64_t sharing = 0;
    for (const struct partition *other = runtime.partitions; other; other = other->next)
        sharing += other == partition || (other->assigned && other->fetched) || other->in_flight > 0;
    int64_t share = runtime.in_flight_max / sharing, window = UNFINISHED_OFFSETS_MAX - (int64_t)partition->count;
    int64_t room = (share > 0 ? share : 1) - partition->in_flight, left = runtime.in_flight_max - runtime.in_flight;
    room = room < left ? room : left;
    return room < window ? room : window;
}

void room_appeared(const struct partition *partition)
{
    if (!runtime.wants_room || (partition->fetched && room_of(partition) < ROOM_WORTH_TAKING && partition->in_flight > 0))
        return;
    runtime.wants_room = false;         /* until the consumer has looked */
    pthread_cond_signal(&runtime.arrived);
}

/* --- taking ----------------------------------------------------------------------------------------------------------------- */

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

/* Up to `most` records that are there; their number. */
static int fetch(struct partition *partition, rd_kafka_message_t **records, int most)
{
    int count = 0;
    while (count < most) {
        rd_kafka_message_t *record = rd_kafka_consume_queue(partition->queue, 0);
        if (!record)
            break;
        if (record->err) {
            consumer_failed(record);
            rd_kafka_message_destroy(record);
        } else {
            records[count++] = record;
        }
    }
    return count;
}

/* Records that are already being handled, or were, are left out. */
static int begin_works(struct partition *partition, rd_kafka_message_t **records, int count, struct work **works)
{
    int wanted = 0;
    pthread_mutex_lock(&runtime.lock);
    for (int i = 0; i < count; i++) {
        if (offsets_begin(partition, records[i]->offset)) {
            works[wanted] = work_new();
            works[wanted]->partition = partition;
            records[wanted++] = records[i];
        } else {
            rd_kafka_message_destroy(records[i]);
        }
    }
    pthread_mutex_unlock(&runtime.lock);
    return wanted;
}

static void queue_works(struct partition *partition, struct work **works, int count)
{
    pthread_mutex_lock(&runtime.lock);
    for (int i = 0; i < count; i++) {
        struct work *work = works[i];
        if (!work->unread && !work->route) {        /* not for this stage */
            offsets_finish(partition, work->offset);
            work_free(work);
        } else {
            partition->in_flight++;
            runtime.in_flight++;
            runtime.in_flight_bytes += (int64_t)work->message.bytes;
            key_append(work);
        }
    }
    pthread_mutex_unlock(&runtime.lock);
}

/* A partition's turn; how many records were taken. */
static int take_from(struct partition *partition, int most)
{
    rd_kafka_message_t *records[TAKE_MAX];
    struct work *works[TAKE_MAX];
    int fetched = fetch(partition, records, most);
    int count = begin_works(partition, records, fetched, works);
    for (int i = 0; i < count; i++) {
        read_record(works[i], records[i]);
        rd_kafka_message_destroy(records[i]);
        if (!works[i]->unread)
            works[i]->route = route_of(works[i]->event.type);
    }
    queue_works(partition, works, count);
    return fetched;
}

/* Lock held. */
static void note_room(struct partition *partition, int64_t room)
{
    runtime.wants_room = runtime.wants_room || room <= 0;
    if (room > 0 || takes_nothing())
        partition->full_us = 0;
    else if (partition->full_us == 0)
        partition->full_us = monotonic_us();
}

/* Each partition that has records and room has its turn; how many records were taken. */
static int take_round(void)
{
    int taken = 0;
    pthread_mutex_lock(&runtime.lock);
    runtime.wants_room = false;
    for (struct partition *partition = runtime.partitions; partition; partition = partition->next) {
        if (!partition->queue || !partition->fetched)
            continue;
        int64_t room = room_of(partition);
        note_room(partition, room);
        if (room <= 0)
            continue;
        int most = room < TAKE_MAX ? (int)room : TAKE_MAX;
        partition->fetched = false;         /* before looking: what arrives meanwhile says so again */
        pthread_mutex_unlock(&runtime.lock);
        int count = take_from(partition, most);
        taken += count;
        pthread_mutex_lock(&runtime.lock);
        if (count == most)
            partition->fetched = true;      /* there may be more */
    }
    pthread_mutex_unlock(&runtime.lock);
    return taken;
}

static void wait_for_more(void)
{
    int64_t deadline = monotonic_us() + UPKEEP_MS * 1000;
    struct timespec until = { .tv_sec = deadline / 1000000, .tv_nsec = deadline % 1000000 * 1000 };
    pthread_mutex_lock(&runtime.lock);
    bool more = runtime.group_news;
    for (const struct partition *partition = runtime.partitions; partition && !more; partition = partition->next)
        more = partition->queue && partition->fetched && room_of(partition) > 0;
    if (!more)
        pthread_cond_timedwait(&runtime.arrived, &runtime.lock, &until);
    pthread_mutex_unlock(&runtime.lock);
}

/* Rebalances happen in here. */
static void poll_group(void)
{
    for (rd_kafka_message_t *record; (record = rd_kafka_consumer_poll(runtime.consumer, 0));) {
        if (record->err)
            consumer_failed(record);
        rd_kafka_message_destroy(record);
    }
}

static bool group_has_news(void)
{
    pthread_mutex_lock(&runtime.lock);
    bool news = runtime.group_news;
    runtime.group_news = false;
    pthread_mutex_unlock(&runtime.lock);
    return news;
}

void consume_run(void)
{
    int64_t next_upkeep = 0;
    while (!daemon_stopping()) {
        int64_t now = monotonic_us();
        if (group_has_news() || now >= next_upkeep)
            poll_group();
        if (now >= next_upkeep) {
            offsets_store();
            next_upkeep = now + UPKEEP_MS * 1000;
        }
        if (take_round() == 0)
            wait_for_more();
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
    runtime.group_queue = rd_kafka_queue_get_consumer(runtime.consumer);
    rd_kafka_queue_cb_event_enable(runtime.group_queue, arrived, NULL);
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
    rd_kafka_queue_cb_event_enable(runtime.group_queue, NULL, NULL);
    rd_kafka_queue_destroy(runtime.group_queue);
    rd_kafka_consumer_close(runtime.consumer);
    rd_kafka_destroy(runtime.consumer);
    runtime.consumer = NULL;
}
