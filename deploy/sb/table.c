#include "deploy/sb/table.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CELL_BYTES_MAX 4096

void table_begin(struct table *table, const char *const *titles)
{
    table->titles = titles;
    table->rows = table->at = table->columns = 0;
    while (titles[table->columns])
        table->columns++;
}

void table_add(struct table *table, enum colour colour, const char *format, ...)
{
    char text[CELL_BYTES_MAX];
    struct buf printable;
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (table->rows == TABLE_ROWS_MAX)
        return;
    buf_init(&printable, 4 * CELL_BYTES_MAX);
    terminal_add(&printable, text_of(text), 0);
    table->cells[table->rows][table->at] = (struct table_cell){ must_copy(buf_text(&printable).at), colour };
    buf_done(&printable);
    if (++table->at == table->columns) {
        table->at = 0;
        table->rows++;
    }
}

/* Characters, of which each takes one column. */
static int width_of(const char *text)
{
    int width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void print_cell(const char *text, enum colour colour, int width, bool right, bool last)
{
    int padding = width - width_of(text);
    printf("%*s%s%s%s%*s%s", right ? padding : 0, "", colour_begin(colour), text, colour_end(),
           right || last ? 0 : padding, "", last ? "" : "  ");
}

void table_print(struct table *table)
{
    int widths[TABLE_COLUMNS_MAX];

    for (int column = 0; column < table->columns; column++) {
        widths[column] = width_of(table->titles[column]) - (table->titles[column][0] == '<');
        for (int row = 0; row < table->rows; row++) {
            int width = width_of(table->cells[row][column].text);
            widths[column] = width > widths[column] ? width : widths[column];
        }
    }
    for (int row = -1; row < table->rows; row++) {
        for (int column = 0; column < table->columns; column++) {
            bool right = table->titles[column][0] == '<';
            const char *text = row < 0 ? table->titles[column] + right : table->cells[row][column].text;
            print_cell(text, row < 0 ? FAINT : table->cells[row][column].colour, widths[column], right,
                       column == table->columns - 1);
            if (row >= 0)
                free(table->cells[row][column].text);
        }
        printf("\n");
    }
    table->rows = 0;
}
