/* vectors.h: the providers' own vectors, where they are at hand ($SHARED_DIR/providers/vectors.json, default
 * ../shared). */
#pragma once

#include "common/base.h"

#include <stdio.h>
#include <stdlib.h>

#define VECTORS_BYTES_MAX (8 * 1024 * 1024)

/* As JSON, to be freed; NULL: they are not here, which is said.  (cmocka.h must have been included.) */
static inline char *read_vectors(void)
{
    const char *folder = getenv("SHARED_DIR") != NULL ? getenv("SHARED_DIR") : "../shared";
    char path[4096];
    snprintf(path, sizeof(path), "%s/providers/vectors.json", folder);
    FILE *file = fopen(path, "r");
    if (file == NULL) {
        print_message("skipped: %s is not here; set SHARED_DIR to verify against the providers' vectors\n", path);
        return NULL;
    }
    char *content = must_alloc(VECTORS_BYTES_MAX);
    size_t bytes = fread(content, 1, VECTORS_BYTES_MAX - 1, file);
    content[bytes] = '\0';
    fclose(file);
    return content;
}
