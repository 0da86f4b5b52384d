/* evidence.c: no fact without evidence.
 *
 * Both sides are reduced to lower-case words, number words to digits, spoken digits joined ("five five five" is "555"), and the quote must
 * stand in the transcript as a run of whole words, within one turn.  A turn's end is a word of its own that no quote has. */
#include "analyze/analyze.h"
#include "common/buf.h"

#include <ctype.h>
#include <string.h>

#define EVIDENCE_BYTES_MAX (4 * 1024 * 1024)
#define TURN_END "\x1f"

struct evidence {
    const char *words;              /* " hello this is 10 \x1f next turn " */
};

static const char *const units[] = { "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven",
                                     "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen" };
static const char *const tens[] = { "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety" };

static int unit_of(struct text word)
{
    for (size_t i = 0; i < LENGTH(units); i++)
        if (text_is(word, units[i]))
            return (int)i;
    return text_is(word, "oh") ? 0 : -1;
}

static int ten_of(struct text word)
{
    for (size_t i = 0; i < LENGTH(tens); i++)
        if (text_is(word, tens[i]))
            return (int)i * 10 + 20;
    return -1;
}

/* Words come one by one; number words are held back until it is known whether the next one belongs to them. */
struct reducer {
    struct buf *out;
    int held_ten;                   /* "twenty" waits for "five"; -1: nothing */
    bool after_digits;              /* the last word was made of digits: the next digits join it */
};

static void put_digits(struct reducer *reducer, const char *digits)
{
    if (!reducer->after_digits)
        buf_add_char(reducer->out, ' ');
    buf_add_string(reducer->out, digits);
    reducer->after_digits = true;
}

static void put_number(struct reducer *reducer, int number)
{
    char digits[16];
    snprintf(digits, sizeof(digits), "%d", number);
    put_digits(reducer, digits);
}

static void flush_ten(struct reducer *reducer)
{
    if (reducer->held_ten >= 0)
        put_number(reducer, reducer->held_ten);
    reducer->held_ten = -1;
}

static void put_word(struct reducer *reducer, struct text word)
{
    int unit = unit_of(word), ten = ten_of(word);
    if (unit > 0 && unit < 10 && reducer->held_ten >= 0) {
        unit += reducer->held_ten;
        reducer->held_ten = -1;
    } else {
        flush_ten(reducer);
    }
    if (ten >= 0) {
        reducer->held_ten = ten;
    } else if (unit >= 0) {
        put_number(reducer, unit);
    } else if (isdigit((unsigned char)word.at[0])) {
        for (size_t i = 0; i < word.bytes; i++)
            put_digits(reducer, (char[]){ word.at[i], '\0' });
    } else {
        buf_add_char(reducer->out, ' ');
        buf_add_text(reducer->out, word);
        reducer->after_digits = false;
    }
}

/* Letters of any script, digits and apostrophes make words (the apostrophe itself is dropped); everything else parts them. */
static size_t word_at(const char *at, char *word, size_t room)
{
    size_t read = 0, bytes = 0;
    bool digit = isdigit((unsigned char)*at);
    for (; at[read] && bytes + 1 < room; read++) {
        unsigned char c = (unsigned char)at[read];
        if (c == '\'' && read > 0)
            continue;
        if (strncmp(at + read, "\xe2\x80\x99", 3) == 0) {       /* ’ */
            read += 2;
            continue;
        }
        if (!(isalnum(c) || c >= 0x80) || (isdigit(c) != 0) != digit)
            break;
        word[bytes++] = (char)tolower(c);
    }
    word[bytes] = '\0';
    return read;
}

static void reduce(const char *text, struct buf *out)
{
    struct reducer reducer = { .out = out, .held_ten = -1 };
    char word[256];
    for (const char *at = text; *at;) {
        size_t read = word_at(at, word, sizeof(word));
        if (word[0])
            put_word(&reducer, text_of(word));
        at += read > 0 ? read : 1;
    }
    flush_ten(&reducer);
    buf_add_char(out, ' ');
}

/* A turn is a line; the speaker's name before the colon is not said. */
static void reduce_turn(const char *line, size_t bytes, struct buf *out, struct arena *arena)
{
    const char *colon = memchr(line, ':', bytes);
    size_t skip = colon && memchr(line, ' ', (size_t)(colon - line)) == NULL ? (size_t)(colon - line) + 1 : 0;
    reduce(arena_copy_text(arena, (struct text){ line + skip, bytes - skip }), out);
    buf_add_string(out, TURN_END);
}

struct evidence *evidence_prepare(const char *transcript, struct arena *arena)
{
    struct evidence *evidence = arena_alloc(arena, sizeof(*evidence));
    struct buf words;
    buf_init(&words, EVIDENCE_BYTES_MAX);
    for (const char *line = transcript; *line;) {
        size_t bytes = strcspn(line, "\n");
        reduce_turn(line, bytes, &words, arena);
        line += bytes + (line[bytes] == '\n');
    }
    evidence->words = arena_copy_text(arena, buf_text(&words));
    buf_done(&words);
    return evidence;
}

bool evidence_holds(const struct evidence *evidence, const char *quote, struct arena *arena)
{
    struct buf words;
    buf_init(&words, EVIDENCE_BYTES_MAX);
    reduce(quote, &words);
    const char *needle = arena_copy_text(arena, buf_text(&words));
    bool holds = words.bytes > 1 && !words.overflowed && strstr(evidence->words, needle) != NULL;
    buf_done(&words);
    return holds;
}
