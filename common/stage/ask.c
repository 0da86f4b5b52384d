/* ask.c: asking a provider.
 *
 * ASK_AGAIN: the answer is kept in memory over reruns and recorded with the effects.
 *
 * ASK_ONCE: a row says `sent`, under a lease, before the request leaves, and `answered` before the handler goes on:
 *
 *     (no row) ──▶ sent ──▶ answered            the provider acted
 *                   │  └──▶ refused ──▶ sent     it did not act, for sure: tried again, or rejected
 *                   └─────▶ uncertain            not known, and it cannot be looked up: for a person
 *
 * A `sent` row whose lease is over is looked up at the provider before it is sent again.  The row is found by its business purpose, so a
 * replay, or another event with the same purpose, gets the recorded answer.
 *
 * After an older copy of the database was restored (table `restores`), rows of what was sent since that copy are lost: for an event of that
 * time a new row is looked up first too, back to the moment of the copy, which is its `created_at`. */
#include "common/fault.h"
#include "common/log.h"
#include "common/stage/runtime.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define LEASE_BEYOND_TIMEOUT_MS 30000
#define SAVE_TRIES 5                    /* of an answer that must not be lost, before the event is retried with it in memory */
#define SAVE_PAUSE_MS 200

const struct statement find_answer = {
    .name = "runtime_find_answer",
    .text = "SELECT ask_id, content, answer, provider, provider_id, model, tokens_in, tokens_out, cost_micros FROM asks"
            " WHERE event_id = $1::uuid AND stage = $2 AND name = $3 AND run < $4::integer AND state = 'answered'"
            " ORDER BY run DESC LIMIT 1",
    .params = 4,
};
#define PURPOSE_COLUMNS \
    "ask_id, state, attempt, content, answer, provider, provider_id, model, tokens_in, tokens_out, cost_micros, error," \
    " greatest(0, ceil(extract(epoch FROM lease_until - now()) * 1000))::bigint AS lease_ms"
const struct statement find_purpose = {
    .name = "runtime_find_purpose",
    .text = "SELECT " PURPOSE_COLUMNS " FROM asks WHERE kind = 'once' AND recipient = $1 AND purpose = $2 AND subject = $3"
            " AND version = $4 AND resend = $5::integer",
    .params = 5,
};
static const struct statement begin_once = {
    .name = "runtime_begin_once",
    .text = "INSERT INTO asks (ask_id, stage, event_id, run, name, kind, provider, tenant, correlation_id, recipient, purpose, subject,"
            " version, resend, content, state, attempt, lease_until, created_at)"
            " SELECT $1::uuid, $2, $3::uuid, $4::integer, $5, 'once', $6, $7, $8, $9, $10, $11, $12, $13::integer, $14, 'sent', 1,"
            " now() + $15::interval, coalesce(min(backup_at), now())"
            " FROM restores WHERE $13::integer = 0 AND restored_at >= least($16::timestamptz, $17::timestamptz)"
            " ON CONFLICT DO NOTHING RETURNING ask_id, created_at < now() AS may_be_sent",
    .params = 17,
};
/* `attempt` is the lease's number: whoever takes it over raises it, and writes only under the number it took; but an answer is a fact.
 * $4: the words of this try; those of a try that may have arrived stay. */
static const struct statement take_lease = {
    .name = "runtime_take_lease",
    .text = "UPDATE asks SET state = 'sent', attempt = attempt + 1, lease_until = now() + $3::interval, updated_at = now(),"
            " error = NULL, content = CASE state WHEN 'refused' THEN $4 ELSE coalesce(content, $4) END"
            " WHERE ask_id = $1::uuid AND attempt = $2::integer"
            " AND (state = 'refused' OR state = 'sent' AND lease_until <= now()) RETURNING attempt, content",
    .params = 4,
};
static const struct statement end_once = {
    .name = "runtime_end_once",
    .text = "UPDATE asks SET state = $3, answer = $4, provider_id = $5, model = $6, error = $7, took_us = $8::bigint,"
            " lease_until = now(), updated_at = now()"
            " WHERE ask_id = $1::uuid AND (attempt = $2::integer AND state = 'sent' OR $3 = 'answered' AND state <> 'answered')"
            " RETURNING ask_id",
    .params = 8,
};

