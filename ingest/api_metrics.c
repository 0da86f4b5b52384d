/* api_metrics.c: GET /api/v1/metrics/…: the overviews of CSRs and reps, one's own and all of a company's.
 *
 * What they are is said by SQL functions (migration metrics), which give the whole answer.  The days are asked for first:
 * how many they are depends on what day it is for the company. */
#include "ingest/api.h"

#include <stdlib.h>
#include <string.h>

#include "common/json.h"
#include "ingest/api_query.h"

static const struct statement find_days = {
    .name = "api_metrics_days",
    .text = "SELECT tenant, first_day, last_day, days FROM metrics_days($1, $2::date, $3::date)",
    .params = 3,
};
static const struct statement csr_overview_self = {
    .name = "api_csr_overview_self",
    .text = "SELECT csr_overview_self($1, $4, $2::date, $3::date) AS overview",
    .params = 4,
};
static const struct statement sales_overview_self = {
    .name = "api_sales_overview_self",
    .text = "SELECT sales_overview_self($1, $4, $2::date, $3::date) AS overview",
    .params = 4,
};
static const struct statement csr_overview_all = {
    .name = "api_csr_overview_all",
    .text = "SELECT csr_overview_all($1, $2::date, $3::date) AS overview",
    .params = 3,
};
static const struct statement sales_overview_all = {
    .name = "api_sales_overview_all",
    .text = "SELECT sales_overview_all($1, $2::date, $3::date) AS overview",
    .params = 3,
};

/* The company and the days; false: it was answered. */
static bool find(struct api_request *request, const char *company, struct metrics_query *query)
{
    struct rows rows;

    if (!api_query(request, &find_days, PARAMS(company, query->from, query->to), &rows))
        return false;
    if (rows.count == 0 && !company)
        api_refuse(request, 422, "the token sees all companies: tenant says which one is asked for", "tenant");
    else if (rows.count == 0)
        api_refuse(request, 422, "there is no company of this name", "tenant");
    else if (atoi(row_get(&rows, 0, "days")) > API_METRIC_DAYS_MAX)
        api_refuse(request, 422,
                   arena_printf(request->arena, "an overview is of at most %d days", API_METRIC_DAYS_MAX), "from");
    else {
        *query = (struct metrics_query){ row_get(&rows, 0, "tenant"), row_get(&rows, 0, "first_day"),
                                         row_get(&rows, 0, "last_day") };
        return true;
    }
    return false;
}

static void answer_overview(struct api_request *request, const struct statement *statement, struct params params)
{
    struct rows rows;
    struct buf out;

    if (!api_query(request, statement, params, &rows))
        return;
    const char *overview = row_get(&rows, 0, "overview");
    if (!overview) {
        api_refuse_absent(request, "company or person"); /* not any more */
        return;
    }
    buf_init(&out, API_ANSWER_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "data");
    buf_add_string(&out, overview);
    buf_add_string(&out, "}\n");
    api_answer(request, 200, &out);
}

/* A person's figures are those of their own company, also when their token sees all. */
static void show_own(struct api_request *request, const struct statement *statement)
{
    struct metrics_query query;
    struct problem why = { 0 };

    if (!metrics_query_read(http_url(request->exchange), true, request->arena, &query, &why))
        api_refuse_query(request, &why);
    else if (find(request, request->token->tenant, &query))
        answer_overview(request, statement, PARAMS(query.tenant, query.from, query.to, request->token->user_id));
}

static void show_all(struct api_request *request, const struct statement *statement)
{
    struct metrics_query query;
    struct problem why = { 0 };

    if (!metrics_query_read(http_url(request->exchange), false, request->arena, &query, &why))
        api_refuse_query(request, &why);
    else if (find(request, query.tenant, &query))
        answer_overview(request, statement, PARAMS(query.tenant, query.from, query.to));
}

void api_csr_overview(struct api_request *request)
{
    show_own(request, &csr_overview_self);
}

void api_rep_overview(struct api_request *request)
{
    show_own(request, &sales_overview_self);
}

void api_all_csrs_overview(struct api_request *request)
{
    show_all(request, &csr_overview_all);
}

void api_all_reps_overview(struct api_request *request)
{
    show_all(request, &sales_overview_all);
}
