/* rules.c: a call analysed from its words alone, offline and without a model.
 *
 * Each rule is a phrase, who has to say it, and what follows from it; the turn it stands in is the evidence.  The phrases are reduced
 * words (lower case, no punctuation), since a local recogniser gives nothing else.  It says less than a model, and never more than was
 * said: where no rule speaks, the values that claim nothing stand (cold, not_booked, other, 0). */
#include "analyze/analyze.h"
#include "analyze/spoken_time.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#define TURNS_MAX 4000
#define OBJECTIONS_MAX 20
#define EVIDENCE_MAX 20
#define QUOTE_BYTES_MAX 300             /* of UTF-8; the schema allows 500 characters */
#define QUOTED_SUMMARY_BYTES_MAX 200

enum speaker { ANYONE, AGENT, CUSTOMER };

struct turn {
    enum speaker speaker;
    const char *said;               /* as transcribed */
    const char *words;              /* reduced, a space before and after each word */
};

struct conversation {
    struct turn turns[TURNS_MAX];
    int count;
    struct arena *arena;
};

struct phrase {
    const char *words;
    enum speaker by;
};

/* --- the phrases ---------------------------------------------------------------------------------------------------------- */

static const struct phrase booked_phrases[] = {
    { "you are booked", AGENT }, { "youre booked", AGENT }, { "i have booked", AGENT }, { "ive booked", AGENT }, { "booked you", AGENT },
    { "you are all set", AGENT }, { "youre all set", AGENT }, { "you are scheduled", AGENT }, { "scheduled you", AGENT },
    { "appointment is confirmed", ANYONE }, { "appointment is set", ANYONE }, { "appointment is booked", ANYONE }, { "see you then", ANYONE },
    { "see you on", ANYONE }, { "see you tomorrow", ANYONE }, { "we will be there", AGENT }, { "well be there", AGENT },
    { "will come to you", AGENT }, { "will be at your", AGENT }, { "i will put you down", AGENT }, { "put you down for", AGENT },
    { "book it", CUSTOMER }, { "i will take it", CUSTOMER }, { "that time works", CUSTOMER }, { "that works for me", CUSTOMER },
};
static const struct phrase not_offered_phrases[] = {
    { "do not offer", AGENT }, { "dont offer", AGENT }, { "do not do that", AGENT }, { "dont do that", AGENT }, { "do not service", AGENT },
    { "dont service", AGENT }, { "do not cover that", AGENT }, { "not something we do", AGENT }, { "do not provide", AGENT },
    { "dont provide", AGENT }, { "out of our service area", AGENT }, { "outside our service area", AGENT },
};
static const struct phrase hot_phrases[] = {
    { "as soon as possible", CUSTOMER }, { "right away", CUSTOMER }, { "emergency", CUSTOMER }, { "urgent", CUSTOMER }, { "leaking", CUSTOMER },
    { "a leak", CUSTOMER }, { "flooding", CUSTOMER }, { "no heat", CUSTOMER }, { "no hot water", CUSTOMER }, { "broke down", CUSTOMER },
    { "is broken", CUSTOMER }, { "stopped working", CUSTOMER }, { "come today", CUSTOMER }, { "come tomorrow", CUSTOMER },
    { "like to book", CUSTOMER }, { "want to book", CUSTOMER }, { "make an appointment", CUSTOMER }, { "schedule an appointment", CUSTOMER },
    { "book an appointment", CUSTOMER }, { "need somebody", CUSTOMER }, { "need someone", CUSTOMER }, { "can you come", CUSTOMER },
};
static const struct phrase warm_phrases[] = {
    { "how much", CUSTOMER }, { "do you offer", CUSTOMER }, { "do you do", CUSTOMER }, { "interested in", CUSTOMER }, { "a quote", CUSTOMER },
    { "an estimate", CUSTOMER }, { "looking for", CUSTOMER }, { "thinking about", CUSTOMER }, { "what does it cost", CUSTOMER },
    { "i would like", CUSTOMER }, { "i need", CUSTOMER }, { "can you help", CUSTOMER }, { "call you back", CUSTOMER },
};
static const struct phrase wrong_number_phrases[] = {
    { "wrong number", ANYONE }, { "is this not", CUSTOMER }, { "i was trying to reach", CUSTOMER }, { "i was trying to call", CUSTOMER },
};
static const struct phrase spam_phrases[] = {
    { "extended warranty", CUSTOMER }, { "press one", CUSTOMER }, { "business listing", CUSTOMER }, { "google listing", CUSTOMER },
    { "search engine", CUSTOMER }, { "special offer for your business", CUSTOMER }, { "lower your electric bill", CUSTOMER },
    { "take us off your list", AGENT }, { "do not call here", AGENT },
};
static const struct phrase existing_phrases[] = {
    { "my appointment", CUSTOMER }, { "last time you came", CUSTOMER }, { "you came out", CUSTOMER }, { "your technician was here", CUSTOMER },
    { "my invoice", CUSTOMER }, { "my order", CUSTOMER }, { "reschedule", CUSTOMER }, { "cancel my", CUSTOMER },
};
static const struct phrase voicemail_phrases[] = {
    { "leave a message", ANYONE }, { "after the tone", ANYONE }, { "after the beep", ANYONE }, { "call me back at", CUSTOMER },
};

