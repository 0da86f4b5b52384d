/* pg_connection.c: statements on one connection, in pipeline mode. */
#include "common/pg_connection.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STATEMENT_BYTES_MAX (64 * 1024)
#define ATTEMPT_BYTES_MAX 128

/* What clients ask for may be anything or not said: planned for what is said, it takes milliseconds instead of a look at each row. */
static const char scope_text[] = "SELECT set_config('switchboard.tenant', $1, true),"
                                 " set_config('switchboard.person', coalesce($2, ''), true),"
                                 " set_config('plan_cache_mode', 'force_custom_plan', true)";

struct pg_connection *pg_connection_new(const struct pg_pool_settings *settings, struct problem *why)
{
    PGconn *link = pg_connect(settings, why);

    if (link == NULL)
        return NULL;
    if (PQsetnonblocking(link, 1) != 0 || !PQenterPipelineMode(link)) {
        pg_fail(why, "could not set up the connection to Postgres", PQerrorMessage(link));
        PQfinish(link);
        return NULL;
    }
    struct pg_connection *connection = must_alloc(sizeof(*connection));
    connection->link = link;
    buf_init(&connection->scratch, STATEMENT_BYTES_MAX);
    return connection;
}

void pg_connection_free(struct pg_connection *connection)
{
    if (connection == NULL)
        return;
    PQfinish(connection->link);
    buf_done(&connection->scratch);
    free(connection->prepared);
    free(connection);
}

bool pg_connection_is_quiet(const struct pg_connection *connection)
{
    struct pollfd socket = { .fd = PQsocket(connection->link), .events = POLLIN };

    return PQstatus(connection->link) == CONNECTION_OK && poll(&socket, 1, 0) == 0;
}

/* --- what is prepared --------------------------------------------------------------------------------------------- */

static bool is_prepared(const struct pg_connection *connection, const struct statement *statement)
{
    for (size_t i = 0; i < connection->prepared_count; i++) {
        if (connection->prepared[i] == statement)
            return true;
    }
    return false;
}

static void note_prepared(struct pg_connection *connection, const struct statement *statement)
{
    if (connection->prepared_count == connection->prepared_room) {
        connection->prepared_room = connection->prepared_room * 2 + 16;
        connection->prepared =
            must_realloc(connection->prepared, connection->prepared_room * sizeof(*connection->prepared));
    }
    connection->prepared[connection->prepared_count++] = statement;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* How many results will come before the pipeline's end; 0: nothing could be sent. */
static int send_steps(struct pg_connection *connection, const struct pg_run *run, bool prepare)
{
    const struct statement *statement = run->statement;
    int steps = 1;

    if (!PQsendQueryPrepared(connection->link, pg_set_transaction.name, 1, &run->role, NULL, NULL, 0))
        return 0;
    if (run->scope != NULL) {
        const char *values[] = { run->scope->tenant, run->scope->person };
        if (!PQsendQueryParams(connection->link, scope_text, LENGTH(values), NULL, values, NULL, NULL, 0))
            return 0;
        steps++;
    }
    if (prepare) {
        if (!PQsendPrepare(connection->link, statement->name, statement_text(statement, &connection->scratch), 0, NULL))
            return 0;
        steps++;
    }
    if (!PQsendQueryPrepared(connection->link, statement->name, run->params.count, run->params.values, NULL, NULL, 0) ||
        !PQpipelineSync(connection->link))
        return 0;
    return steps + 1;
}

/* --- results ------------------------------------------------------------------------------------------------------ */

/* One block: the pointers, then the strings. */
static void copy_rows(const PGresult *result, struct arena *arena, struct rows *ret)
{
    int rows = PQntuples(result);
    int columns = PQnfields(result);
    size_t cells = (size_t)(rows + 1) * (size_t)columns;        /* the names are the first row */
    size_t bytes = cells * sizeof(const char *);

    for (int column = 0; column < columns; column++) {
        bytes += strlen(PQfname(result, column)) + 1;
        for (int row = 0; row < rows; row++)
            bytes += (size_t)PQgetlength(result, row, column) + 1;
    }
    const char **pointers = arena_alloc(arena, bytes);
    char *at = (char *)(pointers + cells);
    for (int row = -1; row < rows; row++) {
        for (int column = 0; column < columns; column++) {
            const char **cell = &pointers[(row + 1) * columns + column];
            if (row >= 0 && PQgetisnull(result, row, column))
                continue;
            *cell = strcpy(at, row < 0 ? PQfname(result, column) : PQgetvalue(result, row, column));
            at += strlen(at) + 1;
        }
    }
    *ret = (struct rows){ .count = rows, .columns = columns, .values = pointers + columns, .names = pointers };
}

/* A changed table makes an old plan useless; a pooler or DISCARD may have lost it. Either way nothing was run. */
static bool is_stale(const PGresult *result, const char *sqlstate)
{
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);

    return strcmp(sqlstate, "26000") == 0 ||
           (strcmp(sqlstate, "0A000") == 0 && function != NULL && strcmp(function, "RevalidateCachedQuery") == 0);
}

