#include "ingest/byte_range.h"

#include <strings.h>

#define DIGITS_MAX 18

/* Takes digits; -1: there are none.  False when there are too many. */
static bool take_number(struct text *rest, int64_t *ret)
{
    size_t digits = 0;
    int64_t number = 0;

    for (; digits < rest->bytes && rest->at[digits] >= '0' && rest->at[digits] <= '9'; digits++) {
        if (digits == DIGITS_MAX)
            return false;
        number = number * 10 + (rest->at[digits] - '0');
    }
    *ret = digits > 0 ? number : -1;
    rest->at += digits;
    rest->bytes -= digits;
    return true;
}

enum byte_range byte_range_read(struct text header, int64_t bytes, int64_t *ret_first, int64_t *ret_last)
{
    static const char unit[] = "bytes=";
    size_t unit_bytes = sizeof(unit) - 1;
    int64_t first, last;

    if (header.bytes <= unit_bytes || strncasecmp(header.at, unit, unit_bytes) != 0)
        return RANGE_NONE;
    struct text rest = { header.at + unit_bytes, header.bytes - unit_bytes };
    if (!take_number(&rest, &first) || rest.bytes == 0 || rest.at[0] != '-')
        return RANGE_NONE;
    rest.at++;
    rest.bytes--;
    if (!take_number(&rest, &last) || rest.bytes > 0)
        return RANGE_NONE;
    if ((first < 0 && last < 0) || (first >= 0 && last >= 0 && last < first))
        return RANGE_NONE;
    if (first < 0) { /* the last so many */
        if (last == 0 || bytes == 0)
            return RANGE_OUTSIDE;
        *ret_first = last < bytes ? bytes - last : 0;
        *ret_last = bytes - 1;
        return RANGE_PART;
    }
    if (first >= bytes)
        return RANGE_OUTSIDE;
    *ret_first = first;
    *ret_last = last < 0 || last >= bytes ? bytes - 1 : last;
    return RANGE_PART;
}