const char *ask_id(const struct work *work)
{
    assert(work->asking && "only inside an ask's call or look_up");
    return work->asking;
}

const char *ask_content(const struct work *work)
{
    assert(work->asking && "only inside an ask's call or look_up");
    return work->asking_content;
}

enum outcome ask_uncertain(struct work *work, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(work->why.text, sizeof(work->why.text), format, arguments);
    va_end(arguments);
    work->uncertain = true;
    return RETRY;
}

static const char *number(struct work *work, int64_t value)
{
    return arena_printf(work->arena, "%lld", (long long)value);
}

static int64_t integer(const struct rows *rows, const char *column)
{
    const char *value = row_get(rows, 0, column);
    return value ? atoll(value) : 0;
}

static struct kept_answer *kept_find(struct work *work, const char *name)
{
    for (struct kept_answer *kept = work->answers; kept; kept = kept->next)
        if (strcmp(kept->name, name) == 0)
            return kept;
    return NULL;
}

/* Keeps an answer for as long as the work lives: its next run does not ask again. */
static struct kept_answer *kept_add(struct work *work, const char *name, const char *id, const struct ask *ask,
                                    const struct answer *answer, int64_t took_us, bool saved)
{
    struct kept_answer *kept = arena_alloc(work->keep, sizeof(*kept));
    *kept = (struct kept_answer){
        .next = work->answers, .name = arena_copy(work->keep, name), .ask_id = arena_copy(work->keep, id), .answer = *answer,
        .kind = ask->kind, .provider = arena_copy(work->keep, ask->provider), .took_us = took_us, .saved = saved,
        .unrecorded = ask->unrecorded };
    kept->answer.body.at = arena_copy_text(work->keep, answer->body);
    kept->answer.provider = arena_copy(work->keep, answer->provider);
    kept->answer.provider_id = arena_copy(work->keep, answer->provider_id);
    kept->answer.model = arena_copy(work->keep, answer->model);
    kept->answer.content = arena_copy(work->keep, answer->content);
    kept->answer.ask_id = kept->ask_id;
    work->answers = kept;
    return kept;
}

void answer_from_row(const struct rows *rows, struct answer *ret)
{
    const char *body = row_get(rows, 0, "answer");
    *ret = (struct answer){
        .body = text_of(body ? body : ""), .content = row_get(rows, 0, "content"), .provider = row_get(rows, 0, "provider"),
        .provider_id = row_get(rows, 0, "provider_id"), .model = row_get(rows, 0, "model"),
        .tokens_in = integer(rows, "tokens_in"), .tokens_out = integer(rows, "tokens_out"), .cost_micros = integer(rows, "cost_micros"),
        .recorded = true };
}

/* --- the request itself, through the provider's circuit --------------------------------------------------------------------- */

static bool circuit_lets_through(struct work *work, const char *provider, struct circuit **ret)
{
    pthread_mutex_lock(&runtime.lock);
    struct circuit *circuit = circuit_find(CIRCUIT_PROVIDER, provider);
    bool held = circuit_holds(work, work->tenant);
    bool through = !held && (!circuit || !circuit->open || work->probe == circuit);
    if (!through && !held) {
        work->behind = circuit;
        fail(&work->why, circuit->held ? "%s %.300s" : "%s fails for everyone: %.300s", provider, circuit->why);
    }
    pthread_mutex_unlock(&runtime.lock);
    *ret = circuit;
    return through;
}

static void circuit_learn(struct circuit *circuit, struct work *work, const struct ask *ask, enum outcome outcome)
{
    if (!circuit || ask->no_circuit)
        return;
    pthread_mutex_lock(&runtime.lock);
    if (outcome != RETRY || !runtime.stopping)      /* a request that we ended says nothing about the provider */
        circuit_note(circuit, work, outcome != RETRY, work->why.text);
    if (circuit->open && outcome == RETRY)
        work->behind = circuit;
    pthread_mutex_unlock(&runtime.lock);
}

