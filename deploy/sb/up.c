/* sb up: Kafka, Postgres, the provider sandbox and the daemons, under one supervisor, in the foreground. */
#include "deploy/sb/command.h"

#include <errno.h>
#include <getopt.h>
#include <libpq-fe.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "common/kafka.h"
#include "common/log.h"
#include "common/postgres.h"
#include "deploy/sb/environment.h"
#include "deploy/sb/local.h"
#include "deploy/sb/lock.h"
#include "deploy/sb/look.h"
#include "deploy/sb/ports.h"
#include "deploy/sb/supervisor.h"
#include "deploy/sb/terminal.h"

#define EARLIER_RUN_MS 60000 /* for parts of an earlier run to end */
#define DISK_BYTES_MIN (INT64_C(1) << 30)
#define TOPICS_MS      30000
#define START_MS       60000 /* a part to get ready */
#define STOP_BROKER_MS 30000
#define STOP_DAEMON_MS 30000 /* its own DRAIN_DEADLINE is 25 s */
#define STOP_MS        5000
#define TEXT_BYTES_MAX 4096

enum phase { PHASE_PARTS, PHASE_SCHEMAS, PHASE_DAEMONS, PHASE_DAY };

/* Parts by their names, as --without takes them. */
enum name { KAFKA, POSTGRES, SANDBOX, INGEST, TRANSCRIBE, ANALYZE, NOTIFIER, NAMES };
static const char *const names[NAMES] = {
    "kafka", "postgres", "sandbox", "ingest", "transcribe", "analyze", "notifier"
};

struct up {
    bool without[NAMES];
    bool day, once;
    struct place place;
    struct place_settings listens;
    int64_t kafka_port, postgres_port, sandbox_port;
    char kafka_listen[32], postgres_listen[32], sandbox_listen[32], sandbox_url[64];
    struct local_kafka kafka;
    struct local_postgres postgres;
    const char *database_url, *kafka_brokers;
    char log_folder[PATH_MAX], state_path[PATH_MAX], python[PATH_MAX], programs[NAMES][PATH_MAX], data_folder[PATH_MAX];
    struct supervisor supervisor;
    int ready_phase; /* when this one is done, all is ready */
    int64_t started_us;
};

#define UP(field) offsetof(struct up, field)
static const struct setting up_settings[] = {
    { "LOCAL_KAFKA_PORT", SET_COUNT, UP(kafka_port), "19092", 1024, 65534,
      .help = "of the local Kafka; its controller has the next one" },
    { "LOCAL_POSTGRES_PORT", SET_COUNT, UP(postgres_port), "15432", 1024, 65535, .help = "of the local Postgres" },
    { "LOCAL_SANDBOX_PORT", SET_COUNT, UP(sandbox_port), "5099", 1024, 65535, .help = "of the provider sandbox" },
    { 0 },
};

/* --- options ------------------------------------------------------------------------------------------------- */

static bool leave_out(struct up *up, const char *name)
{
    for (int i = 0; i < NAMES; i++)
        if (strcmp(names[i], name) == 0)
            return up->without[i] = true;
    return false;
}

/* -1, or the exit code */
static int read_options(struct up *up, int argc, char **argv)
{
    static const struct option options[] = {
        { "day", no_argument, NULL, 'd' },
        { "once", no_argument, NULL, 'o' },
        { "without", required_argument, NULL, 'w' },
        { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'o':
            up->once = true;
            up->day = true;
            break;
        case 'd':
            up->day = true;
            break;
        case 'w':
            if (!leave_out(up, optarg))
                return command_misused(
                    argv, "--without takes kafka, postgres, sandbox, ingest, transcribe, analyze or notifier");
            break;
        default:
            return command_misused(argv, NULL);
        }
    }
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    if (up->day && up->without[SANDBOX])
        return command_misused(argv, "the sample day needs the sandbox");
    return -1;
}

/* --- what must be there before anything starts --------------------------------------------------------------- */

static bool check_disk(const struct up *up, struct problem *why)
{
    struct statvfs disk;
    if (statvfs(up->place.run, &disk) != 0)
        return true;
    int64_t left = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    return left >= DISK_BYTES_MIN || fail(why,
                                          "there are only %lld MiB left on the disk of %s, and Kafka ends when its "
                                          "disk is full: make room for at least 1 GiB",
                                          (long long)(left >> 20), up->place.run);
}

