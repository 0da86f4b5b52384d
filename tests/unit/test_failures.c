/* Small files and answers when the n-th thing asked of the disk, or of memory, is refused: what is read is read whole
 * or not at all, and what is written replaces the old whole or not at all.  The copy of keys needs TEST_DATABASE_URL.
 */
#include "tests/unit/failing.h"

#include "common/crypto.h"
#include "common/json.h"
#include "common/log.h"
#include "common/postgres.h"
#include "common/settings.h"
#include "common/settings_source.h"
#include "common/tree.h"
#include "ingest/keys.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define SCHEMA     "test_failures"
#define OLD_COPY   "{\"companies\": {\"acme\": \"old key\"}, \"numbers\": {}}"
#define WAIT_STEPS 20000
#define WAIT_US    500

static char directory[64], path[128], when[64];

static void write_file(const char *content)
{
    FILE *file = fopen(path, "w");
    assert_true(file && fputs(content, file) >= 0 && fclose(file) == 0);
}

/* Tries it until there are fewer calls than the one that is refused. */
static void try_all(enum failing_kind what, enum failing how, void (*try)(void), void (*see)(void))
{
    int nth = 0, calls = 0;
    do {
        snprintf(when, sizeof(when), "call %d failed %s", ++nth, failing_names[how]);
        failing_begin(what, nth, how);
        try();
        calls = failing_end();
        see();
    } while (nth <= calls);
    print_message("%s: each of %d calls\n", failing_names[how], calls);
    assert_true(calls > 0);
}

