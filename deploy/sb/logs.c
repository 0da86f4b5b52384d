/* sb logs: what the parts have said, from .run/log, merged by time.
 *
 * An entry is a line that begins with a time and the lines without one after it (a stack trace).  Each part's file is
 * read in its own order, NAME.log.1 before NAME.log, and the part whose next entry is the oldest is shown. */
#include <errno.h>
#include <getopt.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/conversation.h"
#include "deploy/sb/logfile.h"
#include "deploy/sb/standing.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/when.h"

#define SOURCES_MAX     32
#define ENTRY_BYTES_MAX (1024 * 1024) /* the rest of a longer one is left out, and that is said */
#define IDS_MAX         1000          /* of a conversation, looked for with --trace */
#define FOLLOW_MS       200
#define NAME_COLUMNS    10

/* clang-format off */
/* Everything that a conversation's entries may name. */
static const struct statement find_ids = {
    .name = "sb_logs_ids",
    .text = "SELECT DISTINCT id FROM ("
            " SELECT unnest(ARRAY[correlation_id, subject, event_id::text, cause_id::text]) AS id FROM ledger"
            "  WHERE correlation_id = ANY ($1::text[])"
            " UNION ALL"
            " SELECT unnest(ARRAY[ask_id::text, provider_id]) FROM asks WHERE correlation_id = ANY ($1::text[])) AS x"
            " WHERE id IS NOT NULL LIMIT 1000",
    .params = 1,
};
/* clang-format on */

/* One part's log. */
struct source {
    char name[64], path[PATH_MAX];
    FILE *file;
    char *line; /* getline's */
    size_t line_room;
    struct buf next; /* the line read beyond the entry */
    bool has_next;
    struct buf unended; /* of a line that is being written */
    struct buf entry;
    bool has_entry;
    bool cut;   /* something of the entry was longer than ENTRY_BYTES_MAX */
    int64_t us; /* of the entry; 0: nothing had a time yet */
};

struct logs {
    struct source sources[SOURCES_MAX];
    size_t count;
    int64_t since_us; /* 0: from the beginning */
    const char *grep, *trace;
    bool follow, json;
    const char *ids[IDS_MAX];
    size_t id_count;
    int64_t shown, left_out;
};

static volatile sig_atomic_t stopped;

static void on_signal(int number)
{
    (void)number;
    stopped = 1;
}

/* --- times --------------------------------------------------------------------------------------------------- */

/* RFC 3339 (the sandbox), "2026-11-21 06:29:49.123 UTC" (Postgres), "2026-11-21T06:29:49,123" (Kafka: local time). */
static bool read_plain_time(const char *line, int64_t *ret_us)
{
    struct tm tm = { .tm_isdst = -1 };
    int ms, end = 0;

    if (time_read((struct text){ line, strcspn(line, " ") }, ret_us))
        return true;
    if (sscanf(line, "%4d-%2d-%2d%*1[ T]%2d:%2d:%2d%*1[.,]%3d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
               &tm.tm_min, &tm.tm_sec, &ms, &end) != 7)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    bool utc = strncmp(line + end, " UTC", 4) == 0 || strncmp(line + end, " GMT", 4) == 0;
    *ret_us = (int64_t)(utc ? timegm(&tm) : mktime(&tm)) * 1000000 + ms * 1000;
    return true;
}

static bool line_time(struct text line, int64_t *ret_us)
{
    struct json_value value, time;
    struct problem why;

    if (!text_starts(line, "{"))
        return read_plain_time(line.at, ret_us);
    return json_parse(line, &value, &why) && json_find(value, "time", &time) && time.kind == JSON_STRING &&
           time_read((struct text){ time.raw.at + 1, time.raw.bytes - 2 }, ret_us);
}

/* --- reading ------------------------------------------------------------------------------------------------- */

/* The file after this one, if there is one: NAME.log after NAME.log.1, or a new NAME.log. */
static bool next_file(struct source *source)
{
    struct stat here, there;

    if (stat(source->path, &there) != 0 || fstat(fileno(source->file), &here) != 0 || here.st_ino == there.st_ino)
        return false;
    FILE *file = fopen(source->path, "re");
    if (file == NULL)
        return false;
    fclose(source->file);
    source->file = file;
    return true;
}

/* A whole line, in `next`; at the end of everything also one that is not ended, unless somebody may go on writing it.
 */
