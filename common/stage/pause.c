/* pause.c: what operators have paused (`sb pause`), from the table to the circuits that hold it. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <string.h>

#define ARENA_BYTES_MAX (1024 * 1024)

static const struct statement read_pauses = {
    .name = "runtime_read_pauses",
    .text =
        "SELECT kind, name, 'is paused by ' || by || CASE why WHEN '' THEN '' ELSE ': ' || why END AS why FROM pauses"
        " WHERE kind <> 'stage' OR name = $1",
    .params = 1,
};

static enum circuit_kind kind_of(const char *name)
{
    return strcmp(name, "stage") == 0 ? CIRCUIT_STAGE : strcmp(name, "tenant") == 0 ? CIRCUIT_TENANT : CIRCUIT_PROVIDER;
}

/* Lock held. */
static void hold_and_release(const struct rows *rows)
{
    for (int i = 0; i < runtime.circuit_count; i++)
        runtime.circuits[i].held_still = false;
    for (int i = 0; i < rows->count; i++) {
        struct circuit *circuit = circuit_find(kind_of(row_get(rows, i, "kind")), row_get(rows, i, "name"));
        if (!circuit) {
            log_error("it cannot be paused: there are too many circuits", LOG_TEXT("name", row_get(rows, i, "name")));
            continue;
        }
        circuit_hold(circuit, row_get(rows, i, "why"));
        circuit->held_still = true;
    }
    for (int i = 0; i < runtime.circuit_count; i++)
        if (runtime.circuits[i].held && !runtime.circuits[i].held_still)
            circuit_release(&runtime.circuits[i]);
}

bool pauses_read(struct problem *why)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct rows rows;
    bool done = pg_query(runtime.pool, &read_pauses, PARAMS(runtime.stage->name), arena, &rows, why) == PG_FINE;
    pthread_mutex_lock(&runtime.lock);
    if (done)
        hold_and_release(&rows);
    pthread_mutex_unlock(&runtime.lock);
    arena_free(arena);
    return done;
}
