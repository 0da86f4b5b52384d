/* One KRaft broker.  Its data is formatted once, by Kafka's own StorageTool. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/event.h"
#include "deploy/sb/local.h"

#include <sodium.h>

#define FORMAT_TIMEOUT_MS 60000
#define OUTPUT_BYTES_MAX  (1024 * 1024)
#define CLUSTER_ID_BYTES  16 /* a Kafka Uuid: 16 bytes in base64url */

static int64_t largest_message(void)
{
    int64_t bytes = 1024 * 1024;
    for (const struct topic *topic = topics; topic->name; topic++)
        if (topic->message_bytes_max > bytes)
            bytes = topic->message_bytes_max;
    return bytes;
}

static bool write_settings(const struct place *place, int port, const char *to, struct problem *why)
{
    char from[PATH_MAX], data[PATH_MAX], ports[2][16], bytes[24];

    path_print(from, "%s/deploy/local/kafka/server.properties.in", place->root);
    path_print(data, "%s/kafka/data", place->run);
    snprintf(ports[0], sizeof(ports[0]), "%d", port);
    snprintf(ports[1], sizeof(ports[1]), "%d", port + 1);
    snprintf(bytes, sizeof(bytes), "%lld", (long long)largest_message());
    const char *names[] = { "PORT", "CONTROLLER_PORT", "DATA", "MESSAGE_BYTES_MAX", NULL };
    const char *values[] = { ports[0], ports[1], data, bytes, NULL };
    struct buf settings;
    buf_init(&settings, TEMPLATE_BYTES_MAX);
    bool good = template_fill(from, names, values, &settings, why) && file_write(to, buf_text(&settings), 0644, why);
    buf_done(&settings);
    return good;
}

static bool format(struct local_kafka *kafka, struct problem *why)
{
    unsigned char id[CLUSTER_ID_BYTES];
    char id_text[sodium_base64_ENCODED_LEN(CLUSTER_ID_BYTES, sodium_base64_VARIANT_URLSAFE_NO_PADDING)];
    struct problem inside;
    struct buf output;

    id[0] = 0; /* Kafka's tools read an id that begins with - as an option: draw until it does not */
    do
        randombytes_buf(id, sizeof(id));
    while (sodium_bin2base64(id_text, sizeof(id_text), id, sizeof(id), sodium_base64_VARIANT_URLSAFE_NO_PADDING)[0] ==
           '-');
    char *argv[] = { "java",
                     "-XX:+UseSerialGC",
                     "-XX:TieredStopAtLevel=1",
                     "-cp",
                     kafka->libraries,
                     kafka->log_settings,
                     "kafka.tools.StorageTool",
                     "format",
                     "--cluster-id",
                     id_text,
                     "--config",
                     kafka->settings,
                     NULL };
    struct child tool = { .argv = argv, .output = -1, .input = -1 };
    fprintf(stderr, "making a Kafka store in .run/kafka\n");
    buf_init(&output, OUTPUT_BYTES_MAX);
    bool good = child_run(&tool, (struct text){ 0 }, FORMAT_TIMEOUT_MS, &output, &inside) ||
                fail(why, "could not make the Kafka store: %s", inside.text);
    buf_done(&output);
    return good;
}

bool local_kafka_make(const struct place *place, int port, struct local_kafka *ret, struct problem *why)
{
    char path[PATH_MAX];

    path_print(path, "%s/kafka/libs", place->run);
    if (access(path, R_OK) != 0)
        return fail(
            why,
            "Kafka is not here yet (%s): run \"make kafka\", which fetches it, or set KAFKA_BROKERS to use your own",
            path);
    snprintf(ret->libraries, sizeof(ret->libraries), "%s/*", path);
    path_print(ret->settings, "%s/kafka/server.properties", place->run);
    snprintf(ret->log_settings, sizeof(ret->log_settings),
             "-Dlog4j2.configurationFile=%s/deploy/local/kafka/log4j2.properties", place->root);
    if (!write_settings(place, port, ret->settings, why))
        return false;
    path_print(path, "%s/kafka/data/meta.properties", place->run);
    return access(path, F_OK) == 0 || format(ret, why);
}
