/* sb replay --dry-run: the stage's own program says of each event what it would change; here it is printed and summed
 * up. */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/json.h"
#include "common/tree.h"
#include "deploy/sb/command.h"
#include "deploy/sb/replay.h"
#include "deploy/sb/terminal.h"

#define LINE_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define COUNTS_MAX     512 /* fields and asks that are told apart */
#define NAME_BYTES     160
#define VALUE_COLUMNS  60

static const struct statement find_cost = {
    .name = "sb_find_ask_cost",
    .text = "SELECT coalesce(round(avg(cost_micros)), 0)::bigint AS cost FROM (SELECT cost_micros FROM asks"
            " WHERE stage = $1 AND coalesce(purpose, name) = $2 AND state = 'answered' ORDER BY created_at DESC LIMIT 1000) AS earlier",
    .params = 2,
};

/* So often each. */
struct counts {
    struct count {
        char name[NAME_BYTES];
        int64_t count;
    } all[COUNTS_MAX];
    size_t used;
};

struct replay_dry {
    const struct replay *replay;
    struct session *session;
    pid_t child;
    FILE *to, *from;
    struct buf line;
    struct arena *arena; /* of one event */
    int64_t events, changing, same;
    struct counts outcomes, fields, rows, asks;
};

static void count(struct counts *counts, const char *name)
{
    size_t i = 0;

    while (i < counts->used && strcmp(counts->all[i].name, name) != 0)
        i++;
    if (i == COUNTS_MAX)
        return;
    if (i == counts->used)
        snprintf(counts->all[counts->used++].name, NAME_BYTES, "%s", name);
    counts->all[i].count++;
}

/* --- the program ----------------------------------------------------------------------------------------------- */

static _Noreturn void become_stage(const struct replay_dry *dry, const int in[2], const int out[2])
{
    char program[PATH_MAX];

    path_print(program, "%s/%s", dry->session->place.programs, dry->replay->stage);
    dup2(in[0], STDIN_FILENO);
    dup2(out[1], STDOUT_FILENO);
    close(in[0]), close(in[1]), close(out[0]), close(out[1]);
    setenv("DATABASE_URL", dry->session->settings.database_url, 1);
    setenv("KAFKA_BROKERS", dry->session->settings.kafka_brokers, 1);
    setenv("LOG_LEVEL", "error", 1);
    execl(program, program, "--dry-run", (char *)NULL);
    fprintf(stderr, "could not start %s: %s\n", program, strerror(errno));
    _exit(127);
}

struct replay_dry *replay_dry_start(const struct replay *replay, struct session *session, struct problem *why)
{
    struct replay_dry *dry = must_alloc(sizeof(*dry));
    int in[2], out[2];

    dry->replay = replay;
    dry->session = session;
    if (pipe(in) != 0 || pipe(out) != 0 || (dry->child = fork()) < 0) {
        fail(why, "could not start the stage's program: %s", strerror(errno));
        free(dry);
        return NULL;
    }
    if (dry->child == 0)
        become_stage(dry, in, out);
    close(in[0]), close(out[1]);
    signal(SIGPIPE, SIG_IGN); /* it is told by its exit code */
    dry->to = fdopen(in[1], "w");
    dry->from = fdopen(out[0], "r");
    buf_init(&dry->line, LINE_BYTES_MAX);
    dry->arena = arena_new(4 * LINE_BYTES_MAX);
    return dry;
}

