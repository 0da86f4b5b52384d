/* sb erase: one person is forgotten; what the figures count stays, and belongs to nobody.
 *
 * One transaction: their events' keys are put among the erased (the stages pass over such events from then on, whether
 * late, repeated or replayed), files of recordings are removed, rows deleted or blanked as person_tables.c says.  A
 * handler that was running meanwhile may have written afterwards, so it is looked once more. */
#include <getopt.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/person.h"
#include "deploy/sb/table.h"

#define JSON_BYTES_MAX  (256 * 1024)
#define TABLES_MAX      64
#define STATEMENT_BYTES 4096
#define SETTLE_MS       2000 /* a handler that computes is done by then; one that waits for a provider may not be */

/* Conversations are closed for ever; an address may write again tomorrow. */
static const char remember_erased[] =
    "INSERT INTO erased (subject_sha256, until)"
    " SELECT sha256(convert_to(subject, 'UTF8')), CASE WHEN address IS NOT NULL THEN now() END"
    " FROM person_subjects LEFT JOIN person_addresses ON address = subject"
    " ON CONFLICT (subject_sha256) DO UPDATE SET until = EXCLUDED.until, erased_at = now()";

/* Who did it and how much it was; not of whom: who asked to be forgotten can be found by the hash of what they gave. */
static const struct statement note_erased = {
    .name = "sb_note_erased",
    .text = "INSERT INTO operator_actions (who, command, what, detail)"
            " SELECT $1, 'erase', 'a person by ' || $2, jsonb_build_object('sha256', encode(sha256(convert_to($3, 'UTF8')), "
            "'hex'), 'rows', $4::bigint, 'recordings', $5::bigint)",
    .params = 5,
};

struct outcome_line {
    const struct person_table *table;
    int64_t found, changed;
};

struct report {
    struct outcome_line lines[TABLES_MAX];
    size_t line_count;
    size_t files, files_missing;
    struct person_topics topics;
    int64_t later; /* rows that came while it was done, erased too */
};

struct erase_options {
    const char *person, *as;
    bool dry_run, yes, json;
};

/* --- rows ---------------------------------------------------------------------------------------------------- */

static bool count_rows(struct person *person, struct report *report, struct problem *why)
{
    char text[STATEMENT_BYTES];

    report->line_count = 0;
    for (const struct person_table *table = person_tables; table->name; table++) {
        if (table->found == NULL)
            continue;
        snprintf(text, sizeof(text), "SELECT count(*) FROM %s WHERE %s", table->name, table->found);
        int64_t found = person_count(person, text, why);
        if (found < 0)
            return false;
        report->lines[report->line_count++] = (struct outcome_line){ table, found, 0 };
    }
    return true;
}

static bool erase_rows(struct person *person, struct outcome_line *line, struct problem *why)
{
    const struct person_table *table = line->table;
    char text[STATEMENT_BYTES];

    if (table->fate == ROW_KEPT)
        return true;
    int bytes = table->fate == ROW_DELETED
                    ? snprintf(text, sizeof(text), "DELETE FROM %s WHERE %s", table->name, table->found)
                    : snprintf(text, sizeof(text), "UPDATE %s SET %s WHERE %s", table->name, table->blank,
                               table->found);
    if (bytes >= (int)sizeof(text))
        return fail(why, "the statement for the table %s is too long", table->name);
    PGresult *result = person_query(person, text, PARAMS(), why);
    line->changed = result ? strtoll(PQcmdTuples(result), NULL, 10) : 0;
    PQclear(result);
    return result != NULL;
}

/* --- files --------------------------------------------------------------------------------------------------- */

static bool remove_files(struct person *person, const struct person_files *files, struct report *report,
                         struct problem *why)
{
    for (size_t i = 0; i < files->count; i++) {
        const char *path = files->paths[i];
        enum recordings_result result = /* S3 says that it removed what is not there, too */
            recordings_look(&person->recordings, person->http, person->arena, path, why);
        if (result == RECORDINGS_DONE)
            result = recordings_remove(&person->recordings, person->http, person->arena, path, why);
        if (result != RECORDINGS_DONE && result != RECORDINGS_ABSENT)
            return false;
        *(result == RECORDINGS_DONE ? &report->files : &report->files_missing) += 1;
    }
    return true;
}

/* --- the report ---------------------------------------------------------------------------------------------- */

