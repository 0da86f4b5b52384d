/* fuzz_handler.h: a handler that is given an event, and what others answer, by the fuzzer.  Include it after fuzz.h. */
#pragma once

#include "common/stage.h"

#define EFFECTS_BYTES_MAX ((size_t)96 << 20)

static struct text answer_body; /* what a model answers to whatever it is asked */

static inline enum outcome give_answer(void *unused, const char *name, const struct ask *asked, struct arena *arena,
                                       struct answer *ret)
{
    (void)unused, (void)name, (void)asked, (void)arena;
    *ret = (struct answer){ .body = answer_body, .model = "m" };
    return DONE;
}

/* Puts the effects into `effects`, which the caller frees.  False: the handler was not done, and said why.  Of `event` the
 * subject, the tenant and the data are the caller's. */
static inline bool try_handler(const struct stage *stage, const struct work_probe *probe, stage_handler *handle,
                               const struct event_type *type, struct event event, struct buf *effects)
{
    struct problem why = { .text = "" };
    struct buf message;

    event.id = "886313e1-3b8a-5372-9b90-0c9aee199e5d";
    event.source = "/test";
    event.type = type->name;
    event.time = "2026-11-21T14:30:00Z";
    buf_init(&message, EVENT_BYTES_MAX);
    buf_init(effects, EFFECTS_BYTES_MAX);
    event_write(&message, &event, type, NULL);
    bool done = work_try(stage, handle, buf_text(&message), probe, effects, &why) == DONE;
    if (!done)
        check_reason(&why);
    buf_done(&message);
    return done;
}
