#include "ingest/api_json.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#define COLUMN_BYTES 64

static bool is_true(const char *value)
{
    return strcmp(value, "t") == 0;
}

static void values_of(const struct rows *rows, int row, const struct api_part *part, const char **ret)
{
    char column[COLUMN_BYTES];

    if (part->values) {
        part->values(rows, row, ret);
        return;
    }
    for (int i = 0; part->members[i].name; i++) {
        assert(i < API_MEMBERS_MAX);
        snprintf(column, sizeof(column), "%s%s", part->prefix, part->members[i].name);
        ret[i] = row_get(rows, row, column);
    }
}

/* --- JSON ------------------------------------------------------------------------------------------------ */

static void write_value(struct buf *out, enum api_kind kind, const char *value)
{
    if (!value || kind == API_STRING)
        json_write_string(out, value);
    else if (kind == API_BOOLEAN)
        json_write_bool(out, is_true(value));
    else if (kind == API_NUMBER)
        json_write_number(out, strtod(value, NULL));
    else
        buf_add_string(out, value);
}

static void write_members(struct buf *out, const struct api_member *members, const char *const *values)
{
    for (int i = 0; members[i].name; i++) {
        json_name(out, members[i].name);
        write_value(out, members[i].kind, values[i]);
    }
}

static void write_part(struct buf *out, const struct api_part *part, const char *const *values)
{
    json_name(out, part->name);
    if (!values[0]) {
        buf_add_string(out, "null");
        return;
    }
    buf_add_char(out, '{');
    write_members(out, part->members, values);
    buf_add_char(out, '}');
}

void api_write_parts(struct buf *out, const struct rows *rows, int row, const struct api_part *parts)
{
    const char *values[API_MEMBERS_MAX];

    for (; parts->members; parts++) {
        values_of(rows, row, parts, values);
        if (parts->name)
            write_part(out, parts, values);
        else
            write_members(out, parts->members, values);
    }
}

void api_write_list(struct buf *out, const struct rows *rows, const char *name, const struct api_member *members)
{
    const struct api_part parts[] = { { NULL, "", members, NULL }, { 0 } };

    json_name(out, name);
    buf_add_char(out, '[');
    for (int row = 0; row < rows->count; row++) {
        json_separate(out);
        buf_add_char(out, '{');
        api_write_parts(out, rows, row, parts);
        buf_add_char(out, '}');
    }
    buf_add_char(out, ']');
}

/* --- CSV ------------------------------------------------------------------------------------------------- */

static void write_cell(struct buf *out, const char *text)
{
    if (!text[strcspn(text, ",;\t\"\r\n")]) { /* some take semicolons or tabs for commas */
        buf_add_string(out, text);
        return;
    }
    buf_add_char(out, '"');
    for (const char *c = text; *c; c++) {
        if (*c == '"')
            buf_add_char(out, '"');
        buf_add_char(out, *c);
    }
    buf_add_char(out, '"');
}

/* What spreadsheets take for the beginning of a formula, also behind a tab or a line end, and as wide as a kanji. */
static bool is_formula(const char *text)
{
    static const char *const wide[] = { "\uFF1D", "\uFF0B", "\uFF0D", "\uFF20" };

    for (size_t i = 0; i < LENGTH(wide); i++)
        if (strncmp(text, wide[i], strlen(wide[i])) == 0)
            return true;
    return text[0] && strchr("=+-@\t\r\n", text[0]);
}

static void write_cell_value(struct buf *out, enum api_kind kind, const char *value)
{
    bool is_text = kind == API_STRING || kind == API_JSON;

    if (!value)
        return;
    if (is_text && is_formula(value)) {
        struct buf harmless;
        buf_init(&harmless, out->bytes_max);
        buf_add_char(&harmless, '\'');
        buf_add_string(&harmless, value);
        write_cell(out, harmless.at);
        buf_done(&harmless);
        return;
    }
    write_cell(out, kind != API_BOOLEAN ? value : is_true(value) ? "true" : "false");
}

static void separate_cells(struct buf *out, bool *first)
{
    if (!*first)
        buf_add_char(out, ',');
    *first = false;
}

void api_write_csv_head(struct buf *out, const struct api_part *parts)
{
    bool first = true;

    for (; parts->members; parts++)
        for (const struct api_member *member = parts->members; member->name; member++) {
            separate_cells(out, &first);
            buf_printf(out, "%s%s%s", parts->name ? parts->name : "", parts->name ? "_" : "", member->name);
        }
    buf_add_string(out, "\r\n");
}

void api_write_csv_line(struct buf *out, const struct rows *rows, int row, const struct api_part *parts)
{
    const char *values[API_MEMBERS_MAX];
    bool first = true;

    for (; parts->members; parts++) {
        values_of(rows, row, parts, values);
        for (int i = 0; parts->members[i].name; i++) {
            separate_cells(out, &first);
            write_cell_value(out, parts->members[i].kind, values[i]);
        }
    }
    buf_add_string(out, "\r\n");
}
