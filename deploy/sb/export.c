/* sb export: everything that is kept of one person, as one JSON object; and their recordings, as files. */
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/person.h"

#define JSON_BYTES_MAX (64 * 1024)

struct export_options {
    const char *person;
    const char *folder; /* where recordings are copied to; NULL: nowhere */
};

/* --- tables -------------------------------------------------------------------------------------------------- */

/* A row a line, so that the output is read with line tools too. */
static bool print_rows(struct person *person, const struct person_table *table, bool first, struct problem *why)
{
    char text[4096];

    snprintf(text, sizeof(text), "SELECT to_jsonb(theirs) - 'search' FROM %s AS theirs WHERE %s LIMIT %d", table->name,
             table->found, PERSON_ROWS_MAX + 1);
    PGresult *rows = person_query(person, text, PARAMS(), why);
    if (rows == NULL)
        return false;
    printf("%s\n\"%s\": [", first ? "" : ",", table->name);
    for (int row = 0; row < PQntuples(rows); row++)
        printf("%s\n %s", row ? "," : "", PQgetvalue(rows, row, 0));
    printf("]");
    bool whole = PQntuples(rows) <= PERSON_ROWS_MAX;
    PQclear(rows);
    return whole || fail(why, "the table %s has more than %d rows of theirs", table->name, PERSON_ROWS_MAX);
}

static bool print_tables(struct person *person, struct problem *why)
{
    bool first = true;

    printf("\"tables\": {");
    for (const struct person_table *table = person_tables; table->name; table++) {
        if (table->found == NULL)
            continue;
        if (!print_rows(person, table, first, why))
            return false;
        first = false;
    }
    printf("},\n");
    return true;
}

/* --- recordings ---------------------------------------------------------------------------------------------- */

/* Closes `source`. */
static bool copy_file(int source, const char *to, struct problem *why)
{
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ssize_t copied = target >= 0 ? 1 : -1;
    off_t offset = 0; /* what was fetched was written to its end */

    while (copied > 0)
        copied = sendfile(target, source, &offset, 1 << 20);
    int error = errno;
    close(source);
    if (target >= 0 && close(target) != 0 && copied == 0) {
        copied = -1;
        error = errno;
    }
    return copied == 0 || fail(why, "could not copy a recording to %s: %s", to, strerror(error));
}

/* Flat: tenant/name.wav becomes tenant-name.wav. */
static bool copy_recording(struct person *person, const char *folder, const char *path, struct problem *why)
{
    char to[PATH_MAX];
    int source;

    path_print(to, "%s/%s", folder, path);
    for (char *c = to + strlen(folder) + 1; *c; c++)
        *c = *c == '/' ? '-' : *c;
    return recordings_open(&person->recordings, person->http, person->arena, path, &source, why) == RECORDINGS_DONE &&
           copy_file(source, to, why);
}

static bool export_recordings(struct person *person, const char *folder, struct problem *why)
{
    struct person_files files;

    if (!person_recordings(person, &files, why) || (folder && !folder_make(folder, 0700, why)))
        return false;
    printf("\"recordings\": [");
    for (size_t i = 0; i < files.count; i++) {
        struct buf name;
        buf_init(&name, JSON_BYTES_MAX);
        json_write_string(&name, files.paths[i]);
        printf("%s\n %s", i ? "," : "", buf_text(&name).at);
        buf_done(&name);
    }
    printf("],\n");
    for (size_t i = 0; folder && i < files.count; i++)
        if (!copy_recording(person, folder, files.paths[i], why))
            return false;
    return true;
}

/* --- the command --------------------------------------------------------------------------------------------- */

static bool print_head_and_topics(struct person *person, bool head, struct problem *why)
{
    struct person_topics topics;
    struct buf out;

    if (!head && !person_topics_find(person, &topics, why))
        return false;
    buf_init(&out, JSON_BYTES_MAX);
    if (head) {
        buf_add_string(&out, "{");
        json_name(&out, "person");
        buf_add_char(&out, '{');
        json_name(&out, "kind");
        json_write_string(&out, person->kind);
        json_name(&out, "value");
        json_write_string(&out, person->value);
        buf_add_string(&out, "},\n");
    } else {
        json_name(&out, "topics");
        person_topics_write(&topics, &out);
        buf_add_string(&out, "}\n");
    }
    fputs(buf_text(&out).at, stdout);
    buf_done(&out);
    return true;
}

static int read_options(struct export_options *options, int argc, char **argv)
{
    static const struct option names[] = { { "recordings", required_argument, NULL, 'r' },
                                           { "json", no_argument, NULL, 'j' }, /* it is never anything else */
                                           { 0 } };

    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?')
            return command_misused(argv, NULL);
        if (option == 'r')
            options->folder = optarg;
    }
    if (optind != argc - 1)
        return command_misused(argv, "it takes one person: a phone number, an e-mail address or an id");
    options->person = argv[optind];
    return -1;
}

static int export_run(int argc, char **argv)
{
    static struct person person;
    struct export_options options = { 0 };
    char here[PATH_MAX / 2], folder[PATH_MAX];
    struct problem why;

    int code = read_options(&options, argc, argv);
    if (code >= 0)
        return code;
    if (options.folder && *options.folder != '/' && getcwd(here, sizeof(here))) { /* sb goes to the checkout */
        path_print(folder, "%s/%s", here, options.folder);
        options.folder = folder;
    }
    code = person_open(&person, options.person, argv);
    if (code < 0)
        code = print_head_and_topics(&person, true, &why) && print_tables(&person, &why) &&
                       export_recordings(&person, options.folder, &why) &&
                       print_head_and_topics(&person, false, &why)
                   ? EXIT_FINE
                   : command_fail(argv, EXIT_FAILED, "%s; what is printed is not all", why.text);
    person_close(&person);
    return code;
}

const struct command command_export = {
    .name = "export",
    .summary = "gives everything that is kept of one person, as JSON; and their recordings",
    .help =
        "Usage: sb export PERSON [--recordings FOLDER] [--json]\n\n"
        "PERSON is a phone number, an e-mail address, or an id (of a contact, a lead, a call, a user): all that hangs "
        "on the person\n"
        "behind it, in all companies. One JSON object: rows by table, paths of recordings in the folder or bucket, and "
        "the topics in\n"
        "which events of theirs stand, until when. It is run as the owner of the tables (DATABASE_URL's user).\n\n"
        "Options\n"
        "  --recordings FOLDER  copy the recordings into it; FOLDER is made when it is not there\n"
        "  --json               it always is; taken for what gives it to every command\n\n"
        "Examples\n"
        "  sb export +12025550188 > person.json\n"
        "  sb export '(202) 555-0188' --recordings copies | jq '.tables.calls | length'\n"
        "  sb export ana@example.com | jq .topics\n\n"
        "Exit codes: 0 done, 1 nobody is known by that, or not everything could be read, 2 the command line or a "
        "setting is wrong\n",
    .run = export_run,
};
