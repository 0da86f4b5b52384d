/* Statements, errors, the pool and the migrations, against a real server: TEST_DATABASE_URL, whose user may make
 * databases. The tests make one of their own and drop it. */
#include "common/crypto.h"
#include "common/metrics.h"
#include "common/postgres.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>     /* last: it has a macro named fail */

#define ARENA_BYTES_MAX (16 * 1024 * 1024)
#define URL_BYTES_MAX 512

static char database[64];
static char url[URL_BYTES_MAX];
static struct arena *arena;

static struct pg_pool *new_pool(const char *role, int connections_max, int64_t wait_ms_max)
{
    return pg_pool_new(&(struct pg_pool_settings){ .url = url,
                                                   .role = role,
                                                   .application_name = "test_postgres",
                                                   .connections_max = connections_max,
                                                   .wait_ms_max = wait_ms_max });
}

/* --- without a server --------------------------------------------------------------------------------------------- */

static void test_error_classes(void **state)
{
    (void)state;
    static const struct {
        const char *sqlstate;
        enum pg_error error;
    } cases[] = {
        { NULL, PG_AWAY },        { "08006", PG_AWAY },     { "57P01", PG_AWAY },     { "57P03", PG_AWAY },
        { "53100", PG_AWAY },     { "53300", PG_AWAY },     { "58030", PG_AWAY },     { "57014", PG_AWAY },
        { "25006", PG_AWAY },     { "55006", PG_AWAY },     { "23505", PG_CONFLICT }, { "23P01", PG_CONFLICT },
        { "23503", PG_CONFLICT }, { "40001", PG_CONFLICT }, { "40P01", PG_CONFLICT }, { "55P03", PG_CONFLICT },
        { "SB001", PG_CONFLICT }, { "23502", PG_WRONG },    { "23514", PG_WRONG },    { "22P02", PG_WRONG },
        { "42501", PG_WRONG },    { "42P01", PG_WRONG },    { "25P02", PG_WRONG },    { "XX000", PG_WRONG },
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_int_equal(pg_error_of(cases[i].sqlstate), cases[i].error);
}

static void test_statement_text(void **state)
{
    (void)state;
    struct buf scratch;
    struct statement plain = { .name = "p", .text = "SELECT 1" };
    struct statement one = { .name = "o", .text = "DELETE FROM t", .must = 1 };

    buf_init(&scratch, 1024);
    assert_ptr_equal(statement_text(&plain, &scratch), plain.text);
    assert_string_equal(statement_text(&one, &scratch),
                        "WITH s AS (DELETE FROM t RETURNING 1) SELECT must((SELECT count(*) FROM s), 1)");
    buf_done(&scratch);
}

static void test_params_count(void **state)
{
    (void)state;
    assert_int_equal(PARAMS().count, 0);
    assert_int_equal(PARAMS("a").count, 1);
    assert_int_equal(PARAMS("a", NULL, "c").count, 3);
}

/* The text went through C literals and came out whole. */
static void test_migration_texts(void **state)
{
    (void)state;
    for (const struct migration *migration = migrations; migration->number != 0; migration++) {
        uint8_t hash[SHA256_BYTES];
        char hex[2 * SHA256_BYTES + 1];
        sha256(text_of(migration->text), hash);
        assert_string_equal(hex_print(hash, sizeof(hash), hex), migration->sha256);
        assert_int_equal(migration->number, migration - migrations + 1);
    }
}

static const struct statement select_one = { .name = "select_one", .text = "SELECT 1 AS one" };

static void test_passwords_are_not_told(void **state)
{
    (void)state;
    static const char *const urls[] = {
        "postgresql://me:hunter2@127.0.0.1:1/x", "postgresql://me:hunter2@[::1/x", "postgresql://me:hunter2@h:port/x",
        "host=127.0.0.1 port=1 password=hunter2 nonsense=1", "postgresql://me:hunter2%@127.0.0.1:1/x", "hunter2",
    };
    for (size_t i = 0; i < LENGTH(urls); i++) {
        struct problem why = { 0 };
        struct pg_pool_settings settings = { .url = urls[i], .application_name = "test_postgres" };
        assert_null(pg_connect(&settings, &why));
        assert_null(strstr(why.text, "hunter2"));
        assert_null(strchr(why.text, '\n'));
        assert_true(strlen(why.text) > 0);
    }
}

static void test_nobody_there(void **state)
{
    (void)state;
    struct problem why;
    struct rows rows;
    struct pg_pool *pool = pg_pool_new(&(struct pg_pool_settings){ .url = "postgresql://127.0.0.1:1/x",
                                                                   .application_name = "test_postgres",
                                                                   .connections_max = 2,
                                                                   .wait_ms_max = 1000 });

    for (int i = 0; i < 3; i++) {       /* the second and third in the pause after the first */
        assert_int_equal(pg_query(pool, &select_one, PARAMS(), arena, &rows, &why), PG_AWAY);
        assert_non_null(strstr(why.text, "could not connect to Postgres"));
    }
    pg_pool_free(pool);
}

/* --- with one ----------------------------------------------------------------------------------------------------- */

static const struct statement echo = { .name = "echo",
                                       .text = "SELECT $1::text AS a, $2::integer + 1 AS b",
                                       .params = 2 };
static const struct statement session = {
    .name = "session",
    .text = "SELECT current_setting('TimeZone') AS time_zone, current_setting('lock_timeout') AS lock_timeout,"
            " current_setting('statement_timeout') AS statement_timeout, current_user AS who,"
            " current_setting('idle_in_transaction_session_timeout') AS idle_timeout,"
            " current_setting('application_name') AS application, current_setting('client_encoding') AS encoding,"
            " coalesce(current_setting('switchboard.tenant', true), '') AS tenant,"
            " coalesce(current_setting('switchboard.person', true), '') AS person, pg_backend_pid() AS pid" };
static const struct statement make_things = { .name = "make_things",
                                              .text = "CREATE TABLE things (id integer PRIMARY KEY, n integer)" };
static const struct statement put_thing = { .name = "put_thing",
                                            .text = "INSERT INTO things VALUES ($1, $2)",
                                            .params = 2 };
static const struct statement move_thing = {
    .name = "move_thing", .text = "UPDATE things SET n = $2::integer WHERE id = $1", .params = 2, .must = 1 };
static const struct statement read_things = { .name = "read_things", .text = "SELECT * FROM things ORDER BY id" };
static const struct statement widen_things = { .name = "widen_things",
                                               .text = "ALTER TABLE things ADD COLUMN name text" };
static const struct statement drop_things = { .name = "drop_things", .text = "DROP TABLE things" };
static const struct statement make_stale = {
    .name = "make_stale",
    .text = "CREATE FUNCTION stale() RETURNS integer LANGUAGE plpgsql AS $$"
            " BEGIN RAISE EXCEPTION 'as a pooler that lost what was prepared' USING ERRCODE = '26000'; END $$" };
static const struct statement be_stale = { .name = "be_stale", .text = "SELECT stale()" };
static const struct statement forget = { .name = "forget", .text = "DEALLOCATE ALL" };
static const struct statement no_table = { .name = "no_table", .text = "SELECT * FROM nowhere" };
static const struct statement no_number = { .name = "no_number", .text = "SELECT $1::integer", .params = 1 };
static const struct statement end_others = { .name = "end_others",
                                             .text = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                                                     "WHERE datname = current_database() AND pid <> pg_backend_pid()" };
static const struct statement end_myself = { .name = "end_myself",
                                             .text = "SELECT pg_terminate_backend(pg_backend_pid())" };

static void query(struct pg_pool *pool, const struct statement *statement, struct params params, struct rows *ret)
{
    struct problem why;
    if (pg_query(pool, statement, params, arena, ret, &why) != PG_FINE)
        fail_msg("%s", why.text);
}

static void test_rows(void **state)
{
    (void)state;
    struct pg_pool *pool = new_pool(NULL, 1, 1000);
    struct rows rows;

    for (int i = 0; i < 2; i++) {
        query(pool, &echo, PARAMS("caf\xC3\xA9 'x'", "41"), &rows);
        assert_int_equal(rows.count, 1);
        assert_int_equal(rows.columns, 2);
        assert_string_equal(row_get(&rows, 0, "a"), "caf\xC3\xA9 'x'");
        assert_string_equal(row_get(&rows, 0, "b"), "42");
    }
    query(pool, &echo, PARAMS(NULL, NULL), &rows);
    assert_null(row_get(&rows, 0, "a"));
    assert_null(row_get(&rows, 0, "b"));
    pg_pool_free(pool);
}

static void test_session(void **state)
{
    (void)state;
    struct pg_pool *pool = new_pool("switchboard_ingest", 1, 1000);
    struct rows rows;

    query(pool, &session, PARAMS(), &rows);
    assert_string_equal(row_get(&rows, 0, "time_zone"), "UTC");
    assert_string_equal(row_get(&rows, 0, "lock_timeout"), "5s");
    assert_string_equal(row_get(&rows, 0, "statement_timeout"), "30s");
    assert_string_equal(row_get(&rows, 0, "idle_timeout"), "1min");
    assert_string_equal(row_get(&rows, 0, "who"), "switchboard_ingest");
    assert_string_equal(row_get(&rows, 0, "application"), "test_postgres");
    assert_string_equal(row_get(&rows, 0, "encoding"), "UTF8");
    pg_pool_free(pool);

    struct problem why;
    pool = new_pool("switchboard_nobody", 1, 1000);
    assert_int_equal(pg_query(pool, &session, PARAMS(), arena, &rows, &why), PG_AWAY);
    assert_non_null(strstr(why.text, "switchboard_nobody"));
    pg_pool_free(pool);
}

static char *who_of(PGconn *connection)
{
    PGresult *result = PQexec(connection, "SELECT concat_ws(' ', current_user, current_setting('TimeZone'),"
                                          " current_setting('lock_timeout'), current_setting('statement_timeout'))");
    assert_int_equal(PQresultStatus(result), PGRES_TUPLES_OK);
    char *who = arena_copy(arena, PQgetvalue(result, 0, 0));
    PQclear(result);
    return who;
}

/* Behind a pooler the session is everybody's. */
static void test_nothing_stays_in_the_session(void **state)
{
    (void)state;
    struct problem why;
    struct pg_pool_settings settings = { .url = url, .role = "switchboard_ingest", .application_name = "test_postgres" };
    PGconn *plain = PQconnectdb(url), *ours = pg_connect(&settings, &why);

    assert_non_null(ours);
    assert_string_equal(who_of(ours), who_of(plain));
    assert_true(pg_begin(ours, settings.role, &why));
    assert_string_equal(who_of(ours), "switchboard_ingest UTC 5s 30s");
    PQclear(PQexec(ours, "COMMIT"));
    assert_string_equal(who_of(ours), who_of(plain));
    PQfinish(ours);
    PQfinish(plain);
}

static void test_tenant(void **state)
{
    (void)state;
    struct pg_pool *pool = new_pool("switchboard_api", 1, 1000);
    struct rows rows, after;
    struct problem why;

    assert_int_equal(pg_query_as(pool, &(struct pg_scope){ "acme", "ana" }, &session, PARAMS(), arena, &rows, &why), PG_FINE);
    assert_string_equal(row_get(&rows, 0, "tenant"), "acme");
    assert_string_equal(row_get(&rows, 0, "person"), "ana");
    assert_string_equal(row_get(&rows, 0, "who"), "switchboard_api");
    query(pool, &session, PARAMS(), &after);
    assert_string_equal(row_get(&after, 0, "tenant"), "");      /* they ended with their transaction */
    assert_string_equal(row_get(&after, 0, "person"), "");
    assert_string_equal(row_get(&after, 0, "pid"), row_get(&rows, 0, "pid"));
    pg_pool_free(pool);
}

static void test_errors(void **state)
{
    (void)state;
    struct pg_pool *pool = new_pool(NULL, 1, 1000);
    struct rows rows = { .count = 77 };
    struct problem why;

    query(pool, &make_things, PARAMS(), &rows);
    query(pool, &put_thing, PARAMS("1", "1"), &rows);
    assert_int_equal(rows.count, 0);
    rows.count = 77;
    assert_int_equal(pg_query(pool, &put_thing, PARAMS("1", "1"), arena, &rows, &why), PG_CONFLICT);
    assert_non_null(strstr(why.text, "could not run \"put_thing\": duplicate key"));
    assert_int_equal(pg_query(pool, &no_table, PARAMS(), arena, &rows, &why), PG_WRONG);
    assert_non_null(strstr(why.text, "nowhere"));
    assert_int_equal(pg_query(pool, &no_number, PARAMS("x"), arena, &rows, &why), PG_WRONG);
    assert_int_equal(pg_query(pool, &move_thing, PARAMS("2", "5"), arena, &rows, &why), PG_CONFLICT);
    assert_non_null(strstr(why.text, "touched 0 rows instead of 1"));
    assert_int_equal(rows.count, 77);                           /* untouched on failure */
    query(pool, &move_thing, PARAMS("1", "5"), &rows);
    query(pool, &read_things, PARAMS(), &rows);
    assert_string_equal(row_get(&rows, 0, "n"), "5");

    /* a plan that no longer fits, and one that was lost, are made again */
    query(pool, &widen_things, PARAMS(), &rows);
    query(pool, &read_things, PARAMS(), &rows);
    assert_int_equal(rows.columns, 3);
    query(pool, &forget, PARAMS(), &rows);
    query(pool, &read_things, PARAMS(), &rows);
    /* one that a new connection has, too, is no fault of the statement */
    query(pool, &make_stale, PARAMS(), &rows);
    assert_int_equal(pg_query(pool, &be_stale, PARAMS(), arena, &rows, &why), PG_AWAY);
    query(pool, &drop_things, PARAMS(), &rows);
    pg_pool_free(pool);
}

static void test_broken_connections(void **state)
{
    (void)state;
    struct pg_pool *pool = new_pool(NULL, 2, 1000), *other = new_pool(NULL, 1, 1000);
    struct rows rows;
    struct problem why;

    /* broken while idle: nobody notices */
    query(pool, &session, PARAMS(), &rows);
    const char *pid = row_get(&rows, 0, "pid");
    query(other, &end_others, PARAMS(), &rows);
    struct rows ended = rows;
    assert_true(ended.count >= 1);
    query(pool, &session, PARAMS(), &rows);
    assert_string_not_equal(row_get(&rows, 0, "pid"), pid);

    /* broken while it ran: that one is told, the next is fine */
    assert_int_equal(pg_query(pool, &end_myself, PARAMS(), arena, &rows, &why), PG_AWAY);
    query(pool, &session, PARAMS(), &rows);
    pg_pool_free(pool);
    pg_pool_free(other);
}

static const struct statement sleep_half = { .name = "sleep_half", .text = "SELECT pg_sleep(0.5)" };

static void *run_sleep(void *pool)
{
    struct arena *own = arena_new(ARENA_BYTES_MAX);
    struct rows rows;
    struct problem why;
    intptr_t error = pg_query(pool, &sleep_half, PARAMS(), own, &rows, &why);
    arena_free(own);
    return (void *)error;
}

static void run_threads(struct pg_pool *pool, int count, int *ret_fine)
{
    pthread_t threads[8];

    *ret_fine = 0;
    for (int i = 0; i < count; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_sleep, pool), 0);
    for (int i = 0; i < count; i++) {
        void *error;
        pthread_join(threads[i], &error);
        *ret_fine += (intptr_t)error == PG_FINE;
    }
}

