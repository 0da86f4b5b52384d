/* stage.c: stage_main: from options to exit code. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include "topics.h"

#include <stdlib.h>
#include <string.h>

#define TOPICS_WAIT_MS 1000
#define STAGE_CHECK_MS 5000
#define FLUSH_MS_MAX 10000

/* adaptive: it is held for microseconds, so a moment of spinning spares most of the sleeping */
struct runtime runtime = { .lock = PTHREAD_ADAPTIVE_MUTEX_INITIALIZER_NP };

struct metric metric_events = METRIC_COUNTER("events_total", "events settled, by type and how", "type", "outcome");
struct metric metric_handled_time = METRIC_HISTOGRAM("handler_seconds", "one run of a handler", "type");
struct metric metric_hop_time = METRIC_HISTOGRAM("hop_seconds", "from consumed to finished: committed and its events acknowledged", "type");
struct metric metric_retries = METRIC_COUNTER("retries_total", "handlers that ended in RETRY", "type");
struct metric metric_conflicts = METRIC_COUNTER("conflicts_total", "reruns after a conflict at commit", "type");
struct metric metric_duplicates = METRIC_COUNTER("duplicates_total", "events that were handled before, from another offset", "type");
struct metric metric_asks = METRIC_COUNTER("asks_total", "requests to providers", "provider", "outcome");
struct metric metric_ask_time = METRIC_HISTOGRAM("ask_seconds", "one request to a provider", "provider");
struct metric metric_commit_time = METRIC_HISTOGRAM("commit_seconds", "one transaction of a group");
struct metric metric_commit_events = METRIC_COUNTER("committed_total", "events committed");
struct metric metric_emitted = METRIC_COUNTER("emitted_total", "events sent, by topic", "topic");
static struct metric metric_in_flight = METRIC_GAUGE("in_flight", "events consumed and not finished, by state", "state");
static struct metric metric_workers = METRIC_GAUGE("workers", "worker threads");
static struct metric metric_away = METRIC_GAUGE("postgres_away_seconds", "for how long Postgres is away; 0 while it is there");

#define RUNTIME(field) offsetof(struct runtime, field)
static const struct setting runtime_settings[] = {
    { "WORKERS_MAX", SET_COUNT, RUNTIME(workers_max), "1024", 1, 4096, .help = "handlers that run at once; threads start as they are needed" },
    { "IN_FLIGHT_MAX", SET_COUNT, RUNTIME(in_flight_max), "2048", 1, 100000, .help = "events consumed and not finished, shared by the partitions" },
    { "IN_FLIGHT_BYTES_MAX", SET_BYTES, RUNTIME(in_flight_bytes_max), "64MiB", 1024 * 1024, INT64_C(1) << 34,
      .help = "their bytes; at least one event is always taken" },
    { "DATABASE_CONNECTIONS_MAX", SET_COUNT, RUNTIME(connections_max), "16", 1, 1000, .help = "of the handlers, beside the stage's own two" },
    { "RETRY_AGE_MAX", SET_DURATION, RUNTIME(retry_age_ms_max), "24h", 1000, INT64_C(30) * 24 * 3600 * 1000,
      .help = "an event that fails for so long goes to the dead letters" },
    { "LEDGER_DAYS", SET_COUNT, RUNTIME(ledger_days), "31", 15, 3660, .help = "how long handled events are remembered: longer than the topics keep them" },
    { "CREATE_TOPICS", SET_SWITCH, RUNTIME(create_topics), "off", .help = "make topics that are missing (one broker, no replication)" },
    { "HTTP_CONNECTIONS_MAX", SET_COUNT, RUNTIME(http_settings.connections_max), "1024", 1, 10000, .help = "connections to providers" },
    { "HTTP_CONNECTIONS_PER_HOST_MAX", SET_COUNT, RUNTIME(http_settings.connections_per_host_max), "1024", 1, 10000, .help = "to one of them" },
    { "RECORDING_PRIVATE_ALLOWED", SET_TEXT, RUNTIME(http_settings.allowed_private), NULL,
      .help = "host:port, separated by commas: private addresses that an address from outside may lead to" },
    { 0 },
};

struct http_client *stage_http(void)
{
    return runtime.http;
}

/* --- what is shown ---------------------------------------------------------------------------------------------------------- */

static void set_gauges(void *unused)
{
    (void)unused;
    struct work_counts counts;
    pthread_mutex_lock(&runtime.lock);
    works_count(&counts);
    int64_t away = runtime.postgres_away_us ? (monotonic_us() - runtime.postgres_away_us) / 1000000 + 1 : 0;
    pthread_mutex_unlock(&runtime.lock);
    metric_set(&metric_in_flight, counts.queued, "queued");
    metric_set(&metric_in_flight, counts.lookup, "lookup");
    metric_set(&metric_in_flight, counts.ready, "ready");
    metric_set(&metric_in_flight, counts.running, "running");
    metric_set(&metric_in_flight, counts.waiting, "waiting");
    metric_set(&metric_in_flight, counts.committing, "committing");
    metric_set(&metric_workers, counts.workers);
    metric_set(&metric_away, away);
}

