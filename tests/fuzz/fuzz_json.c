/* What the scanner accepts it can walk, and writing what was walked gives the same document again. */
#include "tests/fuzz/fuzz.h"

#include "common/json.h"

#define ARENA_BYTES_MAX (64 * 1024 * 1024)

static void write_value(struct buf *buf, struct json_value value, struct arena *arena);

static void write_children(struct buf *buf, struct json_value value, struct arena *arena)
{
    struct json_scan scan;
    struct json_value child, found;
    struct text name;

    json_enter(&scan, value);
    if (value.kind == JSON_ARRAY) {
        while (json_element(&scan, &child)) {
            json_separate(buf);
            write_value(buf, child, arena);
        }
        return;
    }
    while (json_member(&scan, &name, &child)) {
        const char *plain = json_string((struct json_value){ JSON_STRING, name }, arena);
        require(json_string_is(name, plain));
        require(json_find(value, plain, &found) && found.raw.at <= child.raw.at);
        json_name(buf, plain);
        write_value(buf, child, arena);
    }
}

/* -0 is an integer too, but only as a number does it keep its sign: so all are written as numbers, and integers tried
 * beside it. */
static void write_number(struct buf *buf, struct json_value value)
{
    int64_t integer, again;
    double number;

    if (json_integer(value, &integer)) {
        struct buf digits;
        struct json_value written;
        buf_init(&digits, 32);
        json_write_integer(&digits, integer);
        require(json_parse(buf_text(&digits), &written, NULL) && json_integer(written, &again) && again == integer);
        buf_done(&digits);
    }
    if (json_number(value, &number))
        json_write_number(buf, number);
    else
        buf_add_text(buf, value.raw);
}

static void write_value(struct buf *buf, struct json_value value, struct arena *arena)
{
    switch (value.kind) {
    case JSON_OBJECT:
    case JSON_ARRAY:
        buf_add_char(buf, value.kind == JSON_OBJECT ? '{' : '[');
        write_children(buf, value, arena);
        buf_add_char(buf, value.kind == JSON_OBJECT ? '}' : ']');
        break;
    case JSON_STRING:
        require(text_is_utf8(text_of(json_string(value, arena))));
        require(json_string_is(value.raw, json_string(value, arena)));
        json_write_string(buf, json_string(value, arena));
        break;
    case JSON_NUMBER:
        write_number(buf, value);
        break;
    case JSON_NULL:
        json_write_string(buf, NULL);
        break;
    case JSON_TRUE:
    case JSON_FALSE:
        json_write_bool(buf, value.kind == JSON_TRUE);
        break;
    }
}

static void rewrite(struct text text, struct buf *ret, struct arena *arena)
{
    struct json_value value;
    struct problem why;

    require(json_parse(text, &value, &why));
    write_value(ret, value, arena);
    require(!ret->overflowed);
    require(memchr(ret->at, '\n', ret->bytes) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = { (const char *)data, size };
    struct json_value value;
    struct problem why = { .text = "" };

    if (!json_parse(input, &value, &why)) {
        require(why.text[0] != '\0' && text_is_utf8(text_of(why.text)));
    } else {
        CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA_BYTES_MAX);
        struct buf once, twice;
        buf_init(&once, ARENA_BYTES_MAX);
        buf_init(&twice, ARENA_BYTES_MAX);
        rewrite(input, &once, arena);
        rewrite(buf_text(&once), &twice, arena);
        require(text_equal(buf_text(&once), buf_text(&twice)));
        if (value.kind == JSON_OBJECT || value.kind == JSON_ARRAY)
            require(!json_parse((struct text){ value.raw.at, value.raw.bytes / 2 }, &value, NULL));
        buf_done(&once);
        buf_done(&twice);
    }

    /* any bytes can be written as a string, and read again */
    struct buf string;
    buf_init(&string, 6 * size + 16);
    json_write_text(&string, input);
    require(!string.overflowed && json_parse(buf_text(&string), &value, NULL));
    buf_done(&string);
    return 0;
}