static enum outcome ask_now(struct work *work, const struct ask *ask, const char *id, struct circuit *circuit, struct answer *ret,
                            int64_t *ret_took_us)
{
    *ret = (struct answer){ .body = TEXT("") };
    work->asking = id;
    work->asked = ask;
    work->uncertain = false;
    int64_t began = monotonic_us();
    FAULT_POINT("ask.sending");
    enum outcome outcome = ask->call(work, ask->request, ret);
    FAULT_POINT("ask.answered");
    *ret_took_us = monotonic_us() - began;
    work->asking = NULL;
    work->asked = NULL;
    if (outcome == DONE && (ret->body.bytes > ASK_ANSWER_BYTES_MAX || !text_is_utf8(ret->body)))
        outcome = reject(work, "the answer of %s is not UTF-8 of at most %d bytes", ask->provider, ASK_ANSWER_BYTES_MAX);
    metric_time(&metric_ask_time, *ret_took_us, ask->provider);
    metric_add(&metric_asks, 1, ask->provider, outcome == DONE ? "answered" : outcome == RETRY ? "retry" : "rejected");
    circuit_learn(circuit, work, ask, outcome);
    return outcome;
}

/* --- ASK_AGAIN -------------------------------------------------------------------------------------------------------------- */

static enum outcome recorded_answer(struct work *work, const char *name, const struct ask *ask, struct answer *ret, bool *ret_found)
{
    struct rows rows;
    *ret_found = false;
    TRY(work_query(work, &find_answer, &rows, work->event.id, runtime.stage->name, name, number(work, work->event.run)));
    if (rows.count == 0)
        return DONE;
    answer_from_row(&rows, ret);
    *ret = kept_add(work, name, row_get(&rows, 0, "ask_id"), ask, ret, 0, true)->answer;
    *ret_found = true;
    return DONE;
}

static enum outcome ask_again(struct work *work, const char *name, const struct ask *ask, const char *id, struct answer *ret)
{
    if (work->event.run > 0 && !work->event.ask_again && !ask->unrecorded) {
        bool found;
        TRY(recorded_answer(work, name, ask, ret, &found));
        if (found)
            return DONE;
    }
    struct circuit *circuit;
    if (!circuit_lets_through(work, ask->provider, &circuit))
        return RETRY;
    int64_t took_us;
    TRY(ask_now(work, ask, id, circuit, ret, &took_us));
    *ret = kept_add(work, name, id, ask, ret, took_us, false)->answer;
    return DONE;
}

/* --- ASK_ONCE --------------------------------------------------------------------------------------------------------------- */

struct once {
    const char *id;
    const char *attempt;                /* the lease's number */
    const char *lease;
    const char *content;                /* ask_content() */
    int64_t taken_us;                   /* monotonic, from before the row was written */
    const char *resend;
};

/* Writes how it ended.  An answer must not be lost: tried a few times here, then RETRY with the answer kept in memory. */
static enum outcome once_save(struct work *work, const struct once *once, const char *state, const struct answer *answer,
                              const char *error, int64_t took_us)
{
    struct rows rows;
    enum outcome outcome = RETRY;
    for (int i = 0; i < SAVE_TRIES && outcome == RETRY; i++) {
        if (i > 0) {
            struct timespec pause = { .tv_nsec = SAVE_PAUSE_MS * 1000000L };
            nanosleep(&pause, NULL);
        }
        outcome = work_query(work, &end_once, &rows, once->id, once->attempt, state, answer ? answer->body.at : NULL,
                             answer ? answer->provider_id : NULL, answer ? answer->model : NULL, error, number(work, took_us));
    }
    return outcome;
}

