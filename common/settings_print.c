#include "common/settings_source.h"
#include "common/settings_value.h"

#include <string.h>

#define NAME_COLUMNS    34
#define TAKES_COLUMNS   29
#define TAKES_BYTES_MAX 256
#define LINE_COLUMNS    96
#define HELP_INDENT     6

/* Characters, not bytes: UTF-8's continuation bytes take no column. */
static size_t columns_of(const char *text)
{
    size_t columns = 0;
    for (; *text; text++)
        columns += ((uint8_t)*text & 0xc0) != 0x80;
    return columns;
}

static void pad(struct buf *out, const char *text, size_t columns)
{
    buf_add_string(out, text);
    for (size_t at = columns_of(text); at < columns; at++)
        buf_add_char(out, ' ');
    buf_add_char(out, ' ');
}

/* Breaks at spaces so that lines stay within LINE_COLUMNS. */
static void print_help(const char *help, struct buf *out)
{
    size_t at = 0;
    while (*help) {
        size_t bytes = strcspn(help, " ");
        struct text word = { help, bytes };
        if (at == 0 || at + 1 + bytes > LINE_COLUMNS) {
            buf_printf(out, "%s%*s", at ? "\n" : "", HELP_INDENT, "");
            at = HELP_INDENT;
        } else {
            buf_add_char(out, ' ');
            at++;
        }
        buf_add_text(out, word);
        at += bytes;
        help += bytes + strspn(help + bytes, " ");
    }
    buf_add_char(out, '\n');
}

static void print_setting(const struct setting *setting, struct buf *out)
{
    struct buf takes;
    buf_init(&takes, TAKES_BYTES_MAX);
    setting_takes(setting, &takes);
    buf_add_string(out, "  ");
    pad(out, setting->name, NAME_COLUMNS);
    pad(out, buf_text(&takes).at, TAKES_COLUMNS);
    buf_printf(out, "%s\n", setting->fallback ? setting->fallback : setting->required ? "required" : "not set");
    buf_done(&takes);
    print_help(setting->help, out);
}

static void print_current(const struct setting *setting, const void *field, struct buf *out)
{
    int line;
    buf_add_string(out, "  ");
    pad(out, setting->name, NAME_COLUMNS);
    setting_value_print(setting, field, out);
    if (!settings_find(setting->name, &line))
        buf_add_string(out, setting->fallback ? " (default)\n" : "\n");
    else if (line)
        buf_printf(out, " (%s, line %d)\n", settings_env_file()->path, line);
    else
        buf_add_string(out, " (environment)\n");
}

void settings_print(const struct setting *table, const void *context, struct buf *out)
{
    for (const struct setting *setting = table; setting->name; setting++) {
        if (context)
            print_current(setting, (const char *)context + setting->offset, out);
        else
            print_setting(setting, out);
    }
}
