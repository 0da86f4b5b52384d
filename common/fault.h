/* fault.h: named points at which a test may make a daemon die, freeze, dawdle or fail.
 *
 * Only a build with -DFAULT_POINTS has them (`make FAULTS=1`, and every sanitized build); in all others they are nothing.
 *
 * The environment variable FAULT_FILE names a file, read at the first hit and again whenever it was replaced (rename it into place):
 *
 *     seed=7
 *     commit.after=kill nth=3            the third hit from now on
 *     ask.answered=stop:8000 nth=1       SIGSTOP, and SIGCONT so many milliseconds later
 *     produce.before=delay:50 p=0.1      each hit, by chance
 *     commit.unknown=error p=0.01        FAULT_ERROR is true; FAULT_POINT goes on
 *
 * Whatever fires is logged first.  Threads: any.  No lock of the caller's may be held: delays and stops happen here. */
#pragma once

#include <stdbool.h>

#if defined(FAULT_POINTS)
#define FAULT_POINT(name) ((void)fault_point(name))
#define FAULT_ERROR(name) fault_point(name)
bool fault_point(const char *name);
#else
#define FAULT_POINT(name) ((void)0)
#define FAULT_ERROR(name) false
#endif