/* Kept in memory until it is written. */
static enum outcome once_answered(struct work *work, const char *name, const struct ask *ask, const struct once *once,
                                  struct answer *answer, int64_t took_us)
{
    answer->content = once->content;
    struct kept_answer *kept = kept_add(work, name, once->id, ask, answer, took_us, false);
    *answer = kept->answer;
    kept->attempt = arena_copy(work->keep, once->attempt);
    TRY(once_save(work, once, "answered", answer, NULL, took_us));
    kept->saved = true;
    return DONE;
}

/* The row is ours and says `sent`: ask, and write how it ended. */
static enum outcome once_call(struct work *work, const char *name, const struct ask *ask, const struct once *once,
                              struct circuit *circuit, struct answer *ret)
{
    FAULT_POINT("ask.leased");
    if (monotonic_us() - once->taken_us > LEASE_BEYOND_TIMEOUT_MS * 1000)       /* frozen meanwhile: another may have sent it */
        return retry(work, 0, "its lease was over before the request could leave");
    int64_t took_us;
    work->asking_content = once->content;
    enum outcome outcome = ask_now(work, ask, once->id, circuit, ret, &took_us);
    struct problem why = work->why;
    int64_t retry_ms = work->retry_ms;
    if (outcome == DONE)
        return once_answered(work, name, ask, once, ret, took_us);
    const char *state = !work->uncertain ? "refused" : ask->look_up ? "sent" : "uncertain";
    enum outcome saved = once_save(work, once, state, NULL, why.text, took_us);
    if (saved != DONE)
        log_warning("could not note how a request ended; its lease decides", LOG_TEXT("ask_id", once->id),
                    LOG_TEXT("why", work->why.text));
    work->why = why;
    work->retry_ms = retry_ms;
    return work->uncertain && !ask->look_up ? REJECT : outcome;
}

/* A request that was sent and whose end nobody wrote down: did it arrive? */
static enum outcome once_look_up(struct work *work, const char *name, const struct ask *ask, const struct once *once,
                                 struct circuit *circuit, struct answer *ret, bool *ret_found)
{
    *ret_found = false;
    if (!ask->look_up) {
        fail(&work->why, "it is not known whether %s acted on an earlier try, and it cannot be looked up", ask->provider);
        TRY(once_save(work, once, "uncertain", NULL, work->why.text, 0));
        return REJECT;
    }
    *ret = (struct answer){ .body = TEXT("") };
    work->asking = once->id;
    work->asking_content = once->content;
    work->asked = ask;
    enum outcome outcome = ask->look_up(work, ask->request, ret, ret_found);
    work->asking = NULL;
    work->asked = NULL;
    circuit_learn(circuit, work, ask, outcome);
    if (outcome != DONE || !*ret_found)
        return outcome;
    ret->recorded = true;
    return once_answered(work, name, ask, once, ret, 0);
}

static enum outcome once_send(struct work *work, const char *name, const struct ask *ask, const struct once *once, bool may_be_sent,
                              struct circuit *circuit, struct answer *ret)
{
    bool found = false;
    if (may_be_sent)
        TRY(once_look_up(work, name, ask, once, circuit, ret, &found));
    return found ? DONE : once_call(work, name, ask, once, circuit, ret);
}

/* A row of that purpose is there. */
static enum outcome once_go_on(struct work *work, const char *name, const struct ask *ask, const struct rows *rows, struct once *once,
                               struct circuit *circuit, struct answer *ret)
{
    const char *state = row_get(rows, 0, "state");
    once->id = row_get(rows, 0, "ask_id");
    if (strcmp(state, "answered") == 0) {
        answer_from_row(rows, ret);
        *ret = kept_add(work, name, once->id, ask, ret, 0, true)->answer;
        return DONE;
    }
    if (strcmp(state, "uncertain") == 0)
        return reject(work, "it is not known whether an earlier try succeeded: %s", row_get(rows, 0, "error"));
    bool was_sent = strcmp(state, "sent") == 0;
    if (was_sent && integer(rows, "lease_ms") > 0)
        return retry(work, integer(rows, "lease_ms"), "another try is under way");

