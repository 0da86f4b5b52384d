#include "deploy/sb/letters.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPIC_BYTES      80
#define RECORD_BYTES_MAX ((size_t)160 * 1024 * 1024) /* one letter, read and unescaped */
#define GROUP_BYTES_MAX  160
#define UNREADABLE       "unreadable"

/* Of as long as any letter can stand in its topic, and a day more. */
static const struct statement find_dealt_with = {
    .name = "sb_find_dealt_with",
    .text = "SELECT letter_id FROM letter_actions WHERE stage = $1 AND done_at > now() - interval '31 days'"
            " ORDER BY letter_id::text COLLATE \"C\"",
    .params = 1,
};

static const char *topic_of(const char *stage, char ret[TOPIC_BYTES])
{
    snprintf(ret, TOPIC_BYTES, "dead.%s", stage);
    return ret;
}

/* --- one letter ---------------------------------------------------------------------------------------------- */

/* A word is a run of these. */
static bool is_of_word(char c)
{
    return isalnum((unsigned char)c) || strchr("-_.:/+@", c) != NULL;
}

/* How far a quoted word goes, its quotes included; 0: there is none here. */
static size_t quoted_bytes(const char *at)
{
    const char *end = *at == '"' ? strchr(at + 1, '"') : NULL;
    return end ? (size_t)(end + 1 - at) : 0;
}

/* After these comes what tells one failure from another. */
static bool names_kind(struct text word)
{
    return text_is(word, "status") || text_is(word, "code") || text_is(word, "\"status\"") || text_is(word, "\"code\"");
}

/* What differs from letter to letter is left out: what is quoted, and words with a digit; but for the names of JSON's
 * members, and for a status or a code. */
static const char *group_of(const char *reason, struct arena *arena)
{
    struct buf group;
    bool kind = false;

    buf_init(&group, GROUP_BYTES_MAX);
    for (const char *at = reason; *at != '\0' && !group.overflowed;) {
        size_t bytes = quoted_bytes(at), tail = 0;
        bool quoted = bytes > 0, keep = kind || (quoted && at[bytes] == ':');
        while (!quoted && at[bytes] != '\0' && is_of_word(at[bytes]))
            bytes++;
        if (bytes == 0) {
            buf_add_char(&group, *at++);
            continue;
        }
        tail = !quoted && (at[bytes - 1] == ':' || at[bytes - 1] == '.');
        struct text word = { at, bytes - tail };
        bool digits = !quoted && strcspn(at, "0123456789") < word.bytes;
        buf_add_text(&group, keep ? word : quoted ? TEXT("\"…\"") : digits ? TEXT("#") : word);
        buf_add(&group, at + word.bytes, tail);
        kind = word.bytes > 0 ? names_kind(word) : kind;
        at += bytes;
    }
    while (group.bytes > 0 && !text_is_utf8(buf_text(&group)))
        group.at[--group.bytes] = '\0'; /* it was cut within a character */
    const char *ret = arena_copy_text(arena, buf_text(&group));
    buf_done(&group);
    return ret;
}

struct text letter_message(const struct event_rejected *rejected, struct arena *arena)
{
    if (rejected->encoding == NULL || strcmp(rejected->encoding, "base64") != 0)
        return rejected->event;
    struct text ret = { arena_alloc(arena, rejected->event.bytes + 1), 0 };
    if (!base64_read(rejected->event, (char *)ret.at, rejected->event.bytes, &ret.bytes))
        ret = rejected->event;
    return ret;
}

bool letter_read(const rd_kafka_message_t *record, struct arena *arena, struct letter *ret_letter,
                 struct event_rejected *ret, struct problem *why)
{
    struct event letter, event;
    struct text line = { record->payload, record->len };
    struct problem unread;

    if (!event_read(line, arena, &letter, why) || !event_rejected_read(letter.data, arena, ret, why))
        return fail(why, "what stands at %s/%d@%lld is no dead letter", rd_kafka_topic_name(record->rkt),
                    record->partition, (long long)record->offset);
    bool is_event = event_read(letter_message(ret, arena), arena, &event, &unread);
    *ret_letter = (struct letter){
        .id = letter.id,
        .key = letter.subject,
        .event_id = is_event              ? event.id
                    : letter.causation_id ? letter.causation_id
                                          : letter.id,
        .type = is_event ? event.type : UNREADABLE,
        .tenant = is_event ? event.tenant : NULL,
        .reason = ret->reason,
        .pointer = ret->pointer,
        .group = group_of(ret->reason, arena),
        .run = is_event ? event.run : 0,
        .attempts = ret->attempts,
        .at_us = rd_kafka_message_timestamp(record, NULL) * 1000,
        .partition = record->partition,
        .offset = record->offset,
        .is_event = is_event,
    };
    return true;
}

/* --- all of a stage ------------------------------------------------------------------------------------------ */

struct search {
    const struct letter_filter *filter;
    struct letters *found;
    struct arena *keep, *scratch;
    const struct rows *dealt_with;
};

