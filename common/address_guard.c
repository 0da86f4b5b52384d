#include "common/address_guard.h"

#include <arpa/inet.h>
#include <assert.h>
#include <ctype.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define ALLOWED_MAX     64
#define AUTHORITY_BYTES 264 /* a name of 253, brackets, colon, port */

/* Every address in one form: IPv6, with IPv4 mapped into it. */
struct address {
    uint8_t bytes[16];
    uint16_t port;
};

struct allowed {
    char authority[AUTHORITY_BYTES];
    bool is_name;
    struct address address; /* unless it is a name */
};

struct address_guard {
    size_t count;
    struct allowed allowed[ALLOWED_MAX];
};

struct range {
    uint8_t bits;
    uint8_t bytes[16];
};

/* https://www.iana.org/assignments/iana-ipv4-special-registry, and multicast */
static const struct range special_ipv4[] = {
    { 8, { 0 } },             /* "this network" */
    { 8, { 10 } },            /* private */
    { 10, { 100, 64 } },      /* shared by carriers' NAT */
    { 8, { 127 } },           /* loopback */
    { 16, { 169, 254 } },     /* link-local, and the clouds' metadata servers */
    { 12, { 172, 16 } },      /* private */
    { 24, { 192, 0, 0 } },    /* IETF protocol assignments */
    { 24, { 192, 0, 2 } },    /* documentation */
    { 24, { 192, 31, 196 } }, /* AS112 */
    { 24, { 192, 52, 193 } }, /* AMT */
    { 24, { 192, 88, 99 } },  /* 6to4 relays, deprecated */
    { 16, { 192, 168 } },     /* private */
    { 24, { 192, 175, 48 } }, /* AS112 */
    { 15, { 198, 18 } },      /* benchmarks */
    { 24, { 198, 51, 100 } }, /* documentation */
    { 24, { 203, 0, 113 } },  /* documentation */
    { 4, { 224 } },           /* multicast */
    { 4, { 240 } },           /* reserved, and the limited broadcast */
};

/* https://www.iana.org/assignments/iana-ipv6-special-registry, as far as it lies inside 2000::/3 */
static const struct range special_ipv6[] = {
    { 23, { 0x20, 0x01 } },                         /* IETF protocol assignments: Teredo, ORCHID, benchmarks */
    { 32, { 0x20, 0x01, 0x0d, 0xb8 } },             /* documentation */
    { 48, { 0x26, 0x20, 0x00, 0x4f, 0x80, 0x00 } }, /* AS112 */
    { 20, { 0x3f, 0xff } },                         /* documentation */
};

static const struct range global_ipv6 = { 3, { 0x20 } };
static const struct range mapped = { 96, { [10] = 0xff, [11] = 0xff } };
static const struct range nat64 = { 96, { 0x00, 0x64, 0xff, 0x9b } };
static const struct range sixtofour = { 16, { 0x20, 0x02 } };

static bool in_range(const uint8_t *bytes, const struct range *range)
{
    size_t whole = range->bits / 8;
    if (memcmp(bytes, range->bytes, whole) != 0)
        return false;
    unsigned rest = range->bits % 8;
    return rest == 0 || ((bytes[whole] ^ range->bytes[whole]) >> (8 - rest)) == 0;
}

static bool in_any(const uint8_t *bytes, const struct range *ranges, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (in_range(bytes, &ranges[i]))
            return true;
    return false;
}

static bool ipv4_is_special(const uint8_t *bytes)
{
    return in_any(bytes, special_ipv4, LENGTH(special_ipv4));
}

static bool is_special(const uint8_t *bytes)
{
    if (in_range(bytes, &mapped) || in_range(bytes, &nat64))
        return ipv4_is_special(bytes + 12);
    if (in_range(bytes, &sixtofour))
        return ipv4_is_special(bytes + 2);
    return !in_range(bytes, &global_ipv6) || in_any(bytes, special_ipv6, LENGTH(special_ipv6));
}

