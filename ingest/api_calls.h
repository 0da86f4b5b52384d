/* api_calls.h: how far a call has come, as GET /api/v1/calls shows it. */
#pragma once

#include <stdbool.h>

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
