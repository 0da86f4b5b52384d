/* Form bodies. */
#include "common/form.h"

#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

static int start(void **state)
{
    *state = arena_new(FORM_ARENA_BYTES_MAX(1 << 20));
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

/* Shows a form as name=value|name=value, so that cases can say what they want. */
static const char *show(const struct form *form, struct arena *arena)
{
    const char *shown = "";
    for (size_t i = 0; i < form->count; i++) {
        struct form_field field = form->fields[i];
        assert_int_equal(field.name.at[field.name.bytes], '\0');
        assert_int_equal(field.value.at[field.value.bytes], '\0');
        shown = arena_printf(arena, "%s%s%s=%s", shown, i > 0 ? "|" : "", field.name.at, field.value.at);
    }
    return shown;
}

static void forms_are_decoded(void **state)
{
    static const struct {
        const char *body;
        const char *wanted; /* NULL: refused */
    } cases[] = {
        { "", "" },
        { "a=1", "a=1" },
        { "a=1&b=2&a=3", "a=1|b=2|a=3" },
        { "a=&b&=c&=", "a=|b=|=c|=" },
        { "&&a=1&&", "a=1" },
        { "a=b=c==", "a=b=c==" },
        { "Body=1+%2B+1+%3D+2", "Body=1 + 1 = 2" },
        { "a+b%20c=%26%3d%25", "a b c=&=%" },
        { "Body=Zo%C3%AB%20%F0%9F%99%82", "Body=Zo\xC3\xAB \xF0\x9F\x99\x82" },
        { "Body=Zo\xC3\xAB", "Body=Zo\xC3\xAB" },
        { "Body=%0D%0A", "Body=\r\n" },
        { "a=%FF%C3x%e4%bd", "a=??x??" },
        { "%FF=%FF", "?=?" },
        { "a=%", NULL },
        { "a=%4", NULL },
        { "a=%4g", NULL },
        { "a=%4&1=b", NULL },
        { "%zz=1", NULL },
        { "a=% 41", NULL },
        { "a=%+4", NULL },
        { "a=%%41", NULL },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct form form;
        struct problem why = { .text = "" };
        char *exact = malloc(strlen(cases[i].body) + (cases[i].body[0] == '\0'));
        memcpy(exact, cases[i].body, strlen(cases[i].body));
        bool good = form_read((struct text){ exact, strlen(cases[i].body) }, *state, &form, &why);
        free(exact); /* nothing may point into it */
        if (good != (cases[i].wanted != NULL))
            fail_msg("%s: %s", cases[i].body, good ? "accepted" : why.text);
        if (good)
            assert_string_equal(show(&form, *state), cases[i].wanted);
        else
            assert_non_null(strstr(why.text, "form"));
    }
    struct form form;
    assert_true(form_read((struct text){ NULL, 0 }, *state, &form, NULL));
    assert_int_equal(form.count, 0);
}

static void a_nul_is_kept(void **state)
{
    struct form form;
    assert_true(form_read(TEXT("a=x%00y&b=2"), *state, &form, NULL));
    assert_int_equal(form.fields[0].value.bytes, 3);
    assert_memory_equal(form.fields[0].value.at, "x\0y", 4);
}

static void fields_are_found_by_name(void **state)
{
    struct form form;
    assert_true(form_read(TEXT("From=%2B15550100001&from=x&From=y&Empty="), *state, &form, NULL));
    assert_string_equal(form_get(&form, "From"), "+15550100001");
    assert_string_equal(form_get(&form, "from"), "x");
    assert_string_equal(form_get(&form, "Empty"), "");
    assert_null(form_get(&form, "To"));
    assert_null(form_get(&form, ""));
}

static void fields_have_a_limit(void **state)
{
    struct form form;
    struct problem why;
    struct buf body;
    buf_init(&body, 1 << 16);
    for (int i = 0; i < FORM_FIELDS_MAX; i++)
        buf_printf(&body, "&f%d=%d", i, i);
    assert_true(form_read(buf_text(&body), *state, &form, NULL));
    assert_int_equal(form.count, FORM_FIELDS_MAX);
    assert_string_equal(form_get(&form, "f511"), "511");
    buf_add_string(&body, "&one=more");
    assert_false(form_read(buf_text(&body), *state, &form, &why));
    assert_string_equal(why.text, "the form has more than 512 fields");
    buf_done(&body);
}

static void the_arena_needed_is_as_stated(void **state)
{
    (void)state;
    for (size_t field_bytes = 1; field_bytes < 300; field_bytes = field_bytes * 3 + 1) {
        struct buf body;
        buf_init(&body, 1 << 20);
        for (int i = 0; i < FORM_FIELDS_MAX; i++) {
            buf_add_char(&body, '&');
            for (size_t j = 0; j < field_bytes; j++)
                buf_add_char(&body, j == field_bytes / 2 ? '=' : '\xFF');
        }
        struct form form;
        struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(body.bytes));
        assert_true(form_read(buf_text(&body), arena, &form, NULL));
        arena_free(arena);
        buf_done(&body);
    }
}

static void texts_are_encoded(void **state)
{
    struct buf buf;
    struct form form;
    (void)state;
    buf_init(&buf, 1000);
    form_encode(&buf, "AZaz09-._~ +&=%/?\xC3\xAB\n");
    assert_string_equal(buf.at, "AZaz09-._~%20%2B%26%3D%25%2F%3F%C3%AB%0A");
    assert_true(form_read(buf_text(&buf), *state, &form, NULL));
    assert_string_equal(form.fields[0].name.at, "AZaz09-._~ +&=%/?\xC3\xAB\n");
    buf_done(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(forms_are_decoded, start, finish),
        cmocka_unit_test_setup_teardown(a_nul_is_kept, start, finish),
        cmocka_unit_test_setup_teardown(fields_are_found_by_name, start, finish),
        cmocka_unit_test_setup_teardown(fields_have_a_limit, start, finish),
        cmocka_unit_test(the_arena_needed_is_as_stated),
        cmocka_unit_test_setup_teardown(texts_are_encoded, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
