/* parts.h: a long text as messages that WhatsApp takes. */
#pragma once

#include "common/arena.h"

#define WHATSAPP_BODY_CHARACTERS_MAX 1600   /* of one message; Twilio refuses more (21617) */
#define WHATSAPP_PARTS_MAX           10     /* of one text; what is beyond is cut, and shown to be */

/* The text's parts, each terminated and in the arena: split between paragraphs, else sentences, else words, else
 * characters, and numbered "(1/3) …" when there are several.  Blanks around them are taken off.  `text` is UTF-8;
 * one without anything but blanks has no parts. */
int parts_of(struct arena *arena, const char *text, const char *ret[WHATSAPP_PARTS_MAX]);
/* The text, at most so many characters of it: cut between two, with an ellipsis. */
const char *clipped(struct arena *arena, const char *text, int characters_max);
