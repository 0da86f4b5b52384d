/* api_operations.c: GET /api/v1/operations/{id}. */
#include "ingest/api_operations.h"

#include <stdlib.h>
#include <string.h>

#include "ingest/api_list.h"

/* $2, $3: whose it must be. */
#define OWN "o.operation_id = $1::uuid AND (o.token_id = $2::uuid OR o.user_id = $3)"

static const struct statement find_operation = {
    .name = "api_find_operation",
    .text = "SELECT o.fingerprint, o.status, o.body FROM api_operations o WHERE " OWN,
    .params = 3,
};
/* Always a row: what is not recorded is still on its way, for all that is known here; the ledger knows what will never
 * be. */
static const struct statement show_operation = {
    .name = "api_show_operation",
    .text = "SELECT $1::uuid AS operation_id,"
            " CASE WHEN o.status < 400 THEN 'done' WHEN o.status IS NOT NULL THEN 'refused'"
            " WHEN e.outcome IN ('rejected', 'skipped') THEN 'failed' ELSE 'pending' END AS state,"
            " CASE WHEN o.status IS NULL THEN e.why END AS reason, o.operation, o.status, o.body AS answer,"
            " " API_UTC("o.requested_at") " AS requested_at, " API_UTC("o.created_at") " AS recorded_at"
            " FROM (SELECT 1) AS always LEFT JOIN api_operations o ON " OWN
            " LEFT JOIN LATERAL (SELECT l.outcome, l.why FROM ledger l WHERE l.event_id = $1::uuid"
            " AND l.stage = 'ingest' AND l.event_type = 'api.requested' ORDER BY l.run DESC LIMIT 1) e ON true",
    .params = 3,
};

static const struct api_member operation_members[] = {
    { "operation_id", API_STRING }, { "state", API_STRING },        { "reason", API_STRING },
    { "operation", API_STRING },    { "status", API_INTEGER },      { "answer", API_JSON },
    { "requested_at", API_STRING }, { "recorded_at", API_STRING }, { 0 },
};
static const struct api_part operation_parts[] = { { NULL, "", operation_members, NULL }, { 0 } };

static const char *user_of(const struct api_request *request)
{
    return request->token->user_id[0] ? request->token->user_id : NULL;
}

static enum api_found found(const struct rows *rows, struct api_outcome *ret)
{
    if (rows->count == 0)
        return API_NOT_RECORDED;
    *ret = (struct api_outcome){ .fingerprint = row_get(rows, 0, "fingerprint"),
                                 .status = atoi(row_get(rows, 0, "status")),
                                 .body = text_of(row_get(rows, 0, "body")) };
    return API_RECORDED;
}

enum api_found api_operation_find(struct api_request *request, const char *id, struct api_outcome *ret)
{
    struct rows rows;

    return api_query(request, &find_operation, PARAMS(id, request->token->id, user_of(request)), &rows)
               ? found(&rows, ret)
               : API_NOT_KNOWN;
}

enum api_found api_operation_look(struct api_request *request, const char *id, struct api_outcome *ret)
{
    struct problem why = { 0 };
    struct rows rows;

    return pg_query_as(request->pool, &(struct pg_scope){ .tenant = request->tenant }, &find_operation,
                       PARAMS(id, request->token->id, user_of(request)), request->arena, &rows, &why) == PG_FINE
               ? found(&rows, ret)
               : API_NOT_KNOWN;
}

void api_send_outcome(struct http_exchange *exchange, const char *fingerprint, const struct api_outcome *outcome)
{
    if (strcmp(fingerprint, outcome->fingerprint) != 0)
        api_send_problem(exchange, 422, "this Idempotency-Key was used for another request", "Idempotency-Key", NULL);
    else
        api_send(exchange, outcome->status,
                 outcome->status < 400 ? "application/json" : "application/problem+json", outcome->body, NULL);
}

void api_show_operation(struct api_request *request)
{
    const char *id = api_path_uuid(request, "operation");
    struct rows rows;

    if (!id)
        return;
    if (!api_no_parameters(http_url(request->exchange), request->arena, &request->why))
        api_refuse_query(request, &request->why);
    else if (api_query(request, &show_operation, PARAMS(id, request->token->id, user_of(request)), &rows))
        api_answer_one(request, &rows, operation_parts, "operation");
}
