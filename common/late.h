/* late.h: functions of libraries that few processes need, and that are large: ../lib/late.so beside the program's folder is loaded with
 * the first of them.
 *
 * Threads: any. */
#pragma once

/* A function of common/late/.  Where the library is missing, the process ends and says so. */
void *late_function(const char *name);
