/* sb dlq retry, drop. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "deploy/sb/command.h"
#include "deploy/sb/dlq.h"
#include "deploy/sb/operator.h"
#include "deploy/sb/rerun.h"
#include "deploy/sb/terminal.h"

#define BATCH_MAX         100 /* letters that are sent, and noted, together */
#define EVENT_ROOM        ((size_t)32 * 1024 * 1024)
#define SCRATCH_BYTES_MAX ((size_t)256 * 1024 * 1024)

/* Letters of one event, each a failed run of it, become runs one after the other. */
static const struct statement choose_runs = {
    .name = "sb_choose_runs",
    .text =
        "WITH letter AS (SELECT *, row_number() OVER (PARTITION BY event_id ORDER BY run) AS nth"
        "  FROM unnest($3::uuid[], $4::text[], $5::uuid[], $6::integer[]) AS l (letter_id, subject, event_id, run))"
        " INSERT INTO letter_actions (letter_id, stage, subject, event_id, action, run, before, after, action_id)"
        " SELECT letter_id, $1, subject, event_id, CASE WHEN $7::text IS NULL THEN 'retry' ELSE 'edit' END,"
        "  nth + greatest(run, (SELECT max(run) FROM ledger WHERE stage = $1 AND event_id = letter.event_id),"
        "  (SELECT max(run) FROM letter_actions WHERE stage = $1 AND event_id = letter.event_id)), $7, $8, $2::bigint"
        " FROM letter"
        " ON CONFLICT (letter_id) DO UPDATE SET action = EXCLUDED.action, before = EXCLUDED.before,"
        "  after = EXCLUDED.after, action_id = EXCLUDED.action_id WHERE letter_actions.done_at IS NULL"
        " RETURNING letter_id, run",
    .params = 8,
};
static const struct statement note_sent = {
    .name = "sb_note_sent",
    .text = "UPDATE letter_actions SET done_at = now() WHERE letter_id = ANY ($1::uuid[]) RETURNING letter_id",
    .params = 1,
};
static const struct statement drop_letters = {
    .name = "sb_drop_letters",
    .text = "INSERT INTO letter_actions (letter_id, stage, subject, event_id, action, action_id, done_at)"
            " SELECT letter_id, $1, subject, event_id, 'drop', $2::bigint, now()"
            " FROM unnest($3::uuid[], $4::text[], $5::uuid[]) AS l (letter_id, subject, event_id)"
            " ON CONFLICT (letter_id) DO UPDATE SET action = 'drop', run = NULL, before = NULL, after = NULL,"
            "  action_id = EXCLUDED.action_id, done_at = now() WHERE letter_actions.done_at IS NULL"
            " RETURNING letter_id",
    .params = 5,
};

/* --- columns of a statement's arrays -------------------------------------------------------------------------- */

struct columns {
    const char *ids, *keys, *event_ids, *runs;
};

/* In the session's arena. */
static struct columns columns_of(struct session *session, const struct letter *letters, size_t count)
{
    struct buf columns[4];

    for (size_t i = 0; i < LENGTH(columns); i++) {
        buf_init(&columns[i], SCRATCH_BYTES_MAX);
        pg_array_begin(&columns[i]);
    }
    for (size_t i = 0; i < count; i++) {
        char run[16];
        snprintf(run, sizeof(run), "%d", letters[i].run);
        pg_array_add(&columns[0], letters[i].id);
        pg_array_add(&columns[1], letters[i].key);
        pg_array_add(&columns[2], letters[i].event_id);
        pg_array_add(&columns[3], run);
    }
    const char *texts[LENGTH(columns)];
    for (size_t i = 0; i < LENGTH(columns); i++) {
        pg_array_end(&columns[i]);
        texts[i] = arena_copy_text(session->arena, buf_text(&columns[i]));
        buf_done(&columns[i]);
    }
    return (struct columns){ texts[0], texts[1], texts[2], texts[3] };
}

/* --- runs ---------------------------------------------------------------------------------------------------- */

static int run_of(const struct rows *rows, const char *letter_id)
{
    for (int row = 0; row < rows->count; row++)
        if (strcasecmp(row_get(rows, row, "letter_id"), letter_id) == 0)
            return atoi(row_get(rows, row, "run"));
    return 0;
}

const int *dlq_choose_runs(const struct dlq *dlq, struct session *session, const struct letter *letters, size_t count,
                           const char *action_id, const char *before, const char *after, struct problem *why)
{
    struct columns columns = columns_of(session, letters, count);
    struct rows rows;

    if (!session_query(
            session, &choose_runs,
            PARAMS(dlq->stage, action_id, columns.ids, columns.keys, columns.event_ids, columns.runs, before, after),
            &rows, why))
        return NULL;
    int *runs = arena_alloc(session->arena, (count + 1) * sizeof(*runs));
    for (size_t i = 0; i < count; i++)
        runs[i] = run_of(&rows, letters[i].id);
    return runs;
}

bool dlq_note_sent(struct session *session, const struct letter *letters, size_t count, struct problem *why)
{
    struct rows rows;
    return session_query(session, &note_sent, PARAMS(columns_of(session, letters, count).ids), &rows, why);
}

/* --- retry ---------------------------------------------------------------------------------------------------- */

struct retrying {
    const struct dlq *dlq;
    struct session *session;
    struct rerun_sender *sender;
    const struct letter *letters; /* the batch … */
    const int *runs;              /* … and its runs */
    struct arena *arena;
    struct rerun *reruns; /* what was sent, to wait for */
    size_t rerun_count;
    struct rerun_end end;
    int64_t taken; /* by somebody else, meanwhile */
};

