/* graph_hooks.h: what the door reads of Microsoft Graph's notices: of each item whether it is ours, and what it is
 * about.  What became of the calendar's event is the recorder's to ask (graph_changes.c). */
#pragma once

#include "common/arena.h"
#include "common/crypto.h"
#include "common/json.h"

#define GRAPH_NOTIFY_PATH "/graph/notify"
#define GRAPH_ITEMS_MAX 1000                /* of one body; with more of them none is taken, so that none is lost */
#define GRAPH_BODY_BYTES_MAX (GRAPH_ITEMS_MAX * 2048)   /* small, as it must be parsed to know whose it is */
#define GRAPH_STATE_BYTES (2 * SHA256_BYTES + 1)
#define GRAPH_STATES_BYTES_MAX 1024         /* of all secrets in use */

/* What a subscription was given to know its notices by: of a secret of the application's, the company and the mailbox,
 * so that the door needs no Postgres. */
char *graph_client_state(struct text secret, const char *tenant, const char *mailbox, char ret[GRAPH_STATE_BYTES]);
/* That of each of several secrets, separated by commas. */
char *graph_client_states(const char *secrets, const char *tenant, const char *mailbox,
                          char ret[GRAPH_STATES_BYTES_MAX]);
/* Which of several states, separated by commas, is this one?  In constant time, and each is tried; SIGNATURE_WRONG:
 * none. */
int graph_state_find(const char *states, const char *given);

/* One item; terminated texts in the arena. */
struct graph_notice {
    const char *subscription_id;
    const char *change;                     /* as in graph.change.received */
    const char *event_id;                   /* of the calendar's event; NULL: it is about the subscription */
    const char *etag;                       /* may be NULL */
    struct text item;                       /* as it came, without clientState */
};

/* The items of a body.  False with the reason when it is no list of notices. */
bool graph_notices_find(struct text body, struct json_value *ret_items, struct problem *why);
/* What an item says to be ours by; "" when it says nothing.  It is looked at before anything else. */
const char *graph_notice_state(struct json_value item, struct arena *arena);
/* False with pointer and reason when it cannot be understood; what was read until then stands in `ret`. */
bool graph_notice_read(struct json_value item, struct arena *arena, struct graph_notice *ret, struct problem *why);
/* The id of an inbound event: the same notice twice has the same one.  `received_at` tells those apart that have no
 * etag. */
char *graph_notice_id(const struct graph_notice *notice, const char *received_at, char ret[UUID_BYTES]);
/* Its key: the calendar's event, else the subscription. */
const char *graph_notice_key(const struct graph_notice *notice, struct arena *arena);

void graph_hooks_open(void);                /* declares the metrics */