static void test_pool_is_shared(void **state)
{
    (void)state;
    int fine;
    struct pg_pool *pool = new_pool(NULL, 2, 10000);

    run_threads(pool, 4, &fine);        /* two after the other two */
    assert_int_equal(fine, 4);
    pg_pool_free(pool);
    pool = new_pool(NULL, 1, 100);      /* one gets it, one waits too long */
    run_threads(pool, 2, &fine);
    assert_int_equal(fine, 1);
    pg_pool_free(pool);
}

static void test_wait_has_an_end(void **state)
{
    (void)state;
    struct problem why;
    struct pg_pool_settings settings = { .url = url, .application_name = "test_postgres" };
    PGconn *connection = pg_connect(&settings, &why);

    assert_non_null(connection);
    assert_int_equal(PQsendQuery(connection, "SELECT pg_sleep(20)"), 1);
    assert_false(pg_wait(connection, 50));
    PQfinish(connection);
}

static void *run_migrate(void *unused)
{
    (void)unused;
    struct problem why;
    bool done = pg_migrate(url, &why);
    if (!done)
        fprintf(stderr, "%s\n", why.text);
    return done ? url : NULL;
}

static const struct statement newer = { .name = "newer",
                                        .text = "INSERT INTO schema_migrations VALUES ($1, 'tomorrow', 'x')",
                                        .params = 1 };
