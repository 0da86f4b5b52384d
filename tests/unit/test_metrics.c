/* The text a scraper gets, the limits, and adding from many threads at once. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/metrics.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has a macro named fail */

#define PRINT_BYTES_MAX (4 * 1024 * 1024)
#define THREADS         4
#define ROUNDS          20000

static struct metric plain = METRIC_COUNTER("test_plain_total", "a counter without labels");
static struct metric answers = METRIC_COUNTER("test_answers_total", "answers by route and status", "route", "status");
static struct metric open_now = METRIC_GAUGE("test_open", "open now");
static struct metric took = METRIC_HISTOGRAM("test_took_seconds", "time taken", "what");
static struct metric strange = METRIC_COUNTER("test_strange_total", "strange values", "value");
static struct metric many = METRIC_COUNTER("test_many_total", "too many combinations", "id", "kind");
static struct metric crowd = METRIC_COUNTER("test_crowd_total", "from many threads", "id");
static struct metric crowd_took = METRIC_HISTOGRAM("test_crowd_seconds", "from many threads");
static struct metric seen = METRIC_GAUGE("test_seen", "set when printing");
static struct metric unused = METRIC_COUNTER("test_unused_total", "registered, never added to", "why");

static char *print(void)
{
    struct buf out;
    buf_init(&out, PRINT_BYTES_MAX);
    metrics_print(&out);
    assert_false(out.overflowed);
    char *copy = must_copy(out.at);
    buf_done(&out);
    return copy;
}

static void assert_prints(const char *wanted)
{
    char *text = print();
    if (!strstr(text, wanted))
        fail_msg("missing: %s\nin:\n%s", wanted, text);
    free(text);
}

/* The number after `series`, which must stand at the beginning of a line. */
static double number_of(const char *series)
{
    char *text = print(), line[256];
    snprintf(line, sizeof(line), "\n%s ", series);
    const char *at = strstr(text, line);
    if (!at)
        fail_msg("missing: %s\nin:\n%s", series, text);
    double number = atof(at + strlen(line));
    free(text);
    return number;
}

static void shows_a_registered_metric_as_zero(void **state)
{
    (void)state;
    metric_register(&plain);
    metric_register(&plain);
    metric_register(&unused);
    assert_prints("# HELP switchboard_test_plain_total a counter without labels\n"
                  "# TYPE switchboard_test_plain_total counter\n"
                  "switchboard_test_plain_total 0\n");
    assert_prints("# TYPE switchboard_test_unused_total counter\n");
}

static void counts_by_labels(void **state)
{
    (void)state;
    metric_add(&plain, 2);
    metric_add(&plain, 3);
    assert_prints("\nswitchboard_test_plain_total 5\n");
    metric_add(&answers, 1, "callrail", "202");
    metric_add(&answers, 1, "callrail", "401");
    metric_add(&answers, 1, "callrail", "202");
    metric_add(&answers, 1, "callrail");
    assert_prints("switchboard_test_answers_total{route=\"callrail\",status=\"202\"} 2\n"
                  "switchboard_test_answers_total{route=\"callrail\",status=\"401\"} 1\n"
                  "switchboard_test_answers_total{route=\"callrail\",status=\"\"} 1\n");
}

static void sets_a_gauge(void **state)
{
    (void)state;
    metric_set(&open_now, 7);
    metric_add(&open_now, -2);
    assert_prints("# TYPE switchboard_test_open gauge\nswitchboard_test_open 5\n");
    metric_set(&open_now, -1);
    assert_prints("\nswitchboard_test_open -1\n");
}

static void sorts_times_into_buckets(void **state)
{
    (void)state;
    static const int64_t times_us[] = { -5, 0, 500, 501, 2048000, 2048001, 60000000, 60000001 };
    for (size_t i = 0; i < LENGTH(times_us); i++)
        metric_time(&took, times_us[i], "x");
    assert_prints("# TYPE switchboard_test_took_seconds histogram\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"0.0005\"} 3\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"0.001\"} 4\n");
    assert_prints("switchboard_test_took_seconds_bucket{what=\"x\",le=\"1.024\"} 4\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"2.048\"} 5\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"10\"} 6\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"60\"} 7\n"
                  "switchboard_test_took_seconds_bucket{what=\"x\",le=\"+Inf\"} 8\n"
                  "switchboard_test_took_seconds_sum{what=\"x\"} 124.097003\n"
                  "switchboard_test_took_seconds_count{what=\"x\"} 8\n");
}

