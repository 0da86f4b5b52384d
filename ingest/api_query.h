/* api_query.h: what an API request asks for, read from its address: nothing is guessed and nothing passed over.
 *
 * A parameter that is unknown, given twice or not readable fails, with its name in `why->pointer`; an empty one is as
 * if it were not there.  What is read lives in the arena. */
#pragma once

#include "common/arena.h"

#define API_LIMIT_DEFAULT    50
#define API_LIMIT_MAX        200
#define API_SEARCH_BYTES_MAX 200
#define API_CURSOR_BYTES_MAX 1024 /* in base64 */

/* The values of `names` (NULL ends them) in the query of `url`; NULL where there is none. */
bool api_parameters(const char *url, const char *const *names, const char **ret_values, struct arena *arena,
                    struct problem *why);
/* For what takes none. */
bool api_no_parameters(const char *url, struct arena *arena, struct problem *why);

/* In what order a list is given: by time, then id, then company. */
struct api_order {
    const char *list;  /* whose cursors these are: one of another list is refused */
    const char *first; /* the time in front of all: "infinity" (newest first) or "-infinity" */
    bool ids_are_uuids;
};
extern const struct api_order calls_order, leads_order, appointments_order, sessions_order;

/* Where a page ended: the next one begins behind this row. */
struct api_cursor {
    const char *at; /* RFC 3339; or the order's `first` */
    const char *id;
    const char *tenant;
};

/* To the client it is one word without meaning.  It holds a checksum, against slips of the pen: whoever makes one up
 * gets no row that he may not see. */
const char *api_cursor_print(const struct api_order *order, const struct api_cursor *cursor, struct arena *arena);
bool api_cursor_read(const struct api_order *order, struct text word, struct arena *arena, struct api_cursor *ret,
                     struct problem *why);

struct api_page {
    int limit;
    struct api_cursor after;
};

/* For lists that take nothing else. */
bool page_query_read(const char *url, const struct api_order *order, struct arena *arena, struct api_page *ret,
                     struct problem *why);

/* Days are YYYY-MM-DD, in the company's time zone; NULL: not asked for. */
struct calls_query {
    struct api_page page;
    const char *status;    /* of call_status */
    const char *callback;  /* open, done */
    const char *from, *to; /* both inclusive */
    const char *search;
};
bool calls_query_read(const char *url, struct arena *arena, struct calls_query *ret, struct problem *why);

struct leads_query {
    struct api_page page;
    const char *statuses; /* as a Postgres array: "{new,warm}" */
};
bool leads_query_read(const char *url, struct arena *arena, struct leads_query *ret, struct problem *why);

struct appointments_query {
    struct api_page page;
    const char *date;
};
bool appointments_query_read(const char *url, struct arena *arena, struct appointments_query *ret,
                             struct problem *why);

struct sessions_query {
    struct api_page page;
    const char *status; /* recording, completed, failed, stale */
};
bool sessions_query_read(const char *url, struct arena *arena, struct sessions_query *ret, struct problem *why);

/* How many days an overview may be of is for Postgres to say, which knows what day it is. */
#define API_METRIC_DAYS_MAX 731
struct metrics_query {
    const char *tenant;    /* a company's short name */
    const char *from, *to; /* both inclusive */
};
/* `of_self`: there is no choice of a company. */
bool metrics_query_read(const char *url, bool of_self, struct arena *arena, struct metrics_query *ret,
                        struct problem *why);
