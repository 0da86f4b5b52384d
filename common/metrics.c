/* Series live in an open-addressed table that only grows: a reader finds its series with loads alone, and whoever adds
 * one does so under the lock and publishes it with a release store.  Nothing is ever removed, so no reader needs
 * protecting. */
#include "common/metrics.h"
#include "common/metrics_process.h"

#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define METRICS_ON_PRINT_MAX 32
#define SERIES_SLOTS         (2 * METRIC_SERIES_MAX) /* at most half full: probes stay short */

static const int64_t bounds_us[METRIC_BUCKETS - 1] = { 500,    1000,    2000,    4000,     8000,
                                                       16000,  32000,   64000,   128000,   256000,
                                                       512000, 1024000, 2048000, 10000000, 60000000 };
static const char *const bounds_seconds[METRIC_BUCKETS] = { "0.0005", "0.001", "0.002", "0.004", "0.008", "0.016",
                                                            "0.032",  "0.064", "0.128", "0.256", "0.512", "1.024",
                                                            "2.048",  "10",    "60",    "+Inf" };
static const char *const other_values[METRIC_LABELS_MAX] = { "other", "other", "other" };

struct series {
    struct series *next; /* in order of birth; under the lock */
    const char *values[METRIC_LABELS_MAX];
    uint64_t hash;
    _Atomic int64_t value;     /* a histogram's sum in microseconds */
    _Atomic int64_t buckets[]; /* METRIC_BUCKETS of them in a histogram, not cumulative */
};

