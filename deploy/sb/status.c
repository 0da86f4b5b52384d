/* sb status: a line for each part (as `sb up` keeps it, and as it answers itself), a line for each stage (from Kafka,
 * Postgres and /metrics). */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "common/postgres.h"
#include "deploy/sb/command.h"
#include "deploy/sb/lock.h"
#include "deploy/sb/look.h"
#include "deploy/sb/probe.h"
#include "deploy/sb/table.h"
#include "topics.h"

#define STATE_BYTES_MAX   (64 * 1024)
#define METRICS_BYTES_MAX (8 * 1024 * 1024)
#define ANSWER_BYTES_MAX  (64 * 1024)
#define ARENA_BYTES_MAX   (1024 * 1024)
#define JSON_BYTES_MAX    (256 * 1024)
#define LINES_MAX         16
#define POSTGRES_WAIT_MS  5000
#define NOT_KNOWN         INT64_MIN

/* A part: what `sb up` wrote of it, if it runs here, and what it says itself. */
struct part_line {
    const char *name, *state, *where, *listen, *path;
    int64_t pid, restarts, since_us;
    struct probe ready;
};

struct stage_line {
    const char *name;
    const char *listen;
    int64_t behind, in_flight, parked, dead, spool; /* NOT_KNOWN: could not be asked */
    struct probe metrics;
};

struct status {
    struct place place;
    struct place_settings settings;
    struct arena *arena;
    pid_t holder;
    struct part_line parts[LINES_MAX];
    size_t part_count;
    struct stage_line stages[LINES_MAX];
    size_t stage_count;
    struct problem kafka, postgres; /* empty text: it answers */
};

/* --- the parts ----------------------------------------------------------------------------------------------- */

static const char *string_of(struct status *status, struct json_value part, const char *name)
{
    struct json_value value;
    return json_find(part, name, &value) && value.kind == JSON_STRING ? json_string(value, status->arena) : NULL;
}

static int64_t number_of(struct json_value part, const char *name)
{
    struct json_value value;
    int64_t number;
    return json_find(part, name, &value) && json_integer(value, &number) ? number : 0;
}

static void read_part(struct status *status, struct json_value value)
{
    struct part_line *part = &status->parts[status->part_count++];
    *part = (struct part_line){ .name = string_of(status, value, "name"),
                                .state = string_of(status, value, "state"),
                                .where = string_of(status, value, "where"),
                                .listen = string_of(status, value, "listen"),
                                .path = string_of(status, value, "path"),
                                .pid = number_of(value, "pid"),
                                .restarts = number_of(value, "restarts") };
    const char *since = string_of(status, value, "since");
    if (since == NULL || !time_read(text_of(since), &part->since_us))
        part->since_us = 0;
}

static void read_state(struct status *status)
{
    static char content[STATE_BYTES_MAX];
    char path[PATH_MAX];
    struct json_value state, parts, part;
    struct json_scan scan;
    struct problem why;

    path_print(path, "%s/state.json", status->place.run);
    if (status->holder == 0 || !file_read(path, content, sizeof(content)) ||
        !json_parse(text_of(content), &state, &why) || !json_find(state, "parts", &parts))
        return;
    json_enter(&scan, parts);
    while (json_element(&scan, &part) && status->part_count < LINES_MAX)
        read_part(status, part);
}

/* Where nothing is supervised here, the daemons are asked where the settings say. */
static void list_daemons(struct status *status)
{
    for (size_t i = 0; i < status->stage_count; i++)
        if (status->stages[i].listen)
            status->parts[status->part_count++] = (struct part_line){ .name = status->stages[i].name,
                                                                      .listen = status->stages[i].listen,
                                                                      .path = "/ready" };
}