static bool check_ports(const struct up *up, struct problem *why)
{
    const struct {
        enum name part;
        const char *listen, *setting;
    } ports[] = {
        { KAFKA, up->kafka_listen, "LOCAL_KAFKA_PORT" },
        { POSTGRES, up->postgres_listen, "LOCAL_POSTGRES_PORT" },
        { SANDBOX, up->sandbox_listen, "LOCAL_SANDBOX_PORT" },
        { INGEST, up->listens.ingest_listen, "INGEST_LISTEN" },
        { TRANSCRIBE, up->listens.transcribe_listen, "TRANSCRIBE_METRICS_LISTEN" },
        { ANALYZE, up->listens.analyze_listen, "ANALYZE_METRICS_LISTEN" },
        { NOTIFIER, up->listens.notifier_listen, "NOTIFIER_METRICS_LISTEN" },
    };
    char controller[32];

    snprintf(controller, sizeof(controller), "127.0.0.1:%d", (int)up->kafka_port + 1);
    for (size_t i = 0; i < LENGTH(ports); i++)
        if (!up->without[ports[i].part] && !port_check(ports[i].listen, names[ports[i].part], ports[i].setting, why))
            return false;
    return up->without[KAFKA] || port_check(controller, "kafka's controller", "LOCAL_KAFKA_PORT", why);
}

static bool make_folders(const struct up *up, struct problem *why)
{
    static const char *const private[] = { "state", "recordings", "spool" };
    char path[PATH_MAX];

    for (size_t i = 0; i < LENGTH(private); i++) {
        path_print(path, "%s/%s", up->place.run, private[i]);
        if (!folder_make(path, 0700, why))
            return false;
    }
    path_print(path, "%s/kafka", up->place.run);
    return folder_make(path, 0755, why) && folder_make(up->log_folder, 0750, why);
}

static bool find_programs(struct up *up, struct problem *why)
{
    for (int i = INGEST; i < NAMES; i++) {
        path_print(up->programs[i], "%s/%s", up->place.programs, names[i]);
        if (!up->without[i] && access(up->programs[i], X_OK) != 0)
            return fail(why, "the program %s is not there: run \"make\", which builds it", up->programs[i]);
    }
    path_print(up->python, "%s/venv-sandbox/bin/python", up->place.run);
    if (!up->without[SANDBOX] && access(up->python, X_OK) != 0)
        return fail(why, "the sandbox's Python packages are not here yet: run \"make venvs\", which fetches them, or "
                         "use --without sandbox");
    return true;
}

/* Settings as the user has them, without what an earlier run wrote. */
static bool read_settings(struct up *up, struct problem *why)
{
    if (!settings_load_file(".env", why) || !settings_read(place_settings_table, &up->listens, why) ||
        !settings_read(up_settings, up, why))
        return false;
    up->without[KAFKA] = up->without[KAFKA] || up->listens.kafka_brokers;
    up->without[POSTGRES] = up->without[POSTGRES] || up->listens.database_url;
    snprintf(up->kafka_listen, sizeof(up->kafka_listen), "127.0.0.1:%d", (int)up->kafka_port);
    snprintf(up->postgres_listen, sizeof(up->postgres_listen), "127.0.0.1:%d", (int)up->postgres_port);
    snprintf(up->sandbox_listen, sizeof(up->sandbox_listen), "127.0.0.1:%d", (int)up->sandbox_port);
    snprintf(up->sandbox_url, sizeof(up->sandbox_url), "http://%s", up->sandbox_listen);
    path_print(up->log_folder, "%s/log", up->place.run);
    path_print(up->state_path, "%s/state.json", up->place.run);
    return true;
}

static bool make_local(struct up *up, struct problem *why)
{
    up->kafka_brokers = up->listens.kafka_brokers ? up->listens.kafka_brokers : up->kafka_listen;
    up->database_url = up->listens.database_url;
    if (!up->without[KAFKA] && !local_kafka_make(&up->place, (int)up->kafka_port, &up->kafka, why))
        return false;
    if (up->database_url == NULL) { /* --without postgres needs its password too */
        if (!local_postgres_make(&up->place, (int)up->postgres_port, &up->postgres, why))
            return false;
        path_print(up->data_folder, "%s/data", up->postgres.folder);
        up->database_url = up->postgres.url;
    }
    struct environment_settings settings = { up->database_url, up->kafka_brokers,
                                             up->without[SANDBOX] ? NULL : up->sandbox_listen, &up->listens };
    return environment_make(&up->place, &settings, why);
}

