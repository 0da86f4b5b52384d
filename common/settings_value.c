#include "common/settings_value.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct unit {
    const char *name;
    int64_t size;
};
/* Smallest first. */
static const struct unit durations[] = {
    { "ms", 1 }, { "s", 1000 }, { "m", 60 * 1000 }, { "h", 3600 * 1000 }, { "d", 24 * 3600 * 1000 }, { 0 },
};
static const struct unit sizes[] = {
    { "B", 1 },
    { "KiB", INT64_C(1) << 10 },
    { "MiB", INT64_C(1) << 20 },
    { "GiB", INT64_C(1) << 30 },
    { "TiB", INT64_C(1) << 40 },
    { 0 },
};
static const struct unit one[] = { { "", 1 }, { 0 } };

static const struct unit *units_of(enum setting_kind kind)
{
    return kind == SET_DURATION ? durations : kind == SET_BYTES ? sizes : one;
}

static bool number_split(const char *value, int64_t *ret_number, const char **ret_unit)
{
    char *end;
    const char *digits = *value == '-' ? value + 1 : value;
    if (*digits < '0' || *digits > '9')
        return false;
    long long number = strtoll(value, &end, 10);
    if (number == INT64_MAX || number == INT64_MIN) /* or beyond: strtoll stops there */
        return false;
    while (*end == ' ')
        end++;
    *ret_number = number;
    *ret_unit = end;
    return true;
}

/* A bare duration is in the unit of the default: `30` beside a default of `5s` is seconds. */
static const char *bare_unit(const struct setting *setting)
{
    int64_t number;
    const char *unit;
    if (setting->kind == SET_BYTES)
        return "B";
    return setting->fallback && number_split(setting->fallback, &number, &unit) ? unit : "";
}

static bool read_number(const struct setting *setting, const char *value, int64_t *ret)
{
    int64_t number;
    const char *name;
    if (!number_split(value, &number, &name))
        return false;
    if (!*name)
        name = bare_unit(setting);
    const struct unit *unit = units_of(setting->kind);
    while (unit->name && strcasecmp(unit->name, name) != 0)
        unit++;
    if ((!unit->name && number != 0) || (unit->name && __builtin_mul_overflow(number, unit->size, &number)))
        return false;
    if (number < setting->least || (setting->most != 0 && number > setting->most))
        return false;
    *ret = number;
    return true;
}

static bool read_choice(const struct setting *setting, const char *value, int *ret)
{
    for (int i = 0; setting->choices[i]; i++)
        if (strcasecmp(setting->choices[i], value) == 0) {
            *ret = i;
            return true;
        }
    return false;
}

static bool read_switch(const char *value, bool *ret)
{
    static const char *const words[] = { "off", "on", "false", "true", "0", "1" };
    for (size_t i = 0; i < LENGTH(words); i++)
        if (strcasecmp(words[i], value) == 0) {
            *ret = i % 2 == 1;
            return true;
        }
    return false;
}

/* Credentials do not belong into an address: addresses are printed and logged. */
static bool read_url(const char *value, struct arena *arena, const char **ret)
{
    size_t scheme = strncasecmp(value, "http://", 7) == 0 ? 7 : strncasecmp(value, "https://", 8) == 0 ? 8 : 0;
    size_t host = strcspn(value + scheme, "/");
    if (!scheme || !host || memchr(value + scheme, '@', host) || strpbrk(value, " \t\r\n?#"))
        return false;
    size_t bytes = strlen(value);
    while (value[bytes - 1] == '/')
        bytes--;
    *ret = arena_copy_text(arena, (struct text){ value, bytes });
    return true;
}

static bool read_listen(const char *value, struct arena *arena, const char **ret)
{
    const char *colon = strrchr(value, ':');
    if (!colon || colon == value || strpbrk(value, " \t\r\n/@"))
        return false;
    size_t digits = strspn(colon + 1, "0123456789");
    if (digits == 0 || digits > 5 || colon[1 + digits] || atoi(colon + 1) > 65535)
        return false;
    bool bracketed = *value == '[' && colon[-1] == ']';
    if (!bracketed && memchr(value, ':', (size_t)(colon - value))) /* IPv6 without brackets: where does it end? */
        return false;
    *ret = arena_copy(arena, value);
    return true;
}

