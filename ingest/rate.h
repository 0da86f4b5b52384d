/* rate.h: how often one address may ask: so many at once, and then one each so often.
 *
 * Addresses are told apart up to RATE_ADDRESSES_MAX at a time: whoever has not been heard for longest is forgotten
 * first.  Of IPv6 the first 64 bits count, which are one customer's.
 *
 * Threads: one at a time; the door's loop thread. */
#pragma once

#include "common/base.h"

#define RATE_ADDRESSES_MAX 4096
#define RATE_WAYS 8                 /* an address has this many places it may be kept in */

struct rate_place {
    uint64_t address;               /* its hash; 0: free */
    int64_t full_us;                /* when it may do all at once again */
};

struct rate {
    int64_t burst, every_ms;        /* set by the owner */
    struct rate_place places[RATE_ADDRESSES_MAX];
};

/* 0: it may, and that is noted; else in how many milliseconds it may. */
int64_t rate_take(struct rate *rate, const char *address, int64_t now_us);
