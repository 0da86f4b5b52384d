/* json.c: JSON in place.  json_parse() looks at every byte once and refuses what is not strictly RFC 8259; everything
 * after it walks bytes known to be well formed and only has to find where a value ends. */
#include "common/json.h"

#include <string.h>

#include "common/utf8.h"

_Static_assert(JSON_DEPTH_MAX <= 64, "the checker keeps one bit for each open container");

/* --- classes of bytes --------------------------------------------------------------------------------------------- */

static bool is_space(char c)
{
    return c == ' ' || c == '\n' || c == '\r' || c == '\t';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* May stand in a string as it is, and is ASCII. */
static bool is_plain(char c)
{
    return (unsigned char)c >= 0x20 && (unsigned char)c < 0x80 && c != '"' && c != '\\';
}

/* The same of eight bytes at once.  A borrow out of one byte can spoil only those above it, and then that byte was not
 * plain. */
static bool is_plain_word(const char *at)
{
    const uint64_t ones = 0x0101010101010101u;
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    uint64_t not_plain = word | (word - ones * 0x20) | ((word ^ ones * '"') - ones) | ((word ^ ones * '\\') - ones);
    return (not_plain & ones * 0x80) == 0;
}

static const char *skip_plain(const char *at, const char *end)
{
    while (end - at >= 8 && is_plain_word(at))
        at += 8;
    while (at < end && is_plain(*at))
        at++;
    return at;
}

static const char *skip_space(const char *at, const char *end)
{
    while (at < end && is_space(*at))
        at++;
    return at;
}

static enum json_kind kind_of(char first)
{
    switch (first) {
    case '{':
        return JSON_OBJECT;
    case '[':
        return JSON_ARRAY;
    case '"':
        return JSON_STRING;
    case 't':
        return JSON_TRUE;
    case 'f':
        return JSON_FALSE;
    case 'n':
        return JSON_NULL;
    default:
        return JSON_NUMBER;
    }
}

/* --- checking ----------------------------------------------------------------------------------------------------- */

struct check {
    const char *at;
    const char *end;
    uint64_t objects; /* bit n: the container at depth n + 1 is an object */
    int depth;
    const char *wrong; /* what is wrong at `at` */
};

static bool wrong(struct check *check, const char *what)
{
    check->wrong = check->at == check->end ? "it ends too early" : what;
    return false;
}

static int hex_value(char c)
{
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    if (c >= 'A' && c <= 'F')
        return c - 'A' + 10;
    return -1;
}

/* Four hex digits at `at`, or -1. */
static int hex_unit(const char *at, const char *end)
{
    int unit = 0;

    if (end - at < 4)
        return -1;
    for (int i = 0; i < 4; i++) {
        int digit = hex_value(at[i]);
        if (digit < 0)
            return -1;
        unit = unit * 16 + digit;
    }
    return unit;
}

/* At a backslash. */
static bool check_escape(struct check *check)
{
    if (check->end - check->at < 2) {
        check->at = check->end;
        return wrong(check, "");
    }
    char kind = check->at[1];
    if (kind != 'u') {
        if (kind == '\0' || strchr("\"\\/bfnrt", kind) == NULL)
            return wrong(check, "an unknown escape");
        check->at += 2;
        return true;
    }
    int unit = hex_unit(check->at + 2, check->end);
    if (unit < 0)
        return wrong(check, "an escape without four hex digits");
    if (unit == 0)
        return wrong(check, "U+0000 cannot be kept");
    if (unit >= 0xDC00 && unit <= 0xDFFF)
        return wrong(check, "a low surrogate without a high one");
    check->at += 6;
    if (unit < 0xD800 || unit > 0xDBFF)
        return true;
    if (check->end - check->at < 6 || check->at[0] != '\\' || check->at[1] != 'u')
        return wrong(check, "a high surrogate without a low one");
    unit = hex_unit(check->at + 2, check->end);
    if (unit < 0xDC00 || unit > 0xDFFF)
        return wrong(check, "a high surrogate without a low one");
    check->at += 6;
    return true;
}

static bool check_string(struct check *check)
{
    check->at++;
    for (;;) {
        check->at = skip_plain(check->at, check->end);
        if (check->at == check->end)
            return wrong(check, "");
        char c = *check->at;
        if (c == '"') {
            check->at++;
            return true;
        }
        if (c == '\\') {
            if (!check_escape(check))
                return false;
            continue;
        }
        size_t bytes = utf8_sequence(check->at, check->end);
        if (bytes == 0)
            return wrong(check, "a string that is not UTF-8");
        if (bytes == 1)
            return wrong(check, "a control character that is not escaped");
        check->at += bytes;
    }
}

static bool check_digits(struct check *check)
{
    if (check->at == check->end || !is_digit(*check->at))
        return wrong(check, "a number without a digit where one must be");
    while (check->at < check->end && is_digit(*check->at))
        check->at++;
    return true;
}

static bool check_number(struct check *check)
{
    if (*check->at == '-')
        check->at++;
    if (check->at < check->end && *check->at == '0') {
        check->at++;
        if (check->at < check->end && is_digit(*check->at))
            return wrong(check, "a number with a leading zero");
    } else if (!check_digits(check)) {
        return false;
    }
    if (check->at < check->end && *check->at == '.') {
        check->at++;
        if (!check_digits(check))
            return false;
    }
    if (check->at < check->end && (*check->at == 'e' || *check->at == 'E')) {
        check->at++;
        if (check->at < check->end && (*check->at == '+' || *check->at == '-'))
            check->at++;
        return check_digits(check);
    }
    return true;
}

static bool check_word(struct check *check, const char *word)
{
    for (; *word != '\0'; word++, check->at++) {
        if (check->at == check->end || *check->at != *word)
            return wrong(check, "a word that is not true, false or null");
    }
    return true;
}

static bool check_scalar(struct check *check)
{
    switch (*check->at) {
    case '"':
        return check_string(check);
    case 't':
        return check_word(check, "true");
    case 'f':
        return check_word(check, "false");
    case 'n':
        return check_word(check, "null");
    default:
        if (*check->at != '-' && !is_digit(*check->at))
            return wrong(check, "a value was expected");
        return check_number(check);
    }
}

static bool in_object(const struct check *check)
{
    return check->depth > 0 && (check->objects >> (check->depth - 1) & 1) != 0;
}

static bool check_name(struct check *check)
{
    check->at = skip_space(check->at, check->end);
    if (check->at == check->end || *check->at != '"')
        return wrong(check, "a name in quotes was expected");
    if (!check_string(check))
        return false;
    check->at = skip_space(check->at, check->end);
    if (check->at == check->end || *check->at != ':')
        return wrong(check, "a colon was expected");
    check->at++;
    return true;
}

/* At { or [.  Sets `ret_empty` when it was closed at once. */
static bool check_open(struct check *check, bool *ret_empty)
{
    bool object = *check->at == '{';

    if (check->depth == JSON_DEPTH_MAX)
        return wrong(check, "it is nested too deeply");
    check->at = skip_space(check->at + 1, check->end);
    *ret_empty = check->at < check->end && *check->at == (object ? '}' : ']');
    if (*ret_empty) {
        check->at++;
        return true;
    }
    uint64_t bit = UINT64_C(1) << check->depth;
    check->objects = object ? check->objects | bit : check->objects & ~bit;
    check->depth++;
    return object ? check_name(check) : true;
}

/* After a value: closes what ends here.  Stands before the next value then, or at depth 0 when all is closed. */
static bool check_close(struct check *check)
{
    while (check->depth > 0) {
        check->at = skip_space(check->at, check->end);
        bool object = in_object(check);
        if (check->at == check->end)
            return wrong(check, "");
        if (*check->at == ',') {
            check->at++;
            return object ? check_name(check) : true;
        }
        if (*check->at != (object ? '}' : ']'))
            return wrong(check, object ? "a comma or } was expected" : "a comma or ] was expected");
        check->at++;
        check->depth--;
    }
    return true;
}

static bool check_value(struct check *check)
{
    do {
        bool done = true;
        check->at = skip_space(check->at, check->end);
        if (check->at == check->end)
            return wrong(check, "");
        if (*check->at == '{' || *check->at == '[') {
            if (!check_open(check, &done))
                return false;
        } else if (!check_scalar(check)) {
            return false;
        }
        if (done && !check_close(check))
            return false;
    } while (check->depth > 0);
    return true;
}

bool json_parse(struct text input, struct json_value *ret, struct problem *why)
{
    const char *begin = input.at != NULL ? input.at : "";
    struct check check = { .at = begin, .end = begin + input.bytes };

    bool good = check_value(&check);
    const char *value_end = check.at;
    if (good) {
        check.at = skip_space(check.at, check.end);
        if (check.at != check.end)
            good = wrong(&check, "something follows the value");
    }
    if (!good)
        return fail(why, "not JSON: %s (byte %zu)", check.wrong, (size_t)(check.at - begin));
    const char *value = skip_space(begin, check.end);
    *ret = (struct json_value){ kind_of(*value), { value, (size_t)(value_end - value) } };
    return true;
}

/* --- walking ------------------------------------------------------------------------------------------------------ */

/* At the opening quote; gives what follows the closing one. */
static const char *skip_string(const char *at, const char *end)
{
    for (at++; at < end; at += 2) {
        while (end - at >= 8 && is_plain_word(at))
            at += 8;
        while (at < end && *at != '"' && *at != '\\')
            at++;
        if (at < end && *at == '"')
            return at + 1;
    }
    return end;
}

static const char *skip_container(const char *at, const char *end)
{
    int depth = 0;

    do {
        switch (*at) {
        case '"':
            at = skip_string(at, end);
            continue;
        case '{':
        case '[':
            depth++;
            break;
        case '}':
        case ']':
            depth--;
            break;
        default:
            break;
        }
        at++;
    } while (depth > 0);
    return at;
}

static const char *skip_value(const char *at, const char *end)
{
    if (*at == '"')
        return skip_string(at, end);
    if (*at == '{' || *at == '[')
        return skip_container(at, end);
    while (at < end && *at != ',' && !is_space(*at))
        at++;
    return at;
}

void json_enter(struct json_scan *scan, struct json_value container)
{
    bool walkable = container.kind == JSON_OBJECT || container.kind == JSON_ARRAY;
    *scan = (struct json_scan){ .at = container.raw.at, .end = container.raw.at };
    if (walkable) {
        scan->at++;
        scan->end += container.raw.bytes - 1; /* before the closing bracket */
    }
}

/* Moves to the next member or element; false at the end, or when an object is walked as an array. */
static bool scan_next(struct json_scan *scan)
{
    const char *at = skip_space(scan->at, scan->end);

    if (at < scan->end && scan->any) {
        if (*at != ',')
            return false;
        at = skip_space(at + 1, scan->end);
    }
    scan->at = at;
    scan->any = true;
    return at < scan->end;
}

static struct json_value scan_value(struct json_scan *scan)
{
    const char *at = scan->at;
    scan->at = skip_value(at, scan->end);
    return (struct json_value){ kind_of(*at), { at, (size_t)(scan->at - at) } };
}

bool json_member(struct json_scan *scan, struct text *ret_name, struct json_value *ret_value)
{
    if (!scan_next(scan) || *scan->at != '"')
        return false;
    const char *name = scan->at;
    const char *name_end = skip_string(name, scan->end);
    const char *colon = skip_space(name_end, scan->end);
    if (colon >= scan->end || *colon != ':')
        return false; /* an array walked as an object */
    scan->at = skip_space(colon + 1, scan->end);
    *ret_name = (struct text){ name, (size_t)(name_end - name) };
    *ret_value = scan_value(scan);
    return true;
}

bool json_element(struct json_scan *scan, struct json_value *ret_value)
{
    if (!scan_next(scan))
        return false;
    *ret_value = scan_value(scan);
    return true;
}

bool json_find(struct json_value object, const char *name, struct json_value *ret)
{
    struct json_scan scan;
    struct text member;
    struct json_value value;

    if (object.kind != JSON_OBJECT)
        return false;
    json_enter(&scan, object);
    while (json_member(&scan, &member, &value)) {
        if (json_string_is(member, name)) {
            *ret = value;
            return true;
        }
    }
    return false;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

static size_t print_utf8(uint32_t code, char ret[4])
{
    if (code < 0x80) {
        ret[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        ret[0] = (char)(0xC0 | code >> 6);
        ret[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        ret[0] = (char)(0xE0 | code >> 12);
        ret[1] = (char)(0x80 | (code >> 6 & 0x3F));
        ret[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    ret[0] = (char)(0xF0 | code >> 18);
    ret[1] = (char)(0x80 | (code >> 12 & 0x3F));
    ret[2] = (char)(0x80 | (code >> 6 & 0x3F));
    ret[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

/* The character of a checked escape; `*at` is at the backslash and moves behind the escape. */
static size_t read_escape(const char **at, const char *end, char ret[4])
{
    static const char letters[] = "\"\\/bfnrt";
    static const char characters[] = "\"\\/\b\f\n\r\t";
    char kind = (*at)[1];

    if (kind != 'u') {
        ret[0] = characters[strchr(letters, kind) - letters];
        *at += 2;
        return 1;
    }
    uint32_t code = (uint32_t)hex_unit(*at + 2, end);
    *at += 6;
    if (code >= 0xD800 && code <= 0xDBFF) {
        code = 0x10000 + ((code - 0xD800) << 10) + ((uint32_t)hex_unit(*at + 2, end) - 0xDC00);
        *at += 6;
    }
    return print_utf8(code, ret);
}

bool json_string_is(struct text raw, const char *string)
{
    const char *at = raw.at + 1;
    const char *end = raw.at + raw.bytes - 1;
    char character[4];

    while (at < end) {
        if (*at != '\\') {
            if (*at++ != *string++)
                return false; /* a string without NUL, so this also stops at the end of `string` */
            continue;
        }
        size_t bytes = read_escape(&at, end, character);
        if (strncmp(string, character, bytes) != 0)
            return false;
        string += bytes;
    }
    return *string == '\0';
}

const char *json_string(struct json_value value, struct arena *arena)
{
    if (value.kind != JSON_STRING)
        return NULL;
    struct text inner = { value.raw.at + 1, value.raw.bytes - 2 };
    char *copy = arena_copy_text(arena, inner);
    const char *end = inner.at + inner.bytes;
    const char *at = inner.bytes > 0 ? memchr(inner.at, '\\', inner.bytes) : NULL;
    if (at == NULL)
        return copy;
    char *to = copy + (at - inner.at);
    while (at < end) {
        if (*at == '\\')
            to += read_escape(&at, end, to); /* an escape is never shorter than its character */
        else
            *to++ = *at++;
    }
    *to = '\0';
    return copy;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_escaped(struct buf *buf, unsigned char c)
{
    static const char letters[0x20] = { ['\b'] = 'b', ['\f'] = 'f', ['\n'] = 'n', ['\r'] = 'r', ['\t'] = 't' };
    static const char hex[] = "0123456789abcdef";

    if (c == '"' || c == '\\' || letters[c] != '\0')
        buf_add(buf, (char[]){ '\\', c < 0x20 ? letters[c] : (char)c }, 2);
    else
        buf_add(buf, (char[]){ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] }, 6);
}

void json_write_text(struct buf *buf, struct text text)
{
    if (text.at == NULL) {
        buf_add(buf, "null", 4);
        return;
    }
    const char *end = text.at + text.bytes;
    const char *run = text.at;
    buf_add_char(buf, '"');
    for (const char *at = run;;) {
        at = skip_plain(at, end);
        size_t bytes = at < end ? utf8_sequence(at, end) : 0;
        if (bytes > 1) {
            at += bytes;
            continue;
        }
        buf_add(buf, run, (size_t)(at - run));
        if (at == end)
            break;
        if (bytes == 0 || *at == '\0')
            buf_add_string(buf, UTF8_REPLACEMENT);
        else
            write_escaped(buf, (unsigned char)*at);
        run = ++at;
    }
    buf_add_char(buf, '"');
}

void json_write_string(struct buf *buf, const char *string)
{
    json_write_text(buf, text_of(string));
}

void json_write_bool(struct buf *buf, bool value)
{
    buf_add_string(buf, value ? "true" : "false");
}

void json_separate(struct buf *buf)
{
    char last = buf->bytes > 0 ? buf->at[buf->bytes - 1] : '[';

    if (last != '{' && last != '[' && last != ':')
        buf_add_char(buf, ',');
}

void json_name(struct buf *buf, const char *name)
{
    json_separate(buf);
    json_write_string(buf, name);
    buf_add_char(buf, ':');
}

void json_add_string(struct buf *buf, const char *name, const char *value)
{
    json_name(buf, name);
    json_write_string(buf, value);
}

void json_add_integer(struct buf *buf, const char *name, int64_t value)
{
    json_name(buf, name);
    json_write_integer(buf, value);
}

void json_add_bool(struct buf *buf, const char *name, bool value)
{
    json_name(buf, name);
    json_write_bool(buf, value);
}

void json_add_time(struct buf *buf, const char *name, int64_t us)
{
    char time[TIME_BYTES];
    json_add_string(buf, name, us ? time_print(us, time) : NULL);
}
