/* terminal.h: colours where a person looks at standard output and has not set NO_COLOR; else nothing. */
#pragma once

#include "common/buf.h"

enum colour { PLAIN, BOLD, FAINT, RED, GREEN, YELLOW, BLUE, MAGENTA, CYAN };

bool terminal_is(void);                       /* is standard output a terminal? */
int terminal_columns(void);                   /* how wide; 0 when it is none */
const char *colour_begin(enum colour colour); /* "" without colours */
const char *colour_end(void);

/* Adds at most `columns` characters of `text` (0: all), made printable: what controls a terminal is shown as a space,
 * bytes that are not UTF-8 as U+FFFD. What is cut off is shown by an ellipsis. */
void terminal_add(struct buf *out, struct text text, int columns);

/* The word for so many: plural(count, "event", "events"). */
const char *plural(int64_t count, const char *one, const char *more);

#define AGE_BYTES 16
/* "3 s", "12 min", "4 h", "9 d" */
char *age_print(int64_t us, char ret[AGE_BYTES]);
/* A duration as exactly as it matters: "340 us", "12 ms", "3.4 s", "12 min". */
char *took_print(int64_t us, char ret[AGE_BYTES]);
#define CLOCK_BYTES 32
/* Local time: "14:02:33", with the day before it when that is not today. */
char *clock_print(int64_t us, char ret[CLOCK_BYTES]);
char *day_print(int64_t us, char ret[CLOCK_BYTES]); /* "2026-11-21", local time */
/* "14:02:33.120": local time, whatever the day. */
char *clock_ms(int64_t us, char ret[CLOCK_BYTES]);
/* As terminal_add, filled up with spaces to `columns`; cut at a terminal alone. */
void terminal_add_cell(struct buf *out, struct text text, int columns);
