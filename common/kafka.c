/* kafka.c: librdkafka's configuration, the producer, the check of the topics. */
#include "common/kafka.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/log.h"
#include "common/settings.h"

#define PROPERTY_PREFIX "KAFKA_PROP_"
#define PROPERTY_NAME_BYTES_MAX 128
#define MESSAGE_BYTES_MAX "35651584"        /* the largest topic's 32 MiB, and the batch around it */
#define PREFETCH_KBYTES_MAX "16384"         /* of all partitions together; librdkafka's default is 64 MiB */
#define PREFETCH_MESSAGES "1000"            /* a partition; librdkafka's default is 100,000 */
#define PRODUCER_MESSAGES_MAX "1000000"     /* bytes are the limit that counts */
#define RECONNECT_MS "50"
#define RECONNECT_MS_MAX "1000"             /* a broker that restarts is back in seconds, and the spool waits for it */
#define METADATA_POLL_MS 50                 /* between looks for topics just made */
#define COMMITTED_PAUSE_MS 100              /* between questions for what a group committed */
#define REPLICAS 1                          /* topics are made in local mode and in tests only */
#define TOPICS_MAX 256
#define CREATE_MS_MIN 1000                  /* even when the look took all the time: -1 would wait for ever */

/* --- configuration ------------------------------------------------------------------------------------------------ */

static void say(const rd_kafka_t *client, int level, const char *facility, const char *line)
{
    enum log_level at = level <= 3 ? LOG_ERROR : level == 4 ? LOG_WARNING : level <= 6 ? LOG_INFO : LOG_DEBUG;

    log_at(at, "librdkafka", LOG_TEXT("client", client != NULL ? rd_kafka_name(client) : NULL),
           LOG_TEXT("facility", facility), LOG_TEXT("line", line));
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct problem *why)
{
    char reason[256];

    if (rd_kafka_conf_set(conf, name, value, reason, sizeof(reason)) == RD_KAFKA_CONF_OK)
        return true;
    return fail(why, "could not set Kafka's \"%s\": %s", name, reason);
}

static bool set_all(rd_kafka_conf_t *conf, const char *const *properties, struct problem *why)
{
    for (; properties != NULL && properties[0] != NULL; properties += 2) {
        if (!set(conf, properties[0], properties[1], why))
            return false;
    }
    return true;
}

static bool is_consumer(const char *const *properties)
{
    for (; properties != NULL && properties[0] != NULL; properties += 2) {
        if (strcmp(properties[0], "group.id") == 0)
            return true;
    }
    return false;
}

struct user_properties {
    rd_kafka_conf_t *conf;
    struct problem *why;
    bool valid;
};

/* KAFKA_PROP_SASL_PASSWORD is sasl.password.  The value may be a secret, so librdkafka's sentence, which quotes it, is
 * not told. */
static void set_from_environment(void *context, const char *variable, const char *value)
{
    struct user_properties *user = context;
    char name[PROPERTY_NAME_BYTES_MAX];
    char reason[256];
    size_t bytes = 0;

    for (const char *at = variable + strlen(PROPERTY_PREFIX); *at != '\0' && bytes < sizeof(name) - 1; at++)
        name[bytes++] = *at == '_' ? '.' : (char)tolower((unsigned char)*at);
    name[bytes] = '\0';
    switch (rd_kafka_conf_set(user->conf, name, value, reason, sizeof(reason))) {
    case RD_KAFKA_CONF_OK:
        break;
    case RD_KAFKA_CONF_UNKNOWN:
        user->valid = fail(user->why, "could not take %s: librdkafka %s has no property \"%s\"", variable,
                           rd_kafka_version_str(), name);
        break;
    case RD_KAFKA_CONF_INVALID:
        user->valid = fail(user->why, "could not take %s: its value is not one that \"%s\" can have", variable, name);
        break;
    }
}

static bool configure(rd_kafka_conf_t *conf, const char *brokers, const char *client_id, const char *const *properties,
                      struct problem *why)
{
    const char *ours[] = {
        "bootstrap.servers", brokers,
        "client.id", client_id,
        "socket.nagle.disable", "true",
        "socket.keepalive.enable", "true",
        "reconnect.backoff.ms", RECONNECT_MS,
        "reconnect.backoff.max.ms", RECONNECT_MS_MAX,
        "message.max.bytes", MESSAGE_BYTES_MAX,
        "allow.auto.create.topics", "false",
        "log.connection.close", "false",                /* brokers close what is idle */
        NULL,
    };
    const char *consumer[] = {
        "queued.max.messages.kbytes", PREFETCH_KBYTES_MAX,
        "queued.min.messages", PREFETCH_MESSAGES,
        NULL,
    };
    struct user_properties user = { conf, why, true };

    rd_kafka_conf_set_log_cb(conf, say);
    if (!set_all(conf, ours, why) || (is_consumer(properties) && !set_all(conf, consumer, why)) ||
        !set_all(conf, properties, why))
        return false;
    settings_each(PROPERTY_PREFIX, set_from_environment, &user);
    return user.valid;
}

