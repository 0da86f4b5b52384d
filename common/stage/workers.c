/* workers.c: threads that run handlers.
 *
 * A thousand handlers may wait for providers at once, each on a thread of its own; but only a few compute.  So WORKERS_BUSY workers are
 * woken for what is ready, and one more for each that begins to wait inside a query or an ask.  A handler that holds its worker up in
 * any other way is noticed by the clock: works that nobody took for WORKERS_TICK_MS get more workers.  The most recently idle worker is
 * woken first; one that was idle for WORKER_IDLE_MS_MAX ends. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <stdlib.h>
#include <string.h>

struct worker {
    struct worker *next;
    pthread_cond_t wake;
    bool is_idle;
};

static void *worker_main(void *unused);

static bool worker_start(void)
{
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STAGE_STACK_BYTES);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, worker_main, NULL);
    pthread_attr_destroy(&attributes);
    if (error != 0) {
        if (runtime.workers == 0) {
            log_error("could not start a worker thread", LOG_TEXT("why", strerror(error)));
            daemon_stop("no worker thread could be started");
        }
        return false;
    }
    runtime.workers++;
    return true;
}

/* Lock held: sees to it that somebody takes what is ready. */
static void wake_one(void)
{
    if (runtime.idle) {
        struct worker *worker = runtime.idle;
        runtime.idle = worker->next;
        worker->is_idle = false;
        runtime.busy++;
        pthread_cond_signal(&worker->wake);
    } else if (runtime.workers < runtime.workers_max && worker_start()) {
        runtime.busy++;
    }
}

void make_ready(struct work *work)
{
    work->state = WORK_READY;
    list_push(&runtime.ready, work);
    if (runtime.busy < WORKERS_BUSY)
        wake_one();
}

void workers_tick(void)
{
    static int64_t taken_before;
    static int more = 1;
    if (runtime.ready.count == 0 || runtime.taken != taken_before)
        more = 1;
    else
        for (int i = 0; i < more && i < runtime.ready.count; i++)
            wake_one();
    if (runtime.ready.count > 0 && runtime.taken == taken_before && more < runtime.workers_max)
        more *= 2;
    taken_before = runtime.taken;
}

void work_waits(struct work *work)
{
    if (work->try)
        return;
    pthread_mutex_lock(&runtime.lock);
    runtime.busy--;
    if (runtime.ready.count > 0 && runtime.busy < WORKERS_BUSY)
        wake_one();
    pthread_mutex_unlock(&runtime.lock);
}

void work_goes_on(struct work *work)
{
    if (work->try)
        return;
    pthread_mutex_lock(&runtime.lock);
    runtime.busy++;
    pthread_mutex_unlock(&runtime.lock);
}

/* Lock held: waits until woken; false when it was idle for too long and shall end. */
static bool worker_wait(struct worker *worker)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += WORKER_IDLE_MS_MAX / 1000;
    worker->is_idle = true;
    worker->next = runtime.idle;
    runtime.idle = worker;
    while (worker->is_idle)
        if (pthread_cond_timedwait(&worker->wake, &runtime.lock, &until) != 0 && worker->is_idle) {
            for (struct worker **at = &runtime.idle; *at; at = &(*at)->next)
                if (*at == worker) {
                    *at = worker->next;
                    break;
                }
            return false;
        }
    return true;
}

/* Lock held, before and after: runs one handler and moves the work on. */
static void worker_run(struct work *work)
{
    if (circuit_holds(work, work->event.tenant)) {
        circuit_wait(work);
        return;
    }
    work->state = WORK_RUNNING;
    work->began_us = monotonic_us();
    work->attempts++;
    runtime.running++;
    pthread_mutex_unlock(&runtime.lock);
    enum outcome outcome = work_handle(work);
    if (outcome == REJECT)
        emit_rejection(work);
    pthread_mutex_lock(&runtime.lock);
    runtime.running--;
    circuit_probe_end(work);
    if (outcome == DONE)
        commit_push(work, work->skipped ? VERDICT_SKIPPED : VERDICT_DONE);
    else if (outcome == REJECT)
        commit_push(work, VERDICT_REJECTED);
    else
        settle_retry(work);
}

static void *worker_main(void *unused)
{
    struct worker worker = { 0 };
    pthread_condattr_t attributes;
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&worker.wake, &attributes);
    pthread_condattr_destroy(&attributes);

    pthread_mutex_lock(&runtime.lock);
    for (;;) {
        struct work *work = runtime.stopping ? NULL : list_pop(&runtime.ready);
        if (work) {
            runtime.taken++;
            worker_run(work);
            continue;
        }
        runtime.busy--;
        if (runtime.stopping || !worker_wait(&worker))
            break;
    }
    runtime.workers--;
    pthread_cond_signal(&runtime.settled);
    pthread_mutex_unlock(&runtime.lock);
    pthread_cond_destroy(&worker.wake);
    return unused;
}

void workers_stop(int64_t deadline_us)
{
    pthread_mutex_lock(&runtime.lock);
    while (runtime.idle)
        wake_one();             /* to end */
    while (runtime.workers > 0 && monotonic_us() < deadline_us) {
        struct timespec until = { .tv_sec = deadline_us / 1000000, .tv_nsec = deadline_us % 1000000 * 1000 };
        pthread_cond_timedwait(&runtime.settled, &runtime.lock, &until);
    }
    pthread_mutex_unlock(&runtime.lock);
}
