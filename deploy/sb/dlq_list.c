/* sb dlq list, show. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/sb/command.h"
#include "deploy/sb/dlq.h"
#include "deploy/sb/document.h"
#include "deploy/sb/table.h"
#include "topics.h"

#define TEXT_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define REASON_COLUMNS 60
#define MINUTES_BYTES  17 /* 2026-11-21T06:29 */

static const struct statement find_actions = {
    .name = "sb_find_letter_actions",
    .text = "SELECT to_char(a.at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS at, a.who, l.action, l.run,"
            " a.detail->>'why' AS why, l.before, l.after, l.done_at IS NOT NULL AS done"
            " FROM letter_actions l JOIN operator_actions a USING (action_id) WHERE l.letter_id = $1::uuid",
    .params = 1,
};

/* --- list ---------------------------------------------------------------------------------------------------- */

struct letter_group {
    const char *stage;
    const struct letter *newest;
    int64_t count, first_us;
};

struct groups {
    struct letter_group *all;
    size_t count;
};

static int by_group(const void *a, const void *b)
{
    const struct letter *left = a, *right = b;
    int by_type = strcmp(left->type, right->type), by_reason = strcmp(left->group, right->group);
    if (by_type != 0 || by_reason != 0)
        return by_type != 0 ? by_type : by_reason;
    return (left->at_us > right->at_us) - (left->at_us < right->at_us);
}

static int by_count(const void *a, const void *b)
{
    const struct letter_group *left = a, *right = b;
    return (left->count < right->count) - (left->count > right->count);
}

static void group_letters(struct groups *groups, const char *stage, struct letters *letters)
{
    if (letters->count == 0)
        return;
    qsort(letters->all, letters->count, sizeof(*letters->all), by_group);
    groups->all = must_realloc(groups->all, (groups->count + letters->count) * sizeof(*groups->all));
    for (size_t i = 0; i < letters->count; i++) {
        const struct letter *letter = &letters->all[i];
        bool same = i > 0 && strcmp(letter[-1].type, letter->type) == 0 && strcmp(letter[-1].group, letter->group) == 0;
        if (!same)
            groups->all[groups->count++] = (struct letter_group){ stage, letter, 0, letter->at_us };
        groups->all[groups->count - 1].newest = letter;
        groups->all[groups->count - 1].count++;
    }
}

static void print_groups(const struct groups *groups)
{
    static struct table table;
    static const char *const titles[] = {
        "stage", "<letters", "type", "reason", "first (UTC)", "last", "example", NULL
    };
    char first[TIME_BYTES], last[TIME_BYTES];

    table_begin(&table, titles);
    for (size_t i = 0; i < groups->count; i++) {
        const struct letter_group *group = &groups->all[i];
        struct buf reason;
        buf_init(&reason, 4 * REASON_COLUMNS + 8);
        terminal_add(&reason, text_of(group->newest->group), REASON_COLUMNS);
        table_add(&table, PLAIN, "%s", group->stage);
        table_add(&table, BOLD, "%" PRId64, group->count);
        table_add(&table, PLAIN, "%s", group->newest->type);
        table_add(&table, PLAIN, "%s", buf_text(&reason).at);
        table_add(&table, FAINT, "%.*s", MINUTES_BYTES - 1, time_print(group->first_us, first));
        table_add(&table, FAINT, "%.*s", MINUTES_BYTES - 1, time_print(group->newest->at_us, last));
        table_add(&table, FAINT, "%s", group->newest->id);
        buf_done(&reason);
    }
    table_print(&table);
    if (groups->count > TABLE_ROWS_MAX)
        printf("and %zu more: --json shows all\n", groups->count - TABLE_ROWS_MAX);
}

static void write_string(struct buf *out, const char *name, const char *value)
{
    json_name(out, name);
    json_write_string(out, value);
}

static void print_groups_json(const struct groups *groups)
{
    char time[TIME_BYTES];
    struct buf out;

    buf_init(&out, TEXT_BYTES_MAX);
    buf_add_char(&out, '[');
    for (size_t i = 0; i < groups->count; i++) {
        const struct letter_group *group = &groups->all[i];
        json_separate(&out);
        buf_add_char(&out, '{');
        write_string(&out, "stage", group->stage);
        write_string(&out, "type", group->newest->type);
        write_string(&out, "reason", group->newest->group);
        json_name(&out, "letters");
        json_write_integer(&out, group->count);
        write_string(&out, "first", time_print(group->first_us, time));
        write_string(&out, "last", time_print(group->newest->at_us, time));
        write_string(&out, "example", group->newest->id);
        write_string(&out, "example_reason", group->newest->reason);
        buf_add_char(&out, '}');
    }
    printf("%s]\n", buf_text(&out).at);
    buf_done(&out);
}

int dlq_list(const struct dlq *dlq, struct session *session)
{
    struct groups groups = { 0 };
    struct problem why;

    for (const struct stage_topics *stage = stage_topics; stage->stage; stage++) {
        struct letters letters;
        if (dlq->stage && strcmp(dlq->stage, stage->stage) != 0)
            continue;
        if (!letters_find(session, stage->stage, &dlq->filter, &letters, &why))
            return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
        if (letters.too_many)
            fprintf(stderr, "%s: %s has more than %d open letters; the first of them are shown\n", dlq->argv[0],
                    stage->stage, LETTERS_MAX);
        group_letters(&groups, stage->stage, &letters);
    }
    if (groups.count > 1)
        qsort(groups.all, groups.count, sizeof(*groups.all), by_count);
    if (dlq->json)
        print_groups_json(&groups);
    else if (groups.count == 0)
        printf("there is no open dead letter\n");
    else
        print_groups(&groups);
    return EXIT_FINE; /* what was grouped is freed with the process */
}

