/* sweep.c: what happens because time went by: parked events are resumed, due rows become events, days get their partitions, and this
 * instance says what it is doing.
 *
 * Every instance sweeps; an advisory try-lock per kind keeps two from doing it at the same moment, and ids that hold the row and its
 * time make it harmless when they do. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <string.h>

#define PARKED_EVERY_MS 1000
#define UPKEEP_EVERY_MS 60000
#define SWEEPS_MAX 16

static const struct statement resume_parked = {
    .name = "runtime_resume_parked",
    .text = "WITH locked AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtext('switchboard parked ' || $1)) AS got),"
            " due AS (SELECT subject, number FROM parked WHERE stage = $1 AND resume_at <= now() AND (SELECT got FROM locked)"
            "         AND NOT EXISTS (SELECT 1 FROM pauses WHERE kind = 'tenant' AND name = parked.tenant)"
            "         ORDER BY resume_at LIMIT 500)"
            " UPDATE parked SET resume_at = now() + $2::interval FROM due"
            " WHERE parked.stage = $1 AND parked.subject = due.subject AND parked.number = due.number"
            " RETURNING parked.subject, parked.message",
    .params = 2,
};
/* A head that waits for ever (its predecessor left while it was being parked by another instance). */
static const struct statement mend_parked = {
    .name = "runtime_mend_parked",
    .text = "UPDATE parked SET resume_at = now() WHERE stage = $1 AND resume_at = 'infinity' AND NOT EXISTS"
            " (SELECT 1 FROM parked earlier WHERE earlier.stage = parked.stage AND earlier.subject = parked.subject"
            "  AND earlier.number < parked.number)",
    .params = 1,
};
static const struct statement make_partitions = {
    .name = "runtime_make_partitions",
    .text = "SELECT runtime_partitions($1::integer, 2)",
    .params = 1,
};

/* A stage's sweep, its statement wrapped so that only one instance finds rows at a time. */
struct running_sweep {
    const struct sweep *sweep;
    struct statement statement;
    int64_t next_us;
};

static void sweep_failed(const char *name, const struct problem *why)
{
    log_warning("a sweep could not look", LOG_TEXT("sweep", name), LOG_TEXT("why", why->text));
}

static void resume(struct arena *arena)
{
    struct rows rows;
    struct problem why;
    char lease[32];
    snprintf(lease, sizeof(lease), "%d ms", PARKED_LEASE_MS);
    if (pg_query(runtime.pool, &resume_parked, PARAMS(runtime.stage->name, lease), arena, &rows, &why) != PG_FINE) {
        sweep_failed("parked", &why);
        return;
    }
    FAULT_POINT("resume.before");
    for (int i = 0; i < rows.count; i++)
        if (!produce_payload(runtime.replay_topic, row_get(&rows, i, "subject"), text_of(row_get(&rows, i, "message")), &why))
            sweep_failed("parked", &why);
    if (rows.count > 0)
        log_info("parked events resumed", LOG_INT("count", rows.count));
}

static void keep_up(struct arena *arena)
{
    struct rows rows;
    struct problem why;
    const char *days = arena_printf(arena, "%lld", (long long)runtime.ledger_days);
    if (pg_query(runtime.pool, &make_partitions, PARAMS(days), arena, &rows, &why) != PG_FINE)
        sweep_failed("partitions", &why);
    if (pg_query(runtime.pool, &mend_parked, PARAMS(runtime.stage->name), arena, &rows, &why) != PG_FINE)
        sweep_failed("parked", &why);
    instances_forget(arena);
}

static void emit_due(const struct sweep *sweep, const struct rows *rows, int row)
{
    char id[UUID_BYTES], source[80], now[TIME_BYTES], traceparent[TRACEPARENT_BYTES];
    snprintf(source, sizeof(source), "/%s", runtime.stage->name);
    struct event event = {
        .id = uuid_of(id, "sweep", runtime.stage->name, sweep->name, row_get(rows, row, "id"), row_get(rows, row, "next_check_at"), NULL),
        .source = source,
        .type = sweep->type->name,
        .subject = row_get(rows, row, "subject"),
        .time = time_print(now_us(), now),
        .tenant = row_get(rows, row, "tenant"),
        .correlation_id = row_get(rows, row, "subject"),
        .traceparent = traceparent_next(NULL, traceparent),
        .data = text_of(row_get(rows, row, "data")),
    };
    struct problem why;
    struct buf line;
    buf_init(&line, EVENT_BYTES_MAX);
    event_write(&line, &event, sweep->type, NULL);
    if (line.overflowed || !sweep->type->check(event.data, &why))
        log_error("a due row makes no valid event", LOG_TEXT("sweep", sweep->name), LOG_TEXT("id", row_get(rows, row, "id")));
    else if (!produce_payload(event_topic(sweep->type, runtime.stage->name)->name, event.subject, buf_text(&line), &why))
        sweep_failed(sweep->name, &why);
    buf_done(&line);
}

