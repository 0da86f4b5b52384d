/* The JSON scanner and writer. */
#include "common/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

/* Parses a copy that ends where the text ends, so that sanitizers see a read beyond it.  The copy is freed with
 * `arena`. */
static bool parse(struct arena *arena, struct text text, struct json_value *ret, struct problem *why)
{
    char *exact = must_alloc(text.bytes);
    memcpy(exact, text.at, text.bytes);
    arena_defer(arena, free, exact);
    return json_parse((struct text){ exact, text.bytes }, ret, why);
}

static int start(void **state)
{
    *state = arena_new(64 << 20);
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

/* --- what is JSON ------------------------------------------------------------------------------------------------- */

static void valid_documents_are_accepted(void **state)
{
    static const struct {
        const char *text;
        enum json_kind kind;
    } cases[] = {
        { "null", JSON_NULL },
        { "true", JSON_TRUE },
        { "false", JSON_FALSE },
        { "0", JSON_NUMBER },
        { "-0", JSON_NUMBER },
        { "10", JSON_NUMBER },
        { "-12.50", JSON_NUMBER },
        { "0.5", JSON_NUMBER },
        { "1e5", JSON_NUMBER },
        { "1E+5", JSON_NUMBER },
        { "1.5e-07", JSON_NUMBER },
        { "0e0", JSON_NUMBER },
        { "123456789012345678901234567890", JSON_NUMBER },
        { "1e999999", JSON_NUMBER },
        { "\"\"", JSON_STRING },
        { "\"a\"", JSON_STRING },
        { "\"\x7F\"", JSON_STRING },
        { "\"Zo\xC3\xAB \xE4\xBD\xA0 \xF0\x9F\x99\x82\"", JSON_STRING },
        { "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", JSON_STRING },
        { "\"\\u00e9\\u4F60\"", JSON_STRING },
        { "\"\\ud83d\\ude42\"", JSON_STRING },
        { "\"\\uDBFF\\uDFFF\"", JSON_STRING },
        { "\"\\uE000\\uFFFF\"", JSON_STRING },
        { "\"12345678901234567890\"", JSON_STRING },
        { "\"1234567\\n90123456\"", JSON_STRING },
        { "{}", JSON_OBJECT },
        { "[]", JSON_ARRAY },
        { "[[],{}]", JSON_ARRAY },
        { "{\"\":{}}", JSON_OBJECT },
        { " \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : null } \n", JSON_OBJECT },
        { "{\"a\":1,\"a\":2}", JSON_OBJECT }, /* doubled names are the reader's business */
        { "[1,\"}\",\"]\",{\"]\":\"[{\"}]", JSON_ARRAY },
        { " 1 ", JSON_NUMBER },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        struct problem why;
        if (!parse(*state, text_of(cases[i].text), &value, &why))
            fail_msg("%s: %s", cases[i].text, why.text);
        assert_int_equal(value.kind, cases[i].kind);
        size_t lead = strspn(cases[i].text, " \t\r\n");
        assert_memory_equal(value.raw.at, cases[i].text + lead, value.raw.bytes);
        assert_int_equal(strspn(cases[i].text + lead + value.raw.bytes, " \t\r\n"),
                         strlen(cases[i].text + lead + value.raw.bytes));
    }
}

static void invalid_documents_are_refused(void **state)
{
    static const struct {
        const char *text;
        const char *why;
    } cases[] = {
        { "", "not JSON: it ends too early (byte 0)" },
        { "  ", "not JSON: it ends too early (byte 2)" },
        { "\xEF\xBB\xBF{}", "not JSON: a value was expected (byte 0)" },
        { "nul", "not JSON: it ends too early (byte 3)" },
        { "nulL", "not JSON: a word that is not true, false or null (byte 3)" },
        { "nulll", "not JSON: something follows the value (byte 4)" },
        { "True", "not JSON: a value was expected (byte 0)" },
        { "NaN", NULL },
        { "Infinity", NULL },
        { "-Infinity", NULL },
        { "undefined", NULL },
        { "+1", NULL },
        { "-", NULL },
        { "- 1", NULL },
        { ".5", NULL },
        { "-.5", NULL },
        { "5.", NULL },
        { "5.e1", NULL },
        { "01", "not JSON: a number with a leading zero (byte 1)" },
        { "-01", NULL },
        { "00", NULL },
        { "1e", NULL },
        { "1e+", NULL },
        { "1e1.5", NULL },
        { "0x10", NULL },
        { "1 2", NULL },
        { "1_000", NULL },
        { "1,000", NULL },
        { "--1", NULL },
        { "1e5e5", NULL },
        { "\"", NULL },
        { "\"a", NULL },
        { "'a'", NULL },
        { "\"a\"b", NULL },
        { "a", NULL },
        { "\"\n\"", "not JSON: a control character that is not escaped (byte 1)" },
        { "\"\t\"", NULL },
        { "\"\x01\"", NULL },
        { "\"\x1F\"", NULL },
        { "\"12345678\x1F\"", NULL },
        { "\"\\x41\"", "not JSON: an unknown escape (byte 1)" },
        { "\"\\'\"", NULL },
        { "\"\\0\"", NULL },
        { "\"\\U0041\"", NULL },
        { "\"\\", NULL },
        { "\"\\\"", NULL },
        { "\"\\u\"", NULL },
        { "\"\\u12\"", NULL },
        { "\"\\u123g\"", NULL },
        { "\"\\u123", NULL },
        { "\"\\u+123\"", NULL },
        { "\"\\u0000\"", "not JSON: U+0000 cannot be kept (byte 1)" },
        { "{\"\\u0000\":1}", NULL },
        { "\"\\ud83d\"", "not JSON: a high surrogate without a low one (byte 7)" },
        { "\"\\ud83dx\"", NULL },
        { "\"\\ud83d\\n\"", NULL },
        { "\"\\ud83d\\u0041\"", NULL },
        { "\"\\ud83d\\ud83d\"", NULL },
        { "\"\\ud83d\\ude4\"", NULL },
        { "\"\\ud83d\\ude4", NULL },
        { "\"\\ude42\"", "not JSON: a low surrogate without a high one (byte 1)" },
        { "\"\xFF\"", "not JSON: a string that is not UTF-8 (byte 1)" },
        { "\"\xC3\"", NULL },
        { "\"\xC3", NULL },
        { "\"\xC0\xAF\"", NULL },
        { "\"\xED\xA0\xBD\xED\xB9\x82\"", NULL },
        { "\"\xF4\x90\x80\x80\"", NULL },
        { "\"\x80\"", NULL },
        { "\"1234567\xC3\"", NULL },
        { "{", NULL },
        { "}", NULL },
        { "[", NULL },
        { "]", NULL },
        { "{]", NULL },
        { "[}", NULL },
        { "[1}", NULL },
        { "{\"a\":1]", NULL },
        { "[1,]", NULL },
        { "[,1]", NULL },
        { "[,]", NULL },
        { "[1,,2]", NULL },
        { "[1 2]", "not JSON: a comma or ] was expected (byte 3)" },
        { "[\"a\":1]", NULL },
        { "{\"a\"}", "not JSON: a colon was expected (byte 4)" },
        { "{\"a\":}", NULL },
        { "{\"a\":1,}", "not JSON: a name in quotes was expected (byte 7)" },
        { "{,}", NULL },
        { "{a:1}", NULL },
        { "{1:1}", NULL },
        { "{\"a\" 1}", NULL },
        { "{\"a\"::1}", NULL },
        { "{\"a\":1 \"b\":2}", NULL },
        { "{\"a\":1,,\"b\":2}", NULL },
        { "{'a':1}", NULL },
        { "{null:1}", NULL },
        { "{\"a\":1}}", NULL },
        { "{}{}", NULL },
        { "[]]", NULL },
        { "[1]//x", NULL },
        { "/**/1", NULL },
        { "\f1", NULL },
        { "\v1", NULL },
        { "\xC2\xA0"
          "1",
          NULL },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        struct problem why = { .text = "" };
        if (parse(*state, text_of(cases[i].text), &value, &why))
            fail_msg("%s was accepted", cases[i].text);
        assert_true(text_starts(text_of(why.text), "not JSON: "));
        if (cases[i].why != NULL)
            assert_string_equal(why.text, cases[i].why);
    }
    struct json_value value;
    assert_false(parse(*state, TEXT("\"a\0b\""), &value, NULL));
    assert_false(parse(*state, TEXT("1\0"), &value, NULL));
    assert_false(parse(*state, TEXT("\0"), &value, NULL));
    assert_false(parse(*state, TEXT("\"\\\0\""), &value, NULL));
    assert_false(json_parse((struct text){ NULL, 0 }, &value, NULL));
}

static void nesting_has_a_limit(void **state)
{
    for (int depth = JSON_DEPTH_MAX - 1; depth <= JSON_DEPTH_MAX + 1; depth++) {
        for (int kind = 0; kind < 3; kind++) { /* arrays, objects, both in turn */
            struct buf buf;
            struct json_value value;
            buf_init(&buf, 10000);
            for (int i = 0; i < depth; i++)
                buf_add_string(&buf, kind == 0 || (kind == 2 && i % 2 == 0) ? "[" : i < depth - 1 ? "{\"a\":" : "{");
            for (int i = depth - 1; i >= 0; i--)
                buf_add_char(&buf, kind == 0 || (kind == 2 && i % 2 == 0) ? ']' : '}');
            assert_int_equal(parse(*state, buf_text(&buf), &value, NULL), depth <= JSON_DEPTH_MAX);
            buf_done(&buf);
        }
    }
    /* siblings do not count */
    struct buf wide;
    struct json_value value;
    buf_init(&wide, 100000);
    buf_add_char(&wide, '[');
    for (int i = 0; i < 1000; i++) {
        json_separate(&wide);
        buf_add_string(&wide, "[{\"a\":[]},[]]");
    }
    buf_add_char(&wide, ']');
    assert_true(parse(*state, buf_text(&wide), &value, NULL));
    buf_done(&wide);

    char *deep = must_alloc(1 << 20);
    memset(deep, '[', 1 << 20);
    assert_false(parse(*state, (struct text){ deep, 1 << 20 }, &value, NULL));
    free(deep);
}

static const char whole_document[] =
    "{\"id\":\"CAL1\",\"answered\":true,\"tags\":[\"a\\u00e9\\ud83d\\ude42\",\"Zo\xC3\xAB "
    "\xF0\x9F\x99\x82\",null,false],"
    "\"duration\":-61.25e+1,\"nested\":{\"empty\":{},\"list\":[[],[{}]]},\"note\":\"quoted \\\"}\\\" and \\\\\"}";

static void documents_cut_anywhere_are_refused(void **state)
{
    struct json_value value;
    for (size_t bytes = 0; bytes < sizeof(whole_document) - 1; bytes++) {
        if (parse(*state, (struct text){ whole_document, bytes }, &value, NULL))
            fail_msg("accepted when cut at byte %zu", bytes);
    }
    assert_true(parse(*state, TEXT(whole_document), &value, NULL));
}

/* One byte put over every place: never a crash, and what is accepted can be walked to its end. */
static size_t walk(struct json_value value)
{
    struct json_scan scan;
    struct text name;
    size_t values = 1;

    json_enter(&scan, value);
    if (value.kind == JSON_OBJECT) {
        while (json_member(&scan, &name, &value))
            values += walk(value);
    } else {
        while (json_element(&scan, &value))
            values += walk(value);
    }
    return values;
}

static void spoiled_documents_do_no_harm(void **state)
{
    static const char spoilers[] = "\"\\{}[],:0-e. \x01\x80\xFF\xC3u";
    for (size_t place = 0; place < sizeof(whole_document) - 1; place++) {
        for (size_t i = 0; i < sizeof(spoilers); i++) {
            char spoiled[sizeof(whole_document)];
            struct json_value value;
            memcpy(spoiled, whole_document, sizeof(spoiled));
            spoiled[place] = spoilers[i];
            if (parse(*state, (struct text){ spoiled, sizeof(spoiled) - 1 }, &value, NULL))
                assert_true(walk(value) > 1);
        }
        arena_reset(*state);
    }
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

static void containers_are_walked(void **state)
{
    struct json_value value, member;
    struct json_scan scan;
    struct text name;

    assert_true(
        parse(*state, TEXT(" { \"a\" : 1 ,\"b\":[ \"x,]}\" , {\"a\":2} ,[] ] , \"\":\"\\\"\" } "), &value, NULL));
    json_enter(&scan, value);
    assert_true(json_member(&scan, &name, &member));
    assert_true(text_is(name, "\"a\"") && member.kind == JSON_NUMBER && text_is(member.raw, "1"));
    assert_true(json_member(&scan, &name, &member));
    assert_true(text_is(name, "\"b\"") && member.kind == JSON_ARRAY);
    struct json_scan inner;
    struct json_value element;
    json_enter(&inner, member);
    assert_true(json_element(&inner, &element) && text_is(element.raw, "\"x,]}\""));
    assert_true(json_element(&inner, &element) && text_is(element.raw, "{\"a\":2}"));
    assert_true(json_element(&inner, &element) && text_is(element.raw, "[]"));
    assert_false(json_element(&inner, &element));
    assert_false(json_element(&inner, &element));
    assert_true(json_member(&scan, &name, &member));
    assert_true(text_is(name, "\"\"") && text_is(member.raw, "\"\\\"\""));
    assert_false(json_member(&scan, &name, &member));
    assert_false(json_member(&scan, &name, &member));
}

static void other_values_have_nothing_to_walk(void **state)
{
    static const char *const cases[] = { "{}", "[ ]", "1", "\"abc\"", "null" };
    struct json_value value, found;
    struct json_scan scan;
    struct text name;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        assert_true(parse(*state, text_of(cases[i]), &value, NULL));
        json_enter(&scan, value);
        assert_false(json_member(&scan, &name, &found));
        json_enter(&scan, value);
        assert_false(json_element(&scan, &found));
        assert_false(json_find(value, "a", &found));
    }
    /* walked as what it is not */
    assert_true(parse(*state, TEXT("[\"a\",\"b\"]"), &value, NULL));
    json_enter(&scan, value);
    assert_false(json_member(&scan, &name, &found));
    assert_false(json_find(value, "a", &found));
    assert_true(parse(*state, TEXT("{\"a\":1,\"b\":2}"), &value, NULL));
    json_enter(&scan, value);
    assert_true(json_element(&scan, &found));
    assert_false(json_element(&scan, &found));
}

static void members_are_found_by_name(void **state)
{
    struct json_value value, found;
    assert_true(parse(*state,
                      TEXT("{\"x\":{\"b\":0},\"a\":1,\"\\u0062\":2,\"a\":3,\"caf\xC3\xA9\":4,\"a\\\\u0062\":5,\"\":6}"),
                      &value, NULL));
    assert_true(json_find(value, "a", &found) && text_is(found.raw, "1"));
    assert_true(json_find(value, "b", &found) && text_is(found.raw, "2"));
    assert_true(json_find(value, "caf\xC3\xA9", &found) && text_is(found.raw, "4"));
    assert_true(json_find(value, "a\\u0062", &found) && text_is(found.raw, "5"));
    assert_true(json_find(value, "", &found) && text_is(found.raw, "6"));
    assert_false(json_find(value, "ab", &found));
    assert_false(json_find(value, "A", &found));
}

/* --- strings ------------------------------------------------------------------------------------------------------ */

static void strings_are_unescaped(void **state)
{
    static const struct {
        const char *raw, *wanted;
    } cases[] = {
        { "\"\"", "" },
        { "\"plain\"", "plain" },
        { "\"a\\\"b\\\\c\\/d\"", "a\"b\\c/d" },
        { "\"\\b\\f\\n\\r\\t\"", "\b\f\n\r\t" },
        { "\"\\u0041\\u00e9\\u4F60\\ud83d\\ude42\"", "A\xC3\xA9\xE4\xBD\xA0\xF0\x9F\x99\x82" },
        { "\"\\u007F\\u0080\\u07FF\\u0800\\uFFFF\\uD800\\uDC00\\uDBFF\\uDFFF\"",
          "\x7F\xC2\x80\xDF\xBF\xE0\xA0\x80\xEF\xBF\xBF\xF0\x90\x80\x80\xF4\x8F\xBF\xBF" },
        { "\"Zo\xC3\xAB \\n 12345678901234567890 \\\\n\"", "Zo\xC3\xAB \n 12345678901234567890 \\n" },
        { "\"\\\\\"", "\\" },
        { "\"\\\\\\\"\"", "\\\"" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        assert_true(parse(*state, text_of(cases[i].raw), &value, NULL));
        assert_string_equal(json_string(value, *state), cases[i].wanted);
        assert_true(json_string_is(value.raw, cases[i].wanted));
        for (size_t j = 0; j < LENGTH(cases); j++)
            assert_int_equal(json_string_is(value.raw, cases[j].wanted), i == j);
        char longer[128];
        snprintf(longer, sizeof(longer), "%sx", cases[i].wanted);
        assert_false(json_string_is(value.raw, longer));
        if (cases[i].wanted[0] != '\0') {
            longer[strlen(cases[i].wanted) - 1] = '\0';
            assert_false(json_string_is(value.raw, longer));
        }
    }
    struct json_value number;
    assert_true(parse(*state, TEXT("12"), &number, NULL));
    assert_null(json_string(number, *state));
}

/* --- numbers ------------------------------------------------------------------------------------------------------ */

static void integers_are_read(void **state)
{
    static const struct {
        const char *raw;
        bool good;
        int64_t wanted;
    } cases[] = {
        { "0", true, 0 },
        { "-0", true, 0 },
        { "61", true, 61 },
        { "-61", true, -61 },
        { "9223372036854775807", true, INT64_MAX },
        { "-9223372036854775808", true, INT64_MIN },
        { "9223372036854775808", false, 0 },
        { "-9223372036854775809", false, 0 },
        { "99999999999999999999", false, 0 },
        { "1.0", false, 0 },
        { "1e2", false, 0 },
        { "\"1\"", false, 0 },
        { "true", false, 0 },
        { "null", false, 0 },
        { "[1]", false, 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        int64_t number = 42;
        assert_true(parse(*state, text_of(cases[i].raw), &value, NULL));
        assert_int_equal(json_integer(value, &number), cases[i].good);
        assert_int_equal(number, cases[i].good ? cases[i].wanted : 42);
    }
}

static void numbers_are_read(void **state)
{
    static const struct {
        const char *raw;
        bool good;
        double wanted;
    } cases[] = {
        { "0", true, 0 },
        { "61", true, 61 },
        { "-12.50", true, -12.5 },
        { "1e3", true, 1000 },
        { "2.5E-1", true, 0.25 },
        { "1.7976931348623157e308", true, DBL_MAX },
        { "5e-324", true, 4.9406564584124654e-324 },
        { "1e-999", true, 0 },
        { "0.1", true, 0.1 },
        { "123456789012345678901234567890", true, 123456789012345678901234567890.0 },
        { "1e309", false, 0 },
        { "-1e999999", false, 0 },
        { "\"1\"", false, 0 },
        { "false", false, 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        double number = 42;
        assert_true(parse(*state, text_of(cases[i].raw), &value, NULL));
        assert_int_equal(json_number(value, &number), cases[i].good);
        assert_true(number == (cases[i].good ? cases[i].wanted : 42));
    }
    struct buf digits;
    struct json_value value;
    double number = 0;
    buf_init(&digits, 4000);
    buf_add_string(&digits, "0.");
    for (int i = 0; i < 1000; i++)
        buf_add_char(&digits, '3');
    assert_true(parse(*state, buf_text(&digits), &value, NULL) && json_number(value, &number));
    assert_true(fabs(number - 1.0 / 3) < 1e-15);
    for (int i = 0; i < 1000; i++)
        buf_add_char(&digits, '3');
    assert_true(parse(*state, buf_text(&digits), &value, NULL));
    assert_false(json_number(value, &number));
    buf_done(&digits);
}

static void numbers_are_written_as_short_as_they_read_back(void **state)
{
    static const struct {
        double number;
        const char *wanted;
    } cases[] = {
        { 0, "0" },
        { -0.0, "-0" },
        { 1, "1" },
        { -61, "-61" },
        { 0.1, "0.1" },
        { 0.3, "0.3" },
        { 0.1 + 0.2, "0.30000000000000004" },
        { 100000, "100000" },
        { 123456789012345, "123456789012345" },
        { 1e22, "1e+22" },
        { 2.5e-7, "2.5e-07" },
        { 1.0 / 3, "0.3333333333333333" },
        { DBL_MAX, "1.7976931348623157e+308" },
        { INFINITY, "null" },
        { -INFINITY, "null" },
        { NAN, "null" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct buf buf;
        struct json_value value;
        double again = 0;
        buf_init(&buf, 100);
        json_write_number(&buf, cases[i].number);
        assert_string_equal(buf.at, cases[i].wanted);
        assert_true(parse(*state, buf_text(&buf), &value, NULL));
        if (isfinite(cases[i].number))
            assert_true(json_number(value, &again) && memcmp(&again, &cases[i].number, sizeof(again)) == 0);
        buf_done(&buf);
    }
    uint64_t random = 88172645463325252u; /* xorshift: doubles of every kind, the same in each run */
    for (int i = 0; i < 20000; i++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        double number, again = 0;
        memcpy(&number, &random, sizeof(number));
        if (!isfinite(number))
            continue;
        struct buf buf;
        struct json_value value;
        buf_init(&buf, 100);
        json_write_number(&buf, number);
        assert_true(json_parse(buf_text(&buf), &value, NULL) && json_number(value, &again));
        assert_memory_equal(&again, &number, sizeof(number));
        buf_done(&buf);
    }
}

static void integers_are_written(void **state)
{
    static const int64_t numbers[] = { 0, 7, -7, 10, 1234567890123456789, INT64_MAX, INT64_MIN };
    for (size_t i = 0; i < LENGTH(numbers); i++) {
        struct buf buf;
        struct json_value value;
        int64_t again = 0;
        char wanted[32];
        buf_init(&buf, 100);
        json_write_integer(&buf, numbers[i]);
        snprintf(wanted, sizeof(wanted), "%lld", (long long)numbers[i]);
        assert_string_equal(buf.at, wanted);
        assert_true(parse(*state, buf_text(&buf), &value, NULL) && json_integer(value, &again));
        assert_int_equal(again, numbers[i]);
        buf_done(&buf);
    }
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void objects_are_written(void **state)
{
    struct buf buf;
    (void)state;
    buf_init(&buf, 1000);
    buf_add_char(&buf, '{');
    json_name(&buf, "text");
    json_write_string(&buf, "{[:,");
    json_name(&buf, "absent");
    json_write_string(&buf, NULL);
    json_name(&buf, "a\"b");
    json_write_bool(&buf, true);
    json_name(&buf, "list");
    buf_add_char(&buf, '[');
    for (int i = 0; i < 3; i++) {
        json_separate(&buf);
        json_write_integer(&buf, i);
    }
    buf_add_char(&buf, ']');
    json_name(&buf, "object");
    buf_add_string(&buf, "{");
    json_name(&buf, "f");
    json_write_bool(&buf, false);
    buf_add_string(&buf, "}}");
    assert_string_equal(
        buf.at, "{\"text\":\"{[:,\",\"absent\":null,\"a\\\"b\":true,\"list\":[0,1,2],\"object\":{\"f\":false}}");
    buf_clear(&buf);
    json_separate(&buf);
    assert_int_equal(buf.bytes, 0);
    buf_done(&buf);
}

static void strings_are_escaped_to_one_line(void **state)
{
    static const struct {
        struct text text;
        const char *wanted;
    } cases[] = {
        { { NULL, 0 }, "null" },
        { { "", 0 }, "\"\"" },
        { { "a\"b\\c/d", 7 }, "\"a\\\"b\\\\c/d\"" },
        { { "\b\f\n\r\t\x01\x1F\x7F", 8 }, "\"\\b\\f\\n\\r\\t\\u0001\\u001f\x7F\"" },
        { { "Zo\xC3\xAB \xF0\x9F\x99\x82", 9 }, "\"Zo\xC3\xAB \xF0\x9F\x99\x82\"" },
        { { "a\0b", 3 },
          "\"a\xEF\xBF\xBD"
          "b\"" },
        { { "a\xFF\xC3", 3 }, "\"a\xEF\xBF\xBD\xEF\xBF\xBD\"" },
        { { "\xED\xA0\x80", 3 }, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct buf buf;
        struct json_value value;
        buf_init(&buf, 100);
        json_write_text(&buf, cases[i].text);
        assert_string_equal(buf.at, cases[i].wanted);
        assert_true(parse(*state, buf_text(&buf), &value, NULL));
        buf_done(&buf);
    }
    for (int c = 1; c < 0x80; c++) {
        char text[] = { 'x', (char)c, 'y', '\0' };
        struct buf buf;
        struct json_value value;
        buf_init(&buf, 100);
        json_write_string(&buf, text);
        assert_null(strchr(buf.at, '\n'));
        assert_true(parse(*state, buf_text(&buf), &value, NULL));
        assert_string_equal(json_string(value, *state), text);
        buf_done(&buf);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(valid_documents_are_accepted, start, finish),
        cmocka_unit_test_setup_teardown(invalid_documents_are_refused, start, finish),
        cmocka_unit_test_setup_teardown(nesting_has_a_limit, start, finish),
        cmocka_unit_test_setup_teardown(documents_cut_anywhere_are_refused, start, finish),
        cmocka_unit_test_setup_teardown(spoiled_documents_do_no_harm, start, finish),
        cmocka_unit_test_setup_teardown(containers_are_walked, start, finish),
        cmocka_unit_test_setup_teardown(other_values_have_nothing_to_walk, start, finish),
        cmocka_unit_test_setup_teardown(members_are_found_by_name, start, finish),
        cmocka_unit_test_setup_teardown(strings_are_unescaped, start, finish),
        cmocka_unit_test_setup_teardown(integers_are_read, start, finish),
        cmocka_unit_test_setup_teardown(numbers_are_read, start, finish),
        cmocka_unit_test_setup_teardown(numbers_are_written_as_short_as_they_read_back, start, finish),
        cmocka_unit_test_setup_teardown(integers_are_written, start, finish),
        cmocka_unit_test_setup_teardown(objects_are_written, start, finish),
        cmocka_unit_test_setup_teardown(strings_are_escaped_to_one_line, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
