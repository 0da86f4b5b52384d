/* pace.c: see pace.h.  The generic cell rate algorithm: one time stamp says whether the next one is early. */
#include "notifier/pace.h"

#include <stdlib.h>
#include <time.h>

#define SECOND_US     INT64_C(1000000)
#define SHARE_AT_ONCE 8           /* of what may leave in a second, one part in so many may leave at once */
#define INSTANCE_LIVE "6 seconds" /* three times as often as it says that it lives */

static const struct statement count_instances = {
    .name = "count_instances",
    .text =
        "SELECT count(*) AS live FROM instances WHERE stage = 'notifier' AND seen_at > now() - interval '" INSTANCE_LIVE
        "'",
};

struct pace_share pace_share(int64_t per_s, int64_t live)
{
    int64_t at_once = per_s / (SHARE_AT_ONCE * live);
    /* what leaves at once is taken off, so that a second in which it does has no more than any other */
    int64_t evenly = at_once > 1 ? per_s - at_once * live : per_s;
    return (struct pace_share){ .interval_us = (SECOND_US * live + evenly - 1) / evenly,
                                .at_once = at_once > 1 ? at_once : 1 };
}

int64_t pace_turn(struct pace *pace, struct pace_share share, int64_t now_us, int64_t patience_us)
{
    pthread_mutex_lock(&pace->lock);
    int64_t early_us = pace->next_us - (share.at_once - 1) * share.interval_us - now_us;
    if (early_us <= patience_us)
        pace->next_us = (pace->next_us > now_us ? pace->next_us : now_us) + share.interval_us;
    pthread_mutex_unlock(&pace->lock);
    return early_us > 0 ? early_us : 0;
}

/* How many share the rate: counted now and then, by whoever comes first. */
static enum outcome live_instances(struct work *work, int64_t *ret)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
    static int64_t live = 1, counted_us;
    int64_t now = monotonic_us();
    pthread_mutex_lock(&lock);
    bool count = counted_us == 0 || now - counted_us > PACE_COUNT_EVERY_MS * 1000;
    if (count)
        counted_us = now;
    *ret = live;
    pthread_mutex_unlock(&lock);
    if (!count)
        return DONE;
    struct rows rows;
    TRY(work_query(work, &count_instances, &rows));
    int64_t counted = rows.count > 0 ? atoll(row_get(&rows, 0, "live")) : 0;
    *ret = counted > 1 ? counted : 1;
    pthread_mutex_lock(&lock);
    live = *ret;
    pthread_mutex_unlock(&lock);
    return DONE;
}

enum outcome pace_wait(struct work *work, struct pace *pace, int64_t per_s)
{
    int64_t live;
    if (per_s <= 0)
        return DONE;
    TRY(live_instances(work, &live));
    int64_t wait_us = pace_turn(pace, pace_share(per_s, live), monotonic_us(), PACE_WAIT_MS_MAX * 1000);
    if (wait_us > PACE_WAIT_MS_MAX * 1000)
        return retry(work, wait_us / 1000, "it waits for its turn: %lld a second may leave", (long long)per_s);
    if (wait_us == 0)
        return DONE;
    const struct timespec pause = { .tv_sec = wait_us / SECOND_US, .tv_nsec = wait_us % SECOND_US * 1000 };
    work_waits(work);
    nanosleep(&pause, NULL);
    work_goes_on(work);
    return DONE;
}
