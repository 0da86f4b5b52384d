/* time_zone.c: see time_zone.h. */
#include "common/time_zone.h"

#include "common/late.h"

#include <pthread.h>
#include <stddef.h>
#include <string.h>

typedef bool zone_finder(const char *name, const char *region, char *ret, size_t room);

static zone_finder *find;

static void load(void)
{
    *(void **)&find = late_function("time_zone_of_windows");
}

bool time_zone_of_microsoft(const char *name, const char *region, char ret[TIME_ZONE_BYTES])
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    if (strchr(name, '/') || strcmp(name, "UTC") == 0)      /* IANA's, and of both */
        return false;
    pthread_once(&once, load);
    return find(name, region, ret, TIME_ZONE_BYTES);
}