static bool fits(const struct letter_filter *filter, const struct letter *letter)
{
    return (filter->id == NULL || strcasecmp(filter->id, letter->id) == 0 ||
            strcasecmp(filter->id, letter->event_id) == 0) &&
           (filter->key == NULL || strcmp(filter->key, letter->key) == 0) &&
           (filter->type == NULL || strcmp(filter->type, letter->type) == 0) &&
           (filter->reason == NULL || strstr(letter->reason, filter->reason) != NULL ||
            strstr(letter->group, filter->reason) != NULL);
}

static int by_id(const void *id, const void *row)
{
    return strcasecmp(id, *(const char *const *)row);
}

static bool is_dealt_with(const struct search *search, const char *id)
{
    const struct rows *rows = search->dealt_with;
    return rows->count > 0 && bsearch(id, rows->values, (size_t)rows->count, sizeof(*rows->values), by_id) != NULL;
}

static struct letter copy_letter(const struct letter *letter, struct arena *arena)
{
    struct letter copy = *letter;

    copy.id = arena_copy(arena, letter->id);
    copy.key = arena_copy(arena, letter->key);
    copy.event_id = arena_copy(arena, letter->event_id);
    copy.type = arena_copy(arena, letter->type);
    copy.tenant = arena_copy(arena, letter->tenant);
    copy.reason = arena_copy(arena, letter->reason);
    copy.pointer = arena_copy(arena, letter->pointer);
    copy.group = arena_copy(arena, letter->group);
    return copy;
}

static bool add_letter(void *context, const rd_kafka_message_t *record, struct problem *why)
{
    struct search *search = context;
    struct letters *found = search->found;
    struct event_rejected rejected;
    struct letter letter;

    bool read = letter_read(record, search->scratch, &letter, &rejected, why);
    bool wanted =
        read && fits(search->filter, &letter) && (search->filter->dealt_with || !is_dealt_with(search, letter.id));
    if (wanted && found->count == LETTERS_MAX) {
        found->too_many = true;
    } else if (wanted) {
        if (found->count == found->room) {
            found->room = found->room ? found->room * 2 : 256;
            found->all = must_realloc(found->all, found->room * sizeof(*found->all));
        }
        found->all[found->count++] = copy_letter(&letter, search->keep);
    }
    arena_reset(search->scratch);
    return read;
}

static int by_id_and_place(const void *a, const void *b)
{
    const struct letter *left = a, *right = b;
    int by_name = strcmp(left->id, right->id);
    return by_name != 0 ? by_name : (left->offset > right->offset) - (left->offset < right->offset);
}

static int by_place(const void *a, const void *b)
{
    const struct letter *left = a, *right = b;
    if (left->partition != right->partition)
        return left->partition < right->partition ? -1 : 1;
    return (left->offset > right->offset) - (left->offset < right->offset);
}

/* A stage that was killed may have sent a letter twice. */
static void leave_copies_out(struct letters *found)
{
    size_t left = 0;

    qsort(found->all, found->count, sizeof(*found->all), by_id_and_place);
    for (size_t i = 0; i < found->count; i++)
        if (left == 0 || strcmp(found->all[left - 1].id, found->all[i].id) != 0)
            found->all[left++] = found->all[i];
    found->count = left;
    qsort(found->all, found->count, sizeof(*found->all), by_place);
}

bool letters_find(struct session *session, const char *stage, const struct letter_filter *filter, struct letters *ret,
                  struct problem *why)
{
    char topic[TOPIC_BYTES];
    struct rows dealt_with;

    *ret = (struct letters){ 0 };
    if (!session_query(session, &find_dealt_with, PARAMS(stage), &dealt_with, why))
        return false;
    struct records *records = records_open(session->settings.kafka_brokers, why);
    if (records == NULL)
        return false;
    struct search search = { filter, ret, session->arena, arena_new(RECORD_BYTES_MAX), &dealt_with };
    bool done = records_of_topic(records, topic_of(stage, topic), filter->since_us, add_letter, &search, why);
    arena_free(search.scratch);
    records_close(records);
    if (ret->count > 1)
        leave_copies_out(ret);
    return done;
}

/* --- with their events --------------------------------------------------------------------------------------- */

struct again {
    const struct letter *letter;
    letters_each *each;
    void *context;
};

static bool give(void *context, const rd_kafka_message_t *record, struct problem *why)
{
    struct again *again = context;
    return again->each(again->context, again->letter, record, why);
}

bool letters_again(struct session *session, const char *stage, const struct letter *letters, size_t count,
                   letters_each *each, void *context, int64_t *ret_gone, struct problem *why)
{
    char topic[TOPIC_BYTES];
    struct records *records = records_open(session->settings.kafka_brokers, why);

    if (records == NULL)
        return false;
    topic_of(stage, topic);
    struct record_place *places = must_alloc((count + 1) * sizeof(*places));
    struct again *agains = must_alloc((count + 1) * sizeof(*agains));
    for (size_t i = 0; i < count; i++) {
        agains[i] = (struct again){ &letters[i], each, context };
        places[i] = (struct record_place){ topic, letters[i].partition, letters[i].offset, &agains[i], false };
    }
    bool done = records_at(records, places, count, give, why);
    for (size_t i = 0; i < count; i++)
        *ret_gone += places[i].gone;
    free(agains);
    free(places);
    records_close(records);
    return done;
}
