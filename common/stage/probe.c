/* probe.c: a handler without any server: what it reads and asks is answered by the test, what it describes is written as lines. */
#include "common/stage/runtime.h"

#include <string.h>

enum outcome probe_ask(struct work *work, const char *name, const struct ask *ask, struct answer *ret)
{
    *ret = (struct answer){ .body = TEXT("") };
    if (work->try->ask)
        return work->try->ask(work->try->context, name, ask, work->arena, ret);
    work->asking = "00000000-0000-5000-8000-000000000000";
    work->asking_content = ask->content;
    work->asked = ask;
    enum outcome outcome = ask->call(work, ask->request, ret);
    work->asking = NULL;
    work->asked = NULL;
    return outcome;
}

static void print_effects(const struct work *work, struct buf *out)
{
    if (work->skipped)
        buf_printf(out, "skip %s\n", work->why.text);
    for (const struct row_effect *row = work->rows; row; row = row->next) {
        buf_printf(out, "row %s ", row->statement->name);
        for (int i = 0; i < row->statement->params; i++)
            buf_printf(out, "%s%s", i ? "|" : "", row->values[i] ? row->values[i] : "NULL");
        buf_add_char(out, '\n');
    }
    for (const struct event_effect *effect = work->events; effect; effect = effect->next) {
        struct event event;
        struct problem why;
        if (event_read(effect->payload, work->arena, &event, &why))
            buf_printf(out, "event %s %s %.*s\n", event.type, event.subject, (int)event.data.bytes, event.data.at);
        else
            buf_printf(out, "event unreadable %s\n", why.text);
    }
}

enum outcome work_try(const struct stage *stage, stage_handler *handle, struct text message, const struct work_probe *probe,
                      struct buf *effects, struct problem *why)
{
    struct work work = { .try = probe, .try_stage = stage, .keep = arena_new(STAGE_ARENA_BYTES_MAX),
                         .arena = arena_new(STAGE_ARENA_BYTES_MAX) };
    enum outcome outcome = REJECT;
    if (event_read(message, work.keep, &work.event, why)) {
        work.event.run = probe->run ? probe->run : work.event.run;
        work_begin_run(&work);
        work.attempts = probe->attempt ? probe->attempt : 1;
        outcome = handle(&work, &work.event);
        if (outcome == DONE && work.broken)
            outcome = REJECT;
        *why = work.why;
        if (outcome == DONE || work.keeps_rows)
            print_effects(&work, effects);
    }
    arena_free(work.keep);
    arena_free(work.arena);
    return outcome;
}
