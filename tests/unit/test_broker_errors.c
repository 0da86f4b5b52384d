/* What the door's producers make of errors that a real broker cannot be made to give, on librdkafka's mock cluster: every message is
 * reported once, as kept or as not kept; what is reported as kept is there, once and in order; afterwards all is as before. */
#include "common/log.h"
#include "ingest/producers.h"

#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h>     /* last: it has a macro named fail */

#define PRODUCE_API 0           /* kafka.apache.org/protocol: Produce */
#define MESSAGES 40
#define WAIT_MS 20000
#define TOPIC_NAME "inbound.callrail"

static rd_kafka_t *keeper;      /* its client holds the mock cluster */
static rd_kafka_mock_cluster_t *cluster;
static char sent[MESSAGES * 64][16];    /* payloads, which must live until they are reported */

/* The fate of each message, by its number. */
struct fates {
    int reports[MESSAGES * 64];
    rd_kafka_resp_err_t error[MESSAGES * 64];
    int count, reported;
};
static struct fates fates;

static int start_cluster(void **state)
{
    (void)state;
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "test.mock.num.brokers", "3", reason, sizeof(reason));
    keeper = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    cluster = keeper != NULL ? rd_kafka_handle_mock_cluster(keeper) : NULL;
    return cluster == NULL || rd_kafka_mock_topic_create(cluster, TOPIC_NAME, 1, 3) != RD_KAFKA_RESP_ERR_NO_ERROR;
}

static int stop_cluster(void **state)
{
    (void)state;
    rd_kafka_destroy(keeper);
    return 0;
}

static void delivered(void *context, void *message, rd_kafka_resp_err_t error)
{
    (void)context;
    int number = (int)((char(*)[16])message - sent);
    fates.reports[number]++;
    fates.error[number] = error;
    fates.reported++;
}

static void send_some(struct producers *producers)
{
    for (int i = 0; i < MESSAGES; i++) {
        int number = fates.count++;
        snprintf(sent[number], sizeof(sent[number]), "%d", number);
        rd_kafka_resp_err_t error = producers_send(producers, LINGER_NONE, topic_find(TOPIC_NAME), 0, TEXT("key"),
                                                   text_of(sent[number]), sent[number]);
        if (error)                  /* it was not taken, and the door knows at once */
            delivered(NULL, sent[number], error);
    }
}

static void wait_for_reports(struct producers *producers)
{
    struct pollfd news = { .fd = producers_fd(producers), .events = POLLIN };
    int64_t deadline = monotonic_us() + WAIT_MS * 1000;
    while (fates.reported < fates.count && monotonic_us() < deadline) {
        poll(&news, 1, 100);
        producers_serve(producers);
    }
    assert_int_equal(fates.reported, fates.count);
}

/* How often each number is on the topic; they must come in order. */
static void read_topic(int ret[MESSAGES * 64])
{
    char reason[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster), reason, sizeof(reason));
    rd_kafka_conf_set(conf, "group.id", "reader", reason, sizeof(reason));
    rd_kafka_conf_set(conf, "enable.partition.eof", "true", reason, sizeof(reason));
    rd_kafka_t *reader = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
    assert_non_null(reader);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, TOPIC_NAME, 0)->offset = 0;
    rd_kafka_assign(reader, list);
    rd_kafka_topic_partition_list_destroy(list);
    int last = -1;
    for (bool end = false; !end;) {
        rd_kafka_message_t *record = rd_kafka_consumer_poll(reader, WAIT_MS);
        assert_non_null(record);
        end = record->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        if (!end && !record->err) {
            char text[16];
            snprintf(text, sizeof(text), "%.*s", (int)record->len, (const char *)record->payload);
            int number = atoi(text);
            assert_true(number > last);
            last = number;
            ret[number]++;
        }
        rd_kafka_message_destroy(record);
    }
    rd_kafka_consumer_close(reader);
    rd_kafka_destroy(reader);
}

static struct producers *open_producers(void)
{
    static const struct topic *topics_used[2];
    struct problem why;
    topics_used[0] = topic_find(TOPIC_NAME);
    struct producers *producers = producers_open(&(struct producers_settings){
        .brokers = rd_kafka_mock_cluster_bootstraps(cluster), .client_id = "test", .topics = topics_used, .delivered = delivered }, &why);
    assert_non_null(producers);
    return producers;
}

/* Transient errors, three in a row: nobody hears of them. */
static void what_passes_is_sent_again(void **state)
{
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION, RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS, RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND, RD_KAFKA_RESP_ERR__TRANSPORT };
    int found[MESSAGES * 64] = { 0 };
    struct producers *producers = open_producers();
    for (size_t i = 0; i < LENGTH(errors); i++) {
        rd_kafka_mock_push_request_errors(cluster, PRODUCE_API, 3, errors[i], errors[i], errors[i]);
        send_some(producers);
        wait_for_reports(producers);
    }
    read_topic(found);
    for (int i = 0; i < fates.count; i++) {
        assert_int_equal(fates.reports[i], 1);
        assert_int_equal(fates.error[i], RD_KAFKA_RESP_ERR_NO_ERROR);
        assert_int_equal(found[i], 1);
    }
    producers_close(producers, 1000);
}

/* Errors that end an idempotent producer, or may: what is not reported as kept the door puts into its spool; the next producer goes on. */
static void what_is_final_is_told_and_the_next_producer_goes_on(void **state)
{
    (void)state;
    static const rd_kafka_resp_err_t errors[] = {
        RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION, RD_KAFKA_RESP_ERR_UNKNOWN };
    for (size_t i = 0; i < LENGTH(errors); i++) {
        int found[MESSAGES * 64] = { 0 }, first = fates.count;
        struct producers *producers = open_producers();
        rd_kafka_mock_push_request_errors(cluster, PRODUCE_API, 1, errors[i]);
        send_some(producers);
        wait_for_reports(producers);
        int64_t deadline = monotonic_us() + WAIT_MS * 1000;
        for (bool kept = false; !kept && monotonic_us() < deadline;) {      /* a producer is not replaced at once, each time */
            send_some(producers);
            wait_for_reports(producers);
            kept = fates.error[fates.count - 1] == RD_KAFKA_RESP_ERR_NO_ERROR;
            assert_true(fates.count < MESSAGES * 60);
            if (!kept)
                poll(NULL, 0, 200);
        }
        assert_int_equal(fates.error[fates.count - 1], RD_KAFKA_RESP_ERR_NO_ERROR);
        read_topic(found);
        for (int number = first; number < fates.count; number++) {
            assert_int_equal(fates.reports[number], 1);
            if (fates.error[number] == RD_KAFKA_RESP_ERR_NO_ERROR)
                assert_int_equal(found[number], 1);
            else
                assert_true(found[number] <= 1);        /* a broker may have kept what it denied: its id is the same from the spool */
        }
        producers_close(producers, 1000);
    }
}

int main(void)
{
    log_init("test_broker_errors", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_passes_is_sent_again),
        cmocka_unit_test(what_is_final_is_told_and_the_next_producer_goes_on),
    };
    return cmocka_run_group_tests(tests, start_cluster, stop_cluster);
}
