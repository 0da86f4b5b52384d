/* arena.c: a list of chunks, newest first; an allocation takes from the newest one or starts another. */
#include "common/arena.h"

#include <stdalign.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/log.h"

#define ARENA_CHUNK_BYTES_MIN (2 * 1024)
#define ARENA_CHUNK_BYTES_MAX (256 * 1024) /* chunks double up to this; larger pieces get a chunk of their own */

struct chunk {
    struct chunk *older;
    size_t room;
    size_t used;
    alignas(max_align_t) char at[];
};

struct deferred {
    struct deferred *earlier;
    void (*function)(void *);
    void *argument;
};

struct arena {
    size_t bytes;
    size_t bytes_max;
    struct chunk *newest;
    struct deferred *last;
};

struct arena *arena_new(size_t bytes_max)
{
    struct arena *arena = must_alloc(sizeof(*arena));
    arena->bytes_max = bytes_max;
    return arena;
}

static struct chunk *chunk_new(struct arena *arena, size_t bytes)
{
    struct chunk *newest = arena->newest;
    size_t room = newest != NULL ? newest->room * 2 : ARENA_CHUNK_BYTES_MIN;

    if (room > ARENA_CHUNK_BYTES_MAX)
        room = ARENA_CHUNK_BYTES_MAX;
    bool own = bytes > room / 2 && newest != NULL;
    if (own || bytes > room)
        room = bytes;
    struct chunk *chunk = must_realloc(NULL, sizeof(*chunk) + room);
    chunk->room = room;
    chunk->used = 0;
    /* a large piece fills its chunk wholly, so it goes behind the newest, which may still have room for small ones */
    struct chunk **place = own ? &newest->older : &arena->newest;
    chunk->older = *place;
    *place = chunk;
    return chunk;
}

/* Not zeroed: for the copies, which are large at times and are written wholly. */
static void *arena_take(struct arena *arena, size_t bytes)
{
    size_t left = arena->bytes_max - arena->bytes;
    size_t rounded = (bytes + alignof(max_align_t) - 1) / alignof(max_align_t) * alignof(max_align_t);

    if (bytes > left || rounded > left) {
        log_error("an arena is full: some input has no limit of its own", LOG_INT("bytes_max", arena->bytes_max),
                  LOG_INT("bytes", bytes));
        abort();
    }
    struct chunk *chunk = arena->newest;
    if (chunk == NULL || rounded > chunk->room - chunk->used)
        chunk = chunk_new(arena, rounded);
    void *at = chunk->at + chunk->used;
    chunk->used += rounded;
    arena->bytes += rounded;
    return at;
}

/* The oldest chunk stays when it is a small one, so that an arena used over and over asks for no memory. */
void arena_reset(struct arena *arena)
{
    while (arena->last != NULL) {
        struct deferred *deferred = arena->last;
        arena->last = deferred->earlier;
        deferred->function(deferred->argument);
    }
    struct chunk *chunk = arena->newest;
    while (chunk != NULL && (chunk->older != NULL || chunk->room > ARENA_CHUNK_BYTES_MIN)) {
        struct chunk *older = chunk->older;
        free(chunk);
        chunk = older;
    }
    if (chunk != NULL)
        chunk->used = 0;
    arena->newest = chunk;
    arena->bytes = 0;
}

void arena_free(struct arena *arena)
{
    if (arena == NULL)
        return;
    arena_reset(arena);
    free(arena->newest);
    free(arena);
}

void arena_freep(struct arena **arena)
{
    arena_free(*arena);
    *arena = NULL;
}

void *arena_alloc(struct arena *arena, size_t bytes)
{
    return memset(arena_take(arena, bytes), 0, bytes);
}

char *arena_copy(struct arena *arena, const char *string)
{
    return arena_copy_text(arena, text_of(string));
}

char *arena_copy_text(struct arena *arena, struct text text)
{
    if (text.at == NULL)
        return NULL;
    char *copy = arena_take(arena, text.bytes + 1);
    memcpy(copy, text.at, text.bytes);
    copy[text.bytes] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *format, ...)
{
    char start[256]; /* most fit, and are formatted once */
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(start, sizeof(start), format, arguments);
    va_end(arguments);
    if (length < 0)
        abort(); /* a wrong format string, or a text of 2 GiB */
    char *text = arena_take(arena, (size_t)length + 1);
    if ((size_t)length < sizeof(start))
        return memcpy(text, start, (size_t)length + 1);
    va_start(arguments, format);
    vsnprintf(text, (size_t)length + 1, format, arguments);
    va_end(arguments);
    return text;
}

void arena_defer(struct arena *arena, void (*function)(void *), void *argument)
{
    struct deferred *deferred = arena_alloc(arena, sizeof(*deferred));
    *deferred = (struct deferred){ .earlier = arena->last, .function = function, .argument = argument };
    arena->last = deferred;
}
