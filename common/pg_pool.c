/* pg_pool.c: connections that are shared by threads, and the queries that need one.
 *
 * Idle connections are a stack: the last used is used next, so that what a burst opened grows old at the bottom and is
 * closed. After a failed attempt to connect one thread at a time tries again, not before a pause that doubles; the
 * others are told what that one was told. */
#include <assert.h>
#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/metrics.h"
#include "common/pg_connection.h"

#define IDLE_US_MAX (60 * INT64_C(1000000))
#define IDLE_KEPT 1
#define BACKOFF_US_MIN INT64_C(100000)
#define BACKOFF_US_MAX INT64_C(5000000)
#define RUNS_MAX 2              /* a stale connection is replaced once */

struct pg_pool {
    struct pg_pool_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct pg_connection **idle;        /* oldest first */
    int idle_count;
    int open;                           /* idle, lent, and being opened */
    bool probing;                       /* one thread tries whether Postgres is back */
    int failures;                       /* in a row */
    int64_t retry_at_us;
    struct problem last;                /* why the last attempt failed */
};

static struct metric metric_queries =
    METRIC_HISTOGRAM("postgres_query_seconds", "queries outside the commit, from sent to read", "statement");
static struct metric metric_waits =
    METRIC_HISTOGRAM("postgres_wait_seconds", "waits for a connection of the pool", "role");
static struct metric metric_open = METRIC_GAUGE("postgres_connections", "connections the pool has open", "role");

static char *copy_or_null(const char *string)
{
    return string != NULL ? must_copy(string) : NULL;
}

struct pg_pool *pg_pool_new(const struct pg_pool_settings *settings)
{
    struct pg_pool *pool = must_alloc(sizeof(*pool));
    pthread_condattr_t attributes;

    assert(settings->connections_max > 0);
    pool->settings = *settings;
    pool->settings.url = must_copy(settings->url);
    pool->settings.role = copy_or_null(settings->role);
    pool->settings.application_name = copy_or_null(settings->application_name);
    pool->idle = must_alloc((size_t)settings->connections_max * sizeof(struct pg_connection *));
    pthread_mutex_init(&pool->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&pool->changed, &attributes);
    pthread_condattr_destroy(&attributes);
    metric_register(&metric_open);
    return pool;
}

void pg_pool_free(struct pg_pool *pool)
{
    if (pool == NULL)
        return;
    assert(pool->open == pool->idle_count);     /* none is lent */
    for (int i = 0; i < pool->idle_count; i++)
        pg_connection_free(pool->idle[i]);
    pthread_cond_destroy(&pool->changed);
    pthread_mutex_destroy(&pool->lock);
    free((char *)pool->settings.url);
    free((char *)pool->settings.role);
    free((char *)pool->settings.application_name);
    free(pool->idle);
    free(pool);
}

static const char *role_label(const struct pg_pool *pool)
{
    return pool->settings.role != NULL ? pool->settings.role : "";
}

/* With the lock. */
static void count_open(struct pg_pool *pool, int change)
{
    pool->open += change;
    metric_set(&metric_open, pool->open, role_label(pool));
    pthread_cond_broadcast(&pool->changed);
}

/* --- taking and giving back --------------------------------------------------------------------------------------- */

static int64_t backoff_us(int failures)
{
    int64_t pause_us = BACKOFF_US_MIN;

    for (int i = 1; i < failures && pause_us < BACKOFF_US_MAX; i++)
        pause_us *= 2;
    if (pause_us > BACKOFF_US_MAX)
        pause_us = BACKOFF_US_MAX;
    return pause_us / 2 + randombytes_uniform((uint32_t)pause_us);
}

/* With the lock, which it gives up meanwhile; the connection is counted already. */
static struct pg_connection *open_connection(struct pg_pool *pool, struct problem *why)
{
    struct problem reason;

    pool->probing = pool->failures > 0;
    pthread_mutex_unlock(&pool->lock);
    struct pg_connection *connection = pg_connection_new(&pool->settings, &reason);
    pthread_mutex_lock(&pool->lock);
    pool->probing = false;
    if (connection != NULL) {
        pool->failures = 0;
        pthread_cond_broadcast(&pool->changed);
        return connection;
    }
    pool->failures++;
    pool->retry_at_us = monotonic_us() + backoff_us(pool->failures);
    pool->last = reason;
    count_open(pool, -1);
    fail(why, "%s", reason.text);
    return NULL;
}

/* With the lock; false when `deadline_us` passed. */
static bool wait_for_change(struct pg_pool *pool, int64_t deadline_us)
{
    struct timespec until = { .tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000 };
    return pthread_cond_timedwait(&pool->changed, &pool->lock, &until) == 0;
}

