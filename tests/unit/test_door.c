/* The door against librdkafka's mock brokers: what is acknowledged is in Kafka or in the spool, in order, whatever
 * the brokers do. */
#include "ingest/door.h"

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/buf.h"
#include "common/kafka.h"
#include "common/log.h"
#include "common/metrics.h"
#include "ingest/spool.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define PATIENCE_MS 20000
#define MESSAGES_MAX 4000
#define KEYS 20
#define WATCHES_MAX 8
#define PRODUCE_REQUEST 0               /* Kafka's protocol numbers */

static const struct topic inbound = { "inbound.test", "ingest", 4, 1000000, 1000000 };
static const struct topic *const door_topics[] = { &inbound, NULL };

struct world {
    rd_kafka_t *host;                   /* of the mock cluster */
    rd_kafka_mock_cluster_t *cluster;
    char directory[64];
    struct door *door;
    bool spool;
    int64_t spool_bytes_max;
    struct {
        int fd;
        void (*ready)(void *context);
        void *context;
    } watches[WATCHES_MAX];
    int watch_count;
    /* what was told of message n: -1 nothing */
    int told[MESSAGES_MAX];
    int64_t told_us[MESSAGES_MAX];
    int kept, told_count, by_spool, not_kept;
};

static bool watch(void *loop, int fd, void (*ready)(void *context), void *context, struct problem *why)
{
    struct world *world = loop;
    (void)why;
    world->watches[world->watch_count].fd = fd;
    world->watches[world->watch_count].ready = ready;
    world->watches[world->watch_count++].context = context;
    return true;
}

static void turn(struct world *world, int timeout_ms)
{
    struct pollfd fds[WATCHES_MAX];
    for (int i = 0; i < world->watch_count; i++)
        fds[i] = (struct pollfd){ .fd = world->watches[i].fd, .events = POLLIN };
    poll(fds, (nfds_t)world->watch_count, timeout_ms);
    for (int i = 0; i < world->watch_count; i++)
        if (fds[i].revents)
            world->watches[i].ready(world->watches[i].context);
}

static void serve_for(struct world *world, int ms)
{
    int64_t end = monotonic_us() + ms * 1000;
    while (monotonic_us() < end)
        turn(world, 5);
}

static void serve_until_told(struct world *world)
{
    int64_t end = monotonic_us() + PATIENCE_MS * 1000;
    while (world->told_count < world->kept && monotonic_us() < end)
        turn(world, 20);
    assert_int_equal(world->told_count, world->kept);
}

static int64_t gauge(struct world *world, const char *name)
{
    struct buf out;
    char line[128];
    buf_init(&out, 1 << 20);
    door_metrics(world->door);
    metrics_print(&out);
    snprintf(line, sizeof(line), "\nswitchboard_%s ", name);
    const char *at = strstr(out.at, line);
    assert_non_null(at);
    int64_t value = strtoll(at + strlen(line), NULL, 10);
    buf_done(&out);
    return value;
}

static void serve_until_spool_is_empty(struct world *world)
{
    int64_t end = monotonic_us() + PATIENCE_MS * 1000;
    while (gauge(world, "ingest_spool_messages") > 0 && monotonic_us() < end)
        turn(world, 20);
    assert_int_equal(gauge(world, "ingest_spool_messages"), 0);
}

static void open_door(struct world *world)
{
    struct problem why = { 0 };
    world->watch_count = 0;
    world->door = door_open(&(struct door_settings){ .brokers = rd_kafka_mock_cluster_bootstraps(world->cluster),
                                                     .client_id = "test",
                                                     .topics = door_topics,
                                                     .spool_directory = world->spool ? world->directory : NULL,
                                                     .spool_bytes_max = world->spool_bytes_max,
                                                     .watch = watch },
                            &why);
    if (!world->door || !door_start(world->door, world, &why))
        fail_msg("%s", why.text);
}

static int start_with(void **state, bool spool)
{
    struct world *world = must_alloc(sizeof(*world));
    struct problem why = { 0 };
    rd_kafka_conf_t *conf = kafka_conf("127.0.0.1:1", "mock", NULL, &why);
    char reason[256];

    snprintf(world->directory, sizeof(world->directory), "/tmp/test_door.XXXXXX");
    assert_non_null(mkdtemp(world->directory));
    world->host = rd_kafka_new(RD_KAFKA_PRODUCER, conf, reason, sizeof(reason));
    assert_non_null(world->host);
    world->cluster = rd_kafka_mock_cluster_new(world->host, 1);
    assert_non_null(world->cluster);
    rd_kafka_mock_topic_create(world->cluster, inbound.name, inbound.partitions, 1);
    world->spool = spool;
    world->spool_bytes_max = 64 << 20;
    open_door(world);
    *state = world;
    return 0;
}