static void list_stages(struct status *status)
{
    const struct {
        const char *name, *listen;
    } listens[] = {
        { "ingest", status->settings.ingest_listen },
        { "transcribe", status->settings.transcribe_listen },
        { "analyze", status->settings.analyze_listen },
        { "notifier", status->settings.notifier_listen },
    };
    for (const struct stage_topics *stage = stage_topics; stage->stage && status->stage_count < LINES_MAX; stage++) {
        struct stage_line *line = &status->stages[status->stage_count++];
        *line = (struct stage_line){ .name = stage->stage,
                                     .behind = NOT_KNOWN,
                                     .in_flight = NOT_KNOWN,
                                     .parked = NOT_KNOWN,
                                     .dead = NOT_KNOWN,
                                     .spool = NOT_KNOWN };
        for (size_t i = 0; i < LENGTH(listens); i++)
            if (strcmp(listens[i].name, stage->stage) == 0)
                line->listen = listens[i].listen;
    }
}

/* Everybody is asked at once. */
static void ask_daemons(struct status *status)
{
    struct probe *probes[2 * LINES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < status->part_count; i++) {
        if (status->parts[i].listen == NULL)
            continue;
        probe_start(&status->parts[i].ready, status->parts[i].listen, status->parts[i].path, ANSWER_BYTES_MAX);
        probes[count++] = &status->parts[i].ready;
    }
    for (size_t i = 0; i < status->stage_count; i++) {
        if (status->stages[i].listen == NULL)
            continue;
        probe_start(&status->stages[i].metrics, status->stages[i].listen, "/metrics", METRICS_BYTES_MAX);
        probes[count++] = &status->stages[i].metrics;
    }
    probe_wait(probes, count);
}

/* --- the stages ---------------------------------------------------------------------------------------------- */

/* The sum of a metric's series (Prometheus text, 0.0.4); NOT_KNOWN when there is none. */
static int64_t metric_sum(struct text metrics, const char *name)
{
    int64_t sum = NOT_KNOWN;
    size_t name_bytes = strlen(name);
    const char *end = metrics.at + metrics.bytes;

    for (const char *line = metrics.at; line < end;) {
        const char *line_end = memchr(line, '\n', (size_t)(end - line));
        line_end = line_end ? line_end : end;
        size_t bytes = (size_t)(line_end - line);
        const char *space = memrchr(line, ' ', bytes);
        if (bytes > name_bytes && memcmp(line, name, name_bytes) == 0 &&
            (line[name_bytes] == '{' || line[name_bytes] == ' ') && space)
            sum = (sum == NOT_KNOWN ? 0 : sum) + (int64_t)strtod(space + 1, NULL);
        line = line_end + 1;
    }
    return sum;
}

static void ask_metrics(struct status *status)
{
    for (size_t i = 0; i < status->stage_count; i++) {
        struct stage_line *stage = &status->stages[i];
        if (stage->listen == NULL || stage->metrics.result != PROBE_GOOD)
            continue;
        struct text metrics = probe_body(&stage->metrics);
        stage->in_flight = metric_sum(metrics, "switchboard_in_flight");
        stage->spool = metric_sum(metrics, "switchboard_ingest_spool_messages");
    }
}

static void ask_kafka(struct status *status)
{
    char dead[EVENT_KEY_BYTES_MAX];

    if (status->settings.kafka_brokers == NULL) {
        fail(&status->kafka, "KAFKA_BROKERS is not set");
        return;
    }
    struct look *look = look_new(status->settings.kafka_brokers, &status->kafka);
    for (size_t i = 0; look && i < status->stage_count; i++) {
        struct stage_line *stage = &status->stages[i];
        snprintf(dead, sizeof(dead), "dead.%s", stage->name);
        const struct look_topic *topic = look_find(look, dead);
        stage->dead = topic ? look_kept(topic) : NOT_KNOWN;
        if (!look_behind(look, stage->name, &stage->behind, &status->kafka))
            break;
    }
    look_free(look);
}

static const struct statement count_parked = {
    .name = "sb_count_parked",
    .text = "SELECT stage, count(*) AS parked FROM parked GROUP BY stage",
    .params = 0,
};

