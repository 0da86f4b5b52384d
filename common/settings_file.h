/* settings_file.h: the syntax of `.env`, read in place.  The format is described in settings.h. */
#pragma once

#include "common/settings.h"

struct settings_entry {
    const char *name, *value;       /* terminated, in the content */
    int line;
};

struct settings_file {
    const char *path;               /* set by settings_load_file */
    struct settings_entry entries[SETTINGS_FILE_NAMES_MAX];
    size_t count;
};

/* `content` holds `bytes` and room for one more; it is written to and must outlive `ret`.  `why` begins "line N". */
bool settings_file_parse(char *content, size_t bytes, struct settings_file *ret, struct problem *why);
