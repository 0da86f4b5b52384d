/* hop: how long an event takes through the test stage: from the moment it was due to be sent until the event that the
 * stage sent after it was received.
 *
 *     hop --brokers 127.0.0.1:9092 --in echo.in --out echo.out --rate 200 --seconds 3 --warm-seconds 1
 *
 * Open loop: an event is due every 1/rate seconds whatever became of those before, so a stall shows in all that were
 * due meanwhile.  With --in and --out the same topic it is Kafka alone: one leg, without a stage.  Each event has a key
 * of its own.  What was sent in the warm seconds does not count. */
#include "tests/bench/tool.h"

#include <getopt.h>
#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#define POLL_MS 50
#define ANSWERS_WAIT_MS 10000           /* for the last ones */
#define METADATA_MS 10000

struct options {
    const char *brokers, *in, *out;
    long rate, seconds, warm_seconds;
};

static char prefix[40];                 /* of this run's keys */
static int64_t *due_us;                 /* by n */
static int64_t *came_us;
static long events;
static _Atomic long received;
static atomic_bool over;

/* --- what comes out ----------------------------------------------------------------------------------------------- */

static rd_kafka_t *consumer_open(const struct options *options)
{
    static const char *const properties[] = { "group.id", "bench-hop", "enable.auto.commit", "false", NULL };
    char reason[256];
    struct problem why;
    rd_kafka_conf_t *conf = kafka_conf(options->brokers, "bench-hop", properties, &why);
    if (!conf)
        stop("hop: %s", why.text);
    rd_kafka_t *consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, reason, sizeof(reason));
    if (!consumer)
        stop("hop: %s", reason);
    rd_kafka_poll_set_consumer(consumer);
    return consumer;
}

/* From the end as it is now, by number: nothing that is sent from here on is missed. */
static void assign_from_end(rd_kafka_t *consumer, const char *name)
{
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *topic = rd_kafka_topic_new(consumer, name, NULL);
    if (!topic || rd_kafka_metadata(consumer, 0, topic, &metadata, METADATA_MS) || metadata->topic_cnt != 1 ||
        metadata->topics[0].partition_cnt == 0)
        stop("hop: the topic \"%s\" was not found", name);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(metadata->topics[0].partition_cnt);
    for (int i = 0; i < metadata->topics[0].partition_cnt; i++) {
        int64_t low, high;
        if (rd_kafka_query_watermark_offsets(consumer, name, i, &low, &high, METADATA_MS))
            stop("hop: the end of \"%s\" could not be learned", name);
        rd_kafka_topic_partition_list_add(list, name, i)->offset = high;
    }
    if (rd_kafka_assign(consumer, list))
        stop("hop: \"%s\" could not be read", name);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_metadata_destroy(metadata);
    rd_kafka_topic_destroy(topic);
}

static long number_in(const rd_kafka_message_t *message)
{
    static const char name[] = "\"n\":";
    if (message->key_len < strlen(prefix) || memcmp(message->key, prefix, strlen(prefix)) != 0)
        return 0;
    const char *at = memmem(message->payload, message->len, name, strlen(name));
    return at ? strtol(at + strlen(name), NULL, 10) : 0;    /* a digit is not the last byte of JSON */
}

static void *receive(void *consumer)
{
    while (!over) {
        rd_kafka_message_t *message = rd_kafka_consumer_poll(consumer, POLL_MS);
        int64_t now = monotonic_us();
        if (!message)
            continue;
        long n = message->err ? 0 : number_in(message);
        if (n > 0 && n <= events && came_us[n] == 0) {
            came_us[n] = now;
            received++;
        }
        rd_kafka_message_destroy(message);
    }
    return NULL;
}

/* --- what goes in ------------------------------------------------------------------------------------------------- */

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *unused)
{
    (void)producer, (void)unused;
    if (message->err)
        stop("hop: %s", rd_kafka_err2str(message->err));
}

