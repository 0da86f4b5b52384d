/* sb dlq edit: the event is changed, and given to the stage again; letter_actions keeps it as it was. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "deploy/sb/command.h"
#include "deploy/sb/dlq.h"
#include "deploy/sb/document.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/place.h"
#include "deploy/sb/rerun.h"

#define EVENT_ROOM        ((size_t)32 * 1024 * 1024)
#define SCRATCH_BYTES_MAX ((size_t)512 * 1024 * 1024)
#define OUTCOME_BYTES     160

/* --- in an editor -------------------------------------------------------------------------------------------- */

static bool run_editor(const char *path, struct problem *why)
{
    const char *editor = getenv("VISUAL");
    int status;

    if (editor == NULL || *editor == '\0')
        editor = getenv("EDITOR");
    if (editor == NULL || *editor == '\0')
        editor = "vi";
    pid_t child = fork();
    if (child == 0) {
        /* $EDITOR may have options, as everywhere */
        execl("/bin/sh", "sh", "-c", "exec $1 \"$2\"", "sh", editor, path, (char *)NULL);
        _exit(127);
    }
    if (child < 0)
        return fail(why, "could not start %s: %s", editor, strerror(errno));
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    return (WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
           fail(why, "%s did not end well; nothing was changed", editor);
}

/* Gives what the operator made of it, in the arena; absent when it failed. */
static struct text edit_by_hand(struct text before, struct arena *arena, struct problem *why)
{
    const char *folder = getenv("TMPDIR");
    char path[PATH_MAX];
    struct buf shown;
    char *after = arena_alloc(arena, EVENT_ROOM);

    path_print(path, "%s/sb-letter-XXXXXX", folder && *folder ? folder : "/tmp");
    int file = mkstemp(path); /* for its owner alone */
    if (file < 0) {
        fail(why, "could not make a file in %s: %s", folder ? folder : "/tmp", strerror(errno));
        return (struct text){ NULL, 0 };
    }
    close(file);
    buf_init(&shown, EVENT_ROOM);
    document_indent(&shown, before);
    buf_add_char(&shown, '\n');
    bool done = (!shown.overflowed || fail(why, "the event is too large for an editor")) &&
                file_write(path, buf_text(&shown), 0600, why) && run_editor(path, why) &&
                (file_read(path, after, EVENT_ROOM) || fail(why, "could not read %s again", path));
    if (done && strcmp(after, buf_text(&shown).at) == 0)
        done = fail(why, "nothing was changed");
    buf_done(&shown);
    unlink(path);
    return text_of(done ? after : NULL);
}

/* --- by --set ------------------------------------------------------------------------------------------------ */

static struct text edit_by_sets(const struct dlq *dlq, struct text before, struct arena *arena, struct problem *why)
{
    struct text now = before;

    for (size_t i = 0; i < dlq->set_count; i++) {
        const char *value = strchr(dlq->sets[i], '=');
        char *pointer = arena_copy_text(arena, (struct text){ dlq->sets[i], (size_t)(value - dlq->sets[i]) });
        struct buf changed;
        buf_init(&changed, EVENT_ROOM);
        bool done = document_set(&changed, now, pointer, text_of(value + 1), why) &&
                    (!changed.overflowed || fail(why, "the event becomes too large"));
        now = done ? (struct text){ arena_copy_text(arena, buf_text(&changed)), changed.bytes }
                   : (struct text){ NULL, 0 };
        buf_done(&changed);
        if (!done)
            break;
    }
    return now;
}

/* --- the command --------------------------------------------------------------------------------------------- */

struct editing {
    const struct dlq *dlq;
    struct session *session;
    struct letter letter; /* as it is after: with the id of the event that is sent */
    struct text key, before, after;
    struct arena *arena;
};

/* What is sent must be an event, of a type that is known, and valid as that. */
static bool check_event(struct editing *editing, struct problem *why)
{
    struct event event;
    struct problem reason;

    if (!event_read(editing->after, editing->arena, &event, &reason))
        return fail(why, "that is no event: %s %s", reason.pointer, reason.text);
    const struct event_type *type = event_type_find(event.type);
    if (type == NULL)
        return fail(why, "there is no event type \"%s\"", event.type);
    if (!type->check(event.data, &reason))
        return fail(why, "that is no valid %s: /data%s %s", event.type, reason.pointer, reason.text);
    if (editing->letter.is_event && strcasecmp(event.id, editing->letter.event_id) != 0)
        return fail(why, "the event's id must stay as it is");
    editing->letter.event_id = arena_copy(editing->session->arena, event.id);
    editing->key = text_of(arena_copy(editing->session->arena, event.subject));
    return true;
}

static bool edit_letter(void *context, const struct letter *letter, const rd_kafka_message_t *record,
                        struct problem *why)
{
    struct editing *editing = context;
    struct event_rejected rejected;
    struct letter read;

    if (!letter_read(record, editing->arena, &read, &rejected, why))
        return false;
    editing->letter = *letter;
    editing->before = letter_message(&rejected, editing->arena);
    if (!text_is_utf8(editing->before))
        return fail(why, "it is no text, and cannot be edited");
    editing->after = editing->dlq->set_count > 0 ? edit_by_sets(editing->dlq, editing->before, editing->arena, why)
                                                 : edit_by_hand(editing->before, editing->arena, why);
    return editing->after.at != NULL && editing->after.bytes > 0 && check_event(editing, why);
}

static bool send_edited(struct editing *editing, const char *action_id, int *ret_run, struct problem *why)
{
    const struct dlq *dlq = editing->dlq;
    struct session *session = editing->session;
    struct buf event;

    const int *runs =
        dlq_choose_runs(dlq, session, &editing->letter, 1, action_id, arena_copy_text(editing->arena, editing->before),
                        arena_copy_text(editing->arena, editing->after), why);
    if (runs == NULL)
        return false;
    if (runs[0] == 0)
        return fail(why, "somebody else has dealt with it meanwhile");
    *ret_run = runs[0];
    buf_init(&event, EVENT_ROOM);
    struct rerun_sender *sender = rerun_open(session->settings.kafka_brokers, dlq->stage, dlq->rate, why);
    bool done =
        sender != NULL &&
        rerun_write(&event, editing->after, runs[0], (struct rerun_flags){ false, false }, editing->arena, why) &&
        rerun_send(sender, editing->key, buf_text(&event), why) && rerun_flush(sender, why) &&
        dlq_note_sent(session, &editing->letter, 1, why);
    rerun_close(sender);
    buf_done(&event);
    return done;
}

static int edit(struct editing *editing)
{
    const struct dlq *dlq = editing->dlq;
    struct session *session = editing->session;
    struct rerun_outcomes outcomes = { 0 };
    char text[OUTCOME_BYTES];
    const char *action_id;
    struct problem why;
    int run = 0;

    if (!operator_record(session, dlq->as, "dlq edit", dlq->stage, dlq_detail(dlq, session, 1), &action_id, &why) ||
        !send_edited(editing, action_id, &run, &why))
        return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
    struct rerun rerun = { editing->letter.event_id, run };
    if (!dlq->no_wait && !rerun_wait(session, dlq->stage, &rerun, 1, &outcomes, &why))
        return command_fail(dlq->argv, EXIT_FAILED, "it was sent, but %s", why.text);
    rerun_outcomes_print(&outcomes, text, sizeof(text));
    if (dlq->json)
        printf("{\"event_id\":\"%s\",\"run\":%d,\"done\":%s}\n", editing->letter.event_id, run,
               outcomes.done + outcomes.skipped ? "true" : "false");
    else
        printf("sent as run %d%s%s\n", run, dlq->no_wait ? "" : ": ", dlq->no_wait ? "" : text);
    return outcomes.rejected > 0 || outcomes.open > 0 ? EXIT_FAILED : EXIT_FINE;
}

/* The event alone on standard output: another program may read it. */
static int tell_edited(struct text after)
{
    printf("%.*s\n", (int)after.bytes, after.at);
    fprintf(stderr, "that would be sent; nothing was changed\n");
    return EXIT_FINE;
}

int dlq_edit(const struct dlq *dlq, struct session *session)
{
    struct editing editing = { .dlq = dlq, .session = session };
    struct letters letters;
    struct problem why;
    int64_t gone = 0;

    int code = dlq_select(dlq, session, "edit", &letters);
    if (code >= 0)
        return code;
    if (letters.count > 1)
        return command_fail(dlq->argv, EXIT_FAILED, "%zu letters have that event: name one by its own id",
                            letters.count);
    editing.arena = arena_new(SCRATCH_BYTES_MAX);
    if (!letters_again(session, dlq->stage, letters.all, 1, edit_letter, &editing, &gone, &why))
        code = command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
    else if (gone > 0)
        code = command_fail(dlq->argv, EXIT_FAILED, "it is no longer in Kafka");
    else if (dlq->dry_run)
        code = tell_edited(editing.after);
    else
        code = edit(&editing);
    arena_free(editing.arena);
    return code;
}