static void run_sweep(struct running_sweep *running, struct arena *arena)
{
    const struct sweep *sweep = running->sweep;
    const char *parameter = sweep->parameter ? sweep->parameter(runtime.stage->context) : NULL;
    struct params params = sweep->parameter ? PARAMS(parameter) : PARAMS();
    struct rows rows;
    struct problem why;
    if (pg_query(runtime.pool, &running->statement, params, arena, &rows, &why) != PG_FINE) {
        sweep_failed(sweep->name, &why);
        return;
    }
    for (int i = 0; i < rows.count && i < SWEEP_ROWS_MAX; i++)
        emit_due(sweep, &rows, i);
}

static int sweeps_open(struct running_sweep *sweeps, struct arena *arena)
{
    int count = 0;
    for (const struct sweep *sweep = runtime.stage->sweeps; sweep && sweep->name && count < SWEEPS_MAX; sweep++)
        sweeps[count++] = (struct running_sweep){
            .sweep = sweep,
            .statement = {
                .name = arena_printf(arena, "sweep_%s", sweep->name),
                .text = arena_printf(arena,
                                     "WITH locked AS MATERIALIZED (SELECT pg_try_advisory_xact_lock(hashtext('switchboard sweep %s %s'))"
                                     " AS got) SELECT due.* FROM (%s) AS due WHERE (SELECT got FROM locked)",
                                     runtime.stage->name, sweep->name, sweep->due->text),
                .params = sweep->due->params } };
    return count;
}

/* While the stage takes nothing, whatever it is sent now would only be sent again and again. */
static bool takes_events(void)
{
    struct problem why;
    if (!pauses_read(&why))
        sweep_failed("pauses", &why);
    pthread_mutex_lock(&runtime.lock);
    bool takes = runtime.circuits_stopping == 0;
    pthread_mutex_unlock(&runtime.lock);
    return takes;
}

/* Lock held, before and after.  True when nothing is to be done but to end. */
static bool sweep_wait(int64_t until_us)
{
    struct timespec until = { .tv_sec = until_us / 1000000, .tv_nsec = until_us % 1000000 * 1000 };
    while (!runtime.finished && !runtime.stopping && !runtime.resume_parked
           && pthread_cond_timedwait(&runtime.sweep_now, &runtime.lock, &until) == 0)
        ;
    return runtime.finished || runtime.stopping;
}

void *sweep_main(void *unused)
{
    struct arena *lasting = arena_new(1024 * 1024), *arena = arena_new(STAGE_ARENA_BYTES_MAX);
    struct running_sweep sweeps[SWEEPS_MAX];
    int count = sweeps_open(sweeps, lasting);
    int64_t next_instance = 0, next_parked = 0, next_upkeep = 0;
    bool takes = false;
    pthread_mutex_lock(&runtime.lock);
    while (!sweep_wait(monotonic_us() + PARKED_EVERY_MS * 1000)) {
        bool resume_now = runtime.resume_parked;
        runtime.resume_parked = false;
        pthread_mutex_unlock(&runtime.lock);
        int64_t now = monotonic_us();
        if (now >= next_instance) {         /* first: nothing below holds it up for longer than a statement may take */
            instance_tell(arena);
            next_instance = now + INSTANCE_EVERY_MS * 1000;
        }
        if (now >= next_upkeep) {
            keep_up(arena);
            next_upkeep = now + UPKEEP_EVERY_MS * 1000;
        }
        if (now >= next_parked)
            takes = takes_events();
        if (takes && (resume_now || now >= next_parked))
            resume(arena);
        if (now >= next_parked)
            next_parked = now + PARKED_EVERY_MS * 1000;
        for (int i = 0; takes && i < count; i++)
            if (now >= sweeps[i].next_us) {
                run_sweep(&sweeps[i], arena);
                sweeps[i].next_us = now + sweeps[i].sweep->every_ms * 1000;
            }
        arena_reset(arena);
        pthread_mutex_lock(&runtime.lock);
    }
    pthread_mutex_unlock(&runtime.lock);
    arena_free(lasting);
    arena_free(arena);
    return unused;
}
