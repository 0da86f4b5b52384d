/* local.h: the local Kafka and Postgres: everything that must be there before their processes can start.  Each is made
 * once; later calls only write the settings anew.  They may take seconds the first time and say so on standard error.
 */
#pragma once

#include "deploy/sb/child.h"
#include "deploy/sb/place.h"

/* Adds the file `path` with each {{NAME}} replaced to `out`; `names` and `values` are NULL-terminated. */
bool template_fill(const char *path, const char *const *names, const char *const *values, struct buf *out,
                   struct problem *why);
#define TEMPLATE_BYTES_MAX (64 * 1024)

struct local_kafka {
    char settings[PATH_MAX];          /* server.properties */
    char libraries[PATH_MAX + 2];     /* the class path: …/libs/ and a star */
    char log_settings[PATH_MAX + 64]; /* -Dlog4j2.configurationFile=… */
};
bool local_kafka_make(const struct place *place, int port, struct local_kafka *ret, struct problem *why);

struct local_postgres {
    char folder[PATH_MAX]; /* the cluster: .run/postgres, or what that symbolic link leads to */
    char program[PATH_MAX];
    char version[16]; /* "15" */
    char url[256];    /* with the password */
    struct user user_memory;
    const struct user *user; /* who Postgres runs as; NULL: as sb */
};
bool local_postgres_make(const struct place *place, int port, struct local_postgres *ret, struct problem *why);
