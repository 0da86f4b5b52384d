/* Signatures: the providers' own vectors where they are at hand ($SHARED_DIR/providers/vectors.json, default
 * ../shared), and cases made here. */
#include "common/arena.h"
#include "common/buf.h"
#include "common/crypto.h"
#include "common/signature.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#include "tests/unit/vectors.h"

#define VECTORS_LEAST 50 /* of CallRail's and Twilio's: fewer, and the file is not what it was */

static const struct text absent = { NULL, 0 };

/* --- the providers' vectors --------------------------------------------------------------------------------------- */

static struct text member(const cJSON *object, const char *name)
{
    return text_of(cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name)));
}

/* Header names have no letter case, which is how cJSON_GetObjectItem compares. */
static struct text header(const cJSON *vector, const char *name)
{
    return text_of(cJSON_GetStringValue(cJSON_GetObjectItem(cJSON_GetObjectItem(vector, "headers"), name)));
}

static int verify_vector(const cJSON *vector, struct text secrets)
{
    struct text body = member(vector, "body");
    if (text_is(member(vector, "provider"), "callrail"))
        return signature_callrail(secrets, header(vector, "Signature"), body);
    struct text type = header(vector, "Content-Type");
    if (text_is(member(vector, "method"), "GET"))
        body = absent;
    return signature_twilio(secrets, header(vector, "X-Twilio-Signature"),
                            header(vector, "X-Twilio-Webhooks-Signature-Settings"), member(vector, "url"), body,
                            text_is(type, "application/x-www-form-urlencoded"));
}

static void provider_vectors_hold(void **state)
{
    (void)state;
    char *content = read_vectors();
    if (content == NULL)
        skip();
    cJSON *vectors = cJSON_Parse(content);
    free(content);
    assert_non_null(vectors);
    const cJSON *vector;
    int tried = 0;
    cJSON_ArrayForEach(vector, vectors)
    {
        if (!text_is(member(vector, "provider"), "callrail") && !text_is(member(vector, "provider"), "twilio"))
            continue;
        bool valid = cJSON_IsTrue(cJSON_GetObjectItem(vector, "valid"));
        char list[512];
        snprintf(list, sizeof(list), "another secret, %s ,third", member(vector, "secret").at);
        if (verify_vector(vector, member(vector, "secret")) != (valid ? 0 : SIGNATURE_WRONG))
            fail_msg("%s: %s", member(vector, "id").at, member(vector, "why").at);
        assert_int_equal(verify_vector(vector, text_of(list)), valid ? 1 : SIGNATURE_WRONG);
        assert_int_equal(verify_vector(vector, TEXT("another secret")), SIGNATURE_WRONG);
        tried++;
    }
    cJSON_Delete(vectors);
    assert_true(tried >= VECTORS_LEAST);
}

/* --- made here ---------------------------------------------------------------------------------------------------- */

static struct text sign_sha1(struct text secret, const char *text, char ret[BASE64_BYTES(SHA1_BYTES)])
{
    uint8_t code[SHA1_BYTES];
    struct text part = text_of(text);
    hmac_sha1(secret, &part, 1, code);
    return text_of(base64_print(code, sizeof(code), ret));
}

static void callrail_signs_the_body(void **state)
{
    char printed[BASE64_BYTES(SHA1_BYTES)];
    /* RFC 2202 section 3, case 2, in base64 */
    const struct text jefe = TEXT("7/zfauXrL6LSdBbV8YTfnCWafHk=");
    struct text body = TEXT("what do ya want for nothing?");
    (void)state;
    assert_int_equal(signature_callrail(TEXT("Jefe"), jefe, body), 0);
    assert_int_equal(signature_callrail(TEXT("new,old, Jefe"), jefe, body), 2);
    assert_int_equal(signature_callrail(TEXT("Jefe,Jefe"), jefe, body), 0);
    assert_int_equal(signature_callrail(TEXT(",,Jefe,"), jefe, body), 2);
    assert_int_equal(signature_callrail(TEXT("jefe"), jefe, body), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), jefe, TEXT("what do ya want for nothing")), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), absent, body), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), TEXT(""), body), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), TEXT("7/zfauXrL6LSdBbV8YTfnCWafHk= "), body), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), TEXT("7/zfauXrL6LSdBbV8YTfnCWafHl="), body), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(TEXT("Jefe"), sign_sha1(TEXT("Jefe"), "", printed), absent), 0);
}

