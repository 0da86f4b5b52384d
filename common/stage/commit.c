/* commit.c: one transaction for a group of events: ledger rows first, then what their handlers described.
 *
 * One connection in pipeline mode, so a group of 64 costs one round trip and one fsync.  When a group fails, the pipeline names the
 * statement and so the culprit: it is taken out, the rest committed again, the culprit handled alone.  A COMMIT whose answer was
 * lost is answered by repeating: the ledger decides, and comes first, so that what another instance handled is refused there. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <assert.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#define PREPARED_MAX 1024               /* statements of one program: a power of two, far more than any has */
#define COLUMN_KEPT_BYTES (1024 * 1024)
#define CONTENTION_PAUSE_MS 5           /* at most so long for each rerun there was */
#define ANSWER_TIMEOUT_MS 40000         /* beyond the server's own statement time-out: a frozen server answers nothing at all */

static const struct statement begin_group = { "runtime_begin", "BEGIN", 0, 0 };
static const struct statement commit_group = { "runtime_commit", "COMMIT", 0, 0 };
/* The runtime's own rows of a whole group: one statement each, a column an array. */
static const struct statement insert_ledger = {
    .name = "runtime_insert_ledger",
    .text = "INSERT INTO ledger (stage, event_id, run, day, event_type, topic, partition, \"offset\", subject, tenant, cause_id,"
            " correlation_id, outcome, why, attempts, received_at, started_at, worked_us, emitted)"
            " SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::date[], $5::text[], $6::text[], $7::integer[], $8::bigint[],"
            " $9::text[], $10::text[], $11::uuid[], $12::text[], $13::text[], $14::text[], $15::integer[], $16::timestamptz[],"
            " $17::timestamptz[], $18::bigint[], $19::integer[])",
    .params = 19,
};
static const struct statement insert_emitted = {
    .name = "runtime_insert_emitted",
    .text = "INSERT INTO emitted (stage, cause_id, run, day, number, tenant, topic, key, payload)"
            " SELECT $1, * FROM unnest($2::uuid[], $3::integer[], $4::date[], $5::integer[], $6::text[], $7::text[], $8::text[],"
            " $9::text[])",
    .params = 9,
};
static const struct statement save_asks = {
    .name = "runtime_save_asks",
    .text = "INSERT INTO asks (stage, ask_id, event_id, run, name, provider, tenant, correlation_id, attempt, answer, provider_id, model,"
            " tokens_in, tokens_out, cost_micros, took_us, kind, state)"
            " SELECT $1, a.*, 'again', 'answered' FROM unnest($2::uuid[], $3::uuid[], $4::integer[], $5::text[], $6::text[], $7::text[],"
            " $8::text[], $9::integer[], $10::text[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],"
            " $16::bigint[]) AS a"
            " ON CONFLICT (ask_id) DO UPDATE SET state = 'answered', attempt = EXCLUDED.attempt, answer = EXCLUDED.answer,"
            " provider_id = EXCLUDED.provider_id, model = EXCLUDED.model, tokens_in = EXCLUDED.tokens_in,"
            " tokens_out = EXCLUDED.tokens_out, cost_micros = EXCLUDED.cost_micros, took_us = EXCLUDED.took_us, updated_at = now()",
    .params = 16,
};
#define BATCH_COLUMNS_MAX 18
static const struct statement update_ledger = {
    .name = "runtime_update_ledger",
    .text = "UPDATE ledger SET topic = $5, partition = $6::integer, \"offset\" = $7::bigint, outcome = $8, why = $9,"
            " attempts = $10::integer, worked_us = worked_us + $11::bigint, emitted = $12::integer, committed_at = now()"
            " WHERE stage = $1 AND event_id = $2::uuid AND run = $3::integer AND day = $4::date AND outcome = 'parked'",
    .params = 12,
    .must = 1,
};
/* Times by Postgres' clock, which is one for all instances: theirs may jump.  What it waited for others is no part of its age. */
static const struct statement insert_parked = {
    .name = "runtime_insert_parked",
    .text = "INSERT INTO parked (stage, subject, event_id, run, topic, day, message, tenant, why, attempts, first_at, resume_at)"
            " SELECT $1, $2, $3::uuid, $4::integer, $5, $6::date, $7, $8, $9, $10::integer, now() - $11::bigint * interval '1 us',"
            /* those behind another are resumed when that one is done */
            " CASE WHEN EXISTS (SELECT 1 FROM parked WHERE stage = $1 AND subject = $2) THEN 'infinity' ELSE now() + $12::bigint * interval '1 us' END",
    .params = 12,
};
static const struct statement park_again = {
    .name = "runtime_park_again",
    .text = "UPDATE parked SET why = $4, attempts = $5::integer, first_at = now() - $6::bigint * interval '1 us',"
            " resume_at = now() + $7::bigint * interval '1 us' WHERE stage = $1 AND event_id = $2::uuid AND run = $3::integer",
    .params = 7,
    .must = 1,
};
static const struct statement unpark = {
    .name = "runtime_unpark",
    .text = "WITH gone AS (DELETE FROM parked WHERE stage = $1 AND event_id = $2::uuid AND run = $3::integer RETURNING subject, number)"
            " UPDATE parked SET resume_at = now() FROM gone, LATERAL (SELECT number FROM parked WHERE stage = $1"
            " AND subject = gone.subject AND number > gone.number ORDER BY number LIMIT 1) AS next"
            " WHERE parked.stage = $1 AND parked.subject = gone.subject AND parked.number = next.number",
    .params = 3,
};
static const char *const verdict_names[] = {
    [VERDICT_DONE] = "done", [VERDICT_SKIPPED] = "skipped", [VERDICT_REJECTED] = "rejected", [VERDICT_PARKED] = "parked" };

