/* instance.c: what this instance is doing, told in the table `instances` for the operators' command.
 *
 * The sweeper's thread tells it every INSTANCE_EVERY_MS.  Under the lock it only reads: counters, circuits, and for each key the work
 * being handled, of which the oldest are copied.  The column `state` then holds
 *
 *     counts          works by state, and `workers`
 *     circuits        those that are open: of which provider, stage or tenant; since, why, waiting, next_probe_at, `paused` by an operator
 *     works           the oldest of those that are here for longer than INSTANCE_OLD_MS, at most INSTANCE_WORKS_MAX: key, event_id, type,
 *                     run, topic, state, since, running_since, attempt, give_up_at, due_at, provider, why, and how many wait `behind`
 *     works_left_out  how many more of them there are
 *
 * and what the stage's own `report` adds. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include "common/json.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define INSTANCE_OLD_MS 1000
#define INSTANCE_WORKS_MAX 200
#define STATE_BYTES_MAX (2 * 1024 * 1024)
#define HOST_BYTES_MAX 256

static const struct statement tell_instance = {
    .name = "runtime_tell_instance",
    .text = "INSERT INTO instances (stage, instance, started_at, version, pid, host, state)"
            " VALUES ($1, $2, $3::timestamptz, $4, $5::integer, $6, $7::jsonb)"
            " ON CONFLICT (stage, instance) DO UPDATE SET started_at = EXCLUDED.started_at, seen_at = now(), version = EXCLUDED.version,"
            " pid = EXCLUDED.pid, host = EXCLUDED.host, state = EXCLUDED.state",
    .params = 7,
};
/* Only if it is still ours: another process may have taken over the name. */
static const struct statement delete_instance = {
    .name = "runtime_delete_instance",
    .text = "DELETE FROM instances WHERE stage = $1 AND instance = $2 AND pid = $3::integer AND started_at = $4::timestamptz",
    .params = 4,
};
static const struct statement forget_instances = {
    .name = "runtime_forget_instances",
    .text = "DELETE FROM instances WHERE seen_at < now() - interval '1 day'",
};

/* What is told of one work, and one circuit: copies, so that the lock is not held while it is written down. */
struct told_work {
    const char *key, *event_id, *type, *topic, *provider, *why;
    enum work_state state;
    int run, attempt, behind;
    int64_t since_us, running_since_us, give_up_us, due_us;         /* since 1970; 0: does not apply */
};
struct told_circuit {
    const char *kind, *name, *why;
    bool paused;
    int64_t since_us, next_probe_us;
    int waiting;
};

struct told {
    struct work_counts counts;
    struct told_circuit circuits[CIRCUITS_MAX];
    int circuit_count;
    struct told_work *works;
    int work_count;
    int64_t left_out;
};

static const char *const state_names[] = {
    [WORK_QUEUED] = "queued", [WORK_LOOKUP] = "lookup", [WORK_READY] = "ready", [WORK_RUNNING] = "running",
    [WORK_WAITING] = "waiting", [WORK_COMMITTING] = "committing", [WORK_PRODUCING] = "producing" };

static char started[TIME_BYTES];

void works_count(struct work_counts *ret)
{
    *ret = (struct work_counts){ .lookup = runtime.lookup.count, .ready = runtime.ready.count, .running = runtime.running,
                                 .waiting = (int64_t)runtime.heap_count, .committing = runtime.committing, .workers = runtime.workers };
    for (int i = 0; i < runtime.circuit_count; i++)
        ret->waiting += runtime.circuits[i].waiting.count;
    int64_t queued = runtime.in_flight - ret->lookup - ret->ready - ret->running - ret->waiting - ret->committing;
    ret->queued = queued > 0 ? queued : 0;
}

/* --- reading, with the lock held --------------------------------------------------------------------------------------------- */

/* The newest is on top, so that an older one replaces it. */
static void sift_down(const struct key **heap, int count, int at)
{
    for (int child; (child = 2 * at + 1) < count; at = child) {
        if (child + 1 < count && heap[child + 1]->works.first->consumed_us > heap[child]->works.first->consumed_us)
            child++;
        if (heap[at]->works.first->consumed_us >= heap[child]->works.first->consumed_us)
            return;
        const struct key *key = heap[at];
        heap[at] = heap[child];
        heap[child] = key;
    }
}

