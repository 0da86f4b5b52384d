/* api_list.h: GET of a list: a page of rows, how many there are in all, and where the next page begins; JSON or CSV.
 *
 * The order is total (time, id, company), so paging neither loses a row nor gives it twice while new ones come in. */
#pragma once

#include "ingest/api.h"
#include "ingest/api_json.h"
#include "ingest/api_query.h"

/* The statement of a list: rows `c` of `from` that are `where`, then `columns` of a page `p` of them with `joins`.
 * Parameters: $1 the company or API_ALL_TENANTS, $2 to $4 the cursor, $5 the limit and one more, from $6 on the list's
 * own.  Row-level security says the tenancy again; said here, it lets the company's index be used.  `total` is how many
 * rows there are: API_COUNT(), or what is faster where there are a million. */
#define API_COUNT(from, where) "(SELECT count(*) FROM " from " WHERE " where ")"
/* Where the page begins is no comparison of rows: an index scan would begin there and overlook another bound of its
 * time that is nearer. */
#define API_LIST(total, from, where, at, id, id_type, order, behind, columns, joins)                              \
    "WITH page AS MATERIALIZED (SELECT c.* FROM " from " WHERE " where                                            \
    " AND c." at " " behind "= $2::timestamptz"                                                                   \
    " AND (c." at " <> $2::timestamptz OR (c." id ", c.tenant) " behind " ($3::" id_type ", $4))"                 \
    " ORDER BY c." at " " order ", c." id " " order ", c.tenant " order " LIMIT $5::integer),"                    \
    " listed AS MATERIALIZED (SELECT " total " AS total, 'exact' AS total_is)"                                    \
    API_SHOW_PAGE(at, id, order, columns, joins)
/* What follows `page` and `listed`: an empty page has a row, too, for the total. */
#define API_SHOW_PAGE(at, id, order, columns, joins)                                                              \
    " SELECT listed.total, listed.total_is, " columns " FROM listed LEFT JOIN page p ON true" joins               \
    " ORDER BY p." at " " order ", p." id " " order ", p.tenant " order
#define API_NEWEST_FIRST(total, from, where, at, id, id_type, columns, joins)                                     \
    API_LIST(total, from, where, at, id, id_type, "DESC", "<", columns, joins)
#define API_OLDEST_FIRST(total, from, where, at, id, id_type, columns, joins)                                     \
    API_LIST(total, from, where, at, id, id_type, "ASC", ">", columns, joins)
#define API_ONE_COMPANY "c.tenant = $1"
#define API_ALL_COMPANIES "$1 = '" API_ALL_TENANTS "'"

/* --- days, each company's own.  `at` is a column of `c`; where no day is asked for there is no bound. */

/* Of the company $1.  As bounds they let the index be used to the row. */
#define API_IN_DAYS(at, from, to)                                                                                 \
    "c." at " >= CASE WHEN " from " IS NULL THEN '-infinity' ELSE " API_DAY_BEGINS(from) " END"                   \
    " AND c." at " < CASE WHEN " to " IS NULL THEN 'infinity' ELSE " API_DAY_BEGINS(to " + 1") " END"
#define API_DAY_BEGINS(day)                                                                                       \
    "(SELECT day_begins(" day ", co.time_zone) FROM companies co WHERE co.tenant = $1)"
/* Of all companies, whose rows each have to be looked at; that it is the day anywhere on earth lets the index be
 * used. */
#define API_IN_DAYS_OF_ALL(at, from, to)                                                                          \
    "c." at " >= CASE WHEN " from " IS NULL THEN '-infinity'"                                                     \
    " ELSE " from "::timestamptz - interval '14 hours' END"                                                       \
    " AND c." at " < CASE WHEN " to " IS NULL THEN 'infinity'"                                                    \
    " ELSE (" to " + 1)::timestamptz + interval '12 hours' END"                                                   \
    " AND (" from " IS NULL AND " to " IS NULL OR (c." at " AT TIME ZONE"                                         \
    " (SELECT co.time_zone FROM companies co WHERE co.tenant = c.tenant))::date"                                  \
    " BETWEEN coalesce(" from ", '-infinity') AND coalesce(" to ", 'infinity'))"

struct api_list {
    const struct api_order *order;
    const struct api_part *parts;
    const char *at, *id;                        /* columns of the answer that the cursor is made of, beside tenant */
    const struct statement *of_company, *of_all; /* made with API_LIST */
};

/* Answers the request with the page; `params` are the list's own. */
void api_answer_list(struct api_request *request, const struct api_list *list, const struct api_page *page,
                     struct params params);

/* Answers with the one row as an object, or 404: there is no `what` with this id. */
void api_answer_one(struct api_request *request, const struct rows *rows, const struct api_part *parts,
                    const char *what);

/* Whether the header Accept wants CSV rather than JSON (RFC 9110 section 12.5.1). */
bool api_wants_csv(struct text accept);