static bool address_read(const struct sockaddr *from, struct address *ret)
{
    *ret = (struct address){ 0 };
    if (from->sa_family == AF_INET) {
        struct sockaddr_in ipv4;
        memcpy(&ipv4, from, sizeof(ipv4));
        memcpy(ret->bytes, mapped.bytes, 12);
        memcpy(ret->bytes + 12, &ipv4.sin_addr, 4);
        ret->port = ntohs(ipv4.sin_port);
        return true;
    }
    if (from->sa_family == AF_INET6) {
        struct sockaddr_in6 ipv6;
        memcpy(&ipv6, from, sizeof(ipv6));
        memcpy(ret->bytes, &ipv6.sin6_addr, 16);
        ret->port = ntohs(ipv6.sin6_port);
        return true;
    }
    return false;
}

bool address_is_special(const struct sockaddr *address)
{
    struct address read;
    return !address_read(address, &read) || is_special(read.bytes);
}

bool address_guard_allows(const struct address_guard *guard, const struct sockaddr *address, const char *authority)
{
    struct address wanted;
    if (!address_read(address, &wanted))
        return false;
    if (!is_special(wanted.bytes))
        return true;

    for (size_t i = 0; i < guard->count; i++) {
        const struct allowed *allowed = &guard->allowed[i];
        if (allowed->is_name ? strcmp(allowed->authority, authority) == 0
                             : memcmp(allowed->address.bytes, wanted.bytes, sizeof(wanted.bytes)) == 0 &&
                                   allowed->address.port == wanted.port)
            return true;
    }
    return false;
}

static bool port_read(const char *digits, uint16_t *ret)
{
    char *end;
    unsigned long port = strtoul(digits, &end, 10);
    if (!isdigit((unsigned char)digits[0]) || *end != '\0' || port == 0 || port > UINT16_MAX)
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool is_name(const char *host)
{
    size_t bytes = strspn(host, "abcdefghijklmnopqrstuvwxyz0123456789-._");
    return bytes > 0 && host[bytes] == '\0';
}

/* Reads one "host:port"; the authority is kept in the form that address_guard_allows() is given. */
static bool allowed_read(struct text entry, struct allowed *ret)
{
    if (entry.bytes >= sizeof(ret->authority))
        return false;
    for (size_t i = 0; i < entry.bytes; i++)
        ret->authority[i] = (char)tolower((unsigned char)entry.at[i]);

    char host[AUTHORITY_BYTES];
    memcpy(host, ret->authority, entry.bytes + 1);
    char *colon = strrchr(host, ':');
    if (colon == NULL || !port_read(colon + 1, &ret->address.port))
        return false;
    *colon = '\0';

    if (host[0] == '[' && colon[-1] == ']') {
        colon[-1] = '\0';
        return inet_pton(AF_INET6, host + 1, ret->address.bytes) == 1;
    }
    memcpy(ret->address.bytes, mapped.bytes, 12);
    if (inet_pton(AF_INET, host, ret->address.bytes + 12) == 1)
        return true;
    ret->is_name = true;
    return is_name(host);
}

struct address_guard *address_guard_new(const char *allowed, struct problem *why)
{
    struct address_guard *guard = must_alloc(sizeof(*guard));
    for (const char *at = allowed ? allowed : ""; *at != '\0'; at += strspn(at, ", ")) {
        struct text entry = { at, strcspn(at, ", ") };
        at += entry.bytes;
        if (entry.bytes == 0)
            continue;
        if (guard->count == ALLOWED_MAX) {
            fail(why, "more than %d private addresses are allowed; give fewer", ALLOWED_MAX);
        } else if (!allowed_read(entry, &guard->allowed[guard->count])) {
            fail(why, "could not read \"%.*s\" in the list of allowed private addresses: it must be host:port",
                 (int)entry.bytes, entry.at);
        } else {
            guard->count++;
            continue;
        }
        address_guard_free(guard);
        return NULL;
    }
    return guard;
}

void address_guard_free(struct address_guard *guard)
{
    free(guard);
}