static void escapes_label_values(void **state)
{
    (void)state;
    char longer[METRIC_VALUE_BYTES_MAX + 2];
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = 0;
    metric_add(&strange, 1, "quote \" slash \\ line \n end");
    metric_add(&strange, 1, "grüße");
    metric_add(&strange, 1, "broken \xff");
    metric_add(&strange, 1, longer);
    metric_add(&strange, 1, longer + 1);
    assert_prints("{value=\"quote \\\" slash \\\\ line \\n end\"} 1\n");
    assert_prints("{value=\"grüße\"} 1\n");
    assert_prints("{value=\"broken ?\"} 1\n");
    assert_prints("{value=\"other\"} 1\n");
    assert_prints("aaa\"} 1\n");
}

static void counts_too_many_as_other(void **state)
{
    (void)state;
    char id[32];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < METRIC_SERIES_MAX + 44; i++) {
            snprintf(id, sizeof(id), "%d", i);
            metric_add(&many, 1, id, "x");
        }
    assert_true(number_of("switchboard_test_many_total{id=\"254\",kind=\"x\"}") == 2);
    assert_true(number_of("switchboard_test_many_total{id=\"other\",kind=\"other\"}") == 2 * 45);
    char *text = print();
    int series = 0;
    for (const char *at = text; (at = strstr(at, "\nswitchboard_test_many_total{")); at++)
        series++;
    assert_int_equal(series, METRIC_SERIES_MAX);
    free(text);
}

static void set_seen(void *context)
{
    metric_set(&seen, *(const int *)context);
}

static void calls_back_before_printing(void **state)
{
    (void)state;
    static int number = 42;
    metrics_on_print(set_seen, &number);
    assert_prints("\nswitchboard_test_seen 42\n");
    number = 43;
    assert_prints("\nswitchboard_test_seen 43\n");
}

static void prints_names_in_order_and_once(void **state)
{
    (void)state;
    metric_register(&many);
    metric_register(&answers);
    char *text = print();
    const char *first = strstr(text, "# HELP switchboard_test_answers_total");
    const char *second = strstr(text, "# HELP switchboard_test_many_total");
    assert_non_null(first);
    assert_non_null(second);
    assert_true(first < second);
    assert_null(strstr(second + 1, "# HELP switchboard_test_many_total"));
    free(text);
}

static void tells_of_the_process(void **state)
{
    (void)state;
    assert_true(number_of("process_resident_memory_bytes") > 100000);
    assert_true(number_of("process_cpu_seconds_total") > 0);
    assert_true(number_of("process_cpu_seconds_total") < 600);
    double now = (double)now_us() / 1e6;
    assert_true(number_of("process_start_time_seconds") > now - 600);
    assert_true(number_of("process_start_time_seconds") < now + 1);
    double before = number_of("process_open_fds");
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    assert_true(number_of("process_open_fds") == before + 2);
    close(ends[0]);
    close(ends[1]);
}

static void *add_many(void *number)
{
    char id[32];
    for (int i = 0; i < ROUNDS; i++) {
        snprintf(id, sizeof(id), "%d", i % 400);
        metric_add(&crowd, 1, id);
        metric_time(&crowd_took, i);
        if (i % 5000 == 0)
            free(print());
    }
    return number;
}

static void loses_nothing_among_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, add_many, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(number_of("switchboard_test_crowd_seconds_count") == THREADS * ROUNDS);
    char *text = print();
    long total = 0;
    int series = 0;
    for (const char *at = text; (at = strstr(at, "\nswitchboard_test_crowd_total{")); series++) {
        at = strstr(at, "\"} ") + 3;
        total += atol(at);
    }
    assert_int_equal(series, METRIC_SERIES_MAX);
    assert_int_equal(total, THREADS * ROUNDS);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shows_a_registered_metric_as_zero),
        cmocka_unit_test(counts_by_labels),
        cmocka_unit_test(sets_a_gauge),
        cmocka_unit_test(sorts_times_into_buckets),
        cmocka_unit_test(escapes_label_values),
        cmocka_unit_test(counts_too_many_as_other),
        cmocka_unit_test(calls_back_before_printing),
        cmocka_unit_test(prints_names_in_order_and_once),
        cmocka_unit_test(tells_of_the_process),
        cmocka_unit_test(loses_nothing_among_threads),
    };
    return cmocka_run_group_tests_name("metrics", tests, NULL, NULL);
}
