/* table.h: rows of text in columns as wide as their widest cell. */
#pragma once

#include "deploy/sb/terminal.h"

#define TABLE_COLUMNS_MAX 12
#define TABLE_ROWS_MAX    256

struct table_cell {
    char *text; /* printable UTF-8 */
    enum colour colour;
};

struct table {
    const char *const *titles; /* NULL-terminated; "<" before one: its column is numbers, to the right */
    int columns;
    int rows;
    struct table_cell cells[TABLE_ROWS_MAX][TABLE_COLUMNS_MAX];
    int at; /* the next cell of the row being filled */
};

void table_begin(struct table *table, const char *const *titles);
/* Cells of a row one after the other; a row ends with its last column.  Rows beyond TABLE_ROWS_MAX are left out. */
void table_add(struct table *table, enum colour colour, const char *format, ...) PRINTF_LIKE(3, 4);
/* Prints it to standard output and frees the cells. */
void table_print(struct table *table);