static const struct {
    const char *category;
    struct phrase phrase;
} objection_phrases[] = {
    { "price", { "too expensive", CUSTOMER } }, { "price", { "too much money", CUSTOMER } }, { "price", { "that is a lot", CUSTOMER } },
    { "price", { "thats a lot", CUSTOMER } }, { "price", { "more than i", CUSTOMER } }, { "price", { "cannot afford", CUSTOMER } },
    { "price", { "cant afford", CUSTOMER } }, { "price", { "too high", CUSTOMER } }, { "price", { "the price is", CUSTOMER } },
    { "price", { "cheaper", CUSTOMER } }, { "price", { "over my budget", CUSTOMER } },
    { "timing", { "too late", CUSTOMER } }, { "timing", { "not soon enough", CUSTOMER } }, { "timing", { "cannot wait", CUSTOMER } },
    { "timing", { "cant wait", CUSTOMER } }, { "timing", { "not a good time", CUSTOMER } }, { "timing", { "too busy", CUSTOMER } },
    { "competitor", { "another company", CUSTOMER } }, { "competitor", { "somebody else", CUSTOMER } }, { "competitor", { "other quotes", CUSTOMER } },
    { "competitor", { "shop around", CUSTOMER } }, { "competitor", { "shopping around", CUSTOMER } },
    { "trust", { "bad reviews", CUSTOMER } }, { "trust", { "do not trust", CUSTOMER } }, { "trust", { "dont trust", CUSTOMER } },
    { "trust", { "bad experience", CUSTOMER } }, { "authority", { "ask my husband", CUSTOMER } }, { "authority", { "ask my wife", CUSTOMER } },
    { "authority", { "talk to my husband", CUSTOMER } }, { "authority", { "talk to my wife", CUSTOMER } }, { "authority", { "ask my boss", CUSTOMER } },
    { "authority", { "ask my landlord", CUSTOMER } }, { "need", { "do not need it", CUSTOMER } }, { "need", { "dont need it", CUSTOMER } },
    { "need", { "not sure i need", CUSTOMER } },
};

/* The agent's steps; each is done when one of its phrases is said. */
#define STEP_PHRASES_MAX 10
static const struct {
    const char *step;
    struct phrase phrases[STEP_PHRASES_MAX];
} sop_steps[] = {
    { "greets and names the company", { { "thank you for calling", AGENT }, { "thanks for calling", AGENT }, { "this is", AGENT },
                                        { "how can i help", AGENT }, { "how may i help", AGENT }, { "good morning", AGENT },
                                        { "good afternoon", AGENT } } },
    { "asks for the customer's name", { { "your name", AGENT }, { "who am i speaking", AGENT }, { "who is calling", AGENT } } },
    { "asks what is needed", { { "how can i help", AGENT }, { "how may i help", AGENT }, { "what can i do for you", AGENT },
                               { "what seems to be", AGENT }, { "what is the problem", AGENT }, { "tell me", AGENT } } },
    { "asks for the address or a phone number", { { "your address", AGENT }, { "the address", AGENT }, { "where do you live", AGENT },
                                                  { "your phone number", AGENT }, { "best number", AGENT }, { "what street", AGENT } } },
    { "offers an appointment", { { "appointment", AGENT }, { "we can come", AGENT }, { "can send", AGENT }, { "does that work", AGENT },
                                 { "would that work", AGENT }, { "what time", AGENT }, { "schedule", AGENT } } },
    { "repeats what was agreed or thanks", { { "see you", AGENT }, { "thank you", AGENT }, { "you are all set", AGENT },
                                             { "we will be there", AGENT }, { "have a good", AGENT }, { "have a nice", AGENT } } },
};