static void declare_metrics(void)
{
    struct metric *const all[] = { &metric_events, &metric_handled_time, &metric_hop_time, &metric_retries, &metric_conflicts,
                                   &metric_duplicates, &metric_asks, &metric_ask_time, &metric_commit_time, &metric_commit_events,
                                   &metric_emitted, &metric_in_flight, &metric_workers, &metric_away };
    for (size_t i = 0; i < LENGTH(all); i++)
        metric_register(all[i]);
    metrics_on_print(set_gauges, NULL);
}

bool stage_ready(struct problem *why)
{
    pthread_mutex_lock(&runtime.lock);
    bool ready = runtime.subscribed && runtime.postgres_away_us == 0;
    if (runtime.stopping)
        ready = fail(why, "it is stopping");
    else if (!runtime.subscribed)
        fail(why, "it has no partitions yet: kafka is away, or the group is being formed");
    else if (!ready)
        fail(why, "postgres has been away for %lld s", (long long)(monotonic_us() - runtime.postgres_away_us) / 1000000);
    for (int i = 0; ready && i < runtime.circuit_count; i++)
        if (runtime.circuits[i].open && !runtime.circuits[i].held)     /* a pause is meant, and no reason to start it again */
            ready = fail(why, "%s fails for everyone: %.200s", runtime.circuits[i].name, runtime.circuits[i].why);
    pthread_mutex_unlock(&runtime.lock);
    return ready;
}

static bool is_ready(void *context, struct problem *why)
{
    return stage_ready(why) && (!runtime.stage->ready || runtime.stage->ready(context, why));
}

/* --- --check ------------------------------------------------------------------------------------------------------------------- */

static bool check(void *context, struct buf *out)
{
    struct problem why;
    struct pg_pool_settings settings = { .url = daemon_settings()->database_url, .application_name = runtime.stage->name };
    PGconn *connection = pg_connect(&settings, &why);
    bool postgres = connection != NULL;
    buf_printf(out, postgres ? "ok   postgres%s\n" : "bad  postgres %s\n", postgres ? "" : why.text);
    if (connection)
        PQfinish(connection);
    bool kafka = produce_open(&why) && kafka_topics_check(runtime.producer, NULL, false, STAGE_CHECK_MS, &why);
    buf_printf(out, kafka ? "ok   kafka %s\n" : "bad  kafka %s\n", kafka ? daemon_settings()->kafka_brokers : why.text);
    bool more = !runtime.stage->check || runtime.stage->check(context, out);
    return postgres && kafka && more;
}

/* --- start ------------------------------------------------------------------------------------------------------------------------ */

static void find_topics(void)
{
    snprintf(runtime.replay_topic, sizeof(runtime.replay_topic), "replay.%s", runtime.stage->name);
    snprintf(runtime.dead_topic, sizeof(runtime.dead_topic), "dead.%s", runtime.stage->name);
    snprintf(runtime.role, sizeof(runtime.role), "switchboard_%s", runtime.stage->name);
    int count = 0;
    for (const struct stage_topics *topics_of = stage_topics; topics_of->stage; topics_of++)
        if (strcmp(topics_of->stage, runtime.stage->name) == 0)
            for (const char *const *topic = topics_of->reads; *topic && count < TOPICS_MAX; topic++)
                runtime.topics[count++] = *topic;
}

static void conditions_init(void)
{
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_t *const all[] = { &runtime.lookup_ready, &runtime.commit_ready, &runtime.clock_changed, &runtime.sweep_now,
                                    &runtime.arrived, &runtime.settled };
    for (size_t i = 0; i < LENGTH(all); i++)
        pthread_cond_init(all[i], &attributes);
    pthread_condattr_destroy(&attributes);
}

/* Tries until it works or the daemon is asked to end: what a stage needs may start after it. */
static bool persist(const char *what, bool (*attempt)(struct problem *why))
{
    struct problem why;
    for (bool told = false; !daemon_stopping(); told = true) {
        if (attempt(&why)) {
            if (told)
                log_info("at last", LOG_TEXT("what", what));
            return true;
        }
        if (!told)
            log_warning("waiting for what this stage needs", LOG_TEXT("what", what), LOG_TEXT("why", why.text));
        struct timespec pause = { .tv_sec = TOPICS_WAIT_MS / 1000, .tv_nsec = TOPICS_WAIT_MS % 1000 * 1000000L };
        nanosleep(&pause, NULL);
    }
    return false;
}

static bool migrate(struct problem *why)
{
    return pg_migrate(daemon_settings()->database_url, why);
}

static bool check_topics(struct problem *why)
{
    return kafka_topics_check(runtime.producer, NULL, runtime.create_topics, STAGE_CHECK_MS, why);
}

