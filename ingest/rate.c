#include "ingest/rate.h"

#include <arpa/inet.h>
#include <string.h>

#include "common/crypto.h"

#define IPV6_PREFIX_BYTES 8

/* Of the part that tells customers apart; never 0. */
static uint64_t address_hash(const char *address)
{
    struct in6_addr parsed;
    uint8_t hash[SHA256_BYTES];
    uint64_t ret;
    bool is_ipv6 = inet_pton(AF_INET6, address, &parsed) == 1 && !IN6_IS_ADDR_V4MAPPED(&parsed);

    sha256(is_ipv6 ? (struct text){ (const char *)&parsed, IPV6_PREFIX_BYTES } : text_of(address), hash);
    memcpy(&ret, hash, sizeof(ret));
    return ret ? ret : 1;
}

/* Its place, or the one whose address has been quiet for longest, as that of an address never heard of. */
static struct rate_place *place_of(struct rate *rate, uint64_t address)
{
    struct rate_place *first = &rate->places[address % (RATE_ADDRESSES_MAX / RATE_WAYS) * RATE_WAYS], *quiet = first;
    for (struct rate_place *place = first; place < first + RATE_WAYS; place++) {
        if (place->address == address)
            return place;
        if (place->full_us < quiet->full_us)
            quiet = place;
    }
    *quiet = (struct rate_place){ .address = address };
    return quiet;
}

int64_t rate_take(struct rate *rate, const char *address, int64_t now_us)
{
    struct rate_place *place = place_of(rate, address_hash(address));
    int64_t every_us = rate->every_ms * 1000;
    int64_t full_us = (place->full_us > now_us ? place->full_us : now_us) + every_us;
    int64_t wait_us = full_us - now_us - rate->burst * every_us;
    if (wait_us > 0)
        return (wait_us + 999) / 1000;
    place->full_us = full_us;
    return 0;
}
