/* rules_coach.c: a plan from a meeting's own words, offline and without a model.
 *
 * The title, else the description, says what kind of meeting it is; the invitation's sentences, what it will turn on;
 * the time that is left, how much can be prepared; the last meeting with the client, what to go on from.  A step quotes
 * what it rests on.  Kinds are also known by German, Spanish and French words; the plan is in English. */
#include "analyze/coach.h"
#include "analyze/phrases.h"

#include <string.h>

#define SENTENCES_MAX 40
#define SENTENCE_CHARACTERS_MAX 180     /* of what is quoted */
#define SENTENCE_WORDS_MIN 3
#define PHRASES_MAX 20

struct kind {
    const char *words[PHRASES_MAX];
    const char *goal, *prepare, *move, *close;
    enum coach_topic objection;         /* that such a meeting usually meets */
};

/* The first that fits counts: what is narrow stands before what is wide. */
static const struct kind kinds[] = {
    { { " complaint ", " complaints ", " escalation ", " issue ", " issues ", " unhappy ", " outage ", " beschwerde ",
        " reklamation ", " queja ", " réclamation " },
      "{client} is not content with something, and wants to be heard before anything is sold.",
      "collect what happened at {company} with dates, and find out what you may offer without asking anybody.",
      "Let {client} tell it to the end, say it back in one sentence, and only then speak of a remedy.",
      "Promise one remedy with a day and a name, and call {client} on that day whatever has become of it.",
      TOPIC_TRUST },
    { { " renewal ", " renew ", " renewing ", " extension ", " expires ", " verlängerung ", " vertragsverlängerung ",
        " renovación ", " renouvellement " },
      "{company} decides whether to go on, so what it got so far counts more than what is new.",
      "note three things {company} got out of the time so far, each with a figure or a name that {client} knows.",
      "Ask {client} first what should stay and what has to change, and put your offer behind that answer.",
      "Settle the term: ask {client} to agree the date from which it goes on, and who signs.",
      TOPIC_PRICE },
    { { " negotiation ", " negotiate ", " negotiating ", " verhandlung ", " negociación ", " négociation ", " terms " },
      "{client} wants better terms, and both sides have something they would rather not give.",
      "write down your limit, and two things you can give {company} that cost you little.",
      "Name your position once and then ask {client} what matters most; give nothing without getting something.",
      "Repeat what both gave in one sentence and let {client} confirm it, in writing on the same day.",
      TOPIC_PRICE },
    { { " pricing ", " price ", " prices ", " quote ", " quotation ", " proposal ", " offer ", " budget ", " angebot ",
        " preis ", " preise ", " precio ", " precios ", " propuesta ", " prix ", " devis ", " offre " },
      "{client} will weigh the price against what it is good for at {company}.",
      "put the price and the reason for it into one sentence, and have a smaller version ready.",
      "Let {client} say what the present way costs {company}, and name your price only after that.",
      "Ask {client} directly what is still missing for a yes, and agree the day of the decision.",
      TOPIC_PRICE },
    { { " closing ", " contract ", " signature ", " sign ", " signing ", " vertrag ", " contrato ", " contrat ",
        " agreement " },
      "It is about a yes that can be signed, and about the last doubts of {client}.",
      "read the contract once as {client} would, and mark the two places that will be asked about.",
      "Ask {client} which point still stands in the way, and settle that one before you speak of anything else.",
      "Go through who signs at {company} and when, and stay until the next date stands.",
      TOPIC_TIMING },
    { { " demo ", " demonstration ", " presentation ", " walkthrough ", " pitch ", " vorführung ", " präsentation ",
        " presentación ", " démonstration ", " présentation " },
      "{client} wants to see whether it fits {company}, not everything it can do.",
      "choose the two things that {client} has to see, and go through them once as they will be shown.",
      "Begin with a question: what would have to be better at {company} tomorrow? Show only what answers it.",
      "Before you end, let {client} say what they would use first, and agree a trial or the next date with a day.",
      TOPIC_TRUST },
    { { " qbr ", " quarterly ", " review ", " business review ", " jahresgespräch ", " quartalsgespräch ", " revisión ",
        " bilan " },
      "{client} looks back with you; what went well must be named, and what did not as well.",
      "bring three figures of the last months that {company} cares about, one of them a bad one.",
      "Show the figures in two minutes, then ask {client} which of them decides about the next quarter.",
      "Write down with {client} one goal for the next quarter and who does the first step.",
      TOPIC_COMPETITOR },
    { { " kickoff ", " kick off ", " onboarding ", " implementation ", " rollout ", " einführung ", " lanzamiento ",
        " lancement " },
      "{company} begins with you, and {client} wants to know what happens when.",
      "draw up the first two weeks with a name beside each task, yours and those of {company}.",
      "Ask {client} what must not go wrong, and change the plan in front of them where it answers that.",
      "Agree who speaks with whom each week, and the first thing {company} will see working.",
      TOPIC_TIMING },
    { { " follow up ", " followup ", " following up ", " check in ", " checkin ", " catch up ", " catchup ",
        " nachfassen ", " nachgespräch ", " seguimiento ", " suivi " },
      "Something is open since the last time, and {client} expects that you know what.",
      "reread what was said last, and have the answer ready to the one thing that stayed open with {client}.",
      "Begin with what you did since then, and ask {client} what has changed at {company}.",
      "Get a clear yes, no or date from {client}: what happens if nothing is decided today?",
      TOPIC_TIMING },
    { { " intro ", " introduction ", " discovery ", " first call ", " kennenlernen ", " erstgespräch ",
        " presentarnos ", " découverte ", " get to know ", " first meeting " },
      "You do not know each other yet: {client} wants to find out whether you understand {company}.",
      "find out what {company} does and for whom, and write three questions that only {client} can answer.",
      "Ask before you tell: what made {client} take this meeting, and what happens if nothing changes?",
      "Say back in two sentences what you understood, and propose one next step with a day.",
      TOPIC_TRUST },
};
static const struct kind any_kind = {
    { NULL },
    "What {client} wants from it has to be found out in the first minutes.",
    "write one sentence on what you want {client} to do after “{title}”, and what {company} gets from it.",
    "Ask {client} at the start what would make “{title}” worth the time, and answer that first.",
    "End with a question that can be answered with a day: when does {company} do the next step?", TOPIC_TIMING,
};

