#include "deploy/sb/waterfall.h"

#include <stdlib.h>

#define GAP_SHARE 20             /* a gap is shown as at most this part of the time in which something happens */
#define WAITS     "\xE2\x94\x80" /* ─ */
#define WORKS     "\xE2\x96\x88" /* █ */

/* A stretch in which something waits or works, and where it begins on the axis. */
struct stretch {
    int64_t begin_us, end_us, at;
};

struct waterfall {
    struct stretch *stretches;
    size_t count;
    int64_t busy_us, gap_most_us, length;
    int columns;
};

static int by_begin(const void *a, const void *b)
{
    int64_t left = ((const struct stretch *)a)->begin_us, right = ((const struct stretch *)b)->begin_us;
    return (left > right) - (left < right);
}

/* Stretches that touch become one. */
static void merge(struct waterfall *waterfall)
{
    struct stretch *stretches = waterfall->stretches;
    size_t last = 0;

    for (size_t i = 1; i < waterfall->count; i++) {
        if (stretches[i].begin_us > stretches[last].end_us)
            stretches[++last] = stretches[i];
        else if (stretches[i].end_us > stretches[last].end_us)
            stretches[last].end_us = stretches[i].end_us;
    }
    waterfall->count = last + 1;
}

static void place(struct waterfall *waterfall)
{
    struct stretch *stretches = waterfall->stretches;

    for (size_t i = 0; i < waterfall->count; i++)
        waterfall->busy_us += stretches[i].end_us - stretches[i].begin_us;
    waterfall->gap_most_us = waterfall->busy_us / GAP_SHARE + 1;
    for (size_t i = 1; i < waterfall->count; i++) {
        int64_t gap_us = stretches[i].begin_us - stretches[i - 1].end_us;
        stretches[i].at = stretches[i - 1].at + stretches[i - 1].end_us - stretches[i - 1].begin_us +
                          (gap_us < waterfall->gap_most_us ? gap_us : waterfall->gap_most_us);
    }
    const struct stretch *last = &stretches[waterfall->count - 1];
    waterfall->length = last->at + last->end_us - last->begin_us + 1;
}

struct waterfall *waterfall_new(const struct span *spans, size_t count, int columns)
{
    struct waterfall *waterfall = must_alloc(sizeof(*waterfall));

    *waterfall = (struct waterfall){ .stretches = must_alloc(count * sizeof(struct stretch)),
                                     .count = count,
                                     .columns = columns };
    for (size_t i = 0; i < count; i++)
        waterfall->stretches[i] = (struct stretch){ .begin_us = spans[i].begin_us, .end_us = spans[i].end_us };
    qsort(waterfall->stretches, count, sizeof(*waterfall->stretches), by_begin);
    merge(waterfall);
    place(waterfall);
    return waterfall;
}

void waterfall_free(struct waterfall *waterfall)
{
    free(waterfall->stretches);
    free(waterfall);
}

static const struct stretch *stretch_of(const struct waterfall *waterfall, int64_t us)
{
    size_t i = 0;
    while (i + 1 < waterfall->count && waterfall->stretches[i + 1].begin_us <= us)
        i++;
    return &waterfall->stretches[i];
}

static int column_of(const struct waterfall *waterfall, int64_t us)
{
    const struct stretch *stretch = stretch_of(waterfall, us);
    int64_t at = stretch->at + (us < stretch->begin_us ? 0
                                : us > stretch->end_us ? stretch->end_us - stretch->begin_us
                                                       : us - stretch->begin_us);
    return (int)((double)at * waterfall->columns / (double)waterfall->length);
}

void waterfall_add(const struct waterfall *waterfall, struct buf *out, const struct span *span)
{
    int begin = column_of(waterfall, span->begin_us), end = column_of(waterfall, span->end_us);
    int work = span->work_us ? column_of(waterfall, span->work_us) : end + 1;

    for (int column = 0; column < waterfall->columns; column++)
        buf_add_string(out, column < begin || column > end ? " " : column < work ? WAITS : WORKS);
}

int64_t waterfall_gap_before(const struct waterfall *waterfall, int64_t us)
{
    const struct stretch *stretch = stretch_of(waterfall, us);
    if (stretch == waterfall->stretches || stretch->begin_us != us)
        return 0;
    int64_t gap_us = us - (stretch - 1)->end_us;
    return gap_us > waterfall->gap_most_us ? gap_us : 0;
}
