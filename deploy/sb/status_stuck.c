/* status_stuck.c: what does not go on by itself, or not now, and why: the worst first. */
#include <stdio.h>
#include <string.h>

#include "deploy/sb/status.h"
#include "deploy/sb/terminal.h"

#define LAG_US         (INT64_C(60) * 1000000) /* what waits for longer is told, though somebody is at it */
#define NO_INSTANCE_US (INT64_C(10) * 1000000) /* a start, or a change of instances, takes less */
#define STUCK_TEXT     "1000"
_Static_assert(STUCK_MAX == 1000, "STUCK_TEXT is its text");

static void add(struct status *status, struct stuck stuck)
{
    *status->stuck_end = arena_alloc(status->arena, sizeof(stuck));
    **status->stuck_end = stuck;
    status->stuck_end = &(*status->stuck_end)->next;
}

/* A stage that does not keep up, and the reason. */
static void find_lag(struct status *status, const struct stage_line *stage)
{
    int64_t waiting_us = stage->lag.oldest_us ? now_us() - stage->lag.oldest_us : 0;
    char age[AGE_BYTES];

    if (!stage->lag_known || stage->lag.events == 0 || stage->instances == NOT_KNOWN)
        return;
    if (waiting_us < (stage->instances == 0 ? NO_INSTANCE_US : LAG_US))
        return;
    const char *why = holdup_sentence(&status->instances, &status->circuits, stage->name, status->arena);
    add(status, (struct stuck){ .what = "lag",
                                .stage = stage->name,
                                .sentence = arena_printf(status->arena, "%lld %s, the oldest for %s: %s",
                                                         (long long)stage->lag.events,
                                                         plural(stage->lag.events, "event waits", "events wait"),
                                                         age_print(waiting_us, age), why ? why : "it is at work") });
}

static void find_spooled(struct status *status, int row)
{
    const struct rows *rows = &status->instances;
    long long messages = (long long)row_integer(rows, row, "spool_messages"),
              aside = (long long)row_integer(rows, row, "spool_aside");
    const char *live = *row_get(rows, row, "live") == 't' ? "" : ", and it is not live";
    char age[AGE_BYTES];

    if (messages + aside == 0)
        return;
    const char *age_of = row_get(rows, row, "spool_since_us")
                             ? age_print(now_us() - row_integer(rows, row, "spool_since_us"), age)
                             : "some time";
    const char *sentence = arena_printf(
        status->arena, "the spool of %s holds %lld %s for %s%s%s", row_get(rows, row, "instance"), messages,
        plural(messages, "message", "messages"), age_of,
        aside ? arena_printf(status->arena, " and %lld that Kafka refused", aside) : "", live);
    add(status, (struct stuck){ .what = "spool",
                                .stage = row_get(rows, row, "stage"),
                                .sentence = sentence,
                                .about = row_get(rows, row, "json") });
}

/* A kind of thing that is a row each. */
struct kind {
    const char *what;
    const struct statement *statement;
    struct params params;
    const char *(*sentence)(const struct rows *rows, int row, struct arena *arena);
};

/* A provider may fail for one instance alone; a pause is held by all of them, and told once, of no stage. */
static void add_circuits(struct status *status, bool paused)
{
    const struct rows *rows = &status->circuits;

    for (int row = 0; row < rows->count; row++) {
        bool told = (*row_get(rows, row, "paused") == 't') != paused;
        for (int before = 0; paused && !told && before < row; before++)
            told = *row_get(rows, before, "paused") == 't' &&
                   strcmp(row_get(rows, before, "name"), row_get(rows, row, "name")) == 0;
        if (!told)
            add(status, (struct stuck){ .what = paused ? "pause" : "circuit",
                                        .stage = paused ? NULL : row_get(rows, row, "stage"),
                                        .sentence = circuit_sentence(rows, row, status->arena),
                                        .about = row_get(rows, row, "json") });
    }
}

static void add_rows(struct status *status, const struct kind *kind, const struct rows *rows)
{
    for (int row = 0; row < rows->count; row++)
        add(status, (struct stuck){ .what = kind->what,
                                    .stage = row_get(rows, row, "stage"),
                                    .key = row_get(rows, row, "key"),
                                    .sentence = kind->sentence(rows, row, status->arena),
                                    .about = row_get(rows, row, "json") });
}

void status_find_stuck(struct status *status)
{
    const struct kind kinds[] = {
        { "work", &standing_stuck_works, PARAMS(STUCK_TEXT), work_sentence },
        { "parked", &standing_parked, PARAMS(NULL, STUCK_TEXT), parked_sentence },
        { "ask", &standing_asks, PARAMS(NULL, STUCK_TEXT), ask_sentence },
        { "job", &standing_jobs, PARAMS(NULL, STUCK_TEXT), job_sentence },
    };
    struct rows rows;

    status->stuck_end = &status->stuck;
    add_circuits(status, false);
    add_circuits(status, true);
    for (size_t i = 0; i < status->stage_count; i++)
        find_lag(status, &status->stages[i]);
    for (int row = 0; row < status->instances.count; row++)
        if (row_get(&status->instances, row, "spool_messages"))
            find_spooled(status, row);
    for (size_t i = 0; i < LENGTH(kinds) && status->postgres.text[0] == '\0'; i++)
        if (pg_query(status->pool, kinds[i].statement, kinds[i].params, status->arena, &rows, &status->postgres) ==
            PG_FINE)
            add_rows(status, &kinds[i], &rows);
}