static void note_crash(void *unused, const char *id)
{
    static const struct statement count_crash = {
        .name = "runtime_count_crash",
        .text = "INSERT INTO crashes (stage, event_id, run) VALUES ($1, $2::uuid, $3::integer)"
                " ON CONFLICT (stage, event_id, run) DO UPDATE SET count = crashes.count + 1, updated_at = now()",
        .params = 3,
    };
    (void)unused;
    struct arena *arena = arena_new(STAGE_ARENA_BYTES_MAX);
    struct rows rows;
    struct problem why;
    const char *run = strchr(id, '/');          /* "<event id>/<run>", see work_handle() */
    const char *event_id = arena_copy_text(arena, (struct text){ id, run ? (size_t)(run - id) : strlen(id) });
    log_error("the process crashed while it handled this event", LOG_TEXT("event_id", event_id));
    if (pg_query(runtime.pool, &count_crash, PARAMS(runtime.stage->name, event_id, run ? run + 1 : "0"), arena, &rows, &why) != PG_FINE)
        log_error("could not note the crash", LOG_TEXT("event_id", event_id), LOG_TEXT("why", why.text));
    arena_free(arena);
}

static bool start_threads(struct problem *why)
{
    struct {
        pthread_t *thread;
        void *(*main)(void *unused);
    } const all[] = { { &runtime.ledger_thread, ledger_main }, { &runtime.commit_thread, commit_main }, { &runtime.clock_thread, clock_main },
                      { &runtime.sweep_thread, sweep_main }, { &runtime.produce_thread, produce_main } };
    for (size_t i = 0; i < LENGTH(all); i++) {
        int error = pthread_create(all[i].thread, NULL, all[i].main, NULL);
        if (error != 0)
            return fail(why, "could not start a thread: %s", strerror(error));
    }
    return true;
}

static bool open_stage(struct problem *why)
{
    runtime.pool = pg_pool_new(&(struct pg_pool_settings){
        .url = daemon_settings()->database_url, .role = runtime.role, .application_name = runtime.stage->name,
        .connections_max = (int)runtime.connections_max, .wait_ms_max = 10000 });
    runtime.http_settings.user_agent = "Switchboard";
    runtime.http = http_client_start(&runtime.http_settings, why);
    if (!runtime.http || !produce_open(why))
        return false;
    if (runtime.stage->open && !runtime.stage->open(runtime.stage->context, why))
        return false;
    return runtime.stage->own_metrics_server || daemon_serve_metrics(is_ready, runtime.stage->context, why);
}

/* --- end ----------------------------------------------------------------------------------------------------------------------------- */

/* Nothing new is started; what runs may finish and be committed until the deadline, but for requests that are harmless to
 * repeat: what of them is not done early on (a long download) is left, and done again by whoever comes next. */
static void drain(void)
{
    int64_t began = monotonic_us(), deadline_us = daemon_settings()->drain_deadline_ms * 1000;
    int64_t hurry = began + deadline_us / 4, deadline = began + deadline_us * 8 / 10;
    pthread_mutex_lock(&runtime.lock);
    runtime.stopping = true;
    pthread_cond_broadcast(&runtime.sweep_now);
    pthread_mutex_unlock(&runtime.lock);
    workers_stop(hurry);
    http_client_hurry(runtime.http);
    workers_stop(deadline);
    pthread_mutex_lock(&runtime.lock);
    settle_until(deadline);
    int64_t left = runtime.running + runtime.committing;
    runtime.finished = true;
    pthread_cond_broadcast(&runtime.lookup_ready);
    pthread_cond_broadcast(&runtime.commit_ready);
    pthread_cond_broadcast(&runtime.clock_changed);
    pthread_mutex_unlock(&runtime.lock);
    if (left > 0)
        log_warning("ended before everything was done; it will be done again", LOG_INT("events", left));
}

static void close_stage(bool started)
{
    if (started) {
        drain();
        consume_close();
        pthread_join(runtime.ledger_thread, NULL);
        pthread_join(runtime.commit_thread, NULL);
        pthread_join(runtime.clock_thread, NULL);
        pthread_join(runtime.sweep_thread, NULL);
        pthread_join(runtime.produce_thread, NULL);
        instance_gone();
    }
    if (runtime.stage->close)
        runtime.stage->close(runtime.stage->context);
    http_client_stop(runtime.http);
    if (runtime.producer) {
        rd_kafka_flush(runtime.producer, FLUSH_MS_MAX);
        rd_kafka_destroy(runtime.producer);
    }
    pg_pool_free(runtime.pool);
}

int stage_main(int argc, char **argv, const struct stage *stage)
{
    struct problem why;
    runtime.stage = stage;
    find_topics();
    conditions_init();
    keys_init();
    declare_metrics();
    daemon_start(&(struct daemon){ .name = stage->name, .summary = stage->summary, .settings = stage->settings, .context = stage->context,
                                   .stage_settings = runtime_settings, .stage_context = &runtime, .check = check, .dry_run = dry_run }, argc, argv);
    bool started = false;
    if (!open_stage(&why)) {
        log_error(why.text);
        daemon_stop("it could not be started");
    } else if (persist("postgres", migrate) && persist("pauses", pauses_read) && persist("kafka", check_topics)) {
        daemon_crash_notes(note_crash, NULL);
        started = start_threads(&why) && consume_open(&why);
        if (started) {
            consume_run();
        } else {
            log_error(why.text);
            daemon_stop("it could not be started");
        }
    }
    close_stage(started);
    return daemon_finish();
}