/* What an invitation turns on, beside its kind: how to prepare for it and what to ask. */
static const struct {
    const char *words[PHRASES_MAX];
    const char *prepare, *ask;
} themes[] = {
    { { " security ", " gdpr ", " privacy ", " compliance ", " data protection ", " datenschutz ", " audit " },
      "have the answer on security ready, or the name of who has it",
      "which of the security questions could stop it at {company}" },
    { { " integration ", " integrate ", " api ", " crm ", " erp ", " migration ", " import " },
      "know which systems it has to work with",
      "what it has to be connected with at {company}, and who looks after that" },
    { { " competitor ", " competitors ", " alternative ", " alternatives ", " compare ", " comparison ", " vendors " },
      "know the one point where you are better than the others, and the one where you are not",
      "what {client} likes about the others" },
    { { " discount ", " price ", " prices ", " pricing ", " budget ", " cost ", " costs ", " expensive ",
        " increase " },
      "have the price with its reason ready",
      "what the budget depends on, and who decides it at {company}" },
    { { " deadline ", " timeline ", " schedule ", " delay ", " delivery ", " go live ", " urgent ", " quarter " },
      "know the earliest day you can keep",
      "which day it has to be done by, and what happens if it is not" },
    { { " training ", " team ", " users ", " adoption ", " staff ", " colleagues " },
      "know what the people who use it have to learn",
      "who at {company} would work with it first" },
    { { " decision ", " decide ", " cfo ", " ceo ", " director ", " board ", " approval ", " procurement " },
      "find out who decides besides {client}",
      "who else has to say yes at {company}, and what they look at" },
};

