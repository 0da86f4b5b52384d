/* record.h: JSON objects and C structs, by tables made from the schemas (schemas/generate.py).
 *
 * The generator turns each schema into a struct, one row per member, and three lines that call the functions below; the
 * rows are all that is generated, so everything a schema says is checked in one place: here.
 *
 * How a member stands in its struct:
 *     string                    const char *x, terminated UTF-8; NULL: null or absent.  Of an enum: the table's own
 *     string, over 64 Ki        struct text x; `at` NULL: null or absent
 *     integer, number, boolean  int64_t, double, bool x; and bool has_x when it may be null or absent
 *     object                    struct parent_x x, or a pointer to it (NULL: null or absent) when it may be
 *     array                     pointer to the items x and size_t x_count; x NULL: null or absent, when it may be
 *
 * Reading checks types, required members, limits, enums and formats, refuses members that are unknown or given twice,
 * and stops at the first thing wrong: `why` has its JSON pointer and a reason ("/duration_s", "must be at least 0, is
 * -3").  Lengths count Unicode characters; 3.0 is an integer (JSON Schema 2020-12 says so), one beyond 64 bits is not
 * read.  `ret` is untouched on failure.  What was read lives in the arena and does not point into the input, except
 * RECORD_RAW.
 *
 * Writing checks nothing: a member that is null or absent in the struct is written as null when it is required and left
 * out when it is not.  Whoever must be sure of what was written reads it back (record_check).
 *
 * Threads: any; the tables are constant. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define RECORD_BYTES_MAX (48 * 1024 * 1024)     /* of JSON; longer is refused unread */
#define RECORD_FIELDS_MAX 64                    /* of one object */

enum record_kind {
    RECORD_STRING,
    RECORD_TEXT,
    RECORD_INTEGER,
    RECORD_NUMBER,
    RECORD_BOOLEAN,
    RECORD_OBJECT,
    RECORD_ARRAY,
    RECORD_RAW,         /* any value, unchecked: struct text, pointing into the input */
};

enum record_format { RECORD_ANY, RECORD_UUID, RECORD_DATE_TIME, RECORD_URI };

#define RECORD_REQUIRED 1u
#define RECORD_NULLABLE 2u

struct record_field {
    const char *name;                   /* NULL in a row that tells of an array's items */
    enum record_kind kind;
    unsigned flags;                     /* RECORD_REQUIRED | RECORD_NULLABLE */
    size_t at;                          /* offset of the value */
    size_t beside;                      /* offset of has_x or x_count, where there is one */
    double least, most;                 /* of the number, the characters, the items; infinite: no limit */
    enum record_format format;
    const char *const *choices;         /* an enum's strings, NULL ends them; NULL: any */
    const struct record *record;        /* of an object */
    const struct record_field *items;   /* of an array */
};

struct record {
    size_t bytes;                       /* of the struct */
    const struct record_field *fields;
    size_t fields_count;
    bool open;                          /* members it does not know are passed over */
};

bool record_read(struct text json, const struct record *record, struct arena *arena, void *ret, struct problem *why);
/* The same for nothing but the answer. */
bool record_check(struct text json, const struct record *record, struct problem *why);
/* Where `value` stands among the choices of an ordered enum, from 0; -1: not there, or NULL. */
int record_rank(const char *const *choices, const char *value);
/* One line, without white space. */
void record_write(struct buf *out, const struct record *record, const void *data);
