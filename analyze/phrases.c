#include "analyze/phrases.h"

#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 20000                 /* as many segments as a transcript may have */

/* --- the phrases that calls and visits share ---------------------------------------------------------------------- */

static const struct {
    const char *category;
    struct phrase phrase;
} objection_phrases[] = {
    { "price", { "too expensive", CUSTOMER } },
    { "price", { "too much money", CUSTOMER } },
    { "price", { "that is a lot", CUSTOMER } },
    { "price", { "thats a lot", CUSTOMER } },
    { "price", { "more than i", CUSTOMER } },
    { "price", { "cannot afford", CUSTOMER } },
    { "price", { "cant afford", CUSTOMER } },
    { "price", { "too high", CUSTOMER } },
    { "price", { "cheaper", CUSTOMER } },
    { "price", { "over my budget", CUSTOMER } },
    { "timing", { "too late", CUSTOMER } },
    { "timing", { "not soon enough", CUSTOMER } },
    { "timing", { "cannot wait", CUSTOMER } },
    { "timing", { "cant wait", CUSTOMER } },
    { "timing", { "not a good time", CUSTOMER } },
    { "timing", { "too busy", CUSTOMER } },
    { "competitor", { "another company", CUSTOMER } },
    { "competitor", { "somebody else", CUSTOMER } },
    { "competitor", { "other quotes", CUSTOMER } },
    { "competitor", { "shop around", CUSTOMER } },
    { "competitor", { "shopping around", CUSTOMER } },
    { "trust", { "bad reviews", CUSTOMER } },
    { "trust", { "do not trust", CUSTOMER } },
    { "trust", { "dont trust", CUSTOMER } },
    { "trust", { "bad experience", CUSTOMER } },
    { "authority", { "ask my husband", CUSTOMER } },
    { "authority", { "ask my wife", CUSTOMER } },
    { "authority", { "talk to my husband", CUSTOMER } },
    { "authority", { "talk to my wife", CUSTOMER } },
    { "authority", { "ask my boss", CUSTOMER } },
    { "authority", { "ask my landlord", CUSTOMER } },
    { "need", { "do not need it", CUSTOMER } },
    { "need", { "dont need it", CUSTOMER } },
    { "need", { "not sure i need", CUSTOMER } },
};

static const struct {
    const char *word;
    int mood;
} mood_words[] = {
    { "great", 2 },         { "perfect", 2 },     { "wonderful", 2 },     { "excellent", 2 }, { "awesome", 2 },
    { "fantastic", 2 },     { "thanks", 1 },      { "thank", 1 },         { "good", 1 },      { "nice", 1 },
    { "happy", 1 },         { "please", 1 },      { "yes", 1 },           { "works", 1 },     { "glad", 1 },
    { "no", -1 },           { "expensive", -1 },  { "problem", -1 },      { "wait", -1 },     { "late", -1 },
    { "wrong", -1 },        { "broken", -1 },     { "terrible", -2 },     { "awful", -2 },    { "horrible", -2 },
    { "angry", -2 },        { "ridiculous", -2 }, { "unacceptable", -2 }, { "worst", -2 },    { "never", -1 },
    { "disappointed", -2 }, { "rude", -2 },       { "complaint", -2 },
};

/* --- turns and phrases in them ------------------------------------------------------------------------------------ */

const char *plain_words(struct arena *arena, const char *said)
{
    char *words = arena_alloc(arena, 2 * strlen(said) + 2), *out = words;
    struct word word;
    *out++ = ' ';
    for (; word_next(said, &word); said = word.to) {
        out = stpcpy(out, word.text);
        *out++ = ' ';
    }
    return words;
}

void conversation_read(const char *transcript, struct arena *arena, struct conversation *ret)
{
    *ret = (struct conversation){ .arena = arena };
    size_t lines = 1;
    for (const char *at = transcript; (at = strchr(at, '\n')); at++)
        lines++;
    ret->turns =
        arena_alloc(ret->arena, (lines < TURNS_MAX ? lines : TURNS_MAX) * sizeof(*ret->turns));
    for (const char *line = transcript; *line && ret->count < TURNS_MAX;) {
        struct text text = { line, strcspn(line, "\n") };
        struct turn *turn = &ret->turns[ret->count++];
        turn->said = turn_said(arena_copy_text(ret->arena, text), &turn->speaker);
        turn->said += strspn(turn->said, " ");
        turn->words = plain_words(ret->arena, turn->said);
        line += text.bytes + (line[text.bytes] == '\n');
    }
}