/* Its exit code, or -1 when it did not end by itself. */
static int end_child(struct replay_dry *dry)
{
    int status;

    fclose(dry->to);
    fclose(dry->from);
    while (waitpid(dry->child, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static bool read_answer(struct replay_dry *dry)
{
    int c;

    buf_clear(&dry->line);
    while ((c = getc_unlocked(dry->from)) != EOF && c != '\n')
        buf_add_char(&dry->line, (char)c);
    return c == '\n' && !dry->line.overflowed;
}

/* --- what it says ------------------------------------------------------------------------------------------------ */

/* A value as it is printed in a line: short, and harmless to a terminal. */
static const char *shown(struct replay_dry *dry, const cJSON *value)
{
    char *text = cJSON_PrintUnformatted(value);
    struct buf out;

    buf_init(&out, 8 * VALUE_COLUMNS);
    terminal_add(&out, text_of(text ? text : "?"), VALUE_COLUMNS);
    const char *ret = arena_copy_text(dry->arena, buf_text(&out));
    buf_done(&out);
    cJSON_free(text);
    return ret;
}

static const char *string_of(const cJSON *object, const char *name)
{
    const char *value = tree_string(object, name);
    return value ? value : "-";
}

static void tell_fields(struct replay_dry *dry, const cJSON *change, bool is_new)
{
    const cJSON *field;

    cJSON_ArrayForEach(field, tree_get(change, "fields"))
    {
        const char *before = shown(dry, cJSON_GetArrayItem(field, 0)),
                   *after = shown(dry, cJSON_GetArrayItem(field, 1));
        char name[NAME_BYTES];
        snprintf(name, sizeof(name), "%s.%s", string_of(change, "table"), field->string);
        count(&dry->fields, name);
        if (dry->replay->json)
            continue;
        if (is_new)
            printf("      %s%s: %s%s\n", colour_begin(GREEN), field->string, after, colour_end());
        else
            printf("      %s: %s%s%s → %s%s%s\n", field->string, colour_begin(RED), before, colour_end(),
                   colour_begin(GREEN), after, colour_end());
    }
}

static bool tell_changes(struct replay_dry *dry, const cJSON *answer)
{
    const cJSON *change;
    bool any = false;

    cJSON_ArrayForEach(change, tree_get(answer, "changes"))
    {
        const char *kind = string_of(change, "change");
        char name[NAME_BYTES];
        if (strcmp(kind, "none") == 0)
            continue;
        any = true;
        snprintf(name, sizeof(name), "%s %s", string_of(change, "table"), kind);
        count(&dry->rows, name);
        if (!dry->replay->json)
            printf("    %s%s %s%s %s\n", colour_begin(BOLD), kind, string_of(change, "table"), colour_end(),
                   shown(dry, tree_get(change, "key")));
        tell_fields(dry, change, strcmp(kind, "insert") == 0);
    }
    return any;
}

static void tell_asks(struct replay_dry *dry, const cJSON *answer)
{
    const cJSON *ask;

    cJSON_ArrayForEach(ask, tree_get(answer, "asks")) if (cJSON_IsTrue(tree_get(ask, "asked")))
    {
        /* what happens once bears the name of its subject: there are as many as events */
        const char *what = tree_string(ask, "purpose") ? tree_string(ask, "purpose") : string_of(ask, "name");
        count(&dry->asks, what);
        if (!dry->replay->json)
            printf("    would ask %s (%s)\n", string_of(ask, "provider"), what);
    }
}

static bool tell_answer(struct replay_dry *dry, struct text line, struct problem *why)
{
    const cJSON *answer = tree_read(dry->arena, line);
    const char *outcome = string_of(answer, "outcome"), *reason = tree_string(answer, "why");

    if (answer == NULL)
        return fail(why, "the stage's program said something that is not JSON");
    dry->events++;
    count(&dry->outcomes, outcome);
    if (dry->replay->json)
        printf("%s\n", line.at);
    else
        printf("%s  %s  %s: %s%s%s\n", string_of(answer, "event_id"), string_of(answer, "type"),
               shown(dry, tree_get(answer, "subject")), outcome, reason ? ": " : "",
               reason ? shown(dry, tree_get(answer, "why")) : "");
    bool changes = tell_changes(dry, answer);
    dry->changing += changes;
    dry->same += !changes && strcmp(outcome, "done") == 0;
    tell_asks(dry, answer);
    arena_reset(dry->arena);
    /* whoever reads it may have gone */
    return (fflush(stdout) == 0 && !ferror(stdout)) || fail(why, "could not write: %s", strerror(errno));
}

bool replay_dry_event(void *context, const struct replayed *event, struct text key, struct text message,
                      struct problem *why)
{
    struct replay_dry *dry = context;

    (void)key;
    if (fwrite(message.at, 1, message.bytes, dry->to) != message.bytes || putc('\n', dry->to) == EOF ||
        fflush(dry->to) != 0 || !read_answer(dry))
        return fail(why, "the stage's program ended at the event %s: what it said stands above", event->event_id);
    return tell_answer(dry, buf_text(&dry->line), why);
}

/* --- the summary ----------------------------------------------------------------------------------------------------
 */

static int64_t cost_of_asks(struct replay_dry *dry)
{
    int64_t cost_micros = 0;
    struct rows rows;
    struct problem why;

    for (size_t i = 0; i < dry->asks.used; i++)
        if (session_query(dry->session, &find_cost, PARAMS(dry->replay->stage, dry->asks.all[i].name), &rows, &why))
            cost_micros += dry->asks.all[i].count * strtoll(row_get(&rows, 0, "cost"), NULL, 10);
    return cost_micros;
}

static void print_counts(const char *title, const struct counts *counts)
{
    if (counts->used == 0)
        return;
    printf("%s ", title);
    for (size_t i = 0; i < counts->used; i++)
        printf("%s%s ×%" PRId64, i ? ", " : "", counts->all[i].name, counts->all[i].count);
    putchar('\n');
}

static void write_counts(struct buf *out, const char *name, const struct counts *counts)
{
    json_name(out, name);
    buf_add_char(out, '{');
    for (size_t i = 0; i < counts->used; i++) {
        json_name(out, counts->all[i].name);
        json_write_integer(out, counts->all[i].count);
    }
    buf_add_char(out, '}');
}

static void print_summary_json(struct replay_dry *dry, int64_t gone)
{
    struct buf out;

    buf_init(&out, LINE_BYTES_MAX);
    buf_printf(&out,
               "{\"summary\":{\"events\":%" PRId64 ",\"gone\":%" PRId64 ",\"changing\":%" PRId64 ",\"same\":%" PRId64,
               dry->events, gone, dry->changing, dry->same);
    write_counts(&out, "outcomes", &dry->outcomes);
    write_counts(&out, "rows", &dry->rows);
    write_counts(&out, "fields", &dry->fields);
    write_counts(&out, "asks", &dry->asks);
    json_name(&out, "cost_micros");
    json_write_integer(&out, cost_of_asks(dry));
    printf("%s}}\n", buf_text(&out).at);
    buf_done(&out);
}

static void print_summary(struct replay_dry *dry, int64_t gone)
{
    if (dry->replay->json) {
        print_summary_json(dry, gone);
        return;
    }
    printf("\n%" PRId64 " %s: %" PRId64 " would change something, %" PRId64 " nothing\n", dry->events,
           plural(dry->events, "event", "events"), dry->changing, dry->same);
    print_counts("outcomes:", &dry->outcomes);
    print_counts("rows:", &dry->rows);
    print_counts("fields:", &dry->fields);
    print_counts("would ask:", &dry->asks);
    if (dry->asks.used > 0)
        printf("about %.4f USD, by what such asks have cost before\n", (double)cost_of_asks(dry) / 1e6);
    if (gone > 0)
        printf("%" PRId64 " %s no longer in Kafka\n", gone, plural(gone, "is", "are"));
    printf("nothing was changed\n");
}

int replay_dry_end(struct replay_dry *dry, int64_t gone, const struct problem *why)
{
    char **argv = dry->replay->argv;
    int ended = end_child(dry), code = EXIT_FINE;

    if (why != NULL)
        code = command_fail(argv, ended == EXIT_WRONG ? EXIT_WRONG : EXIT_FAILED, "%s", why->text);
    else if (ended != 0)
        code = command_fail(argv, EXIT_FAILED, "the stage's program failed: what it said stands above");
    if (code == EXIT_FINE) {
        print_summary(dry, gone);
        code = gone > 0 ? EXIT_FAILED : EXIT_FINE;
    }
    buf_done(&dry->line);
    arena_free(dry->arena);
    free(dry);
    return code;
}
