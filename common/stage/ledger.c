/* ledger.c: was this event handled before?  Asked for the first event of each key, in batches, on a connection of its own.
 *
 * Not there: run the handler.  There, from the same offset: its events are sent again as they were recorded.  There, from another
 * offset: a duplicate, finished without a trace but a counter.  Its key has parked events: it parks behind them.  Its person was
 * erased: it is passed over. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <stdlib.h>
#include <string.h>

#define RECONNECT_MS 500
#define ANSWER_TIMEOUT_MS 40000         /* beyond the server's own statement time-out: a frozen server answers nothing at all */

static const struct statement find_handled = {
    .name = "runtime_find_handled",
    .text = "SELECT event_id, run, day, topic, partition, \"offset\", outcome FROM ledger"
            " WHERE stage = $1 AND event_id = ANY ($2::uuid[])",
    .params = 2,
};
/* Those of the events that are parked, and the keys that have any: of a key with thousands one row is read. */
static const struct statement find_parked = {
    .name = "runtime_find_parked",
    .text = "SELECT subject, event_id, run, attempts, greatest(0, extract(epoch FROM now() - first_at) * 1000000)::bigint FROM parked"
            " WHERE stage = $1 AND event_id = ANY ($2::uuid[])"
            " UNION ALL SELECT DISTINCT key, NULL::uuid, NULL::integer, NULL::integer, NULL::bigint FROM unnest($3::text[]) AS key"
            " WHERE EXISTS (SELECT 1 FROM parked WHERE stage = $1 AND subject = key)",
    .params = 3,
};
static const struct statement find_crashes = {
    .name = "runtime_find_crashes",
    .text = "SELECT event_id, run FROM crashes WHERE stage = $1 AND event_id = ANY ($2::uuid[]) AND count >= $3::integer",
    .params = 3,
};
static const struct statement find_erased = {
    .name = "runtime_find_erased",
    .text = "SELECT subject, (extract(epoch FROM until) * 1000000)::bigint FROM unnest($1::text[]) AS subject"
            " JOIN erased ON subject_sha256 = sha256(convert_to(subject, 'UTF8'))",
    .params = 1,
};
static const struct statement find_emitted = {
    .name = "runtime_find_emitted",
    .text = "SELECT cause_id, run, topic, key, payload FROM emitted"
            " WHERE stage = $1 AND cause_id = ANY ($2::uuid[]) ORDER BY cause_id, run, number",
    .params = 2,
};

/* A plan made at midnight, while the day's partition is empty, would read it all for the rest of the day. */
static const struct statement plan_by_index = {
    .name = "runtime_plan_by_index",
    .text = "SELECT set_config('enable_seqscan', 'off', true)",
};

struct lookup {
    PGconn *connection;
    struct work *works[LOOKUP_BATCH_MAX];
    int count;
    struct buf ids, subjects;
};

static bool prepare(PGconn *connection, const struct statement *statement, struct problem *why)
{
    PGresult *result = PQprepare(connection, statement->name, statement->text, 0, NULL);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done)
        fail(why, "could not prepare \"%s\": %s", statement->name, PQresultErrorMessage(result));
    PQclear(result);
    return done;
}

static bool connect_ledger(struct lookup *lookup, struct problem *why)
{
    struct pg_pool_settings settings = {
        .url = daemon_settings()->database_url, .role = runtime.role, .application_name = runtime.stage->name };
    lookup->connection = pg_connect(&settings, why);
    if (!lookup->connection)
        return false;
    if (prepare(lookup->connection, &plan_by_index, why) && prepare(lookup->connection, &find_handled, why)
        && prepare(lookup->connection, &find_parked, why) && prepare(lookup->connection, &find_crashes, why)
        && prepare(lookup->connection, &find_erased, why) && prepare(lookup->connection, &find_emitted, why)
        && (PQenterPipelineMode(lookup->connection) || fail(why, "could not set up the ledger's connection")))
        return true;
    PQfinish(lookup->connection);
    lookup->connection = NULL;
    return false;
}

static struct work *work_of(const struct lookup *lookup, const char *event_id, const char *run)
{
    int number = atoi(run);
    for (int i = 0; i < lookup->count; i++)
        if (lookup->works[i]->event.run == number && strcasecmp(lookup->works[i]->event.id, event_id) == 0)
            return lookup->works[i];
    return NULL;
}

/* What the ledger says of a work: kept in fields that only this thread uses until settle(). */
static void note_handled(struct lookup *lookup, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct work *work = work_of(lookup, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (!work)
            continue;           /* another run of it */
        bool same_record = strcmp(PQgetvalue(result, row, 3), work->partition->topic) == 0
                           && atoi(PQgetvalue(result, row, 4)) == work->partition->number
                           && atoll(PQgetvalue(result, row, 5)) == work->offset;
        bool is_parked = strcmp(PQgetvalue(result, row, 6), "parked") == 0;
        if (is_parked && !same_record && work->partition->is_replay) {
            work->resumed = true;
            snprintf(work->ledger_day, sizeof(work->ledger_day), "%s", PQgetvalue(result, row, 2));
        } else {
            work->from_ledger = true;
            if (!same_record)
                metric_add(&metric_duplicates, 1, work->event.type);
            work->skipped = !same_record;       /* a duplicate: nothing is sent again */
        }
    }
}

