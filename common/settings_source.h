/* settings_source.h: where values are found: the environment, then `.env`; and which tables were read.  For settings_*.c
 * alone. */
#pragma once

#include "common/settings_file.h"

/* What `.env` holds; empty before settings_load_file and when there is none. */
const struct settings_file *settings_env_file(void);

/* The value of `name` or NULL, an empty one counting as none.  `ret_line` gets the line of `.env`, or 0 when it is from
 * the environment. */
const char *settings_find(const char *name, int *ret_line);

/* The tables given to settings_read, `*ret_count` of them. */
const struct setting *const *settings_tables(size_t *ret_count);
