/* api.h: GET /api/v1/…: who asks, whose rows he sees, and the threads that ask Postgres.
 *
 * The HTTP loop must not block, so a request with a bearer token goes through a queue to one of a few threads; a full
 * queue answers 503 with Retry-After.  The thread looks the token up and calls the request's handler, which reads as
 * the role switchboard_api under row-level security: the tenant is set from the token and by nothing else.  Tokens of
 * the role "platform" see all companies.
 *
 * Answers are never to be cached.  Errors are problem details (RFC 9457); one about a query parameter has its name in
 * "parameter". */
#pragma once

#include "common/postgres.h"
#include "ingest/ingest.h"

#define API_ALL_TENANTS      "*" /* as the policies of the database have it */
#define API_ANSWER_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define API_DATABASE_WAIT_MS 2000 /* for a free connection */
#define API_AGAIN_S          "5"  /* said to clients while Postgres is away … */
#define API_BUSY_AGAIN_S     "1"  /* … and while too many ask */

struct api;

/* `ingest` has the settings; it must outlive the API.  Postgres may be away. */
struct api *api_open(struct ingest *ingest, struct problem *why);
/* When the server is drained: nothing new comes.  NULL is fine. */
void api_close(struct api *api);

/* A request on its thread.  A handler answers it exactly once, by one of the functions below. */
struct api_request {
    struct http_exchange *exchange;
    struct arena *arena; /* the exchange's */
    struct pg_pool *pool;
    const char *tenant; /* or API_ALL_TENANTS */
};
typedef void api_handler(struct api_request *request);

/* For a route: has `handle` called for the request, by and by, or answers it.  On the loop thread. */
void api_accept(struct http_exchange *exchange, void *ingest, api_handler *handle);

/* Rows that the token may see; false when there was an error, which is then answered. */
bool api_query(struct api_request *request, const struct statement *statement, struct params params, struct rows *ret);
/* 200 with the JSON in `body`, which it frees. */
void api_answer(struct api_request *request, struct buf *body);
/* `parameter` may be NULL. */
void api_refuse(struct api_request *request, int status, const char *detail, const char *parameter);

/* --- api_calls.c ----------------------------------------------------------------------------------------- */
api_handler api_list_calls, api_show_call;

/* schemas/openapi.yaml, compiled in. */
extern const char openapi_yaml[];
