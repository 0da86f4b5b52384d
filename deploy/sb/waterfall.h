/* waterfall.h: spans of time as bars of text, one under the other.
 *
 * The axis is linear where something waits or works.  Where nothing does, for longer than is worth a column, it is
 * shortened: what took two seconds stays visible beside a report of the next day. */
#pragma once

#include "common/buf.h"

struct span {
    int64_t begin_us; /* it came */
    int64_t work_us;  /* work on it began; 0: it only waited */
    int64_t end_us;
};

struct waterfall;

/* Spans in any order; at least one. */
struct waterfall *waterfall_new(const struct span *spans, size_t count, int columns);
void waterfall_free(struct waterfall *waterfall);
/* Adds `columns` characters: waiting is a thin line, work a block of at least one. */
void waterfall_add(const struct waterfall *waterfall, struct buf *out, const struct span *span);
/* How long nothing waited or worked right before `us`, where the axis is shortened; 0: it is not. */
int64_t waterfall_gap_before(const struct waterfall *waterfall, int64_t us);
