#include "deploy/sb/look.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "topics.h"

#define GROUP_PAUSE_MS 50
#define LOOK_POLL_MS   100

rd_kafka_t *look_client(const char *brokers, struct problem *why)
{
    char reason[256];
    rd_kafka_conf_t *conf = kafka_conf(brokers, "sb", (const char *[]){ "log_level", "0", NULL }, why);
    rd_kafka_t *client = conf ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason)) : NULL;

    if (conf && client == NULL) {
        rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka client: %s", reason);
    }
    return client;
}

static bool look_metadata(struct look *look, struct problem *why)
{
    const struct rd_kafka_metadata *metadata;

    /* all topics: asking for one by name would make it where brokers still do that */
    rd_kafka_resp_err_t error = rd_kafka_metadata(look->client, 1, NULL, &metadata, LOOK_MS);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(why, "could not ask Kafka at %s: %s", look->brokers, rd_kafka_err2str(error));
    for (size_t i = 0; i < look->count; i++)
        for (int j = 0; j < metadata->topic_cnt; j++)
            if (strcmp(metadata->topics[j].topic, look->topics[i].topic->name) == 0)
                look->topics[i].partitions = metadata->topics[j].partition_cnt < LOOK_PARTITIONS_MAX
                                                 ? metadata->topics[j].partition_cnt
                                                 : LOOK_PARTITIONS_MAX;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* A topic that has just been made has no leader yet, or its leader does not know of it. */
static bool has_no_leader_yet(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* The first or the last offset of every partition, in one question to each broker: Kafka takes these two as times. */
static bool look_offsets(struct look *look, int64_t which, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + LOOK_MS * 1000;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;

    for (size_t i = 0; i < look->count; i++)
        for (int partition = 0; partition < look->topics[i].partitions; partition++)
            rd_kafka_topic_partition_list_add(list, look->topics[i].topic->name, partition);
    do {
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
            nanosleep(&(struct timespec){ .tv_nsec = LOOK_POLL_MS * 1000000L }, NULL);
        for (int i = 0; i < list->cnt; i++)
            list->elems[i].offset = which;
        error = list->cnt ? rd_kafka_offsets_for_times(look->client, list, LOOK_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
    } while (has_no_leader_yet(error) && monotonic_us() < deadline_us);
    for (size_t i = 0, at = 0; i < look->count; i++)
        for (int partition = 0; partition < look->topics[i].partitions; partition++, at++) {
            int64_t offset = list->elems[at].offset;
            (which == RD_KAFKA_OFFSET_BEGINNING ? look->topics[i].low : look->topics[i].high)[partition] =
                offset < 0 ? 0 : offset;
        }
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fail(why, "could not ask Kafka for the topics' offsets: %s", rd_kafka_err2str(error));
}

struct look *look_new(const char *brokers, struct problem *why)
{
    struct look *look = must_alloc(sizeof(*look));

    while (topics[look->count].name)
        look->count++;
    look->topics = must_alloc(look->count * sizeof(*look->topics));
    for (size_t i = 0; i < look->count; i++)
        look->topics[i].topic = &topics[i];
    look->brokers = brokers;
    look->client = look_client(brokers, why);
    if (look->client && look_metadata(look, why) && look_offsets(look, RD_KAFKA_OFFSET_BEGINNING, why) &&
        look_offsets(look, RD_KAFKA_OFFSET_END, why))
        return look;
    look_free(look);
    return NULL;
}

void look_free(struct look *look)
{
    if (look == NULL)
        return;
    if (look->client)
        rd_kafka_destroy(look->client);
    free(look->topics);
    free(look);
}

int64_t look_kept(const struct look_topic *topic)
{
    int64_t kept = 0;
    for (int partition = 0; partition < topic->partitions; partition++)
        kept += topic->high[partition] - topic->low[partition];
    return kept;
}

const struct look_topic *look_find(const struct look *look, const char *name)
{
    for (size_t i = 0; i < look->count; i++)
        if (strcmp(look->topics[i].topic->name, name) == 0)
            return &look->topics[i];
    return NULL;
}

/* --- a stage's group ----------------------------------------------------------------------------------------- */

/* A consumer that never joins: librdkafka 2.0.2's admin call for what a group has committed crashes when the
 * coordinator has just started. */
static rd_kafka_t *group_client(const char *brokers, const char *group, struct problem *why)
{
    char reason[256];
    const char *properties[] = { "group.id",
                                 group,
                                 "log_level",
                                 "0",
                                 "enable.auto.commit",
                                 "false",
                                 "enable.partition.eof",
                                 "true",
                                 "fetch.message.max.bytes",
                                 "65536",
                                 NULL };
    rd_kafka_conf_t *conf = kafka_conf(brokers, "sb", properties, why);
    rd_kafka_t *client = conf ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason)) : NULL;

    if (conf && client == NULL) {
        rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka client: %s", reason);
    }
    return client;
}

/* What the group has committed of its topics, which the caller frees. */
static rd_kafka_topic_partition_list_t *ask_committed(rd_kafka_t *client, const struct stage_topics *stage,
                                                      struct problem *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    for (const char *const *name = stage->reads; *name; name++)
        for (int partition = 0; partition < topic_find(*name)->partitions; partition++)
            rd_kafka_topic_partition_list_add(list, *name, partition);
    rd_kafka_resp_err_t error = kafka_committed(client, list, LOOK_MS, NULL);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return list;
    fail(why, "could not ask Kafka how far the group \"%s\" is: %s", stage->stage, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
    return NULL;
}

/* The partitions that have something the group has not finished, each with the offset of the first of it; of `key`
 * alone unless that is NULL.  `ret_events`: how much that is. */
static rd_kafka_topic_partition_list_t *unfinished(const struct look *look, rd_kafka_topic_partition_list_t *committed,
                                                   const char *const *reads, const char *key, int64_t *ret_events)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);

    *ret_events = 0;
    for (; *reads; reads++) {
        const struct look_topic *topic = look_find(look, *reads);
        for (int partition = 0; topic && partition < topic->partitions; partition++) {
            const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(committed, *reads, partition);
            int64_t from = found && found->offset > topic->low[partition] ? found->offset : topic->low[partition];
            bool of_key = key == NULL || rd_kafka_msg_partitioner_murmur2(NULL, key, strlen(key), topic->partitions,
                                                                          NULL, NULL) == partition;
            if (topic->high[partition] <= from || !of_key)
                continue;
            rd_kafka_topic_partition_list_add(list, *reads, partition)->offset = from;
            *ret_events += topic->high[partition] - from;
        }
    }
    return list;
}

