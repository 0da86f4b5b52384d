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

/* Where a page ended: the next one begins behind this call.  Lists are ordered by time, then call, then company, newest
 * first. */
struct calls_cursor {
    const char *at; /* RFC 3339; "infinity": the list's beginning */
    const char *call_id;
    const char *tenant;
};

/* To the client it is one word without meaning.  It holds a checksum, against slips of the pen: whoever makes one up
 * gets no row that he may not see. */
const char *calls_cursor_print(const struct calls_cursor *cursor, struct arena *arena);
bool calls_cursor_read(struct text word, struct arena *arena, struct calls_cursor *ret, struct problem *why);

struct calls_query {
    int limit;
    const char *status;    /* of call_status; NULL: any */
    const char *from, *to; /* days, YYYY-MM-DD, both inclusive, in the company's time zone; NULL: no end */
    const char *search;    /* NULL: none */
    struct calls_cursor after;
};
bool calls_query_read(const char *url, struct arena *arena, struct calls_query *ret, struct problem *why);