static int start(void **state)
{
    return start_with(state, true);
}

static int start_without_spool(void **state)
{
    return start_with(state, false);
}

static int finish(void **state)
{
    struct world *world = *state;
    char command[128];
    rd_kafka_mock_broker_set_up(world->cluster, 1);
    door_close(world->door, 2000);
    rd_kafka_mock_cluster_destroy(world->cluster);
    rd_kafka_destroy(world->host);
    snprintf(command, sizeof(command), "rm -rf %s", world->directory);
    assert_int_equal(system(command), 0);
    free(world);
    return 0;
}

static void note_kept(struct parcel *parcel, enum kept how)
{
    struct world *world = parcel->asker;
    int number = atoi(parcel->payload.at);
    assert_int_equal(world->told[number], -1);      /* exactly once */
    world->told[number] = (int)how;
    world->told_us[number] = monotonic_us() - world->told_us[number];
    world->told_count++;
    world->by_spool += how == KEPT_BY_SPOOL;
    world->not_kept += how == KEPT_NOT;
}

/* Message n has the key n modulo KEYS and says "n". */
static int keep(struct world *world)
{
    int number = world->kept++;
    struct parcel *parcel = door_parcel(world->door);
    parcel->topic = &inbound;
    parcel->key_bytes = (size_t)snprintf(parcel->key, sizeof(parcel->key), "key-%d", number % KEYS);
    uuid_random(parcel->id);
    buf_printf(&parcel->payload, "%d", number);
    parcel->kept = note_kept;
    parcel->asker = world;
    world->told[number] = -1;
    world->told_us[number] = monotonic_us();
    door_keep(world->door, parcel);
    return number;
}

/* Reads the topic to its end.  Each message acknowledged as kept must be there and, when `in_order`, within a key
 * the first appearances are in order. */
static int check_topic_order(struct world *world, bool in_order, int *ret_doubled)
{
    static int seen[MESSAGES_MAX];
    int last_of_key[KEYS], found = 0;
    const char *properties[] = { "group.id", "check", "enable.partition.eof", "true", "auto.offset.reset",
                                 "earliest", NULL };
    struct problem why = { 0 };
    char reason[256];
    rd_kafka_conf_t *conf = kafka_conf(rd_kafka_mock_cluster_bootstraps(world->cluster), "check", properties, &why);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
    rd_kafka_topic_partition_list_t *all = rd_kafka_topic_partition_list_new(inbound.partitions);

    assert_non_null(consumer);
    for (int32_t i = 0; i < inbound.partitions; i++)
        rd_kafka_topic_partition_list_add(all, inbound.name, i)->offset = 0;
    rd_kafka_assign(consumer, all);
    rd_kafka_topic_partition_list_destroy(all);
    memset(seen, 0, sizeof(seen));
    memset(last_of_key, -1, sizeof(last_of_key));
    *ret_doubled = 0;
    for (int ends = 0; ends < inbound.partitions;) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, PATIENCE_MS);
        assert_non_null(message);
        if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
            ends++;
        } else if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            char text[16];
            snprintf(text, sizeof(text), "%.*s", (int)message->len, (const char *)message->payload);
            int number = atoi(text);
            if (seen[number]++) {
                (*ret_doubled)++;
            } else {
                assert_true(!in_order || number > last_of_key[number % KEYS]);
                last_of_key[number % KEYS] = number;
                found++;
            }
        }
        rd_kafka_message_destroy(message);
    }
    for (int number = 0; number < world->kept; number++)
        if (world->told[number] == KEPT_BY_KAFKA || world->told[number] == KEPT_BY_SPOOL)
            assert_true(seen[number] > 0);
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
    return found;
}

static int check_topic(struct world *world, int *ret_doubled)
{
    return check_topic_order(world, true, ret_doubled);
}