static const struct {
    const char *word;
    int mood;
} mood_words[] = {
    { "great", 2 }, { "perfect", 2 }, { "wonderful", 2 }, { "excellent", 2 }, { "awesome", 2 }, { "fantastic", 2 }, { "thanks", 1 },
    { "thank", 1 }, { "good", 1 }, { "nice", 1 }, { "happy", 1 }, { "please", 1 }, { "yes", 1 }, { "works", 1 }, { "glad", 1 },
    { "no", -1 }, { "not", -1 }, { "expensive", -1 }, { "problem", -1 }, { "wait", -1 }, { "late", -1 }, { "wrong", -1 }, { "broken", -1 },
    { "terrible", -2 }, { "awful", -2 }, { "horrible", -2 }, { "angry", -2 }, { "ridiculous", -2 }, { "unacceptable", -2 }, { "worst", -2 },
    { "never", -1 }, { "disappointed", -2 }, { "rude", -2 }, { "complaint", -2 },
};

static const struct {
    const char *words, *service;
} services[] = {
    { "water heater", "water heater" }, { "air conditioner", "air conditioning" }, { "air conditioning", "air conditioning" },
    { "furnace", "heating" }, { "no heat", "heating" }, { "heating", "heating" }, { "roof", "roof" }, { "gutter", "gutters" }, { "toilet", "plumbing" },
    { "pipe", "plumbing" }, { "faucet", "plumbing" }, { "drain", "plumbing" }, { "sink", "plumbing" }, { "window", "windows" }, { "door", "doors" },
    { "painting", "painting" }, { "paint", "painting" }, { "electric", "electrical" }, { "outlet", "electrical" }, { "haircut", "haircut" },
    { "cleaning", "cleaning" }, { "inspection", "inspection" }, { "repair", "repair" }, { "installation", "installation" },
};

/* --- turns and phrases in them ---------------------------------------------------------------------------------------------- */

static const char *reduced(struct arena *arena, struct text said)
{
    char *words = arena_alloc(arena, said.bytes + 3), *out = words;
    *out++ = ' ';
    for (size_t i = 0; i < said.bytes; i++) {
        unsigned char c = (unsigned char)said.at[i];
        if (isalnum(c) || c >= 0x80)
            *out++ = (char)tolower(c);
        else if (c != '\'' && out[-1] != ' ')
            *out++ = ' ';
    }
    if (out[-1] != ' ')
        *out++ = ' ';
    return words;
}

static void read_turns(const char *transcript, struct conversation *conversation)
{
    for (const char *line = transcript; *line && conversation->count < TURNS_MAX;) {
        struct text text = { line, strcspn(line, "\n") };
        line += text.bytes + (line[text.bytes] == '\n');
        struct turn *turn = &conversation->turns[conversation->count++];
        turn->speaker = text_starts(text, "agent:") ? AGENT : text_starts(text, "customer:") ? CUSTOMER : ANYONE;
        const char *colon = text.at + (turn->speaker == AGENT ? strlen("agent:") : turn->speaker == CUSTOMER ? strlen("customer:") : 0);
        while (*colon == ' ')
            colon++;
        struct text said = { colon, (size_t)(text.at + text.bytes - colon) };
        turn->said = arena_copy_text(conversation->arena, said);
        turn->words = reduced(conversation->arena, said);
    }
}

/* Whether the turn has the phrase, as whole words. */
static bool turn_has(const struct turn *turn, const char *words)
{
    size_t bytes = strlen(words);
    for (const char *at = turn->words; (at = strstr(at, words)); at++)
        if (at[-1] == ' ' && at[bytes] == ' ')
            return true;
    return false;
}

/* A recording of one channel does not tell who speaks: then anybody may have said it. */
static bool said_by(const struct turn *turn, enum speaker by)
{
    return by == ANYONE || turn->speaker == ANYONE || turn->speaker == by;
}

