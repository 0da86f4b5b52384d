/* mock_kafka.c: librdkafka's mock brokers as a process of their own, so that a daemon can be given the answers that a real broker cannot be
 * made to give.
 *
 *     mock_kafka TOPIC:PARTITIONS…
 *
 * Its first line is the brokers' addresses; they are numbered from 1.  Then it obeys its standard input, one command a line, each answered
 * by "ok" (what is asked: by a number) or by why not:
 *
 *     answer BROKER API CODE MS COUNT     the next so many requests of that kind to that broker get this error (0: what they asked for;
 *                                         -195: the connection is cut) so late
 *     left BROKER API                     how many of these are still to be given
 *     down BROKER · up BROKER             it takes no connections; its partitions stay its own
 *     leader TOPIC PARTITION BROKER
 *     coordinator GROUP BROKER
 *     topic TOPIC CODE                    what Metadata says of it; 0: it is well
 *
 * API and CODE are the protocol's numbers.  Ends when its standard input does. */
#include "common/kafka.h"

#include <librdkafka/rdkafka_mock.h>
#include <stdio.h>

#define BROKERS 3
#define LINE_BYTES_MAX 512

static rd_kafka_mock_cluster_t *cluster;

static rd_kafka_resp_err_t push_answers(int broker, int api, int code, int ms, int count)
{
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR_NO_ERROR;
    for (int i = 0; i < count && !error; i++)
        error = rd_kafka_mock_broker_push_request_error_rtts(cluster, broker, (int16_t)api, 1, code, ms);
    return error;
}

static rd_kafka_resp_err_t obey(const char *line)
{
    char name[256];
    int a, b, c, d, e;
    if (sscanf(line, "answer %d %d %d %d %d", &a, &b, &c, &d, &e) == 5)
        return push_answers(a, b, c, d, e);
    if (sscanf(line, "down %d", &a) == 1)
        return rd_kafka_mock_broker_set_down(cluster, a);
    if (sscanf(line, "up %d", &a) == 1)
        return rd_kafka_mock_broker_set_up(cluster, a);
    if (sscanf(line, "leader %255s %d %d", name, &a, &b) == 3)
        return rd_kafka_mock_partition_set_leader(cluster, name, a, b);
    if (sscanf(line, "coordinator %255s %d", name, &a) == 2)
        return rd_kafka_mock_coordinator_set(cluster, "group", name, a);
    if (sscanf(line, "topic %255s %d", name, &a) != 2)
        return RD_KAFKA_RESP_ERR__INVALID_ARG;
    rd_kafka_mock_topic_set_error(cluster, name, (rd_kafka_resp_err_t)a);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static void answer(const char *line)
{
    int broker, api;
    size_t left = 0;
    bool asks = sscanf(line, "left %d %d", &broker, &api) == 2;
    rd_kafka_resp_err_t error = asks ? rd_kafka_mock_broker_error_stack_cnt(cluster, broker, (int16_t)api, &left) : obey(line);
    if (error)
        printf("%s\n", rd_kafka_err2str(error));
    else if (asks)
        printf("%zu\n", left);
    else
        printf("ok\n");
    fflush(stdout);
}

static bool make_topic(const char *told)
{
    char name[256];
    int partitions;
    if (sscanf(told, "%255[^:]:%d", name, &partitions) != 2)
        return false;
    return rd_kafka_mock_topic_create(cluster, name, partitions, BROKERS) == RD_KAFKA_RESP_ERR_NO_ERROR;
}

int main(int argc, char **argv)
{
    struct problem why = { 0 };
    char reason[256] = "", line[LINE_BYTES_MAX];
    rd_kafka_conf_t *conf = kafka_conf("127.0.0.1:1", "mock", NULL, &why);
    rd_kafka_t *host = conf ? rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason)) : NULL;
    cluster = host ? rd_kafka_mock_cluster_new(host, BROKERS) : NULL;
    if (!cluster) {
        fprintf(stderr, "mock_kafka: could not start the brokers: %s%s\n", why.text, reason);
        return 1;
    }
    for (int i = 1; i < argc; i++)
        if (!make_topic(argv[i])) {
            fprintf(stderr, "mock_kafka: could not make the topic \"%s\": it is told as NAME:PARTITIONS\n", argv[i]);
            return 2;
        }
    printf("%s\n", rd_kafka_mock_cluster_bootstraps(cluster));
    fflush(stdout);
    while (fgets(line, sizeof(line), stdin))
        answer(line);
    rd_kafka_mock_cluster_destroy(cluster);
    rd_kafka_destroy(host);
    return 0;
}
