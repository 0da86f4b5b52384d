/* Hashes, message codes, base64, hex and ids against published answers. */
#include "common/crypto.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define PRODUCT_NAMESPACE "07e31ecd-f14f-4f66-90f8-4d54855e85d0"

static void sha256_gives_known_answers(void **state)
{
    static const struct {
        const char *message, *wanted;
    } cases[] = {
        /* FIPS 180-4 examples */
        { "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855" },
        { "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" },
        { "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
          "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1" },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        uint8_t hash[SHA256_BYTES];
        char printed[2 * SHA256_BYTES + 1];
        sha256(text_of(cases[i].message), hash);
        assert_string_equal(hex_print(hash, sizeof(hash), printed), cases[i].wanted);
    }
    uint8_t hash[SHA256_BYTES], empty[SHA256_BYTES];
    sha256((struct text){ NULL, 0 }, hash);
    sha256(TEXT(""), empty);
    assert_memory_equal(hash, empty, sizeof(hash));
}

/* RFC 2202 section 3 (SHA-1) and RFC 4231 section 4 (SHA-256); the inputs differ only in the length of the long key. */
struct hmac_case {
    char key_byte; /* repeated key_bytes times; 0: `key` */
    size_t key_bytes;
    const char *key;
    const char *message;
    char message_byte; /* repeated 50 times; 0: `message` */
    const char *sha1, *sha256;
};
static const struct hmac_case hmac_cases[] = {
    { '\x0B', 20, NULL, "Hi There", 0, "b617318655057264e28bc0b6fb378c8ef146be00",
      "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7" },
    { 0, 0, "Jefe", "what do ya want for nothing?", 0, "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79",
      "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843" },
    { '\xAA', 20, NULL, NULL, '\xDD', "125d7342b9ac11cd91a39af48aa17b4f63f175d3",
      "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe" },
    { '\xAA', 80, NULL, "Test Using Larger Than Block-Size Key - Hash Key First", 0,
      "aa4ae5e15272d00e95705637ce8a3b55ed402112", NULL },
    { '\xAA', 80, NULL, "Test Using Larger Than Block-Size Key and Larger Than One Block-Size Data", 0,
      "e8e99d0f45237d786d6bbaa7965c7808bbff1a91", NULL },
    { '\xAA', 131, NULL, "Test Using Larger Than Block-Size Key - Hash Key First", 0, NULL,
      "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54" },
    { '\xAA', 131, NULL,
      "This is a test using a larger than block-size key and a larger than block-size data. The key needs to be hashed"
      " before being used by the HMAC algorithm.",
      0, NULL, "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2" },
};

static void hmac_gives_known_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(hmac_cases); i++) {
        const struct hmac_case *c = &hmac_cases[i];
        char key_buffer[131], message_buffer[50];
        uint8_t code[SHA256_BYTES];
        char printed[2 * SHA256_BYTES + 1];
        memset(key_buffer, c->key_byte, sizeof(key_buffer));
        memset(message_buffer, c->message_byte, sizeof(message_buffer));
        struct text key = c->key_byte != 0 ? (struct text){ key_buffer, c->key_bytes } : text_of(c->key);
        struct text message = c->message_byte != 0 ? (struct text){ message_buffer, 50 } : text_of(c->message);
        /* in three parts wherever they are cut */
        for (size_t cut = 0; cut <= message.bytes; cut++) {
            struct text parts[] = { { message.at, cut }, { NULL, 0 }, { message.at + cut, message.bytes - cut } };
            if (c->sha1 != NULL) {
                hmac_sha1(key, parts, LENGTH(parts), code);
                assert_string_equal(hex_print(code, SHA1_BYTES, printed), c->sha1);
            }
            if (c->sha256 != NULL) {
                hmac_sha256(key, parts, LENGTH(parts), code);
                assert_string_equal(hex_print(code, SHA256_BYTES, printed), c->sha256);
            }
        }
    }
}

