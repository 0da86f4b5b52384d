/* metrics_process.h: what Prometheus expects of every process, under its usual names (prometheus.io, writing client
 * libraries). */
#pragma once

#include "common/buf.h"

void metrics_print_process(struct buf *out);    /* what the kernel does not tell is left out */