    struct rows taken;
    once->taken_us = monotonic_us();
    TRY(work_query(work, &take_lease, &taken, once->id, row_get(rows, 0, "attempt"), once->lease, ask->content));
    if (taken.count == 0)
        return retry(work, 0, "another instance goes on with it");
    once->attempt = row_get(&taken, 0, "attempt");
    once->content = row_get(&taken, 0, "content");
    return once_send(work, name, ask, once, was_sent, circuit, ret);
}

static enum outcome ask_once(struct work *work, const char *name, const struct ask *ask, const char *id, struct answer *ret)
{
    struct circuit *circuit;
    struct once once = {
        .id = id, .attempt = "1", .lease = arena_printf(work->arena, "%lld ms", (long long)ask->timeout_ms + LEASE_BEYOND_TIMEOUT_MS),
        .content = ask->content, .resend = number(work, work->event.resend ? work->event.run : 0) };
    struct rows rows;
    char kafka_time[TIME_BYTES];
    TRY(work_query(work, &find_purpose, &rows, ask->recipient, ask->purpose, ask->subject, ask->version, once.resend));
    bool answered = rows.count > 0 && strcmp(row_get(&rows, 0, "state"), "answered") == 0;
    if (!circuit_lets_through(work, ask->provider, &circuit) && !answered)
        return RETRY;
    if (rows.count > 0)
        return once_go_on(work, name, ask, &rows, &once, circuit, ret);

    once.taken_us = monotonic_us();
    TRY(work_query(work, &begin_once, &rows, id, runtime.stage->name, work->event.id, number(work, work->event.run), name, ask->provider,
                   work->tenant, work->event.correlation_id, ask->recipient, ask->purpose, ask->subject, ask->version, once.resend,
                   ask->content, once.lease, work->event.time, time_print(work->kafka_us, kafka_time)));
    if (rows.count == 0)
        return retry(work, 0, "another instance began it");
    return once_send(work, name, ask, &once, strcmp(row_get(&rows, 0, "may_be_sent"), "t") == 0, circuit, ret);
}

/* --- both ------------------------------------------------------------------------------------------------------------------- */

/* An answer of an earlier run of this work.  One of ASK_ONCE that could not be written then is written now. */
static enum outcome kept_give(struct work *work, struct kept_answer *kept, struct answer *ret)
{
    if (!kept->saved && kept->kind == ASK_ONCE) {
        struct once once = { .id = kept->ask_id, .attempt = kept->attempt };
        TRY(once_save(work, &once, "answered", &kept->answer, NULL, kept->took_us));
        kept->saved = true;
    }
    *ret = kept->answer;
    ret->recorded = true;
    return DONE;
}

static enum outcome recall_or_ask(struct work *work, const char *name, const struct ask *ask, struct answer *ret)
{
    assert(ask->kind == ASK_AGAIN || (ask->recipient && ask->purpose && ask->subject && ask->version));
    if (work->try) {
        enum outcome outcome = probe_ask(work, name, ask, ret);
        ret->content = ret->content ? ret->content : ask->content;
        return outcome;
    }
    struct kept_answer *kept = kept_find(work, name);
    if (kept)
        return kept_give(work, kept, ret);
    FAULT_POINT("ask.before");
    char *id = arena_alloc(work->arena, UUID_BYTES);
    uuid_of(id, "ask", runtime.stage->name, work->event.id, number(work, work->event.run), name, NULL);
    enum outcome outcome = ask->kind == ASK_AGAIN ? ask_again(work, name, ask, id, ret) : ask_once(work, name, ask, id, ret);
    FAULT_POINT("ask.after");
    return outcome;
}

enum outcome ask(struct work *work, const char *name, const struct ask *ask, struct answer *ret)
{
    enum outcome outcome = recall_or_ask(work, name, ask, ret);
    if (outcome == DONE && !ret->provider)
        ret->provider = ask->provider;
    return outcome;
}
