#include "deploy/sb/document.h"

#include <stdlib.h>
#include <string.h>

#define INDENT_COLUMNS 2
#define NAME_BYTES_MAX 512 /* of one step of a pointer */

/* --- to read ------------------------------------------------------------------------------------------------- */

static void new_line(struct buf *out, int depth)
{
    buf_add_char(out, '\n');
    for (int i = 0; i < depth * INDENT_COLUMNS; i++)
        buf_add_char(out, ' ');
}

static void indent(struct buf *out, struct json_value value, int depth)
{
    struct json_scan scan;
    struct text name;
    struct json_value item;
    bool object = value.kind == JSON_OBJECT, any = false;

    if (!object && value.kind != JSON_ARRAY) {
        buf_add_text(out, value.raw);
        return;
    }
    buf_add_char(out, object ? '{' : '[');
    json_enter(&scan, value);
    while (object ? json_member(&scan, &name, &item) : json_element(&scan, &item)) {
        if (any)
            buf_add_char(out, ',');
        any = true;
        new_line(out, depth + 1);
        if (object) {
            buf_add_text(out, name);
            buf_add_string(out, ": ");
        }
        indent(out, item, depth + 1);
    }
    if (any)
        new_line(out, depth);
    buf_add_char(out, object ? '}' : ']');
}

void document_indent(struct buf *out, struct text json)
{
    struct json_value value;
    struct problem why;

    if (json_parse(json, &value, &why))
        indent(out, value, 0);
    else
        buf_add_text(out, json);
}

/* --- to change ----------------------------------------------------------------------------------------------- */

/* The pointer's next step, unescaped: "~1" is a slash, "~0" a tilde. */
static bool next_step(const char **pointer, char ret[NAME_BYTES_MAX], struct problem *why)
{
    size_t bytes = 0;
    const char *at = *pointer;

    if (*at++ != '/')
        return fail(why, "\"%s\" is no JSON pointer: it must begin with a slash, as /data/name does", *pointer);
    for (; *at != '\0' && *at != '/' && bytes < NAME_BYTES_MAX - 1; at++) {
        bool escaped = *at == '~' && (at[1] == '0' || at[1] == '1');
        ret[bytes++] = escaped ? (at[1] == '0' ? '~' : '/') : *at;
        at += escaped;
    }
    ret[bytes] = '\0';
    *pointer = at;
    return bytes < NAME_BYTES_MAX - 1 || fail(why, "a name in the JSON pointer is too long");
}

static bool find_element(struct json_value array, const char *step, struct json_value *ret)
{
    struct json_scan scan;
    char *end;
    unsigned long number = strtoul(step, &end, 10);

    json_enter(&scan, array);
    while (*step >= '0' && *step <= '9' && *end == '\0' && json_element(&scan, ret))
        if (number-- == 0)
            return true;
    return false;
}

static bool find_step(struct json_value in, const char *step, struct json_value *ret)
{
    return in.kind == JSON_OBJECT ? json_find(in, step, ret) : in.kind == JSON_ARRAY && find_element(in, step, ret);
}

/* `json` with the bytes from `from` up to `to` replaced by `value`; as a new member when it has a name. */
static void splice(struct buf *out, struct text json, const char *from, const char *to, const char *name, bool comma,
                   struct text value)
{
    buf_add(out, json.at, (size_t)(from - json.at));
    if (comma)
        buf_add_char(out, ',');
    if (name) {
        json_write_string(out, name);
        buf_add_char(out, ':');
    }
    buf_add_text(out, value);
    buf_add(out, to, (size_t)(json.at + json.bytes - to));
}

bool document_set(struct buf *out, struct text json, const char *pointer, struct text value, struct problem *why)
{
    struct json_value in, found, checked;
    char step[NAME_BYTES_MAX];
    const char *at = pointer;

    if (!json_parse(value, &checked, why))
        return fail(why, "what %s shall be is not JSON (a text needs its quotes): %.*s", pointer, (int)value.bytes,
                    value.at);
    if (!json_parse(json, &in, why))
        return false;
    do {
        if (!next_step(&at, step, why))
            return false;
        bool there = find_step(in, step, &found);
        if (!there && (*at != '\0' || in.kind != JSON_OBJECT))
            return fail(why, "it has no %.*s", (int)(at - pointer), pointer);
        if (!there) {
            struct json_scan scan;
            struct text name;
            const char *end = in.raw.at + in.raw.bytes - 1;
            json_enter(&scan, in);
            splice(out, json, end, end, step, json_member(&scan, &name, &found), value);
            return true;
        }
        in = found;
    } while (*at != '\0');
    splice(out, json, in.raw.at, in.raw.at + in.raw.bytes, NULL, false, value);
    return true;
}
