/* ports.h: is a port free, and if not, who has it. */
#pragma once

#include "common/base.h"

/* False when nothing can listen on address:port; `why` names the port, the process (when it can be seen) and `setting`,
 * the setting that chooses another. */
bool port_check(const char *listen, const char *part, const char *setting, struct problem *why);
