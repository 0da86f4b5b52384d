/* settings_value.h: one setting's value: from text to field, and back to text for people. */
#pragma once

#include "common/settings.h"

/* Reads `value` into the field.  Text fields get memory that `arena` (secrets: sodium_malloc) holds.  False when it is
 * not what the setting takes; the reason is always setting_takes(). */
bool setting_value_read(const struct setting *setting, const char *value, void *field, struct arena *arena);
/* The field when nothing is set and there is no default. */
void setting_value_clear(const struct setting *setting, void *field);
/* "duration, 1s to 10m" */
void setting_takes(const struct setting *setting, struct buf *out);
/* The field's value as it would be written; secrets as «set». */
void setting_value_print(const struct setting *setting, const void *field, struct buf *out);