static bool read_line(struct source *source, bool follow)
{
    for (;;) {
        ssize_t bytes = getline(&source->line, &source->line_room, source->file);
        if (bytes > 0)
            buf_add(&source->unended, source->line, (size_t)bytes);
        bool ended = bytes > 0 && source->line[bytes - 1] == '\n';
        if (bytes > 0 && !ended)
            continue;
        if (!ended) {
            clearerr(source->file);
            if (next_file(source))
                continue;
            if (follow || source->unended.bytes == 0)
                return false;
        }
        buf_clear(&source->next);
        buf_add_text(&source->next, (struct text){ buf_text(&source->unended).at, source->unended.bytes - ended });
        source->cut = source->cut || source->unended.overflowed;
        buf_clear(&source->unended);
        return source->has_next = true;
    }
}

/* The next entry, unless there is one already.  What has come to its end for now is an entry. */
static void read_entry(struct source *source, bool follow)
{
    int64_t us;

    if (source->has_entry)
        return;
    buf_clear(&source->entry);
    while (source->has_next || read_line(source, follow)) {
        bool timed = line_time(buf_text(&source->next), &us);
        if (timed && source->has_entry)
            return;
        if (timed)
            source->us = us;
        if (source->has_entry)
            buf_add_char(&source->entry, '\n');
        buf_add_text(&source->entry, buf_text(&source->next));
        source->has_entry = true;
        source->has_next = false;
    }
}

static struct source *oldest(struct logs *logs)
{
    struct source *found = NULL;
    for (size_t i = 0; i < logs->count; i++) {
        read_entry(&logs->sources[i], logs->follow);
        if (logs->sources[i].has_entry && (found == NULL || logs->sources[i].us < found->us))
            found = &logs->sources[i];
    }
    return found;
}

/* --- showing ------------------------------------------------------------------------------------------------- */

static bool holds(struct text text, const char *word)
{
    return memmem(text.at, text.bytes, word, strlen(word)) != NULL;
}

static bool is_wanted(const struct logs *logs, const struct source *source)
{
    struct text entry = buf_text(&source->entry);

    if (source->us < logs->since_us || (logs->grep && !holds(entry, logs->grep)))
        return false;
    for (size_t i = 0; i < logs->id_count; i++)
        if (holds(entry, logs->ids[i]))
            return true;
    return logs->trace == NULL;
}

static enum colour colour_of(struct text entry)
{
    static const struct {
        const char *mark;
        enum colour colour;
    } marks[] = { { "\"level\":\"error\"", RED },
                  { " ERROR ", RED },
                  { " FATAL ", RED },
                  { "FATAL: ", RED },
                  { "PANIC: ", RED },
                  { "ERROR: ", RED },
                  { "\"level\":\"warning\"", YELLOW },
                  { " WARN ", YELLOW },
                  { "WARNING: ", YELLOW },
                  { "\"level\":\"debug\"", FAINT } };
    for (size_t i = 0; i < LENGTH(marks); i++)
        if (holds(entry, marks[i].mark))
            return marks[i].colour;
    return PLAIN;
}

static void add_level(struct buf *out, struct text entry)
{
    struct json_value value, level;
    struct problem why;
    if (json_parse(entry, &value, &why) && json_find(value, "level", &level) && !json_string_is(level.raw, "info"))
        buf_printf(out, "%.*s: ", (int)level.raw.bytes - 2, level.raw.at + 1);
}

static void print_readable(const struct source *source)
{
    struct text entry = buf_text(&source->entry);
    char day[CLOCK_BYTES], clock[CLOCK_BYTES];
    struct buf words, out;

    buf_init(&words, 2 * ENTRY_BYTES_MAX);
    buf_init(&out, 8 * ENTRY_BYTES_MAX);
    buf_printf(&out, "%s%s %s%s  %-*s  %s", colour_begin(FAINT), day_print(source->us, day),
               clock_ms(source->us, clock), colour_end(), NAME_COLUMNS, source->name, colour_begin(colour_of(entry)));
    add_level(&words, entry);
    if (!log_words(entry, &words))
        buf_add_text(&words, entry);
    struct text left = buf_text(&words);
    for (const char *end; (end = memchr(left.at, '\n', left.bytes));) { /* the lines of a stack trace stay lines */
        terminal_add(&out, (struct text){ left.at, (size_t)(end - left.at) }, 0);
        buf_add_char(&out, '\n');
        left = (struct text){ end + 1, left.bytes - (size_t)(end + 1 - left.at) };
    }
    terminal_add(&out, left, 0);
    printf("%s%s%s\n", buf_text(&out).at, source->cut || source->entry.overflowed ? " … (it is longer than 1 MiB)" : "",
           colour_end());
    buf_done(&words);
    buf_done(&out);
}

