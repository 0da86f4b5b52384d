/* json.h: JSON (RFC 8259) without a tree: a scanner over bytes in place and a writer into a buf.
 *
 * The door and every event pass through here, so nothing is allocated but text that has escapes.  Where a tree is handier
 * (a provider's answer) cJSON is used instead.
 *
 * Scanner limits: nesting JSON_DEPTH_MAX; strings must be UTF-8 and must not hold U+0000 (Postgres cannot hold it);
 * duplicate names are reported by whoever reads them (generated readers reject them). */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define JSON_DEPTH_MAX 64

enum json_kind { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_OBJECT, JSON_ARRAY };

/* One value as it stands in the input: `raw` includes quotes, braces or brackets. */
struct json_value {
    enum json_kind kind;
    struct text raw;
};

struct json_scan {
    const char *at;
    const char *end;
    bool any;               /* a member or element was already given */
};

/* Checks that `input` is exactly one JSON value (white space around it allowed) and gives it. On failure `why` names
 * the byte.  Every other function here expects a value that came out of this one. */
bool json_parse(struct text input, struct json_value *ret, struct problem *why);

/* Walks an object or array:  json_enter(&scan, value);  while (json_member(&scan, &name, &value)) …
 * `name` is raw, with its quotes. */
void json_enter(struct json_scan *scan, struct json_value container);
bool json_member(struct json_scan *scan, struct text *ret_name, struct json_value *ret_value);
bool json_element(struct json_scan *scan, struct json_value *ret_value);

/* The member named `name` (compared after unescaping); false when absent or not an object. First one wins. */
bool json_find(struct json_value object, const char *name, struct json_value *ret);

/* Compares a raw string token with a plain string, unescaping as it goes. */
bool json_string_is(struct text raw, const char *string);
/* A string value, unescaped and terminated, in `arena`; NULL when it is not a string. */
const char *json_string(struct json_value value, struct arena *arena);
/* Integers must have no fraction or exponent and fit; numbers must be finite. */
bool json_integer(struct json_value value, int64_t *ret);
bool json_number(struct json_value value, double *ret);

/* Writing.  The caller places commas through json_name() and json_separate(), which add one when it is needed. */
void json_write_string(struct buf *buf, const char *string);            /* NULL writes null */
/* Absent writes null.  What is not UTF-8, and U+0000, becomes U+FFFD: what is written here can always be read here. */
void json_write_text(struct buf *buf, struct text text);
void json_write_integer(struct buf *buf, int64_t number);
void json_write_number(struct buf *buf, double number);                 /* shortest form that reads back the same; null when not finite */
void json_write_bool(struct buf *buf, bool value);
void json_separate(struct buf *buf);                                    /* a comma, unless just after { or [ or : */
void json_name(struct buf *buf, const char *name);                      /* [,]"name": */
/* A member whole: name and value. */
void json_add_string(struct buf *buf, const char *name, const char *value);     /* NULL writes null */
void json_add_integer(struct buf *buf, const char *name, int64_t value);
void json_add_bool(struct buf *buf, const char *name, bool value);
void json_add_time(struct buf *buf, const char *name, int64_t us);              /* RFC 3339; 0 writes null */
