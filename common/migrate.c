/* migrate.c: brings a database to what schemas/postgres/ says. */
#include "common/postgres.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"
#include "common/pg_connection.h"

#define ATTEMPT_BYTES_MAX 192

/* Ends with the transaction, so it works behind a pooler too.  The number is this product's, and means nothing else.
 * Whoever comes second may wait for all migrations of the first. */
static const char lock_text[] =
    "SET LOCAL lock_timeout = '10min'; SET LOCAL statement_timeout = '10min';"
    " SELECT pg_advisory_xact_lock(5077426371); SET LOCAL lock_timeout = '5s'";
static const char exists_text[] = "SELECT to_regclass('schema_migrations') IS NOT NULL";
static const char create_text[] =
    "CREATE TABLE schema_migrations (number integer PRIMARY KEY, name text NOT NULL, sha256 text NOT NULL,"
    " applied_at timestamptz NOT NULL DEFAULT now())";
static const char applied_text[] = "SELECT number, name, sha256 FROM schema_migrations ORDER BY number";
static const char note_text[] = "INSERT INTO schema_migrations (number, name, sha256) VALUES ($1, $2, $3)";

static void result_clearp(PGresult **result)
{
    PQclear(*result);
}

/* Line ends up to where the server points, so that a person finds the place in the file. */
static int line_of(const char *text, const char *position)
{
    long characters = position != NULL ? strtol(position, NULL, 10) : 0;
    int line = 1;

    for (; characters > 1 && *text != '\0'; text++) {
        line += *text == '\n';
        characters -= ((unsigned char)text[1] & 0xC0) != 0x80;
    }
    return line;
}

static bool is_done(const PGresult *result)
{
    ExecStatusType status = PQresultStatus(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
}

static bool run(PGconn *link, const char *text, struct problem *why)
{
    CLEANUP(result_clearp) PGresult *result = PQexec(link, text);

    if (!is_done(result))
        pg_fail(why, "could not prepare the migrations", PQerrorMessage(link));
    return is_done(result);
}

static bool apply(PGconn *link, const struct migration *migration, struct problem *why)
{
    char attempt[ATTEMPT_BYTES_MAX];
    char number[16];
    CLEANUP(result_clearp) PGresult *result = PQexec(link, migration->text);

    if (!is_done(result)) {
        int line = line_of(migration->text, PQresultErrorField(result, PG_DIAG_STATEMENT_POSITION));
        snprintf(attempt, sizeof(attempt), "could not apply migration %04d_%s (line %d)", migration->number,
                 migration->name, line);
        pg_fail(why, attempt, PQerrorMessage(link));
        return false;
    }
    snprintf(number, sizeof(number), "%d", migration->number);
    const char *values[] = { number, migration->name, migration->sha256 };
    CLEANUP(result_clearp) PGresult *noted = PQexecParams(link, note_text, LENGTH(values), NULL, values, NULL, NULL, 0);
    if (!is_done(noted))
        pg_fail(why, "could not note a migration", PQerrorMessage(link));
    return is_done(noted);
}

/* What was applied must be the beginning of what this program has, word for word. */
static bool check_applied(const PGresult *applied, struct problem *why)
{
    const struct migration *migration = migrations;

    for (int row = 0; row < PQntuples(applied); row++, migration++) {
        const char *number = PQgetvalue(applied, row, 0), *name = PQgetvalue(applied, row, 1);
        if (migration->number == 0)
            return fail(why,
                        "could not use the database: it is newer than this program, having migration %s_%s; this "
                        "program knows %d: run a newer one",
                        number, name, migration == migrations ? 0 : migration[-1].number);
        if (atoi(number) != migration->number)
            return fail(why, "could not use the database: migration %d_%s is missing, though %s_%s was applied",
                        migration->number, migration->name, number, name);
        if (strcmp(PQgetvalue(applied, row, 2), migration->sha256) != 0)
            return fail(why,
                        "could not use the database: migration %04d_%s was changed since it was applied; undo the "
                        "change and add a new migration",
                        migration->number, migration->name);
    }
    return true;
}

/* One transaction: looks, and applies the first that is missing; *ret_more when there was one. */
static bool migrate_one(PGconn *link, bool *ret_more, struct problem *why)
{
    if (!pg_begin(link, NULL, why) || !run(link, lock_text, why))
        return false;
    CLEANUP(result_clearp) PGresult *exists = PQexec(link, exists_text);
    if (!is_done(exists)) {
        pg_fail(why, "could not look for migrations", PQerrorMessage(link));
        return false;
    }
    if (*PQgetvalue(exists, 0, 0) == 'f' && !run(link, create_text, why))
        return false;
    CLEANUP(result_clearp) PGresult *applied = PQexec(link, applied_text);
    if (!is_done(applied)) {
        pg_fail(why, "could not read schema_migrations", PQerrorMessage(link));
        return false;
    }
    if (!check_applied(applied, why))
        return false;
    const struct migration *next = &migrations[PQntuples(applied)];
    *ret_more = next->number != 0;
    if (*ret_more && !apply(link, next, why))
        return false;
    if (!run(link, "COMMIT", why))
        return false;
    if (*ret_more)
        log_info("migration applied", LOG_INT("number", next->number), LOG_TEXT("name", next->name));
    return true;
}

bool pg_migrate(const char *url, struct problem *why)
{
    struct pg_pool_settings settings = { .url = url, .application_name = "migrate" };
    PGconn *link = pg_connect(&settings, why);
    bool more = false, fine = link != NULL;

    while (fine) {
        fine = migrate_one(link, &more, why);
        if (!more)
            break;
    }
    PQfinish(link);
    return fine;
}
