/* work.c: one event being handled: what a handler sees of the runtime. */
#include "common/stage/runtime.h"

#include "events.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FREE_WORKS_MAX 256              /* kept for the next events, with their arenas */

void list_push(struct work_list *list, struct work *work)
{
    work->next = NULL;
    if (list->last)
        list->last->next = work;
    else
        list->first = work;
    list->last = work;
    list->count++;
}

struct work *list_pop(struct work_list *list)
{
    struct work *work = list->first;
    if (!work)
        return NULL;
    list->first = work->next;
    if (!list->first)
        list->last = NULL;
    list->count--;
    return work;
}

struct work *work_new(void)
{
    struct work *work = runtime.free_works;
    if (work) {
        runtime.free_works = work->next;
        runtime.free_count--;
        struct arena *keep = work->keep, *arena = work->arena;
        *work = (struct work){ .keep = keep, .arena = arena };
    } else {
        work = must_alloc(sizeof(*work));
        work->keep = arena_new(STAGE_ARENA_BYTES_MAX);
        work->arena = arena_new(STAGE_ARENA_BYTES_MAX);
    }
    return work;
}

void work_free(struct work *work)
{
    arena_reset(work->keep);
    arena_reset(work->arena);
    if (runtime.free_count < FREE_WORKS_MAX) {
        work->next = runtime.free_works;
        runtime.free_works = work;
        runtime.free_count++;
        return;
    }
    arena_free(work->keep);
    arena_free(work->arena);
    free(work);
}

const char *work_subject(const struct work *work)
{
    return work->message_key.at;
}

void work_begin_run(struct work *work)
{
    arena_reset(work->arena);
    work->rows = NULL;
    work->rows_end = &work->rows;
    work->events = NULL;
    work->events_end = &work->events;
    work->effects = 0;
    work->skipped = false;
    work->keeps_rows = false;
    work->why = (struct problem){ .text = "" };
    work->retry_ms = 0;
    work->behind = NULL;
    work->uncertain = false;
    work->broken = false;
    work->tenant = work->event.tenant;
    work->source_time = work->event.time;
    work->source_run = work->event.run;
    char *traceparent = arena_alloc(work->arena, TRACEPARENT_BYTES);
    work->traceparent = traceparent_next(work->event.traceparent, traceparent);
}

enum outcome work_handle(struct work *work)
{
    work_begin_run(work);
    if (work->erased)
        return skip(work, "the person of this conversation was erased");
    if (work->crashed)
        return reject(work, "the process crashed %d times while it handled this event", CRASHES_MAX);
    if (work->unread)
        return reject_problem(work, work->unread_why);
    int64_t began = monotonic_us();
    daemon_working_on(arena_printf(work->arena, "%s/%d", work->event.id, work->event.run));
    enum outcome outcome = work->route->handle(work, &work->event);
    daemon_working_on(NULL);
    int64_t took = monotonic_us() - began;
    work->worked_us += took;
    metric_time(&metric_handled_time, took, work->event.type);
    return outcome == DONE && work->broken ? REJECT : outcome;
}

struct arena *work_arena(struct work *work)
{
    return work->arena;
}

const struct event *work_event(const struct work *work)
{
    return &work->event;
}

void *work_context(struct work *work)
{
    return work->try ? work->try_stage->context : runtime.stage->context;
}

int work_run(const struct work *work)
{
    return work->event.run;
}

int work_attempt(const struct work *work)
{
    return work->attempts;
}

const char *work_conflict(const struct work *work)
{
    return work->conflict ? work->constraint : NULL;
}

bool work_cancelled(const struct work *work)
{
    return work->cancelled;
}

void work_set_tenant(struct work *work, const char *tenant)
{
    work->tenant = arena_copy(work->arena, tenant);
}

const char *work_tenant(const struct work *work)
{
    return work->tenant;
}

void work_set_source(struct work *work, const char *time, int run)
{
    work->source_time = arena_copy(work->arena, time);
    work->source_run = run;
}

const char *work_source_time(const struct work *work)
{
    return work->source_time;
}

int work_source_run(const struct work *work)
{
    return work->source_run;
}

char *work_time(struct work *work, int64_t us)
{
    return time_print(us, arena_alloc(work->arena, TIME_BYTES));
}

struct problem *work_why(struct work *work)
{
    return &work->why;
}

