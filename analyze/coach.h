/* coach.h: what the sales coach's files share: meetings as their salesperson sees them, a chat as it stood when a
 * message came, and what becomes of the message.  Everything lives in the handler's arena. */
#pragma once

#include "analyze/analyze.h"

/* Code points. What others wrote is cut here before a model sees it. */
#define COACH_ANSWER_CHARACTERS_MAX 3000
#define COACH_NAME_CHARACTERS_MAX 200
#define COACH_TITLE_CHARACTERS_MAX 300
#define COACH_DESCRIPTION_CHARACTERS_MAX 4000
#define COACH_OUTCOME_CHARACTERS_MAX 600
#define COACH_MESSAGE_CHARACTERS_MAX 4000
#define COACH_QUOTE_CHARACTERS_MAX 1000
#define COACH_MEETINGS_MAX 14           /* of a chat: UPCOMING_MAX + PAST_MAX of coach_chat.c */
#define COACH_KNOWN_MAX 5               /* earlier meetings with a client */
#define COACH_MESSAGES_MAX 20           /* of a conversation */
#define COACH_STEPS 3

struct coach_meeting {
    const char *meeting_id, *client_id;
    const char *title, *description;    /* the invitation's own words */
    const char *client, *company;       /* "": not known */
    int64_t starts_us, ends_us;
    const char *starts, *ends;          /* local wall-clock time: "2026-11-27 10:00" */
    const char *when;                   /* of its start, no longer than needed: "10:00" when that is today */
    const char *summary;                /* of its plan; NULL: there is none */
    const char *steps[COACH_STEPS];
    bool plan_announced;                /* its plan waits for the person to write */
    bool awaiting;                      /* its reminder went out, and nobody said how it went */
    bool noted;                         /* somebody did */
    int64_t noted_us;
};

/* What is known of a client: the earlier meetings, the latest first. */
struct coach_known {
    struct {
        const char *day, *title, *outcome;      /* "" : nothing was noted */
    } meetings[COACH_KNOWN_MAX];
    size_t count;
};

struct coach_message {
    bool incoming;
    bool in_roleplay;                   /* it was answered in role */
    const char *text;
};

enum coach_mode { COACH_ADVICE, COACH_ROLEPLAY };
extern const char *const coach_modes[];         /* by enum coach_mode */

/* A message, and the chat as it stood when it came. */
struct chat {
    const char *tenant, *email, *message_id, *from;
    const char *text;                   /* cleaned; "": there is none */
    bool media, voice;
    int64_t at_us;
    const char *name, *company, *time_zone, *now;       /* of the salesperson; the local time */
    bool stopped;                       /* wants no messages */
    enum coach_mode mode;
    const char *language;
    const char *meeting_id;             /* the one spoken of last; may be NULL */
    const char *waiting, *choices;      /* as in chat_answers, the ids parted by commas; NULL: nothing waits */
    const char *picked;                 /* the meeting that the person chose of them; may be NULL */
    struct coach_meeting meetings[COACH_MEETINGS_MAX];  /* by start */
    size_t count;
};

/* As the event chat.answered and the table chat_answers have it. */
struct chat_reply {
    const char *act, *text, *outcome, *quote, *language;
    const struct coach_meeting *meeting;
    enum coach_mode mode;
    const char *waiting, *choices;      /* choices: an array's text */
    const char *provider, *model, *prompt_version;
};

/* --- coach.c ------------------------------------------------------------------------------------------------------ */
stage_handler plan_meeting;
enum outcome coach_known(struct work *work, const char *tenant, const char *client_id, const char *meeting_id,
                         struct coach_known *ret);
void coach_known_write(struct buf *json, const struct coach_known *known);      /* as an array */
/* Fills the steps from their JSON; false when it is not an array of COACH_STEPS texts. */
bool coach_steps(struct arena *arena, const char *json, const char *ret[COACH_STEPS]);

/* --- coach_chat.c ------------------------------------------------------------------------------------------------- */
stage_handler answer_chat, answer_voice;
enum outcome coach_messages(struct work *work, const struct chat *chat, struct coach_message *ret, size_t *ret_count);

