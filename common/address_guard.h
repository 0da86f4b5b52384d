/* address_guard.h: which addresses a request may reach whose URL came from outside.
 *
 * Refused is what IANA's special-purpose registries list (IPv4 and IPv6, RFC 6890), multicast, and every IPv6
 * address outside 2000::/3.  Where an IPv6 address carries an IPv4 one (mapped, 6to4, NAT64) the IPv4 one decides.
 * The few anycast services inside those ranges that are globally reachable (AS112, AMT, PCP, TURN) are refused too:
 * none is a web server.
 *
 * The address to check is the one connected to, after DNS; a name or URL proves nothing.
 * Threads: a guard does not change once made, so any. */
#pragma once

#include "common/base.h"

#include <sys/socket.h>

struct address_guard;

/* `allowed` is "host:port,host:port" or NULL: reachable nevertheless.  A host is an address ("10.0.0.5", "[fd00::5]")
 * or a name, which then holds for URLs that say exactly this name.  NULL, and why, when an entry cannot be read. */
struct address_guard *address_guard_new(const char *allowed, struct problem *why);
void address_guard_free(struct address_guard *guard);       /* NULL is fine */

/* `authority` is the URL's "host:port", lower case, with the port even when it is the scheme's own. */
bool address_guard_allows(const struct address_guard *guard, const struct sockaddr *address, const char *authority);

/* Not an address of the public internet; so is anything that is neither IPv4 nor IPv6. */
bool address_is_special(const struct sockaddr *address);
