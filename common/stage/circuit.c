/* circuit.c: "not now": a provider that fails for everyone, and what an operator has paused.
 *
 * CIRCUIT_FAILURES transient failures in a row, of at least CIRCUIT_KEYS conversations, open a provider's circuit: the
 * stage stops polling, works that need it wait here, and one of them tries now and then.  The first success closes it.
 *
 * An operator holds a circuit open, without probes: of the stage (nothing is begun), of a provider (works that need it
 * wait), of a tenant (its works are parked before their handler runs, or before it asks anybody, and the others go on).
 *
 * Time spent here counts for no limit. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <stdlib.h>
#include <string.h>

static struct metric metric_circuit = METRIC_GAUGE("circuit_open", "1 while a provider is not asked because it failed for everyone", "provider");
static struct metric metric_paused = METRIC_GAUGE("paused", "1 while an operator has paused it", "kind", "what");
const char *const circuit_kinds[] = {
    [CIRCUIT_PROVIDER] = "provider", [CIRCUIT_STAGE] = "stage", [CIRCUIT_TENANT] = "tenant" };

struct circuit *circuit_find(enum circuit_kind kind, const char *name)
{
    struct circuit *unused = NULL;
    for (int i = 0; i < runtime.circuit_count; i++) {
        struct circuit *circuit = &runtime.circuits[i];
        if (circuit->kind == kind && strcmp(circuit->name, name) == 0)
            return circuit;
        if (circuit->kind != CIRCUIT_PROVIDER && !circuit->open)
            unused = circuit;
    }
    if (!unused && runtime.circuit_count == CIRCUITS_MAX)
        return NULL;            /* more providers than anybody has: those beyond have no circuit */
    if (unused)
        free((char *)unused->name);
    struct circuit *circuit = unused ? unused : &runtime.circuits[runtime.circuit_count++];
    *circuit = (struct circuit){ .kind = kind, .name = must_copy(name) };
    return circuit;
}

static void begin(struct circuit *circuit, const char *why)
{
    if (!circuit->open)
        circuit->opened_us = monotonic_us();
    circuit->open = true;
    snprintf(circuit->why, sizeof(circuit->why), "%s", why);
}

static void stop(struct circuit *circuit)
{
    runtime.circuits_stopping += !circuit->stops;
    circuit->stops = true;
}

void circuit_open_now(struct circuit *circuit, const char *why)
{
    if (circuit->open)
        return;
    begin(circuit, why);
    stop(circuit);
    circuit->probing = false;
    circuit->probe_ms = CIRCUIT_PROBE_MS;
    circuit->next_probe_us = circuit->opened_us + circuit->probe_ms * 1000;
    metric_set(&metric_circuit, 1, circuit->name);
    log_error("provider fails for everyone; it is probed, everything else waits", LOG_TEXT("provider", circuit->name),
              LOG_TEXT("why", why));
    pthread_cond_signal(&runtime.clock_changed);
}

static void circuit_close(struct circuit *circuit)
{
    int64_t open_us = monotonic_us() - circuit->opened_us;
    runtime.circuits_stopping -= circuit->stops;
    circuit->open = circuit->stops = circuit->probing = false;
    circuit->failures = circuit->failing_key_count = 0;
    if (circuit->kind == CIRCUIT_PROVIDER)
        metric_set(&metric_circuit, 0, circuit->name);
    log_info("what waited goes on", LOG_TEXT(circuit_kinds[circuit->kind], circuit->name),
             LOG_INT("open_ms", open_us / 1000), LOG_INT("waiting", circuit->waiting.count));
    for (struct work *work; (work = list_pop(&circuit->waiting));) {
        work->first_us += monotonic_us() - (work->due_us > circuit->opened_us ? work->due_us : circuit->opened_us);
        work->due_us = 0;
        make_ready(work);
    }
    pthread_cond_signal(&runtime.arrived);
}

void circuit_wait(struct work *work)
{
    struct circuit *circuit = work->behind;
    circuit_probe_end(work);
    if (circuit->kind == CIRCUIT_TENANT) {
        park(work, 0);
        return;
    }
    stop(circuit);              /* of a paused provider: only now, since other stages have no need of it */
    work->state = WORK_WAITING;
    work->due_us = monotonic_us();      /* since when it waits there */
    list_push(&circuit->waiting, work);
}

