/* person.h: everything that is kept of one person, in all tables, recordings and topics: for `sb export` and
 * `sb erase`.
 *
 * Which rows are a person's, and what of them is theirs, stands in one table (person_tables.c); a unit test holds it
 * against the database's catalog, so that no new table or column is forgotten.
 *
 * All is done as the owner of the tables (DATABASE_URL's user): row-level security and the stages' grants do not
 * apply. */
#pragma once

#include "common/postgres.h"
#include "common/recordings.h"
#include "deploy/sb/place.h"

#define PERSON_STATEMENT_MS      600000 /* the ledger of a month is read whole */
#define PERSON_RECORDINGS_MAX    10000
#define PERSON_ROWS_MAX          100000 /* of one table, shown by an export */
#define PERSON_ARENA_BYTES_MAX   ((size_t)1024 * 1024 * 1024)
#define PERSON_NAME_BYTES_MAX    256

enum person_fate {
    ROW_DELETED,
    ROW_BLANKED, /* `blank` says which columns, and with what */
    ROW_KEPT,    /* nothing in it says who it was once the others are blanked */
    ROW_NOBODYS, /* no table of people's data */
};

struct person_table {
    const char *name;
    const char *found;      /* the rows: a condition over the table and the sets of person.c; NULL: ROW_NOBODYS */
    enum person_fate fate;
    const char *blank;      /* "column = value, …" */
    const char *personal;   /* columns that say who it is, or what was said: every one is deleted or blanked */
    const char *impersonal; /* all others: ids, times, outcomes, figures */
    const char *why;        /* what is kept, and why */
};
extern const struct person_table person_tables[]; /* in the order in which they are erased; `name` NULL ends it */

struct person {
    struct place place;
    struct place_settings settings;
    struct recordings recordings;
    struct http_client *http; /* for a bucket */
    const char *given;    /* as the operator wrote it … */
    const char *kind;     /* … which is "phone", "e-mail" or "id" */
    const char *value;    /* E.164, lower case, or as it is */
    PGconn *connection;   /* in a transaction, with the sets in temporary tables */
    struct arena *arena;
};

/* Finds whom `given` names.  -1, or the exit code, and it was said why. `person` was zeroed. */
int person_open(struct person *person, const char *given, char **argv);
void person_close(struct person *person); /* rolls back what was not committed */

/* Runs one statement; NULL: `why`.  The caller clears the result. */
PGresult *person_query(struct person *person, const char *text, struct params params, struct problem *why);
/* As person_query, for one that has no rows to give. */
bool person_run(struct person *person, const char *text, struct problem *why);
/* The first transaction is begun when it is opened. */
bool person_begin(struct person *person, struct problem *why);
/* Its first value as a number; -1: `why`. */
int64_t person_count(struct person *person, const char *text, struct problem *why);

/* Recordings: those the table names, and copies whose row was never written; paths in the folder or bucket. */
struct person_files {
    const char **paths;
    size_t count;
};
bool person_recordings(struct person *person, struct person_files *ret, struct problem *why);

/* Where events of theirs still stand, and until when. */
struct person_topic {
    const char *name;
    int64_t until_us;
};
struct person_topics {
    struct person_topic topics[64];
    size_t count;
};
bool person_topics_find(struct person *person, struct person_topics *ret, struct problem *why);
void person_topics_write(const struct person_topics *found, struct buf *out); /* as JSON */
