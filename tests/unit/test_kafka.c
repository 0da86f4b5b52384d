/* Configuration, producer and the topics' check, against librdkafka's mock cluster.  Making topics needs a real broker:
 * the flows start from an empty one. */
#include "common/kafka.h"

#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>     /* last: it has a macro named fail */

#define ANSWER_MS_MAX 10000
#define QUEUE_BYTES_MAX (8 * 1024 * 1024)
#define PRODUCE_API 0           /* kafka.apache.org/protocol: Produce */
#define REFUSAL_MS 300          /* until a refusal is there */

static rd_kafka_t *keeper;                  /* its client holds the mock cluster */
static rd_kafka_mock_cluster_t *cluster;

static int start_cluster(void **state)
{
    (void)state;
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();

    rd_kafka_conf_set(conf, "test.mock.num.brokers", "1", reason, sizeof(reason));
    keeper = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    cluster = keeper != NULL ? rd_kafka_handle_mock_cluster(keeper) : NULL;
    return cluster == NULL;
}

static int stop_cluster(void **state)
{
    (void)state;
    rd_kafka_destroy(keeper);
    return 0;
}

static void get(rd_kafka_conf_t *conf, const char *name, char ret[128])
{
    size_t bytes = 128;
    assert_int_equal(rd_kafka_conf_get(conf, name, ret, &bytes), RD_KAFKA_CONF_OK);
}

static void test_order_of_properties(void **state)
{
    (void)state;
    char value[128];
    struct problem why;
    const char *properties[] = { "group.id", "tests", "queued.min.messages", "7", "client.rack", "a", NULL };

    setenv("KAFKA_PROP_CLIENT_RACK", "b", 1);
    setenv("KAFKA_PROP_SASL_PASSWORD", "secret", 1);
    rd_kafka_conf_t *conf = kafka_conf("127.0.0.1:1", "me", properties, &why);
    assert_non_null(conf);
    get(conf, "socket.nagle.disable", value);
    assert_string_equal(value, "true");
    get(conf, "queued.min.messages", value);        /* the caller's over ours */
    assert_string_equal(value, "7");
    get(conf, "client.rack", value);                /* the environment's over the caller's */
    assert_string_equal(value, "b");
    get(conf, "sasl.password", value);
    assert_string_equal(value, "secret");
    rd_kafka_conf_destroy(conf);
    unsetenv("KAFKA_PROP_CLIENT_RACK");
    unsetenv("KAFKA_PROP_SASL_PASSWORD");
}

static void test_wrong_properties(void **state)
{
    (void)state;
    struct problem why;
    const char *properties[] = { "linger.ms", "soon", NULL };

    assert_null(kafka_conf("127.0.0.1:1", "me", properties, &why));
    assert_non_null(strstr(why.text, "linger.ms"));

    setenv("KAFKA_PROP_NO_SUCH_THING", "1", 1);
    assert_null(kafka_conf("127.0.0.1:1", "me", NULL, &why));
    assert_non_null(strstr(why.text, "KAFKA_PROP_NO_SUCH_THING"));
    unsetenv("KAFKA_PROP_NO_SUCH_THING");

    setenv("KAFKA_PROP_SECURITY_PROTOCOL", "hunter2", 1);
    assert_null(kafka_conf("127.0.0.1:1", "me", NULL, &why));
    assert_non_null(strstr(why.text, "security.protocol"));
    assert_null(strstr(why.text, "hunter2"));
    unsetenv("KAFKA_PROP_SECURITY_PROTOCOL");
}

static void note_delivery(rd_kafka_t *producer, const rd_kafka_message_t *message, void *opaque)
{
    (void)producer;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR)
        ++*(int *)opaque;
}

static void produce(rd_kafka_t *producer, const char *topic, const char *text)
{
    assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC(topic), RD_KAFKA_V_KEY("k", 1),
                                       RD_KAFKA_V_VALUE((void *)(uintptr_t)text, strlen(text)),
                                       RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
}

