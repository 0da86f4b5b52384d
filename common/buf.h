/* buf.h: a growing run of bytes with a hard limit.
 *
 * Always terminated (so `at` can be printed), never NULL once something was added.  Adding beyond `bytes_max` keeps what
 * was there, sets `overflowed`, and makes every later addition do nothing: check once, at the end. */
#pragma once

#include "common/base.h"

struct buf {
    char *at;
    size_t bytes;
    size_t room;
    size_t bytes_max;
    bool overflowed;
};

void buf_init(struct buf *buf, size_t bytes_max);
void buf_done(struct buf *buf);             /* frees the content; the buf can be used again, empty */
void buf_clear(struct buf *buf);            /* empties it and keeps the room */

void buf_add(struct buf *buf, const void *at, size_t bytes);
void buf_add_text(struct buf *buf, struct text text);
void buf_add_string(struct buf *buf, const char *string);
void buf_add_char(struct buf *buf, char c);
void buf_printf(struct buf *buf, const char *format, ...) PRINTF_LIKE(2, 3);

static inline struct text buf_text(const struct buf *buf)
{
    return (struct text){ buf->at ? buf->at : "", buf->bytes };
}
