/* form.c: application/x-www-form-urlencoded. */
#include "common/form.h"

#include <string.h>

#include "common/crypto.h"
#include "common/utf8.h"

/* The value of two hex digits; false when they are none. */
static bool decode_escape(const char *at, const char *end, char *ret)
{
    return end - at >= 2 && hex_read((struct text){ at, 2 }, ret, 1);
}

/* In place and in as many bytes, because a form of 16 MiB of nonsense must not become one of 48. */
static void repair_utf8(char *at, size_t bytes)
{
    char *end = at + bytes;

    while (at < end) {
        size_t sequence = utf8_sequence(at, end);
        if (sequence == 0)
            *at = '?';
        at += sequence > 0 ? sequence : 1;
    }
}

static bool form_decode(struct text raw, struct arena *arena, struct text *ret)
{
    char *copy = arena_copy_text(arena, raw);
    const char *end = copy + raw.bytes;
    char *to = copy;

    for (const char *at = copy; at < end; to++) {
        if (*at == '%') {
            if (!decode_escape(at + 1, end, to))
                return false;
            at += 3;
        } else {
            *to = *at == '+' ? ' ' : *at;
            at++;
        }
    }
    *to = '\0';
    *ret = (struct text){ copy, (size_t)(to - copy) };
    if (!text_is_utf8(*ret))
        repair_utf8(copy, ret->bytes);
    return true;
}

bool form_read(struct text body, struct arena *arena, struct form *ret, struct problem *why)
{
    const char *at = body.at != NULL ? body.at : "";
    const char *end = at + body.bytes;

    ret->count = 0;
    while (at < end) {
        const char *field_end = memchr(at, '&', (size_t)(end - at));
        if (field_end == NULL)
            field_end = end;
        if (field_end == at) {
            at++;
            continue;
        }
        if (ret->count == FORM_FIELDS_MAX)
            return fail(why, "the form has more than %d fields", FORM_FIELDS_MAX);
        const char *equals = memchr(at, '=', (size_t)(field_end - at));
        const char *name_end = equals != NULL ? equals : field_end;
        const char *value = equals != NULL ? equals + 1 : field_end;
        struct form_field *field = &ret->fields[ret->count];
        if (!form_decode((struct text){ at, (size_t)(name_end - at) }, arena, &field->name) ||
            !form_decode((struct text){ value, (size_t)(field_end - value) }, arena, &field->value))
            return fail(why, "field %zu of the form has a %% without two hex digits", ret->count + 1);
        ret->count++;
        at = field_end;
    }
    return true;
}

const char *form_get(const struct form *form, const char *name)
{
    for (size_t i = 0; i < form->count; i++) {
        if (text_is(form->fields[i].name, name))
            return form->fields[i].value.at;
    }
    return NULL;
}

static bool is_unreserved(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '.' ||
           c == '_' || c == '~';
}

void form_encode(struct buf *buf, const char *string)
{
    static const char hex[] = "0123456789ABCDEF";

    for (; *string != '\0'; string++) {
        unsigned char c = (unsigned char)*string;
        if (is_unreserved(*string))
            buf_add_char(buf, *string);
        else
            buf_add(buf, (char[]){ '%', hex[c >> 4], hex[c & 15] }, 3);
    }
}