/* --- how it ended ---------------------------------------------------------------------------------------------------- */

PRINTF_LIKE(2, 0) static void why_set(struct work *work, const char *format, va_list arguments)
{
    char text[sizeof(work->why.text)];
    vsnprintf(text, sizeof(text), format, arguments);
    fail(&work->why, "%s", text);       /* UTF-8, whatever it quotes and wherever it was cut */
}

enum outcome retry(struct work *work, int64_t after_ms, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    why_set(work, format, arguments);
    va_end(arguments);
    work->retry_ms = after_ms;
    return RETRY;
}

enum outcome reject(struct work *work, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    why_set(work, format, arguments);
    va_end(arguments);
    return REJECT;
}

enum outcome reject_problem(struct work *work, const struct problem *why)
{
    if (why != &work->why)
        work->why = *why;
    return REJECT;
}

enum outcome skip(struct work *work, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    why_set(work, format, arguments);
    va_end(arguments);
    work->rows = NULL;
    work->events = NULL;
    work->skipped = true;
    return DONE;
}

static void forget_effects(struct work *work, bool rows_too)
{
    if (rows_too) {
        work->rows = NULL;
        work->rows_end = &work->rows;
    }
    work->events = NULL;
    work->events_end = &work->events;
    work->effects = 0;
}

enum outcome noting_params(struct work *work, enum outcome outcome, const struct statement *statement, struct params params)
{
    assert(outcome != DONE);
    forget_effects(work, true);
    effect_row_params(work, statement, params);
    work->keeps_rows = true;
    return outcome;
}

/* --- read ------------------------------------------------------------------------------------------------------------ */

enum outcome work_read_data_(struct work *work, bool valid)
{
    (void)work;
    return valid ? DONE : REJECT;
}

enum outcome work_query_params(struct work *work, const struct statement *statement, struct rows *ret, struct params params)
{
    assert(params.count == statement->params);
    if (work->try)
        return work->try->query(work->try->context, statement, params, work->arena, ret);
    work_waits(work);
    enum pg_error error = pg_query(runtime.pool, statement, params, work->arena, ret, &work->why);
    work_goes_on(work);
    switch (error) {
    case PG_FINE:
        return DONE;
    case PG_AWAY:
    case PG_CONFLICT:
        return RETRY;
    case PG_WRONG:
        break;
    }
    return REJECT;
}

/* --- describe -------------------------------------------------------------------------------------------------------- */

void effect_row_params(struct work *work, const struct statement *statement, struct params params)
{
    assert(params.count == statement->params);
    assert(work->effects < STAGE_EFFECTS_MAX);
    struct row_effect *row = arena_alloc(work->arena, sizeof(*row));
    row->statement = statement;
    row->values = arena_alloc(work->arena, (size_t)(params.count + 1) * sizeof(*row->values));
    for (int i = 0; i < params.count; i++)
        row->values[i] = arena_copy(work->arena, params.values[i]);
    *work->rows_end = row;
    work->rows_end = &row->next;
    work->effects++;
}

void emit_payload(struct work *work, const struct event_type *type, const char *topic, const char *key, struct text payload)
{
    struct event_effect *effect = arena_alloc(work->arena, sizeof(*effect));
    effect->type = type;
    effect->topic = arena_copy(work->arena, topic);
    effect->key = arena_copy(work->arena, key);
    effect->payload = (struct text){ arena_copy_text(work->arena, payload), payload.bytes };
    *work->events_end = effect;
    work->events_end = &effect->next;
    work->effects++;
}

/* What an event that follows from this work's is called among those that do: its id is made of it.  Of several with one type and subject
 * each but the first has a number. */
static const char *event_name(struct work *work, const struct event_type *type, const char *subject)
{
    int before = 0;
    for (const struct event_effect *effect = work->events; effect; effect = effect->next)
        before += effect->type == type && strcmp(effect->key, subject) == 0;
    return before == 0 ? arena_printf(work->arena, "%s/%s", type->name, subject)
                       : arena_printf(work->arena, "%s/%s/%d", type->name, subject, before + 1);
}

/* The line of an event that follows from this work's, or, with an `arrival`'s id, that begins a conversation; false when its data does not
 * hold to the schema or the limit. */
