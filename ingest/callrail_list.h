/* callrail_list.h: CallRail's list of calls, as its API answers it (GET /v3/a/{account}/calls.json), and what stands in
 * it of each call.
 *
 * Text and JSON values point into what was read; strings are in the arena. */
#pragma once

#include "common/crypto.h"
#include "common/json.h"
#include "ingest/callrail_hooks.h"
#include "ingest/ingest.h"

#define CALLRAIL_PAGE_CALLS_MAX 250
#define CALLRAIL_CALL_S_MAX (4 * 3600)          /* no call is longer */
#define CALLRAIL_LAST_HOOK "call.completed"     /* what the list says of a call that is over is what this says */

#define CALLRAIL_ACCOUNT_LENGTH_MAX 64 /* as in the schema */
/* Letters, digits, - and _: it becomes a part of addresses. */
bool callrail_account_is(struct text account);

struct callrail_page {
    struct json_value calls;            /* an array */
    int64_t pages, records;             /* of the whole list */
};
bool callrail_page_read(struct text body, struct callrail_page *ret, struct problem *why);

struct callrail_listed {
    char call_id[CALL_ID_BYTES_MAX + 1];
    char event_id[UUID_BYTES];          /* however often it is found; another when its recording has come */
    struct text body;                   /* the API's object */
    int64_t started_us;                 /* -1: not said, or not readable */
    int64_t over_us;                    /* when it is surely over */
    const char *recording_url;          /* NULL: none (yet) */
};
/* False when it is no call.  One whose facts cannot be read has a start of -1. */
bool callrail_listed_read(struct text object, struct arena *arena, struct callrail_listed *ret, struct problem *why);
/* Another recording takes the place of the one that was read; NULL: there is none. */
void callrail_listed_record(struct callrail_listed *listed, const char *recording_url, struct arena *arena);

/* The answer to a recording's own address, {"url": "…"}: does it hold the link, and which? */
bool callrail_link_is(struct text body, struct problem *why);
const char *callrail_link_read(struct text body, struct arena *arena);