static const struct statement not_newer = { .name = "not_newer",
                                            .text = "DELETE FROM schema_migrations WHERE name = 'tomorrow'" };
static const struct statement edit = { .name = "edit",
                                       .text = "UPDATE schema_migrations SET sha256 = 'x' || sha256 WHERE number = 1" };
static const struct statement unedit = {
    .name = "unedit", .text = "UPDATE schema_migrations SET sha256 = substr(sha256, 2) WHERE number = 1" };
static const struct statement count_applied = { .name = "count_applied",
                                                .text = "SELECT count(*) AS n FROM schema_migrations" };

/* Runs first: the roles and tables are there for the rest. */
static void test_migrations(void **state)
{
    (void)state;
    pthread_t threads[3];
    int known = 0;
    char number[16], next[16];
    struct rows rows;
    struct problem why;

    for (size_t i = 0; i < LENGTH(threads); i++)
        assert_int_equal(pthread_create(&threads[i], NULL, run_migrate, NULL), 0);
    for (size_t i = 0; i < LENGTH(threads); i++) {
        void *done;
        pthread_join(threads[i], &done);
        assert_non_null(done);
    }
    while (migrations[known].number != 0)
        known++;
    snprintf(number, sizeof(number), "%d", known);
    snprintf(next, sizeof(next), "%d", known + 1);
    struct pg_pool *pool = new_pool(NULL, 1, 1000);
    query(pool, &count_applied, PARAMS(), &rows);
    assert_string_equal(row_get(&rows, 0, "n"), number);

    query(pool, &newer, PARAMS(next), &rows);
    assert_false(pg_migrate(url, &why));
    assert_non_null(strstr(why.text, "newer than this program"));
    query(pool, &not_newer, PARAMS(), &rows);
    query(pool, &edit, PARAMS(), &rows);
    assert_false(pg_migrate(url, &why));
    assert_non_null(strstr(why.text, "was changed since"));
    query(pool, &unedit, PARAMS(), &rows);
    assert_true(pg_migrate(url, &why));
    pg_pool_free(pool);
}

