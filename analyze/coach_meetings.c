/* coach_meetings.c: which of a salesperson's meetings a message is about.
 *
 * To talk about: the one under way, else the next one, else the last one nobody has told the end of.  To complete: the
 * one that was asked about, else the last one that has begun.  Names in the message come first: a client's or company's
 * among all of them, a title's among those that are equally near.  Two at once, and no name: the person is asked. */
#include "analyze/coach.h"
#include "analyze/phrases.h"

#include <stdlib.h>
#include <string.h>

#define NAME_BYTES_MIN 3                /* shorter words name nobody */
#define MEND_US_MAX (INT64_C(7) * 86400 * 1000000)      /* so long a note is changed by a word */
#define UNFIT INT64_MAX

/* Of companies and names: words that everybody has, or that are ordinary ones. */
static const char common_names[] =
    " inc ltd llc gmbh corp corporation company group the and plc sarl spa solutions services systems technologies"
    " international holding partners for new van von der den del las los mrs miss herr frau will mark may bill hope "
    "rich"
    " can but not ";

/* --- names -------------------------------------------------------------------------------------------------------- */

/* How many words of `name` are among `words`; each counts once. */
static int names_in(const char *words, const char *name, struct arena *arena)
{
    int count = 0;
    struct word word;
    for (const char *at = name; word_next(at, &word); at = word.to) {
        const char *needle = arena_printf(arena, " %s ", word.text);
        count += strlen(word.text) >= NAME_BYTES_MIN && !strstr(common_names, needle) && strstr(words, needle);
    }
    return count;
}

static int client_in(const char *words, const struct coach_meeting *meeting, struct arena *arena)
{
    return names_in(words, meeting->client, arena) + names_in(words, meeting->company, arena);
}

static int meeting_in(const char *words, const struct coach_meeting *meeting, struct arena *arena)
{
    return client_in(words, meeting, arena) + names_in(words, meeting->title, arena);
}

/* Keeps those that the words name best, when they name any. */
static void keep_named(struct meeting_choice *choice, const char *words, struct arena *arena,
                       int (*score)(const char *words, const struct coach_meeting *meeting, struct arena *arena))
{
    int scores[COACH_MEETINGS_MAX], best = 0;
    size_t kept = 0;
    for (size_t i = 0; i < choice->count; i++) {
        scores[i] = score(words, choice->of[i], arena);
        best = scores[i] > best ? scores[i] : best;
    }
    for (size_t i = 0; i < choice->count; i++)
        if (scores[i] == best)
            choice->of[kept++] = choice->of[i];
    choice->count = kept;
}

const struct coach_meeting *meeting_named(const struct chat *chat, struct arena *arena)
{
    const char *words = plain_words(arena, chat->text);
    struct meeting_choice choice = { .count = 0 };
    for (size_t i = 0; i < chat->count; i++)
        if (client_in(words, &chat->meetings[i], arena) > 0)
            choice.of[choice.count++] = &chat->meetings[i];
    keep_named(&choice, words, arena, client_in);
    return choice.count == 1 ? choice.of[0] : NULL;
}

const char *meeting_label(const struct coach_meeting *meeting, struct arena *arena)
{
    const char *client = meeting->client, *company = meeting->company;
    if (!*client && !*company)
        return meeting->title;
    return arena_printf(arena, "%s (%s%s%s)", meeting->title, client, *client && *company ? ", " : "", company);
}

/* --- nearness ----------------------------------------------------------------------------------------------------- */

/* Lower is nearer; UNFIT: not for this purpose. */
static int64_t rank_of(const struct chat *chat, const struct coach_meeting *meeting, enum meeting_purpose purpose)
{
    bool begun = meeting->starts_us <= chat->at_us, ended = meeting->ends_us <= chat->at_us;
    if (purpose == TO_MEND)
        return meeting->noted && meeting->noted_us + MEND_US_MAX > chat->at_us ? 0 : UNFIT;
    if (purpose == TO_COMPLETE)
        return !begun || meeting->noted ? UNFIT : meeting->awaiting ? 0 : 1;
    return meeting->noted ? 3 : !begun ? 1 : ended ? 2 : 0;
}

