/* status_ask.c: asks everybody: the parts themselves, Kafka how far each stage is, and the database for what the
 * stages' instances say of themselves. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/letters.h"
#include "deploy/sb/lock.h"
#include "deploy/sb/status.h"
#include "deploy/sb/terminal.h"
#include "topics.h"

#define STATE_BYTES_MAX   (64 * 1024)
#define METRICS_BYTES_MAX (8 * 1024 * 1024)
#define ANSWER_BYTES_MAX  (64 * 1024)
#define POSTGRES_WAIT_MS  5000

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
    while (json_element(&scan, &part) && status->part_count < STATUS_LINES_MAX)
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
    for (const struct stage_topics *stage = stage_topics; stage->stage && status->stage_count < STATUS_LINES_MAX;
         stage++) {
        struct stage_line *line = &status->stages[status->stage_count++];
        *line = (struct stage_line){ .name = stage->stage,
                                     .instances = NOT_KNOWN,
                                     .in_flight = NOT_KNOWN,
                                     .retrying = NOT_KNOWN,
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
    struct probe *probes[2 * STATUS_LINES_MAX];
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

/* What nobody told the database, since that is away. */
static void ask_metrics(struct status *status)
{
    for (size_t i = 0; i < status->stage_count; i++) {
        struct stage_line *stage = &status->stages[i];
        if (stage->listen == NULL || stage->metrics.result != PROBE_GOOD || status->postgres.text[0] == '\0')
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
        stage->lag_known = look_lag_of(look, stage->name, &stage->lag, &status->kafka);
        if (!stage->lag_known)
            break;
    }
    look_free(look);
}

static const struct statement count_parked = {
    .name = "sb_count_parked",
    .text = "SELECT stage, count(*) AS parked FROM parked GROUP BY stage",
};

static void add_circuit(struct status *status, const struct rows *rows, int row)
{
    struct stage_line *stage = status_stage(status, row_get(rows, row, "stage"));
    if (stage == NULL)
        return;
    const char *name = row_get(rows, row, "name"), *before = stage->circuits;
    if (before == NULL || strstr(before, name) == NULL)
        stage->circuits = before ? arena_printf(status->arena, "%s, %s", before, name) : name;
}

static void add_instance(struct status *status, const struct rows *rows, int row)
{
    struct stage_line *stage = status_stage(status, row_get(rows, row, "stage"));
    if (stage == NULL || *row_get(rows, row, "live") != 't')
        return;
    stage->instances++;
    stage->retrying += row_integer(rows, row, "waiting");
    for (size_t i = 0; i < LENGTH(standing_counts); i++)
        stage->in_flight += row_integer(rows, row, standing_counts[i]);
    if (row_get(rows, row, "spool_messages"))
        stage->spool = (stage->spool == NOT_KNOWN ? 0 : stage->spool) + row_integer(rows, row, "spool_messages") +
                       row_integer(rows, row, "spool_aside");
}

static void ask_postgres(struct status *status)
{
    struct rows parked;

    if (status->settings.database_url == NULL) {
        fail(&status->postgres, "DATABASE_URL is not set");
        return;
    }
    struct pg_pool_settings settings = { .url = status->settings.database_url,
                                         .role = STANDING_ROLE,
                                         .application_name = "sb",
                                         .connections_max = 1,
                                         .wait_ms_max = POSTGRES_WAIT_MS };
    status->pool = pg_pool_new(&settings);
    if (pg_query(status->pool, &count_parked, PARAMS(), status->arena, &parked, &status->postgres) != PG_FINE ||
        pg_query(status->pool, &standing_instances, PARAMS(), status->arena, &status->instances, &status->postgres) !=
            PG_FINE ||
        pg_query(status->pool, &standing_circuits, PARAMS(), status->arena, &status->circuits, &status->postgres) !=
            PG_FINE)
        return;
    status->postgres.text[0] = '\0';
    for (size_t i = 0; i < status->stage_count; i++) {
        struct stage_line *stage = &status->stages[i];
        stage->instances = stage->in_flight = stage->retrying = stage->parked = 0;
        for (int row = 0; row < parked.count; row++)
            if (strcmp(row_get(&parked, row, "stage"), stage->name) == 0)
                stage->parked = row_integer(&parked, row, "parked");
    }
    for (int row = 0; row < status->instances.count; row++)
        add_instance(status, &status->instances, row);
    for (int row = 0; row < status->circuits.count; row++)
        add_circuit(status, &status->circuits, row);
}

/* Of the letters in the topics those that nobody has dealt with. */
static void ask_letters(struct status *status)
{
    struct pg_pool_settings settings = { .url = status->settings.database_url,
                                         .role = ROLE_OPERATOR,
                                         .application_name = "sb",
                                         .connections_max = 1,
                                         .wait_ms_max = POSTGRES_WAIT_MS };
    struct pg_pool *pool = status->postgres.text[0] == '\0' ? pg_pool_new(&settings) : NULL;
    struct session session = { status->place, status->settings, pool, status->arena };
    struct letters letters = { 0 };

    for (size_t i = 0; i < status->stage_count; i++) {
        struct stage_line *stage = &status->stages[i];
        if (stage->dead <= 0)
            continue;
        bool found = pool && status->postgres.text[0] == '\0' &&
                     letters_find(&session, stage->name, &(struct letter_filter){ 0 }, &letters, &status->postgres);
        stage->dead = found ? (int64_t)letters.count : NOT_KNOWN;
        free(letters.all);
        letters.all = NULL;
    }
    pg_pool_free(pool);
}

struct stage_line *status_stage(struct status *status, const char *name)
{
    for (size_t i = 0; i < status->stage_count; i++)
        if (strcmp(status->stages[i].name, name) == 0)
            return &status->stages[i];
    return NULL;
}

void status_ask(struct status *status)
{
    status->holder = status->place.root[0] != '\0' ? lock_holder(&status->place) : 0;
    list_stages(status);
    read_state(status);
    if (status->part_count == 0)
        list_daemons(status);
    ask_daemons(status);
    ask_kafka(status);
    ask_postgres(status);
    ask_letters(status);
    ask_metrics(status);
}