static void test_producer_delivers(void **state)
{
    (void)state;
    struct problem why;
    int delivered = 0;
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);

    assert_int_equal(rd_kafka_mock_topic_create(cluster, "delivered", 2, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_t *producer = kafka_producer(brokers, "test", "0", QUEUE_BYTES_MAX, note_delivery, &delivered, &why);
    assert_non_null(producer);
    for (int i = 0; i < 3; i++)
        produce(producer, "delivered", "{}");
    assert_int_equal(rd_kafka_flush(producer, ANSWER_MS_MAX), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(delivered, 3);
    rd_kafka_destroy(producer);
}

/* The first message of a producer comes while its partition has no leader, the second when it has one again: the mock
 * broker takes that whatever its sequence number, as a real one does of a producer that it does not know yet. */
static void test_delivered_is_there(void **state)
{
    (void)state;
    struct problem why;
    int delivered = 0;
    size_t refusals_left = 1;
    int64_t first, end;
    const char *brokers = rd_kafka_mock_cluster_bootstraps(cluster);

    assert_int_equal(rd_kafka_mock_topic_create(cluster, "leaderless", 1, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
    rd_kafka_t *producer = kafka_producer(brokers, "test", "0", QUEUE_BYTES_MAX, note_delivery, &delivered, &why);
    assert_non_null(producer);
    rd_kafka_mock_broker_push_request_error_rtts(cluster, 1, PRODUCE_API, 1, RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
                                                 REFUSAL_MS);
    produce(producer, "leaderless", "first");
    for (int waited_ms = 0; refusals_left > 0 && waited_ms < ANSWER_MS_MAX; waited_ms++) {
        rd_kafka_poll(producer, 1);
        rd_kafka_mock_broker_error_stack_cnt(cluster, 1, PRODUCE_API, &refusals_left);
    }
    produce(producer, "leaderless", "second");     /* the first is refused, and the producer does not know it yet */
    assert_int_equal(rd_kafka_flush(producer, ANSWER_MS_MAX), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(delivered, 2);
    assert_int_equal(rd_kafka_query_watermark_offsets(producer, "leaderless", 0, &first, &end, ANSWER_MS_MAX),
                     RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(end - first, delivered);
    rd_kafka_destroy(producer);
}

static void test_topics_check(void **state)
{
    (void)state;
    struct problem why;
    const char *calls[] = { "calls", NULL }, *transcripts[] = { "calls", "transcripts", NULL },
               *results[] = { "results", NULL }, *nobody[] = { "nobody", NULL };
    rd_kafka_t *client =
        kafka_producer(rd_kafka_mock_cluster_bootstraps(cluster), "test", "0", QUEUE_BYTES_MAX, NULL, NULL, &why);

    assert_non_null(client);
    rd_kafka_mock_topic_create(cluster, "calls", topic_find("calls")->partitions, 1);
    rd_kafka_mock_topic_create(cluster, "results", topic_find("results")->partitions + 1, 1);

    assert_true(kafka_topics_check(client, calls, false, ANSWER_MS_MAX, &why));
    assert_false(kafka_topics_check(client, transcripts, false, ANSWER_MS_MAX, &why));
    assert_non_null(strstr(why.text, "transcripts (8)"));
    assert_false(kafka_topics_check(client, results, false, ANSWER_MS_MAX, &why));
    assert_non_null(strstr(why.text, "\"results\": it has 9 partitions"));
    assert_false(kafka_topics_check(client, nobody, false, ANSWER_MS_MAX, &why));
    assert_non_null(strstr(why.text, "topics.json"));
    assert_false(kafka_topics_check(client, NULL, false, ANSWER_MS_MAX, &why));
    rd_kafka_destroy(client);
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct problem why;
    rd_kafka_t *client = kafka_producer("127.0.0.1:1", "test", "0", QUEUE_BYTES_MAX, NULL, NULL, &why);

    assert_non_null(client);
    assert_false(kafka_topics_check(client, NULL, false, 300, &why));
    assert_non_null(strstr(why.text, "KAFKA_BROKERS"));
    rd_kafka_destroy(client);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order_of_properties), cmocka_unit_test(test_wrong_properties),
        cmocka_unit_test(test_producer_delivers),   cmocka_unit_test(test_delivered_is_there),
        cmocka_unit_test(test_topics_check),        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
