/* form.h: application/x-www-form-urlencoded (URL Standard section 5.1), names and values decoded. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define FORM_FIELDS_MAX 512

struct form_field {
    struct text name;
    struct text value;
};

struct form {
    struct form_field fields[FORM_FIELDS_MAX];
    size_t count;
};

/* Decodes `body` into `arena`.  False when there are more than FORM_FIELDS_MAX fields or an escape is broken. */
bool form_read(struct text body, struct arena *arena, struct form *ret, struct problem *why);
/* The first field of that name, terminated; NULL when there is none. */
const char *form_get(const struct form *form, const char *name);
/* Percent-encodes everything but unreserved characters (RFC 3986), for query strings and form bodies. */
void form_encode(struct buf *buf, const char *string);
