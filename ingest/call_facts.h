/* call_facts.h: what one CallRail webhook, or a call of its list, says of a call, and what all of them say together.
 *
 * CallRail's own names and ours mean the same; JSON and forms alike.  Everything is optional: what is missing, null
 * or "" says nothing. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define CALL_REPORTS_MAX 500        /* of one call */

struct call_facts {
    /* of the report itself */
    int rank;                       /* 0 incoming, 1 answered, 2 completed */
    const char *event_id;
    bool fetched;                   /* we asked for it */
    int64_t reported_us;            /* by the sender's clock, else when it came */

    const char *customer_number;    /* as written */
    const char *tracking_number;    /* as written */
    const char *customer_name;
    const char *direction;          /* "inbound", "outbound" */
    const char *recording_url;
    const char *agent_email;        /* of who took it … */
    const char *answered_number;    /* … and the number that did, as written */
    bool has_answered, answered;
    bool has_voicemail, voicemail;
    int64_t duration_s;             /* -1: not said */
    int64_t started_us;             /* -1: not said */
};

/* The hook's rank; -1 when it is none of ours. */
int call_hook_rank(const char *hook);
/* Reads a body.  A value of the wrong kind fails, with its pointer. */
bool call_facts_read(const char *hook, const char *content_type, struct text body, struct arena *arena,
                     struct call_facts *ret, struct problem *why);
/* One report as the JSON object of its row, and back. */
void call_facts_write(struct buf *out, const struct call_facts *facts);
bool call_facts_restore(struct text json, struct arena *arena, struct call_facts *ret, struct problem *why);

/* What the reports say together: later ones (by rank, then time, then id) replace what earlier ones said.  Sorts
 * `reports`. */
struct call_state {
    struct call_facts facts;
    const char *status;             /* of call_status */
    const char *brought_by;         /* "hook", "fetch" or "both" */
};
void call_fold(struct call_facts *reports, size_t count, struct call_state *ret);
/* What the reports say is over and has a recording that is to be heard: of an unanswered call only a voicemail.
 * No later report takes that back, since by then it was heard, so it is the same in whatever order they come. */
bool call_is_recorded(const struct call_facts *reports, size_t count);
