/* crypto.h: hashes, message codes, base64, hex, ids.
 *
 * Threads: any, after crypto_init().  Comparisons of secrets are in constant time. */
#pragma once

#include "common/base.h"

#define SHA1_BYTES 20
#define SHA256_BYTES 32
#define UUID_BYTES sizeof("886313e1-3b8a-5372-9b90-0c9aee199e5d")

bool crypto_init(struct problem *why);

void sha256(struct text message, uint8_t ret[SHA256_BYTES]);
/* HMAC over `parts` in order, as if they were one message (RFC 2104). */
void hmac_sha1(struct text key, const struct text *parts, size_t part_count, uint8_t ret[SHA1_BYTES]);
void hmac_sha256(struct text key, const struct text *parts, size_t part_count, uint8_t ret[SHA256_BYTES]);
bool secret_equal(const void *a, const void *b, size_t bytes);

/* Standard alphabet with padding (RFC 4648 section 4). `ret` needs BASE64_BYTES(bytes), terminator included. */
#define BASE64_BYTES(bytes) (((bytes) + 2) / 3 * 4 + 1)
char *base64_print(const void *at, size_t bytes, char *ret);
/* Strict: padding required, no white space. False when it is not base64 or needs more than `room`. */
bool base64_read(struct text text, void *ret, size_t room, size_t *ret_bytes);
char *hex_print(const void *at, size_t bytes, char *ret);           /* lower case; `ret` needs 2 * bytes + 1 */
bool hex_read(struct text text, void *ret, size_t bytes);           /* exactly `bytes`, either case */

/* UUID version 5 (RFC 9562 section 5.5) of `name` in the namespace; `ret` needs UUID_BYTES; returns `ret`. */
char *uuid5(const char *namespace_uuid, struct text name, char *ret);
/* The ids of this product: UUIDv5 of the parts joined by U+001F in Switchboard's namespace. NULL ends the list. */
char *uuid_of(char *ret, const char *first_part, ...) __attribute__((__sentinel__));
char *uuid_random(char *ret);                                       /* version 4, for tokens and traces */
bool uuid_is(struct text text);
