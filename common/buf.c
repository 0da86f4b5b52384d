/* buf.c: a growing run of bytes with a hard limit. */
#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BUF_ROOM_MIN 64

void buf_init(struct buf *buf, size_t bytes_max)
{
    *buf = (struct buf){ .bytes_max = bytes_max };
}

void buf_done(struct buf *buf)
{
    free(buf->at);
    buf_init(buf, buf->bytes_max);
}

void buf_clear(struct buf *buf)
{
    buf->bytes = 0;
    buf->overflowed = false;
    if (buf->at != NULL)
        buf->at[0] = '\0';
}

/* Makes room for `bytes` more and the terminator; false, with `overflowed` set, when that is beyond the limit. */
static bool buf_reserve(struct buf *buf, size_t bytes)
{
    if (buf->overflowed || bytes > buf->bytes_max - buf->bytes) {
        buf->overflowed = true;
        return false;
    }
    size_t need = buf->bytes + bytes + 1;
    if (need > buf->room) {
        size_t room = buf->room * 2 > BUF_ROOM_MIN ? buf->room * 2 : BUF_ROOM_MIN;
        buf->room = room > need ? room : need;
        if (buf->room > buf->bytes_max + 1)
            buf->room = buf->bytes_max + 1;
        buf->at = must_realloc(buf->at, buf->room);
    }
    return true;
}

void buf_add(struct buf *buf, const void *at, size_t bytes)
{
    if (!buf_reserve(buf, bytes))
        return;
    if (bytes > 0)
        memcpy(buf->at + buf->bytes, at, bytes);
    buf->bytes += bytes;
    buf->at[buf->bytes] = '\0';
}

void buf_add_text(struct buf *buf, struct text text)
{
    buf_add(buf, text.at, text.bytes);
}

void buf_add_string(struct buf *buf, const char *string)
{
    buf_add(buf, string, strlen(string));
}

void buf_add_char(struct buf *buf, char c)
{
    buf_add(buf, &c, 1);
}

void buf_printf(struct buf *buf, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    int length = vsnprintf(NULL, 0, format, arguments);
    va_end(arguments);
    if (length < 0)
        abort(); /* a wrong format string, or a text of 2 GiB */
    if (!buf_reserve(buf, (size_t)length))
        return;
    va_start(arguments, format);
    vsnprintf(buf->at + buf->bytes, (size_t)length + 1, format, arguments);
    va_end(arguments);
    buf->bytes += (size_t)length;
}
