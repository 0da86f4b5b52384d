/* Who may knock, from the last known copy: Postgres is away in all of these. */
#include "ingest/keys.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"
#include "common/log.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define NOBODY_THERE "postgresql://nobody@127.0.0.1:1/nothing?connect_timeout=1"

static char directory[64], path[128];

static int start(void **state)
{
    (void)state;
    snprintf(directory, sizeof(directory), "/tmp/test_keys.XXXXXX");
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof(path), "%s/keys.json", directory);
    return 0;
}

static int finish(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(directory);
}

static struct keyring *open_with(const char *shared_keys, const char *copy)
{
    struct problem why = { 0 };
    if (copy) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(copy, file);
        fclose(file);
    }
    struct keyring *keyring = keyring_open(
        &(struct keyring_settings){ .shared_keys = shared_keys, .database_url = NOBODY_THERE, .copy_path = path }, &why);
    if (!keyring)
        fail_msg("%s", why.text);
    return keyring;
}

/* What the signer is called: "shared 0", "acme 1", "unknown", "no key". */
static const char *signer_of(struct keyring *keyring, const char *company, const char *key)
{
    static char text[TENANT_BYTES + 16];
    static const struct text body = { "{\"call_id\":\"A\"}", 15 };
    uint8_t code[SHA1_BYTES];
    char signature[BASE64_BYTES(SHA1_BYTES)];

    hmac_sha1(text_of(key), &body, 1, code);
    base64_print(code, sizeof(code), signature);
    struct signer signer = keyring_signer(keyring, company, text_of(signature), body);
    switch (signer.kind) {
    case SIGNER_UNKNOWN:
        return "unknown";
    case SIGNER_UNTRIED:
        return "untried";
    case SIGNER_NO_KEY:
        return "no key";
    case SIGNER_SHARED:
        snprintf(text, sizeof(text), "shared %d", signer.key);
        return text;
    case SIGNER_COMPANY:
        snprintf(text, sizeof(text), "%s %d", signer.tenant, signer.key);
        return text;
    }
    return "";
}

static const char copy_of_two[] =
    "{\"companies\": {\"zeta\": null, \"acme\": \" acme key ,, older acme key,\", \"beta\": \"beta key\"},"
    " \"numbers\": {\"+15550100009\": \"acme\", \"+15550100001\": \"beta\"}}";

static void the_right_key_for_the_right_path(void **state)
{
    static const struct {
        const char *company, *key, *wanted;
    } cases[] = {
        { NULL, "new", "shared 0" },        { NULL, "old", "shared 1" },          { NULL, "acme key", "acme 0" },
        { NULL, "older acme key", "acme 1" }, { NULL, "beta key", "beta 0" },     { NULL, "", "unknown" },
        { NULL, "new,old", "unknown" },     { "acme", "acme key", "acme 0" },     { "acme", "older acme key", "acme 1" },
        { "acme", "beta key", "unknown" },  { "acme", "new", "unknown" },         { "beta", "beta key", "beta 0" },
        { "zeta", "old", "zeta 1" },        { "zeta", "acme key", "unknown" },    { "nobody", "new", "unknown" },
        { "", "new", "unknown" },
    };
    struct keyring *keyring = open_with("new, old", copy_of_two);
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_string_equal(signer_of(keyring, cases[i].company, cases[i].key), cases[i].wanted);
    keyring_close(keyring);
}

static void a_long_body_is_not_tried_with_every_key(void **state)
{
    struct keyring *keyring = open_with("new, old", copy_of_two);   /* five keys in all */
    size_t bytes = KEYS_TRIED_BYTES_MAX / 5;
    struct text body = { must_alloc(bytes + 1), bytes };
    struct text signature = TEXT("c2lnbmF0dXJl");
    (void)state;
    assert_int_equal(keyring_signer(keyring, NULL, signature, body).kind, SIGNER_UNKNOWN);
    body.bytes++;
    assert_int_equal(keyring_signer(keyring, NULL, signature, body).kind, SIGNER_UNTRIED);
    assert_int_equal(keyring_signer(keyring, "acme", signature, body).kind, SIGNER_UNKNOWN);
    free((char *)body.at);
    keyring_close(keyring);
}