static const struct turn *find_phrase(const struct conversation *conversation, const struct phrase *phrases, size_t count)
{
    for (int i = 0; i < conversation->count; i++)
        for (size_t j = 0; j < count && phrases[j].words; j++)
            if (said_by(&conversation->turns[i], phrases[j].by) && turn_has(&conversation->turns[i], phrases[j].words))
                return &conversation->turns[i];
    return NULL;
}
#define FIND(conversation, phrases) find_phrase((conversation), (phrases), LENGTH(phrases))

/* The turn's own words, cut between two of them when they are too many. */
static const char *quote_of(const struct conversation *conversation, const struct turn *turn, size_t bytes_max)
{
    size_t bytes = strlen(turn->said);
    if (bytes > bytes_max) {
        bytes = bytes_max;
        while (bytes > 0 && turn->said[bytes] != ' ')
            bytes--;
    }
    return arena_copy_text(conversation->arena, (struct text){ turn->said, bytes });
}

/* --- the parts of the analysis ------------------------------------------------------------------------------------------------ */

static void add_evidence(const struct conversation *conversation, struct call_analysis *ret, const char *field, const struct turn *turn)
{
    if (ret->evidence_count < EVIDENCE_MAX)
        ret->evidence[ret->evidence_count++] =
            (struct call_analysis_evidence){ .field = field, .quote = quote_of(conversation, turn, QUOTE_BYTES_MAX) };
}

static const char *service_of(const struct conversation *conversation)
{
    for (int i = 0; i < conversation->count; i++)
        for (size_t j = 0; j < LENGTH(services); j++)
            if (strstr(conversation->turns[i].words, services[j].words))
                return services[j].service;
    return NULL;
}

/* The time that stands: the last one said up to the turn that books, else the first after it. */
static const char *agreed_time(const struct conversation *conversation, const struct rules_call *call, const struct turn *booking)
{
    struct spoken_time time = { 0 };
    for (int i = 0; i < conversation->count; i++) {
        bool whole = spoken_time_is_whole(&time);
        if (&conversation->turns[i] > booking && whole)
            break;
        spoken_time_hear(&time, conversation->turns[i].words, call->started_at, call->weekday);
    }
    return spoken_time_is_whole(&time) ? spoken_time_print(&time, conversation->arena) : NULL;
}

static void judge_booking(const struct conversation *conversation, const struct rules_call *call, struct call_analysis *ret)
{
    const struct turn *not_offered = FIND(conversation, not_offered_phrases), *booking = FIND(conversation, booked_phrases);
    ret->booking_status = booking ? "booked" : not_offered ? "service_not_offered" : "not_booked";
    if (booking || not_offered)
        add_evidence(conversation, ret, "booking_status", booking ? booking : not_offered);
    if (!booking)
        return;
    ret->appointment = arena_alloc(conversation->arena, sizeof(*ret->appointment));
    *ret->appointment = (struct call_analysis_appointment){
        .scheduled_start = agreed_time(conversation, call, booking), .service_type = service_of(conversation),
        .quote = quote_of(conversation, booking, QUOTE_BYTES_MAX) };
}

static void judge_lead(const struct conversation *conversation, struct call_analysis *ret)
{
    const struct turn *hot = FIND(conversation, hot_phrases), *warm = FIND(conversation, warm_phrases);
    bool booked = strcmp(ret->booking_status, "booked") == 0;
    ret->lead_qualification = hot || booked ? "hot" : warm ? "warm" : "cold";
    if (hot || warm)
        add_evidence(conversation, ret, "lead_qualification", hot ? hot : warm);
}

