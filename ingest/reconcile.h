/* reconcile.h: calls whose webhooks never came, asked for at CallRail's API (reconcile.c). */
#pragma once

#include "ingest/ingest.h"

/* What CallRail allows each account; of it we take CALLRAIL_BUDGET_PERCENT. */
#define CALLRAIL_REQUESTS_PER_HOUR 1000
#define CALLRAIL_REQUESTS_PER_DAY  10000

/* Of the sweep that finds accounts to be asked; the handler is among the recorder's. */
extern const struct statement reconcile_due_accounts;
const char *reconcile_shared_account(void *context);
/* False when the settings do not go together.  Declares the metrics. */
bool reconcile_open(const struct ingest *ingest, struct problem *why);
/* A line for --check. */
void reconcile_check(const struct ingest *ingest, struct buf *out);