/* The keys whose first work is here since before `before_us`: the INSTANCE_WORKS_MAX oldest; how many of them. */
static int find_oldest(const struct key **ret, int64_t before_us, int64_t *ret_left_out)
{
    int count = 0;
    for (size_t i = 0; i < runtime.bucket_count; i++)
        for (const struct key *key = runtime.buckets[i]; key; key = key->next_in_bucket) {
            if (key->works.first->consumed_us > before_us)
                continue;
            if (count < INSTANCE_WORKS_MAX) {
                ret[count++] = key;
                for (int at = INSTANCE_WORKS_MAX / 2; count == INSTANCE_WORKS_MAX && at-- > 0;)
                    sift_down(ret, count, at);
                continue;
            }
            (*ret_left_out)++;
            if (key->works.first->consumed_us < ret[0]->works.first->consumed_us) {
                ret[0] = key;
                sift_down(ret, count, 0);
            }
        }
    return count;
}

/* A work that runs is its worker's: of it, only what that does not write is read. */
static struct told_work copy_work(const struct key *key, int64_t wall_us, struct arena *arena)
{
    const struct work *work = key->works.first;
    bool waits = work->state == WORK_WAITING, behind_circuit = waits && work->behind && work->behind->open;
    return (struct told_work){
        .key = arena_copy(arena, work->message_key.at),
        .event_id = arena_copy(arena, work->event.id),
        .type = arena_copy(arena, work->event.type),
        .topic = work->partition->topic,
        .state = work->state,
        .run = work->event.run,
        .attempt = work->attempts,
        .behind = key->works.count - 1,
        .since_us = wall_us + work->consumed_us,
        .running_since_us = work->state == WORK_RUNNING ? wall_us + work->began_us : 0,
        .give_up_us = wall_us + work->first_us + runtime.retry_age_ms_max * 1000,
        .due_us = waits && !behind_circuit ? wall_us + work->due_us : 0,
        .provider = behind_circuit ? work->behind->name : NULL,
        .why = waits ? arena_copy(arena, work->why.text) : NULL,
    };
}

static void read_runtime(struct told *told, struct arena *arena)
{
    static const struct key *keys[INSTANCE_WORKS_MAX];      /* the sweeper's thread alone */
    int64_t now = monotonic_us(), wall_us = now_us() - now;
    pthread_mutex_lock(&runtime.lock);
    works_count(&told->counts);
    for (int i = 0; i < runtime.circuit_count; i++) {
        const struct circuit *circuit = &runtime.circuits[i];
        if (circuit->open)
            told->circuits[told->circuit_count++] = (struct told_circuit){
                .kind = circuit_kinds[circuit->kind], .name = arena_copy(arena, circuit->name), .why = arena_copy(arena, circuit->why),
                .paused = circuit->held, .since_us = wall_us + circuit->opened_us, .waiting = circuit->waiting.count,
                .next_probe_us = circuit->held || circuit->probing ? 0 : wall_us + circuit->next_probe_us };
    }
    told->work_count = find_oldest(keys, now - INSTANCE_OLD_MS * 1000, &told->left_out);
    for (int i = 0; i < told->work_count; i++)
        told->works[i] = copy_work(keys[i], wall_us, arena);
    pthread_mutex_unlock(&runtime.lock);
}

/* --- writing it down --------------------------------------------------------------------------------------------------------- */

static void write_counts(struct buf *json, const struct work_counts *counts)
{
    json_name(json, "counts");
    buf_add_char(json, '{');
    json_add_integer(json, "queued", counts->queued);
    json_add_integer(json, "lookup", counts->lookup);
    json_add_integer(json, "ready", counts->ready);
    json_add_integer(json, "running", counts->running);
    json_add_integer(json, "waiting", counts->waiting);
    json_add_integer(json, "committing", counts->committing);
    json_add_integer(json, "workers", counts->workers);
    buf_add_char(json, '}');
}

