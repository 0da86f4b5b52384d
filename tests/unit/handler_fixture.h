/* handler_fixture.h: a handler tried on one event: what it reads is answered from a list, what it describes comes
 * back as lines. Include once, after the stage's headers; it includes cmocka. */
#pragma once

#include "common/stage/runtime.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define EVENT_ID "886313e1-3b8a-5372-9b90-0c9aee199e5d"
#define EVENT_TIME "2026-11-21T14:30:00.000000Z"
#define ROWS_MAX 16
#define COLUMNS_MAX 24

/* What answers instead of providers; NULL: they are really asked. */
typedef enum outcome ask_answerer(void *context, const char *name, const struct ask *asked, struct arena *of,
                                  struct answer *ret);

/* The rows a statement answers with. */
struct query_rows {
    const char *statement;              /* NULL ends a list; one that is not in it answers no rows */
    const char *columns[COLUMNS_MAX];
    const char *values[ROWS_MAX * COLUMNS_MAX];
    int rows;
};

static struct arena *arena;             /* of one test */
static struct buf effects,
    queries; /* lines of the last try: what was described, and what was asked: "<statement> <parameter>|…" */
static struct problem why;
static int64_t retry_ms;                /* that the handler asked for */
static struct work *trying;             /* inside a try */
static stage_handler *tried;

static inline enum outcome answer_query(void *context, const struct statement *statement, struct params params,
                                        struct arena *of, struct rows *ret)
{
    const struct query_rows *found = context;
    (void)of;
    buf_printf(&queries, "%s ", statement->name);
    for (int i = 0; i < params.count; i++)
        buf_printf(&queries, "%s%s", i ? "|" : "", params.values[i] ? params.values[i] : "NULL");
    buf_add_char(&queries, '\n');
    while (found->statement && strcmp(found->statement, statement->name) != 0)
        found++;
    *ret = (struct rows){
        .count = found->statement ? found->rows : 0, .values = found->values, .names = found->columns
    };
    while (ret->columns < COLUMNS_MAX && found->columns[ret->columns])
        ret->columns++;
    return DONE;
}

static inline enum outcome watched(struct work *work, const struct event *event)
{
    trying = work;
    enum outcome outcome = tried(work, event);
    retry_ms = work->retry_ms;
    trying = NULL;
    return outcome;
}

static inline enum outcome try_event(const struct stage *stage, stage_handler *handle, const struct event *event,
                                     const struct query_rows *rows, ask_answerer *answer_ask)
{
    const struct work_probe probe = { .query = answer_query, .ask = answer_ask, .context = (void *)rows };
    struct event whole = *event;
    struct buf message;
    whole.id = whole.id ? whole.id : EVENT_ID;
    whole.source = "/test";
    whole.time = EVENT_TIME;
    whole.correlation_id = whole.subject;
    tried = handle;
    why = (struct problem){ 0 };
    buf_init(&message, EVENT_INBOUND_BYTES_MAX);
    buf_clear(&effects);
    buf_clear(&queries);
    event_write(&message, &whole, event_type_find(event->type), NULL);
    enum outcome outcome = work_try(stage, watched, buf_text(&message), &probe, &effects, &why);
    buf_done(&message);
    return outcome;
}

static inline void expect(enum outcome got, enum outcome wanted)
{
    static const char *const names[] = { [DONE] = "DONE", [RETRY] = "RETRY", [REJECT] = "REJECT" };
    if (got != wanted)
        fail_msg("%s instead of %s: %s %s\n%s", names[got], names[wanted], why.pointer, why.text,
                 effects.at ? effects.at : "");
}

static inline void expect_text(const char *in, const char *wanted)
{
    if (!in || !strstr(in, wanted))
        fail_msg("%s\nis not in\n%s", wanted, in ? in : "nothing");
}

static inline void expect_no_text(const char *in, const char *unwanted)
{
    if (in && strstr(in, unwanted))
        fail_msg("%s\nis in\n%s", unwanted, in);
}

/* For cmocka's set-up and tear-down of each test. */
static inline int handlers_start(void **state)
{
    (void)state;
    arena = arena_new(STAGE_ARENA_BYTES_MAX);
    buf_init(&effects, 16 << 20);
    buf_init(&queries, 16 << 20);
    return crypto_init(&why) ? 0 : -1;
}

static inline int handlers_end(void **state)
{
    (void)state;
    arena_free(arena);
    buf_done(&effects);
    buf_done(&queries);
    return 0;
}