/* Gives the first `most` messages of each partition of the list, to its end; false when that took too long. */
static bool read_partitions(rd_kafka_t *client, const rd_kafka_topic_partition_list_t *list, int64_t most,
                            look_record *each, void *context)
{
    int64_t *left = must_alloc((size_t)(list->cnt + 1) * sizeof(*left)), deadline_us = monotonic_us() + LOOK_MS * 1000;
    int unread = list->cnt;

    for (int i = 0; i < list->cnt; i++)
        left[i] = most;
    rd_kafka_assign(client, list);
    while (unread > 0 && monotonic_us() < deadline_us) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(client, LOOK_POLL_MS);
        for (int i = 0; message && i < list->cnt; i++) {
            if (left[i] == 0 || message->partition != list->elems[i].partition || message->rkt == NULL ||
                strcmp(rd_kafka_topic_name(message->rkt), list->elems[i].topic) != 0)
                continue;
            if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
                each(context, message);
            left[i] = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF ? 0 : left[i] - (message->err == 0);
            unread -= left[i] == 0;
        }
        if (message)
            rd_kafka_message_destroy(message);
    }
    rd_kafka_assign(client, NULL);
    free(left);
    return unread == 0;
}

/* Gives what the stage has not finished; `ret_events` how much there is. */
static bool look_unfinished(const struct look *look, const char *name, const char *key, int64_t most, look_record *each,
                            void *context, int64_t *ret_events, struct problem *why)
{
    const struct stage_topics *stage = stage_topics;

    while (strcmp(stage->stage, name) != 0)
        stage++;
    rd_kafka_t *client = group_client(look->brokers, name, why);
    rd_kafka_topic_partition_list_t *committed = client ? ask_committed(client, stage, why) : NULL;
    bool good = committed != NULL;
    if (good) {
        rd_kafka_topic_partition_list_t *list = unfinished(look, committed, stage->reads, key, ret_events);
        if (!read_partitions(client, list, most, each, context) && key)
            good = fail(why, "could not read in time what %s has not finished", name);
        rd_kafka_topic_partition_list_destroy(list);
        rd_kafka_topic_partition_list_destroy(committed);
    }
    if (client)
        rd_kafka_destroy(client);
    return good;
}

static void note_oldest(void *context, const rd_kafka_message_t *message)
{
    struct look_lag *lag = context;
    int64_t time_us = rd_kafka_message_timestamp(message, NULL) * 1000;

    if (time_us > 0 && (lag->oldest_us == 0 || time_us < lag->oldest_us))
        lag->oldest_us = time_us;
}

bool look_lag_of(const struct look *look, const char *stage, struct look_lag *ret, struct problem *why)
{
    *ret = (struct look_lag){ 0 };
    return look_unfinished(look, stage, NULL, 1, note_oldest, ret, &ret->events, why);
}

bool look_unfinished_of(const struct look *look, const char *stage, const char *key, look_record *each, void *context,
                        struct problem *why)
{
    int64_t events;
    return look_unfinished(look, stage, key, LOOK_RECORDS_MAX, each, context, &events, why);
}

bool look_wait_for_groups(const char *brokers, int64_t timeout_ms, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + timeout_ms * 1000;

    for (const struct stage_topics *stage = stage_topics; stage->stage;) {
        rd_kafka_t *client = group_client(brokers, stage->stage, why);
        rd_kafka_topic_partition_list_t *committed = client ? ask_committed(client, stage, why) : NULL;
        if (client)
            rd_kafka_destroy(client);
        if (committed) {
            rd_kafka_topic_partition_list_destroy(committed);
            stage++;
        } else if (monotonic_us() >= deadline_us) {
            return false;
        } else {
            nanosleep(&(struct timespec){ .tv_nsec = GROUP_PAUSE_MS * 1000000L }, NULL);
        }
    }
    return true;
}
