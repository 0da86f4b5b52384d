/* form.h: application/x-www-form-urlencoded (URL Standard section 5.1), names and values decoded.
 *
 * Decoded texts are UTF-8 (each byte that is not becomes '?') and terminated; a U+0000 inside is kept. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define FORM_FIELDS_MAX 512
#define FORM_ARENA_BYTES_MAX(body_bytes) ((body_bytes) + FORM_FIELDS_MAX * 64)

struct form_field {
    struct text name;
    struct text value;
};

struct form {
    struct form_field fields[FORM_FIELDS_MAX];
    size_t count;
};

/* Decodes `body` into `arena`, of which it takes at most FORM_ARENA_BYTES_MAX(body.bytes).  False when there are more than FORM_FIELDS_MAX fields or an escape is broken. */
bool form_read(struct text body, struct arena *arena, struct form *ret, struct problem *why);
/* The first field of that name, up to a U+0000; NULL when there is none. */
const char *form_get(const struct form *form, const char *name);
/* Percent-encodes everything but unreserved characters (RFC 3986), for query strings and form bodies. */
void form_encode(struct buf *buf, const char *string);