const char *const coach_topics[COACH_TOPICS] = { "price", "timing", "trust", "competitor" };
static const char *const topic_words[COACH_TOPICS][PHRASES_MAX] = {
    { " price ", " prices ", " pricing ", " expensive ", " budget ", " cost ", " costs ", " discount ", " cheaper ",
      " money ", " increase ", " preis ", " teuer ", " precio ", " caro ", " prix ", " cher " },
    { " timing ", " time ", " later ", " delay ", " busy ", " deadline ", " urgent ", " next year ", " quarter ",
      " wait ", " schedule ", " zeit ", " später ", " tiempo ", " temps " },
    { " trust ", " risk ", " security ", " reference ", " references ", " proof ", " guarantee ", " reviews ",
      " outage ", " vertrauen ", " confianza ", " confiance " },
    { " competitor ", " competitors ", " competition ", " alternative ", " alternatives ", " other vendor ",
      " compare ", " konkurrenz ", " wettbewerber ", " competencia ", " concurrent " },
};

/* --- words -------------------------------------------------------------------------------------------------------- */

bool rules_have(const char *words, const char *const *phrases)
{
    for (size_t i = 0; i < PHRASES_MAX && phrases[i]; i++)
        if (strstr(words, phrases[i]))
            return true;
    return false;
}

static const struct kind *find_kind(const char *words)
{
    for (size_t i = 0; i < LENGTH(kinds); i++)
        if (rules_have(words, kinds[i].words))
            return &kinds[i];
    return NULL;
}

static const struct kind *kind_of(const struct coach_meeting *meeting, struct arena *arena)
{
    const struct kind *kind = find_kind(plain_words(arena, meeting->title));
    kind = kind ? kind : find_kind(plain_words(arena, meeting->description));
    return kind ? kind : &any_kind;
}

static int find_topic(const char *words)
{
    for (int i = 0; i < COACH_TOPICS; i++)
        if (rules_have(words, topic_words[i]))
            return i;
    return -1;
}

enum coach_topic rules_topic(const struct coach_meeting *meeting, const char *words, struct arena *arena)
{
    int topic = find_topic(words);
    if (topic < 0 && meeting)
        topic = find_topic(plain_words(arena, meeting->title));
    if (topic < 0 && meeting)
        topic = find_topic(plain_words(arena, meeting->description));
    return topic >= 0 ? (enum coach_topic)topic : meeting ? kind_of(meeting, arena)->objection : TOPIC_PRICE;
}

/* --- the invitation's sentences ----------------------------------------------------------------------------------- */

struct sentences {
    const char *said[SENTENCES_MAX], *words[SENTENCES_MAX];
    size_t count;
};

/* What calendars put below an invitation, greetings, links and lines of signs. */
static bool is_furniture(const char *said, const char *words)
{
    static const char *const furniture[] = {
        " join ", " microsoft teams ", " zoom ", " meeting id ", " passcode ", " dial ", " regards ", " unsubscribe ",
        " hi ",   " hello ",           " dear ", " thanks ",     NULL
    };
    size_t count = 0;
    for (const char *at = words; (at = strchr(at + 1, ' '));)
        count++;
    return count < SENTENCE_WORDS_MIN || strstr(said, "://") || rules_have(words, furniture);
}

static const char *behind_bullet(const char *said)
{
    said += strncmp(said, "•", strlen("•")) == 0 ? strlen("•") : strspn(said, "-*");
    return said + strspn(said, " ");
}

static void read_sentences(const char *text, struct arena *arena, struct sentences *ret)
{
    ret->count = 0;
    while (*text && ret->count < SENTENCES_MAX) {
        size_t bytes = strcspn(text, ".?!\n");
        bool inside = text[bytes] && text[bytes] != '\n' && text[bytes + 1] && !strchr(" \n.?!", text[bytes + 1]);
        while (inside) {                        /* "3.5", "globex.com" */
            bytes += 1 + strcspn(text + bytes + 1, ".?!\n");
            inside = text[bytes] && text[bytes] != '\n' && text[bytes + 1] && !strchr(" \n.?!", text[bytes + 1]);
        }
        bytes += text[bytes] == '?';
        const char *said =
            coach_clean(arena, arena_copy_text(arena, (struct text){ text, bytes }), SENTENCE_CHARACTERS_MAX);
        said = behind_bullet(said);
        const char *words = plain_words(arena, said);
        if (!is_furniture(said, words)) {
            ret->said[ret->count] = said;
            ret->words[ret->count++] = words;
        }
        text += bytes;
        text += strspn(text, ".!? \n");
    }
}