static void secrets_are_compared(void **state)
{
    (void)state;
    assert_true(secret_equal("abc", "abc", 3));
    assert_false(secret_equal("abc", "abd", 3));
    assert_false(secret_equal("bbc", "abc", 3));
}

static void base64_gives_known_answers(void **state)
{
    static const struct {
        const char *plain, *encoded;
    } cases[] = {
        /* RFC 4648 section 10 */
        { "", "" },
        { "f", "Zg==" },
        { "fo", "Zm8=" },
        { "foo", "Zm9v" },
        { "foob", "Zm9vYg==" },
        { "fooba", "Zm9vYmE=" },
        { "foobar", "Zm9vYmFy" },
        { "\xFB\xFF\xBF", "+/+/" },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        char printed[BASE64_BYTES(6)];
        char plain[6];
        size_t bytes = 99;
        assert_string_equal(base64_print(cases[i].plain, strlen(cases[i].plain), printed), cases[i].encoded);
        assert_true(base64_read(text_of(cases[i].encoded), plain, sizeof(plain), &bytes));
        assert_int_equal(bytes, strlen(cases[i].plain));
        assert_memory_equal(plain, cases[i].plain, bytes);
    }
}

static void loose_base64_is_refused(void **state)
{
    static const char *const cases[] = {
        "Z",         "Zg",       "Zg=",      "Zm8",   "Zg===", "=",           "==",     "====",
        "Z===",      "Zg==Zg==", "Zm8=Zm8=", "Zm9v=", "=Zm9",  "Zm 9",        "Zm9v\n", " Zm9v",
        "Zm9v Zm9v", "Zm9-",     "Zm_v",     "Zh==",  "Zm9=",  "Z\xC3\xBCg=", "Zg=a",   "****",
    };
    char plain[64];
    size_t bytes = 99;
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        if (base64_read(text_of(cases[i]), plain, sizeof(plain), &bytes))
            fail_msg("%s was accepted", cases[i]);
    }
    assert_false(base64_read(TEXT("Zm\0v"), plain, sizeof(plain), &bytes));
    assert_false(base64_read((struct text){ NULL, 0 }, plain, sizeof(plain), &bytes));
    assert_false(base64_read(TEXT("Zm9vYg=="), plain, 3, &bytes));
    assert_true(base64_read(TEXT("Zm9vYg=="), plain, 4, &bytes));
}

static void base64_round_trips_at_every_length(void **state)
{
    uint8_t bytes[256], again[256];
    char printed[BASE64_BYTES(256)];
    (void)state;
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t length = 0; length <= sizeof(bytes); length++) {
        size_t read = 0;
        base64_print(bytes, length, printed);
        assert_int_equal(strlen(printed), BASE64_BYTES(length) - 1);
        assert_true(base64_read(text_of(printed), again, length, &read));
        assert_int_equal(read, length);
        assert_memory_equal(bytes, again, length);
    }
}

static void hex_is_read_and_printed(void **state)
{
    uint8_t bytes[3];
    char printed[7];
    (void)state;
    assert_true(hex_read(TEXT("00fFa9"), bytes, 3));
    assert_string_equal(hex_print(bytes, 3, printed), "00ffa9");
    assert_false(hex_read(TEXT("00ffa"), bytes, 3));
    assert_false(hex_read(TEXT("00ffa9a"), bytes, 3));
    assert_false(hex_read(TEXT("00ffg9"), bytes, 3));
    assert_false(hex_read(TEXT("00 ff9"), bytes, 3));
    assert_false(hex_read(TEXT("00fF\0"
                               "9"),
                          bytes, 3));
    assert_false(hex_read((struct text){ NULL, 0 }, bytes, 0));
}