/* --- show ---------------------------------------------------------------------------------------------------- */

struct showing {
    const struct dlq *dlq;
    struct session *session;
    struct arena *arena;
    size_t shown;
};

static void print_field(const char *name, const char *value)
{
    struct buf line;

    buf_init(&line, TEXT_BYTES_MAX);
    terminal_add(&line, text_of(value ? value : "-"), 0);
    printf("%s%-10s%s %s\n", colour_begin(FAINT), name, colour_end(), buf_text(&line).at);
    buf_done(&line);
}

static void print_action(const struct rows *actions, int row, struct arena *arena)
{
    const char *run = row_get(actions, row, "run"), *why = row_get(actions, row, "why");

    print_field("dealt with",
                arena_printf(arena, "%s by %s at %s%s%s%s%s%s", row_get(actions, row, "action"),
                             row_get(actions, row, "who"), row_get(actions, row, "at"), run ? ", run " : "",
                             run ? run : "", why ? ": " : "", why ? why : "",
                             *row_get(actions, row, "done") == 't' ? "" : " (not sent: the letter is open)"));
}

static void print_document(const char *title, struct text json)
{
    struct buf lines, out;

    buf_init(&lines, TEXT_BYTES_MAX);
    buf_init(&out, 3 * TEXT_BYTES_MAX);
    document_indent(&lines, json);
    for (const char *at = buf_text(&lines).at; *at != '\0';) {
        size_t bytes = strcspn(at, "\n");
        terminal_add(&out, (struct text){ at, bytes }, 0);
        buf_add_char(&out, '\n');
        at += bytes + (at[bytes] == '\n');
    }
    printf("%s%s%s\n%s", colour_begin(FAINT), title, colour_end(), buf_text(&out).at);
    buf_done(&lines);
    buf_done(&out);
}

static void print_letter(const struct showing *showing, const struct letter *letter,
                         const struct event_rejected *rejected, const struct rows *actions)
{
    char time[TIME_BYTES];

    print_field("letter", letter->id);
    print_field("reason", letter->reason);
    if (letter->pointer)
        print_field("at", letter->pointer);
    print_field("since", time_print(letter->at_us, time));
    print_field("key", letter->key);
    print_field("event", arena_printf(showing->arena, "%s %s, run %d", letter->type, letter->event_id, letter->run));
    print_field("tenant", letter->tenant);
    print_field("attempts", arena_printf(showing->arena, "%" PRId64, letter->attempts));
    print_field("from", rejected->offset < 0 ? arena_printf(showing->arena, "the door, for %s", rejected->topic)
                                             : arena_printf(showing->arena, "%s/%" PRId64 "@%" PRId64, rejected->topic,
                                                            rejected->partition, rejected->offset));
    for (int row = 0; row < actions->count; row++)
        print_action(actions, row, showing->arena);
    if (letter->is_event)
        print_document("", rejected->event);
    else
        print_field("message", rejected->event.at);
    for (int row = 0; row < actions->count; row++)
        if (row_get(actions, row, "after"))
            print_document("as it was sent", text_of(row_get(actions, row, "after")));
}

/* An element of the array that --json gives: an event may have failed more than once. */
static void print_letter_json(const rd_kafka_message_t *record, const struct rows *actions)
{
    static const char *const members[] = { "at", "who", "action", "why", "before", "after" };
    struct buf out;

    buf_init(&out, TEXT_BYTES_MAX);
    buf_add_string(&out, "{\"letter\":");
    buf_add(&out, record->payload, record->len);
    json_name(&out, "actions");
    buf_add_char(&out, '[');
    for (int row = 0; row < actions->count; row++) {
        json_separate(&out);
        buf_add_char(&out, '{');
        for (size_t i = 0; i < LENGTH(members); i++)
            write_string(&out, members[i], row_get(actions, row, members[i]));
        json_name(&out, "run");
        buf_add_string(&out, row_get(actions, row, "run") ? row_get(actions, row, "run") : "null");
        buf_add_char(&out, '}');
    }
    printf("%s]}", buf_text(&out).at);
    buf_done(&out);
}

static bool show_letter(void *context, const struct letter *letter, const rd_kafka_message_t *record,
                        struct problem *why)
{
    struct showing *showing = context;
    struct event_rejected rejected;
    struct letter read;
    struct rows actions;

    if (!letter_read(record, showing->arena, &read, &rejected, why) ||
        !session_query(showing->session, &find_actions, PARAMS(letter->id), &actions, why))
        return false;
    if (showing->dlq->json) {
        printf("%s", showing->shown++ ? ",\n " : "[");
        print_letter_json(record, &actions);
    } else
        print_letter(showing, letter, &rejected, &actions);
    arena_reset(showing->arena);
    return true;
}

int dlq_show(const struct dlq *dlq, struct session *session)
{
    struct dlq with_all = *dlq;
    struct letters letters;
    struct problem why;
    int64_t gone = 0;

    with_all.filter.dealt_with = with_all.yes = true;
    int code = dlq_select(&with_all, session, "show", &letters);
    if (code >= 0)
        return code;
    struct showing showing = { .dlq = dlq, .session = session, .arena = arena_new(TEXT_BYTES_MAX) };
    bool done = letters_again(session, dlq->stage, letters.all, letters.count, show_letter, &showing, &gone, &why);
    arena_free(showing.arena);
    if (dlq->json)
        printf(showing.shown ? "]\n" : "[]\n");
    return done ? EXIT_FINE : command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
}
