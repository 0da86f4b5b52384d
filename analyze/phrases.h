/* phrases.h: what rules.c and rules_visit.c stand on: a transcript as turns of plain words (words.h), and phrases
 * found in them.
 *
 * Each rule is a phrase, who has to say it, and what follows from it; the words around it are the evidence.  "not an
 * emergency" is no emergency.  A recording of one channel does not tell who speaks: then anybody may have said it. */
#pragma once

#include "analyze/findings.h"
#include "analyze/words.h"
#include "common/arena.h"

#define QUOTE_BYTES_MAX 300             /* of UTF-8; the schemas allow 500 characters */
#define OBJECTIONS_MAX 20

struct turn {
    enum speaker speaker;
    const char *said;               /* as transcribed */
    const char *words;              /* as in words.h, a blank before and after each */
};

struct conversation {
    struct turn *turns;
    int count;
    struct arena *arena;
};

/* A phrase that was said; `turn` NULL: it was not. */
struct heard {
    const struct turn *turn;
    const char *at;                 /* in its words */
};

struct phrase {
    const char *words;              /* NULL ends a list that is shorter than its room */
    enum speaker by;
};

void conversation_read(const char *transcript, struct arena *arena, struct conversation *ret);
/* Its words as in struct turn. */
const char *plain_words(struct arena *arena, const char *said);
bool turn_is_by(const struct turn *turn, enum speaker by);
/* The first of the phrases that is said, and the last. */
struct heard phrase_find(const struct conversation *conversation, const struct phrase *phrases, size_t count);
struct heard phrase_find_last(const struct conversation *conversation, const struct phrase *phrases, size_t count);
#define FIND(conversation, phrases) phrase_find((conversation), (phrases), LENGTH(phrases))
#define FIND_LAST(conversation, phrases) phrase_find_last((conversation), (phrases), LENGTH(phrases))
/* The turn as it was said; of a long one, the whole words around the phrase. */
const char *heard_quote(const struct conversation *conversation, struct heard heard, size_t bytes_max);

/* What the customer says against it, each kind with its words; at most OBJECTIONS_MAX. */
struct findings conversation_objections(const struct conversation *conversation);
/* The customer's, from -1 to 1. */
double conversation_mood(const struct conversation *conversation);
