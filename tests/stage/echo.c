/* echo.c: a stage that does what its events tell it: the subject of the runtime's tests and of the bench. */
#include "common/stage.h"

#include "events.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

static const struct statement insert_row = {
    .name = "insert_row",
    .text = "INSERT INTO echo_rows (subject, n, number, event_id, run) VALUES ($1, $2::bigint, $3::integer, $4::uuid, $5::integer)",
    .params = 5,
};
static const struct statement insert_wrong = {
    .name = "insert_wrong",
    .text = "INSERT INTO echo_counters (name, value) VALUES ($1, -1)",
    .params = 1,
};
static const struct statement find_counter = {
    .name = "find_counter",
    .text = "SELECT value FROM echo_counters WHERE name = $1",
    .params = 1,
};
static const struct statement insert_counter = {
    .name = "insert_counter",
    .text = "INSERT INTO echo_counters (name, value) VALUES ($1, 1)",
    .params = 1,
};
static const struct statement raise_counter = {
    .name = "raise_counter",
    .text = "UPDATE echo_counters SET value = value + 1 WHERE name = $1 AND value = $2::bigint",
    .params = 2,
    .must = 1,
};
static const struct statement find_due = {
    .name = "find_due",
    .text = "SELECT id, next_check_at, subject, NULL AS tenant, '{\"n\":0}' AS data FROM echo_due WHERE next_check_at <= now()",
};
static const struct statement move_due = {
    .name = "move_due",
    .text = "DELETE FROM echo_due WHERE subject = $1",
    .params = 1,
};

#define ASK_TIMEOUT_MS 5000

static enum outcome http(struct work *work, const char *method, const char *url, struct answer *ret)
{
    const struct http_request request = {
        .method = method, .url = url, .timeout_ms = ASK_TIMEOUT_MS, .answer_bytes_max = 65536,
        .body = method[0] == 'P' ? TEXT("{}") : (struct text){ NULL, 0 },
        .headers = (const char *const[]){ arena_printf(work_arena(work), "X-Ask-Id: %s", ask_id(work)), NULL } };
    struct http_reply reply;
    TRY(work_http(work, &request, &reply));
    *ret = (struct answer){ .body = reply.body.at ? reply.body : TEXT("") };
    return DONE;
}

static enum outcome get(struct work *work, void *url, struct answer *ret)
{
    return http(work, "GET", url, ret);
}

static enum outcome post(struct work *work, void *url, struct answer *ret)
{
    return http(work, "POST", url, ret);
}

static enum outcome look_up(struct work *work, void *url, struct answer *ret, bool *ret_found)
{
    TRY(http(work, "GET", url, ret));
    *ret_found = ret->body.bytes > 0;
    return DONE;
}

static enum outcome ask_as_told(struct work *work, const struct event *event, const struct echo_asked *asked, const char **ret)
{
    struct answer answer;
    *ret = NULL;
    if (asked->ask)
        TRY(ask(work, "get", &(struct ask){ .kind = ASK_AGAIN, .provider = "stub", .timeout_ms = ASK_TIMEOUT_MS, .call = get,
                                            .request = (void *)asked->ask }, &answer));
    else if (asked->once)
        TRY(ask(work, "post", &(struct ask){ .kind = ASK_ONCE, .provider = "stub", .recipient = event->subject, .purpose = "echo",
                                             .subject = event->id, .version = "1", .timeout_ms = ASK_TIMEOUT_MS, .call = post,
                                             .look_up = asked->at_most_once ? NULL : look_up,
                                             .request = (void *)asked->once }, &answer));
    else
        return DONE;
    *ret = arena_copy_text(work_arena(work), answer.body);
    return DONE;
}

static enum outcome count_as_told(struct work *work, const struct echo_asked *asked, int64_t *ret)
{
    struct rows rows;
    *ret = 0;
    if (!asked->counter)
        return DONE;
    TRY(work_query(work, &find_counter, &rows, asked->counter));
    *ret = rows.count > 0 ? atoll(row_get(&rows, 0, "value")) + 1 : 1;
    if (rows.count > 0)
        effect_row(work, &raise_counter, asked->counter, row_get(&rows, 0, "value"));
    else
        effect_row(work, &insert_counter, asked->counter);
    return DONE;
}

static void pause_ms(int64_t ms)
{
    struct timespec time = { .tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

static enum outcome misbehave(struct work *work, const struct echo_asked *asked)
{
    if (asked->crash)
        abort();
    if (asked->has_sleep_ms) {
        work_waits(work);
        pause_ms(asked->sleep_ms);
        work_goes_on(work);
    }
    if (asked->reject)
        return reject(work, "%s", asked->reject);
    if (asked->has_retries && (asked->retries < 0 || work_attempt(work) <= asked->retries))
        return retry(work, asked->has_retry_ms ? asked->retry_ms : 0, "told to");
    return DONE;
}

static enum outcome echo(struct work *work, const struct event *event)
{
    struct echo_asked asked;
    const char *answer;
    int64_t counter;
    TRY(work_read_data(work, event, echo_asked_read, &asked));
    TRY(misbehave(work, &asked));
    if (asked.skip)
        return skip(work, "told to");
    TRY(ask_as_told(work, event, &asked, &answer));
    TRY(count_as_told(work, &asked, &counter));
    const char *n = arena_printf(work_arena(work), "%lld", (long long)asked.n), *run = arena_printf(work_arena(work), "%d", work_run(work));
    for (int64_t i = 0; i < (asked.has_rows ? asked.rows : 1); i++)
        effect_row(work, &insert_row, event->subject, n, arena_printf(work_arena(work), "%lld", (long long)i), event->id, run);
    if (asked.n == 0)
        effect_row(work, &move_due, event->subject);
    if (asked.wrong)
        effect_row(work, &insert_wrong, event->id);
    if (!asked.silent)
        effect_event(work, &EVENT_ECHO_ANSWERED, event->subject, &(struct echo_answered){
            .n = asked.n, .attempt = work_attempt(work), .answer = answer, .has_counter = asked.counter != NULL, .counter = counter });
    return DONE;
}

int main(int argc, char **argv)
{
    static const struct setting no_settings[] = { { 0 } };
    static const struct route routes[] = { { .type = &EVENT_ECHO_ASKED, .handle = echo }, { 0 } };
    static const struct sweep sweeps[] = { { .name = "due", .every_ms = 200, .due = &find_due, .type = &EVENT_ECHO_ASKED }, { 0 } };
    return stage_main(argc, argv, &(struct stage){
        .name = "echo", .summary = "does what its events tell it", .settings = no_settings, .context = NULL, .routes = routes,
        .sweeps = sweeps });
}