static void is_acknowledged_by_kafka(void **state)
{
    struct world *world = *state;
    int doubled;
    for (int i = 0; i < 200; i++)
        keep(world);
    serve_until_told(world);
    assert_int_equal(world->by_spool, 0);
    assert_int_equal(check_topic(world, &doubled), 200);
    assert_int_equal(doubled, 0);
}

static void is_spooled_when_kafka_is_silent_and_sent_when_it_is_back(void **state)
{
    struct world *world = *state;
    int doubled;
    keep(world);
    serve_until_told(world);
    rd_kafka_mock_broker_set_down(world->cluster, 1);
    serve_for(world, 400);
    int first = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[first], KEPT_BY_SPOOL);
    assert_true(world->told_us[first] >= DOOR_PATIENCE_MS * 1000);
    assert_true(world->told_us[first] < DOOR_PATIENCE_MS * 1000 + 500000);
    assert_int_equal(gauge(world, "ingest_kafka_away"), 1);

    /* known to be away: nobody waits again, whatever the key */
    for (int i = 0; i < 50; i++) {
        int next = keep(world);
        serve_until_told(world);
        assert_int_equal(world->told[next], KEPT_BY_SPOOL);
        assert_true(world->told_us[next] < DOOR_PATIENCE_MS * 1000);
    }
    assert_int_equal(gauge(world, "ingest_spool_messages"), 51);

    rd_kafka_mock_broker_set_up(world->cluster, 1);
    serve_until_spool_is_empty(world);
    assert_int_equal(gauge(world, "ingest_kafka_away"), 0);
    int after = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[after], KEPT_BY_KAFKA);
    assert_int_equal(check_topic(world, &doubled), 53);
    assert_int_equal(doubled, 0);       /* what was delivered late is not sent from the spool again */
}

static void a_late_report_removes_the_spooled_one(void **state)
{
    struct world *world = *state;
    int doubled;
    keep(world);
    serve_until_told(world);
    rd_kafka_mock_broker_set_rtt(world->cluster, 1, 600);
    for (int i = 0; i < 20; i++)
        keep(world);
    serve_until_told(world);
    assert_int_equal(world->by_spool, 20);
    rd_kafka_mock_broker_set_rtt(world->cluster, 1, 0);
    serve_until_spool_is_empty(world);
    assert_int_equal(check_topic(world, &doubled), 21);
    assert_int_equal(doubled, 0);
}

static void keeps_order_while_kafka_comes_and_goes(void **state)
{
    struct world *world = *state;
    int doubled;
    for (int i = 0; i < MESSAGES_MAX; i++) {
        if (i % 1000 == 300)
            rd_kafka_mock_broker_set_down(world->cluster, 1);
        if (i % 1000 == 800)
            rd_kafka_mock_broker_set_up(world->cluster, 1);
        keep(world);
        if (i % 100 == 49)
            serve_until_told(world);
        if (i % 100 == 99)
            serve_for(world, 20);
    }
    serve_until_told(world);
    assert_int_equal(world->not_kept, 0);
    assert_true(world->by_spool > 100);
    serve_until_spool_is_empty(world);
    assert_int_equal(check_topic(world, &doubled), MESSAGES_MAX);
}

static void sends_first_what_the_last_process_left(void **state)
{
    struct world *world = *state;
    int doubled;
    rd_kafka_mock_broker_set_down(world->cluster, 1);
    for (int i = 0; i < 100; i++)
        keep(world);
    serve_until_told(world);
    assert_int_equal(world->by_spool, 100);
    door_close(world->door, 0);

    rd_kafka_mock_broker_set_up(world->cluster, 1);
    open_door(world);
    for (int i = 0; i < 100; i++)
        keep(world);                    /* behind them */
    serve_until_told(world);
    assert_true(world->by_spool > 100);
    serve_until_spool_is_empty(world);
    assert_int_equal(check_topic(world, &doubled), 200);
}

static void without_a_spool_it_says_so(void **state)
{
    struct world *world = *state;
    struct problem why = { 0 };
    int doubled;
    keep(world);
    serve_until_told(world);
    rd_kafka_mock_broker_set_down(world->cluster, 1);
    serve_for(world, 400);
    int first = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[first], KEPT_NOT);
    int second = keep(world);
    assert_int_equal(world->told[second], KEPT_NOT);        /* at once */
    assert_false(door_ready(world->door, &why));
    assert_non_null(strstr(why.text, "no spool"));

    rd_kafka_mock_broker_set_up(world->cluster, 1);
    int64_t end = monotonic_us() + PATIENCE_MS * 1000;
    while (!door_ready(world->door, &why) && monotonic_us() < end)
        turn(world, 20);
    int third = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[third], KEPT_BY_KAFKA);
    assert_true(check_topic(world, &doubled) >= 2);
}