/* --- coach_commands.c: what needs no model ------------------------------------------------------------------------ */
enum command_kind {
    COMMAND_NONE,
    COMMAND_PLAN,
    COMMAND_NEXT,
    COMMAND_HELP,
    COMMAND_STOP,
    COMMAND_UNSUBSCRIBE,
    COMMAND_START, /* stop means the roleplay when there is one, unsubscribe never */
    COMMAND_DONE,
    COMMAND_CHANGE,
    COMMAND_UNDO,
    COMMAND_LEAVE, /* a roleplay */
    COMMAND_YES,   /* or a greeting, thanks, a thumb: nothing is asked */
};
struct command {
    enum command_kind kind;
    const char *rest;                   /* of done and change: the words behind, in `text`'s bytes */
    const char *language;               /* whose word it is; NULL: one that everybody is told to use */
};
struct command command_read(const char *text, struct arena *arena);
bool text_is_question(const char *text);        /* it ends in a question mark of some script */
/* "de": the language the words are of, among those of coach_sentences.c; NULL: too few words tell. */
const char *text_language(const char *text, struct arena *arena);

/* --- coach_meetings.c: which meeting is meant --------------------------------------------------------------------- */
enum meeting_purpose { TO_TALK, TO_COMPLETE, TO_MEND };
struct meeting_choice {
    const struct coach_meeting *of[COACH_MEETINGS_MAX];
    size_t count;                       /* 0: there is none; 1: it is this one; more: the words do not say which */
};
struct meeting_choice meeting_choose(const struct chat *chat, enum meeting_purpose purpose, struct arena *arena);
/* The one that an answer to "which?" names, by number or words; NULL: it names none, or several. */
const char *meeting_picked(const struct chat *chat, struct arena *arena);
/* The one that the words name by its client, whether or not it fits anything; NULL: none, or several. */
const struct coach_meeting *meeting_named(const struct chat *chat, struct arena *arena);
const char *meeting_label(const struct coach_meeting *meeting, struct arena *arena);    /* Demo (Jane, Globex) */

/* --- coach_model.c ------------------------------------------------------------------------------------------------ */
/* A model's answer to the chat's message; `leaves`: the roleplay ends with it. */
enum outcome coach_ask(struct work *work, const struct chat *chat, const struct meeting_choice *current, bool leaves,
                       struct chat_reply *reply);

/* --- coach_sentences.c: what is said without a model, in the salesperson's language ------------------------------- */
enum sentence {
    SAY_HELP,
    SAY_NEXT,
    SAY_UNDER_WAY,
    SAY_NO_MEETING,
    SAY_WHICH,
    SAY_NOT_BEGUN,
    SAY_ALREADY_NOTED,
    SAY_NOTHING_TO_COMPLETE,
    SAY_NOTHING_TO_MEND,
    SAY_CHANGE_HOW,
    SAY_NO_PLAN,
    SAY_MEDIA,
    SAY_NO_WORDS,
    SAY_TELL_OUTCOME,
    SAY_STOP_AGAIN,
    SAY_NO_MODEL,
    SENTENCES
};
#define COACH_LANGUAGES 9
extern const char *const coach_languages[COACH_LANGUAGES];
/* In `language` (BCP 47), else English; {meeting} and {when} are the meeting's, which may be NULL. */
const char *sentence(struct arena *arena, const char *language, enum sentence which,
                     const struct coach_meeting *meeting);

/* --- coach_text.c ------------------------------------------------------------------------------------------------- */
/* What others wrote, without what cannot be seen: control characters, marks that turn the direction of writing, tags;
 * cut between words.  NULL gives "". */
const char *coach_clean(struct arena *arena, const char *text, size_t characters_max);
/* As a person writes in WhatsApp: no headings, tables or code fences; *bold* has one asterisk. */
const char *coach_style(struct arena *arena, const char *text, size_t characters_max);

/* The template with its {names} filled in. */
struct coach_slot {
    const char *name, *value;           /* name NULL ends a list */
};
const char *coach_fill(struct arena *arena, const char *template, const struct coach_slot *slots);

/* --- rules_coach.c, rules_coach_chat.c: without any model, for English; see there -----------------------------------
 */
void rules_plan(const struct coach_meeting *meeting, const struct coach_known *known, int64_t minutes_left,
                struct arena *arena, struct meeting_plan *ret);
enum coach_topic { TOPIC_PRICE, TOPIC_TIMING, TOPIC_TRUST, TOPIC_COMPETITOR, COACH_TOPICS };
extern const char *const coach_topics[COACH_TOPICS];
/* What the words speak of, or, when they speak of none, the meeting; last of all what its kind is held against. */
enum coach_topic rules_topic(const struct coach_meeting *meeting, const char *words, struct arena *arena);
/* Is one of the phrases, each within blanks, among plain words?  NULL ends the list. */
bool rules_have(const char *words, const char *const *phrases);
/* Sets text and mode. `meeting` may be NULL. */
void rules_chat(const struct chat *chat, const struct coach_meeting *meeting, const struct coach_message *messages,
                size_t count, bool leaves, struct arena *arena, struct chat_reply *reply);