rd_kafka_conf_t *kafka_conf(const char *brokers, const char *client_id, const char *const *properties,
                            struct problem *why)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    if (configure(conf, brokers, client_id, properties, why))
        return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}

rd_kafka_t *kafka_producer(const char *brokers, const char *client_id, const char *linger, size_t queue_bytes_max,
                           void (*delivered)(rd_kafka_t *, const rd_kafka_message_t *, void *opaque), void *opaque,
                           struct problem *why)
{
    char kbytes_max[24];
    char reason[256];

    snprintf(kbytes_max, sizeof(kbytes_max), "%zu", queue_bytes_max < 1024 ? 1 : queue_bytes_max / 1024);
    const char *properties[] = {
        "enable.idempotence", "true",
        "acks", "all",
        /* With two, a message can be reported as delivered that is not: a partition without a leader for a moment refuses
         * it, has one again and takes the next, for of a producer that is new to it a broker takes any sequence number;
         * and librdkafka concludes from a later acknowledgement that all before it is there. */
        "max.in.flight", "1",
        "message.timeout.ms", "0",                      /* none: whoever waits gives up, the message does not */
        "partitioner", "murmur2_random",                /* the Java client's */
        "linger.ms", linger,
        "batch.size", "262144",         /* below every topic's max.message.bytes: a broker refuses a larger batch, whole */
        "queue.buffering.max.kbytes", kbytes_max,
        "queue.buffering.max.messages", PRODUCER_MESSAGES_MAX,
        NULL,
    };
    rd_kafka_conf_t *conf = kafka_conf(brokers, client_id, properties, why);
    if (conf == NULL)
        return NULL;
    rd_kafka_conf_set_dr_msg_cb(conf, delivered);
    rd_kafka_conf_set_opaque(conf, opaque);
    rd_kafka_t *producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    if (producer == NULL) {
        rd_kafka_conf_destroy(conf);
        fail(why, "could not start a Kafka producer: %s", reason);
    }
    return producer;
}

/* --- topics ------------------------------------------------------------------------------------------------------- */

struct wanted {
    const struct topic *topics[TOPICS_MAX];
    size_t count;
};

static bool want(struct wanted *wanted, const char *const *names, struct problem *why)
{
    wanted->count = 0;
    if (names == NULL) {
        for (const struct topic *topic = topics; topic->name != NULL && wanted->count < TOPICS_MAX; topic++)
            wanted->topics[wanted->count++] = topic;
        return true;
    }
    for (; *names != NULL && wanted->count < TOPICS_MAX; names++) {
        const struct topic *topic = topic_find(*names);
        if (topic == NULL)
            return fail(why, "could not check the topic \"%s\": it is not in schemas/topics.json", *names);
        wanted->topics[wanted->count++] = topic;
    }
    return true;
}

static const rd_kafka_metadata_topic_t *find_metadata(const rd_kafka_metadata_t *metadata, const char *name)
{
    for (int i = 0; i < metadata->topic_cnt; i++) {
        if (strcmp(metadata->topics[i].topic, name) == 0)
            return &metadata->topics[i];
    }
    return NULL;
}

/* All topics are asked for, because a question for one by name would make it where brokers still make topics by
 * themselves. */
static bool find_missing(rd_kafka_t *client, const struct wanted *wanted, int64_t timeout_ms,
                         struct wanted *ret_missing, struct problem *why)
{
    const struct rd_kafka_metadata *metadata;

    rd_kafka_resp_err_t error = rd_kafka_metadata(client, 1, NULL, &metadata, timeout_ms > 0 ? (int)timeout_ms : 1);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(why, "could not ask Kafka for its topics: %s; is KAFKA_BROKERS right?", rd_kafka_err2str(error));
    bool fine = true;
    ret_missing->count = 0;
    for (size_t i = 0; i < wanted->count && fine; i++) {
        const struct topic *topic = wanted->topics[i];
        const rd_kafka_metadata_topic_t *found = find_metadata(metadata, topic->name);
        if (found == NULL || found->partition_cnt == 0)
            ret_missing->topics[ret_missing->count++] = topic;
        else if (found->partition_cnt != topic->partitions)
            fine = fail(why,
                        "could not use the topic \"%s\": it has %d partitions, schemas/topics.json says %d, and keys "
                        "would change places; drain it into a new topic",
                        topic->name, found->partition_cnt, topic->partitions);
    }
    rd_kafka_metadata_destroy(metadata);
    return fine;
}

