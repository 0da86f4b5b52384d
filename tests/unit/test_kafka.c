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
        assert_int_equal(rd_kafka_producev(producer, RD_KAFKA_V_TOPIC("delivered"), RD_KAFKA_V_KEY("k", 1),
                                           RD_KAFKA_V_VALUE("{}", 2), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                                           RD_KAFKA_V_END),
                         RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(rd_kafka_flush(producer, ANSWER_MS_MAX), RD_KAFKA_RESP_ERR_NO_ERROR);
    assert_int_equal(delivered, 3);
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
        cmocka_unit_test(test_producer_delivers),   cmocka_unit_test(test_topics_check),
        cmocka_unit_test(test_nobody_there),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
