/* sb doctor: is all well?  If not: what is it, and what mends it.  The checks are tables in doctor_*.c. */
#include "deploy/sb/doctor.h"

#include <getopt.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/terminal.h"

#define WAIT_MS        5000
#define JSON_BYTES_MAX (1024 * 1024)
#define LINE_BYTES_MAX 2048

static const char *const use_cases[] = { "calls", "coach" };

void doctor_say(struct doctor *doctor, enum verdict_of_check verdict, const char *mend, const char *format, ...)
{
    char text[LINE_BYTES_MAX];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (doctor->line_count == DOCTOR_LINES_MAX)
        return;
    doctor->lines[doctor->line_count++] =
        (struct doctor_line){ doctor->check, arena_copy(doctor->arena, text), mend, verdict };
}

bool doctor_query(struct doctor *doctor, const struct statement *statement, struct params params, struct rows *ret)
{
    struct problem why;

    if (doctor->pool == NULL) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "it stands in Postgres, which cannot be asked");
        return false;
    }
    if (pg_query(doctor->pool, statement, params, doctor->arena, ret, &why) == PG_FINE)
        return true;
    doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s", why.text);
    return false;
}

static void look_for(struct doctor *doctor, const struct doctor_finding *finding)
{
    struct rows rows;

    if (!doctor_query(doctor, &finding->statement, PARAMS(), &rows))
        return;
    for (int row = 0; row < rows.count; row++)
        doctor_say(doctor, finding->verdict, finding->mend, "%s", row_get(&rows, row, "what"));
    if (rows.count == 0)
        doctor_say(doctor, DOCTOR_OK, NULL, "%s", finding->fine);
}

/* --- opening ------------------------------------------------------------------------------------------------- */

/* As the tables' owner: migrations and roles are looked at too. */
static void open_postgres(struct doctor *doctor)
{
    static const struct statement ping = { .name = "sb_ping", .text = "SELECT 1 AS one" };
    struct pg_pool_settings settings = { .url = doctor->settings.database_url,
                                         .application_name = "sb",
                                         .connections_max = 1,
                                         .wait_ms_max = WAIT_MS };
    struct rows rows;
    struct problem why;

    doctor->check = "postgres";
    if (settings.url == NULL) {
        doctor_say(doctor, DOCTOR_BAD, "set DATABASE_URL, or start everything with \"sb up\"",
                   "DATABASE_URL is not set");
        return;
    }
    struct pg_pool *pool = pg_pool_new(&settings);
    if (pg_query(pool, &ping, PARAMS(), doctor->arena, &rows, &why) == PG_FINE) {
        doctor->pool = pool;
        return;
    }
    pg_pool_free(pool);
    doctor_say(doctor, DOCTOR_BAD, "start Postgres, or mend DATABASE_URL", "%s", why.text);
}

static void open_kafka(struct doctor *doctor)
{
    struct problem why;

    doctor->check = "kafka";
    if (doctor->settings.kafka_brokers == NULL)
        doctor_say(doctor, DOCTOR_BAD, "set KAFKA_BROKERS, or start everything with \"sb up\"",
                   "KAFKA_BROKERS is not set");
    else if ((doctor->kafka = look_new(doctor->settings.kafka_brokers, &why)) == NULL)
        doctor_say(doctor, DOCTOR_BAD, "start Kafka, or mend KAFKA_BROKERS", "%s", why.text);
}

/* --- looking ------------------------------------------------------------------------------------------------- */

static bool is_wanted(const char *of_check, const char *use_case)
{
    return use_case == NULL || (of_check && strcmp(of_check, use_case) == 0);
}

static void run_checks(struct doctor *doctor, const struct doctor_check *check, const char *use_case)
{
    for (; check->name; check++)
        if (is_wanted(check->use_case, use_case)) {
            doctor->check = check->name;
            check->look(doctor);
        }
}

static void look_at_all(struct doctor *doctor, const char *use_case)
{
    open_postgres(doctor);
    open_kafka(doctor);
    doctor_ask_daemons(doctor);
    run_checks(doctor, doctor_machine_checks, use_case);
    run_checks(doctor, doctor_part_checks, use_case);
    run_checks(doctor, doctor_provider_checks, use_case);
    for (const struct doctor_finding *finding = doctor_findings; finding->name; finding++)
        if (is_wanted(finding->use_case, use_case)) {
            doctor->check = finding->name;
            look_for(doctor, finding);
        }
}

