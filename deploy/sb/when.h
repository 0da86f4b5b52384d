/* when.h: moments on the command line. */
#pragma once

#include "common/base.h"

#define WHEN_HELP "takes 30s, 10m, 2h or 1d, or a time such as 2026-11-21T06:29:49Z"

/* So long ago, or a time (RFC 3339), in microseconds since 1970; false when it is neither. */
bool when_read(const char *text, int64_t *ret_us);