/* "not an emergency", "do not book it": within the two words before. */
static bool is_denied(const char *words, const char *at)
{
    static const char *const denials[] = { " not ",  " dont ", " never ",  " isnt ",
                                           " wont ", " cant ", " cannot ", " none " };
    const char *from = at - 1;
    for (int passed = 0; from > words && passed < 2; passed++)
        for (from--; *from != ' ';)
            from--;
    for (size_t i = 0; i < LENGTH(denials); i++)
        if (memmem(from, (size_t)(at - from), denials[i], strlen(denials[i])))
            return true;
    return false;
}

/* Where the words have the phrase, as whole words that nobody denies; NULL: nowhere. */
static const char *find_words(const char *words, const char *phrase)
{
    size_t bytes = strlen(phrase);
    for (const char *at = words; (at = strstr(at, phrase)); at++)
        if (at[-1] == ' ' && at[bytes] == ' ' && !is_denied(words, at))
            return at;
    return NULL;
}

bool turn_is_by(const struct turn *turn, enum speaker by)
{
    return by == ANYONE || turn->speaker == ANYONE || turn->speaker == by;
}

static struct heard find_in_turn(const struct turn *turn, const struct phrase *phrases, size_t count)
{
    for (size_t i = 0; i < count && phrases[i].words; i++) {
        const char *at = turn_is_by(turn, phrases[i].by) ? find_words(turn->words, phrases[i].words) : NULL;
        if (at)
            return (struct heard){ turn, at };
    }
    return (struct heard){ NULL, NULL };
}

struct heard phrase_find(const struct conversation *conversation, const struct phrase *phrases, size_t count)
{
    struct heard heard = { NULL, NULL };
    for (int i = 0; i < conversation->count && !heard.turn; i++)
        heard = find_in_turn(&conversation->turns[i], phrases, count);
    return heard;
}

struct heard phrase_find_last(const struct conversation *conversation, const struct phrase *phrases, size_t count)
{
    struct heard heard = { NULL, NULL };
    for (int i = conversation->count - 1; i >= 0 && !heard.turn; i--)
        heard = find_in_turn(&conversation->turns[i], phrases, count);
    return heard;
}

const char *heard_quote(const struct conversation *conversation, struct heard heard, size_t bytes_max)
{
    const char *said = heard.turn->said, *from = NULL, *to = said, *phrase = said;
    struct word word;
    if (strlen(said) <= bytes_max)
        return said;
    for (const char *blank = heard.turn->words; blank < heard.at - 1; blank++)
        if (*blank == ' ' && word_next(phrase, &word))
            phrase = word.to;
    for (const char *at = said; word_next(at, &word); at = word.to) {
        if (!from && word.from + bytes_max / 2 >= phrase)
            from = to = word.from;
        if (from && (size_t)(word.to - from) > bytes_max)
            break;
        to = from ? word.to : to;
    }
    return from ? arena_copy_text(conversation->arena, (struct text){ from, (size_t)(to - from) }) : "";
}


/* --- what both are asked ------------------------------------------------------------------------------------------ */

struct findings conversation_objections(const struct conversation *conversation)
{
    struct findings found = { .items = arena_alloc(conversation->arena, OBJECTIONS_MAX * sizeof(*found.items)) };
    for (const struct turn *turn = conversation->turns; turn < conversation->turns + conversation->count; turn++)
        for (size_t i = 0; i < LENGTH(objection_phrases) && found.count < OBJECTIONS_MAX && turn_is_by(turn, CUSTOMER);
             i++) {
            const char *at = find_words(turn->words, objection_phrases[i].phrase.words);
            if (!at)
                continue;
            found.items[found.count++] = (struct finding){
                objection_phrases[i].category, heard_quote(conversation, (struct heard){ turn, at }, QUOTE_BYTES_MAX)
            };
            break;
        }
    return found;
}

double conversation_mood(const struct conversation *conversation)
{
    int sum = 0, count = 0;
    for (int i = 0; i < conversation->count; i++)
        for (size_t j = 0; turn_is_by(&conversation->turns[i], CUSTOMER) && j < LENGTH(mood_words); j++)
            if (find_words(conversation->turns[i].words, mood_words[j].word)) {
                sum += mood_words[j].mood;
                count += abs(mood_words[j].mood);
            }
    return count > 0 ? (double)sum / count : 0;
}
