/* produce: fills a topic with events for the test stage, as fast as Kafka takes them.
 *
 *     produce --brokers 127.0.0.1:9092 --topic echo.in --events 100000 --keys 1000 --prefix run1 --told '"silent":true'
 *
 * The keys take turns: event i has the key <prefix>-<i modulo keys>, and n = i, from 1. */
#include "tests/bench/tool.h"

#include <getopt.h>

#define QUEUE_FULL_WAIT_MS 10

struct options {
    const char *brokers, *topic, *prefix, *told;
    long events, keys;
};

static long undelivered;

static void delivered(rd_kafka_t *producer, const rd_kafka_message_t *message, void *unused)
{
    (void)producer, (void)unused;
    if (message->err && undelivered++ == 0)
        fprintf(stderr, "produce: %s\n", rd_kafka_err2str(message->err));
}

static void produce(rd_kafka_t *producer, rd_kafka_topic_t *topic, const char *key, struct text payload)
{
    while (rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, (void *)(uintptr_t)payload.at,
                            payload.bytes, key, strlen(key), NULL) != 0) {
        if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            stop("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
        rd_kafka_poll(producer, QUEUE_FULL_WAIT_MS);
    }
    rd_kafka_poll(producer, 0);
}

static void fill(const struct options *options)
{
    struct problem why;
    struct buf payload;
    char key[EVENT_KEY_BYTES_MAX];
    rd_kafka_t *producer =
        kafka_producer(options->brokers, "bench-produce", "5", QUEUE_BYTES_MAX, delivered, NULL, &why);
    if (!producer)
        stop("produce: %s", why.text);
    rd_kafka_topic_t *topic = rd_kafka_topic_new(producer, options->topic, NULL);
    if (!topic)
        stop("produce: %s", rd_kafka_err2str(rd_kafka_last_error()));
    buf_init(&payload, EVENT_BYTES_MAX);
    int64_t began = monotonic_us();
    for (long n = 1; n <= options->events; n++) {
        snprintf(key, sizeof(key), "%s-%ld", options->prefix, n % options->keys);
        asked_write(&payload, key, n, options->told);
        produce(producer, topic, key, buf_text(&payload));
    }
    if (rd_kafka_flush(producer, FLUSH_MS_MAX) || undelivered > 0)
        stop("produce: not everything was delivered");
    printf("{\"events\":%ld,\"bytes_each\":%zu,\"seconds\":%.3f}\n", options->events, payload.bytes,
           (double)(monotonic_us() - began) / 1e6);
    rd_kafka_topic_destroy(topic);
    rd_kafka_destroy(producer);
    buf_done(&payload);
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "brokers", required_argument, NULL, 'b' }, { "topic", required_argument, NULL, 't' },
        { "events", required_argument, NULL, 'e' },  { "keys", required_argument, NULL, 'k' },
        { "prefix", required_argument, NULL, 'p' },  { "told", required_argument, NULL, 'd' },
        { 0 },
    };
    struct options options = { .prefix = "bench", .told = "", .events = 1000, .keys = 1000 };
    struct problem why;
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'b': options.brokers = optarg; break;
        case 't': options.topic = optarg; break;
        case 'e': options.events = number_of(optarg, 1, 100000000); break;
        case 'k': options.keys = number_of(optarg, 1, 100000000); break;
        case 'p': options.prefix = optarg; break;
        case 'd': options.told = optarg; break;
        default: return EXIT_USAGE;
        }
    }
    if (!options.brokers || !options.topic || optind != argc) {
        fprintf(stderr, "usage: produce --brokers HOST:PORT --topic TOPIC [--events N] [--keys N] [--prefix TEXT] "
                        "[--told JSON]\n");
        return EXIT_USAGE;
    }
    if (!crypto_init(&why))
        stop("produce: %s", why.text);
    fill(&options);
    return 0;
}
