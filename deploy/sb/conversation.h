/* conversation.h: what an operator has in hand (a call, a message's sid, an event's id, a phone number) leads to the
 * conversations it belongs to.  A conversation is what its events name as their `correlationid`. */
#pragma once

#include <stdio.h>

#include "deploy/sb/session.h"

#define CONVERSATIONS_MAX 10 /* shown of one phone number, the newest */

struct conversation {
    const char *id;
    const char *found_by; /* "call or other key", "event", "message or job", …; NULL: nothing is known of it */
    const char *last_at;  /* of what it was found by; text that sorts */
};

struct conversations {
    struct conversation found[CONVERSATIONS_MAX]; /* the newest first */
    size_t count;
    int64_t left_out;
};

/* For commands of the form "sb NAME ID [--json]".  -1, or the exit code. */
int conversation_open(int argc, char **argv, struct session *ret, const char **ret_given, bool *ret_json);

/* What `given` leads to.  Nothing found is no failure: `count` 0.  False: the database could not be asked. */
bool conversations_find(struct session *session, const char *given, struct conversations *ret, struct problem *why);

/* Says on `to` how many conversations are left out, when there are any. */
void conversations_tell_left_out(const struct conversations *found, FILE *to);

/* Fails with a sentence that says what can be given. */
int conversations_none(char **argv, const char *given);
