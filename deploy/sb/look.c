#include "deploy/sb/look.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "topics.h"

#define PAUSE_MS 50

static void pause_a_moment(void)
{
    nanosleep(&(struct timespec){ .tv_nsec = PAUSE_MS * 1000000L }, NULL);
}

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

/* A partition that was just made, or moved to another broker. */
static bool is_passing(rd_kafka_resp_err_t error)
{
    return error == RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION || error == RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE ||
           error == RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART;
}

/* The first or the last offset of every partition, in one question to each broker: Kafka takes these two as times. */
static rd_kafka_resp_err_t ask_offsets(struct look *look, int64_t which)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);

    for (size_t i = 0; i < look->count; i++)
        for (int partition = 0; partition < look->topics[i].partitions; partition++)
            rd_kafka_topic_partition_list_add(list, look->topics[i].topic->name, partition)->offset = which;
    rd_kafka_resp_err_t error =
        list->cnt ? rd_kafka_offsets_for_times(look->client, list, LOOK_MS) : RD_KAFKA_RESP_ERR_NO_ERROR;
    for (size_t i = 0, at = 0; i < look->count; i++)
        for (int partition = 0; partition < look->topics[i].partitions; partition++, at++) {
            int64_t offset = list->elems[at].offset;
            (which == RD_KAFKA_OFFSET_BEGINNING ? look->topics[i].low : look->topics[i].high)[partition] =
                offset < 0 ? 0 : offset;
        }
    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

static bool look_offsets(struct look *look, int64_t which, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + LOOK_MS * 1000;
    rd_kafka_resp_err_t error;

    while (is_passing(error = ask_offsets(look, which)) && monotonic_us() < deadline_us) {
        pause_a_moment();
        if (!look_metadata(look, why)) /* who leads now */
            return false;
    }
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

static int64_t behind_of(const struct look *look, rd_kafka_topic_partition_list_t *committed, const char *const *reads)
{
    int64_t behind = 0;

    for (; *reads; reads++) {
        const struct look_topic *topic = look_find(look, *reads);
        for (int partition = 0; topic && partition < topic->partitions; partition++) {
            const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(committed, *reads, partition);
            int64_t from = found && found->offset > topic->low[partition] ? found->offset : topic->low[partition];
            behind += topic->high[partition] > from ? topic->high[partition] - from : 0;
        }
    }
    return behind;
}

/* What the group has committed of its topics, which the caller frees.  By a consumer that never joins:
 * librdkafka 2.0.2's admin call for it crashes when the coordinator has just started. */
static rd_kafka_topic_partition_list_t *ask_committed(const char *brokers, const struct stage_topics *stage,
                                                      struct problem *why)
{
    char reason[256];
    const char *properties[] = { "group.id", stage->stage, "log_level", "0", NULL };
    rd_kafka_conf_t *conf = kafka_conf(brokers, "sb", properties, why);
    rd_kafka_t *client = conf ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason)) : NULL;

    if (client == NULL) {
        if (conf)
            rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka client: %s", conf ? reason : why->text);
        return NULL;
    }
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(64);
    for (const char *const *name = stage->reads; *name; name++)
        for (int partition = 0; partition < topic_find(*name)->partitions; partition++)
            rd_kafka_topic_partition_list_add(list, *name, partition);
    rd_kafka_resp_err_t error = rd_kafka_committed(client, list, LOOK_MS);
    rd_kafka_destroy(client);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
        return list;
    fail(why, "could not ask Kafka how far the group \"%s\" is: %s", stage->stage, rd_kafka_err2str(error));
    rd_kafka_topic_partition_list_destroy(list);
    return NULL;
}

bool look_behind(const struct look *look, const char *name, int64_t *ret, struct problem *why)
{
    const struct stage_topics *stage = stage_topics;

    while (strcmp(stage->stage, name) != 0)
        stage++;
    rd_kafka_topic_partition_list_t *committed = ask_committed(look->brokers, stage, why);
    if (committed == NULL)
        return false;
    *ret = behind_of(look, committed, stage->reads);
    rd_kafka_topic_partition_list_destroy(committed);
    return true;
}

bool look_wait_for_groups(const char *brokers, int64_t timeout_ms, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + timeout_ms * 1000;

    for (const struct stage_topics *stage = stage_topics; stage->stage;) {
        rd_kafka_topic_partition_list_t *committed = ask_committed(brokers, stage, why);
        if (committed) {
            rd_kafka_topic_partition_list_destroy(committed);
            stage++;
        } else if (monotonic_us() >= deadline_us) {
            return false;
        } else {
            pause_a_moment();
        }
    }
    return true;
}
