/* clock.c: works that wait for a time, and what becomes of a RETRY: wait in place, park, or give up. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <sodium.h>

#define SLEEP_MS_MAX 5                  /* also how late works that nobody takes are noticed */

static void heap_swap(size_t a, size_t b)
{
    struct work *work = runtime.heap[a];
    runtime.heap[a] = runtime.heap[b];
    runtime.heap[b] = work;
}

static void heap_push(struct work *work)
{
    if (runtime.heap_count == runtime.heap_room) {
        runtime.heap_room = runtime.heap_room ? runtime.heap_room * 2 : 64;
        runtime.heap = must_realloc(runtime.heap, runtime.heap_room * sizeof(*runtime.heap));
    }
    size_t at = runtime.heap_count++;
    runtime.heap[at] = work;
    for (; at > 0 && runtime.heap[at]->due_us < runtime.heap[(at - 1) / 2]->due_us; at = (at - 1) / 2)
        heap_swap(at, (at - 1) / 2);
}

static struct work *heap_pop(void)
{
    struct work *work = runtime.heap[0];
    runtime.heap[0] = runtime.heap[--runtime.heap_count];
    for (size_t at = 0;;) {
        size_t least = at, left = 2 * at + 1;
        for (size_t child = left; child <= left + 1 && child < runtime.heap_count; child++)
            if (runtime.heap[child]->due_us < runtime.heap[least]->due_us)
                least = child;
        if (least == at)
            return work;
        heap_swap(at, least);
        at = least;
    }
}

void wait_until(struct work *work, int64_t due_us)
{
    work->state = WORK_WAITING;
    work->due_us = due_us;
    heap_push(work);
    if (runtime.heap[0] == work)
        pthread_cond_signal(&runtime.clock_changed);
}

/* Doubling from `base`, at most `most`, between half and all of it by chance. */
static int64_t back_off_ms(int tries, int64_t base, int64_t most)
{
    int64_t pause = base << (tries < 20 ? tries : 20);
    if (pause > most)
        pause = most;
    return pause / 2 + (int64_t)randombytes_uniform((uint32_t)(pause / 2 + 1));
}

void park(struct work *work, int64_t pause_ms)
{
    work->rows = NULL;
    work->events = NULL;
    work->due_us = monotonic_us() + pause_ms * 1000;
    commit_push(work, VERDICT_PARKED);
}

/* Waits for longer than its partition has had room: events of other keys are held up by it. */
static bool holds_others_up(const struct work *work, int64_t now)
{
    int64_t full_us = work->partition->full_us;
    return full_us > 0 && now - full_us > FULL_MS_MAX * 1000 && work->due_us - now > FULL_MS_MAX * 1000;
}

/* Parks what waits where there is no room left: later events of its key follow it, and others go on. */
static void park_to_make_room(int64_t now)
{
    size_t count = runtime.heap_count;
    runtime.heap_count = 0;
    for (size_t i = 0; i < count; i++) {        /* heap_push() stays below i */
        struct work *work = runtime.heap[i];
        if (holds_others_up(work, now))
            park(work, (work->due_us - now) / 1000);
        else
            heap_push(work);
    }
}

static void give_up(struct work *work)
{
    struct problem last = work->why;
    fail(&work->why, "gave up after %d tries: %.400s", work->attempts, last.text);
    /* writing the dead letter needs no lock, but it is short and happens once in an event's life */
    emit_rejection(work);
    commit_push(work, VERDICT_REJECTED);
}

/* Of what is parked as long as it is old: it may be young, and have made room for others or waited for them. */
static int64_t pause_of(const struct work *work, int64_t age_ms)
{
    int64_t pause_ms = work->resumed ? back_off_ms(0, age_ms > RETRY_BASE_MS ? age_ms : RETRY_BASE_MS, PARKED_MS_MAX)
                                     : back_off_ms(work->attempts - 1, RETRY_BASE_MS, RETRY_MS_MAX);
    return work->retry_ms > pause_ms ? work->retry_ms : pause_ms;
}

void settle_retry(struct work *work)
{
    int64_t now = monotonic_us();
    if (runtime.stopping) {             /* whoever takes the event next begins anew: this was nobody's failure */
        wait_until(work, now);
        return;
    }
    metric_add(&metric_retries, 1, work->event.type);
    if (work->behind && work->behind->open) {
        work->attempts--;           /* nobody was asked */
        circuit_wait(work);
        return;
    }
    log_warning("event will be retried", LOG_TEXT("event_id", work->event.id), LOG_TEXT("type", work->event.type),
                LOG_TEXT("subject", work_subject(work)), LOG_INT("attempt", work->attempts), LOG_TEXT("why", work->why.text));
    int64_t age_ms = (now - work->first_us) / 1000;
    int64_t pause_ms = pause_of(work, age_ms);
    if (age_ms + pause_ms > runtime.retry_age_ms_max)
        give_up(work);
    else if (work->resumed || age_ms + pause_ms > IN_PLACE_MS_MAX)
        park(work, pause_ms);
    else
        wait_until(work, now + pause_ms * 1000);
}

void *clock_main(void *unused)
{
    int64_t next_room = 0;
    pthread_mutex_lock(&runtime.lock);
    while (!runtime.finished) {
        int64_t now = monotonic_us(), next = now + SLEEP_MS_MAX * 1000;
        if (!runtime.stopping && now >= next_room) {
            park_to_make_room(now);
            next_room = now + FULL_MS_MAX * 1000;
        }
        while (!runtime.stopping && runtime.heap_count > 0 && runtime.heap[0]->due_us <= now)
            make_ready(heap_pop());
        if (!runtime.stopping)
            circuit_probe_due(now, &next);
        if (!runtime.stopping) {
            workers_tick();
            if (runtime.ready.count > 0)
                next = now + WORKERS_TICK_MS * 1000;
        }
        if (runtime.heap_count > 0 && runtime.heap[0]->due_us > now && runtime.heap[0]->due_us < next)
            next = runtime.heap[0]->due_us;
        struct timespec until = { .tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000 };
        pthread_cond_timedwait(&runtime.clock_changed, &runtime.lock, &until);
    }
    pthread_mutex_unlock(&runtime.lock);
    return unused;
}
