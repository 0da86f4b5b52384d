/* tree.h: cJSON trees that live in an arena, for providers' answers.  (Events and webhooks need no tree: json.h.) */
#pragma once

#include "common/arena.h"

#include <cjson/cJSON.h>

/* Parses `json` (absent, not UTF-8 and not JSON give NULL); the tree is freed with the arena. */
const cJSON *tree_read(struct arena *arena, struct text json);
/* A member of that name and kind, or NULL / 0.  `object` may be NULL or of any kind, so look-ups can be nested. */
const cJSON *tree_get(const cJSON *object, const char *name);
const char *tree_string(const cJSON *object, const char *name);
int64_t tree_count(const cJSON *object, const char *name);      /* a number from 0 to 10^15; anything else is 0 */
