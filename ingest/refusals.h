/* refusals.h: which webhooks were not authentic, for the operator: by source and reason, since the start.
 *
 * Threads: any. */
#pragma once

#include "common/buf.h"

#define REFUSALS_MAX 32                 /* sources and reasons told apart; what is more is counted as "other" */

/* `path` is what was called, without its query; `explanation` the sentence of the log. */
void refusal_note(const char *source, const char *reason, const char *path, const char *explanation);
/* Adds the member "refused": [{source, reason, count, last_at, path, explanation}]. */
void refusals_report(struct buf *json);
