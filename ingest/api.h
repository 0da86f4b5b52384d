/* api.h: /api/v1/…: who asks, what he may, whose rows he sees, and the threads that ask Postgres.
 *
 * The HTTP loop must not block, so a request with a bearer token goes through a queue to one of a few threads; a full
 * queue answers 503 with Retry-After.  The thread looks the token up and calls the operation's handler, which reads as
 * the role switchboard_api under row-level security: the tenant is set from the token and by nothing else.  Tokens of
 * the role "platform" see all companies; those of the role "rep" see the appointments and visits of their own person.  What changes anything becomes an event (api_writes.c).
 *
 * Answers are never to be cached.  Errors are problem details (RFC 9457); one about a query parameter or a header has
 * its name in "parameter", one about the body a JSON pointer in "pointer". */
#pragma once

#include "common/postgres.h"
#include "ingest/ingest.h"
#include "ingest/tokens.h"

#define API_ALL_TENANTS      "*" /* as the policies of the database have it */
#define API_ANSWER_BYTES_MAX ((size_t)64 * 1024 * 1024)
#define API_BODY_BYTES_MAX   ((size_t)64 * 1024)
#define API_DATABASE_WAIT_MS 2000 /* for a free connection */
#define API_AGAIN_S          "5"  /* said to clients while Postgres is away … */
#define API_BUSY_AGAIN_S     "1"  /* … and while too many ask */

struct api;

/* `ingest` has the settings; it must outlive the API.  Postgres may be away. */
struct api *api_open(struct ingest *ingest, struct problem *why);
/* When the server is drained: nothing new comes.  NULL is fine. */
void api_close(struct api *api);

struct api_request;
typedef void api_handler(struct api_request *request);

/* Roles, as bits. */
#define API_PLATFORM 1u
#define API_ADMIN    2u
#define API_EXEC     4u
#define API_CSR      8u
#define API_REP      16u
#define API_OWNER    32u
#define API_STATION  64u
#define API_PEOPLE   (API_PLATFORM | API_ADMIN | API_EXEC | API_CSR | API_REP | API_OWNER)

/* What can be asked for, and by whom.  The table is api_routes.c. */
struct api_operation {
    const char *id; /* operationId of openapi.yaml */
    unsigned roles;
    bool of_self; /* a token that belongs to no person is refused */
    api_handler *handle;
};

/* A request on its thread.  A handler answers it exactly once, by one of the functions below, or hands it on to
 * api_write(). */
struct api_request {
    struct http_exchange *exchange;
    struct arena *arena; /* the exchange's */
    struct ingest *ingest;
    struct pg_pool *pool;
    const struct api_operation *operation;
    const char *tenant; /* or API_ALL_TENANTS: what is asked for */
    const char *person; /* who sees only what is theirs and nobody's; NULL: what is the company's */
    const struct token *token;
    const void *argument; /* of api_resume() */
    struct problem why;   /* for readers */
};

/* For a route: has the operation's handler called for the request, by and by, or answers it.  On the loop thread. */
void api_accept(struct http_exchange *exchange, void *ingest, const struct api_operation *operation);
/* Has another operation's handler called for a request that was handed on; false: too many wait, nothing was done.
 * `argument` must live as long as the exchange.  Any thread. */
bool api_resume(struct ingest *ingest, struct http_exchange *exchange, const struct api_operation *operation,
                const void *argument);

/* Rows that the token may see; false when there was an error, which is then answered. */
bool api_query(struct api_request *request, const struct statement *statement, struct params params, struct rows *ret);
/* The JSON in `body`, which it frees. */
void api_answer(struct api_request *request, int status, struct buf *body);
/* Anything else; `headers` may be NULL. */
void api_answer_as(struct api_request *request, int status, const char *content_type, struct buf *body,
                   const struct http_answer_header *headers);
/* `parameter` may be NULL. */
void api_refuse(struct api_request *request, int status, const char *detail, const char *parameter);
void api_refuse_with(struct api_request *request, int status, const char *detail,
                     const struct http_answer_header *headers);
/* 422 for what a reader of api_query.h could not read. */
void api_refuse_query(struct api_request *request, const struct problem *why);
/* 404, also when it is another company's: there is no `what` with this id. */
void api_refuse_absent(struct api_request *request, const char *what);
/* The {id} in the path; NULL: it is no UUID, and was answered as absent. */
const char *api_path_uuid(struct api_request *request, const char *what);

/* The same on any thread, when the request is gone.  A problem names a parameter, or a place in the body, or
 * neither. */
void api_send(struct http_exchange *exchange, int status, const char *content_type, struct text body,
              const struct http_answer_header *headers);
void api_send_problem(struct http_exchange *exchange, int status, const char *detail, const char *parameter,
                      const char *pointer);
void api_send_later(struct http_exchange *exchange, const char *detail, const char *after_s);
/* The JSON of a problem; `out` is empty. */
void api_write_problem(struct buf *out, int status, const char *detail, const char *parameter, const char *pointer);

/* --- the handlers, one file a use case --------------------------------------------------------------------- */
api_handler api_list_calls, api_show_call, api_update_call, api_correct_analysis;            /* api_calls.c */
api_handler api_list_leads, api_update_lead;                                                 /* api_leads.c */
api_handler api_list_appointments, api_list_own_appointments, api_create_appointment; /* api_appointments.c */
api_handler api_list_sessions, api_show_session, api_start_session, api_stop_session;        /* api_sessions.c */
api_handler api_show_operation;                                                              /* api_operations.c */
api_handler api_play_call, api_play_session;                                                 /* api_recordings.c */
api_handler api_csr_overview, api_rep_overview, api_all_csrs_overview, api_all_reps_overview; /* api_metrics.c */

/* schemas/openapi.yaml, compiled in. */
extern const char openapi_yaml[];
