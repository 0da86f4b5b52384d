/* status.h: what `sb status` finds out (status_ask.c, status_stuck.c) and says (status.c). */
#pragma once

#include "deploy/sb/look.h"
#include "deploy/sb/probe.h"
#include "deploy/sb/standing.h"

#define STATUS_LINES_MAX 16
#define STUCK_MAX        1000 /* of a kind */
#define NOT_KNOWN        INT64_MIN

/* A part: what `sb up` wrote of it, if it runs here, and what it says itself. */
struct part_line {
    const char *name, *state, *where, *listen, *path;
    int64_t pid, restarts, since_us;
    struct probe ready;
};

struct stage_line {
    const char *name;
    const char *listen;
    struct look_lag lag; /* when `lag_known` */
    bool lag_known;
    int64_t instances, in_flight, retrying; /* of the live ones; NOT_KNOWN: could not be asked */
    int64_t parked, dead, spool;
    const char *circuits; /* names of those that are open; NULL: none */
    struct probe metrics;
};

/* One thing that does not go on by itself, or not now. */
struct stuck {
    const char *what;        /* "circuit", "pause", "lag", "work", "parked", "ask", "job", "spool" */
    const char *stage, *key; /* `key` NULL: it is about all of the stage; `stage` NULL: about all of them */
    const char *sentence;
    const char *about; /* all that is known of it, as JSON; NULL: nothing more */
    struct stuck *next;
};

struct status {
    struct place place;
    struct place_settings settings;
    struct pg_pool *pool; /* NULL: DATABASE_URL is not set */
    struct arena *arena;
    struct rows instances, circuits; /* as standing.h has them; none when Postgres is away */
    pid_t holder;
    struct part_line parts[STATUS_LINES_MAX];
    size_t part_count;
    struct stage_line stages[STATUS_LINES_MAX];
    size_t stage_count;
    struct stuck *stuck, **stuck_end;
    struct problem kafka, postgres; /* empty text: it answers */
};

void status_ask(struct status *status); /* everything but what is stuck; `place`, `settings`, `arena` are there */
void status_find_stuck(struct status *status);
struct stage_line *status_stage(struct status *status, const char *name); /* NULL: it is not in the map */
bool part_is_well(const struct part_line *part);