static void an_empty_secret_signs_nothing(void **state)
{
    static const char *const lists[] = { "", ",", " , ,", "other,,", "other, ," };
    char printed[BASE64_BYTES(SHA1_BYTES)];
    struct text forged = sign_sha1(TEXT(""), "body", printed);
    (void)state;
    for (size_t i = 0; i < LENGTH(lists); i++)
        assert_int_equal(signature_callrail(text_of(lists[i]), forged, TEXT("body")), SIGNATURE_WRONG);
    assert_int_equal(signature_callrail(absent, forged, TEXT("body")), SIGNATURE_WRONG);
    forged = sign_sha1(TEXT(""), "https://h.example.test/x", printed);
    assert_int_equal(signature_twilio(TEXT(""), forged, absent, TEXT("https://h.example.test/x"), absent, false),
                     SIGNATURE_WRONG);
}

struct twilio_case {
    const char *name;
    const char *signed_text; /* what Twilio's side signs, with secret "token" */
    const char *url;
    const char *body; /* NULL: absent */
    bool is_json;
    bool valid;
};
static const struct twilio_case twilio_cases[] = {
    { "url alone", "https://h.test/x?a=1", "https://h.test/x?a=1", NULL, false, true },
    { "fields sorted, distinct", "https://h.test/xAvBaBbZ", "https://h.test/x", "Z=&B=b&A=v&B=a&B=b", false, true },
    { "a prefix sorts first", "https://h.test/xa2ab1", "https://h.test/x", "ab=1&a=2", false, true },
    { "names above ASCII last",
      "https://h.test/xz1\xC3\xA4"
      "2",
      "https://h.test/x", "%C3%A4=2&z=1", false, true },
    { "no fields", "https://h.test/x", "https://h.test/x", "", false, true },
    { "a broken escape", "https://h.test/xa%", "https://h.test/x", "a=%", false, false },
    { "port given, signed with", "https://h.test:8443/x", "https://h.test:8443/x", NULL, false, true },
    { "port given, signed without", "https://h.test/x", "https://h.test:8443/x", NULL, false, true },
    { "another port", "https://h.test:8444/x", "https://h.test:8443/x", NULL, false, false },
    { "https with 443", "https://h.test:443/x", "https://h.test/x", NULL, false, true },
    { "https in capitals", "HTTPS://h.test:443/x", "HTTPS://h.test/x", NULL, false, true },
    { "http with 80", "http://h.test:80/x", "http://h.test/x", NULL, false, true },
    { "wss with 80", "wss://h.test:80/x", "wss://h.test/x", NULL, false, true },
    { "wss with 443", "wss://h.test:443/x", "wss://h.test/x", NULL, false, false },
    { "no path", "https://h.test:443", "https://h.test", NULL, false, true },
    { "query behind the host", "https://h.test:443?a=1", "https://h.test?a=1", NULL, false, true },
    { "IPv6", "https://[::1]:443/x", "https://[::1]/x", NULL, false, true },
    { "IPv6 and port", "https://[::1]/x", "https://[::1]:99/x", NULL, false, true },
    { "password", "https://u:12@h.test:443/x", "https://u:12@h.test/x", NULL, false, true },
    { "a colon in the path", "https://h.test:443/a:1", "https://h.test/a:1", NULL, false, true },
    { "no URL", "h.test/x", "h.test/x", NULL, false, false },
    /* a body that is no form is covered by its hash in the URL only; SHA-256 of {} */
    { "hash of the body",
      "https://h.test/x?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "https://h.test/x?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "{}", true,
      true },
    { "hash behind others",
      "https://h.test/x?a=1&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a&b=2",
      "https://h.test/x?a=1&bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a&b=2", "{}",
      true, true },
    { "hash of another body",
      "https://h.test/x?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "https://h.test/x?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "{ }", true,
      false },
    { "hash cut", "https://h.test/x?bodySHA256=44136fa3", "https://h.test/x?bodySHA256=44136fa3", "{}", true, false },
    { "hash in the path only",
      "https://h.test/bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "https://h.test/bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "{}", true, false },
    { "hash in the fragment only",
      "https://h.test/x#?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
      "https://h.test/x#?bodySHA256=44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a", "{}", true,
      false },
    { "a body nothing covers", "https://h.test/x", "https://h.test/x", "{}", true, false },
    { "an empty body needs no cover", "https://h.test/x", "https://h.test/x", "", true, true },
};

static void twilio_signs_url_and_fields(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(twilio_cases); i++) {
        const struct twilio_case *c = &twilio_cases[i];
        char printed[BASE64_BYTES(SHA1_BYTES)];
        struct text signature = sign_sha1(TEXT("token"), c->signed_text, printed);
        int signer = signature_twilio(TEXT("token"), signature, absent, text_of(c->url), text_of(c->body), !c->is_json);
        if (signer != (c->valid ? 0 : SIGNATURE_WRONG))
            fail_msg("%s", c->name);
        signer = signature_twilio(TEXT("a,b,token"), signature, absent, text_of(c->url), text_of(c->body), !c->is_json);
        assert_int_equal(signer, c->valid ? 2 : SIGNATURE_WRONG);
        assert_int_equal(
            signature_twilio(TEXT("token"), absent, absent, text_of(c->url), text_of(c->body), !c->is_json),
            SIGNATURE_WRONG);
    }
    assert_int_equal(
        signature_twilio(TEXT("token"), TEXT("xOOlK6tEw87d4WExJ3Yx3CvUuWA="), absent, absent, absent, true),
        SIGNATURE_WRONG);
}