/* --- a database of one's own -------------------------------------------------------------------------------------- */

static int run_on_server(const char *before, const char *after)
{
    char text[128];
    struct problem why;
    struct pg_pool_settings settings = { .url = getenv("TEST_DATABASE_URL"), .application_name = "test_postgres" };
    PGconn *connection = pg_connect(&settings, &why);

    if (connection == NULL) {
        fprintf(stderr, "%s\n", why.text);
        return 1;
    }
    snprintf(text, sizeof(text), "%s %s %s", before, database, after);
    PGresult *result = PQexec(connection, text);
    bool done = PQresultStatus(result) == PGRES_COMMAND_OK;
    if (!done)
        fprintf(stderr, "%s\n", PQerrorMessage(connection));
    PQclear(result);
    PQfinish(connection);
    return !done;
}

/* The same server, another database. */
static void print_url(void)
{
    PQconninfoOption *options = PQconninfoParse(getenv("TEST_DATABASE_URL"), NULL);
    size_t bytes = 0;

    for (PQconninfoOption *option = options; option != NULL && option->keyword != NULL; option++) {
        if (option->val != NULL && strcmp(option->keyword, "dbname") != 0)
            bytes += (size_t)snprintf(url + bytes, sizeof(url) - bytes, "%s='%s' ", option->keyword, option->val);
    }
    snprintf(url + bytes, sizeof(url) - bytes, "dbname=%s", database);
    PQconninfoFree(options);
}

