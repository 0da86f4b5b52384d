/* callrail_hooks.h: what the door reads of a CallRail webhook: whose call it is.  Everything else is the recorder's. */
#pragma once

#include "common/arena.h"
#include "ingest/keys.h"

#define CALL_ID_BYTES_MAX 128           /* as in the schemas */
#define CALLRAIL_NUMBER_BYTES_MAX 64
#define CALLRAIL_NUMBERS_MAX 2          /* one a spelling */

struct callrail_call {
    char call_id[CALL_ID_BYTES_MAX + 1];
    /* the tracking number in each spelling that is there, as written */
    char numbers[CALLRAIL_NUMBERS_MAX][CALLRAIL_NUMBER_BYTES_MAX + 1];
    int number_count;
};

/* Reads a body, JSON or a form, in our spelling (call_id, tracking_number) or CallRail's (resource_id, id,
 * tracking_phone_number); the first of a call's names that has a value counts.  False with pointer and reason when
 * the call cannot be told; `ret->call_id` is empty then. */
bool callrail_read(struct text content_type, struct text body, struct arena *arena, struct callrail_call *ret,
                   struct problem *why);
/* A company's key speaks for its own numbers, and for those that nobody has. */
bool callrail_speaks_for(struct keyring *keyring, const struct signer *signer, const struct callrail_call *call,
                         const char *default_region);
