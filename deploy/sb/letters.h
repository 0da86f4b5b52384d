/* letters.h: dead letters: what stands in dead.<stage>, less what operators have dealt with (letter_actions). */
#pragma once

#include "deploy/sb/records.h"
#include "deploy/sb/session.h"

#include "events.h"

#define LETTERS_MAX 200000 /* beyond them one is told to take fewer */

/* Without its event, which may be large.  All texts are in the session's arena. */
struct letter {
    const char *id;       /* of the event.rejected */
    const char *key;      /* the conversation */
    const char *event_id; /* of the event in it; of what is no event, made of where it stood */
    const char *type;     /* "unreadable" when it is no event */
    const char *tenant;   /* may be NULL */
    const char *reason, *pointer;
    const char *group; /* the reason without what differs from letter to letter */
    int run;
    int64_t attempts, at_us;
    int32_t partition;
    int64_t offset;
    bool is_event;
};

struct letter_filter {
    const char *id; /* of the letter or the event in it */
    const char *key, *type;
    const char *reason; /* a part of it, or of its group */
    int64_t since_us;
    bool dealt_with; /* those too */
};

struct letters {
    struct letter *all; /* in the order in which they stand in their partition */
    size_t count, room;
    bool too_many; /* there are more */
};

/* Those that fit, without those dealt with.  The caller frees `all`. */
bool letters_find(struct session *session, const char *stage, const struct letter_filter *filter, struct letters *ret,
                  struct problem *why);

/* Reads a record of dead.<stage>; `ret_letter` (its `group` too) and `ret` point into `arena`. */
bool letter_read(const rd_kafka_message_t *record, struct arena *arena, struct letter *ret_letter,
                 struct event_rejected *ret, struct problem *why);
/* The message as it came to the stage. */
struct text letter_message(const struct event_rejected *rejected, struct arena *arena);

/* Reads the records of `count` letters again and calls `each` for one after the other, in the order of their
 * partitions; `context` is the caller's.  Counts those that are no longer there. */
typedef bool letters_each(void *context, const struct letter *letter, const rd_kafka_message_t *record,
                          struct problem *why);
bool letters_again(struct session *session, const char *stage, const struct letter *letters, size_t count,
                   letters_each *each, void *context, int64_t *ret_gone, struct problem *why);
