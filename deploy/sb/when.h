/* when.h: moments on the command line. */
#pragma once

#include "common/base.h"

#define WHEN_HELP                                                                                                      \
    "takes 30s, 10m, 2h, 1d or 1h30m ago, 14:00, \"yesterday 14:00\", or a time such as 2026-11-21T06:29:49Z"

/* A paragraph for the help of a command that takes WHEN. */
#define WHEN_PARAGRAPH                                                                                                 \
    "WHEN is 30s, 10m, 2h, 1d or 1w ago, also 1h30m; 14:00 (when it was that the last time), today, yesterday,\n"      \
    "\"yesterday 14:00\", 2026-11-21 or \"2026-11-21 06:29\" by this machine's clock; or a time with its zone, such\n" \
    "as 2026-11-21T06:29:49Z.\n"

/* Microseconds since 1970; false when it is none of these. */
bool when_read(const char *text, int64_t *ret_us);
