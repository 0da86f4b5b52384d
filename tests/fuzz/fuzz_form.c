/* What is read of a form is text, and encoding it again gives the same form. */
#include "common/form.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Encodes both texts of each field; false when one holds a NUL, which form_encode cannot be given. */
static bool encode(const struct form *form, struct buf *ret)
{
    for (size_t i = 0; i < form->count; i++) {
        const struct text texts[] = { form->fields[i].name, form->fields[i].value };
        for (size_t j = 0; j < LENGTH(texts); j++) {
            check(text_is_utf8(texts[j]) && texts[j].at[texts[j].bytes] == '\0');
            if (strlen(texts[j].at) != texts[j].bytes)
                return false;
            buf_add_char(ret, j == 0 ? '&' : '=');
            form_encode(ret, texts[j].at);
        }
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct form form, again;
    struct problem why = { .text = "" };
    struct buf body;

    CLEANUP(arena_freep) struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(size));
    if (!form_read((struct text){ (const char *)data, size }, arena, &form, &why)) {
        check(why.text[0] != '\0');
        return 0;
    }
    buf_init(&body, 3 * size + 2 * FORM_FIELDS_MAX);
    if (encode(&form, &body)) {
        CLEANUP(arena_freep) struct arena *second = arena_new(FORM_ARENA_BYTES_MAX(body.bytes));
        check(!body.overflowed && form_read(buf_text(&body), second, &again, &why) && again.count == form.count);
        for (size_t i = 0; i < form.count; i++) {
            check(text_equal(form.fields[i].name, again.fields[i].name));
            check(text_equal(form.fields[i].value, again.fields[i].value));
            check(form_get(&form, form.fields[i].name.at) != NULL);
        }
    }
    buf_done(&body);
    return 0;
}