static void write_circuit(struct buf *json, const struct told_circuit *circuit)
{
    json_separate(json);
    buf_add_char(json, '{');
    json_add_string(json, circuit->kind, circuit->name);
    json_add_bool(json, "paused", circuit->paused);
    json_add_time(json, "since", circuit->since_us);
    json_add_string(json, "why", circuit->why);
    json_add_time(json, "next_probe_at", circuit->next_probe_us);
    json_add_integer(json, "waiting", circuit->waiting);
    buf_add_char(json, '}');
}

static void write_work(struct buf *json, const struct told_work *work)
{
    json_separate(json);
    buf_add_char(json, '{');
    json_add_string(json, "key", work->key);
    json_add_string(json, "event_id", work->event_id);
    json_add_string(json, "type", work->type);
    json_add_integer(json, "run", work->run);
    json_add_string(json, "topic", work->topic);
    json_add_string(json, "state", state_names[work->state]);
    json_add_time(json, "since", work->since_us);
    json_add_time(json, "running_since", work->running_since_us);
    json_add_integer(json, "attempt", work->attempt);
    json_add_time(json, "give_up_at", work->give_up_us);
    json_add_time(json, "due_at", work->due_us);
    json_add_string(json, "provider", work->provider);
    json_add_string(json, "why", work->why && *work->why ? work->why : NULL);
    json_add_integer(json, "behind", work->behind);
    buf_add_char(json, '}');
}

static int older(const void *a, const void *b)
{
    int64_t left = ((const struct told_work *)a)->since_us, right = ((const struct told_work *)b)->since_us;
    return (left > right) - (left < right);
}

static void write_state(struct buf *json, struct told *told)
{
    buf_add_char(json, '{');
    write_counts(json, &told->counts);
    json_name(json, "circuits");
    buf_add_char(json, '[');
    for (int i = 0; i < told->circuit_count; i++)
        write_circuit(json, &told->circuits[i]);
    buf_add_char(json, ']');
    qsort(told->works, (size_t)told->work_count, sizeof(*told->works), older);
    json_name(json, "works");
    buf_add_char(json, '[');
    for (int i = 0; i < told->work_count; i++)
        write_work(json, &told->works[i]);
    buf_add_char(json, ']');
    json_add_integer(json, "works_left_out", told->left_out);
    if (runtime.stage->report)
        runtime.stage->report(runtime.stage->context, json);
    buf_add_char(json, '}');
}

static const char *pid_text(struct arena *arena)
{
    return arena_printf(arena, "%d", (int)getpid());
}

void instance_tell(struct arena *arena)
{
    static bool failed_before;
    struct told told = { .works = arena_alloc(arena, INSTANCE_WORKS_MAX * sizeof(*told.works)) };
    char host[HOST_BYTES_MAX] = "";
    struct buf json;
    struct rows rows;
    struct problem why;
    if (!started[0])
        time_print(now_us(), started);
    gethostname(host, sizeof(host) - 1);
    read_runtime(&told, arena);
    buf_init(&json, STATE_BYTES_MAX);
    write_state(&json, &told);
    bool told_it = !json.overflowed || fail(&why, "its state is larger than %d bytes", STATE_BYTES_MAX);
    told_it = told_it && pg_query(runtime.pool, &tell_instance,
                                  PARAMS(runtime.stage->name, daemon_settings()->instance, started, SWITCHBOARD_VERSION, pid_text(arena),
                                         host, buf_text(&json).at), arena, &rows, &why) == PG_FINE;
    if (!told_it && !failed_before)
        log_warning("could not say what this instance is doing; sb shows it as it was", LOG_TEXT("why", why.text));
    failed_before = !told_it;
    buf_done(&json);
}

static void run(const struct statement *statement, struct params params, struct arena *arena)
{
    struct rows rows;
    struct problem why;
    if (pg_query(runtime.pool, statement, params, arena, &rows, &why) != PG_FINE)
        log_warning("could not delete from the table of instances", LOG_TEXT("why", why.text));
}

void instances_forget(struct arena *arena)
{
    run(&forget_instances, PARAMS(), arena);
}

void instance_gone(void)
{
    if (!started[0])
        return;
    struct arena *arena = arena_new(1024 * 1024);
    run(&delete_instance, PARAMS(runtime.stage->name, daemon_settings()->instance, pid_text(arena), started), arena);
    arena_free(arena);
}