/* One statement of the group's pipeline, and whose it is. */
#define OF_GROUP (-1)
struct step {
    const struct statement *statement;
    const char *const *values;
    int owner;                          /* index into works, or OF_GROUP */
};

/* Rows for one of the statements above: each column is the text of an array. */
struct batch {
    const struct statement *statement;
    struct buf columns[BATCH_COLUMNS_MAX];
    int rows;
};

struct committer {
    PGconn *connection;
    const struct statement *prepared[PREPARED_MAX];
    struct work *works[COMMIT_GROUP_MAX];
    int count;
    struct step *steps;
    int step_count, step_room;
    struct arena *arena;                /* of one attempt */
    struct batch ledger, emitted, asks;
    struct buf scratch;
};

/* How an attempt to commit ended. */
struct commit_failure {
    enum pg_error error;
    int owner;                          /* whose statement failed */
    bool contended;                     /* a race for a row was lost: with some patience it will be won */
    const struct statement *statement;
    char constraint[64];
    struct problem why;
};

void commit_push(struct work *work, enum verdict verdict)
{
    work->state = WORK_COMMITTING;
    work->verdict = verdict;
    runtime.committing++;
    list_push(&runtime.commit, work);
    if (runtime.commit.count == 1)
        pthread_cond_signal(&runtime.commit_ready);
}

static void step_add(struct committer *committer, int owner, const struct statement *statement, const char *const *values)
{
    if (committer->step_count == committer->step_room) {
        committer->step_room = committer->step_room ? committer->step_room * 2 : 256;
        committer->steps = must_realloc(committer->steps, (size_t)committer->step_room * sizeof(*committer->steps));
    }
    committer->steps[committer->step_count++] = (struct step){ statement, values, owner };
}

static const char *number(struct committer *committer, int64_t value)
{
    return arena_printf(committer->arena, "%lld", (long long)value);
}

static const char *moment(struct committer *committer, int64_t us)
{
    return time_print(us, arena_alloc(committer->arena, TIME_BYTES));
}

static const char *const *values_of(struct committer *committer, struct params params)
{
    const char **values = arena_alloc(committer->arena, (size_t)(params.count + 1) * sizeof(*values));
    memcpy(values, params.values, (size_t)params.count * sizeof(*values));
    return values;
}
#define STEP(committer, owner, of_statement, ...) \
    step_add((committer), (owner), &(of_statement), values_of((committer), PARAMS(__VA_ARGS__)))

static const char *why_of(const struct work *work)
{
    return work->verdict == VERDICT_DONE || !text_is_utf8(text_of(work->why.text)) ? NULL : work->why.text;
}

/* The day of the record, from its Kafka timestamp: the same at every redelivery. */
static const char *day_of(struct committer *committer, const struct work *work)
{
    char time[TIME_BYTES];
    time_print(work->kafka_us, time);
    return arena_printf(committer->arena, "%.10s", time);
}