static void ask_postgres(struct status *status)
{
    struct rows rows;

    if (status->settings.database_url == NULL) {
        fail(&status->postgres, "DATABASE_URL is not set");
        return;
    }
    struct pg_pool_settings settings = { .url = status->settings.database_url,
                                         .role = "switchboard_ingest",
                                         .application_name = "sb",
                                         .connections_max = 1,
                                         .wait_ms_max = POSTGRES_WAIT_MS };
    struct pg_pool *pool = pg_pool_new(&settings);
    if (pg_query(pool, &count_parked, PARAMS(), status->arena, &rows, &status->postgres) == PG_FINE) {
        status->postgres.text[0] = '\0';
        for (size_t i = 0; i < status->stage_count; i++) {
            status->stages[i].parked = 0;
            for (int row = 0; row < rows.count; row++)
                if (strcmp(row_get(&rows, row, "stage"), status->stages[i].name) == 0)
                    status->stages[i].parked = strtoll(row_get(&rows, row, "parked"), NULL, 10);
        }
    }
    pg_pool_free(pool);
}

/* --- the answer ---------------------------------------------------------------------------------------------- */

static bool part_is_well(const struct part_line *part)
{
    if (part->listen == NULL)
        return part->state == NULL || strcmp(part->state, "failed") != 0;
    return part->ready.result == PROBE_GOOD;
}

static void print_number(struct table *table, int64_t number, enum colour when_any)
{
    if (number == NOT_KNOWN)
        table_add(table, FAINT, "-");
    else
        table_add(table, number ? when_any : PLAIN, "%" PRId64, number);
}

static void print_parts(const struct status *status)
{
    static struct table table;
    static const char *const titles[] = { "part", "process", "<for", "<restarts", "answers", NULL };
    char age[AGE_BYTES];

    table_begin(&table, titles);
    for (size_t i = 0; i < status->part_count; i++) {
        const struct part_line *part = &status->parts[i];
        bool well = part_is_well(part);
        table_add(&table, BOLD, "%s", part->name);
        table_add(&table, PLAIN, "%s", part->state ? part->state : "not ours");
        table_add(&table, PLAIN, "%s", part->pid && part->since_us ? age_print(now_us() - part->since_us, age) : "-");
        print_number(&table, part->state ? part->restarts : NOT_KNOWN, YELLOW);
        table_add(&table, well ? GREEN : RED, "%s%s%s", part->listen == NULL ? "" : part->listen,
                  part->listen ? ": " : "",
                  part->listen == NULL ? part->where ? part->where : ""
                  : well               ? part->path ? "ready" : "yes"
                                       : part->ready.said);
    }
    table_print(&table);
}

static void print_stages(const struct status *status)
{
    static struct table table;
    static const char *const titles[] = { "stage", "<behind", "<in flight", "<parked", "<dead", "<spool", NULL };

    table_begin(&table, titles);
    for (size_t i = 0; i < status->stage_count; i++) {
        const struct stage_line *stage = &status->stages[i];
        table_add(&table, BOLD, "%s", stage->name);
        print_number(&table, stage->behind, YELLOW);
        print_number(&table, stage->in_flight, PLAIN);
        print_number(&table, stage->parked, YELLOW);
        print_number(&table, stage->dead, RED);
        print_number(&table, stage->spool, YELLOW);
    }
    table_print(&table);
}

static void print_readable(const struct status *status)
{
    if (status->holder)
        printf("sb up runs here (process %d)\n\n", (int)status->holder);
    else if (status->place.root[0] != '\0')
        printf("sb up does not run here\n\n");
    print_parts(status);
    printf("\n");
    print_stages(status);
    if (status->kafka.text[0] != '\0')
        printf("%skafka%s: %s\n", colour_begin(RED), colour_end(), status->kafka.text);
    if (status->postgres.text[0] != '\0')
        printf("%spostgres%s: %s\n", colour_begin(RED), colour_end(), status->postgres.text);
}

static void write_number(struct buf *out, const char *name, int64_t number)
{
    json_name(out, name);
    if (number == NOT_KNOWN)
        buf_add_string(out, "null");
    else
        json_write_integer(out, number);
}

static void write_string(struct buf *out, const char *name, const char *value)
{
    json_name(out, name);
    json_write_string(out, value);
}