static void print_json(const struct source *source)
{
    struct text entry = buf_text(&source->entry);
    struct json_value value;
    struct problem why;
    struct buf out;

    buf_init(&out, 8 * ENTRY_BYTES_MAX);
    buf_add_char(&out, '{');
    json_add_string(&out, "part", source->name);
    json_add_time(&out, "time", source->us);
    json_name(&out, "entry");
    if (json_parse(entry, &value, &why))
        buf_add_text(&out, value.raw);
    else
        json_write_text(&out, entry);
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

static void show(struct logs *logs, struct source *source)
{
    bool wanted = is_wanted(logs, source);

    logs->shown += wanted;
    logs->left_out += !wanted;
    if (wanted && logs->json)
        print_json(source);
    else if (wanted)
        print_readable(source);
    source->has_entry = source->cut = false;
}

static bool show_all(struct logs *logs, struct problem *why)
{
    while (!stopped) {
        struct source *source = oldest(logs);
        if (source)
            show(logs, source);
        else if (!logs->follow)
            break;
        if (source)
            continue;
        if (fflush(stdout) != 0)
            return fail(why, "could not write: %s", strerror(errno));
        nanosleep(&(struct timespec){ .tv_nsec = FOLLOW_MS * 1000000L }, NULL);
    }
    return true;
}

/* --- what is read -------------------------------------------------------------------------------------------- */

static bool open_source(struct logs *logs, const char *folder, const char *name, struct problem *why)
{
    struct source *source = &logs->sources[logs->count];
    char old[PATH_MAX];

    if (logs->count == SOURCES_MAX)
        return fail(why, "there are more than %d logs in %s: name those to show", SOURCES_MAX, folder);
    *source = (struct source){ 0 };
    snprintf(source->name, sizeof(source->name), "%s", name);
    path_print(source->path, "%s/%s.log", folder, name);
    path_print(old, "%s.1", source->path);
    source->file = fopen(old, "re");
    if (source->file == NULL)
        source->file = fopen(source->path, "re");
    if (source->file == NULL)
        return fail(why, "there is no log of \"%s\" (%s): %s", name, source->path, strerror(errno));
    buf_init(&source->next, ENTRY_BYTES_MAX);
    buf_init(&source->unended, ENTRY_BYTES_MAX);
    buf_init(&source->entry, ENTRY_BYTES_MAX);
    logs->count++;
    return true;
}

static bool open_all(struct logs *logs, const char *folder, struct problem *why)
{
    char pattern[PATH_MAX], name[64];
    glob_t found;
    bool good = true;

    path_print(pattern, "%s/*.log", folder);
    glob(pattern, 0, NULL, &found);
    for (size_t i = 0; good && i < found.gl_pathc; i++) {
        const char *file = strrchr(found.gl_pathv[i], '/') + 1;
        snprintf(name, sizeof(name), "%.*s", (int)(strlen(file) - strlen(".log")), file);
        good = open_source(logs, folder, name, why);
    }
    globfree(&found);
    return good &&
           (logs->count > 0 || fail(why,
                                    "there are no logs in %s: \"sb up\" writes them; daemons that it did not start "
                                    "log to their standard error",
                                    folder));
}

static void close_all(struct logs *logs)
{
    for (size_t i = 0; i < logs->count; i++) {
        fclose(logs->sources[i].file);
        free(logs->sources[i].line);
        buf_done(&logs->sources[i].next);
        buf_done(&logs->sources[i].unended);
        buf_done(&logs->sources[i].entry);
    }
}

/* What is given is looked for in any case: the database may be what is wrong. */
static void find_trace(struct logs *logs, struct session *session, char **argv)
{
    struct conversations found;
    const char *conversations[CONVERSATIONS_MAX];
    struct rows rows;
    struct problem why;

    logs->ids[logs->id_count++] = logs->trace;
    if (!conversations_find(session, logs->trace, &found, &why)) {
        command_fail(argv, EXIT_FAILED, "%s; only what names \"%s\" itself is shown", why.text, logs->trace);
        return;
    }
    for (size_t i = 0; i < found.count; i++)
        conversations[i] = found.found[i].id;
    if (!session_query(session, &find_ids, PARAMS(array_of(conversations, (int)found.count, session->arena)), &rows,
                       &why)) {
        command_fail(argv, EXIT_FAILED, "%s; only what names \"%s\" itself is shown", why.text, logs->trace);
        return;
    }
    for (int row = 0; row < rows.count && logs->id_count < IDS_MAX; row++)
        logs->ids[logs->id_count++] = row_get(&rows, row, "id");
}

/* --- the command --------------------------------------------------------------------------------------------- */

static int read_options(struct logs *logs, int argc, char **argv)
{
    static const struct option options[] = {
        { "grep", required_argument, NULL, 'g' },  { "since", required_argument, NULL, 's' },
        { "trace", required_argument, NULL, 't' }, { "follow", no_argument, NULL, 'f' },
        { "json", no_argument, NULL, 'j' },        { 0 },
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'g')
            logs->grep = optarg;
        else if (option == 's' && !when_read(optarg, &logs->since_us))
            return command_misused(argv, "--since " WHEN_HELP);
        else if (option == 't')
            logs->trace = optarg;
        else if (option == 'f')
            logs->follow = true;
        else if (option == 'j')
            logs->json = true;
        else if (option == '?')
            return command_misused(argv, NULL);
    }
    for (int i = optind; i < argc; i++)
        if (strchr(argv[i], '/') || strlen(argv[i]) >= sizeof(logs->sources[0].name))
            return command_misused(argv, "a log is named by its part: ingest, kafka, …");
    return -1;
}

