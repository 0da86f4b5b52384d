#include "common/daemon_parts.h"
#include "common/log.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define HOST_NAME_BYTES         65 /* HOST_NAME_MAX of Linux and the end */
#define LISTEN_NAME_BYTES       64
#define DRAIN_DEADLINE_MS_LEAST 100
#define DRAIN_DEADLINE_MS_MOST  (3600 * 1000)

/* Fixed and distinct, so that all daemons run on one machine and a scraper knows where.  Another program gets any free
 * port. */
static const struct {
    const char *daemon, *listen;
} metrics_ports[] = {
    { "ingest", NULL }, /* serves them on its main port */
    { "transcribe", "127.0.0.1:5001" },
    { "analyze", "127.0.0.1:5002" },
    { "notifier", "127.0.0.1:5003" },
    { "vision", "127.0.0.1:5004" },
};

/* In the order of enum log_level. */
static const char *const log_levels[] = { "debug", "info", "warning", "error", NULL };

static struct daemon_settings common;
static char host_name[HOST_NAME_BYTES];
static char listen_name[LISTEN_NAME_BYTES];

#define COMMON(field) offsetof(struct daemon_settings, field)
static struct setting common_table[] = {
    { "DATABASE_URL", SET_SECRET, COMMON(database_url), NULL, .required = true,
      .help = "Postgres, anything libpq takes: postgresql://user:password@host:5432/database" },
    { "KAFKA_BROKERS", SET_TEXT, COMMON(kafka_brokers), "127.0.0.1:9092",
      .help = "Kafka's brokers, host:port, separated by commas; "
              "KAFKA_PROP_<NAME> sets any librdkafka property, with _ for ." },
    { "INSTANCE", SET_TEXT, COMMON(instance), host_name,
      .help = "this one among several of its kind, the same after a restart; the default is the host's name" },
    { "STATE_DIR", SET_TEXT, COMMON(state_dir), ".run/state",
      .help = "folder of small files that outlive the process" },
    { "DRAIN_DEADLINE", SET_DURATION, COMMON(drain_deadline_ms), "25s", DRAIN_DEADLINE_MS_LEAST, DRAIN_DEADLINE_MS_MOST,
      .help = "time to finish what has begun when asked to end" },
    { "LOG_LEVEL", SET_CHOICE, COMMON(log_level), "info", .choices = log_levels, .help = "the least that is logged" },
    { 0 }, /* <NAME>_METRICS_LISTEN */
    { 0 },
};

const struct daemon_settings *daemon_settings(void)
{
    return &common;
}

static const char *metrics_port_of(const char *daemon)
{
    for (size_t i = 0; i < LENGTH(metrics_ports); i++)
        if (strcmp(metrics_ports[i].daemon, daemon) == 0)
            return metrics_ports[i].listen;
    return "127.0.0.1:0";
}

const struct setting *daemon_settings_table(const char *name)
{
    if (gethostname(host_name, sizeof(host_name) - 1) != 0 || !*host_name)
        snprintf(host_name, sizeof(host_name), "localhost");
    const char *port = metrics_port_of(name);
    if (!port)
        return common_table;
    snprintf(listen_name, sizeof(listen_name), "%s_METRICS_LISTEN", name);
    for (char *c = listen_name; *c; c++)
        *c = *c == '-' ? '_' : (char)toupper((unsigned char)*c);
    common_table[LENGTH(common_table) - 2] =
        (struct setting){ listen_name, SET_LISTEN, COMMON(listen), port,
                          .help = "where /health, /ready and /metrics are served" };
    return common_table;
}

/* It becomes part of a file's name and of Kafka's group.instance.id. */
static bool instance_is_good(const char *instance)
{
    size_t bytes = strlen(instance);
    return bytes <= 100 && *instance != '.' &&
           strspn(instance, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") == bytes;
}

bool daemon_settings_read(const char *name, struct problem *why)
{
    if (!settings_read(daemon_settings_table(name), &common, why))
        return false;
    if (!instance_is_good(common.instance))
        return fail(why, "INSTANCE is \"%.60s\"; it takes: letters, digits, . _ and -, at most 100", common.instance);
    return true;
}