static const char *fate_name(const struct outcome_line *line)
{
    static const char *const names[] = { [ROW_DELETED] = "deleted", [ROW_BLANKED] = "blanked", [ROW_KEPT] = "kept" };
    return names[line->table->fate];
}

static void print_topics(const struct person_topics *topics)
{
    char time[TIME_BYTES];

    for (size_t i = 0; i < topics->count; i++)
        printf("topic %s: events of theirs stand in it until %.10s\n", topics->topics[i].name,
               time_print(topics->topics[i].until_us, time));
    printf("dead.ingest: webhooks of theirs that could not be read cannot be told from others;"
           " it keeps them 30 days\n");
}

static void print_readable(const struct report *report, bool dry_run)
{
    static struct table table;
    static const char *const titles[] = { "table", "<rows", "", "kept, and why", NULL };

    table_begin(&table, titles);
    for (size_t i = 0; i < report->line_count; i++) {
        const struct outcome_line *line = &report->lines[i];
        table_add(&table, line->found ? BOLD : FAINT, "%s", line->table->name);
        table_add(&table, line->found ? PLAIN : FAINT, "%" PRId64, line->found);
        table_add(&table, line->found ? PLAIN : FAINT, "%s", line->found ? fate_name(line) : "");
        table_add(&table, FAINT, "%s", line->found && line->table->why ? line->table->why : "");
    }
    table_print(&table);
    printf("\nrecordings: %zu %s %s", report->files, plural((int64_t)report->files, "file", "files"),
           dry_run ? "would be removed" : "removed");
    if (report->files_missing)
        printf(", %zu %s not there", report->files_missing, plural((int64_t)report->files_missing, "was", "were"));
    printf("\n");
    print_topics(&report->topics);
    if (report->later > 0)
        printf("%" PRId64 " %s written meanwhile, and erased too: run it again when nothing of theirs is under way\n",
               report->later, plural(report->later, "row was", "rows were"));
    if (dry_run)
        printf("nothing was changed\n");
}

static void write_number(struct buf *out, const char *name, int64_t number)
{
    json_name(out, name);
    json_write_integer(out, number);
}

static void print_json(const struct report *report, bool dry_run)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "dry_run");
    json_write_bool(&out, dry_run);
    json_name(&out, "tables");
    buf_add_char(&out, '{');
    for (size_t i = 0; i < report->line_count; i++) {
        const struct outcome_line *line = &report->lines[i];
        json_name(&out, line->table->name);
        buf_add_char(&out, '{');
        write_number(&out, "found", line->found);
        write_number(&out, "changed", line->changed);
        json_name(&out, "fate");
        json_write_string(&out, fate_name(line));
        json_name(&out, "why");
        json_write_string(&out, line->table->why);
        buf_add_char(&out, '}');
    }
    buf_add_char(&out, '}');
    write_number(&out, "recordings", (int64_t)report->files);
    write_number(&out, "recordings_missing", (int64_t)report->files_missing);
    write_number(&out, "later", report->later);
    json_name(&out, "topics");
    person_topics_write(&report->topics, &out);
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

/* --- the command --------------------------------------------------------------------------------------------- */

static bool look(struct person *person, struct report *report, struct person_files *files, struct problem *why)
{
    return count_rows(person, report, why) && person_topics_find(person, &report->topics, why) &&
           person_recordings(person, files, why);
}

static bool erase_once(struct person *person, struct report *report, const struct person_files *files,
                       struct problem *why)
{
    if (!person_run(person, remember_erased, why))
        return false;
    for (size_t i = 0; i < report->line_count; i++)
        if (!erase_rows(person, &report->lines[i], why))
            return false;
    return remove_files(person, files, report, why);
}

static bool note(struct person *person, const char *as, const struct report *report, struct problem *why)
{
    char who[OPERATOR_BYTES_MAX + 1], rows[24], recordings[24];
    int64_t changed = 0;

    for (size_t i = 0; i < report->line_count; i++)
        changed += report->lines[i].changed;
    snprintf(rows, sizeof(rows), "%" PRId64, changed);
    snprintf(recordings, sizeof(recordings), "%zu", report->files);
    PGresult *result = person_query(person, note_erased.text,
                                    PARAMS(operator_name(as, who), person->kind, person->value, rows, recordings), why);
    PQclear(result);
    return result != NULL;
}

