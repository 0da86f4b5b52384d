/* postgres.c: connecting, the classes of errors, statements' texts, rows. */
#include "common/postgres.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pg_connection.h"

#define CONNECTION_WORDS_MAX 128        /* libpq 15 has 41 */
#define FIRST_ANSWER_MS_MAX 5000

/* --- errors ------------------------------------------------------------------------------------------------------- */

struct sqlstates {
    const char *prefix;                 /* five characters: one state; fewer: a class */
    enum pg_error error;
};
static const struct sqlstates sqlstates[] = {
    { "08",    PG_AWAY },               /* connection exceptions */
    { "25006", PG_AWAY },               /* read-only: this server is no longer the primary */
    { "53",    PG_AWAY },               /* out of memory, disk or connections */
    { "55006", PG_AWAY },               /* object in use */
    { "57014", PG_AWAY },               /* cancelled, which is what a statement time-out does */
    { "57P0",  PG_AWAY },               /* shutting down, crashed, starting */
    { "58",    PG_AWAY },               /* the server's disk */
    { "23503", PG_CONFLICT },           /* foreign key */
    { "23505", PG_CONFLICT },           /* unique */
    { "23P01", PG_CONFLICT },           /* exclusion */
    { "40001", PG_CONFLICT },           /* serialization */
    { "40P01", PG_CONFLICT },           /* deadlock */
    { "55P03", PG_CONFLICT },           /* lock time-out */
    { "SB001", PG_CONFLICT },           /* must() */
};

enum pg_error pg_error_of(const char *sqlstate)
{
    if (sqlstate == NULL)
        return PG_AWAY;
    for (size_t i = 0; i < LENGTH(sqlstates); i++) {
        if (strncmp(sqlstate, sqlstates[i].prefix, strlen(sqlstates[i].prefix)) == 0)
            return sqlstates[i].error;
    }
    return PG_WRONG;
}

void pg_fail(struct problem *why, const char *attempt, const char *message)
{
    char line[sizeof(why->text)];
    size_t bytes = 0;

    if (*message == '\0')
        message = "Postgres did not answer in time";
    for (; *message != '\0' && bytes < sizeof(line) - 2; message++) {
        if (*message != '\n')
            line[bytes++] = *message;
        else if (message[1] != '\0')
            line[bytes++] = ' ';
    }
    line[bytes] = '\0';
    fail(why, "%s: %s", attempt, line);
}

/* --- statements and rows ------------------------------------------------------------------------------------------ */

const char *statement_text(const struct statement *statement, struct buf *scratch)
{
    if (statement->must == 0)
        return statement->text;
    buf_clear(scratch);
    buf_printf(scratch, "WITH s AS (%s RETURNING 1) SELECT must((SELECT count(*) FROM s), %d)", statement->text,
               statement->must);
    assert(!scratch->overflowed);
    return scratch->at;
}

const char *row_get(const struct rows *rows, int row, const char *column)
{
    assert(row >= 0 && row < rows->count);
    for (int i = 0; i < rows->columns; i++) {
        if (strcmp(rows->names[i], column) == 0)
            return rows->values[row * rows->columns + i];
    }
    assert(!"a column of that name");
    return NULL;
}

/* --- connecting --------------------------------------------------------------------------------------------------- */

struct word {
    const char *keyword, *value;
};
static const struct word additions[] = {
    { "connect_timeout", "5" },
    { "keepalives", "1" },
    { "keepalives_idle", "30" },
    { "keepalives_interval", "10" },
    { "keepalives_count", "3" },
    { "tcp_user_timeout", "10000" },
};

/* The role is last, since what follows runs with its rights. */
const struct statement pg_set_transaction = {
    .name = "set_transaction",
    .text = "SELECT set_config('TimeZone', 'UTC', true), set_config('lock_timeout', '5s', true),"
            " set_config('statement_timeout', '30s', true),"
            " set_config('idle_in_transaction_session_timeout', '60s', true),"
            " set_config('role', coalesce($1, 'none'), true)",
    .params = 1,
};

struct words {
    const char *keywords[CONNECTION_WORDS_MAX + 1];
    const char *values[CONNECTION_WORDS_MAX + 1];
    size_t count;
};

static void add_word(struct words *words, const char *keyword, const char *value)
{
    assert(words->count < CONNECTION_WORDS_MAX);
    words->keywords[words->count] = keyword;
    words->values[words->count] = value;
    words->count++;
}

/* Libpq would take what its environment says (PGCONNECT_TIMEOUT) only where nothing is given. */
static bool is_said(const PQconninfoOption *options, const char *keyword)
{
    for (; options->keyword != NULL; options++) {
        if (strcmp(options->keyword, keyword) == 0)
            return options->val != NULL || (options->envvar != NULL && getenv(options->envvar) != NULL);
    }
    return true;        /* a word this libpq does not know must not be given */
}

