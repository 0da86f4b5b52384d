/* postgres.h: the only place that talks to libpq: statements as named constants, a pool of connections, rows as text.
 *
 * A statement is prepared once per connection under its name.  Parameters are text (NULL is SQL NULL) and typed in the
 * statement where Postgres cannot tell ($1::timestamptz).
 *
 * Every transaction sets the role given to the pool, `TimeZone=UTC`, and lock, statement and idle-in-transaction time-outs, and
 * they end with it.  Nothing is set in a session, so it does not matter on which server connection the next transaction is:
 * PgBouncer in transaction mode may stand between (deploy/README.md says which, and how).
 *
 * What DATABASE_URL or libpq's environment says of a connection (TCP time-outs, names) stands; ours is added where they say
 * nothing.  Passwords are never told. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#include <libpq-fe.h>

#define STATEMENT_PARAMS_MAX 32

struct statement {
    const char *name;       /* unique in the program; also the metric's label */
    const char *text;
    int params;
    /* as an effect: touching another number of rows than this raises SQLSTATE SB001 in the server, which fails the
     * transaction and reruns the handler; 0: any number will do */
    int must;
};

/* What is prepared: the statement's text, or, when it has a `must`, the text wrapped so that the server counts what it touched.
 * Such a text is an INSERT, UPDATE or DELETE without RETURNING.  The result is the constant or stands in `scratch`, until that changes. */
const char *statement_text(const struct statement *statement, struct buf *scratch);

/* What went wrong, in the terms that decide what to do about it. */
enum pg_error {
    PG_FINE,
    PG_AWAY,            /* no connection, or it broke, or the server is shutting down, out of space or connections: try again */
    PG_CONFLICT,        /* unique, exclusion, foreign key, serialization, deadlock, lock time-out, failed must: on fresh reads it may succeed */
    PG_WRONG,           /* anything else: the statement or its data will fail again */
};

/* The class of an SQLSTATE (NULL: the connection broke). */
enum pg_error pg_error_of(const char *sqlstate);

struct pg_pool;

struct pg_pool_settings {
    const char *url;                /* DATABASE_URL: anything libpq takes */
    const char *role;               /* of every transaction; NULL: none */
    const char *application_name;   /* seen in pg_stat_activity */
    int connections_max;
    int64_t wait_ms_max;            /* for a free connection, then PG_AWAY */
};

/* Connects lazily.  Idle connections beyond one are closed after a minute. */
struct pg_pool *pg_pool_new(const struct pg_pool_settings *settings);
void pg_pool_free(struct pg_pool *pool);

/* Rows of one answer; values are terminated and live in the arena given to pg_query. */
struct rows {
    int count;
    int columns;
    const char *const *values;      /* count × columns, row after row; NULL is SQL NULL */
    const char *const *names;       /* columns */
};
/* The value of the column of that name; asking for a column that is not there is a bug (asserted). */
const char *row_get(const struct rows *rows, int row, const char *column);

/* Parameters and how many they are, so that a wrong number is a bug found at once (asserted) and not a read past the end. */
struct params {
    int count;
    const char *const *values;
};
#define PARAMS(...)                                                                                                    \
    ((struct params){ .count = (int)LENGTH(((const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL })) - 1,             \
                      .values = (const char *const[]){ __VA_ARGS__ __VA_OPT__(,) NULL } })

/* The text of an array, for a parameter: begin, add each element (NULL adds NULL), end. */
void pg_array_begin(struct buf *buf);
void pg_array_add(struct buf *buf, const char *value);
void pg_array_end(struct buf *buf);

/* One statement in a transaction of its own.  Any thread. `why` says what was attempted and the server's reason. */
enum pg_error pg_query(struct pg_pool *pool, const struct statement *statement, struct params params,
                       struct arena *arena, struct rows *ret, struct problem *why);

/* Whose rows row-level security lets through: those of a tenant, and of things that are a person's only `person`'s and
 * nobody's (NULL: everybody's). */
struct pg_scope {
    const char *tenant, *person;
};
/* As pg_query, in a transaction in which `switchboard.tenant` and `switchboard.person` say the scope.  For the API. */
enum pg_error pg_query_as(struct pg_pool *pool, const struct pg_scope *scope, const struct statement *statement,
                          struct params params, struct arena *arena, struct rows *ret, struct problem *why);

/* A connection of one's own, for what needs one (the committer, the ledger reader).  Not pooled; NULL when it fails, also when the
 * role cannot be taken.  `pg_set_transaction` is prepared on it. */
PGconn *pg_connect(const struct pg_pool_settings *settings, struct problem *why);
/* The first statement of every transaction; its parameter is the role (NULL: none). */
extern const struct statement pg_set_transaction;
/* BEGIN and that, outside of a pipeline. */
bool pg_begin(PGconn *connection, const char *role, struct problem *why);
/* Sends what is unsent and waits until PQgetResult() will not block; false: the connection broke, or the time is over (a server
 * that hangs answers TCP, so nothing else would notice).  Either way the connection is of no more use. */
bool pg_wait(PGconn *connection, int64_t timeout_ms);

/* Applies schemas/postgres/ (compiled in) that this database does not have yet, under an advisory lock, each in a transaction,
 * as the connecting user; then a no-op.  Fails when the database is newer than this program, saying so. */
bool pg_migrate(const char *url, struct problem *why);
struct migration {
    int number;
    const char *name;
    const char *text;
    const char *sha256;             /* of the text: an applied migration that was edited is refused */
};
extern const struct migration migrations[];         /* generated; number 0 ends it */
