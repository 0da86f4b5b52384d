/* record.c: one small interpreter over the generated tables. */
#include "common/record.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "common/crypto.h"
#include "common/json.h"

#define POINTER_BYTES_MAX 512           /* a longer one is cut; fail_at() cuts again, and marks it */
#define SHOWN_BYTES_MAX 40              /* of a wrong value in a reason */
#define CHECK_ARENA_BYTES_MAX (2 * RECORD_BYTES_MAX)

struct reading {
    struct arena *arena;
    struct problem *why;
};

/* Where we are, innermost first; becomes a JSON pointer only when something is wrong. */
struct place {
    const struct place *up;             /* NULL at the root, which has no name */
    const char *name;                   /* of the member; NULL: an item of an array */
    size_t index;
};

static bool read_object(struct reading *reading, const struct place *place, const struct record *record,
                        struct json_value object, char *ret);

/* --- what is wrong, and where ------------------------------------------------------------------------------------- */

/* RFC 6901: ~ is ~0 and / is ~1 in a name. */
static void place_print(const struct place *place, struct buf *out)
{
    if (place->up == NULL)
        return;
    place_print(place->up, out);
    buf_add_char(out, '/');
    if (place->name == NULL)
        buf_printf(out, "%zu", place->index);
    for (const char *c = place->name; c != NULL && *c != '\0' && out->bytes < POINTER_BYTES_MAX; c++) {
        if (*c == '~' || *c == '/')
            buf_add_string(out, *c == '~' ? "~0" : "~1");
        else
            buf_add_char(out, *c);
    }
}

PRINTF_LIKE(3, 4)
static bool wrong(struct reading *reading, const struct place *place, const char *format, ...)
{
    char reason[sizeof(reading->why->text)];
    struct buf pointer;
    va_list arguments;

    if (reading->why == NULL)
        return false;
    va_start(arguments, format);
    vsnprintf(reason, sizeof(reason), format, arguments);
    va_end(arguments);
    buf_init(&pointer, 2 * POINTER_BYTES_MAX);
    place_print(place, &pointer);
    fail_at(reading->why, buf_text(&pointer).at, "%s", reason);
    buf_done(&pointer);
    return false;
}

