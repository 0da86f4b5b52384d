#include "deploy/sb/records.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MS     10000 /* one question to Kafka */
#define FETCH_WAIT_MS "10"  /* a jump to another place waits until the fetch before it is over */
#define WAIT_MS       200
#define GAP_MAX       2000 /* records passed over, before it is quicker to jump */

struct records {
    rd_kafka_t *client;
};

struct records *records_open(const char *brokers, struct problem *why)
{
    char reason[256];
    const char *properties[] = { "group.id",
                                 "sb-records",
                                 "enable.auto.commit",
                                 "false",
                                 "enable.auto.offset.store",
                                 "false",
                                 "enable.partition.eof",
                                 "true",
                                 "auto.offset.reset",
                                 "error",
                                 "fetch.wait.max.ms",
                                 FETCH_WAIT_MS,
                                 "log_level",
                                 "0",
                                 NULL };
    rd_kafka_conf_t *conf = kafka_conf(brokers, "sb", properties, why);
    rd_kafka_t *client = conf ? rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason)) : NULL;

    if (client == NULL) {
        if (conf) {
            rd_kafka_conf_destroy(conf);
            fail(why, "could not start a Kafka consumer: %s", reason);
        }
        return NULL;
    }
    rd_kafka_poll_set_consumer(client);
    struct records *records = must_alloc(sizeof(*records));
    records->client = client;
    return records;
}

void records_close(struct records *records)
{
    if (records == NULL)
        return;
    rd_kafka_consumer_close(records->client);
    rd_kafka_destroy(records->client);
    free(records);
}

static bool begin_at(struct records *records, const char *topic, int32_t partition, int64_t offset, struct problem *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    rd_kafka_resp_err_t error = rd_kafka_assign(records->client, list);
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(why, "could not read \"%s\": %s", topic, rd_kafka_err2str(error));
}

/* The next record of what is assigned; NULL with *ret_end at the partition's end, and without when it failed. */
static rd_kafka_message_t *next_record(struct records *records, const char *topic, bool *ret_end, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + RECORDS_MS * 1000;

    *ret_end = false;
    while (monotonic_us() < deadline_us) {
        rd_kafka_message_t *record = rd_kafka_consumer_poll(records->client, WAIT_MS);
        if (record == NULL)
            continue;
        rd_kafka_resp_err_t error = record->err;
        if (error == RD_KAFKA_RESP_ERR_NO_ERROR)
            return record;
        if (error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && error != RD_KAFKA_RESP_ERR__TRANSPORT)
            *ret_end = error == RD_KAFKA_RESP_ERR__PARTITION_EOF ||
                       fail(why, "could not read \"%s\": %s", topic, rd_kafka_message_errstr(record));
        rd_kafka_message_destroy(record);
        if (*ret_end || (error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && error != RD_KAFKA_RESP_ERR__TRANSPORT))
            return NULL;
    }
    fail(why, "could not read \"%s\": Kafka gave nothing for %d s", topic, RECORDS_MS / 1000);
    return NULL;
}

static bool ask_bounds(struct records *records, const char *topic, int32_t partition, int64_t *ret_low,
                       int64_t *ret_high, struct problem *why)
{
    rd_kafka_resp_err_t error =
        rd_kafka_query_watermark_offsets(records->client, topic, partition, ret_low, ret_high, ANSWER_MS);
    return !error || fail(why, "could not ask Kafka for the offsets of \"%s\": %s", topic, rd_kafka_err2str(error));
}

/* --- a whole topic
 * ---------------------------------------------------------------------------------------------------- */

static bool offset_of_time(struct records *records, const char *topic, int32_t partition, int64_t since_us,
                           int64_t *ret, struct problem *why)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = since_us / 1000;
    rd_kafka_resp_err_t error = rd_kafka_offsets_for_times(records->client, list, ANSWER_MS);
    *ret = list->elems[0].offset;
    rd_kafka_topic_partition_list_destroy(list);
    return !error || fail(why, "could not ask Kafka for the offsets of that time: %s", rd_kafka_err2str(error));
}

static bool read_partition(struct records *records, const char *topic, int32_t partition, int64_t since_us,
                           records_each *each, void *context, struct problem *why)
{
    int64_t from, low, high;
    bool end = false;

    if (!ask_bounds(records, topic, partition, &low, &high, why))
        return false;
    from = low;
    if (since_us > 0 && !offset_of_time(records, topic, partition, since_us, &from, why))
        return false;
    if (from < 0 || from >= high)
        return true;
    if (!begin_at(records, topic, partition, from, why))
        return false;
    for (int64_t at = from; at < high;) {
        rd_kafka_message_t *record = next_record(records, topic, &end, why);
        if (record == NULL)
            return end;
        at = record->offset + 1;
        bool fine = record->offset >= high || each(context, record, why);
        rd_kafka_message_destroy(record);
        if (!fine)
            return false;
    }
    return true;
}

bool records_of_topic(struct records *records, const char *topic, int64_t since_us, records_each *each, void *context,
                      struct problem *why)
{
    for (int32_t partition = 0; partition < topic_find(topic)->partitions; partition++)
        if (!read_partition(records, topic, partition, since_us, each, context, why))
            return false;
    return true;
}

/* --- at given offsets
 * ------------------------------------------------------------------------------------------------- */

static int by_place(const void *a, const void *b)
{
    const struct record_place *left = a, *right = b;
    int by_topic = strcmp(left->topic, right->topic);
    if (by_topic != 0)
        return by_topic;
    if (left->partition != right->partition)
        return left->partition < right->partition ? -1 : 1;
    return (left->offset > right->offset) - (left->offset < right->offset);
}

static bool same_partition(const struct record_place *a, const struct record_place *b)
{
    return a->partition == b->partition && strcmp(a->topic, b->topic) == 0;
}

/* The places from `at` on that are of one partition, and how many there are. */
static bool read_places(struct records *records, struct record_place *at, size_t count, records_each *each,
                        struct problem *why)
{
    int64_t low, high, position = -1;
    bool end = false;

    if (!ask_bounds(records, at->topic, at->partition, &low, &high, why))
        return false;
    for (size_t i = 0; i < count;) {
        if (at[i].offset < low || at[i].offset >= high || end) {
            at[i++].gone = true;
            continue;
        }
        if ((position < 0 || at[i].offset - position > GAP_MAX) &&
            !begin_at(records, at->topic, at->partition, at[i].offset, why))
            return false;
        rd_kafka_message_t *record = next_record(records, at->topic, &end, why);
        if (record == NULL && !end)
            return false;
        position = record ? record->offset + 1 : position;
        bool fine = true;
        while (record && i < count && at[i].offset < record->offset)
            at[i++].gone = true; /* compacted away, or a hole */
        for (; record && fine && i < count && at[i].offset == record->offset; i++)
            fine = each(at[i].context, record, why);
        if (record)
            rd_kafka_message_destroy(record);
        if (!fine)
            return false;
    }
    return true;
}

bool records_at(struct records *records, struct record_place *places, size_t count, records_each *each,
                struct problem *why)
{
    qsort(places, count, sizeof(*places), by_place);
    for (size_t i = 0, next; i < count; i = next) {
        for (next = i + 1; next < count && same_partition(&places[i], &places[next]);)
            next++;
        if (!read_places(records, &places[i], next - i, each, why))
            return false;
    }
    return true;
}
