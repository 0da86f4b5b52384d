/* rerun.h: gives events to a stage again, while it runs: through replay.<stage>, with another number of run. */
#pragma once

#include "deploy/sb/session.h"

#include "common/event.h"

#define RERUN_RATE_DEFAULT 100 /* events a second */
#define RERUN_RATE_MAX     100000

/* How the event shall be handled now. */
struct rerun_flags {
    bool ask_again; /* providers are asked, instead of taking their recorded answers */
    bool resend;    /* messages and notes go out once more */
};
/* Writes `message`, an event, with that run.  False when it is none. */
bool rerun_write(struct buf *out, struct text message, int run, struct rerun_flags flags, struct arena *arena,
                 struct problem *why);

/* --- sending: in order within a key, at most `rate` a second ----------------------------------------------------- */
struct rerun_sender;
/* NULL: `why`. */
struct rerun_sender *rerun_open(const char *brokers, const char *stage, int64_t rate, struct problem *why);
/* Copies `payload`; waits for the rate, and while Kafka is slow. */
bool rerun_send(struct rerun_sender *sender, struct text key, struct text payload, struct problem *why);
/* True when all that was sent is kept by Kafka. */
bool rerun_flush(struct rerun_sender *sender, struct problem *why);
void rerun_close(struct rerun_sender *sender); /* NULL is fine */

/* --- waiting ------------------------------------------------------------------------------------------------------ */
struct rerun {
    const char *event_id;
    int run;
};
struct rerun_outcomes {
    int64_t done, skipped, rejected, parked; /* parked: waits for longer than one wants to look on */
    int64_t open;                            /* not handled: the stage does not run, or is paused */
};
/* Waits, with progress at a terminal, until each is handled or parked, or nobody is there to do it.  Sorts nothing;
 * `reruns` is used up: what is handled leaves it. */
bool rerun_wait(struct session *session, const char *stage, struct rerun *reruns, size_t count,
                struct rerun_outcomes *ret, struct problem *why);
/* "12 done, 1 rejected" */
void rerun_outcomes_print(const struct rerun_outcomes *outcomes, char *ret, size_t room);

/* How it all ended. */
struct rerun_end {
    int64_t sent;
    int64_t gone; /* no longer in Kafka */
    struct rerun_outcomes outcomes;
    bool waited; /* the outcomes are known */
};
/* Tells the operator, as a sentence or as JSON, and operator_actions.  Gives the exit code. */
int rerun_tell(struct session *session, char **argv, const char *action_id, const struct rerun_end *end, bool json);