/* How late each was handed to librdkafka: more than a little means that the measuring was hindered. */
static void send_all(const struct options *options, struct samples *late)
{
    struct problem why;
    struct buf payload;
    char key[EVENT_KEY_BYTES_MAX];
    rd_kafka_t *producer = kafka_producer(options->brokers, "bench-hop", "0", QUEUE_BYTES_MAX, delivered, NULL, &why);
    if (!producer)
        stop("hop: %s", why.text);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, options->in, NULL);
    const struct rd_kafka_metadata *metadata;
    if (!topic || rd_kafka_metadata(producer, 0, topic, &metadata, METADATA_MS))
        stop("hop: Kafka does not answer");
    rd_kafka_metadata_destroy(metadata);
    buf_init(&payload, EVENT_BYTES_MAX);
    int64_t began = monotonic_us();
    for (long n = 1; n <= events; n++) {
        due_us[n] = began + n * 1000000 / options->rate;
        snprintf(key, sizeof(key), "%s%ld", prefix, n);
        asked_write(&payload, key, n, "");
        sleep_until(due_us[n]);
        if (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, payload.at, payload.bytes, key,
                             strlen(key), NULL) != 0)
            stop("hop: %s", rd_kafka_err2str(rd_kafka_last_error()));
        samples_add(late, monotonic_us() - due_us[n]);
        rd_kafka_poll(producer, 0);
    }
    rd_kafka_flush(producer, FLUSH_MS_MAX);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    buf_done(&payload);
}

static void measure(const struct options *options)
{
    struct samples late = { 0 }, took = { 0 };
    pthread_t receiver;
    snprintf(prefix, sizeof(prefix), "hop-%d-%lld-", getpid(), (long long)now_us());
    events = options->rate * (options->warm_seconds + options->seconds);
    due_us = must_alloc((size_t)(events + 1) * sizeof(*due_us));
    came_us = must_alloc((size_t)(events + 1) * sizeof(*came_us));
    rd_kafka_t *consumer = consumer_open(options);
    assign_from_end(consumer, options->out);
    if (pthread_create(&receiver, NULL, receive, consumer) != 0)
        stop("hop: could not start a thread");
    send_all(options, &late);
    int64_t end = monotonic_us() + ANSWERS_WAIT_MS * 1000;
    while (received < events && monotonic_us() < end)
        sleep_until(monotonic_us() + 1000);
    over = true;
    pthread_join(receiver, NULL);
    for (long n = options->rate * options->warm_seconds + 1; n <= events; n++)
        if (came_us[n] > 0)
            samples_add(&took, came_us[n] - due_us[n]);
    printf("{\"sent\":%ld,\"received\":%ld,", events, received);
    samples_print(&took, "hop");
    printf(",");
    samples_print(&late, "late");
    printf("}\n");
    rd_kafka_consumer_close(consumer);
    rd_kafka_destroy(consumer);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "brokers", required_argument, NULL, 'b' }, { "in", required_argument, NULL, 'i' },
        { "out", required_argument, NULL, 'o' },     { "rate", required_argument, NULL, 'r' },
        { "seconds", required_argument, NULL, 's' }, { "warm-seconds", required_argument, NULL, 'w' },
        { 0 },
    };
    struct options options = { .rate = 200, .seconds = 3, .warm_seconds = 1 };
    struct problem why;
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'b': options.brokers = optarg; break;
        case 'i': options.in = optarg; break;
        case 'o': options.out = optarg; break;
        case 'r': options.rate = number_of(optarg, 1, 100000); break;
        case 's': options.seconds = number_of(optarg, 1, 3600); break;
        case 'w': options.warm_seconds = number_of(optarg, 0, 3600); break;
        default: return EXIT_USAGE;
        }
    }
    if (!options.brokers || !options.in || !options.out || optind != argc) {
        fprintf(stderr, "usage: hop --brokers HOST:PORT --in TOPIC --out TOPIC [--rate N] [--seconds N] "
                        "[--warm-seconds N]\n");
        return EXIT_USAGE;
    }
    if (!crypto_init(&why))
        stop("hop: %s", why.text);
    measure(&options);
    return 0;
}