struct answer_state {
    enum pg_error error;        /* of the first that failed */
    bool stale;
    bool broken;
};

static void note_failure(const struct pg_run *run, const PGresult *result, struct answer_state *state,
                         struct problem *why)
{
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    const char *message = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    char attempt[ATTEMPT_BYTES_MAX];

    if (state->error != PG_FINE)
        return;
    state->error = pg_error_of(sqlstate);
    state->stale = sqlstate != NULL && is_stale(result, sqlstate);
    /* a server that ended, or is no longer the primary, is left at once */
    state->broken = sqlstate == NULL || strncmp(sqlstate, "57P", 3) == 0 || strcmp(sqlstate, "25006") == 0;
    snprintf(attempt, sizeof(attempt), "could not run \"%s\"", run->statement->name);
    pg_fail(why, attempt, message != NULL ? message : PQresultErrorMessage(result));
}

static void fail_broken(const struct pg_run *run, PGconn *link, struct answer_state *state, struct problem *why)
{
    char attempt[ATTEMPT_BYTES_MAX];

    state->broken = true;
    if (state->error != PG_FINE)
        return;
    state->error = PG_AWAY;
    snprintf(attempt, sizeof(attempt), "could not run \"%s\"", run->statement->name);
    pg_fail(why, attempt, PQerrorMessage(link));
}

/* Each step's result is followed by NULL, the pipeline's end by nothing. */
static void read_results(struct pg_connection *connection, const struct pg_run *run, int steps, bool prepare,
                         struct arena *arena, struct rows *ret, struct answer_state *state, struct problem *why)
{
    int64_t deadline_us = monotonic_us() + (int64_t)PG_ANSWER_MS_MAX * 1000;
    bool ended = false;

    for (int step = 0; !ended && !state->broken;) {
        if (step > steps || !pg_wait(connection->link, (deadline_us - monotonic_us()) / 1000)) {
            fail_broken(run, connection->link, state, why);
            return;
        }
        PGresult *result = PQgetResult(connection->link);
        ExecStatusType status = PQresultStatus(result);
        if (result == NULL)
            step++;
        else if (status == PGRES_PIPELINE_SYNC)
            ended = true;
        else if (status == PGRES_COMMAND_OK && prepare && step == steps - 2)
            note_prepared(connection, run->statement);
        else if ((status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) && step == steps - 1)
            copy_rows(result, arena, ret);
        else if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
            note_failure(run, result, state, why);
        PQclear(result);
    }
}

enum pg_error pg_connection_run(struct pg_connection *connection, const struct pg_run *run, struct arena *arena,
                                struct rows *ret, bool *ret_broken, bool *ret_stale, struct problem *why)
{
    struct answer_state state = { .error = PG_FINE };
    struct rows rows = { .count = 0 };
    bool prepare = !is_prepared(connection, run->statement);

    assert(run->params.count == run->statement->params && run->params.count <= STATEMENT_PARAMS_MAX);
    int steps = send_steps(connection, run, prepare);
    if (steps == 0)
        fail_broken(run, connection->link, &state, why);
    else
        read_results(connection, run, steps, prepare, arena, &rows, &state, why);
    if (state.error == PG_FINE)
        *ret = rows;
    *ret_broken = state.broken || PQstatus(connection->link) != CONNECTION_OK;
    *ret_stale = state.stale;
    return state.error;
}