static int logs_run(int argc, char **argv)
{
    static struct logs logs;
    struct place place;
    struct session session = { 0 };
    char folder[PATH_MAX];
    struct problem why;
    bool good = true;

    int code = read_options(&logs, argc, argv);
    if (code >= 0)
        return code;
    place_find(&place);
    if (place.run[0] == '\0')
        return command_fail(argv, EXIT_FAILED, "this is no checkout of Switchboard, where \"sb up\" writes logs; daemons "
                                               "that it did not start log to their standard error");
    path_print(folder, "%s/log", place.run);
    if (logs.trace && (code = session_open(&session, STANDING_ROLE, argv)) >= 0)
        return code;
    for (int i = optind; good && i < argc; i++)
        good = open_source(&logs, folder, argv[i], &why);
    good = good && (optind < argc || open_all(&logs, folder, &why));
    if (good && logs.trace)
        find_trace(&logs, &session, argv);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    good = good && show_all(&logs, &why);
    close_all(&logs);
    if (good && logs.left_out)
        fprintf(stderr, "%lld %s shown, %lld left out\n", (long long)logs.shown, plural(logs.shown, "entry", "entries"),
                (long long)logs.left_out);
    code = good ? EXIT_FINE : command_fail(argv, EXIT_FAILED, "%s", why.text);
    return logs.trace ? session_close(&session, code) : code;
}

const struct command command_logs = {
    .name = "logs",
    .summary = "shows what the parts have said here, merged by time",
    .help = "Usage: sb logs [PART…] [--since WHEN] [--grep TEXT] [--trace ID] [--follow] [--json]\n\n"
            "PART is ingest, transcribe, analyze, notifier, kafka, postgres or sandbox; all when none is named. Reads "
            ".run/log, where\n"
            "`sb up` keeps at least the last 16 MiB of each; a stack trace stays with its line. Daemons that run "
            "elsewhere log to their\n"
            "standard error.\n\n"
            "Options\n"
            "  --since WHEN  only what was said since then\n"
            "  --grep TEXT   only entries that hold this text\n"
            "  --trace ID    only entries that name a conversation, its events, requests or messages; ID is what `sb "
            "trace` "
            "takes\n"
            "  --follow      go on with what is said from now on, until Ctrl-C\n"
            "  --json        a JSON object a line: part, time, entry\n\n"
            WHEN_PARAGRAPH "\n"
            "Examples\n"
            "  sb logs --since 10m\n"
            "  sb logs analyze notifier --grep circuit --follow\n"
            "  sb logs --trace CAL123\n"
            "  sb logs ingest --json | jq -r 'select(.entry.level == \"error\") | .entry.message'\n\n"
            "Exit codes: 0 ended as asked, 1 there are no such logs, 2 the command line or a setting is wrong\n",
    .run = logs_run,
};