static int make_database(void **state)
{
    (void)state;
    snprintf(database, sizeof(database), "test_postgres_%d", (int)getpid());
    print_url();
    return run_on_server("CREATE DATABASE", "");
}

static int drop_database(void **state)
{
    (void)state;
    return run_on_server("DROP DATABASE", "WITH (FORCE)");
}

int main(void)
{
    struct problem why;
    const struct CMUnitTest alone[] = {
        cmocka_unit_test(test_error_classes), cmocka_unit_test(test_statement_text),
        cmocka_unit_test(test_params_count),  cmocka_unit_test(test_passwords_are_not_told),
        cmocka_unit_test(test_nobody_there),  cmocka_unit_test(test_migration_texts),
    };
    const struct CMUnitTest with_server[] = {
        cmocka_unit_test(test_migrations), cmocka_unit_test(test_rows),   cmocka_unit_test(test_session),
        cmocka_unit_test(test_nothing_stays_in_the_session),
        cmocka_unit_test(test_tenant),     cmocka_unit_test(test_errors), cmocka_unit_test(test_broken_connections),
        cmocka_unit_test(test_pool_is_shared), cmocka_unit_test(test_wait_has_an_end),
    };
    if (!crypto_init(&why))
        return 1;
    arena = arena_new(ARENA_BYTES_MAX);
    int failed = cmocka_run_group_tests(alone, NULL, NULL);
    if (getenv("TEST_DATABASE_URL") == NULL)
        fprintf(stderr, "test_postgres: skipped what needs a server: TEST_DATABASE_URL is not set\n");
    else
        failed += cmocka_run_group_tests(with_server, make_database, drop_database);
    arena_free(arena);
    return failed;
}