/* --- batches ---------------------------------------------------------------------------------------------------------- */

static void batch_init(struct batch *batch, const struct statement *statement)
{
    assert(statement->params - 1 <= BATCH_COLUMNS_MAX);
    batch->statement = statement;
    for (int i = 0; i < statement->params - 1; i++)
        buf_init(&batch->columns[i], STAGE_ARENA_BYTES_MAX);
}

static void batch_done(struct batch *batch)
{
    for (int i = 0; i < batch->statement->params - 1; i++)
        buf_done(&batch->columns[i]);
}

/* Keeps the room of usual groups; what one large event took is given back. */
static void batch_begin(struct batch *batch)
{
    batch->rows = 0;
    for (int i = 0; i < batch->statement->params - 1; i++) {
        if (batch->columns[i].room > COLUMN_KEPT_BYTES)
            buf_done(&batch->columns[i]);
        pg_array_begin(&batch->columns[i]);
    }
}

static void batch_add(struct batch *batch, struct params row)
{
    assert(row.count == batch->statement->params - 1);
    for (int i = 0; i < row.count; i++)
        pg_array_add(&batch->columns[i], row.values[i]);
    batch->rows++;
}

static void batch_step(struct committer *committer, struct batch *batch)
{
    if (batch->rows == 0)
        return;
    const char **values = arena_alloc(committer->arena, (size_t)batch->statement->params * sizeof(*values));
    values[0] = runtime.stage->name;
    for (int i = 0; i < batch->statement->params - 1; i++) {
        pg_array_end(&batch->columns[i]);
        assert(!batch->columns[i].overflowed);
        values[i + 1] = batch->columns[i].at;
    }
    step_add(committer, OF_GROUP, batch->statement, values);
}

static void add_ledger_row(struct committer *committer, const struct work *work)
{
    const struct event *event = &work->event;
    /* whoever was erased is not named again */
    const char *subject = work->erased ? "erased" : work_subject(work);
    const char *correlation = event->correlation_id && !work->erased ? event->correlation_id : subject;
    batch_add(&committer->ledger, PARAMS(event->id, number(committer, event->run), day_of(committer, work), event->type,
        work->partition->topic, number(committer, work->partition->number), number(committer, work->offset), subject, work->tenant,
        event->causation_id, correlation, verdict_names[work->verdict], why_of(work), number(committer, work->attempts),
        moment(committer, work->kafka_us), moment(committer, now_us() - (monotonic_us() - work->consumed_us)),
        number(committer, work->worked_us), number(committer, event_count(work))));
}

static void add_emitted_rows(struct committer *committer, const struct work *work)
{
    int position = 0;
    for (const struct event_effect *event = work->events; event; event = event->next)
        batch_add(&committer->emitted, PARAMS(work->event.id, number(committer, work->event.run), day_of(committer, work),
            number(committer, position++), work->tenant, event->topic, event->key, event->payload.at));
}

/* The answers of this run's ASK_AGAIN; those of ASK_ONCE were written when they came. */
static void add_ask_rows(struct committer *committer, const struct work *work)
{
    for (const struct kept_answer *kept = work->answers; kept; kept = kept->next) {
        const struct answer *answer = &kept->answer;
        if (kept->kind == ASK_AGAIN && !kept->saved && work->verdict != VERDICT_PARKED)
            batch_add(&committer->asks, PARAMS(kept->ask_id, work->event.id, number(committer, work->event.run), kept->name,
                kept->provider, work->tenant, work->event.correlation_id, number(committer, work->attempts), kept->unrecorded ? NULL : answer->body.at,
                answer->provider_id, answer->model, number(committer, answer->tokens_in), number(committer, answer->tokens_out),
                number(committer, answer->cost_micros), number(committer, kept->took_us)));
    }
}

/* --- steps ------------------------------------------------------------------------------------------------------------- */

/* Of a parked event that was tried again: how it ended, or that it goes on waiting. */
static void add_ledger_update(struct committer *committer, int owner)
{
    const struct work *work = committer->works[owner];
    STEP(committer, owner, update_ledger, runtime.stage->name, work->event.id, number(committer, work->event.run), work->ledger_day,
         work->partition->topic, number(committer, work->partition->number), number(committer, work->offset),
         verdict_names[work->verdict], why_of(work), number(committer, work->attempts), number(committer, work->worked_us),
         number(committer, event_count(work)));
}

