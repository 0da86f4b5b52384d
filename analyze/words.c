#include "analyze/words.h"
#include "common/utf8.h"

#include <assert.h>
#include <limits.h>
#include <locale.h>
#include <pthread.h>
#include <wchar.h>
#include <wctype.h>

enum kind { BREAK, LETTER, DIGIT, WHOLE, APOSTROPHE };

static locale_t unicode;
static void unicode_open(void)
{
    unicode = newlocale(LC_CTYPE_MASK, "C.UTF-8", NULL);        /* built into the C library */
    assert(unicode);
}

/* Scripts that put no blanks between words: each character is one. */
static bool is_whole_word(wint_t c)
{
    return (c >= 0x0E00 && c <= 0x0EFF) || (c >= 0x1000 && c <= 0x109F) || (c >= 0x1780 && c <= 0x17FF)
           || (c >= 0x3040 && c <= 0xA4CF) || (c >= 0xF900 && c <= 0xFAFF) || c >= 0x20000;
}

static enum kind read_wide(const char *at, size_t bytes, char *lower, size_t *lower_bytes)
{
    wchar_t c = 0;
    mbstate_t reading = { 0 }, writing = { 0 };
    locale_t before = uselocale(unicode);
    enum kind kind = BREAK;
    mbrtowc(&c, at, bytes, &reading);
    if (c == L'\u2019' || c == L'\u02BC') {
        kind = APOSTROPHE;
    } else if (iswalnum((wint_t)c)) {
        kind = is_whole_word((wint_t)c) ? WHOLE : LETTER;
        *lower_bytes = wcrtomb(lower, (wchar_t)towlower((wint_t)c), &writing);
    }
    uselocale(before);
    return kind;
}

/* One character, in lower case; `lower` has room for MB_LEN_MAX bytes. */
static enum kind character(const char *at, size_t *ret_bytes, char *lower, size_t *lower_bytes)
{
    unsigned char c = (unsigned char)*at;
    *ret_bytes = *lower_bytes = 1;
    lower[0] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
    if (c < 0x80)
        return c >= '0' && c <= '9'                 ? DIGIT
               : lower[0] >= 'a' && lower[0] <= 'z' ? LETTER
               : c == '\''                          ? APOSTROPHE
                                                    : BREAK;
    size_t bytes = utf8_sequence(at, at + strnlen(at, 4));
    if (bytes == 0)
        return BREAK;
    *ret_bytes = bytes;
    return read_wide(at, bytes, lower, lower_bytes);
}

bool word_next(const char *at, struct word *ret)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, unicode_open);
    enum kind of = BREAK;
    size_t used = 0, bytes, lower_bytes;
    char lower[MB_LEN_MAX];
    for (; *at; at += bytes) {
        enum kind kind = character(at, &bytes, lower, &lower_bytes);
        if (kind == APOSTROPHE && used > 0)
            continue;
        bool begins = kind == LETTER || kind == DIGIT || kind == WHOLE;
        if (used > 0 && (kind != of || of == WHOLE || used + lower_bytes >= WORD_BYTES))
            break;
        if (!begins)
            continue;
        if (used == 0)
            ret->from = at;
        of = kind;
        memcpy(ret->text + used, lower, lower_bytes);
        used += lower_bytes;
        ret->to = at + bytes;
    }
    ret->text[used] = '\0';
    return used > 0;
}

const char *turn_said(const char *line, enum speaker *ret_speaker)
{
    static const struct {
        const char *label;
        enum speaker speaker;
    } labels[] = { { "agent:", AGENT }, { "customer:", CUSTOMER }, { "speaker:", ANYONE } };
    *ret_speaker = ANYONE;
    for (size_t i = 0; i < LENGTH(labels); i++)
        if (strncmp(line, labels[i].label, strlen(labels[i].label)) == 0) {
            *ret_speaker = labels[i].speaker;
            return line + strlen(labels[i].label);
        }
    return line;
}
