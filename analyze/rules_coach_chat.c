/* rules_coach_chat.c: a chat without a model: the step of the plan that fits a question, and a client who objects.
 *
 * In a roleplay the client takes up what the salesperson just did (asked, named a figure, gave way, showed proof,
 * listened, proposed a step) and holds the next objection against it; at the end the salesperson is told what of these
 * was there. */
#include "analyze/coach.h"
#include "analyze/phrases.h"

#include <stdio.h>
#include <string.h>

#define LINES 4
#define QUOTED_CHARACTERS_MAX 80

/* What somebody who sells does in a sentence. */
enum move { MOVE_CONCESSION, MOVE_FIGURE, MOVE_PROOF, MOVE_STEP, MOVE_QUESTION, MOVE_LISTENING, MOVES };
static const struct {
    const char *words[20];
    const char *reaction;               /* of the client; {said}: the salesperson's words, {figure} what was named */
    const char *did, *missed;           /* for the salesperson */
} moves[MOVES] = {
    [MOVE_CONCESSION] = { { " discount ", " cheaper ", " lower ", " reduce ", " free ", " percent off ", " waive " },
                          "You give way quickly. That makes me wonder what it is really worth.",
                          "you gave something away", NULL },
    [MOVE_FIGURE] = { { NULL }, "{figure}, you say. I would have to see how you come to that.", "you named a figure",
                      "name one figure that the client can check" },
    [MOVE_PROOF] = { { " customer ", " customers ", " example ", " reference ", " references ", " case ", " results ",
                       " because ", " proof ", " study " },
                     "That may be so elsewhere, but we are not like the others.", "you gave a reason or an example",
                     "bring an example of somebody like them" },
    [MOVE_STEP] = { { " meet ", " trial ", " pilot ", " sign ", " tomorrow ", " next week ", " call you ", " schedule ",
                      " start with ", " next step ", " test ", " try it " },
                    "Maybe. But before we speak of dates I need an answer.", "you proposed a next step",
                    "propose a next step with a day" },
    [MOVE_QUESTION] = { { NULL }, "Good that you ask. What keeps me busy is this:", "you asked",
                        "ask what is behind the objection before you answer it" },
    [MOVE_LISTENING] = { { " understand ", " i see ", " fair ", " makes sense ", " i hear ", " you are right ",
                           " good point ", " appreciate " },
                         "I am glad that you see it.", "you showed that you listened",
                         "say back what you heard before you argue" },
};

static const char *const objections[COACH_TOPICS][LINES] = {
    [TOPIC_PRICE] = { "I have looked at “{title}” once more, and for {company} it is simply too much money. Why should "
                      "we pay that?",
                      "We have a budget, and this is above it. What would you take out?",
                      "My boss will ask me what we get for it that we do not have today. What do I say?",
                      "If the price stays as it is, I would rather leave everything as it is. Convince me." },
    [TOPIC_TIMING] = { "Honestly, “{title}” comes at a bad time: everybody at {company} is busy until the end of the "
                       "quarter. Why now?",
                       "Can we not simply speak again in half a year?",
                       "Who at {company} is supposed to do that beside the daily work?",
                       "Nothing bad happens if we wait. Or does it?" },
    [TOPIC_TRUST] = { "What you say about “{title}” sounds fine, but we have been promised a lot before. How do I know "
                      "that it works at {company}?",
                      "Who is liable when it goes wrong?", "Do you have somebody of our size I can call?",
                      "You will understand that I do not put my name to it on your word alone. What can you show me?" },
    [TOPIC_COMPETITOR] = { "We are also talking with another supplier about “{title}”, and they know {company} well. "
                           "What do you do better?",
                           "They have that too. And they are already in the house.",
                           "If I change, I have the trouble of changing. What is it for?",
                           "Give me one reason that I can repeat in one sentence." },
};

static const char *const roleplay_words[] = { " roleplay ",
                                              " role play ",
                                              " role playing ",
                                              " practice ",
                                              " practise ",
                                              " rehearse ",
                                              " pretend ",
                                              " play the client ",
                                              " play my client ",
                                              " be the client ",
                                              " act as ",
                                              " object to ",
                                              " give me an objection ",
                                              " hear an objection ",
                                              " rollenspiel ",
                                              " simulación ",
                                              " jeu de rôle ",
                                              " rol yap ",
                                              NULL };

/* --- what the salesperson does ------------------------------------------------------------------------------------ */

static const char *figure_in(const char *text, struct arena *arena)
{
    struct word word;
    for (const char *at = text; word_next(at, &word); at = word.to)
        if (word.text[0] >= '0' && word.text[0] <= '9') {
            size_t behind = strspn(word.to, "0123456789.,");
            bool more = behind > 0 && word.to[behind - 1] >= '0';
            const char *end = more ? word.to + behind : word.to;
            return arena_printf(arena, "%.*s%s", (int)(end - word.from), word.from, *end == '%' ? "%" : "");
        }
    return NULL;
}

static bool does(const char *text, enum move move, struct arena *arena)
{
    if (move == MOVE_FIGURE)
        return figure_in(text, arena);
    if (move == MOVE_QUESTION)
        return strchr(text, '?');
    return rules_have(plain_words(arena, text), moves[move].words);
}

/* --- the roleplay ------------------------------------------------------------------------------------------------- */

static const char *objection(const struct coach_meeting *meeting, enum coach_topic topic, size_t turn,
                             struct arena *arena)
{
    const struct coach_slot slots[] = { { "title", meeting->title },
                                        { "company", *meeting->company ? meeting->company : "our company" },
                                        { 0 } };
    return coach_fill(arena, objections[topic][turn % LINES], slots);
}

