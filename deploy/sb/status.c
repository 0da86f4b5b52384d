/* sb status: a line for each part (as `sb up` keeps it, and as it answers itself), a line for each stage (from Kafka,
 * Postgres and what its instances say of themselves), and then what is stuck and why. */
#include "deploy/sb/status.h"

#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/table.h"

#define ARENA_BYTES_MAX ((size_t)256 * 1024 * 1024) /* the dead letters of all stages among it */
#define JSON_BYTES_MAX  (64 * 1024 * 1024)
#define STUCK_SHOWN     5 /* of a kind; --json gives STUCK_MAX */
#define LINE_BYTES_MAX  4096

/* --- for a person -------------------------------------------------------------------------------------------- */

bool part_is_well(const struct part_line *part)
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
    static const char *const titles[] = { "stage",      "<instances",    "<behind", "<oldest",
                                          "<in flight", "<retrying",     "<parked", "<dead",
                                          "<spool",     "circuits open", NULL };
    char age[AGE_BYTES];

    table_begin(&table, titles);
    for (size_t i = 0; i < status->stage_count; i++) {
        const struct stage_line *stage = &status->stages[i];
        int64_t behind = stage->lag_known ? stage->lag.events : NOT_KNOWN;
        table_add(&table, BOLD, "%s", stage->name);
        print_number(&table, stage->instances, PLAIN);
        print_number(&table, behind, YELLOW);
        table_add(&table, PLAIN, "%s", stage->lag.oldest_us ? age_print(now_us() - stage->lag.oldest_us, age) : "-");
        print_number(&table, stage->in_flight, PLAIN);
        print_number(&table, stage->retrying, YELLOW);
        print_number(&table, stage->parked, YELLOW);
        print_number(&table, stage->dead, RED);
        print_number(&table, stage->spool, YELLOW);
        table_add(&table, stage->circuits ? RED : FAINT, "%s", stage->circuits ? stage->circuits : "-");
    }
    table_print(&table);
}

static void print_stuck_line(const struct stuck *stuck)
{
    int columns = terminal_columns();
    struct buf out;

    buf_init(&out, LINE_BYTES_MAX);
    if (stuck->stage)
        buf_printf(&out, "%s: ", stuck->stage);
    if (stuck->key)
        buf_printf(&out, "%s: ", stuck->key);
    buf_add_string(&out, stuck->sentence);
    struct text line = buf_text(&out);
    struct buf shown;
    buf_init(&shown, 2 * LINE_BYTES_MAX);
    terminal_add(&shown, line, columns > 2 ? columns - 2 : 0);
    printf("  %s\n", buf_text(&shown).at);
    buf_done(&shown);
    buf_done(&out);
}

static void print_stuck(const struct status *status)
{
    int shown = 0;

    if (status->stuck == NULL) {
        printf("\nnothing is stuck\n");
        return;
    }
    printf("\n%swhat is stuck, and why%s\n", colour_begin(BOLD), colour_end());
    for (const struct stuck *stuck = status->stuck; stuck; stuck = stuck->next) {
        if (shown++ < STUCK_SHOWN)
            print_stuck_line(stuck);
        if (stuck->next && strcmp(stuck->next->what, stuck->what) == 0)
            continue;
        if (shown > STUCK_SHOWN)
            printf("  %s… %d more of this kind: sb status --json%s\n", colour_begin(FAINT), shown - STUCK_SHOWN,
                   colour_end());
        shown = 0;
    }
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
    if (status->postgres.text[0] == '\0')
        print_stuck(status);
    if (status->kafka.text[0] != '\0')
        printf("%skafka%s: %s\n", colour_begin(RED), colour_end(), status->kafka.text);
    if (status->postgres.text[0] != '\0')
        printf("%spostgres%s: %s\n", colour_begin(RED), colour_end(), status->postgres.text);
}

/* --- for a program ------------------------------------------------------------------------------------------- */

static void write_number(struct buf *out, const char *name, int64_t number)
{
    json_name(out, name);
    if (number == NOT_KNOWN)
        buf_add_string(out, "null");
    else
        json_write_integer(out, number);
}