static int count_bad(const struct doctor *doctor)
{
    int bad = 0;
    for (size_t i = 0; i < doctor->line_count; i++)
        bad += doctor->lines[i].verdict == DOCTOR_BAD;
    return bad;
}

/* --- the answer ---------------------------------------------------------------------------------------------- */

static const char *const verdict_names[] = { [DOCTOR_OK] = "ok", [DOCTOR_BAD] = "bad", [DOCTOR_UNKNOWN] = "?" };
static const enum colour verdict_colours[] = { [DOCTOR_OK] = GREEN, [DOCTOR_BAD] = RED, [DOCTOR_UNKNOWN] = YELLOW };

static void print_readable(const struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->line_count; i++) {
        const struct doctor_line *line = &doctor->lines[i];
        struct buf text;
        buf_init(&text, 4 * LINE_BYTES_MAX);
        terminal_add(&text, text_of(line->what), 0);
        printf("%s%-3s%s  %s: %s", colour_begin(verdict_colours[line->verdict]), verdict_names[line->verdict],
               colour_end(), line->check, buf_text(&text).at);
        printf(line->mend ? "; mend: %s\n" : "\n", line->mend);
        buf_done(&text);
    }
}

static void print_json(const struct doctor *doctor)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_string(&out, "{\"checks\":[");
    for (size_t i = 0; i < doctor->line_count; i++) {
        const struct doctor_line *line = &doctor->lines[i];
        json_separate(&out);
        buf_add_char(&out, '{');
        json_name(&out, "check");
        json_write_string(&out, line->check);
        json_name(&out, "verdict");
        json_write_string(&out, verdict_names[line->verdict]);
        json_name(&out, "what");
        json_write_string(&out, line->what);
        json_name(&out, "mend");
        json_write_string(&out, line->mend);
        buf_add_char(&out, '}');
    }
    buf_add_char(&out, ']');
    json_name(&out, "bad");
    json_write_integer(&out, count_bad(doctor));
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

static bool is_use_case(const char *name)
{
    for (size_t i = 0; i < LENGTH(use_cases); i++)
        if (strcmp(use_cases[i], name) == 0)
            return true;
    return false;
}

static int doctor_run(int argc, char **argv)
{
    static const struct option options[] = { { "json", no_argument, NULL, 'j' }, { 0 } };
    static struct doctor doctor;
    struct problem why;
    bool json = false;

    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option != 'j')
            return command_misused(argv, NULL);
        json = true;
    }
    const char *use_case = optind < argc ? argv[optind] : NULL;
    if (optind + 1 < argc || (use_case && !is_use_case(use_case)))
        return command_misused(argv, "it takes at most one use case: calls or coach");
    place_find(&doctor.place);
    if (!place_settings_read(&doctor.place, &doctor.settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    doctor.arena = arena_new(DOCTOR_ARENA_BYTES_MAX);
    look_at_all(&doctor, use_case);
    if (json)
        print_json(&doctor);
    else
        print_readable(&doctor);
    int code = count_bad(&doctor) ? EXIT_FAILED : EXIT_FINE;
    pg_pool_free(doctor.pool);
    look_free(doctor.kafka);
    arena_free(doctor.arena);
    return code;
}

const struct command command_doctor = {
    .name = "doctor",
    .summary = "looks everything over: what is not well, and what mends it, a line each",
    .help =
        "Usage: sb doctor [USE CASE] [--json]\n\n"
        "Settings as each daemon reads them, names that are no setting, disks and clocks; Kafka and its topics;\n"
        "Postgres, its migrations, roles and partitions; which stages live and how far behind they are; every provider\n"
        "that has a key, by a request that changes nothing; when each was last heard of, what was refused and why;\n"
        "messages that are blocked, undelivered, uncertain or overdue, overdue jobs, parked events, dead letters, the\n"
        "spool; and what usually goes wrong in a use case.  USE CASE (calls, coach): its own checks alone.\n\n"
        "Each line begins with ok, bad, or ? (not known, or worth a look), and ends with what mends it.  It is run as\n"
        "the owner of the tables (DATABASE_URL's user), on a machine where the daemons are.\n\n"
        "Examples\n"
        "  sb doctor\n"
        "  sb doctor calls\n"
        "  sb doctor --json | jq -r '.checks[] | select(.verdict == \"bad\") | .what'\n\n"
        "Exit codes: 0 nothing is bad, 1 something is, 2 the command line or a setting is wrong\n",
    .run = doctor_run,
};