static void judge_outcome(const struct conversation *conversation, struct call_analysis *ret)
{
    const struct turn *turn = NULL;
    if (strcmp(ret->booking_status, "booked") == 0)
        ret->call_outcome_category = "booked";
    else if (strcmp(ret->booking_status, "service_not_offered") == 0)
        ret->call_outcome_category = "service_not_offered";
    else if ((turn = FIND(conversation, wrong_number_phrases)))
        ret->call_outcome_category = "wrong_number";
    else if ((turn = FIND(conversation, spam_phrases)))
        ret->call_outcome_category = "spam";
    else if ((turn = FIND(conversation, existing_phrases)))
        ret->call_outcome_category = "existing_customer";
    else if ((turn = FIND(conversation, voicemail_phrases)))
        ret->call_outcome_category = "voicemail";
    else
        ret->call_outcome_category = strcmp(ret->lead_qualification, "cold") == 0 ? "other" : "qualified_not_booked";
    if (turn) {
        add_evidence(conversation, ret, "call_outcome_category", turn);
        if (strcmp(ret->call_outcome_category, "existing_customer") != 0)
            ret->lead_qualification = "cold";
    }
}

static void find_objections(const struct conversation *conversation, struct call_analysis *ret)
{
    for (int i = 0; i < conversation->count; i++)
        for (size_t j = 0; j < LENGTH(objection_phrases) && ret->objections_count < OBJECTIONS_MAX; j++)
            if (said_by(&conversation->turns[i], CUSTOMER) && turn_has(&conversation->turns[i], objection_phrases[j].phrase.words)) {
                ret->objections[ret->objections_count++] = (struct call_analysis_objections){
                    .category = objection_phrases[j].category, .quote = quote_of(conversation, &conversation->turns[i], QUOTE_BYTES_MAX) };
                break;
            }
}

static double mood(const struct conversation *conversation)
{
    int sum = 0, count = 0;
    for (int i = 0; i < conversation->count; i++)
        for (size_t j = 0; said_by(&conversation->turns[i], CUSTOMER) && j < LENGTH(mood_words); j++)
            if (turn_has(&conversation->turns[i], mood_words[j].word)) {
                sum += mood_words[j].mood;
                count += abs(mood_words[j].mood);
            }
    return count > 0 ? (double)sum / count : 0;
}

static void check_steps(const struct conversation *conversation, struct call_analysis *ret)
{
    ret->sop_compliance.missed_steps = arena_alloc(conversation->arena, LENGTH(sop_steps) * sizeof(char *));
    for (size_t i = 0; i < LENGTH(sop_steps); i++)
        if (!FIND(conversation, sop_steps[i].phrases))
            ret->sop_compliance.missed_steps[ret->sop_compliance.missed_steps_count++] = sop_steps[i].step;
    ret->sop_compliance.score = 1.0 - (double)ret->sop_compliance.missed_steps_count / LENGTH(sop_steps);
}

static const char *summary(const struct conversation *conversation, const struct call_analysis *analysis)
{
    const struct turn *wish = FIND(conversation, hot_phrases);
    if (!wish)
        wish = FIND(conversation, warm_phrases);
    for (int i = 0; !wish && i < conversation->count; i++)
        if (said_by(&conversation->turns[i], CUSTOMER) && conversation->turns[i].said[0])
            wish = &conversation->turns[i];
    const char *booked = strcmp(analysis->booking_status, "booked") == 0                ? "An appointment was made."
                         : strcmp(analysis->booking_status, "service_not_offered") == 0 ? "The company does not offer what was asked for."
                                                                                        : "No appointment was made.";
    const char *objected = analysis->objections_count > 0 ? arena_printf(conversation->arena, " The customer objected: \"%s\".",
                                                                         analysis->objections[0].quote)
                                                          : "";
    return wish ? arena_printf(conversation->arena, "The customer said: \"%s\". %s%s", quote_of(conversation, wish, QUOTED_SUMMARY_BYTES_MAX),
                               booked, objected)
                : booked;
}

void rules_analyze(const struct rules_call *call, struct arena *arena, struct call_analysis *ret)
{
    struct conversation *conversation = arena_alloc(arena, sizeof(*conversation));
    conversation->arena = arena;
    read_turns(call->transcript, conversation);
    *ret = (struct call_analysis){
        .objections = arena_alloc(arena, OBJECTIONS_MAX * sizeof(*ret->objections)),
        .evidence = arena_alloc(arena, EVIDENCE_MAX * sizeof(*ret->evidence)) };
    judge_booking(conversation, call, ret);
    judge_lead(conversation, ret);
    judge_outcome(conversation, ret);
    find_objections(conversation, ret);
    ret->sentiment_score = mood(conversation);
    check_steps(conversation, ret);
    ret->summary = summary(conversation, ret);
}