static void numbers_have_owners(void **state)
{
    struct keyring *keyring = open_with(NULL, copy_of_two);
    (void)state;
    assert_false(keyring_is_of_another(keyring, "+15550100009", "acme"));
    assert_true(keyring_is_of_another(keyring, "+15550100009", "beta"));
    assert_true(keyring_is_of_another(keyring, "+15550100001", "acme"));
    assert_false(keyring_is_of_another(keyring, "+15550109999", "acme"));
    assert_string_equal(signer_of(keyring, "zeta", "new"), "no key");
    assert_string_equal(signer_of(keyring, NULL, "beta key"), "beta 0");
    keyring_close(keyring);
}

static void companies_are_known(void **state)
{
    static const char with_about[] =
        "{\"companies\": {\"acme\": null, \"beta\": \"k\", \"old\": null, \"unassigned\": null}, \"numbers\": {},"
        " \"about\": {\"acme\": [\"DE\", \"Acme & S\u00f6hne\"], \"beta\": [], \"gone\": [\"US\", \"x\"], \"old\": 7}}";
    struct company_about about;
    struct keyring *keyring = open_with(NULL, with_about);
    (void)state;
    assert_true(keyring_company(keyring, "acme", &about));
    assert_string_equal(about.region, "DE");
    assert_string_equal(about.name, "Acme & S\xc3\xb6hne");
    assert_true(keyring_company(keyring, "beta", &about) && !about.region[0] && !about.name[0]);
    assert_true(keyring_company(keyring, "old", &about) && !about.region[0]);
    assert_false(keyring_company(keyring, "gone", &about));
    assert_false(keyring_company(keyring, "unassigned", &about));
    assert_false(keyring_company(keyring, "", &about));
    keyring_close(keyring);
    keyring = open_with(NULL, copy_of_two);         /* of an older version */
    assert_true(keyring_company(keyring, "zeta", &about) && !about.region[0] && !about.name[0]);
    keyring_close(keyring);
}

static void without_a_usable_copy_the_shared_key_holds(void **state)
{
    static const char *const copies[] = { NULL, "", "{", "[]", "{\"companies\":{}}", "{\"companies\":[],\"numbers\":{}}",
                                          "{\"companies\":{\"a\":7},\"numbers\":{\"+1\":null}}" };
    (void)state;
    for (size_t i = 0; i < LENGTH(copies); i++) {
        struct keyring *keyring = open_with("new", copies[i]);
        assert_string_equal(signer_of(keyring, NULL, "new"), "shared 0");
        assert_string_equal(signer_of(keyring, "acme", "new"), "unknown");
        keyring_close(keyring);
    }
    unlink(path);
    struct keyring *keyring = open_with(NULL, NULL);
    assert_string_equal(signer_of(keyring, NULL, "new"), "no key");
    keyring_close(keyring);
}

static void many_companies_are_all_tried(void **state)
{
    char *copy = must_alloc(1 << 20), key[32], wanted[32];
    size_t bytes = (size_t)sprintf(copy, "{\"numbers\":{},\"companies\":{");
    (void)state;
    for (int i = 0; i < 2000; i++)
        bytes += (size_t)sprintf(copy + bytes, "%s\"company-%d\":\"key %d\"", i ? "," : "", i, i);
    strcpy(copy + bytes, "}}");
    struct keyring *keyring = open_with("new", copy);
    for (int i = 0; i < 2000; i += 333) {
        snprintf(key, sizeof(key), "key %d", i);
        snprintf(wanted, sizeof(wanted), "company-%d 0", i);
        assert_string_equal(signer_of(keyring, NULL, key), wanted);
    }
    keyring_close(keyring);
    free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(the_right_key_for_the_right_path, start, finish),
        cmocka_unit_test_setup_teardown(a_long_body_is_not_tried_with_every_key, start, finish),
        cmocka_unit_test_setup_teardown(numbers_have_owners, start, finish),
        cmocka_unit_test_setup_teardown(companies_are_known, start, finish),
        cmocka_unit_test_setup_teardown(without_a_usable_copy_the_shared_key_holds, start, finish),
        cmocka_unit_test_setup_teardown(many_companies_are_all_tried, start, finish),
    };
    struct problem why;
    log_init("test_keys", LOG_ERROR);
    if (!crypto_init(&why))
        return 1;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