/* The first question among them, else the first that speaks of the theme, else the first; NULL: there are none. */
static const char *chosen_sentence(const struct sentences *sentences, const char *const *theme)
{
    for (size_t i = 0; i < sentences->count; i++)
        if (text_is_question(sentences->said[i]))
            return sentences->said[i];
    for (size_t i = 0; i < sentences->count && theme; i++)
        if (rules_have(sentences->words[i], theme))
            return sentences->said[i];
    return sentences->count > 0 ? sentences->said[0] : NULL;
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

static const char *time_left(int64_t minutes, struct arena *arena)
{
    if (minutes >= 2880)
        return arena_printf(arena, "You have %lld days: ", (long long)minutes / 1440);
    if (minutes >= 120)
        return arena_printf(arena, "You have %lld hours: ", (long long)minutes / 60);
    if (minutes >= 10)
        return arena_printf(arena, "In the %lld minutes that are left, ", (long long)minutes);
    return "It is about to begin, so in one minute: ";
}

static const char *capital(struct arena *arena, const char *text)
{
    char *copy = arena_copy(arena, text);
    if (copy[0] >= 'a' && copy[0] <= 'z')
        copy[0] = (char)(copy[0] - 'a' + 'A');
    return copy;
}

static int find_theme(const struct coach_meeting *meeting, struct arena *arena)
{
    const char *words = plain_words(arena, arena_printf(arena, "%s\n%s", meeting->title, meeting->description));
    for (size_t i = 0; i < LENGTH(themes); i++)
        if (rules_have(words, themes[i].words))
            return (int)i;
    return -1;
}

void rules_plan(const struct coach_meeting *meeting, const struct coach_known *known, int64_t minutes_left,
                struct arena *arena, struct meeting_plan *ret)
{
    const struct kind *kind = kind_of(meeting, arena);
    const char *client = *meeting->client    ? meeting->client
                         : *meeting->company ? meeting->company
                                             : "the client",
               *company = *meeting->company  ? meeting->company
                          : *meeting->client ? meeting->client
                                             : "the client's company";
    const struct coach_slot slots[] = {
        { "client", client }, { "company", company }, { "title", meeting->title }, { 0 }
    };
    struct sentences sentences;
    int theme = find_theme(meeting, arena);
    read_sentences(meeting->description, arena, &sentences);
    const char *sentence = chosen_sentence(&sentences, theme >= 0 ? themes[theme].words : NULL),
               *last = known->count > 0 && *known->meetings[0].outcome ? known->meetings[0].outcome : NULL;

    const char *invited = sentence ? arena_printf(arena, " The invitation says: “%s”.", sentence) : "",
               *history = last ? arena_printf(arena, " Last time (%s): “%s”.", known->meetings[0].day, last)
                          : known->count > 0 ? arena_printf(arena, " You last met on %s (“%s”); nothing was noted.",
                                                            known->meetings[0].day, known->meetings[0].title)
                                             : "";
    const char *prepared =
                   theme >= 0 ? arena_printf(arena, " And %s.", coach_fill(arena, themes[theme].prepare, slots)) : "",
               *asked = sentence && text_is_question(sentence)
                            ? arena_printf(arena, " Be ready to answer: “%s”", sentence)
                        : theme >= 0 ? arena_printf(arena, " Ask %s.", coach_fill(arena, themes[theme].ask, slots))
                                     : "",
               *go_on = last ? arena_printf(arena, " Go on from what was noted: “%s”.", last) : "";
    *ret = (struct meeting_plan){ .language = "en", .steps_count = COACH_STEPS,
                                  .steps = arena_alloc(arena, COACH_STEPS * sizeof(*ret->steps)) };
    ret->summary = arena_printf(arena, "“%s” with %s. %s%s%s", meeting->title, client,
                                capital(arena, coach_fill(arena, kind->goal, slots)), invited, history);
    ret->steps[0] = arena_printf(arena, "%s%s%s", time_left(minutes_left, arena),
                                 coach_fill(arena, kind->prepare, slots), prepared);
    ret->steps[1] = arena_printf(arena, "%s%s", coach_fill(arena, kind->move, slots), asked);
    ret->steps[2] = arena_printf(arena, "%s%s", coach_fill(arena, kind->close, slots), go_on);
}