static void write_parts(const struct status *status, struct buf *out)
{
    char time[TIME_BYTES];

    json_name(out, "parts");
    buf_add_char(out, '[');
    for (size_t i = 0; i < status->part_count; i++) {
        const struct part_line *part = &status->parts[i];
        json_separate(out);
        buf_add_char(out, '{');
        write_string(out, "name", part->name);
        write_string(out, "state", part->state);
        write_number(out, "pid", part->pid ? part->pid : NOT_KNOWN);
        write_string(out, "since", part->since_us ? time_print(part->since_us, time) : NULL);
        write_number(out, "restarts", part->state ? part->restarts : NOT_KNOWN);
        write_string(out, "listen", part->listen);
        json_name(out, "well");
        json_write_bool(out, part_is_well(part));
        write_string(out, "said", part->listen && !part_is_well(part) ? part->ready.said : NULL);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void print_json(const struct status *status)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '{');
    write_number(&out, "up", status->holder ? status->holder : NOT_KNOWN);
    write_parts(status, &out);
    json_name(&out, "stages");
    buf_add_char(&out, '[');
    for (size_t i = 0; i < status->stage_count; i++) {
        const struct stage_line *stage = &status->stages[i];
        json_separate(&out);
        buf_add_char(&out, '{');
        write_string(&out, "name", stage->name);
        write_number(&out, "behind", stage->behind);
        write_number(&out, "in_flight", stage->in_flight);
        write_number(&out, "parked", stage->parked);
        write_number(&out, "dead", stage->dead);
        write_number(&out, "spool", stage->spool);
        buf_add_char(&out, '}');
    }
    buf_add_char(&out, ']');
    write_string(&out, "kafka", status->kafka.text[0] ? status->kafka.text : NULL);
    write_string(&out, "postgres", status->postgres.text[0] ? status->postgres.text : NULL);
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

static bool is_well(const struct status *status)
{
    for (size_t i = 0; i < status->part_count; i++)
        if (!part_is_well(&status->parts[i]))
            return false;
    return status->kafka.text[0] == '\0' && status->postgres.text[0] == '\0';
}

static void status_done(struct status *status)
{
    for (size_t i = 0; i < status->part_count; i++)
        probe_end(&status->parts[i].ready);
    for (size_t i = 0; i < status->stage_count; i++)
        probe_end(&status->stages[i].metrics);
    arena_free(status->arena);
}

static int status_run(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
    static struct status status;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'j')
            return command_misused(argv, NULL);
        json = true;
    }
    if (optind < argc)
        return command_misused(argv, "it takes no arguments besides its options");
    place_find(&status.place);
    if (!place_settings_read(&status.place, &status.settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    status.arena = arena_new(ARENA_BYTES_MAX);
    status.holder = status.place.root[0] != '\0' ? lock_holder(&status.place) : 0;
    list_stages(&status);
    read_state(&status);
    if (status.part_count == 0)
        list_daemons(&status);
    ask_daemons(&status);
    ask_metrics(&status);
    ask_kafka(&status);
    ask_postgres(&status);
    if (json)
        print_json(&status);
    else
        print_readable(&status);
    int code = is_well(&status) ? EXIT_FINE : EXIT_FAILED;
    status_done(&status);
    return code;
}

const struct command command_status = {
    .name = "status",
    .summary = "tells how everything is: a line for each part and for each stage",
    .help = "Usage: sb status [--json]\n\n"
            "Parts: the process as `sb up` sees it (state, for how long, how often started again), and what it answers "
            "itself.\n"
            "Stages: events it has not finished (behind), being handled now (in flight), waiting for a later try "
            "(parked), given up\n"
            "(dead: in the topic dead.STAGE for as long as that keeps them), accepted but not yet in Kafka (spool). "
            "\"-\": could not be asked.\n"
            "Where no `sb up` runs, the daemons are asked at INGEST_LISTEN, TRANSCRIBE_METRICS_LISTEN, …\n\n"
            "Examples\n"
            "  sb status\n"
            "  watch -c sb status\n"
            "  sb status --json | jq '.stages[] | select(.dead > 0)'\n\n"
            "Exit codes: 0 all is well, 1 a part, Kafka or Postgres does not answer or is not ready,\n"
            "2 the command line or a setting is wrong\n",
    .run = status_run,
};
