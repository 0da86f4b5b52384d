/* parts.c: see parts.h. */
#include "notifier/parts.h"
#include "common/utf8.h"

#include <string.h>

#define NUMBER_CHARACTERS 8 /* "(10/10) " */
#define THIRD             3 /* of a part: a paragraph may end behind the first, a sentence in the last */

static bool is_blank(char c)
{
    return (unsigned char)c <= ' ' && c != '\0';
}

static const char *skip_blanks(const char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

/* Behind so many characters; `end` when there are fewer. */
static const char *characters_on(const char *at, const char *end, int characters)
{
    for (; at < end && characters > 0; characters--) {
        size_t bytes = utf8_sequence(at, end);
        at += bytes ? bytes : 1;
    }
    return at;
}

static bool ends_sentence(const char *at)
{
    static const char *const marks[] = {
        ".", "!", "?", UTF8_ELLIPSIS, "\xE3\x80\x82", "\xD8\x9F", "\xE0\xA5\xA4"
    }; /* 。 ؟ । */
    for (size_t i = 0; i < LENGTH(marks); i++)
        if (strncmp(at, marks[i], strlen(marks[i])) == 0 && is_blank(at[strlen(marks[i])]))
            return true;
    return false;
}

/* Where a part that reaches to `limit` at most should end. */
static const char *end_of_part(const char *begin, const char *limit)
{
    const char *first = begin + (limit - begin) / THIRD, *last = limit - (limit - begin) / THIRD;
    const char *paragraph = NULL, *line = NULL, *sentence = NULL, *word = NULL;
    for (const char *at = begin; at < limit; at++) {
        if (*at == '\n' && at[1] == '\n')
            paragraph = at;
        if (*at == '\n')
            line = at;
        if (at > begin && is_blank(*at))
            word = at;
        if (ends_sentence(at))
            sentence = at + strcspn(at, " \n\r\t");
    }
    if (is_blank(*limit))
        word = limit;
    if (paragraph && paragraph > first)
        return paragraph;
    if (line && line > last)
        return line;
    if (sentence && sentence > last && sentence <= limit)
        return sentence;
    return word ? word : limit;
}

static const char *part_text(struct arena *arena, const char *begin, const char *end)
{
    while (end > begin && is_blank(end[-1]))
        end--;
    return arena_copy_text(arena, (struct text){ begin, (size_t)(end - begin) });
}

int parts_of(struct arena *arena, const char *text, const char *ret[WHATSAPP_PARTS_MAX])
{
    const char *at = skip_blanks(text), *end = at + strlen(at);
    while (end > at && is_blank(end[-1]))
        end--;
    if (at == end)
        return 0;
    if (characters_on(at, end, WHATSAPP_BODY_CHARACTERS_MAX) == end) {
        ret[0] = part_text(arena, at, end);
        return 1;
    }
    int count = 0;
    while (at < end && count < WHATSAPP_PARTS_MAX) {
        const char *limit = characters_on(at, end, WHATSAPP_BODY_CHARACTERS_MAX - NUMBER_CHARACTERS);
        bool last = count == WHATSAPP_PARTS_MAX - 1;
        const char *until = limit == end ? end : end_of_part(at, limit);
        ret[count++] = last
                           ? clipped(arena, part_text(arena, at, end), WHATSAPP_BODY_CHARACTERS_MAX - NUMBER_CHARACTERS)
                           : part_text(arena, at, until);
        at = skip_blanks(until);
    }
    for (int i = 0; i < count; i++)
        ret[i] = arena_printf(arena, "(%d/%d) %s", i + 1, count, ret[i]);
    return count;
}

const char *clipped(struct arena *arena, const char *text, int characters_max)
{
    const char *end = text + strlen(text);
    if (characters_on(text, end, characters_max) == end)
        return text;
    const char *cut = characters_on(text, end, characters_max - 1);
    return arena_printf(arena, "%.*s" UTF8_ELLIPSIS, (int)(cut - text), text);
}
