/* metrics.h: counters, gauges and histograms, declared with their help, printed as Prometheus text (format 0.0.4).
 *
 *     static struct metric webhooks = METRIC_COUNTER("ingest_webhooks_total", "webhooks by route and answer", "route", "status");
 *     metric_add(&webhooks, 1, "callrail", "202");
 *
 * A metric is static, registers itself on first use or by metric_register() (so that it shows as 0 before), and holds at
 * most METRIC_SERIES_MAX label combinations; what would be more is counted under the label value "other".
 * Threads: any.  Adding to a known series takes no lock. */
#pragma once

#include "common/buf.h"

#define METRIC_LABELS_MAX 3
#define METRIC_SERIES_MAX 256
#define METRIC_BUCKETS 16       /* 0.5 ms doubling to 2.048 s, then 10, 60 s and infinity: see metrics.c */
#define METRIC_VALUE_BYTES_MAX 128      /* a longer label value counts as "other" */

enum metric_kind { METRIC_COUNTER_KIND, METRIC_GAUGE_KIND, METRIC_HISTOGRAM_KIND };

struct metric {
    const char *name;           /* without the "switchboard_" that is put before it */
    const char *help;
    enum metric_kind kind;
    const char *labels[METRIC_LABELS_MAX];
    struct metric_state *state; /* set at registration */
};
#define METRIC_COUNTER(name_, help_, ...)   { .name = (name_), .help = (help_), .kind = METRIC_COUNTER_KIND, .labels = { __VA_ARGS__ } }
#define METRIC_GAUGE(name_, help_, ...)     { .name = (name_), .help = (help_), .kind = METRIC_GAUGE_KIND, .labels = { __VA_ARGS__ } }
#define METRIC_HISTOGRAM(name_, help_, ...) { .name = (name_), .help = (help_), .kind = METRIC_HISTOGRAM_KIND, .labels = { __VA_ARGS__ } }

void metric_register(struct metric *metric);
/* Label values follow, as many as declared. */
#define metric_add(metric, amount, ...) metric_add_values((metric), (amount), (const char *const[METRIC_LABELS_MAX]){ __VA_ARGS__ })
#define metric_set(metric, value, ...)  metric_set_values((metric), (value), (const char *const[METRIC_LABELS_MAX]){ __VA_ARGS__ })
#define metric_time(metric, took_us, ...) metric_time_values((metric), (took_us), (const char *const[METRIC_LABELS_MAX]){ __VA_ARGS__ })
void metric_add_values(struct metric *metric, int64_t amount, const char *const values[METRIC_LABELS_MAX]);
void metric_set_values(struct metric *metric, int64_t value, const char *const values[METRIC_LABELS_MAX]);
void metric_time_values(struct metric *metric, int64_t took_us, const char *const values[METRIC_LABELS_MAX]);
/* A function called before each printing, to set gauges that are cheap to read then. */
void metrics_on_print(void (*function)(void *context), void *context);
/* All registered metrics by name, then process_* (memory, CPU, open files, start time). */
void metrics_print(struct buf *out);