static const char *kind_name(enum json_kind kind)
{
    static const char *const names[] = {
        [JSON_NULL] = "null",       [JSON_FALSE] = "false",      [JSON_TRUE] = "true",      [JSON_NUMBER] = "a number",
        [JSON_STRING] = "a string", [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",
    };
    return names[kind];
}

static bool wrong_kind(struct reading *reading, const struct place *place, const char *wanted, struct json_value value)
{
    return wrong(reading, place, "must be %s, is %s", wanted, kind_name(value.kind));
}

/* As much of a value as belongs into a reason. */
static int shown_bytes(struct json_value value)
{
    return value.raw.bytes < SHOWN_BYTES_MAX ? (int)value.raw.bytes : SHOWN_BYTES_MAX;
}

/* --- formats ------------------------------------------------------------------------------------------------------ */

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool is_hex(char c)
{
    return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static bool is_one_of(char c, const char *set)
{
    return c != '\0' && strchr(set, c) != NULL;
}

/* RFC 3986: a scheme, then only characters a URI may have; brackets belong to the host alone. */
static bool uri_is(const char *uri)
{
    const char *at = uri;

    if (!is_letter(*at))
        return false;
    while (is_letter(*at) || is_digit(*at) || is_one_of(*at, "+-."))
        at++;
    if (*at++ != ':')
        return false;
    const char *host_end = at;
    if (at[0] == '/' && at[1] == '/')
        host_end = at + 2 + strcspn(at + 2, "/?#");
    bool in_fragment = false;
    for (; *at != '\0'; at++) {
        if (is_letter(*at) || is_digit(*at) || is_one_of(*at, "-._~!$&'()*+,;=:@/?"))
            continue;
        if (*at == '%' && is_hex(at[1]) && is_hex(at[2]))
            at += 2;
        else if (*at == '#' && !in_fragment)
            in_fragment = true;
        else if (!is_one_of(*at, "[]") || at >= host_end)
            return false;
    }
    return true;
}

static bool check_format(struct reading *reading, const struct place *place, enum record_format format,
                         const char *string)
{
    int64_t us;

    switch (format) {
    case RECORD_ANY:
        return true;
    case RECORD_UUID:
        return uuid_is(text_of(string)) || wrong(reading, place, "must be a UUID");
    case RECORD_DATE_TIME:
        return time_read(text_of(string), &us) ||
               wrong(reading, place, "must be a date and time with offset (RFC 3339)");
    case RECORD_URI:
        return uri_is(string) || wrong(reading, place, "must be an absolute URI");
    }
    return false;
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static size_t characters(const char *string)
{
    size_t count = 0;

    for (; *string != '\0'; string++)
        count += ((unsigned char)*string & 0xC0) != 0x80;
    return count;
}

/* `unit` is what is counted, "character"; NULL: the value itself is compared. */
static bool check_limits(struct reading *reading, const struct place *place, const struct record_field *field,
                         double number, const char *unit)
{
    const char *side = number < field->least ? "at least" : number > field->most ? "at most" : NULL;
    double limit = number < field->least ? field->least : field->most;

    if (side == NULL)
        return true;
    if (unit != NULL)
        return wrong(reading, place, "must have %s %.0f %s%s, has %.0f", side, limit, unit, limit == 1 ? "" : "s",
                     number);
    return wrong(reading, place, "must be %s %.15g, is %.15g", side, limit, number);
}

static bool wrong_choice(struct reading *reading, const struct place *place, const struct record_field *field,
                         struct json_value value)
{
    struct buf list;

    buf_init(&list, sizeof(reading->why->text));
    for (const char *const *choice = field->choices; *choice != NULL; choice++) {
        const char *before = choice == field->choices ? "" : choice[1] == NULL ? " or " : ", ";
        buf_printf(&list, "%s\"%s\"", before, *choice);
    }
    wrong(reading, place, "must be %s, is %.*s", buf_text(&list).at, shown_bytes(value), value.raw.at);
    buf_done(&list);
    return false;
}

static bool read_choice(struct reading *reading, const struct place *place, const struct record_field *field,
                        struct json_value value, const char **ret)
{
    for (const char *const *choice = field->choices; *choice != NULL; choice++) {
        if (json_string_is(value.raw, *choice)) {
            *ret = *choice;
            return true;
        }
    }
    return wrong_choice(reading, place, field, value);
}

static bool read_string(struct reading *reading, const struct place *place, const struct record_field *field,
                        struct json_value value, const char **ret)
{
    if (value.kind != JSON_STRING)
        return wrong_kind(reading, place, "a string", value);
    if (field->choices != NULL)
        return read_choice(reading, place, field, value, ret);
    const char *string = json_string(value, reading->arena);
    if (!check_limits(reading, place, field, (double)characters(string), "character") ||
        !check_format(reading, place, field->format, string))
        return false;
    *ret = string;
    return true;
}

/* JSON Schema's integer is any number without a fraction, however it is written. */
static bool read_integer(struct reading *reading, const struct place *place, const struct record_field *field,
                         struct json_value value, int64_t *ret)
{
    double number;

    if (value.kind != JSON_NUMBER)
        return wrong_kind(reading, place, "an integer", value);
    if (!json_integer(value, ret)) {
        if (!json_number(value, &number) || trunc(number) != number || fabs(number) >= 0x1p63)
            return wrong(reading, place, "must be an integer of 64 bits, is %.*s", shown_bytes(value), value.raw.at);
        *ret = (int64_t)number;
    }
    return check_limits(reading, place, field, (double)*ret, NULL);
}

static bool read_number(struct reading *reading, const struct place *place, const struct record_field *field,
                        struct json_value value, double *ret)
{
    if (value.kind != JSON_NUMBER)
        return wrong_kind(reading, place, "a number", value);
    if (!json_number(value, ret))
        return wrong(reading, place, "must be a number that a double can hold, is %.*s", shown_bytes(value),
                     value.raw.at);
    return check_limits(reading, place, field, *ret, NULL);
}

static bool read_boolean(struct reading *reading, const struct place *place, struct json_value value, bool *ret)
{
    if (value.kind != JSON_TRUE && value.kind != JSON_FALSE)
        return wrong_kind(reading, place, "true or false", value);
    *ret = value.kind == JSON_TRUE;
    return true;
}

static bool is_absentable(const struct record_field *field)
{
    return field->flags != RECORD_REQUIRED;
}

static bool read_nested(struct reading *reading, const struct place *place, const struct record_field *field,
                        struct json_value value, void *at)
{
    if (!is_absentable(field))
        return read_object(reading, place, field->record, value, at);
    char *nested = arena_alloc(reading->arena, field->record->bytes);
    memcpy(at, &nested, sizeof(nested));
    return read_object(reading, place, field->record, value, nested);
}

static size_t item_bytes(const struct record_field *item)
{
    switch (item->kind) {
    case RECORD_STRING:
        return sizeof(const char *);
    case RECORD_INTEGER:
        return sizeof(int64_t);
    case RECORD_NUMBER:
        return sizeof(double);
    case RECORD_BOOLEAN:
        return sizeof(bool);
    case RECORD_OBJECT:
        return item->record->bytes;
    case RECORD_TEXT:
    case RECORD_RAW:
    case RECORD_ARRAY:
        break;
    }
    return sizeof(struct text);
}

static bool read_value(struct reading *reading, const struct place *place, const struct record_field *field,
                       struct json_value value, char *at, size_t *ret_count);

/* Counts first, so that the limit is checked before anything is allocated. */
static bool read_array(struct reading *reading, const struct place *place, const struct record_field *field,
                       struct json_value value, void *at, size_t *ret_count)
{
    struct json_scan scan;
    struct json_value item;
    size_t count = 0;

    if (value.kind != JSON_ARRAY)
        return wrong_kind(reading, place, "an array", value);
    for (json_enter(&scan, value); json_element(&scan, &item);)
        count++;
    if (!check_limits(reading, place, field, (double)count, "item"))
        return false;
    size_t bytes = item_bytes(field->items);
    char *items = arena_alloc(reading->arena, count * bytes);
    struct place inside = { .up = place };
    for (json_enter(&scan, value); json_element(&scan, &item); inside.index++) {
        if (!read_value(reading, &inside, field->items, item, items + inside.index * bytes, NULL))
            return false;
    }
    memcpy(at, &items, sizeof(items));
    *ret_count = count;
    return true;
}

static bool read_value(struct reading *reading, const struct place *place, const struct record_field *field,
                       struct json_value value, char *at, size_t *ret_count)
{
    void *to = at;      /* aligned: it comes from offsetof() or from item_bytes() */

    switch (field->kind) {
    case RECORD_STRING:
        return read_string(reading, place, field, value, to);
    case RECORD_TEXT: {
        const char *string = NULL;
        if (!read_string(reading, place, field, value, &string))
            return false;
        *(struct text *)to = text_of(string);
        return true;
    }
    case RECORD_INTEGER:
        return read_integer(reading, place, field, value, to);
    case RECORD_NUMBER:
        return read_number(reading, place, field, value, to);
    case RECORD_BOOLEAN:
        return read_boolean(reading, place, value, to);
    case RECORD_OBJECT:
        return read_nested(reading, place, field, value, to);
    case RECORD_ARRAY:
        return read_array(reading, place, field, value, to, ret_count);
    case RECORD_RAW:
        *(struct text *)to = value.raw;
        return true;
    }
    return false;
}

static bool has_scalar(const struct record_field *field)
{
    return field->kind == RECORD_INTEGER || field->kind == RECORD_NUMBER || field->kind == RECORD_BOOLEAN;
}

static bool read_member(struct reading *reading, const struct place *place, const struct record_field *field,
                        struct json_value value, char *ret)
{
    void *beside = ret + field->beside;

    if (value.kind == JSON_NULL && (field->flags & RECORD_NULLABLE) != 0)
        return true;
    if (!read_value(reading, place, field, value, ret + field->at, beside))
        return false;
    if (has_scalar(field) && is_absentable(field))
        *(bool *)beside = true;
    return true;
}

/* Members mostly come in the table's order, so the search begins where the last one ended. */
static const struct record_field *find_field(const struct record *record, struct text raw_name, size_t *next)
{
    for (size_t i = 0; i < record->fields_count; i++) {
        size_t at = (*next + i) % record->fields_count;
        if (json_string_is(raw_name, record->fields[at].name)) {
            *next = at + 1;
            return &record->fields[at];
        }
    }
    return NULL;
}

static bool check_missing(struct reading *reading, const struct place *place, const struct record *record,
                          uint64_t seen)
{
    for (size_t i = 0; i < record->fields_count; i++) {
        struct place inside = { .up = place, .name = record->fields[i].name };
        if ((record->fields[i].flags & RECORD_REQUIRED) != 0 && (seen & UINT64_C(1) << i) == 0)
            return wrong(reading, &inside, "is missing");
    }
    return true;
}

/* `ret` is zeroed. */
static bool read_object(struct reading *reading, const struct place *place, const struct record *record,
                        struct json_value object, char *ret)
{
    struct json_scan scan;
    struct json_value value;
    struct text name;
    uint64_t seen = 0;
    size_t next = 0;

    if (object.kind != JSON_OBJECT)
        return wrong_kind(reading, place, "an object", object);
    json_enter(&scan, object);
    while (json_member(&scan, &name, &value)) {
        const struct record_field *field = find_field(record, name, &next);
        struct place inside = { .up = place };
        if (field == NULL && record->open)
            continue;
        if (field == NULL) {
            inside.name = json_string((struct json_value){ JSON_STRING, name }, reading->arena);
            return wrong(reading, &inside, "is not in the schema");
        }
        inside.name = field->name;
        uint64_t bit = UINT64_C(1) << (field - record->fields);
        if ((seen & bit) != 0)
            return wrong(reading, &inside, "is given twice");
        seen |= bit;
        if (!read_member(reading, &inside, field, value, ret))
            return false;
    }
    return check_missing(reading, place, record, seen);
}

bool record_read(struct text json, const struct record *record, struct arena *arena, void *ret, struct problem *why)
{
    struct reading reading = { .arena = arena, .why = why };
    struct place root = { .up = NULL };
    struct json_value value;

    if (json.bytes > RECORD_BYTES_MAX)
        return fail(why, "it has %zu bytes, more than %d", json.bytes, RECORD_BYTES_MAX);
    if (!json_parse(json, &value, why))
        return false;
    void *data = arena_alloc(arena, record->bytes);
    if (!read_object(&reading, &root, record, value, data))
        return false;
    memcpy(ret, data, record->bytes);
    return true;
}

bool record_check(struct text json, const struct record *record, struct problem *why)
{
    struct arena *arena = arena_new(CHECK_ARENA_BYTES_MAX);
    void *data = arena_alloc(arena, record->bytes);
    bool valid = record_read(json, record, arena, data, why);

    arena_free(arena);
    return valid;
}

int record_rank(const char *const *choices, const char *value)
{
    for (int i = 0; value != NULL && choices[i] != NULL; i++) {
        if (strcmp(choices[i], value) == 0)
            return i;
    }
    return -1;
}

/* --- writing ------------------------------------------------------------------------------------------------------ */

static void write_value(struct buf *out, const struct record_field *field, const char *at, const void *beside);

static void write_array(struct buf *out, const struct record_field *field, const char *items, size_t count)
{
    size_t bytes = item_bytes(field->items);

    buf_add_char(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_separate(out);
        write_value(out, field->items, items + i * bytes, NULL);
    }
    buf_add_char(out, ']');
}

static const char *pointer_at(const void *at)
{
    const char *pointer;
    memcpy(&pointer, at, sizeof(pointer));
    return pointer;
}

static bool is_absent(const struct record_field *field, const void *at, const void *beside)
{
    switch (field->kind) {
    case RECORD_STRING:
        return pointer_at(at) == NULL;
    case RECORD_TEXT:
    case RECORD_RAW:
        return ((const struct text *)at)->at == NULL;
    case RECORD_INTEGER:
    case RECORD_NUMBER:
    case RECORD_BOOLEAN:
        return is_absentable(field) && !*(const bool *)beside;
    case RECORD_OBJECT:
    case RECORD_ARRAY:
        return is_absentable(field) && pointer_at(at) == NULL;
    }
    return false;
}

static void write_value(struct buf *out, const struct record_field *field, const char *at, const void *beside)
{
    const void *from = at;

    switch (field->kind) {
    case RECORD_STRING:
        json_write_string(out, pointer_at(from));
        break;
    case RECORD_TEXT:
        json_write_text(out, *(const struct text *)from);
        break;
    case RECORD_INTEGER:
        json_write_integer(out, *(const int64_t *)from);
        break;
    case RECORD_NUMBER:
        json_write_number(out, *(const double *)from);
        break;
    case RECORD_BOOLEAN:
        json_write_bool(out, *(const bool *)from);
        break;
    case RECORD_OBJECT:
        record_write(out, field->record, is_absentable(field) ? pointer_at(from) : from);
        break;
    case RECORD_ARRAY:
        write_array(out, field, pointer_at(from), *(const size_t *)beside);
        break;
    case RECORD_RAW:
        buf_add_text(out, *(const struct text *)from);
        break;
    }
}

void record_write(struct buf *out, const struct record *record, const void *data)
{
    const char *from = data;

    buf_add_char(out, '{');
    for (size_t i = 0; i < record->fields_count; i++) {
        const struct record_field *field = &record->fields[i];
        const void *beside = from + field->beside;
        bool absent = is_absent(field, from + field->at, beside);
        if (absent && (field->flags & RECORD_REQUIRED) == 0)
            continue;
        json_name(out, field->name);
        if (absent)
            json_write_text(out, (struct text){ 0 });
        else
            write_value(out, field, from + field->at, beside);
    }
    buf_add_char(out, '}');
}
