/* What `sb export` and `sb erase` know of the database: every column of every table is named as a person's or as
 * nobody's.  Needs TEST_DATABASE_URL, whose user may make databases. */
#include "common/crypto.h"
#include "deploy/sb/person.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define URL_BYTES_MAX  512
#define NAME_BYTES_MAX 64

static char database[NAME_BYTES_MAX], url[URL_BYTES_MAX];
static PGconn *connection;

static const struct person_table *table_find(const char *name)
{
    for (const struct person_table *table = person_tables; table->name; table++)
        if (strcmp(table->name, name) == 0)
            return table;
    return NULL;
}

/* "a, b, c" */
static bool is_in(const char *list, const char *name)
{
    size_t bytes = strlen(name);
    for (const char *at = list; at && *at; at += strcspn(at, ","), at += strspn(at, ", "))
        if (strncmp(at, name, bytes) == 0 && strchr(", ", at[bytes]))
            return true;
    return false;
}

static int items_of(const char *list)
{
    int count = list && *list;
    for (const char *at = list; at && *at; at++)
        count += *at == ',';
    return count;
}

/* "name = …" at the beginning, or after a comma. */
static bool is_blanked(const char *blank, const char *name)
{
    char assigned[NAME_BYTES_MAX + 8];
    snprintf(assigned, sizeof(assigned), "%s = ", name);
    const char *found = blank ? strstr(blank, assigned) : NULL;
    return found && (found == blank || found[-1] == ' ');
}

static PGresult *query(const char *text)
{
    PGresult *result = PQexec(connection, text);
    if (PQresultStatus(result) != PGRES_TUPLES_OK && PQresultStatus(result) != PGRES_COMMAND_OK)
        fail_msg("%s: %s", text, PQresultErrorMessage(result));
    return result;
}

/* Tables and partitioned tables; a partition holds what its parent does. */
#define ALL_COLUMNS                                                                                                    \
    "SELECT c.relname, a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid"                            \
    " WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition"              \
    " AND a.attnum > 0 AND NOT a.attisdropped ORDER BY 1, a.attnum"

static void every_column_is_a_persons_or_nobodys(void **state)
{
    (void)state;
    PGresult *columns = query(ALL_COLUMNS);
    int wrong = 0;

    assert_true(PQntuples(columns) > 100);
    for (int row = 0; row < PQntuples(columns); row++) {
        const char *name = PQgetvalue(columns, row, 0), *column = PQgetvalue(columns, row, 1);
        const struct person_table *table = table_find(name);
        bool personal = table && is_in(table->personal, column), impersonal = table && is_in(table->impersonal, column);
        if (personal == impersonal) {
            wrong++;
            print_error("%s.%s is %s in deploy/sb/person_tables.c: does it say who somebody is, or what was said?\n",
                        name, column, personal ? "named twice" : "not named");
        }
    }
    PQclear(columns);
    assert_int_equal(wrong, 0);
}

static void every_named_column_is_there(void **state)
{
    (void)state;
    char text[512];

    for (const struct person_table *table = person_tables; table->name; table++) {
        snprintf(text, sizeof(text), "SELECT count(*) FROM pg_attribute WHERE attrelid = '%s'::regclass AND attnum > 0"
                 " AND NOT attisdropped", table->name);
        PGresult *count = query(text);
        assert_int_equal(atoi(PQgetvalue(count, 0, 0)), items_of(table->personal) + items_of(table->impersonal));
        PQclear(count);
    }
}

static void what_is_personal_does_not_stay(void **state)
{
    (void)state;
    for (const struct person_table *table = person_tables; table->name; table++) {
        const char *name = NULL;
        assert_int_equal(table->found == NULL, table->fate == ROW_NOBODYS);
        assert_int_equal(table->blank != NULL, table->fate == ROW_BLANKED);
        if (table->fate == ROW_NOBODYS || table->fate == ROW_KEPT)
            assert_true(table->personal == NULL || *table->personal == '\0');
        PGresult *columns = query(ALL_COLUMNS);
        for (int row = 0; table->fate == ROW_BLANKED && row < PQntuples(columns); row++) {
            name = PQgetvalue(columns, row, 1);
            if (strcmp(PQgetvalue(columns, row, 0), table->name) == 0 && is_in(table->personal, name) &&
                !is_blanked(table->blank, name))
                fail_msg("%s.%s is personal, and stays when a person is erased", table->name, name);
        }
        PQclear(columns);
    }
}

/* --- a database of its own ------------------------------------------------------------------------------------- */

static int make_database(void **state)
{
    struct problem why;
    char text[256];
    (void)state;

    if (!crypto_init(&why))
        return -1;
    snprintf(database, sizeof(database), "test_person_%d", (int)getpid());
    connection = PQconnectdb(getenv("TEST_DATABASE_URL"));
    snprintf(text, sizeof(text), "CREATE DATABASE %s", database);
    PQclear(query(text));
    const char *given = getenv("TEST_DATABASE_URL"), *slash = strrchr(given, '/');
    snprintf(url, sizeof(url), "%.*s/%s", (int)(slash - given), given, database);
    PQfinish(connection);
    if (!pg_migrate(url, &why)) {
        print_error("%s\n", why.text);
        return -1;
    }
    connection = PQconnectdb(url);
    return 0;
}

static int drop_database(void **state)
{
    char text[256];
    (void)state;

    PQfinish(connection);
    connection = PQconnectdb(getenv("TEST_DATABASE_URL"));
    snprintf(text, sizeof(text), "DROP DATABASE %s WITH (FORCE)", database);
    PQclear(query(text));
    PQfinish(connection);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_column_is_a_persons_or_nobodys),
        cmocka_unit_test(every_named_column_is_there),
        cmocka_unit_test(what_is_personal_does_not_stay),
    };
    if (getenv("TEST_DATABASE_URL") == NULL) {
        fprintf(stderr, "test_person: skipped: TEST_DATABASE_URL is not set\n");
        return 0;
    }
    return cmocka_run_group_tests(tests, make_database, drop_database);
}