static void note_parked(struct lookup *lookup, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        if (!PQgetisnull(result, row, 1)) {
            struct work *same = work_of(lookup, PQgetvalue(result, row, 1), PQgetvalue(result, row, 2));
            if (same && same->resumed) {
                same->parked_attempts = atoi(PQgetvalue(result, row, 3));
                same->parked_age_us = atoll(PQgetvalue(result, row, 4));
            }
            continue;
        }
        for (int i = 0; i < lookup->count; i++)
            if (strcmp(work_subject(lookup->works[i]), PQgetvalue(result, row, 0)) == 0)
                lookup->works[i]->key_is_parked = true;
    }
}

static void note_crashes(struct lookup *lookup, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct work *work = work_of(lookup, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (work)
            work->crashed = true;
    }
}

/* An address that was erased may speak again: only what is older is passed over. */
static void note_erased(struct lookup *lookup, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++)
        for (int i = 0; i < lookup->count; i++) {
            struct work *work = lookup->works[i];
            int64_t event_us;
            if (strcmp(work_subject(work), PQgetvalue(result, row, 0)) != 0)
                continue;
            bool is_new = !PQgetisnull(result, row, 1) && !work->unread && time_read(text_of(work->event.time), &event_us)
                          && event_us > atoll(PQgetvalue(result, row, 1));
            work->erased = !is_new;
        }
}

static void note_emitted(struct lookup *lookup, PGresult *result)
{
    for (int row = 0; row < PQntuples(result); row++) {
        struct work *work = work_of(lookup, PQgetvalue(result, row, 0), PQgetvalue(result, row, 1));
        if (work && work->from_ledger && !work->skipped)
            emit_payload(work, NULL, PQgetvalue(result, row, 2), PQgetvalue(result, row, 3),
                         (struct text){ PQgetvalue(result, row, 4), (size_t)PQgetlength(result, row, 4) });
    }
}

/* One of the questions that go out together. */
struct question {
    const struct statement *statement;
    const char *const *params;
    void (*note)(struct lookup *lookup, PGresult *result);      /* NULL: there is nothing to note */
};
#define FIRST_QUESTIONS { &pg_set_transaction, (const char *[]){ runtime.role }, NULL }, { &plan_by_index, NULL, NULL }

static PGresult *next_result(struct lookup *lookup)
{
    return pg_wait(lookup->connection, ANSWER_TIMEOUT_MS) ? PQgetResult(lookup->connection) : NULL;
}

static bool send_questions(struct lookup *lookup, const struct question *questions, int count)
{
    for (int i = 0; i < count; i++)
        if (!PQsendQueryPrepared(lookup->connection, questions[i].statement->name, questions[i].statement->params,
                                 questions[i].params, NULL, NULL, 0))
            return false;
    return PQpipelineSync(lookup->connection);
}

/* Asks them all in one round trip, and notes their answers in this order. */
static bool ask_ledger(struct lookup *lookup, const struct question *questions, int count, struct problem *why)
{
    bool done = send_questions(lookup, questions, count);
    for (int i = 0; i < count && done; i++) {
        PGresult *result = next_result(lookup);
        done = PQresultStatus(result) == PGRES_TUPLES_OK;
        if (done && questions[i].note)
            questions[i].note(lookup, result);
        else if (!done)
            fail(why, "could not look into the ledger (\"%s\"): %s", questions[i].statement->name, PQerrorMessage(lookup->connection));
        PQclear(result);
        if (done && (result = PQgetResult(lookup->connection))) {   /* the NULL after each */
            PQclear(result);
            done = fail(why, "the ledger answered more than it was asked");
        }
    }
    if (done) {
        PGresult *sync = next_result(lookup);
        done = PQresultStatus(sync) == PGRES_PIPELINE_SYNC || fail(why, "the ledger's answer does not end");
        PQclear(sync);
    } else if (why->text[0] == '\0') {
        fail(why, "could not ask the ledger: %s", PQerrorMessage(lookup->connection));
    }
    if (!done) {                /* whatever it was: a new connection knows no more than this one did, and waits for nothing */
        PQfinish(lookup->connection);
        lookup->connection = NULL;
    }
    return done;
}