static void twilio_names_its_hash(void **state)
{
    static const struct {
        const char *settings;
        int sha1_signer, sha256_signer;
    } cases[] = {
        { NULL, 0, SIGNATURE_WRONG },
        { "", 0, SIGNATURE_WRONG },
        { "key=webhooks_sharedkey_01h", 0, SIGNATURE_WRONG },
        { "key=k,algorithm=", 0, SIGNATURE_WRONG },
        { "key=k,algorithm=HMAC_SHA1", 0, SIGNATURE_WRONG },
        { "key=k,algorithm=HMAC_SHA256", SIGNATURE_WRONG, 0 },
        { " key=k , algorithm= hmac_sha256 ", SIGNATURE_WRONG, 0 },
        { "algorithm=HMAC_SHA256,key=k", SIGNATURE_WRONG, 0 },
        { "key=k,algorithm=HMAC_SHA512", SIGNATURE_WRONG, SIGNATURE_WRONG },
        { "key=k,algorithm=none", SIGNATURE_WRONG, SIGNATURE_WRONG },
    };
    const struct text url = TEXT("https://h.test/x");
    const struct text parts[] = { url, TEXT("a"), TEXT("1") };
    uint8_t code[SHA256_BYTES];
    char sha1_printed[BASE64_BYTES(SHA1_BYTES)], sha256_printed[BASE64_BYTES(SHA256_BYTES)];
    (void)state;
    hmac_sha1(TEXT("key"), parts, LENGTH(parts), code);
    struct text by_sha1 = text_of(base64_print(code, SHA1_BYTES, sha1_printed));
    hmac_sha256(TEXT("key"), parts, LENGTH(parts), code);
    struct text by_sha256 = text_of(base64_print(code, SHA256_BYTES, sha256_printed));
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct text settings = text_of(cases[i].settings);
        assert_int_equal(signature_twilio(TEXT("key"), by_sha1, settings, url, TEXT("a=1"), true),
                         cases[i].sha1_signer);
        assert_int_equal(signature_twilio(TEXT("key"), by_sha256, settings, url, TEXT("a=1"), true),
                         cases[i].sha256_signer);
    }
}

