#include "deploy/sb/look.h"

#include <stdlib.h>
#include <string.h>

#include "topics.h"

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
        return fail(why, "could not ask Kafka: %s", rd_kafka_err2str(error));
    for (size_t i = 0; i < look->count; i++)
        for (int j = 0; j < metadata->topic_cnt; j++)
            if (strcmp(metadata->topics[j].topic, look->topics[i].topic->name) == 0)
                look->topics[i].partitions = metadata->topics[j].partition_cnt < LOOK_PARTITIONS_MAX
                                                 ? metadata->topics[j].partition_cnt
                                                 : LOOK_PARTITIONS_MAX;
    rd_kafka_metadata_destroy(metadata);
    return true;
}

/* The first or the last offset of every partition, in one question to each broker: Kafka takes these two as times. */
static bool look_offsets(struct look *look, int64_t which, struct problem *why)
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

/* --- a stage's group
 * -------------------------------------------------------------------------------------------------- */

static const char *const *reads_of(const char *stage)
{
    for (const struct stage_topics *at = stage_topics; at->stage; at++)
        if (strcmp(at->stage, stage) == 0)
            return at->reads;
    return NULL;
}

static int64_t behind_of(const struct look *look, const rd_kafka_topic_partition_list_t *committed,
                         const char *const *reads)
{
    int64_t behind = 0;

    for (; *reads; reads++) {
        const struct look_topic *topic = look_find(look, *reads);
        for (int partition = 0; topic && partition < topic->partitions; partition++) {
            const rd_kafka_topic_partition_t *found = rd_kafka_topic_partition_list_find(
                (rd_kafka_topic_partition_list_t *)(uintptr_t)committed, *reads, partition);
            int64_t from = found && found->offset > topic->low[partition] ? found->offset : topic->low[partition];
            behind += topic->high[partition] > from ? topic->high[partition] - from : 0;
        }
    }
    return behind;
}

/* What the group has committed; the caller frees the event the list is in. */
static rd_kafka_event_t *ask_committed(const struct look *look, const char *group,
                                       const rd_kafka_topic_partition_list_t **ret, struct problem *why)
{
    size_t count;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(look->client);
    rd_kafka_ListConsumerGroupOffsets_t *question = rd_kafka_ListConsumerGroupOffsets_new(group, NULL);

    rd_kafka_ListConsumerGroupOffsets(look->client, &question, 1, NULL, queue);
    rd_kafka_event_t *answer = rd_kafka_queue_poll(queue, LOOK_MS);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_queue_destroy(queue);
    const rd_kafka_ListConsumerGroupOffsets_result_t *result =
        answer ? rd_kafka_event_ListConsumerGroupOffsets_result(answer) : NULL;
    const rd_kafka_group_result_t **groups =
        result ? rd_kafka_ListConsumerGroupOffsets_result_groups(result, &count) : NULL;
    *ret = groups && count == 1 && rd_kafka_group_result_error(groups[0]) == NULL
               ? rd_kafka_group_result_partitions(groups[0])
               : NULL;
    if (*ret)
        return answer;
    fail(why, "could not ask Kafka how far the group \"%s\" is: %s", group,
         answer == NULL                 ? "no answer in time"
         : rd_kafka_event_error(answer) ? rd_kafka_event_error_string(answer)
         : groups && count == 1 && rd_kafka_group_result_error(groups[0])
             ? rd_kafka_error_string(rd_kafka_group_result_error(groups[0]))
             : "an empty answer");
    if (answer)
        rd_kafka_event_destroy(answer);
    return NULL;
}

bool look_behind(const struct look *look, const char *stage, int64_t *ret, struct problem *why)
{
    const rd_kafka_topic_partition_list_t *committed;
    const char *const *reads = reads_of(stage);

    rd_kafka_event_t *answer = reads ? ask_committed(look, stage, &committed, why) : NULL;
    if (answer == NULL)
        return false;
    *ret = behind_of(look, committed, reads);
    rd_kafka_event_destroy(answer);
    return true;
}