static void add_resumed_step(struct committer *committer, int owner)
{
    const struct work *work = committer->works[owner];
    const char *stage = runtime.stage->name, *id = work->event.id, *run = number(committer, work->event.run);
    int64_t now = monotonic_us();
    if (work->verdict == VERDICT_PARKED)
        STEP(committer, owner, park_again, stage, id, run, why_of(work), number(committer, work->attempts),
             number(committer, now - work->first_us), number(committer, work->due_us - now));
    else
        STEP(committer, owner, unpark, stage, id, run);
}

static void add_parked_step(struct committer *committer, int owner)
{
    const struct work *work = committer->works[owner];
    int64_t now = monotonic_us();
    STEP(committer, owner, insert_parked, runtime.stage->name, work_subject(work), work->event.id,
         number(committer, work->event.run), work->partition->topic, day_of(committer, work), work->message.at, work->tenant,
         why_of(work), number(committer, work->attempts), number(committer, now - work->first_us),
         number(committer, work->due_us ? work->due_us - now : 0));
}

static void add_steps(struct committer *committer)
{
    arena_reset(committer->arena);
    committer->step_count = 0;
    batch_begin(&committer->ledger);
    batch_begin(&committer->emitted);
    batch_begin(&committer->asks);
    STEP(committer, OF_GROUP, begin_group);
    STEP(committer, OF_GROUP, pg_set_transaction, runtime.role);
    for (int i = 0; i < committer->count; i++) {
        const struct work *work = committer->works[i];
        if (work->resumed)
            add_ledger_update(committer, i);
        else
            add_ledger_row(committer, work);
        add_emitted_rows(committer, work);
        add_ask_rows(committer, work);
    }
    batch_step(committer, &committer->ledger);
    batch_step(committer, &committer->emitted);
    batch_step(committer, &committer->asks);
    for (int i = 0; i < committer->count; i++) {
        const struct work *work = committer->works[i];
        if (work->resumed)
            add_resumed_step(committer, i);
        else if (work->verdict == VERDICT_PARKED)
            add_parked_step(committer, i);
        for (const struct row_effect *row = work->rows; row; row = row->next)
            step_add(committer, i, row->statement, row->values);
    }
    STEP(committer, OF_GROUP, commit_group);
}

/* --- the connection -------------------------------------------------------------------------------------------------- */

static bool is_prepared(struct committer *committer, const struct statement *statement, bool note)
{
    size_t at = (uintptr_t)statement / sizeof(*statement) % PREPARED_MAX;
    while (committer->prepared[at] && committer->prepared[at] != statement)
        at = (at + 1) % PREPARED_MAX;
    bool found = committer->prepared[at] == statement;
    if (note)
        committer->prepared[at] = statement;
    return found;
}

static bool is_contention(const char *sqlstate)
{
    static const char *const states[] = { "SB001", "40001", "40P01", "55P03" };
    for (size_t i = 0; i < LENGTH(states); i++)
        if (strcmp(sqlstate, states[i]) == 0)
            return true;
    return false;
}

static void commit_fail(struct commit_failure *failure, const struct step *step, const PGresult *result, PGconn *connection)
{
    const char *sqlstate = result ? PQresultErrorField(result, PG_DIAG_SQLSTATE) : NULL;
    const char *constraint = result ? PQresultErrorField(result, PG_DIAG_CONSTRAINT_NAME) : NULL;
    const char *message = result ? PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    failure->error = pg_error_of(sqlstate);
    failure->contended = failure->error == PG_CONFLICT && is_contention(sqlstate);
    failure->owner = step ? step->owner : OF_GROUP;
    failure->statement = step ? step->statement : NULL;
    snprintf(failure->constraint, sizeof(failure->constraint), "%s", constraint ? constraint : "");
    fail(&failure->why, "could not commit (\"%s\"): %s", step ? step->statement->name : "connection",
         message ? message : PQerrorMessage(connection));
}

static void disconnect(struct committer *committer)
{
    PQfinish(committer->connection);
    committer->connection = NULL;
    memset(committer->prepared, 0, sizeof(committer->prepared));
}

