/* lock.h: one `sb up` in one checkout: .run/sb.lock.
 *
 * It is locked twice.  The process's own lock (fcntl) tells who runs, with its process id; the open file's lock (flock)
 * is inherited by every part, so that it is free only when the last of them has ended, however sb itself ended. */
#pragma once

#include <sys/types.h>

#include "deploy/sb/place.h"

/* False when another has it (`why` names it), or when parts of an earlier one do not end within `wait_ms`.  Kept until
 * the process ends. */
bool lock_take(const struct place *place, int64_t wait_ms, struct problem *why);
/* The process id of the running `sb up`; 0: none. */
pid_t lock_holder(const struct place *place);
/* Waits until sb up and all its parts have ended; false when that takes longer. */
bool lock_wait_free(const struct place *place, int64_t wait_ms);