/* What a handler wrote that had begun before. */
static bool erase_later(struct person *person, struct report *report, struct problem *why)
{
    static struct report later;
    struct person_files files;

    nanosleep(&(struct timespec){ .tv_sec = SETTLE_MS / 1000 }, NULL);
    if (!person_begin(person, why) || !look(person, &later, &files, why) ||
        !erase_once(person, &later, &files, why) || !person_run(person, "COMMIT", why))
        return false;
    for (size_t i = 0; i < later.line_count; i++)
        if (later.lines[i].table->fate == ROW_DELETED)
            report->later += later.lines[i].changed;
    report->files += later.files;
    return true;
}

/* It cannot be undone. */
static bool confirmed(const struct person *person, const struct report *report, const struct person_files *files)
{
    char question[PERSON_NAME_BYTES_MAX + 128];
    int64_t rows = 0;

    for (size_t i = 0; i < report->line_count; i++)
        rows += report->lines[i].table->fate == ROW_KEPT ? 0 : report->lines[i].found;
    snprintf(question, sizeof(question), "erase %s for good: %" PRId64 " %s, %zu %s?", person->value, rows,
             plural(rows, "row", "rows"), files->count, plural((int64_t)files->count, "recording", "recordings"));
    return operator_confirms(question);
}

static int read_options(struct erase_options *options, int argc, char **argv)
{
    static const struct option names[] = { { "dry-run", no_argument, NULL, 'n' },
                                           { "yes", no_argument, NULL, 'y' },
                                           { "json", no_argument, NULL, 'j' },
                                           { "as", required_argument, NULL, 'a' },
                                           { 0 } };
    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?')
            return command_misused(argv, NULL);
        options->dry_run |= option == 'n';
        options->yes |= option == 'y';
        options->json |= option == 'j';
        if (option == 'a')
            options->as = optarg;
    }
    if (optind != argc - 1)
        return command_misused(argv, "it takes one person: a phone number, an e-mail address or an id");
    options->person = argv[optind];
    return -1;
}

static int erase_run(int argc, char **argv)
{
    static struct person person;
    static struct report report;
    struct erase_options options = { 0 };
    struct person_files files;
    struct problem why;

    int code = read_options(&options, argc, argv);
    if (code >= 0)
        return code;
    code = person_open(&person, options.person, argv);
    if (code < 0) {
        bool done = look(&person, &report, &files, &why);
        if (done && !options.dry_run && !options.yes && !confirmed(&person, &report, &files))
            done = fail(&why, "nothing was done");
        if (options.dry_run)
            report.files = files.count;
        else
            done = done && erase_once(&person, &report, &files, &why) && note(&person, options.as, &report, &why) &&
                   person_run(&person, "COMMIT", &why) && erase_later(&person, &report, &why);
        if (done)
            (options.json ? print_json : print_readable)(&report, options.dry_run);
        code = done ? EXIT_FINE : command_fail(argv, EXIT_FAILED, "%s", why.text);
    }
    person_close(&person);
    return code;
}

const struct command command_erase = {
    .name = "erase",
    .summary = "forgets one person: rows, recordings, messages; what the figures count stays, and is nobody's",
    .help =
        "Usage: sb erase PERSON [--dry-run] [--yes] [--json] [--as NAME]\n\n"
        "PERSON is a phone number, an e-mail address, or an id (of a contact, a lead, a call, a user): all that hangs "
        "on the person\n"
        "behind it, in all companies. It tells by table how many rows were found, and what was deleted, blanked or "
        "kept and why;\n"
        "and which topics hold events of theirs, until when: topics cannot forget, and end by their retention.\n"
        "From then on the stages pass over events of these conversations, late or replayed, and say so in the ledger. "
        "A new call\n"
        "from the same number is a new matter. It is run as the owner of the tables (DATABASE_URL's user), where "
        "RECORDINGS_DIR is,\n"
        "or with the settings of the bucket. Who did it, when and how much it was stays in operator_actions, and of the\n"
        "person the SHA-256 of the number, address or id alone.\n"
        "After a backup was restored, what was erased since must be erased again.\n\n"
        "Options\n"
        "  --dry-run  tell what would be done\n"
        "  --yes      does not ask, at a terminal, whether it is meant\n"
        "  --json     the same as one JSON object\n"
        "  --as NAME  who does it; else the user at the host\n\n"
        "Examples\n"
        "  sb erase +12025550188 --dry-run\n"
        "  sb erase +12025550188\n"
        "  sb erase ana@example.com --json | jq .topics\n\n"
        "Exit codes: 0 done, 1 nobody is known by that, or it could not be done, 2 the command line or a setting is "
        "wrong\n",
    .run = erase_run,
};