static bool connect_committer(struct committer *committer, struct commit_failure *failure)
{
    struct pg_pool_settings settings = {
        .url = daemon_settings()->database_url, .role = runtime.role, .application_name = runtime.stage->name };
    is_prepared(committer, &pg_set_transaction, true);      /* it comes with the connection */
    committer->connection = pg_connect(&settings, &failure->why);
    if (committer->connection && PQenterPipelineMode(committer->connection))
        return true;
    failure->error = PG_AWAY;
    failure->owner = OF_GROUP;
    if (committer->connection)
        disconnect(committer);
    return false;
}

/* Sends what `send` sends for each step, then reads one result for each; true when none failed. */
static bool run_steps(struct committer *committer, const struct step *steps, int count,
                      int (*send)(struct committer *committer, const struct step *step), struct commit_failure *failure)
{
    for (int i = 0; i < count; i++)
        if (!send(committer, &steps[i])) {
            commit_fail(failure, NULL, NULL, committer->connection);
            return false;
        }
    if (!PQpipelineSync(committer->connection)) {
        commit_fail(failure, NULL, NULL, committer->connection);
        return false;
    }
    bool fine = true;
    for (int i = 0; i < count; i++) {
        if (!pg_wait(committer->connection, ANSWER_TIMEOUT_MS)) {
            commit_fail(failure, NULL, NULL, committer->connection);
            disconnect(committer);
            return false;
        }
        PGresult *result = PQgetResult(committer->connection);
        ExecStatusType status = PQresultStatus(result);
        if (fine && status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) {
            commit_fail(failure, &steps[i], result, committer->connection);
            fine = false;
        }
        PQclear(result);
        if (!result)
            return false;                               /* the connection is gone */
        while ((result = PQgetResult(committer->connection)))   /* the NULL after each */
            PQclear(result);
    }
    PGresult *sync = PQgetResult(committer->connection);
    bool synced = PQresultStatus(sync) == PGRES_PIPELINE_SYNC;
    if (fine && !synced)
        commit_fail(failure, NULL, NULL, committer->connection);
    PQclear(sync);
    return fine && synced;
}

static int send_prepare(struct committer *committer, const struct step *step)
{
    return PQsendPrepare(committer->connection, step->statement->name, statement_text(step->statement, &committer->scratch), 0, NULL);
}

static int send_execute(struct committer *committer, const struct step *step)
{
    return PQsendQueryPrepared(committer->connection, step->statement->name, step->statement->params, step->values, NULL, NULL, 0);
}

static bool prepare_steps(struct committer *committer, struct commit_failure *failure)
{
    struct step *unprepared = arena_alloc(committer->arena, (size_t)committer->step_count * sizeof(*unprepared));
    int count = 0;
    for (int i = 0; i < committer->step_count; i++)
        if (!is_prepared(committer, committer->steps[i].statement, true))
            unprepared[count++] = committer->steps[i];
    if (count == 0 || run_steps(committer, unprepared, count, send_prepare, failure))
        return true;
    if (committer->connection)
        disconnect(committer);  /* what was prepared is not known: a new connection starts afresh */
    return false;
}

/* After a failed group the transaction is still open, and aborted. */
static void roll_back(struct committer *committer)
{
    static const struct statement roll_back_group = { "runtime_rollback", "ROLLBACK", 0, 0 };
    if (!committer->connection)
        return;
    if (PQstatus(committer->connection) != CONNECTION_OK) {
        disconnect(committer);
        return;
    }
    if (PQtransactionStatus(committer->connection) == PQTRANS_IDLE)
        return;
    struct commit_failure ignored;
    struct step step = { &roll_back_group, NULL, OF_GROUP };
    bool prepared = is_prepared(committer, &roll_back_group, true) || run_steps(committer, &step, 1, send_prepare, &ignored);
    if ((!prepared || !run_steps(committer, &step, 1, send_execute, &ignored)) && committer->connection)
        disconnect(committer);
}

