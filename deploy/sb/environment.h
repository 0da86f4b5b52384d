/* environment.h: what `sb up` tells its parts, through the environment, for every name the user has not set (there or
 * in .env).
 *
 * Providers whose key the user has set are the real ones: neither a test key nor the sandbox's address is given for
 * them. All of it but the user's own keys is also written to .run/env (readable by its owner alone), for sb's other
 * commands, for
 * `. .run/env` in a shell, and for tests. */
#pragma once

#include "deploy/sb/place.h"

struct environment_settings {
    const char *database_url;
    const char *kafka_brokers;
    const char *sandbox_listen; /* NULL: there is no sandbox */
    const struct place_settings *listens;
};

/* Changes this process's environment, which the parts inherit. */
bool environment_make(const struct place *place, const struct environment_settings *settings, struct problem *why);
/* "twilio, callrail: sandbox; model: rules; speech: local" */
void environment_describe(bool sandbox, struct buf *out);
