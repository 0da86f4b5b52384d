/* words.h: text as plain words, for comparing what was said: letters of any script in lower case, digits apart from
 * letters, no punctuation, no apostrophes ("don't" is "dont", "3pm" is "3" and "pm").
 *
 * Threads: any. */
#pragma once

#include "common/base.h"

#define WORD_BYTES 128                  /* what is longer counts as several words */

struct word {
    const char *from, *to;              /* where it stands */
    char text[WORD_BYTES];
};

/* The first word at or after `at`; false when there is none. */
bool word_next(const char *at, struct word *ret);

/* A transcript's line is "agent: …", "customer: …" or, when one channel holds both, "speaker: …". */
enum speaker { ANYONE, AGENT, CUSTOMER };
/* Where the words of the line begin, after the speaker. */
const char *turn_said(const char *line, enum speaker *ret_speaker);