static bool commit_works(struct committer *committer, struct commit_failure *failure)
{
    *failure = (struct commit_failure){ .owner = OF_GROUP };
    if (!committer->connection && !connect_committer(committer, failure))
        return false;
    add_steps(committer);
    if (!prepare_steps(committer, failure))
        return false;
    FAULT_POINT("commit.before");
    int64_t began = monotonic_us();
    if (!run_steps(committer, committer->steps, committer->step_count, send_execute, failure)) {
        roll_back(committer);
        return false;
    }
    if (FAULT_ERROR("commit.unknown")) {       /* as when the connection breaks under the answer to COMMIT */
        disconnect(committer);
        failure->error = PG_AWAY;
        return fail(&failure->why, "the answer to COMMIT was lost");
    }
    FAULT_POINT("commit.after");
    metric_time(&metric_commit_time, monotonic_us() - began);
    metric_add(&metric_commit_events, committer->count);
    return true;
}

/* --- what becomes of the works ------------------------------------------------------------------------------------------ */

static void committed(struct committer *committer)
{
    for (int i = 0; i < committer->count; i++) {
        struct work *work = committer->works[i];
        metric_add(&metric_events, 1, work->event.type, verdict_names[work->verdict]);
        if (work->verdict == VERDICT_REJECTED)
            log_warning("event rejected", LOG_TEXT("event_id", work->event.id), LOG_TEXT("type", work->event.type),
                        LOG_TEXT("subject", work_subject(work)), LOG_INT("attempts", work->attempts), LOG_TEXT("why", work->why.text));
        else if (work->verdict == VERDICT_PARKED)
            log_warning("event parked", LOG_TEXT("event_id", work->event.id), LOG_TEXT("type", work->event.type),
                        LOG_TEXT("subject", work_subject(work)), LOG_TEXT("why", work->why.text));
    }
    produce_works(committer->works, committer->count);
}

static void commit_again(struct work *work, enum verdict verdict)
{
    pthread_mutex_lock(&runtime.lock);
    committing_ended();
    commit_push(work, verdict);
    pthread_mutex_unlock(&runtime.lock);
}

static void reject_work(struct work *work, const struct problem *why)
{
    work->why = *why;
    work->keeps_rows = false;
    emit_rejection(work);
    commit_again(work, VERDICT_REJECTED);
}

static void rerun(struct work *work, const struct commit_failure *failure)
{
    metric_add(&metric_conflicts, 1, work->event.type);
    pthread_mutex_lock(&runtime.lock);
    committing_ended();
    work->conflict = true;
    work->reruns++;
    snprintf(work->constraint, sizeof(work->constraint), "%s", failure->constraint);
    int64_t pause_ms = failure->contended && work->reruns > STAGE_RERUNS_MAX
                           ? 1 + (int64_t)randombytes_uniform((uint32_t)(work->reruns * CONTENTION_PAUSE_MS)) : 0;
    if (pause_ms > 0)
        wait_until(work, monotonic_us() + pause_ms * 1000);
    else
        make_ready(work);
    pthread_mutex_unlock(&runtime.lock);
}

/* Another instance handled it: drop these effects and ask the ledger. */
static void look_up_again(struct work *work)
{
    pthread_mutex_lock(&runtime.lock);
    committing_ended();
    work->state = WORK_LOOKUP;
    list_push(&runtime.lookup, work);
    pthread_cond_signal(&runtime.lookup_ready);
    pthread_mutex_unlock(&runtime.lock);
}

static void pause_and_retry(struct work *work, const struct commit_failure *failure)
{
    log_error("could not commit even the rejection of an event; it is tried again", LOG_TEXT("event_id", work->event.id),
              LOG_TEXT("why", failure->why.text));
    pthread_mutex_lock(&runtime.lock);
    committing_ended();
    wait_until(work, monotonic_us() + RETRY_MS_MAX * 1000);
    pthread_mutex_unlock(&runtime.lock);
}

/* A work that was committed alone and failed for a reason of its own. */
static void settle_failure(struct work *work, const struct commit_failure *failure)
{
    int reruns_max = failure->contended ? STAGE_CONTENTION_RERUNS_MAX : STAGE_RERUNS_MAX;
    bool of_ledger = failure->statement == &insert_ledger || failure->statement == &update_ledger;
    if (failure->error == PG_CONFLICT && of_ledger)
        look_up_again(work);
    else if (failure->contended && work->verdict == VERDICT_PARKED && work->reruns++ < reruns_max)
        commit_again(work, VERDICT_PARKED);     /* its table was locked: that says nothing about the event */
    else if (work->verdict == VERDICT_REJECTED && !work->keeps_rows)
        pause_and_retry(work, failure);
    else if (failure->error == PG_CONFLICT && work->reruns < reruns_max && work->verdict != VERDICT_PARKED)
        rerun(work, failure);
    else
        reject_work(work, &failure->why);
}