struct metric_state {
    struct metric_state *next; /* by name; under the lock */
    const struct metric *metric;
    int label_count;
    size_t slot_count;            /* a power of two */
    struct series *first, **last; /* under the lock */
    int series_count;             /* under the lock */
    struct series *_Atomic other; /* set once the metric is full */
    struct series *_Atomic slots[];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct metric_state *states;
static struct {
    void (*function)(void *context);
    void *context;
} on_print[METRICS_ON_PRINT_MAX];
static size_t on_print_count;

static uint64_t hash_values(const char *const *values, int count)
{
    uint64_t hash = 14695981039346656037u; /* FNV-1a */
    for (int i = 0; i < count; i++) {
        for (const char *c = values[i]; *c; c++)
            hash = (hash ^ (uint8_t)*c) * 1099511628211u;
        hash = (hash ^ 0xff) * 1099511628211u;
    }
    return hash ^ hash >> 32;
}

static bool series_is(const struct series *series, uint64_t hash, const char *const *values, int count)
{
    if (series->hash != hash)
        return false;
    for (int i = 0; i < count; i++)
        if (strcmp(series->values[i], values[i]) != 0)
            return false;
    return true;
}

/* The series, or NULL with the empty slot it would go to. */
static struct series *series_find(struct metric_state *state, uint64_t hash, const char *const *values,
                                  size_t *ret_slot)
{
    for (size_t probe = 0; probe < state->slot_count; probe++) {
        size_t slot = (hash + probe) & (state->slot_count - 1);
        struct series *series = atomic_load_explicit(&state->slots[slot], memory_order_acquire);
        if (!series) {
            *ret_slot = slot;
            return NULL;
        }
        if (series_is(series, hash, values, state->label_count))
            return series;
    }
    assert(!"a metric's table is never full");
    return NULL;
}

/* Under the lock. */
static struct series *series_find_or_add(struct metric_state *state, const char *const *values)
{
    uint64_t hash = hash_values(values, state->label_count);
    size_t slot;
    struct series *series = series_find(state, hash, values, &slot);
    if (series)
        return series;
    size_t buckets = state->metric->kind == METRIC_HISTOGRAM_KIND ? METRIC_BUCKETS : 0;
    series = must_alloc(sizeof(*series) + buckets * sizeof(series->buckets[0]));
    series->hash = hash;
    for (int i = 0; i < state->label_count; i++)
        series->values[i] = must_copy(values[i]);
    *state->last = series;
    state->last = &series->next;
    state->series_count++;
    atomic_store_explicit(&state->slots[slot], series, memory_order_release);
    return series;
}

/* Adds the series, or, when it would be one too many, gives the one named "other" from now on. */
static struct series *series_add(struct metric_state *state, const char *const *values)
{
    pthread_mutex_lock(&lock);
    struct series *series;
    if (state->series_count < METRIC_SERIES_MAX - 1 || state->label_count == 0) {
        series = series_find_or_add(state, values);
    } else {
        series = series_find_or_add(state, other_values);
        atomic_store_explicit(&state->other, series, memory_order_release);
    }
    pthread_mutex_unlock(&lock);
    return series;
}

static bool name_is_good(const char *name)
{
    static const char starts[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
    static const char goes_on[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";
    return *name && strchr(starts, *name) && strspn(name, goes_on) == strlen(name);
}

static struct metric_state *state_new(const struct metric *metric)
{
    assert(name_is_good(metric->name));
    int label_count = 0;
    while (label_count < METRIC_LABELS_MAX && metric->labels[label_count]) {
        assert(name_is_good(metric->labels[label_count]));
        label_count++;
    }
    size_t slot_count = label_count ? SERIES_SLOTS : 1;
    struct metric_state *state = must_alloc(sizeof(*state) + slot_count * sizeof(state->slots[0]));
    state->metric = metric;
    state->label_count = label_count;
    state->slot_count = slot_count;
    state->last = &state->first;
    return state;
}

static struct metric_state *state_of(struct metric *metric)
{
    struct metric_state *state = __atomic_load_n(&metric->state, __ATOMIC_ACQUIRE);
    if (state)
        return state;
    pthread_mutex_lock(&lock);
    state = metric->state;
    if (!state) {
        state = state_new(metric);
        struct metric_state **at = &states;
        while (*at && strcmp((*at)->metric->name, metric->name) < 0)
            at = &(*at)->next;
        /* two metrics of one name could not be told apart */
        assert(!*at || strcmp((*at)->metric->name, metric->name) != 0);
        state->next = *at;
        *at = state;
        if (state->label_count == 0)
            series_find_or_add(state, NULL);
        __atomic_store_n(&metric->state, state, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&lock);
    return state;
}

static struct series *series_of(struct metric *metric, const char *const *given)
{
    struct metric_state *state = state_of(metric);
    const char *values[METRIC_LABELS_MAX];
    for (int i = 0; i < state->label_count; i++) {
        values[i] = given[i] ? given[i] : "";
        if (strnlen(values[i], METRIC_VALUE_BYTES_MAX + 1) > METRIC_VALUE_BYTES_MAX)
            values[i] = "other";
    }
    size_t slot;
    struct series *series = series_find(state, hash_values(values, state->label_count), values, &slot);
    if (!series)
        series = atomic_load_explicit(&state->other, memory_order_acquire);
    return series ? series : series_add(state, values);
}

void metric_register(struct metric *metric)
{
    state_of(metric);
}

void metric_add_values(struct metric *metric, int64_t amount, const char *const values[METRIC_LABELS_MAX])
{
    assert(metric->kind == METRIC_GAUGE_KIND || (metric->kind == METRIC_COUNTER_KIND && amount >= 0));
    atomic_fetch_add_explicit(&series_of(metric, values)->value, amount, memory_order_relaxed);
}

void metric_set_values(struct metric *metric, int64_t value, const char *const values[METRIC_LABELS_MAX])
{
    assert(metric->kind != METRIC_HISTOGRAM_KIND);
    atomic_store_explicit(&series_of(metric, values)->value, value, memory_order_relaxed);
}

void metric_time_values(struct metric *metric, int64_t took_us, const char *const values[METRIC_LABELS_MAX])
{
    assert(metric->kind == METRIC_HISTOGRAM_KIND);
    if (took_us < 0)
        took_us = 0;
    size_t bucket = 0;
    while (bucket < METRIC_BUCKETS - 1 && took_us > bounds_us[bucket])
        bucket++;
    struct series *series = series_of(metric, values);
    atomic_fetch_add_explicit(&series->buckets[bucket], 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&series->value, took_us, memory_order_relaxed);
}

void metrics_on_print(void (*function)(void *context), void *context)
{
    pthread_mutex_lock(&lock);
    assert(on_print_count < METRICS_ON_PRINT_MAX);
    on_print[on_print_count].function = function;
    on_print[on_print_count].context = context;
    on_print_count++;
    pthread_mutex_unlock(&lock);
}

/* A value that came from outside may be anything; the format wants UTF-8 (prometheus.io, exposition formats). */
static void print_value(const char *value, struct buf *out)
{
    bool utf8 = text_is_utf8(text_of(value));
    for (const char *c = value; *c; c++) {
        if (*c == '\n')
            buf_add_string(out, "\\n");
        else if (*c == '"' || *c == '\\')
            buf_printf(out, "\\%c", *c);
        else
            buf_add_char(out, !utf8 && (uint8_t)*c >= 0x80 ? '?' : *c);
    }
}

static void print_labels(const struct metric_state *state, const struct series *series, const char *le, struct buf *out)
{
    if (state->label_count == 0 && !le)
        return;
    char before = '{';
    for (int i = 0; i < state->label_count; i++) {
        buf_printf(out, "%c%s=\"", before, state->metric->labels[i]);
        print_value(series->values[i], out);
        buf_add_char(out, '"');
        before = ',';
    }
    if (le)
        buf_printf(out, "%cle=\"%s\"", before, le);
    buf_add_char(out, '}');
}

static void print_histogram(const struct metric_state *state, const struct series *series, struct buf *out)
{
    const char *name = state->metric->name;
    long long count = 0;
    for (size_t i = 0; i < METRIC_BUCKETS; i++) {
        count += atomic_load_explicit(&series->buckets[i], memory_order_relaxed);
        buf_printf(out, "switchboard_%s_bucket", name);
        print_labels(state, series, bounds_seconds[i], out);
        buf_printf(out, " %lld\n", count);
    }
    long long sum_us = atomic_load_explicit(&series->value, memory_order_relaxed);
    buf_printf(out, "switchboard_%s_sum", name);
    print_labels(state, series, NULL, out);
    buf_printf(out, " %lld.%06lld\nswitchboard_%s_count", sum_us / 1000000, sum_us % 1000000, name);
    print_labels(state, series, NULL, out);
    buf_printf(out, " %lld\n", count);
}

static void print_state(const struct metric_state *state, struct buf *out)
{
    static const char *const kinds[] = {
        [METRIC_COUNTER_KIND] = "counter", [METRIC_GAUGE_KIND] = "gauge", [METRIC_HISTOGRAM_KIND] = "histogram"
    };
    const struct metric *metric = state->metric;
    buf_printf(out, "# HELP switchboard_%s %s\n# TYPE switchboard_%s %s\n", metric->name, metric->help, metric->name,
               kinds[metric->kind]);
    for (const struct series *series = state->first; series; series = series->next) {
        if (metric->kind == METRIC_HISTOGRAM_KIND) {
            print_histogram(state, series, out);
            continue;
        }
        buf_printf(out, "switchboard_%s", metric->name);
        print_labels(state, series, NULL, out);
        buf_printf(out, " %lld\n", (long long)atomic_load_explicit(&series->value, memory_order_relaxed));
    }
}

void metrics_print(struct buf *out)
{
    pthread_mutex_lock(&lock);
    size_t functions = on_print_count;
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < functions; i++) /* they set gauges, which may take the lock */
        on_print[i].function(on_print[i].context);

    pthread_mutex_lock(&lock);
    for (const struct metric_state *state = states; state; state = state->next)
        print_state(state, out);
    pthread_mutex_unlock(&lock);
    metrics_print_process(out);
}