static bool look_up(struct lookup *lookup, struct problem *why)
{
    pg_array_begin(&lookup->ids);
    pg_array_begin(&lookup->subjects);
    for (int i = 0; i < lookup->count; i++) {
        struct work *work = lookup->works[i];
        work->resumed = work->from_ledger = work->key_is_parked = work->crashed = work->erased = false;
        work_begin_run(work);
        pg_array_add(&lookup->ids, work->event.id);
        pg_array_add(&lookup->subjects, work_subject(work));
    }
    pg_array_end(&lookup->ids);
    pg_array_end(&lookup->subjects);
    const char *stage = runtime.stage->name, *ids = lookup->ids.at;
    char crashes_max[8];
    snprintf(crashes_max, sizeof(crashes_max), "%d", CRASHES_MAX);
    const struct question questions[] = {
        FIRST_QUESTIONS,
        { &find_handled, (const char *[]){ stage, ids }, note_handled },
        { &find_parked, (const char *[]){ stage, ids, lookup->subjects.at }, note_parked },
        { &find_crashes, (const char *[]){ stage, ids, crashes_max }, note_crashes },
        { &find_erased, (const char *[]){ lookup->subjects.at }, note_erased },
    };
    if (!ask_ledger(lookup, questions, LENGTH(questions), why))
        return false;
    bool resend = false;
    for (int i = 0; i < lookup->count; i++)
        resend = resend || (lookup->works[i]->from_ledger && !lookup->works[i]->skipped);
    const struct question resends[] = { FIRST_QUESTIONS, { &find_emitted, (const char *[]){ stage, ids }, note_emitted } };
    return !resend || ask_ledger(lookup, resends, LENGTH(resends), why);
}

/* Lock held. */
static void settle(struct work *work)
{
    if (work->resumed)
        work->attempts = work->parked_attempts;
    if (work->attempts == 0)
        work->first_us = monotonic_us();    /* what it waited for others counts for no limit */
    else if (work->resumed)
        work->first_us = monotonic_us() - work->parked_age_us;
    /* what is no event is rejected now: resumed, it would not be known again, since its id is made of where it stands */
    if (work->key_is_parked && !work->resumed && !work->erased && !work->unread) {
        fail(&work->why, "earlier events of its key are parked");
        commit_push(work, VERDICT_PARKED);
        return;
    }
    make_ready(work);
}

void postgres_is_away(const struct problem *why)
{
    pthread_mutex_lock(&runtime.lock);
    if (runtime.postgres_away_us == 0) {
        runtime.postgres_away_us = monotonic_us();
        log_error("postgres is away; events wait", LOG_TEXT("why", why->text));
    }
    pthread_mutex_unlock(&runtime.lock);
    struct timespec pause = { .tv_nsec = RECONNECT_MS * 1000000L };
    nanosleep(&pause, NULL);
}

void postgres_is_back(void)
{
    pthread_mutex_lock(&runtime.lock);
    if (runtime.postgres_away_us != 0) {
        log_info("postgres is back", LOG_INT("away_ms", (monotonic_us() - runtime.postgres_away_us) / 1000));
        runtime.postgres_away_us = 0;
        pthread_cond_signal(&runtime.arrived);
    }
    pthread_mutex_unlock(&runtime.lock);
}

static bool runtime_is_over(void)
{
    pthread_mutex_lock(&runtime.lock);
    bool over = runtime.finished || runtime.stopping;
    pthread_mutex_unlock(&runtime.lock);
    return over;
}

/* Looks the batch up, however long Postgres is away; false when the stage stops meanwhile. */
static bool look_up_surely(struct lookup *lookup)
{
    while (!runtime_is_over()) {
        struct problem why = { .text = "" };
        if ((lookup->connection || connect_ledger(lookup, &why)) && look_up(lookup, &why)) {
            postgres_is_back();
            FAULT_POINT("lookup.after");
            return true;
        }
        postgres_is_away(&why);
    }
    return false;
}

void *ledger_main(void *unused)
{
    struct lookup lookup = { 0 };
    buf_init(&lookup.ids, LOOKUP_BATCH_MAX * (UUID_BYTES + 4));
    buf_init(&lookup.subjects, LOOKUP_BATCH_MAX * (EVENT_KEY_BYTES_MAX * 2 + 4));
    pthread_mutex_lock(&runtime.lock);
    while (!runtime.finished) {
        lookup.count = 0;
        while (lookup.count < LOOKUP_BATCH_MAX && !runtime.stopping && (lookup.works[lookup.count] = list_pop(&runtime.lookup)))
            lookup.count++;
        if (lookup.count == 0) {
            pthread_cond_wait(&runtime.lookup_ready, &runtime.lock);
            continue;
        }
        pthread_mutex_unlock(&runtime.lock);
        bool done = look_up_surely(&lookup);
        struct work *again[LOOKUP_BATCH_MAX];
        int again_count = 0;
        pthread_mutex_lock(&runtime.lock);
        for (int i = 0; done && i < lookup.count; i++)
            if (lookup.works[i]->from_ledger)
                again[again_count++] = lookup.works[i];
            else
                settle(lookup.works[i]);
        pthread_mutex_unlock(&runtime.lock);
        produce_works(again, again_count);
        pthread_mutex_lock(&runtime.lock);
    }
    pthread_mutex_unlock(&runtime.lock);
    if (lookup.connection)
        PQfinish(lookup.connection);
    buf_done(&lookup.ids);
    buf_done(&lookup.subjects);
    return unused;
}