static bool is_finished(void)
{
    pthread_mutex_lock(&runtime.lock);
    bool finished = runtime.finished;
    pthread_mutex_unlock(&runtime.lock);
    return finished;
}

static void commit_surely(struct committer *committer);

/* Commits each of the group's works in a transaction of its own. */
static void commit_each(struct committer *committer)
{
    struct work *works[COMMIT_GROUP_MAX];
    int count = committer->count;
    memcpy(works, committer->works, sizeof(works));
    for (int i = 0; i < count; i++) {
        committer->works[0] = works[i];
        committer->count = 1;
        commit_surely(committer);
    }
}

/* Commits the group, however long Postgres is away; only the end of the process leaves it undone. */
static void commit_surely(struct committer *committer)
{
    struct commit_failure failure;
    while (committer->count > 0 && !is_finished()) {
        bool done = commit_works(committer, &failure);
        if (!done && failure.error == PG_AWAY) {
            postgres_is_away(&failure.why);
            continue;
        }
        postgres_is_back();
        if (done) {
            committed(committer);
            return;
        }
        if (committer->count == 1) {
            settle_failure(committer->works[0], &failure);
            return;
        } else if (failure.owner == OF_GROUP) {
            commit_each(committer);     /* one ledger row of many: which one is not told */
            return;
        } else {
            struct work *culprit = committer->works[failure.owner];
            committer->works[failure.owner] = committer->works[--committer->count];
            commit_surely(committer);
            committer->works[0] = culprit;
            committer->count = 1;
        }
    }
}

static size_t work_bytes(const struct work *work, int *statements)
{
    size_t bytes = work->message.bytes;
    for (const struct row_effect *row = work->rows; row; row = row->next) {
        (*statements)++;
        for (int i = 0; i < row->statement->params; i++)
            bytes += row->values[i] ? strlen(row->values[i]) : 0;
    }
    for (const struct event_effect *event = work->events; event; event = event->next)
        bytes += event->payload.bytes;
    for (const struct kept_answer *kept = work->answers; kept; kept = kept->next)
        bytes += kept->answer.body.bytes;
    return bytes;
}

/* Lock held: takes a group that keeps to the limits. */
static void take_group(struct committer *committer)
{
    size_t bytes = 0;
    int statements = 0;
    committer->count = 0;
    while (runtime.commit.first && committer->count < COMMIT_GROUP_MAX) {
        bytes += work_bytes(runtime.commit.first, &statements);
        if (committer->count > 0 && (bytes > COMMIT_BYTES_MAX || statements > COMMIT_STATEMENTS_MAX))
            break;
        committer->works[committer->count++] = list_pop(&runtime.commit);
    }
}

/* Groups of several instances touch shared rows in the same order, so deadlocks are rare. */
static int by_key(const void *a, const void *b)
{
    const struct work *left = *(struct work *const *)a, *right = *(struct work *const *)b;
    return strcmp(work_subject(left), work_subject(right));
}

void *commit_main(void *unused)
{
    struct committer *committer = must_alloc(sizeof(*committer));
    committer->arena = arena_new(STAGE_ARENA_BYTES_MAX * 2);
    batch_init(&committer->ledger, &insert_ledger);
    batch_init(&committer->emitted, &insert_emitted);
    batch_init(&committer->asks, &save_asks);
    buf_init(&committer->scratch, 64 * 1024);
    pthread_mutex_lock(&runtime.lock);
    while (!runtime.finished) {
        take_group(committer);
        if (committer->count == 0) {
            pthread_cond_wait(&runtime.commit_ready, &runtime.lock);
            continue;
        }
        pthread_mutex_unlock(&runtime.lock);
        qsort(committer->works, (size_t)committer->count, sizeof(committer->works[0]), by_key);
        commit_surely(committer);
        pthread_mutex_lock(&runtime.lock);
    }
    pthread_mutex_unlock(&runtime.lock);
    if (committer->connection)
        PQfinish(committer->connection);
    batch_done(&committer->ledger);
    batch_done(&committer->emitted);
    batch_done(&committer->asks);
    buf_done(&committer->scratch);
    arena_free(committer->arena);
    free(committer->steps);
    free(committer);
    return unused;
}
