/* pace.h: at most so many requests a second, of all instances of this stage together.
 *
 * Each instance takes an equal share of what the provider allows (the table `instances` says how many are alive) and
 * lets a few go at once, so that who writes now and then never waits.  No second has more than the provider allows,
 * but while an instance starts or dies and the others have not seen it yet (PACE_COUNT_EVERY_MS).
 *
 * Threads: any. */
#pragma once

#include "common/stage.h"

#include <pthread.h>

#define PACE_COUNT_EVERY_MS 2000            /* so often the live instances are counted anew */
#define PACE_WAIT_MS_MAX    5000            /* a handler waits here so long; for more it is retried */

struct pace {
    pthread_mutex_t lock;
    int64_t next_us;                        /* monotonic: when the next one would leave if none were let go early */
};
#define PACE_NEW { .lock = PTHREAD_MUTEX_INITIALIZER }

/* One may leave so often, and so many at once, that `live` instances keep to `per_s`. */
struct pace_share {
    int64_t interval_us;
    int64_t at_once;
};
struct pace_share pace_share(int64_t per_s, int64_t live);
/* Takes a turn: gives how long to wait for it, or, when that is more than `patience_us`, takes none. */
int64_t pace_turn(struct pace *pace, struct pace_share share, int64_t now_us, int64_t patience_us);

/* Waits for a turn; RETRY when it is far off.  `per_s` 0: no limit. */
enum outcome pace_wait(struct work *work, struct pace *pace, int64_t per_s);