static void tell_notice(void *context, const char *message)
{
    (void)context;
    log_debug("Postgres says", LOG_TEXT("line", message));
}

static PGconn *open_link(const struct pg_pool_settings *settings, struct problem *why)
{
    struct words words = { .count = 0 };
    char *reason = NULL;
    PQconninfoOption *options = PQconninfoParse(settings->url, &reason);

    if (options == NULL) {
        PQfreemem(reason);      /* it quotes the URL, password and all */
        fail(why, "could not read DATABASE_URL: it must be like postgresql://user:password@host:5432/database");
        return NULL;
    }
    for (const PQconninfoOption *option = options; option->keyword != NULL; option++) {
        if (option->val != NULL)
            add_word(&words, option->keyword, option->val);
    }
    for (size_t i = 0; i < LENGTH(additions); i++) {
        if (!is_said(options, additions[i].keyword))
            add_word(&words, additions[i].keyword, additions[i].value);
    }
    if (!is_said(options, "application_name"))
        add_word(&words, "application_name", settings->application_name);
    add_word(&words, "client_encoding", "UTF8"); /* not a choice: all our text is; the last one of a word counts */
    PGconn *link = PQconnectdbParams(words.keywords, words.values, 0);
    PQconninfoFree(options);
    return link;
}

bool pg_wait(PGconn *connection, int64_t timeout_ms)
{
    int64_t deadline_us = monotonic_us() + timeout_ms * 1000;

    for (int unsent = PQflush(connection); unsent > 0 || PQisBusy(connection); unsent = PQflush(connection)) {
        int64_t left_ms = (deadline_us - monotonic_us()) / 1000;
        struct pollfd socket = { .fd = PQsocket(connection), .events = (short)(POLLIN | (unsent > 0 ? POLLOUT : 0)) };
        int ready = left_ms > 0 && unsent >= 0 ? poll(&socket, 1, (int)left_ms) : 0;
        if (ready == 0 || (ready < 0 && errno != EINTR) || !PQconsumeInput(connection))
            return false;
    }
    return PQstatus(connection) == CONNECTION_OK;
}

/* True when what was sent has succeeded. */
static bool is_answered(PGconn *connection)
{
    bool done = false;

    while (pg_wait(connection, FIRST_ANSWER_MS_MAX)) {
        PGresult *result = PQgetResult(connection);
        if (result == NULL)
            return done;
        done = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
        PQclear(result);
    }
    return false;
}

static bool set_transaction(PGconn *connection, const char *role)
{
    return PQsendQueryPrepared(connection, pg_set_transaction.name, 1, &role, NULL, NULL, 0) && is_answered(connection);
}

/* In a transaction that does nothing else: whether the role can be taken. */
static bool try_role(PGconn *connection, const char *role)
{
    return PQsendPrepare(connection, pg_set_transaction.name, pg_set_transaction.text, 0, NULL) &&
           is_answered(connection) && set_transaction(connection, role);
}

PGconn *pg_connect(const struct pg_pool_settings *settings, struct problem *why)
{
    PGconn *link = open_link(settings, why);

    if (link == NULL)
        return NULL;
    PQsetNoticeProcessor(link, tell_notice, NULL);
    if (PQstatus(link) == CONNECTION_OK && try_role(link, settings->role))
        return link;
    pg_fail(why, "could not connect to Postgres", PQerrorMessage(link));
    PQfinish(link);
    return NULL;
}

bool pg_begin(PGconn *connection, const char *role, struct problem *why)
{
    bool begun = PQsendQuery(connection, "BEGIN") && is_answered(connection) && set_transaction(connection, role);

    if (!begun)
        pg_fail(why, "could not begin a transaction", PQerrorMessage(connection));
    return begun;
}

/* --- arrays ---------------------------------------------------------------------------------------------------------- */

void pg_array_begin(struct buf *buf)
{
    buf_clear(buf);
    buf_add_char(buf, '{');
}

void pg_array_add(struct buf *buf, const char *value)
{
    if (buf->bytes > 1)
        buf_add_char(buf, ',');
    if (!value) {
        buf_add_string(buf, "NULL");
        return;
    }
    buf_add_char(buf, '"');
    for (const char *at = value; *at;) {
        size_t plain = strcspn(at, "\"\\");
        buf_add(buf, at, plain);
        at += plain;
        if (*at) {
            buf_add_char(buf, '\\');
            buf_add_char(buf, *at++);
        }
    }
    buf_add_char(buf, '"');
}

void pg_array_end(struct buf *buf)
{
    buf_add_char(buf, '}');
}
