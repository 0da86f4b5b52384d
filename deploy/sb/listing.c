#include "deploy/sb/listing.h"

#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "deploy/sb/table.h"

#define JSON_BYTES_MAX ((size_t)256 * 1024 * 1024)

static void add_cell(struct table *table, const struct listing_column *column, const char *value)
{
    bool flag = column->kind == LISTING_FLAG;

    if (value == NULL || *value == '\0')
        table_add(table, FAINT, "-");
    else
        table_add(table, PLAIN, "%s", !flag ? value : *value == 't' ? "yes" : "no");
}

void listing_print(const struct rows *rows, const struct listing_column *columns, const char *nothing)
{
    static struct table table;
    const char *titles[TABLE_COLUMNS_MAX + 1] = { NULL };
    int count = 0;

    if (rows->count == 0) {
        printf("%s\n", nothing);
        return;
    }
    for (const struct listing_column *column = columns; column->name; column++)
        if (column->title)
            titles[count++] = column->title;
    table_begin(&table, titles);
    for (int row = 0; row < rows->count && row < TABLE_ROWS_MAX; row++)
        for (const struct listing_column *column = columns; column->name; column++)
            if (column->title)
                add_cell(&table, column, row_get(rows, row, column->name));
    table_print(&table);
    if (rows->count > TABLE_ROWS_MAX)
        printf("and %d more: --json shows all\n", rows->count - TABLE_ROWS_MAX);
}

static void write_value(struct buf *out, enum listing_kind kind, const char *value)
{
    if (value == NULL || kind == LISTING_TEXT)
        json_write_string(out, value);
    else if (kind == LISTING_FLAG)
        json_write_bool(out, *value == 't');
    else
        buf_add_string(out, value);
}

static void write_row(struct buf *out, const struct rows *rows, int row, const struct listing_column *columns)
{
    buf_add_char(out, '{');
    for (; columns->name; columns++) {
        json_name(out, columns->name);
        write_value(out, columns->kind, row_get(rows, row, columns->name));
    }
    buf_add_char(out, '}');
}

void listing_print_json(const struct rows *rows, const struct listing_column *columns)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '[');
    for (int row = 0; row < rows->count; row++) {
        json_separate(&out);
        write_row(&out, rows, row, columns);
    }
    printf("%s]\n", buf_text(&out).at);
    buf_done(&out);
}

void listing_print_row_json(const struct rows *rows, int row, const struct listing_column *columns)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    write_row(&out, rows, row, columns);
    printf("%s\n", buf_text(&out).at);
    buf_done(&out);
}
