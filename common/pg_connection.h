/* pg_connection.h: one connection and what is prepared on it.  For pg_*.c and postgres.c alone.
 *
 * Non-blocking, in pipeline mode, so that preparing, setting and running are one round trip and nothing waits beyond
 * PG_ANSWER_MS_MAX even when the server hangs.  One thread at a time. */
#pragma once

#include "common/postgres.h"

#define PG_ANSWER_MS_MAX 40000          /* longer than statement_timeout: the server speaks first, if it can */

struct pg_connection {
    PGconn *link;
    const struct statement **prepared;
    size_t prepared_count, prepared_room;
    struct buf scratch;                 /* the text of a statement with `must` */
    int64_t idle_since_us;              /* kept by the pool */
};

/* NULL when it fails. */
struct pg_connection *pg_connection_new(const struct pg_pool_settings *settings, struct problem *why);
void pg_connection_free(struct pg_connection *connection);

/* Nothing came on an idle connection: a server that went away has said so, or closed it, by now. */
bool pg_connection_is_quiet(const struct pg_connection *connection);

/* One statement in a transaction of its own, in which `role` and `scope` are set.
 * `ret_broken`: the connection must not be used again; `ret_stale`: what was prepared is no longer what the server has,
 * nothing was run, a new connection will do. */
struct pg_run {
    const struct statement *statement;
    struct params params;
    const struct pg_scope *scope;       /* NULL: none */
    const char *role;                   /* NULL: none */
};
enum pg_error pg_connection_run(struct pg_connection *connection, const struct pg_run *run, struct arena *arena,
                                struct rows *ret, bool *ret_broken, bool *ret_stale, struct problem *why);

/* libpq's messages have line ends, ours have not; none: the answer did not come in time. */
void pg_fail(struct problem *why, const char *attempt, const char *message);
