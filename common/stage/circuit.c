/* circuit.c: a provider that fails for everyone.
 *
 * CIRCUIT_FAILURES transient failures in a row, of at least CIRCUIT_KEYS conversations, open its circuit: the stage stops polling, works
 * that need it wait here, and one of them tries now and then.  The first success closes it.  Time spent here counts for no limit. */
#include "common/log.h"
#include "common/stage/runtime.h"

#include <string.h>

static struct metric metric_circuit = METRIC_GAUGE("circuit_open", "1 while a provider is not asked because it failed for everyone", "provider");

struct circuit *circuit_find(const char *provider)
{
    for (int i = 0; i < runtime.circuit_count; i++)
        if (strcmp(runtime.circuits[i].provider, provider) == 0)
            return &runtime.circuits[i];
    if (runtime.circuit_count == CIRCUITS_MAX)
        return NULL;            /* more providers than anybody has: those beyond have no circuit */
    struct circuit *circuit = &runtime.circuits[runtime.circuit_count++];
    circuit->provider = must_copy(provider);
    return circuit;
}

void circuit_open_now(struct circuit *circuit, const char *why)
{
    if (circuit->open)
        return;
    circuit->open = true;
    circuit->probing = false;
    circuit->opened_us = monotonic_us();
    circuit->probe_ms = CIRCUIT_PROBE_MS;
    circuit->next_probe_us = circuit->opened_us + circuit->probe_ms * 1000;
    snprintf(circuit->why, sizeof(circuit->why), "%s", why);
    runtime.circuits_open++;
    metric_set(&metric_circuit, 1, circuit->provider);
    log_error("provider fails for everyone; it is probed, everything else waits", LOG_TEXT("provider", circuit->provider),
              LOG_TEXT("why", why));
    pthread_cond_signal(&runtime.clock_changed);
}

static void circuit_close(struct circuit *circuit)
{
    int64_t open_us = monotonic_us() - circuit->opened_us;
    circuit->open = circuit->probing = false;
    runtime.circuits_open--;
    metric_set(&metric_circuit, 0, circuit->provider);
    log_info("provider answers again", LOG_TEXT("provider", circuit->provider), LOG_INT("open_ms", open_us / 1000),
             LOG_INT("waiting", circuit->waiting.count));
    for (struct work *work; (work = list_pop(&circuit->waiting));) {
        work->first_us += monotonic_us() - (work->due_us > circuit->opened_us ? work->due_us : circuit->opened_us);
        work->due_us = 0;
        make_ready(work);
    }
    pthread_cond_signal(&runtime.arrived);
}

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
        if (circuit->open)
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
        if (!circuit->open || circuit->probing)
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
