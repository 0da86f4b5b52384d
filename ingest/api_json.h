/* api_json.h: rows as clients see them: columns become members of a JSON object, or cells of a CSV line.
 *
 * Postgres answers columns; what they are called and where they stand is said by tables of parts.  The columns of a
 * part ("contact") begin with its prefix ("contact_"); a part whose first column is null is null. */
#pragma once

#include "common/buf.h"
#include "common/postgres.h"

/* A time as all answers have it, in SQL. */
#define API_UTC(time) "to_char(" time " AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

#define API_MEMBERS_MAX 32 /* of one part */

enum api_kind { API_STRING, API_INTEGER, API_NUMBER, API_BOOLEAN, API_JSON };

struct api_member {
    const char *name; /* NULL ends a table */
    enum api_kind kind;
};

struct api_part {
    const char *name;   /* NULL: its members stand in the object itself */
    const char *prefix; /* of its columns */
    const struct api_member *members; /* NULL ends a table */
    /* not NULL: what the columns do not say as they stand; gives the value of each member, as a column would */
    void (*values)(const struct rows *rows, int row, const char **ret);
};

/* The members of all parts, without the braces around them. */
void api_write_parts(struct buf *out, const struct rows *rows, int row, const struct api_part *parts);
/* A member that is a list: an object of `members` for each row. */
void api_write_list(struct buf *out, const struct rows *rows, const char *name, const struct api_member *members);

/* RFC 4180: the names in the first line ("contact_name"), then a line for each row.  A text that a spreadsheet would
 * take for a formula gets an apostrophe in front. */
void api_write_csv_head(struct buf *out, const struct api_part *parts);
void api_write_csv_line(struct buf *out, const struct rows *rows, int row, const struct api_part *parts);
