/* evidence.c: no fact without evidence.
 *
 * Both sides are reduced to words (words.h), number words to digits, and the quote must stand in the transcript as a
 * run of whole words within one turn.  Numbers that follow each other are joined by a joint, which counts for
 * nothing but as the end of a word: "five five five", "555" and "5 55" are the same, and so is the "10" in "oh, 10". */
#include "analyze/analyze.h"
#include "analyze/words.h"
#include "common/buf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EVIDENCE_BYTES_MAX (4 * 1024 * 1024)        /* twice the largest transcript, and more */
#define TURN_END '\x1f'                             /* no quote has it */
#define JOINT '\x1e'

struct evidence {
    const char *words;                  /* " hello this is 10 \x1f next turn \x1f" */
};

static const char *const units[] = { "zero",     "one",     "two",     "three",     "four",     "five",    "six",
                                     "seven",    "eight",   "nine",    "ten",       "eleven",   "twelve",  "thirteen",
                                     "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen" };
static const char *const tens[] = { "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety" };

static int find(const char *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word, list[i]) == 0)
            return (int)i;
    return -1;
}

/* Words come one by one; "twenty" is held back until it is known whether "five" follows. */
struct reducer {
    struct buf *out;
    int held_ten;                       /* -1: nothing */
    bool after_number;
};

static void put(struct reducer *reducer, const char *word, bool is_number)
{
    buf_add_char(reducer->out, is_number && reducer->after_number ? JOINT : ' ');
    buf_add_string(reducer->out, word);
    reducer->after_number = is_number;
}

static void put_number(struct reducer *reducer, int number)
{
    char digits[16];
    snprintf(digits, sizeof(digits), "%d", number);
    put(reducer, digits, true);
}

static void flush_ten(struct reducer *reducer)
{
    if (reducer->held_ten >= 0)
        put_number(reducer, reducer->held_ten);
    reducer->held_ten = -1;
}

static void put_word(struct reducer *reducer, const char *word)
{
    int unit = strcmp(word, "oh") == 0 ? 0 : find(word, units, LENGTH(units)), ten = find(word, tens, LENGTH(tens));
    if (unit > 0 && unit < 10 && reducer->held_ten >= 0) {
        unit += reducer->held_ten;
        reducer->held_ten = -1;
    }
    flush_ten(reducer);
    if (ten >= 0)
        reducer->held_ten = ten * 10 + 20;
    else if (unit >= 0)
        put_number(reducer, unit);
    else
        put(reducer, word, word[0] >= '0' && word[0] <= '9');
}

static void reduce(const char *said, struct buf *out)
{
    struct reducer reducer = { .out = out, .held_ten = -1 };
    struct word word;
    for (; word_next(said, &word); said = word.to)
        put_word(&reducer, word.text);
    flush_ten(&reducer);
    buf_add_char(out, ' ');
}

struct evidence *evidence_prepare(const char *transcript, struct arena *arena)
{
    struct evidence *evidence = arena_alloc(arena, sizeof(*evidence));
    struct buf words;
    enum speaker speaker;
    buf_init(&words, EVIDENCE_BYTES_MAX);
    for (const char *line = transcript; *line;) {
        size_t bytes = strcspn(line, "\n");
        reduce(turn_said(arena_copy_text(arena, (struct text){ line, bytes }), &speaker), &words);
        buf_add_char(&words, TURN_END);
        line += bytes + (line[bytes] == '\n');
    }
    evidence->words = arena_copy_text(arena, buf_text(&words));
    buf_done(&words);
    return evidence;
}

static bool ends_word(char c)
{
    return c == ' ' || c == JOINT;
}

/* Whether the words of `quote` stand at `at`; both begin after what ends a word. */
static bool stands_at(const char *at, const char *quote)
{
    for (; quote[1]; quote++) {
        if (*quote == JOINT)
            continue;
        while (*at == JOINT)
            at++;
        if (*at++ != *quote)
            return false;
    }
    return ends_word(*at);
}

bool evidence_holds(const struct evidence *evidence, const char *quote, struct arena *arena)
{
    struct buf words;
    enum speaker speaker;
    buf_init(&words, EVIDENCE_BYTES_MAX);
    reduce(turn_said(quote, &speaker), &words);
    const char *needle = arena_copy_text(arena, buf_text(&words));
    bool readable = words.bytes > 1 && !words.overflowed, holds = false;
    buf_done(&words);
    for (const char *at = evidence->words; readable && *at && !holds; at++)
        holds = ends_word(*at) && stands_at(at + 1, needle + 1);
    return holds;
}
