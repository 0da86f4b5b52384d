/* document.h: a JSON document as an operator reads and changes it: what is not changed stays as it was, byte for byte.
 *
 * Documents were read by json_parse(), or come from the database. */
#pragma once

#include "common/json.h"

/* Adds it with a member or element a line. */
void document_indent(struct buf *out, struct text json);

/* Adds `json` with the value at `pointer` (RFC 6901, below its root) replaced by `value`, or added as the last member
 * of an object that is there. */
bool document_set(struct buf *out, struct text json, const char *pointer, struct text value, struct problem *why);