static bool event_line(struct work *work, const struct event_type *type, size_t bytes_max, const char *arrival, const char *subject,
                       const void *data, struct buf *line)
{
    const char *stage = work->try ? work->try_stage->name : runtime.stage->name;
    const struct event *cause = &work->event;
    struct buf json;
    buf_init(&json, bytes_max);
    type->write(&json, data);
    bool valid = !json.overflowed ? type->check(buf_text(&json), &work->why)
                                  : fail(&work->why, "its data is larger than %zu bytes", bytes_max);
    if (valid) {
        char id[UUID_BYTES], source[80], traceparent[TRACEPARENT_BYTES];
        const char *name = event_name(work, type, subject);
        snprintf(source, sizeof(source), "/%s", stage);
        struct event event = {
            .id = arrival ? arrival : event_id_of(id, cause->id, stage, name, cause->run),
            .source = source,
            .type = type->name,
            .subject = subject,
            .time = work->source_time,  /* of the fact: a row is replaced only by an equal or later one */
            .tenant = work->tenant,
            .correlation_id = cause->correlation_id && !arrival ? cause->correlation_id : subject,
            .causation_id = cause->id,
            .run = work->source_run,
            .traceparent = arrival ? traceparent_next(NULL, traceparent) : work->traceparent,
            .ask_again = cause->ask_again,
            .resend = cause->resend,
            .data = buf_text(&json),
        };
        event_write(line, &event, type, NULL);
        if (line->overflowed)
            valid = fail(&work->why, "it is larger than %zu bytes", bytes_max);
    }
    buf_done(&json);
    return valid;
}

static void emit(struct work *work, const struct event_type *type, size_t bytes_max, const char *arrival, const char *subject,
                 const void *data)
{
    assert(type->topic != NULL && work->effects < STAGE_EFFECTS_MAX);
    if (work->broken)
        return;
    struct buf line;
    buf_init(&line, bytes_max);
    if (event_line(work, type, bytes_max, arrival, subject, data, &line))
        emit_payload(work, type, type->topic->name, subject, buf_text(&line));
    else
        work->broken = true;
    buf_done(&line);
}

void effect_event(struct work *work, const struct event_type *type, const char *subject, const void *data)
{
    emit(work, type, EVENT_BYTES_MAX, NULL, subject, data);
}

void effect_arrival(struct work *work, const struct event_type *type, const char *id, const char *subject, const void *data)
{
    emit(work, type, EVENT_INBOUND_BYTES_MAX, id, subject, data);
}

void emit_rejection(struct work *work)
{
    forget_effects(work, !work->keeps_rows);
    work->source_time = work->event.time;
    work->source_run = work->event.run;
    bool is_text = text_is_utf8(work->message) && !memchr(work->message.at, '\0', work->message.bytes);
    size_t encoded_bytes = 0;
    char *encoded = NULL;
    if (!is_text) {
        encoded = arena_alloc(work->arena, BASE64_BYTES(work->message.bytes));
        base64_print(work->message.at, work->message.bytes, encoded);
        encoded_bytes = strlen(encoded);
    }
    /* the reason came from outside in part: it is cut at a character and must be UTF-8 */
    const char *reason = text_is_utf8(text_of(work->why.text)) && work->why.text[0] ? work->why.text : "no readable reason was given";
    struct event_rejected rejected = {
        .stage = runtime.stage->name,
        .reason = reason,
        .pointer = work->why.pointer[0] ? work->why.pointer : NULL,
        .attempts = work->attempts,
        .topic = work->partition->topic,
        .partition = work->partition->number,
        .offset = work->offset,
        .event = is_text ? work->message : (struct text){ encoded, encoded_bytes },
        .encoding = is_text ? "text" : "base64",
    };
    struct problem why = work->why;
    size_t bytes_max = (size_t)topic_find(runtime.dead_topic)->message_bytes_max;
    struct buf line;
    buf_init(&line, bytes_max);
    if (!event_line(work, &EVENT_EVENT_REJECTED, bytes_max, NULL, work_subject(work), &rejected, &line)) {
        /* an event whose escapes make its dead letter too large: the letter says where it stands instead */
        buf_clear(&line);
        rejected.event = TEXT("");
        event_line(work, &EVENT_EVENT_REJECTED, bytes_max, NULL, work_subject(work), &rejected, &line);
    }
    emit_payload(work, &EVENT_EVENT_REJECTED, runtime.dead_topic, work_subject(work), buf_text(&line));
    buf_done(&line);
    work->why = why;
}
