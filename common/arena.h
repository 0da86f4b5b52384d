/* arena.h: memory that lives as long as one event (or one request), freed all at once.
 *
 * An arena is used by one thread at a time.  Allocation never fails for the caller: an arena that would pass its
 * `bytes_max` is a bug (every input has a smaller limit of its own) and ends the process, as does memory running out. */
#pragma once

#include "common/base.h"

struct arena;

struct arena *arena_new(size_t bytes_max);      /* takes no memory to speak of until it is used */
void arena_reset(struct arena *arena);          /* frees what was allocated and runs the deferred functions, last first */
void arena_free(struct arena *arena);           /* NULL is fine */
void arena_freep(struct arena **arena);

void *arena_alloc(struct arena *arena, size_t bytes);                       /* zeroed, aligned for anything */
char *arena_copy(struct arena *arena, const char *string);                  /* NULL gives NULL */
char *arena_copy_text(struct arena *arena, struct text text);               /* terminated; the absent text gives NULL */
char *arena_printf(struct arena *arena, const char *format, ...) PRINTF_LIKE(2, 3);
void arena_defer(struct arena *arena, void (*function)(void *), void *argument);    /* at reset */