/* --- the parts ----------------------------------------------------------------------------------------------- */

/* In a process of its own: the Kafka client has threads, and sb must have one. */
static int make_schemas(void *context)
{
    const struct up *up = context;
    struct problem why;

    log_init("schemas", LOG_WARNING);
    rd_kafka_t *client = look_client(up->kafka_brokers, &why);
    bool good = client && kafka_topics_check(client, NULL, true, TOPICS_MS, &why) &&
                look_wait_for_groups(up->kafka_brokers, TOPICS_MS, &why);
    if (client)
        rd_kafka_destroy(client);
    good = good && pg_migrate(up->database_url, &why);
    if (!good)
        log_error(why.text);
    return good ? EXIT_FINE : EXIT_FAILED;
}

static bool postgres_answers(const char *url)
{
    return PQping(url) == PQPING_OK;
}

static void set_arguments(struct part *part, const char *const *arguments)
{
    for (size_t i = 0; i < PART_ARGUMENTS_MAX && arguments[i]; i++)
        part->argv[i] = arguments[i];
}

static void add_kafka(struct up *up)
{
    struct part *part = supervisor_add(&up->supervisor, "kafka", PHASE_PARTS);
    set_arguments(part,
                  (const char *[]){ "java", "-Xmx512m", "-Xms256m", "-XX:+UseSerialGC", "-cp", up->kafka.libraries,
                                    up->kafka.log_settings, "kafka.Kafka", up->kafka.settings, NULL });
    part->listen = part->where = up->kafka_listen;
    part->start_ms = START_MS;
    part->stop_ms = STOP_BROKER_MS;
}

static void add_postgres(struct up *up)
{
    struct part *part = supervisor_add(&up->supervisor, "postgres", PHASE_PARTS);
    set_arguments(part, (const char *[]){ up->postgres.program, "-D", up->data_folder, NULL });
    part->user = up->postgres.user;
    part->folder = "/";
    part->listen = part->where = up->postgres_listen;
    part->answers = postgres_answers;
    part->url = up->postgres.url;
    part->start_ms = START_MS;
    part->stop_signal = SIGINT; /* fast: does not wait for clients to leave */
    part->stop_ms = STOP_BROKER_MS;
}

static void add_sandbox(struct up *up)
{
    struct part *part = supervisor_add(&up->supervisor, "sandbox", PHASE_PARTS);
    set_arguments(part,
                  (const char *[]){ up->python, "deploy/sandbox/sandbox.py", "--listen", up->sandbox_listen, NULL });
    part->listen = up->sandbox_listen;
    part->path = "/";
    part->where = up->sandbox_url;
    part->start_ms = START_MS;
    part->stop_ms = STOP_MS;
}

static void add_daemon(struct up *up, enum name name, const char *listen)
{
    if (up->without[name])
        return;
    struct part *part = supervisor_add(&up->supervisor, names[name], PHASE_DAEMONS);
    part->argv[0] = up->programs[name];
    part->listen = part->where = listen;
    part->path = "/ready";
    part->start_ms = START_MS;
    part->stop_ms = STOP_DAEMON_MS;
    up->ready_phase = PHASE_DAEMONS;
}

static void add_parts(struct up *up)
{
    if (!up->without[POSTGRES])
        add_postgres(up);
    if (!up->without[SANDBOX])
        add_sandbox(up);
    if (!up->without[KAFKA])
        add_kafka(up);
    struct part *schemas = supervisor_add(&up->supervisor, "schemas", PHASE_SCHEMAS);
    schemas->run = make_schemas;
    schemas->context = up;
    schemas->once = true;
    schemas->where = "topics and tables are there";
    schemas->start_ms = 2 * TOPICS_MS;
    schemas->stop_ms = STOP_MS;
    up->ready_phase = PHASE_SCHEMAS;
    add_daemon(up, INGEST, up->listens.ingest_listen);
    add_daemon(up, TRANSCRIBE, up->listens.transcribe_listen);
    add_daemon(up, ANALYZE, up->listens.analyze_listen);
    add_daemon(up, NOTIFIER, up->listens.notifier_listen);
    if (!up->day)
        return;
    struct part *day = supervisor_add(&up->supervisor, "day", PHASE_DAY);
    set_arguments(day, (const char *[]){ up->python, "deploy/local/day.py", NULL });
    day->once = day->to_terminal = true;
    day->stop_ms = STOP_MS;
}