static bool send_letter(void *context, const struct letter *letter, const rd_kafka_message_t *record,
                        struct problem *why)
{
    struct retrying *retrying = context;
    struct event_rejected rejected;
    struct letter read;
    struct buf event;
    int run = retrying->runs[letter - retrying->letters];

    if (run == 0) {
        retrying->taken++;
        return true;
    }
    buf_init(&event, EVENT_ROOM);
    bool done = letter_read(record, retrying->arena, &read, &rejected, why);
    struct text message = done ? letter_message(&rejected, retrying->arena) : TEXT("");
    if (done && letter->is_event) {
        done = rerun_write(&event, message, run, (struct rerun_flags){ false, false }, retrying->arena, why);
        message = buf_text(&event);
        retrying->reruns[retrying->rerun_count++] = (struct rerun){ letter->event_id, run };
    }
    done = done && rerun_send(retrying->sender, (struct text){ record->key, record->key_len }, message, why);
    retrying->end.sent += done;
    buf_done(&event);
    arena_reset(retrying->arena);
    return done;
}

static bool retry_batch(struct retrying *retrying, const struct letter *letters, size_t count, const char *action_id,
                        struct problem *why)
{
    struct session *session = retrying->session;

    retrying->letters = letters;
    retrying->runs = dlq_choose_runs(retrying->dlq, session, letters, count, action_id, NULL, NULL, why);
    return retrying->runs != NULL &&
           letters_again(session, retrying->dlq->stage, letters, count, send_letter, retrying, &retrying->end.gone,
                         why) &&
           rerun_flush(retrying->sender, why) && dlq_note_sent(session, letters, count, why);
}

static bool retry_all(struct retrying *retrying, const struct letters *letters, const char *action_id,
                      struct problem *why)
{
    retrying->sender =
        rerun_open(retrying->session->settings.kafka_brokers, retrying->dlq->stage, retrying->dlq->rate, why);
    bool done = retrying->sender != NULL;
    for (size_t i = 0; done && i < letters->count; i += BATCH_MAX) {
        size_t left = letters->count - i;
        done = retry_batch(retrying, &letters->all[i], left < BATCH_MAX ? left : BATCH_MAX, action_id, why);
    }
    rerun_close(retrying->sender);
    return done;
}

static int would(const struct dlq *dlq, const struct letters *letters, const char *what)
{
    enum { SHOWN_MAX = 20 };

    for (size_t i = 0; i < letters->count && i < SHOWN_MAX && !dlq->json; i++)
        printf("%s  %s  %s  %s\n", letters->all[i].id, letters->all[i].type, letters->all[i].key,
               letters->all[i].reason);
    if (dlq->json)
        printf("{\"letters\":%zu}\n", letters->count);
    else
        printf("%zu %s would be %s; nothing was changed\n", letters->count,
               plural((int64_t)letters->count, "letter", "letters"), what);
    return EXIT_FINE;
}

int dlq_retry(const struct dlq *dlq, struct session *session)
{
    struct retrying retrying = { .dlq = dlq, .session = session };
    struct letters letters;
    const char *action_id;
    struct problem why;

    int code = dlq_select(dlq, session, "retry", &letters);
    if (code >= 0)
        return code;
    if (dlq->dry_run)
        return would(dlq, &letters, "given to the stage again");
    if (!operator_record(session, dlq->as, "dlq retry", dlq->stage, dlq_detail(dlq, session, letters.count), &action_id,
                         &why))
        return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
    retrying.arena = arena_new(SCRATCH_BYTES_MAX);
    retrying.reruns = must_alloc((letters.count + 1) * sizeof(*retrying.reruns));
    retrying.end.waited = !dlq->no_wait;
    bool done = retry_all(&retrying, &letters, action_id, &why) &&
                (dlq->no_wait ||
                 rerun_wait(session, dlq->stage, retrying.reruns, retrying.rerun_count, &retrying.end.outcomes, &why));
    arena_free(retrying.arena);
    if (retrying.taken > 0)
        fprintf(stderr, "%" PRId64 " %s dealt with by somebody else meanwhile\n", retrying.taken,
                plural(retrying.taken, "was", "were"));
    return done ? rerun_tell(session, dlq->argv, action_id, &retrying.end, dlq->json)
                : command_fail(dlq->argv, EXIT_FAILED, "%s; %" PRId64 " of %zu were sent: do it again for the rest",
                               why.text, retrying.end.sent, letters.count);
}

/* --- drop ------------------------------------------------------------------------------------------------------ */

int dlq_drop(const struct dlq *dlq, struct session *session)
{
    struct letters letters;
    const char *action_id;
    struct rows rows;
    struct problem why;
    int64_t dropped = 0;

    int code = dlq_select(dlq, session, "drop", &letters);
    if (code >= 0)
        return code;
    if (dlq->dry_run)
        return would(dlq, &letters, "dropped");
    if (!operator_record(session, dlq->as, "dlq drop", dlq->stage, dlq_detail(dlq, session, letters.count), &action_id,
                         &why))
        return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
    for (size_t i = 0; i < letters.count; i += BATCH_MAX) {
        size_t left = letters.count - i;
        struct columns columns = columns_of(session, &letters.all[i], left < BATCH_MAX ? left : BATCH_MAX);
        if (!session_query(session, &drop_letters,
                           PARAMS(dlq->stage, action_id, columns.ids, columns.keys, columns.event_ids), &rows, &why))
            return command_fail(dlq->argv, EXIT_FAILED, "%s", why.text);
        dropped += rows.count;
    }
    printf(dlq->json ? "{\"dropped\":%" PRId64 "}\n" : "%" PRId64 " dropped\n", dropped);
    return EXIT_FINE;
}
