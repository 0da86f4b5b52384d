/* byte_range.h: the header Range of one range of bytes (RFC 9110 section 14). */
#pragma once

#include "common/base.h"

enum byte_range {
    RANGE_NONE,    /* no header, or one that is passed over: malformed, another unit, several ranges */
    RANGE_PART,    /* `ret_first` to `ret_last`, both inclusive and there */
    RANGE_OUTSIDE, /* nothing of it is there: 416 */
};

/* `bytes`: how many there are. */
enum byte_range byte_range_read(struct text header, int64_t bytes, int64_t *ret_first, int64_t *ret_last);