/* --- telling ------------------------------------------------------------------------------------------------- */

static void phase_done(void *context, int phase)
{
    struct up *up = context;
    char program[PATH_MAX];

    if (phase != up->ready_phase)
        return;
    struct buf providers;
    buf_init(&providers, TEXT_BYTES_MAX);
    environment_describe(!up->without[SANDBOX], &providers);
    path_print(program, "%s/sb", up->place.programs);
    size_t root = strlen(up->place.root);
    const char *shown =
        strncmp(program, up->place.root, root) == 0 && program[root] == '/' ? program + root + 1 : program;
    printf("%sready%s after %.1f s; providers: %s\n", colour_begin(BOLD), colour_end(),
           (double)(monotonic_us() - up->started_us) / 1e6, buf_text(&providers).at);
    printf("look: %s status   %s tail   .run/log/   `. .run/env` for a shell;  Ctrl-C ends it\n", shown, shown);
    fflush(stdout);
    buf_done(&providers);
}

static int up_run(int argc, char **argv)
{
    static struct up up;
    struct problem why;

    int wrong = read_options(&up, argc, argv);
    if (wrong >= 0)
        return wrong;
    place_find(&up.place);
    if (up.place.root[0] == '\0')
        return command_fail(argv, EXIT_FAILED, "this is no checkout of Switchboard: run it inside of one");
    if (!read_settings(&up, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    if (!folder_make(up.place.run, 0755, &why) || !lock_take(&up.place, EARLIER_RUN_MS, &why) ||
        !check_disk(&up, &why) || !check_ports(&up, &why) || !make_folders(&up, &why) || !find_programs(&up, &why) ||
        !make_local(&up, &why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    unlink(up.state_path); /* of an earlier run */
    up.started_us = monotonic_us();
    up.supervisor.log_folder = up.log_folder;
    up.supervisor.state_path = up.state_path;
    up.supervisor.phase_done = phase_done;
    up.supervisor.context = &up;
    up.supervisor.stop_after_last = up.once;
    add_parts(&up);
    return supervisor_run(&up.supervisor);
}

const struct command command_up = {
    .name = "up",
    .summary = "runs everything on this machine, in the foreground, until Ctrl-C",
    .help = "Usage: sb up [--day] [--once] [--without PART]…\n\n"
            "Starts Kafka and Postgres (private ones, kept in .run), the provider sandbox, makes topics and tables, "
            "and starts the\n"
            "daemons; restarts what dies; ends all of it in reverse order on Ctrl-C, the daemons finishing what they "
            "have begun.\n\n"
            "Options\n"
            "  --day           play the sample day when all is ready\n"
            "  --once          play it, end, and exit with its exit code\n"
            "  --without PART  leave out kafka, postgres, sandbox, ingest, transcribe, analyze or notifier: to run it "
            "by hand;\n"
            "                  `. .run/env` gives a shell what it needs\n\n"
            "Settings, from the environment or .env\n"
            "  KAFKA_BROKERS, DATABASE_URL  use these instead of starting Kafka or Postgres\n"
            "  LOCAL_KAFKA_PORT 19092 (and the next), LOCAL_POSTGRES_PORT 15432, LOCAL_SANDBOX_PORT 5099\n"
            "  INGEST_LISTEN 127.0.0.1:5000, TRANSCRIBE_METRICS_LISTEN :5001, ANALYZE_METRICS_LISTEN :5002, "
            "NOTIFIER_METRICS_LISTEN :5003\n"
            "  and every daemon's own; a provider whose key is set is asked itself instead of the sandbox\n\n"
            "Examples\n"
            "  sb up                                          until Ctrl-C\n"
            "  sb up --once                                   the sample day, for scripts\n"
            "  sb up --without analyze                        then, in another terminal: . .run/env; gdb "
            "build/bin/analyze\n"
            "  KAFKA_BROKERS=kafka:9092 sb up                 with a Kafka of your own\n\n"
            "Exit codes: 0 ended as asked, 1 something could not start (with --once: or the day missed something),\n"
            "2 the command line or a setting is wrong\n",
    .run = up_run,
};
