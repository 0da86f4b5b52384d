/* dlq.h: what the parts of `sb dlq` share. */
#pragma once

#include "deploy/sb/letters.h"

#define DLQ_SETS_MAX 32

struct dlq {
    const char *stage; /* NULL: all (list alone) */
    struct letter_filter filter;
    bool all; /* no filter is meant */
    const char *as, *why;
    const char *sets[DLQ_SETS_MAX]; /* of edit: "/data/field=JSON" */
    size_t set_count;
    int64_t rate; /* a second */
    bool dry_run, yes, no_wait, json;
    char **argv;
};

/* Each gives the exit code. */
int dlq_list(const struct dlq *dlq, struct session *session);
int dlq_show(const struct dlq *dlq, struct session *session);
int dlq_retry(const struct dlq *dlq, struct session *session);
int dlq_edit(const struct dlq *dlq, struct session *session);
int dlq_drop(const struct dlq *dlq, struct session *session);

/* The letters that are meant.  -1, or the exit code: it was said that there are none, or that the operator will not. */
int dlq_select(const struct dlq *dlq, struct session *session, const char *what, struct letters *ret);
/* What was asked for as a JSON object, for operator_actions. */
const char *dlq_detail(const struct dlq *dlq, struct session *session, size_t letters);

/* A run for each letter's event that no other has; `before` and `after` of an edited one, else NULL.  Gives the runs in
 * the order of `letters`, 0 for one that somebody has dealt with meanwhile; in the session's arena, NULL: `why`. */
const int *dlq_choose_runs(const struct dlq *dlq, struct session *session, const struct letter *letters, size_t count,
                           const char *action_id, const char *before, const char *after, struct problem *why);
/* They are sent, and letters no more. */
bool dlq_note_sent(struct session *session, const struct letter *letters, size_t count, struct problem *why);