static void uuids_give_known_answers(void **state)
{
    char uuid[UUID_BYTES];
    (void)state;
    /* RFC 9562 appendix A.4, and the id every language's documentation prints */
    assert_string_equal(uuid5("6ba7b810-9dad-11d1-80b4-00c04fd430c8", TEXT("www.example.com"), uuid),
                        "2ed6657d-e927-568b-95e1-2665a8aea6a2");
    assert_string_equal(uuid5("6BA7B810-9DAD-11D1-80B4-00C04FD430C8", TEXT("python.org"), uuid),
                        "886313e1-3b8a-5372-9b90-0c9aee199e5d");
}

static void product_ids_are_stable_and_apart(void **state)
{
    char a[UUID_BYTES], b[UUID_BYTES];
    const char *same = "same";
    (void)state;
    /* ids in people's databases: this answer may never change */
    assert_string_equal(uuid_of(a, "cause", "stage", "name", "0", NULL), uuid5(PRODUCT_NAMESPACE,
                                                                               TEXT("cause\x1Fstage\x1Fname\x1F"
                                                                                    "0"),
                                                                               b));
    assert_string_not_equal(uuid_of(a, "ab", "c", NULL), uuid_of(b, "a", "bc", NULL));
    assert_string_not_equal(uuid_of(a, "a", NULL), uuid_of(b, "a", "", NULL));
    assert_string_not_equal(uuid_of(a, same, same, NULL), uuid_of(b, "samesame", NULL));
    assert_true(uuid_is(text_of(a)));
    assert_int_equal(a[14], '5');

    char *huge = malloc(1 << 20);
    memset(huge, 'x', (1 << 20) - 1);
    huge[(1 << 20) - 1] = '\0';
    assert_string_equal(uuid_of(a, huge, NULL), uuid5(PRODUCT_NAMESPACE, text_of(huge), b));
    free(huge);
}

static void random_uuids_differ(void **state)
{
    char a[UUID_BYTES], b[UUID_BYTES];
    (void)state;
    assert_string_not_equal(uuid_random(a), uuid_random(b));
    assert_true(uuid_is(text_of(a)));
    assert_int_equal(a[14], '4');
    assert_non_null(strchr("89ab", a[19]));
}

static void uuids_are_recognised(void **state)
{
    (void)state;
    assert_true(uuid_is(TEXT("886313e1-3b8a-5372-9b90-0c9aee199e5d")));
    assert_true(uuid_is(TEXT("886313E1-3B8A-5372-9B90-0C9AEE199E5D")));
    assert_false(uuid_is(TEXT("886313e1-3b8a-5372-9b90-0c9aee199e5")));
    assert_false(uuid_is(TEXT("886313e1-3b8a-5372-9b90-0c9aee199e5dd")));
    assert_false(uuid_is(TEXT("886313e13b8a-5372-9b90-0c9aee199e5d00")));
    assert_false(uuid_is(TEXT("g86313e1-3b8a-5372-9b90-0c9aee199e5d")));
    assert_false(uuid_is(TEXT("886313e1-3b8a-5372-9b90-0c9aee199e-d")));
    assert_false(uuid_is(TEXT("{86313e1-3b8a-5372-9b90-0c9aee199e5}")));
    assert_false(uuid_is((struct text){ NULL, 0 }));
}

static int start(void **state)
{
    (void)state;
    return crypto_init(NULL) && crypto_init(NULL) ? 0 : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_known_answers),
        cmocka_unit_test(hmac_gives_known_answers),
        cmocka_unit_test(secrets_are_compared),
        cmocka_unit_test(base64_gives_known_answers),
        cmocka_unit_test(loose_base64_is_refused),
        cmocka_unit_test(base64_round_trips_at_every_length),
        cmocka_unit_test(hex_is_read_and_printed),
        cmocka_unit_test(uuids_give_known_answers),
        cmocka_unit_test(product_ids_are_stable_and_apart),
        cmocka_unit_test(random_uuids_differ),
        cmocka_unit_test(uuids_are_recognised),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