static rd_kafka_NewTopic_t *new_topic(const struct topic *topic, struct problem *why)
{
    char number[24];
    char reason[256];

    rd_kafka_NewTopic_t *made = rd_kafka_NewTopic_new(topic->name, topic->partitions, REPLICAS, reason, sizeof(reason));
    if (made == NULL) {
        fail(why, "could not describe the topic \"%s\": %s", topic->name, reason);
        return NULL;
    }
    snprintf(number, sizeof(number), "%lld", (long long)topic->retention_ms);
    rd_kafka_NewTopic_set_config(made, "retention.ms", number);
    snprintf(number, sizeof(number), "%lld", (long long)topic->message_bytes_max);
    rd_kafka_NewTopic_set_config(made, "max.message.bytes", number);
    return made;
}

/* Another daemon may make the same at the same time: that a topic exists is fine. */
static bool read_created(rd_kafka_event_t *answer, struct problem *why)
{
    size_t count;

    if (answer == NULL)
        return fail(why, "could not make Kafka's topics: no answer in time");
    const rd_kafka_CreateTopics_result_t *result = rd_kafka_event_CreateTopics_result(answer);
    if (rd_kafka_event_error(answer) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fail(why, "could not make Kafka's topics: %s", rd_kafka_event_error_string(answer));
    const rd_kafka_topic_result_t **made = rd_kafka_CreateTopics_result_topics(result, &count);
    for (size_t i = 0; i < count; i++) {
        rd_kafka_resp_err_t error = rd_kafka_topic_result_error(made[i]);
        if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return fail(why, "could not make the topic \"%s\": %s", rd_kafka_topic_result_name(made[i]),
                        rd_kafka_topic_result_error_string(made[i]));
    }
    return true;
}

static bool create(rd_kafka_t *client, const struct wanted *missing, int64_t timeout_ms, struct problem *why)
{
    rd_kafka_NewTopic_t *made[TOPICS_MAX];
    size_t count = 0;
    bool fine = true;

    while (count < missing->count && fine) {
        made[count] = new_topic(missing->topics[count], why);
        fine = made[count] != NULL;
        count += fine;
    }
    if (fine) {
        rd_kafka_queue_t *queue = rd_kafka_queue_new(client);
        rd_kafka_CreateTopics(client, made, count, NULL, queue);
        rd_kafka_event_t *answer =
            rd_kafka_queue_poll(queue, timeout_ms < CREATE_MS_MIN ? CREATE_MS_MIN : (int)timeout_ms);
        fine = read_created(answer, why);
        if (answer != NULL)
            rd_kafka_event_destroy(answer);
        rd_kafka_queue_destroy(queue);
    }
    rd_kafka_NewTopic_destroy_array(made, count);
    return fine;
}

static bool fail_missing(const struct wanted *missing, const char *hint, struct problem *why)
{
    struct buf names;

    buf_init(&names, sizeof(why->text));
    for (size_t i = 0; i < missing->count; i++)
        buf_printf(&names, "%s%s (%d)", i > 0 ? ", " : "", missing->topics[i]->name, missing->topics[i]->partitions);
    fail(why, "could not find %zu of Kafka's topics%s; missing, with their partitions: %s", missing->count, hint,
         buf_text(&names).at);
    buf_done(&names);
    return false;
}

bool kafka_topics_check(rd_kafka_t *client, const char *const *names, bool create_missing, int64_t timeout_ms,
                        struct problem *why)
{
    int64_t deadline_us = monotonic_us() + timeout_ms * 1000;
    struct wanted wanted, missing;

    if (!want(&wanted, names, why) || !find_missing(client, &wanted, timeout_ms, &missing, why))
        return false;
    if (missing.count > 0 && !create_missing)
        return fail_missing(&missing, ": make them as schemas/topics.json says", why);
    if (missing.count > 0 && !create(client, &missing, (deadline_us - monotonic_us()) / 1000, why))
        return false;
    /* a topic just made shows a little later */
    while (missing.count > 0) {
        struct timespec pause = { .tv_nsec = METADATA_POLL_MS * 1000000L };
        nanosleep(&pause, NULL);
        int64_t left_ms = (deadline_us - monotonic_us()) / 1000;
        if (left_ms <= 0)
            return fail_missing(&missing, " in time after making them", why);
        if (!find_missing(client, &wanted, left_ms, &missing, why))
            return false;
    }
    return true;
}

rd_kafka_resp_err_t kafka_committed(rd_kafka_t *consumer, rd_kafka_topic_partition_list_t *list, int64_t timeout_ms, bool (*leave)(void))
{
    const struct timespec pause = { .tv_nsec = COMMITTED_PAUSE_MS * 1000000L };
    int64_t deadline = monotonic_us() + timeout_ms * 1000;
    for (;;) {
        int64_t left_ms = (deadline - monotonic_us()) / 1000;
        rd_kafka_resp_err_t error = rd_kafka_committed(consumer, list, left_ms > 0 ? (int)left_ms : 0);
        for (int i = 0; i < list->cnt && !error; i++)
            error = list->elems[i].err;
        if (!error || monotonic_us() >= deadline || (leave && leave()))
            return error;
        nanosleep(&pause, NULL);
    }
}