/* Of two of the same rank: is `a` nearer? */
static bool is_nearer(const struct chat *chat, const struct coach_meeting *a, const struct coach_meeting *b,
                      enum meeting_purpose purpose)
{
    if (purpose == TO_MEND)
        return a->noted_us > b->noted_us;
    if (a->starts_us > chat->at_us)
        return a->starts_us < b->starts_us;
    return a->ends_us > b->ends_us;
}

/* Is `other` at once with the nearest? */
static bool is_at_once(const struct chat *chat, const struct coach_meeting *nearest, const struct coach_meeting *other,
                       enum meeting_purpose purpose)
{
    if (nearest == other || purpose == TO_MEND)
        return nearest == other;
    if (nearest->starts_us > chat->at_us)
        return nearest->starts_us == other->starts_us;
    return nearest->starts_us < other->ends_us && other->starts_us < nearest->ends_us;
}

static void keep_nearest(const struct chat *chat, struct meeting_choice *choice, enum meeting_purpose purpose)
{
    const struct coach_meeting *nearest = NULL;
    int64_t best = UNFIT;
    size_t kept = 0;
    for (size_t i = 0; i < choice->count; i++) {
        int64_t rank = rank_of(chat, choice->of[i], purpose);
        if (rank < best || (rank == best && rank != UNFIT && is_nearer(chat, choice->of[i], nearest, purpose))) {
            best = rank;
            nearest = choice->of[i];
        }
    }
    for (size_t i = 0; i < choice->count && nearest; i++)
        if (rank_of(chat, choice->of[i], purpose) == best && is_at_once(chat, nearest, choice->of[i], purpose))
            choice->of[kept++] = choice->of[i];
    choice->count = kept;
}

/* A conversation goes on about the meeting it was about. */
static void keep_spoken_of(const struct chat *chat, struct meeting_choice *choice)
{
    for (size_t i = 0; i < choice->count && chat->meeting_id; i++)
        if (strcmp(choice->of[i]->meeting_id, chat->meeting_id) == 0)
            *choice = (struct meeting_choice){ .of = { choice->of[i] }, .count = 1 };
}

static const struct coach_meeting *meeting_by_id(const struct chat *chat, struct text id)
{
    for (size_t i = 0; i < chat->count && id.at; i++)
        if (text_is(id, chat->meetings[i].meeting_id))
            return &chat->meetings[i];
    return NULL;
}

struct meeting_choice meeting_choose(const struct chat *chat, enum meeting_purpose purpose, struct arena *arena)
{
    const char *words = plain_words(arena, chat->text);
    const struct coach_meeting *picked = meeting_by_id(chat, text_of(chat->picked));
    struct meeting_choice choice = { .count = 0 };
    if (picked && rank_of(chat, picked, purpose) != UNFIT)
        return (struct meeting_choice){ .of = { picked }, .count = 1 };
    for (size_t i = 0; i < chat->count; i++)
        if (rank_of(chat, &chat->meetings[i], purpose) != UNFIT)
            choice.of[choice.count++] = &chat->meetings[i];
    keep_named(&choice, words, arena, client_in);
    keep_nearest(chat, &choice, purpose);
    keep_named(&choice, words, arena, meeting_in);
    if (purpose == TO_TALK && choice.count > 1)
        keep_spoken_of(chat, &choice);
    return choice;
}

/* --- an answer to "which?" ---------------------------------------------------------------------------------------- */

const char *meeting_picked(const struct chat *chat, struct arena *arena)
{
    struct meeting_choice choice = { .count = 0 };
    struct word word;
    const char *words = plain_words(arena, chat->text);
    bool numbered = word_next(chat->text, &word) && word.text[0] >= '0' && word.text[0] <= '9';
    long number = numbered ? strtol(word.text, NULL, 10) : 0, at = 1;
    number = numbered && !word_next(word.to, &word) ? number : 0;       /* nothing else is said */
    for (const char *id = chat->choices; *id && choice.count < COACH_MEETINGS_MAX; at++) {
        struct text one = { id, strcspn(id, ",") };
        const struct coach_meeting *meeting = meeting_by_id(chat, one);
        if (meeting && at == number)
            return meeting->meeting_id;
        if (meeting && meeting_in(words, meeting, arena) > 0)
            choice.of[choice.count++] = meeting;
        id += one.bytes + (id[one.bytes] == ',');
    }
    keep_named(&choice, words, arena, meeting_in);
    return choice.count == 1 ? choice.of[0]->meeting_id : NULL;
}