static struct pg_connection *take_idle(struct pg_pool *pool)
{
    while (pool->idle_count > 0) {
        struct pg_connection *connection = pool->idle[--pool->idle_count];
        if (pg_connection_is_quiet(connection))
            return connection;
        pg_connection_free(connection);
        count_open(pool, -1);
    }
    return NULL;
}

static struct pg_connection *take_locked(struct pg_pool *pool, int64_t deadline_us, struct problem *why)
{
    for (bool over = false;;) {
        struct pg_connection *connection = take_idle(pool);
        if (connection != NULL)
            return connection;
        bool is_down = pool->failures > 0 && !pool->probing;
        if (is_down && monotonic_us() < pool->retry_at_us) {
            fail(why, "%s", pool->last.text);
            return NULL;
        }
        if (pool->open < pool->settings.connections_max && !pool->probing) {
            count_open(pool, 1);
            return open_connection(pool, why);
        }
        if (over) {
            fail(why, "could not get a connection to Postgres in %lld ms: all %d are in use",
                 (long long)pool->settings.wait_ms_max, pool->settings.connections_max);
            return NULL;
        }
        /* then looks once more: the change may have come with the time-out */
        over = !wait_for_change(pool, deadline_us);
    }
}

static struct pg_connection *take(struct pg_pool *pool, struct problem *why)
{
    int64_t began_us = monotonic_us();

    pthread_mutex_lock(&pool->lock);
    struct pg_connection *connection = take_locked(pool, began_us + pool->settings.wait_ms_max * 1000, why);
    pthread_mutex_unlock(&pool->lock);
    metric_time(&metric_waits, monotonic_us() - began_us, role_label(pool));
    return connection;
}

/* With the lock: takes out the oldest idle connection when it is one too many, or any when `all`. */
static struct pg_connection *retire_one(struct pg_pool *pool, bool all)
{
    if (pool->idle_count == 0)
        return NULL;
    struct pg_connection *oldest = pool->idle[0];
    if (!all && (pool->idle_count <= IDLE_KEPT || monotonic_us() - oldest->idle_since_us < IDLE_US_MAX))
        return NULL;
    pool->idle_count--;
    memmove(pool->idle, pool->idle + 1, (size_t)pool->idle_count * sizeof(struct pg_connection *));
    count_open(pool, -1);
    return oldest;
}

static void give_back(struct pg_pool *pool, struct pg_connection *connection, bool broken)
{
    struct pg_connection *old = connection;

    connection->idle_since_us = monotonic_us();
    pthread_mutex_lock(&pool->lock);
    if (broken) {
        count_open(pool, -1);
    } else {
        pool->idle[pool->idle_count++] = connection;
        pthread_cond_signal(&pool->changed);
        old = retire_one(pool, false);
    }
    pthread_mutex_unlock(&pool->lock);
    pg_connection_free(old);
}

/* What is idle was prepared at the same time as what turned out stale. */
static void retire_all(struct pg_pool *pool)
{
    struct pg_connection *old;

    do {
        pthread_mutex_lock(&pool->lock);
        old = retire_one(pool, true);
        pthread_mutex_unlock(&pool->lock);
        pg_connection_free(old);
    } while (old != NULL);
}

/* --- queries ------------------------------------------------------------------------------------------------------ */

static enum pg_error query(struct pg_pool *pool, const struct pg_run *run, struct arena *arena, struct rows *ret,
                           struct problem *why)
{
    enum pg_error error = PG_AWAY;
    bool stale = true;

    for (int runs = 0; stale && runs < RUNS_MAX; runs++) {
        bool broken;
        struct pg_connection *connection = take(pool, why);
        if (connection == NULL)
            return PG_AWAY;
        int64_t began_us = monotonic_us();
        error = pg_connection_run(connection, run, arena, ret, &broken, &stale, why);
        metric_time(&metric_queries, monotonic_us() - began_us, run->statement->name);
        give_back(pool, connection, broken || stale);
        if (stale)
            retire_all(pool);
    }
    /* a pooler's connections have the old plan for as long as they live */
    return stale ? PG_AWAY : error;
}

enum pg_error pg_query(struct pg_pool *pool, const struct statement *statement, struct params params,
                       struct arena *arena, struct rows *ret, struct problem *why)
{
    struct pg_run run = { .statement = statement, .params = params, .role = pool->settings.role };
    return query(pool, &run, arena, ret, why);
}

enum pg_error pg_query_as(struct pg_pool *pool, const struct pg_scope *scope, const struct statement *statement,
                          struct params params, struct arena *arena, struct rows *ret, struct problem *why)
{
    assert(scope->tenant != NULL);
    struct pg_run run = { .statement = statement, .params = params, .scope = scope, .role = pool->settings.role };
    return query(pool, &run, arena, ret, why);
}