static void a_full_spool_refuses_and_comes_back(void **state)
{
    struct world *world = *state;
    struct problem why = { 0 };
    int doubled;
    door_close(world->door, 0);
    world->spool_bytes_max = 256 * 1024;
    open_door(world);
    rd_kafka_mock_broker_set_down(world->cluster, 1);
    while (world->not_kept == 0 && world->kept < MESSAGES_MAX - 100) {
        for (int i = 0; i < 20; i++)
            keep(world);
        serve_until_told(world);
    }
    assert_true(world->not_kept > 0);
    assert_true(world->by_spool > 100);
    while (door_ready(world->door, &why) && world->kept < MESSAGES_MAX - 10) {     /* a smaller group may still have fitted */
        keep(world);
        serve_until_told(world);
    }
    assert_false(door_ready(world->door, &why));
    assert_non_null(strstr(why.text, "disk"));
    rd_kafka_mock_broker_set_up(world->cluster, 1);
    serve_until_spool_is_empty(world);
    int last = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[last], KEPT_BY_KAFKA);
    assert_true(check_topic(world, &doubled) >= world->by_spool);
}

/* A sequence that the broker does not know is fatal to an idempotent producer: it must be replaced and its messages
 * sent. */
static void a_producer_that_fails_for_good_is_replaced(void **state)
{
    struct world *world = *state;
    int doubled;
    keep(world);
    serve_until_told(world);
    serve_for(world, 1100);             /* a producer is not replaced more often than once a second */
    rd_kafka_mock_push_request_errors(world->cluster, PRODUCE_REQUEST, 1,
                                      RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (int i = 0; i < 50; i++)
        keep(world);
    serve_until_told(world);
    assert_int_equal(world->not_kept, 0);
    serve_until_spool_is_empty(world);
    assert_true(gauge(world, "ingest_producers_replaced_total") > 0);
    /* unlike a broker, the mock takes what comes behind a batch that it refused */
    assert_int_equal(check_topic_order(world, false, &doubled), 51);
}

static void what_kafka_never_takes_is_set_aside(void **state)
{
    struct world *world = *state;
    rd_kafka_mock_push_request_errors(world->cluster, PRODUCE_REQUEST, 2, RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
                                      RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    int refused = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[refused], KEPT_BY_SPOOL);
    serve_until_spool_is_empty(world);
    assert_int_equal(gauge(world, "ingest_spool_aside"), 1);
    int next = keep(world);
    serve_until_told(world);
    assert_int_equal(world->told[next], KEPT_BY_KAFKA);
}

/* A broker that refuses at once is reported before anybody listens; a queue tells only that it is not empty any more. */
static void looks_at_what_was_there_before_it_listened(void **state)
{
    struct world *world = *state;
    struct pollfd from_kafka = { .fd = world->watches[0].fd, .events = POLLIN };
    assert_int_equal(poll(&from_kafka, 1, 0), 1);
}

int main(void)
{
    log_init("test_door", LOG_ERROR);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(is_acknowledged_by_kafka, start, finish),
        cmocka_unit_test_setup_teardown(is_spooled_when_kafka_is_silent_and_sent_when_it_is_back, start, finish),
        cmocka_unit_test_setup_teardown(a_late_report_removes_the_spooled_one, start, finish),
        cmocka_unit_test_setup_teardown(keeps_order_while_kafka_comes_and_goes, start, finish),
        cmocka_unit_test_setup_teardown(sends_first_what_the_last_process_left, start, finish),
        cmocka_unit_test_setup_teardown(without_a_spool_it_says_so, start_without_spool, finish),
        cmocka_unit_test_setup_teardown(a_full_spool_refuses_and_comes_back, start, finish),
        cmocka_unit_test_setup_teardown(a_producer_that_fails_for_good_is_replaced, start, finish),
        cmocka_unit_test_setup_teardown(what_kafka_never_takes_is_set_aside, start, finish),
        cmocka_unit_test_setup_teardown(looks_at_what_was_there_before_it_listened, start, finish),
    };
    struct problem why;
    if (!crypto_init(&why))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