/* --- by an operator's hand ------------------------------------------------------------------------------------- */

void circuit_hold(struct circuit *circuit, const char *why)
{
    if (!circuit->held)
        log_warning("paused by an operator", LOG_TEXT(circuit_kinds[circuit->kind], circuit->name),
                    LOG_TEXT("why", why));
    runtime.circuits_held += !circuit->held;
    circuit->held = true;
    begin(circuit, why);
    if (circuit->kind == CIRCUIT_STAGE)
        stop(circuit);
    metric_set(&metric_paused, 1, circuit_kinds[circuit->kind], circuit->name);
}

void circuit_release(struct circuit *circuit)
{
    circuit->held = false;
    runtime.circuits_held--;
    metric_set(&metric_paused, 0, circuit_kinds[circuit->kind], circuit->name);
    circuit_close(circuit);     /* if the provider fails, that will show */
}

bool circuit_holds(struct work *work, const char *tenant)
{
    if (runtime.circuits_held == 0 || work->try)
        return false;
    for (int i = 0; i < runtime.circuit_count; i++) {
        struct circuit *circuit = &runtime.circuits[i];
        bool ours = circuit->kind == CIRCUIT_TENANT && tenant && strcmp(circuit->name, tenant) == 0;
        if (circuit->held && (ours || circuit->kind == CIRCUIT_STAGE)) {
            work->behind = circuit;
            fail(&work->why, "the %s %s %.300s", circuit_kinds[circuit->kind], circuit->name, circuit->why);
            return true;
        }
    }
    return false;
}

/* --- by failures, and by probes -------------------------------------------------------------------------------- */

static void note_failure(struct circuit *circuit, const struct work *work, const char *why)
{
    circuit->failures++;
    int known = 0;
    while (known < circuit->failing_key_count && circuit->failing_keys[known] != work->key->hash)
        known++;
    if (known == circuit->failing_key_count && known < CIRCUIT_KEYS)
        circuit->failing_keys[circuit->failing_key_count++] = work->key->hash;
    if (circuit->failures >= CIRCUIT_FAILURES && circuit->failing_key_count >= CIRCUIT_KEYS)
        circuit_open_now(circuit, why);
}

void circuit_note(struct circuit *circuit, struct work *work, bool success, const char *why)
{
    if (success) {
        circuit->failures = circuit->failing_key_count = 0;
        if (circuit->open && !circuit->held)
            circuit_close(circuit);
    } else if (!circuit->open) {
        note_failure(circuit, work, why);
    } else if (work->probe == circuit) {
        circuit->probing = false;
        circuit->probe_ms = circuit->probe_ms * 2 < CIRCUIT_PROBE_MS_MAX ? circuit->probe_ms * 2 : CIRCUIT_PROBE_MS_MAX;
        circuit->next_probe_us = monotonic_us() + circuit->probe_ms * 1000;
    }
    if (work->probe == circuit)
        work->probe = NULL;
}

/* A probe that had nobody to ask tells nothing of the provider: the next one tries. */
void circuit_probe_end(struct work *work)
{
    if (work->probe)
        work->probe->probing = false;
    work->probe = NULL;
}

void circuit_probe_due(int64_t now, int64_t *next_us)
{
    for (int i = 0; i < runtime.circuit_count; i++) {
        struct circuit *circuit = &runtime.circuits[i];
        if (!circuit->open || circuit->held || circuit->probing)
            continue;
        if (circuit->next_probe_us <= now && circuit->waiting.first) {
            struct work *work = list_pop(&circuit->waiting);
            circuit->probing = true;
            work->probe = circuit;
            work->first_us += now - (work->due_us > circuit->opened_us ? work->due_us : circuit->opened_us);
            make_ready(work);
        } else if (circuit->next_probe_us <= now) {
            circuit_close(circuit);         /* nobody waits for it: the next one to need it finds out */
        } else if (circuit->next_probe_us < *next_us) {
            *next_us = circuit->next_probe_us;
        }
    }
}