static int start(void **state)
{
    (void)state;
    log_init("test_failures", (enum log_level)(LOG_ERROR + 1)); /* it is told again and again */
    snprintf(directory, sizeof(directory), "/tmp/test_failures.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/file", directory);
    return crypto_init(NULL) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

/* --- .env --------------------------------------------------------------------------------------------------------- */

static bool loaded;
static struct problem why;

static void load_settings(void)
{
    why = (struct problem){ .text = "" };
    loaded = settings_load_file(path, &why);
}

static void see_settings(void)
{
    int line;
    const char *first = settings_find("FAILING_FIRST", &line), *last = settings_find("FAILING_LAST", &line);
    if (loaded ? !first || !last || strcmp(last, "all of it") != 0 : first || last || !why.text[0])
        fail_msg("%s: %s, %s, \"%s\"", when, first ? first : "nothing", last ? last : "nothing", why.text);
}

static void settings_are_read_whole_or_not(void **state)
{
    (void)state;
    write_file("FAILING_FIRST=1\n# between them\nFAILING_LAST='all of it'\n");
    for (enum failing how = 0; how < FAILINGS; how++)
        try_all(FAILING_DISK, how, load_settings, see_settings);
    assert_true(loaded);
}

/* --- a provider's answer ------------------------------------------------------------------------------------------ */

#define ANSWER "{\"sid\":\"SM1\",\"list\":[1,2,{\"text\":\"yes\"}],\"tokens\":7}"

static bool tree_was_read;

static void *refusable_malloc(size_t bytes)
{
    return failing_now(FAILING_LIBRARY) ? NULL : malloc(bytes);
}

static void read_tree(void)
{
    struct arena *arena = arena_new(1 << 20);
    const cJSON *tree = tree_read(arena, TEXT(ANSWER));
    tree_was_read = tree != NULL;
    if (tree) {
        assert_string_equal(tree_string(tree, "sid"), "SM1");
        assert_int_equal(cJSON_GetArraySize(tree_get(tree, "list")), 3);
        assert_int_equal(tree_count(tree, "tokens"), 7);
    } else {
        assert_null(tree_string(tree, "sid"));
        assert_int_equal(tree_count(tree, "tokens"), 0);
    }
    arena_free(arena);
}

static void see_nothing(void)
{
}

static void an_answer_is_read_whole_or_not(void **state)
{
    (void)state;
    cJSON_InitHooks(&(cJSON_Hooks){ .malloc_fn = refusable_malloc, .free_fn = free });
    try_all(FAILING_LIBRARY, FAILS_ONCE, read_tree, see_nothing);
    assert_true(tree_was_read);
    try_all(FAILING_LIBRARY, FAILS_FOR_GOOD, read_tree, see_nothing);
    cJSON_InitHooks(NULL);
}

/* --- the copy of keys and numbers --------------------------------------------------------------------------------- */

static struct keyring_settings keys;
static bool all_was_known;

static bool signs(struct keyring *keyring, const char *key)
{
    const struct text body = TEXT("{}");
    uint8_t code[SHA1_BYTES];
    char signature[BASE64_BYTES(SHA1_BYTES)];
    hmac_sha1(text_of(key), &body, 1, code);
    enum signer_kind kind =
        keyring_signer(keyring, NULL, text_of(base64_print(code, sizeof(code), signature)), body).kind;
    return kind == SIGNER_SHARED || kind == SIGNER_COMPANY;
}

static void use_the_copy(void)
{
    struct keyring *keyring = keyring_open(&keys, &why);
    assert_non_null(keyring);
    assert_true(signs(keyring, "shared key"));
    all_was_known = signs(keyring, "old key");
    keyring_close(keyring);
}

static void a_copy_that_cannot_be_read_leaves_the_shared_key(void **state)
{
    (void)state;
    keys = (struct keyring_settings){ .shared_keys = "shared key", .copy_path = path };
    write_file(OLD_COPY);
    for (enum failing how = 0; how < FAILINGS; how++)
        try_all(FAILING_DISK, how, use_the_copy, see_nothing);
    assert_true(all_was_known);
}

/* Until Postgres has answered, and what it answered was written or not. */
static void refresh_the_copy(void)
{
    struct keyring *keyring = keyring_open(&keys, &why);
    assert_non_null(keyring);
    for (int i = 0; i < WAIT_STEPS && !keyring_is_known(keyring); i++)
        usleep(WAIT_US);
    all_was_known = keyring_is_known(keyring) && signs(keyring, "new key");
    keyring_close(keyring);
}

static void see_the_copy(void)
{
    char content[1024] = "";
    struct json_value whole;
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t bytes = fread(content, 1, sizeof(content), file);
    fclose(file);
    if (!json_parse((struct text){ content, bytes }, &whole, NULL) ||
        (strcmp(content, OLD_COPY) != 0 && !strstr(content, "new key")))
        fail_msg("%s: the copy is %.*s", when, (int)bytes, content);
    write_file(OLD_COPY);
}

static void the_copy_is_the_old_or_the_new_one(void **state)
{
    static char url[512];
    const char *given = getenv("TEST_DATABASE_URL");
    (void)state;
    if (given == NULL) {
        print_message("skipped: TEST_DATABASE_URL is not set\n");
        return;
    }
    PGconn *connection = PQconnectdb(given);
    PQclear(PQexec(connection,
                   "DROP SCHEMA IF EXISTS " SCHEMA " CASCADE; CREATE SCHEMA " SCHEMA ";"
                   "CREATE TABLE " SCHEMA ".companies AS SELECT 'acme' AS tenant, 'Acme' AS name, 'US' AS default_region,"
                   " 'new key' AS callrail_keys;"
                   "CREATE TABLE " SCHEMA ".tracking_numbers AS SELECT '+12025550100' AS number, 'acme' AS tenant"));
    snprintf(url, sizeof(url), "%s%coptions=-csearch_path%%3D" SCHEMA, given, strchr(given, '?') ? '&' : '?');
    keys = (struct keyring_settings){ .shared_keys = "shared key", .copy_path = path, .database_url = url };
    write_file(OLD_COPY);
    for (enum failing how = 0; how < FAILINGS; how++)
        try_all(FAILING_DISK, how, refresh_the_copy, see_the_copy);
    assert_true(all_was_known);
    PQclear(PQexec(connection, "DROP SCHEMA " SCHEMA " CASCADE"));
    PQfinish(connection);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settings_are_read_whole_or_not),
        cmocka_unit_test(an_answer_is_read_whole_or_not),
        cmocka_unit_test(a_copy_that_cannot_be_read_leaves_the_shared_key),
        cmocka_unit_test(the_copy_is_the_old_or_the_new_one),
    };
    return cmocka_run_group_tests(tests, start, finish);
}