static void twilio_forms_have_a_limit(void **state)
{
    char printed[BASE64_BYTES(SHA1_BYTES)];
    struct buf body, text;
    (void)state;
    buf_init(&body, 1 << 16);
    buf_init(&text, 1 << 16);
    buf_add_string(&text, "https://h.test/x");
    for (int i = 0; i < SIGNATURE_FORM_FIELDS_MAX; i++) {
        buf_printf(&body, "&f%04d=v", i);
        buf_printf(&text, "f%04dv", i);
    }
    struct text signature = sign_sha1(TEXT("token"), text.at, printed);
    assert_int_equal(
        signature_twilio(TEXT("token"), signature, absent, TEXT("https://h.test/x"), buf_text(&body), true), 0);
    buf_add_string(&body, "&g=v");
    buf_add_string(&text, "gv");
    signature = sign_sha1(TEXT("token"), text.at, printed);
    assert_int_equal(
        signature_twilio(TEXT("token"), signature, absent, TEXT("https://h.test/x"), buf_text(&body), true),
        SIGNATURE_WRONG);
    buf_done(&body);
    buf_done(&text);
}

static struct text hex_of(struct text secret, const char *text, char ret[2 * SHA256_BYTES + 1])
{
    uint8_t code[SHA256_BYTES];
    struct text part = text_of(text);
    hmac_sha256(secret, &part, 1, code);
    return text_of(hex_print(code, sizeof(code), ret));
}

/* {"event":"job.completed"} under "whsec", at 1700000000; made with Python's hmac */
#define SHUNYA_BODY "{\"event\":\"job.completed\"}"
#define SHUNYA_TIMED "6cd954f3ac68e3e12e10163f2da9a7b432d3f1ec72b5adde667715568834b985"
#define SHUNYA_PLAIN "5eaf25bea5c0e0225672be69480deb4c65cd11162180e304a0cf7952fc32cfd3"

