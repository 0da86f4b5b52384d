/* late.c: see late.h. */
#include "common/late.h"

#include "common/log.h"

#include <dlfcn.h>
#include <limits.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "../lib/late.so"            /* from the program's folder */

static void *library;

/* Not $ORIGIN: under a sanitizer it is the sanitizer's library that calls the loader. */
static const char *library_path(char path[PATH_MAX])
{
    ssize_t bytes = readlink("/proc/self/exe", path, PATH_MAX - sizeof(LIBRARY));
    path[bytes > 0 ? bytes : 0] = '\0';
    char *slash = strrchr(path, '/');
    strcpy(slash ? slash + 1 : path, LIBRARY);
    return path;
}

static void load(void)
{
    char path[PATH_MAX];
    library = dlopen(library_path(path), RTLD_NOW | RTLD_LOCAL);
}

void *late_function(const char *name)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, load);
    void *function = library ? dlsym(library, name) : NULL;
    if (function)
        return function;
    log_error("could not load lib/late.so: install the programs with bin/ and lib/ side by side, libphonenumber and ICU",
              LOG_TEXT("why", dlerror()));
    abort();                                /* numbers that cannot be read would be customers who are not recognised */
}
