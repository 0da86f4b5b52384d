/* shunya_hooks.h: what the door reads of a Shunya webhook: which job ended, and whom it is about.  Everything else is the
 * recorder's. */
#pragma once

#include "answers.h"

/* Reads a body; `ret` lives in the arena. */
bool shunya_hook_read(struct text content_type, struct text body, struct arena *arena, struct shunya_webhook *ret,
                      struct problem *why);