static const char *reaction(const char *text, struct arena *arena)
{
    const char *figure = figure_in(text, arena);
    const struct coach_slot slots[] = { { "figure", figure ? figure : "" }, { 0 } };
    for (int move = 0; move < MOVES; move++)
        if (does(text, (enum move)move, arena))
            return coach_fill(arena, moves[move].reaction, slots);
    return arena_printf(arena, "“%s”: that does not answer it for me.",
                        coach_clean(arena, text, QUOTED_CHARACTERS_MAX));
}

static size_t turns_of(const struct coach_message *messages, size_t count)
{
    size_t turns = 0;
    for (size_t i = count; i-- > 0;) {
        if (messages[i].incoming && !messages[i].in_roleplay)
            break;
        turns += messages[i].incoming;
    }
    return turns;
}

/* What the roleplay that goes on is about: the words that began it, else what was spoken of in it. */
static enum coach_topic topic_of(const struct coach_meeting *meeting, const struct coach_message *messages,
                                 size_t count, size_t turns, struct arena *arena)
{
    for (size_t i = count; i-- > 0;)
        if (messages[i].incoming && --turns == 0)
            return rules_topic(meeting, plain_words(arena, messages[i].text), arena);
    return rules_topic(meeting, " ", arena);
}

static const char *speaker(const struct coach_meeting *meeting)
{
    return *meeting->client ? meeting->client : *meeting->company ? meeting->company : "The client";
}

static const char *begin_role(const struct coach_meeting *meeting, const char *text, struct arena *arena)
{
    enum coach_topic topic = rules_topic(meeting, plain_words(arena, text), arena);
    return arena_printf(arena, "(I play %s; \"exit\" ends it.)\n%s", speaker(meeting),
                        objection(meeting, topic, 0, arena));
}

static const char *stay_in_role(const struct chat *chat, const struct coach_meeting *meeting,
                                const struct coach_message *messages, size_t count, struct arena *arena)
{
    size_t turns = turns_of(messages, count);
    enum coach_topic topic = topic_of(meeting, messages, count, turns, arena);
    return arena_printf(arena, "%s %s", reaction(chat->text, arena),
                        objection(meeting, topic, turns ? turns : 1, arena));
}

/* What of the moves was there, in order, and the first that was not. */
static const char *feedback(const struct coach_meeting *meeting, const struct coach_message *messages, size_t count,
                            struct arena *arena)
{
    bool did[MOVES] = { false };
    size_t turns = turns_of(messages, count), heard = 0;
    const char *done = "", *missed = NULL;
    for (size_t i = count; i-- > 0 && heard + 1 < turns;) {     /* the first of them only asked for the roleplay */
        if (!messages[i].incoming)
            continue;
        heard++;
        for (int move = 0; move < MOVES; move++)
            did[move] = did[move] || does(messages[i].text, (enum move)move, arena);
    }
    for (int move = 0; move < MOVES; move++) {
        if (did[move])
            done = arena_printf(arena, "%s%s%s", done, *done ? ", " : "", moves[move].did);
        else if (!missed)
            missed = moves[move].missed;
    }
    if (heard == 0)
        return arena_printf(arena, "Out of the role. You did not answer %s yet; try it once before the meeting.",
                            speaker(meeting));
    return arena_printf(arena, "Out of the role. In %zu %s to %s %s.%s%s%s", heard, heard == 1 ? "answer" : "answers",
                        speaker(meeting), *done ? done : "you held against it without asking or showing anything",
                        missed ? " Next time: " : "", missed ? missed : "", missed ? "." : "");
}

/* --- advice ------------------------------------------------------------------------------------------------------- */

/* The step that has most words of the message; without any, the one whose time it is. */
static size_t fitting_step(const struct chat *chat, const struct coach_meeting *meeting, struct arena *arena)
{
    size_t best = chat->at_us < meeting->starts_us ? 0 : chat->at_us < meeting->ends_us ? 1 : 2;
    int most = 0;
    struct word word;
    for (size_t i = 0; i < COACH_STEPS; i++) {
        const char *words = plain_words(arena, meeting->steps[i]);
        int shared = 0;
        for (const char *at = chat->text; word_next(at, &word); at = word.to)
            shared += strlen(word.text) > 3 && strstr(words, arena_printf(arena, " %s ", word.text));
        best = shared > most ? i : best;
        most = shared > most ? shared : most;
    }
    return best;
}

void rules_chat(const struct chat *chat, const struct coach_meeting *meeting, const struct coach_message *messages,
                size_t count, bool leaves, struct arena *arena, struct chat_reply *reply)
{
    bool begins = rules_have(plain_words(arena, chat->text), roleplay_words);
    reply->mode = COACH_ADVICE;
    if (!meeting) {
        reply->text = sentence(arena, reply->language, SAY_NO_MEETING, NULL);
    } else if (leaves) {
        reply->text = feedback(meeting, messages, count, arena);
    } else if (chat->mode == COACH_ROLEPLAY || begins) {
        reply->mode = COACH_ROLEPLAY;
        reply->text = chat->mode == COACH_ROLEPLAY ? stay_in_role(chat, meeting, messages, count, arena)
                                                   : begin_role(meeting, chat->text, arena);
    } else if (meeting->awaiting) {
        reply->text = sentence(arena, reply->language, SAY_TELL_OUTCOME, meeting);
    } else if (meeting->summary) {
        const char *why = sentence(arena, reply->language, SAY_NO_MODEL, meeting);
        reply->text = arena_printf(arena, "%s\n%s", why, meeting->steps[fitting_step(chat, meeting, arena)]);
    } else {
        reply->text = sentence(arena, reply->language, SAY_NO_PLAN, meeting);
    }
    reply->text = coach_clean(arena, reply->text, COACH_ANSWER_CHARACTERS_MAX);
}
