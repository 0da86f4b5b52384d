/* tool.h: what the bench's programs share: an end with a sentence, options that are numbers, quantiles, and the events
 * that tell the test stage what to do.
 *
 * Each program ends after one measurement; what it found is one line of JSON on standard output. */
#pragma once

#include "common/arena.h"
#include "common/event.h"
#include "common/kafka.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define EXIT_USAGE 2
#define QUEUE_BYTES_MAX (256 * 1024 * 1024)
#define FLUSH_MS_MAX 60000

_Noreturn static inline void PRINTF_LIKE(1, 2) stop(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    exit(EXIT_FAILURE);
}

static inline long number_of(const char *text, long least, long most)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < least || number > most) {
        fprintf(stderr, "\"%s\" is not a number from %ld to %ld\n", text, least, most);
        exit(EXIT_USAGE);
    }
    return number;
}

/* The wall's clock has no part in it: sleeps until that moment of monotonic_us(). */
static inline void sleep_until(int64_t at_us)
{
    struct timespec at = { .tv_sec = at_us / 1000000, .tv_nsec = at_us % 1000000 * 1000 };
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL) != 0)
        ;
}

/* --- quantiles ---------------------------------------------------------------------------------------------------- */

struct samples {
    int64_t *us;
    size_t count, room;
};

static inline void samples_add(struct samples *samples, int64_t us)
{
    if (samples->count == samples->room) {
        samples->room = samples->room ? samples->room * 2 : 1024;
        samples->us = must_realloc(samples->us, samples->room * sizeof(*samples->us));
    }
    samples->us[samples->count++] = us;
}

static inline int samples_order(const void *a, const void *b)
{
    int64_t left = *(const int64_t *)a, right = *(const int64_t *)b;
    return (left > right) - (left < right);
}

/* Nearest rank. */
static inline double samples_ms(struct samples *samples, double share)
{
    if (samples->count == 0)
        return -1;
    size_t rank = (size_t)(share * (double)samples->count + 0.999999);
    return (double)samples->us[rank > 0 ? rank - 1 : 0] / 1000;
}

static inline void samples_print(struct samples *samples, const char *name)
{
    if (samples->count > 0)
        qsort(samples->us, samples->count, sizeof(*samples->us), samples_order);
    printf("\"%s_p50_ms\":%.3f,\"%s_p99_ms\":%.3f,\"%s_max_ms\":%.3f", name, samples_ms(samples, 0.5), name,
           samples_ms(samples, 0.99), name, samples_ms(samples, 1));
}

/* --- events for the test stage ------------------------------------------------------------------------------------ */

/* `told` is the rest of the data: "\"silent\":true", or empty. */
static inline void asked_write(struct buf *out, const char *key, int64_t n, const char *told)
{
    static const struct event_type type = { .name = "echo.asked", .schema = "/schemas/events/echo.asked.json" };
    char id[UUID_BYTES], time[TIME_BYTES], data[4096];
    int bytes = snprintf(data, sizeof(data), "{\"n\":%lld%s%s}", (long long)n, *told ? "," : "", told);
    if (bytes < 0 || (size_t)bytes >= sizeof(data))
        stop("the event's data is too long");
    buf_clear(out);
    event_write(out, &(struct event){ .id = uuid_random(id), .source = "/bench", .type = type.name, .subject = key,
                                      .time = time_print(now_us(), time), .correlation_id = key,
                                      .data = { data, (size_t)bytes } }, &type, NULL);
    if (out->overflowed)
        stop("the event is too long");
}
