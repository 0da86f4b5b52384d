/* api_calls.h: how far a call has come, as GET /api/v1/calls shows it; and a visit that is over, which takes the same way. */
#pragma once

#include "common/postgres.h"

/* What is known of it: its rows, and how its two events ended last (the ledger). */
struct call_progress {
    bool analyzed, transcribed, recorded;            /* there is a row; CallRail has a recording */
    const char *status;                              /* of call_status */
    const char *transcribe_outcome, *transcribe_why; /* of the ledger; NULL: not handled yet */
    const char *analyze_outcome, *analyze_why;
};

struct call_processing {
    const char *state;  /* none, waiting, transcribing, transcribed, analyzed, failed */
    const char *stage;  /* where it waits or failed; NULL: nowhere */
    const char *reason; /* NULL: it takes its course */
};

struct call_processing call_processing_of(const struct call_progress *progress);
/* The same as api_processing_members has it; how the events ended is read from LAST_OUTCOME_COLUMNS (api_rows.h). */
void call_processing_show(const struct rows *rows, int row, struct call_progress progress, const char **ret);
