/* listing.h: rows of the database as a person reads them, or as JSON. */
#pragma once

#include "common/postgres.h"

enum listing_kind { LISTING_TEXT, LISTING_NUMBER, LISTING_FLAG, LISTING_JSON };

struct listing_column {
    const char *name;  /* in the rows, and of the member in JSON; NULL ends a table */
    const char *title; /* NULL: not for a person */
    enum listing_kind kind;
};

/* A table, or `nothing` when there are no rows; a table that is cut off says how much is missing. */
void listing_print(const struct rows *rows, const struct listing_column *columns, const char *nothing);
/* An array of objects; SQL NULL is null. */
void listing_print_json(const struct rows *rows, const struct listing_column *columns);
/* One row as one object. */
void listing_print_row_json(const struct rows *rows, int row, const struct listing_column *columns);
