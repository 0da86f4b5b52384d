/* record_check: what the generated readers say, for tests in other languages.
 *
 * Reads lines of "schema<TAB>JSON", the schema an event type's name, call_analysis or envelope.  Answers each with
 * "ok<TAB>JSON as written again" or "bad<TAB>pointer<TAB>reason". */
#include "common/event.h"
#include "tests/readers.h"

#include <stdio.h>
#include <stdlib.h>

#define ARENA_BYTES_MAX (64 * 1024 * 1024)

static bool rewrite_envelope(struct text json, struct arena *arena, struct buf *out, struct problem *why)
{
    struct event event;

    if (!event_read(json, arena, &event, why))
        return false;
    event_write(out, &event, event_type_find(event.type), NULL);
    return true;
}

static void answer(const char *name, struct text json, struct arena *arena)
{
    const struct reader *reader = reader_find(name);
    struct problem why = { 0 };
    struct buf out;

    buf_init(&out, ARENA_BYTES_MAX);
    if (reader == NULL && strcmp(name, "envelope") != 0)
        printf("bad\t\tno schema is named \"%s\"\n", name);
    else if (reader != NULL ? reader->rewrite(json, arena, &out, &why) : rewrite_envelope(json, arena, &out, &why))
        printf("ok\t%s\n", out.at);
    else
        printf("bad\t%s\t%s\n", why.pointer, why.text);
    buf_done(&out);
    arena_reset(arena);
}

int main(void)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    char *line = NULL;
    size_t room = 0;
    ssize_t bytes;

    if (readers_forgotten() != NULL) {
        fprintf(stderr, "tests/readers.h lacks %s\n", readers_forgotten());
        return 1;
    }
    while ((bytes = getline(&line, &room, stdin)) > 0) {
        char *tab = strchr(line, '\t');
        if (tab == NULL)
            return 2;
        *tab = '\0';
        answer(line, (struct text){ tab + 1, (size_t)(line + bytes - tab - 1) }, arena);
    }
    free(line);
    arena_free(arena);
    return 0;
}