static void write_parts(const struct status *status, struct buf *out)
{
    json_name(out, "parts");
    buf_add_char(out, '[');
    for (size_t i = 0; i < status->part_count; i++) {
        const struct part_line *part = &status->parts[i];
        json_separate(out);
        buf_add_char(out, '{');
        json_add_string(out, "name", part->name);
        json_add_string(out, "state", part->state);
        write_number(out, "pid", part->pid ? part->pid : NOT_KNOWN);
        json_add_time(out, "since", part->since_us);
        write_number(out, "restarts", part->state ? part->restarts : NOT_KNOWN);
        json_add_string(out, "listen", part->listen);
        json_add_bool(out, "well", part_is_well(part));
        json_add_string(out, "said", part->listen && !part_is_well(part) ? part->ready.said : NULL);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_stages(const struct status *status, struct buf *out)
{
    json_name(out, "stages");
    buf_add_char(out, '[');
    for (size_t i = 0; i < status->stage_count; i++) {
        const struct stage_line *stage = &status->stages[i];
        json_separate(out);
        buf_add_char(out, '{');
        json_add_string(out, "name", stage->name);
        write_number(out, "instances", stage->instances);
        write_number(out, "behind", stage->lag_known ? stage->lag.events : NOT_KNOWN);
        json_add_time(out, "oldest", stage->lag.oldest_us);
        write_number(out, "in_flight", stage->in_flight);
        write_number(out, "retrying", stage->retrying);
        write_number(out, "parked", stage->parked);
        write_number(out, "dead", stage->dead);
        write_number(out, "spool", stage->spool);
        json_add_string(out, "circuits", stage->circuits);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_stuck(const struct status *status, struct buf *out)
{
    json_name(out, "stuck");
    buf_add_char(out, '[');
    for (const struct stuck *stuck = status->stuck; stuck; stuck = stuck->next) {
        json_separate(out);
        buf_add_char(out, '{');
        json_add_string(out, "what", stuck->what);
        json_add_string(out, "stage", stuck->stage);
        json_add_string(out, "key", stuck->key);
        json_add_string(out, "sentence", stuck->sentence);
        json_name(out, "about");
        buf_add_string(out, stuck->about ? stuck->about : "null");
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

static void write_instances(const struct status *status, struct buf *out)
{
    json_name(out, "instances");
    buf_add_char(out, '[');
    for (int row = 0; row < status->instances.count; row++) {
        json_separate(out);
        buf_add_string(out, row_get(&status->instances, row, "json"));
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
    write_stages(status, &out);
    write_instances(status, &out);
    write_stuck(status, &out);
    json_add_string(&out, "kafka", status->kafka.text[0] ? status->kafka.text : NULL);
    json_add_string(&out, "postgres", status->postgres.text[0] ? status->postgres.text : NULL);
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

/* --- the command --------------------------------------------------------------------------------------------- */

static bool is_well(const struct status *status)
{
    for (size_t i = 0; i < status->part_count; i++)
        if (!part_is_well(&status->parts[i]))
            return false;
    for (const struct stuck *stuck = status->stuck; stuck; stuck = stuck->next)
        if (stuck->key == NULL)
            return false; /* not one conversation, but a stage, a provider, a spool */
    return status->kafka.text[0] == '\0' && status->postgres.text[0] == '\0';
}

static void status_done(struct status *status)
{
    for (size_t i = 0; i < status->part_count; i++)
        probe_end(&status->parts[i].ready);
    for (size_t i = 0; i < status->stage_count; i++)
        probe_end(&status->stages[i].metrics);
    pg_pool_free(status->pool);
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
    status_ask(&status);
    status_find_stuck(&status);
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
    .summary = "tells how everything is, what is stuck and why",
    .help =
        "Usage: sb status [--json]\n\n"
        "Parts: the process as `sb up` sees it (state, for how long, how often started again), and what it answers "
        "itself.\n"
        "Where no `sb up` runs, the daemons are asked at INGEST_LISTEN, TRANSCRIBE_METRICS_LISTEN, …\n"
        "Stages: live instances; events it has not finished (behind) and since when the oldest of them waits; being "
        "handled now (in\n"
        "flight), of these waiting for another try (retrying); waiting for a later try (parked); given up, and not "
        "dealt with by\n"
        "`sb dlq` (dead); accepted but not yet in Kafka (spool); providers that failed for everyone, or what is "
        "paused\n"
        "(circuits). \"-\": there is none, or it could not be asked. Instances tell of themselves "
        "every 2 s.\n"
        "Stuck: open circuits; what is paused; stages without an instance, or behind by more than a minute; spools that hold "
        "something; works that\n"
        "wait for another try or are here for half a minute; parked conversations; requests of which nobody knows "
        "how they ended;\n"
        "jobs of providers that are not done after 15 minutes, or that nobody asks for.\n\n"
        "Examples\n"
        "  sb status\n"
        "  watch -c sb status\n"
        "  sb status --json | jq '.stages[] | select(.dead > 0)'\n"
        "  sb status --json | jq -r '.stuck[] | select(.what == \"parked\") | .key'\n\n"
        "Exit codes: 0 all is well, 1 a part, Kafka or Postgres does not answer or is not ready, or a stage, a "
        "provider or a spool is\n"
        "stuck; 2 the command line or a setting is wrong\n",
    .run = status_run,
};
