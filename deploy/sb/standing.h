/* standing.h: where things stand now: what the stages' instances say of themselves (table instances), what is parked,
 * and each of it as a sentence for a person.
 *
 * Statements give, beside their columns, `json`: the same as one JSON object.  Columns that end in `_us` are
 * microseconds since 1970. */
#pragma once

#include "deploy/sb/session.h"

/* SQL: whether the dead letter that this row of the ledger led to was dropped by an operator. */
#define DROPPED(row)                                                                                                   \
    "EXISTS (SELECT 1 FROM letter_actions WHERE letter_actions.stage = " row ".stage"                                  \
    " AND letter_actions.event_id = " row ".event_id AND action = 'drop' AND done_at >= " row ".committed_at)"

#define STANDING_ROLE    "switchboard_ingest" /* a stage's role: sees every tenant, and only reads here */
#define INSTANCE_LIVE_MS 15000 /* seen less long ago it lives: it says so every 2 s, if no statement holds it up */

/* A timestamp of Postgres as microseconds since 1970. */
#define US(timestamp) "(extract(epoch FROM " timestamp ") * 1000000)::bigint"

/* stage, instance, host, pid, version, started_us, seen_us, live ("t"), counts (queued, lookup, ready, running,
 * waiting, committing, workers), works_left_out, spool_messages, spool_aside, spool_bytes, spool_since_us. */
extern const struct statement standing_instances; /* by stage, the one last seen at the end */
#define STANDING_COUNTS 6
extern const char *const standing_counts[STANDING_COUNTS]; /* the columns that together are what is in flight */
/* Of the live ones: stage, instance, key (none), name (of a provider; of what an operator `paused`), paused, `stops`
 * (the stage reads nothing meanwhile), since_us, why, next_probe_us, waiting. */
extern const struct statement standing_circuits;
/* The first works of these keys ($1: text[]), where they are here for longer than a second. */
extern const struct statement standing_works;
/* Those that wait for another try, or are here for longer than half a minute, the oldest first; without those behind an
 * open circuit.  $1: at most so many. */
extern const struct statement standing_stuck_works;
/* Parked keys, the longest first, each with its first event.  $1: of these keys (text[]; NULL: all), $2: at most so
 * many. */
extern const struct statement standing_parked;
/* Requests to providers of which nobody knows how they ended.  $1: of these conversations (text[]; NULL: all), $2. */
extern const struct statement standing_asks;
/* Jobs of providers that are not ended.  $1: of these calls or visits (text[]; NULL: all that are overdue, or that
 * nobody asks for), $2: at most so many. */
extern const struct statement standing_jobs;

int64_t row_integer(const struct rows *rows, int row, const char *column); /* 0 for NULL */

/* What a row of these says, as a sentence that does not name the stage; in the arena. */
const char *circuit_sentence(const struct rows *rows, int row, struct arena *arena);
const char *work_sentence(const struct rows *rows, int row, struct arena *arena);
const char *parked_sentence(const struct rows *rows, int row, struct arena *arena);
const char *ask_sentence(const struct rows *rows, int row, struct arena *arena);
const char *job_sentence(const struct rows *rows, int row, struct arena *arena);

/* Why a stage reads nothing, from both statements' rows; NULL: it does. */
const char *holdup_sentence(const struct rows *instances, const struct rows *circuits, const char *stage,
                            struct arena *arena);

/* A text[] for a parameter. */
const char *array_of(const char *const *values, int count, struct arena *arena);
