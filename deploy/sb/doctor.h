/* doctor.h: what the checks of `sb doctor` share.  A check says one line, or one for each thing it found: a verdict, a
 * sentence, and what mends it. */
#pragma once

#include "common/postgres.h"
#include "deploy/sb/look.h"
#include "deploy/sb/place.h"

#define DOCTOR_LINES_MAX       512
#define DOCTOR_ARENA_BYTES_MAX ((size_t)256 * 1024 * 1024) /* the dead letters of all stages among it */
#define DOCTOR_DAEMONS_MAX     8

enum verdict_of_check { DOCTOR_OK, DOCTOR_BAD, DOCTOR_UNKNOWN };

struct doctor_line {
    const char *check, *what, *mend; /* `mend` may be NULL */
    enum verdict_of_check verdict;
};

/* A daemon's own --check: its settings as it reads them. */
struct doctor_daemon {
    const char *name;
    const char *said; /* NULL: it is not here */
};

struct doctor {
    struct place place;
    struct place_settings settings;
    struct arena *arena;
    struct pg_pool *pool;  /* NULL: Postgres does not answer */
    struct look *kafka;    /* NULL: Kafka does not answer */
    const char *check;     /* the one that is looking */
    struct doctor_daemon daemons[DOCTOR_DAEMONS_MAX];
    size_t daemon_count;
    struct doctor_line lines[DOCTOR_LINES_MAX];
    size_t line_count;
};

/* One check.  `use_case` NULL: it concerns everything. */
struct doctor_check {
    const char *name;
    const char *use_case;
    void (*look)(struct doctor *doctor);
};
/* A check that is a question to Postgres: each row's column `what` is a line with the verdict; none: `fine`. */
struct doctor_finding {
    const char *name;
    const char *use_case;
    enum verdict_of_check verdict;
    const char *fine;
    const char *mend;
    struct statement statement;
};
/* Each ends with a name that is NULL. */
extern const struct doctor_check doctor_machine_checks[], doctor_part_checks[], doctor_provider_checks[];
extern const struct doctor_finding doctor_findings[];

void doctor_say(struct doctor *doctor, enum verdict_of_check verdict, const char *mend, const char *format, ...)
    PRINTF_LIKE(4, 5);
/* Rows; false when Postgres cannot be asked, which the check `postgres` says. */
bool doctor_query(struct doctor *doctor, const struct statement *statement, struct params params, struct rows *ret);
/* The value of a setting as the daemons read it, «set» for a secret; NULL: not set, or its daemon is not here. */
const char *doctor_setting(struct doctor *doctor, const char *name);
/* Asks every daemon that is beside sb. */
void doctor_ask_daemons(struct doctor *doctor);