static void shunya_signs_time_and_body(void **state)
{
    static const struct {
        const char *header, *secrets, *body;
        int64_t late_s;
        int signer;
    } cases[] = {
        { "t=1700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, 0 },
        { "t=1700000000,v1=" SHUNYA_TIMED, "new, whsec", SHUNYA_BODY, 300, 1 },
        { " t=1700000000 , v1=" SHUNYA_TIMED " ", "whsec", SHUNYA_BODY, -300, 0 },
        { "v1=" SHUNYA_TIMED ",t=1700000000", "whsec", SHUNYA_BODY, 0, 0 },
        { "t=1700000000,v1=" SHUNYA_PLAIN ",v1=" SHUNYA_TIMED ",v2=x", "whsec", SHUNYA_BODY, 0, 0 },
        { "t=1700000000,v1=" SHUNYA_TIMED ",v1=x", "new,whsec", SHUNYA_BODY, 0, 1 },
        { "t=1700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 301, SIGNATURE_WRONG },
        { "t=1700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, -301, SIGNATURE_WRONG },
        { "t=1700000000,v1=" SHUNYA_TIMED, "other", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=1700000000,v1=" SHUNYA_TIMED, "", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=1700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY " ", 0, SIGNATURE_WRONG },
        { "t=1700000001,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=1700000000,v1=", "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=-1700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=17000000001700000000,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "t=,v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "v1=" SHUNYA_TIMED, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { SHUNYA_PLAIN, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
        { "sha256=" SHUNYA_PLAIN, "whsec", SHUNYA_BODY, 0, SIGNATURE_WRONG },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].header);
        assert_int_equal(signature_shunya(text_of(cases[i].secrets), text_of(cases[i].header), text_of(cases[i].body),
                                          1700000000 + cases[i].late_s, false),
                         cases[i].signer);
    }
    assert_int_equal(signature_shunya(TEXT("whsec"), absent, TEXT(SHUNYA_BODY), 1700000000, true), SIGNATURE_WRONG);
}

static void shunya_once_signed_the_body_alone(void **state)
{
    static const char *const taken[] = { SHUNYA_PLAIN, "sha256=" SHUNYA_PLAIN, "t=1700000000,v1=" SHUNYA_TIMED };
    static const char *const wrong[] = { "", "sha256=", "sha1=" SHUNYA_PLAIN, SHUNYA_TIMED, "t=1,v1=" SHUNYA_TIMED };
    char printed[2 * SHA256_BYTES + 1];
    (void)state;
    for (size_t i = 0; i < LENGTH(taken); i++)
        assert_int_equal(signature_shunya(TEXT("a,whsec"), text_of(taken[i]), TEXT(SHUNYA_BODY), 1700000000, true), 1);
    for (size_t i = 0; i < LENGTH(wrong); i++)
        assert_int_equal(signature_shunya(TEXT("a,whsec"), text_of(wrong[i]), TEXT(SHUNYA_BODY), 1700000000, true),
                         SIGNATURE_WRONG);
    struct text hex = hex_of(TEXT("whsec"), SHUNYA_BODY, printed);
    assert_string_equal(hex.at, SHUNYA_PLAIN);
    for (char *c = printed; *c; c++)
        *c = (char)(*c >= 'a' ? *c - 'a' + 'A' : *c);
    assert_int_equal(signature_shunya(TEXT("whsec"), hex, TEXT(SHUNYA_BODY), 1700000000, true), 0);
    assert_int_equal(signature_shunya(TEXT(""), hex_of(TEXT(""), "b", printed), TEXT("b"), 0, true), SIGNATURE_WRONG);
}

static int64_t cpu_us(void)
{
    struct timespec time;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
    return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

/* Whoever sends it needs no secret to give many; each must not cost a hash of the whole body. */
static void many_signatures_cost_as_much_as_one(void **state)
{
    const size_t body_bytes = 8 * 1024 * 1024;
    const struct text body = { calloc(1, body_bytes), body_bytes };
    struct buf header;
    (void)state;
    assert_non_null(body.at);
    buf_init(&header, 8192);
    buf_add_string(&header, "t=1700000000,v1=" SHUNYA_PLAIN);
    int64_t began_us = cpu_us();
    assert_int_equal(signature_shunya(TEXT("whsec"), buf_text(&header), body, 1700000000, false), SIGNATURE_WRONG);
    int64_t one_us = cpu_us() - began_us;
    for (int i = 0; i < 100; i++)
        buf_add_string(&header, ",v1=" SHUNYA_PLAIN);
    began_us = cpu_us();
    assert_int_equal(signature_shunya(TEXT("whsec"), buf_text(&header), body, 1700000000, false), SIGNATURE_WRONG);
    int64_t hundred_us = cpu_us() - began_us;
    print_message("one: %lld us, a hundred: %lld us\n", (long long)one_us, (long long)hundred_us);
    assert_true(hundred_us < 10 * one_us);
    buf_done(&header);
    free((char *)body.at);
}

static int start(void **state)
{
    (void)state;
    return crypto_init(NULL) ? 0 : -1;
}

static void a_secret_as_it_is(void **state)
{
    static const struct {
        const char *secrets, *header;
        int wanted;
    } cases[] = {
        { "one", "one", 0 },
        { "new, old", "old", 1 },
        { "new,old", " new ", 0 },
        { "same,same", "same", 0 },
        { "one", "One", SIGNATURE_WRONG },
        { "one", "on", SIGNATURE_WRONG },
        { "one", "onee", SIGNATURE_WRONG },
        { "one,two", "one,two", SIGNATURE_WRONG },
        { "one", "", SIGNATURE_WRONG },
        { "one", NULL, SIGNATURE_WRONG },
        { "", "", SIGNATURE_WRONG },
        { " , ,", "", SIGNATURE_WRONG },
        { ",one", "one", 1 },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_int_equal(signature_secret(text_of(cases[i].secrets), text_of(cases[i].header)), cases[i].wanted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(provider_vectors_hold),         cmocka_unit_test(callrail_signs_the_body),
        cmocka_unit_test(an_empty_secret_signs_nothing), cmocka_unit_test(twilio_signs_url_and_fields),
        cmocka_unit_test(twilio_names_its_hash),         cmocka_unit_test(twilio_forms_have_a_limit),
        cmocka_unit_test(shunya_signs_time_and_body),    cmocka_unit_test(shunya_once_signed_the_body_alone),
        cmocka_unit_test(a_secret_as_it_is),             cmocka_unit_test(many_signatures_cost_as_much_as_one),
    };
    return cmocka_run_group_tests(tests, start, NULL);
}
