/* changes.h: the recorder's part of API writes: api.requested → rows, api_operations, api.answered.
 *
 * A handler reads what the change is about, and either describes the rows and gives the answer the client will see, or
 * refuses, with nothing described.  It must hold what it reads to `scope`: the recorder's role sees every company. */
#pragma once

#include "ingest/api_json.h"
#include "ingest/recorder.h"

/* In a statement: is the row of `tenant` in the scope `parameter`? */
#define CHANGE_IN_SCOPE(tenant, parameter) "(" parameter " = '*' OR " tenant " = " parameter ")"
#define CHANGE_ANSWER_BYTES_MAX ((size_t)128 * 1024)

struct change {
    const struct api_requested *requested;
    const char *id;    /* the operation's: what is made is named by it */
    const char *scope; /* a company, or API_ALL_TENANTS */
    const char *at;    /* when it was asked for */
    const char *by;    /* who: the user, or else the token */
};

struct change_answer {
    int status;
    const char *body; /* JSON, in the work's arena */
};

typedef enum outcome change_handler(struct work *work, const struct change *change, struct change_answer *ret);

change_handler change_create_appointment;                       /* appointments.c */
change_handler change_start_session, change_stop_session;       /* visits.c */
change_handler change_correct_analysis;                         /* corrections.c */
change_handler change_update_call, change_update_lead;          /* leads.c */

/* Gives {"data":{…}} of the first row.  Both return DONE. */
enum outcome change_answer(struct work *work, int status, const struct rows *rows, const struct api_part *parts,
                           struct change_answer *ret);
/* `pointer` is a place in the body, or NULL. */
enum outcome change_refuse(struct work *work, int status, const char *pointer, struct change_answer *ret,
                           const char *format, ...) PRINTF_LIKE(5, 6);
/* 404, also when it is another company's. */
enum outcome change_refuse_absent(struct work *work, const char *what, struct change_answer *ret);