static const char *copy_secret(const char *value)
{
    size_t bytes = strlen(value) + 1;
    char *copy = sodium_malloc(bytes);
    if (!copy)
        abort(); /* memory is out */
    memcpy(copy, value, bytes);
    sodium_mprotect_readonly(copy);
    return copy;
}

bool setting_value_read(const struct setting *setting, const char *value, void *field, struct arena *arena)
{
    if (!text_is_utf8(text_of(value)))
        return false;
    switch (setting->kind) {
    case SET_TEXT:
        *(const char **)field = arena_copy(arena, value);
        return true;
    case SET_SECRET:
        *(const char **)field = copy_secret(value);
        return true;
    case SET_URL:
        return read_url(value, arena, field);
    case SET_CHOICE:
        return read_choice(setting, value, field);
    case SET_COUNT:
    case SET_BYTES:
    case SET_DURATION:
        return read_number(setting, value, field);
    case SET_SWITCH:
        return read_switch(value, field);
    case SET_LISTEN:
        return read_listen(value, arena, field);
    }
    return false;
}

void setting_value_clear(const struct setting *setting, void *field)
{
    switch (setting->kind) {
    case SET_TEXT:
    case SET_SECRET:
    case SET_URL:
    case SET_LISTEN:
        *(const char **)field = NULL;
        break;
    case SET_CHOICE:
        *(int *)field = -1;
        break;
    case SET_COUNT:
    case SET_BYTES:
    case SET_DURATION:
        *(int64_t *)field = 0;
        break;
    case SET_SWITCH:
        *(bool *)field = false;
        break;
    }
}

/* In the largest unit that leaves nothing over: 90000 is "90s", 300000 is "5m". */
static void print_number(enum setting_kind kind, int64_t number, struct buf *out)
{
    const struct unit *best = units_of(kind);
    for (const struct unit *unit = best; unit->name; unit++)
        if (number != 0 && number % unit->size == 0)
            best = unit;
    buf_printf(out, "%lld%s", (long long)(number / best->size), number ? best->name : "");
}

static void print_range(const struct setting *setting, struct buf *out)
{
    if (setting->least == 0 && setting->most == 0)
        return;
    buf_add_string(out, ", ");
    print_number(setting->kind, setting->least, out);
    buf_add_string(out, setting->most ? " to " : " or more");
    if (setting->most)
        print_number(setting->kind, setting->most, out);
}

static void print_choices(const struct setting *setting, struct buf *out)
{
    for (int i = 0; setting->choices[i]; i++) {
        const char *before = i == 0 ? "" : setting->choices[i + 1] ? ", " : " or ";
        buf_printf(out, "%s%s", before, setting->choices[i]);
    }
}

void setting_takes(const struct setting *setting, struct buf *out)
{
    static const char *const kinds[] = {
        [SET_TEXT] = "text",         [SET_SECRET] = "secret",    [SET_URL] = "http(s)://host",
        [SET_CHOICE] = "",           [SET_COUNT] = "number",     [SET_BYTES] = "size",
        [SET_DURATION] = "duration", [SET_SWITCH] = "on or off", [SET_LISTEN] = "address:port",
    };
    buf_add_string(out, kinds[setting->kind]);
    if (setting->kind == SET_CHOICE)
        print_choices(setting, out);
    else
        print_range(setting, out);
}

void setting_value_print(const struct setting *setting, const void *field, struct buf *out)
{
    const char *text;
    switch (setting->kind) {
    case SET_TEXT:
    case SET_URL:
    case SET_LISTEN:
        text = *(const char *const *)field;
        buf_add_string(out, text ? text : "not set");
        break;
    case SET_SECRET:
        buf_add_string(out, *(const char *const *)field ? "«set»" : "not set");
        break;
    case SET_CHOICE:
        buf_add_string(out, *(const int *)field < 0 ? "not set" : setting->choices[*(const int *)field]);
        break;
    case SET_COUNT:
    case SET_BYTES:
    case SET_DURATION:
        print_number(setting->kind, *(const int64_t *)field, out);
        break;
    case SET_SWITCH:
        buf_add_string(out, *(const bool *)field ? "on" : "off");
        break;
    }
}
