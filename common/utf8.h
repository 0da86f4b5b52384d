/* utf8.h: one well-formed UTF-8 sequence at a time (RFC 3629 section 4): no surrogates, no overlong forms, nothing
 * above U+10FFFF. */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define UTF8_ELLIPSIS    "\xE2\x80\xA6" /* … : something was cut here */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD" /* U+FFFD: here stood something that is not UTF-8 */

/* The bytes of the sequence that starts at `at`, or 0 when it is not well formed or reaches beyond `end`.  `at` <
 * `end`. */
static inline size_t utf8_sequence(const char *at, const char *end)
{
    const unsigned char *byte = (const unsigned char *)at;
    size_t left = (size_t)(end - at);
    unsigned char first = byte[0];

    if (first < 0x80)
        return 1;
    if (first < 0xC2 || first > 0xF4 || left < 2 || (byte[1] & 0xC0) != 0x80)
        return 0;
    if (first < 0xE0)
        return 2;
    if (left < 3 || (byte[2] & 0xC0) != 0x80)
        return 0;
    if (first < 0xF0) {
        if ((first == 0xE0 && byte[1] < 0xA0) || (first == 0xED && byte[1] > 0x9F))
            return 0;
        return 3;
    }
    if (left < 4 || (byte[3] & 0xC0) != 0x80)
        return 0;
    if ((first == 0xF0 && byte[1] < 0x90) || (first == 0xF4 && byte[1] > 0x8F))
        return 0;
    return 4;
}

/* The bytes of the first `characters_max` characters at most; what is not well formed counts byte by byte. */
static inline size_t utf8_prefix(const char *at, const char *end, size_t characters_max)
{
    const char *begin = at;
    for (; at < end && characters_max > 0; characters_max--) {
        size_t sequence = utf8_sequence(at, end);
        at += sequence ? sequence : 1;
    }
    return (size_t)(at - begin);
}

/* True when the eight bytes at `at` are all ASCII: most text is, and this passes over it quickly. */
static inline int utf8_ascii_word(const char *at)
{
    uint64_t word;
    memcpy(&word, at, sizeof(word));
    return (word & 0x8080808080808080u) == 0;
}
