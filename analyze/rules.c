/* rules.c: a call analysed from its words alone, offline and without a model.
 *
 * Each rule is a phrase, who has to say it, and what follows from it; the words around it are the evidence.  The
 * phrases are plain words (words.h), since a local recogniser gives nothing else.  It says less than a model: where
 * no rule speaks, the values that claim nothing stand (cold, not_booked, other, 0). */
#include "analyze/analyze.h"
#include "analyze/phrases.h"
#include "analyze/spoken_time.h"

#include <stdlib.h>
#include <string.h>

#define EVIDENCE_MAX 20
#define QUOTED_SUMMARY_BYTES_MAX 200
#define BOOKED_TIME_BYTES 120   /* behind the words that book, the time may follow: "booked for tuesday at ten" */

/* --- the phrases -------------------------------------------------------------------------------------------------- */

static const struct phrase booked_phrases[] = {
    { "you are booked", AGENT },      { "youre booked", AGENT },
    { "i have booked", AGENT },       { "ive booked", AGENT },
    { "booked you", AGENT },          { "you are all set", AGENT },
    { "youre all set", AGENT },       { "you are scheduled", AGENT },
    { "scheduled you", AGENT },       { "appointment is confirmed", ANYONE },
    { "appointment is set", ANYONE }, { "appointment is booked", ANYONE },
    { "see you then", ANYONE },       { "see you on", ANYONE },
    { "see you tomorrow", ANYONE },   { "we will be there", AGENT },
    { "well be there", AGENT },       { "will come to you", AGENT },
    { "will be at your", AGENT },     { "i will put you down", AGENT },
    { "put you down for", AGENT },
};
/* These book only once a day or an hour was named. */
static const struct phrase accepted_phrases[] = {
    { "book it", CUSTOMER },
    { "i will take it", CUSTOMER },
    { "that time works", CUSTOMER },
    { "that works for me", CUSTOMER },
};
static const struct phrase cancelled_phrases[] = {
    { "cancel my", CUSTOMER },      { "cancel the", CUSTOMER },     { "want to cancel", CUSTOMER },
    { "need to cancel", CUSTOMER }, { "like to cancel", CUSTOMER }, { "have to cancel", CUSTOMER },
};
static const struct phrase not_offered_phrases[] = {
    { "do not offer", AGENT },
    { "dont offer", AGENT },
    { "do not do that", AGENT },
    { "dont do that", AGENT },
    { "do not service", AGENT },
    { "dont service", AGENT },
    { "do not cover that", AGENT },
    { "not something we do", AGENT },
    { "do not provide", AGENT },
    { "dont provide", AGENT },
    { "out of our service area", AGENT },
    { "outside our service area", AGENT },
};
static const struct phrase hot_phrases[] = {
    { "as soon as possible", CUSTOMER },
    { "right away", CUSTOMER },
    { "emergency", CUSTOMER },
    { "urgent", CUSTOMER },
    { "leaking", CUSTOMER },
    { "a leak", CUSTOMER },
    { "flooding", CUSTOMER },
    { "no heat", CUSTOMER },
    { "no hot water", CUSTOMER },
    { "broke down", CUSTOMER },
    { "is broken", CUSTOMER },
    { "stopped working", CUSTOMER },
    { "come today", CUSTOMER },
    { "come tomorrow", CUSTOMER },
    { "like to book", CUSTOMER },
    { "want to book", CUSTOMER },
    { "make an appointment", CUSTOMER },
    { "schedule an appointment", CUSTOMER },
    { "book an appointment", CUSTOMER },
    { "need somebody", CUSTOMER },
    { "need someone", CUSTOMER },
    { "can you come", CUSTOMER },
};
static const struct phrase warm_phrases[] = {
    { "how much", CUSTOMER },      { "do you offer", CUSTOMER },   { "do you do", CUSTOMER },
    { "interested in", CUSTOMER }, { "a quote", CUSTOMER },        { "an estimate", CUSTOMER },
    { "looking for", CUSTOMER },   { "thinking about", CUSTOMER }, { "what does it cost", CUSTOMER },
    { "i would like", CUSTOMER },  { "i need", CUSTOMER },         { "can you help", CUSTOMER },
    { "call you back", CUSTOMER },
};
static const struct phrase wrong_number_phrases[] = {
    { "wrong number", ANYONE }, { "i was trying to reach", CUSTOMER }, { "i was trying to call", CUSTOMER },
};
static const struct phrase spam_phrases[] = {
    { "extended warranty", CUSTOMER },
    { "press one", CUSTOMER },
    { "business listing", CUSTOMER },
    { "google listing", CUSTOMER },
    { "search engine", CUSTOMER },
    { "special offer for your business", CUSTOMER },
    { "lower your electric bill", CUSTOMER },
    { "take us off your list", AGENT },
    { "do not call here", AGENT },
};
static const struct phrase existing_phrases[] = {
    { "my appointment", CUSTOMER }, { "last time you came", CUSTOMER },
    { "you came out", CUSTOMER },   { "your technician was here", CUSTOMER },
    { "my invoice", CUSTOMER },     { "my order", CUSTOMER },
    { "reschedule", CUSTOMER },     { "to cancel", CUSTOMER },
    { "cancel my", CUSTOMER },      { "cancel the", CUSTOMER },
};
static const struct phrase voicemail_phrases[] = {
    { "after the tone", ANYONE }, { "after the beep", ANYONE }, { "at the tone", ANYONE },
};

static const struct {
    const char *words, *service;
} services[] = {
    { "water heater", "water heater" },
    { "air conditioner", "air conditioning" },
    { "air conditioning", "air conditioning" },
    { "furnace", "heating" },
    { "no heat", "heating" },
    { "heating", "heating" },
    { "roof", "roof" },
    { "gutter", "gutters" },
    { "toilet", "plumbing" },
    { "pipe", "plumbing" },
    { "faucet", "plumbing" },
    { "drain", "plumbing" },
    { "sink", "plumbing" },
    { "window", "windows" },
    { "door", "doors" },
    { "painting", "painting" },
    { "paint", "painting" },
    { "electric", "electrical" },
    { "outlet", "electrical" },
    { "haircut", "haircut" },
    { "cleaning", "cleaning" },
    { "inspection", "inspection" },
    { "repair", "repair" },
    { "installation", "installation" },
};

/* --- the parts of the analysis ------------------------------------------------------------------------------------ */

static void add_evidence(const struct conversation *conversation, struct call_analysis *ret, const char *field,
                         struct heard heard)
{
    if (heard.turn && ret->evidence_count < EVIDENCE_MAX)
        ret->evidence[ret->evidence_count++] =
            (struct call_analysis_evidence){ field, heard_quote(conversation, heard, QUOTE_BYTES_MAX) };
}

/* What the customer asks for; else what anybody speaks of. */
static const char *service_of(const struct conversation *conversation)
{
    for (int everybody = 0; everybody < 2; everybody++)
        for (int i = 0; i < conversation->count; i++)
            for (size_t j = 0; j < LENGTH(services); j++) {
                const struct turn *turn = &conversation->turns[i];
                const char *at = everybody || turn->speaker != AGENT ? strstr(turn->words, services[j].words) : NULL;
                if (at && at[-1] == ' ')
                    return services[j].service;
            }
    return NULL;
}

/* The time that stands: the last one said up to the words that book and a little behind them, else the first after
 * that. */
static struct spoken_time agreed_time(const struct conversation *conversation, const struct rules_call *call,
                                      struct heard booking)
{
    struct spoken_time time = { 0 };
    size_t rest = strlen(booking.at), near = rest;
    if (near > BOOKED_TIME_BYTES)
        for (near = BOOKED_TIME_BYTES; booking.at[near] != ' ';)
            near--;
    for (const struct turn *turn = conversation->turns; turn < booking.turn; turn++)
        spoken_time_hear(&time, text_of(turn->words), false, call->started_at, call->weekday);
    struct text until = { booking.turn->words, (size_t)(booking.at - booking.turn->words) + near };
    spoken_time_hear(&time, until, false, call->started_at, call->weekday);
    spoken_time_hear(&time, (struct text){ booking.at + near, rest - near }, true, call->started_at, call->weekday);
    for (const struct turn *turn = booking.turn + 1; turn < conversation->turns + conversation->count; turn++)
        spoken_time_hear(&time, text_of(turn->words), true, call->started_at, call->weekday);
    return time;
}

/* The words that book, and the time they book; nothing when the customer cancels or nobody answered. */
static struct heard find_booking(const struct conversation *conversation, const struct rules_call *call,
                                 struct spoken_time *ret_time)
{
    struct heard booking = FIND(conversation, booked_phrases);
    if (call->voicemail || FIND(conversation, cancelled_phrases).turn)
        return (struct heard){ NULL, NULL };
    if (booking.turn) {
        *ret_time = agreed_time(conversation, call, booking);
        return booking;
    }
    booking = FIND(conversation, accepted_phrases);
    if (booking.turn)
        *ret_time = agreed_time(conversation, call, booking);
    return booking.turn && (ret_time->has_day || ret_time->has_hour) ? booking : (struct heard){ NULL, NULL };
}

static void judge_booking(const struct conversation *conversation, const struct rules_call *call,
                          struct call_analysis *ret)
{
    struct spoken_time time = { 0 };
    struct heard not_offered = FIND(conversation, not_offered_phrases),
                 booking = find_booking(conversation, call, &time);
    ret->booking_status = booking.turn ? "booked" : not_offered.turn ? "service_not_offered" : "not_booked";
    add_evidence(conversation, ret, "booking_status", booking.turn ? booking : not_offered);
    if (!booking.turn)
        return;
    ret->appointment = arena_alloc(conversation->arena, sizeof(*ret->appointment));
    *ret->appointment = (struct call_analysis_appointment){
        .scheduled_start = spoken_time_is_whole(&time) ? spoken_time_print(&time, conversation->arena) : NULL,
        .service_type = service_of(conversation), .quote = heard_quote(conversation, booking, QUOTE_BYTES_MAX) };
}

static void judge_lead(const struct conversation *conversation, struct call_analysis *ret)
{
    struct heard hot = FIND(conversation, hot_phrases), warm = FIND(conversation, warm_phrases);
    bool booked = strcmp(ret->booking_status, "booked") == 0;
    ret->lead_qualification = hot.turn || booked ? "hot" : warm.turn ? "warm" : "cold";
    add_evidence(conversation, ret, "lead_qualification", hot.turn ? hot : warm);
}

/* What kind of call it was when nothing was booked or refused. */
static struct heard find_outcome(const struct conversation *conversation, struct call_analysis *ret)
{
    static const struct {
        const char *category;
        const struct phrase *phrases;
        size_t count;
        bool is_lead;
    } kinds[] = {
        { "wrong_number", wrong_number_phrases, LENGTH(wrong_number_phrases), false },
        { "spam", spam_phrases, LENGTH(spam_phrases), false },
        { "existing_customer", existing_phrases, LENGTH(existing_phrases), true },
        { "voicemail", voicemail_phrases, LENGTH(voicemail_phrases), true },
    };
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        struct heard heard = phrase_find(conversation, kinds[i].phrases, kinds[i].count);
        if (!heard.turn)
            continue;
        ret->call_outcome_category = kinds[i].category;
        if (!kinds[i].is_lead)
            ret->lead_qualification = "cold";
        return heard;
    }
    ret->call_outcome_category = strcmp(ret->lead_qualification, "cold") == 0 ? "other" : "qualified_not_booked";
    return (struct heard){ NULL, NULL };
}

static void judge_outcome(const struct conversation *conversation, struct call_analysis *ret)
{
    if (strcmp(ret->booking_status, "not_booked") != 0)
        ret->call_outcome_category = ret->booking_status;
    else
        add_evidence(conversation, ret, "call_outcome_category", find_outcome(conversation, ret));
}

static void find_objections(const struct conversation *conversation, struct call_analysis *ret)
{
    struct findings found = conversation_objections(conversation);
    ret->objections = arena_alloc(conversation->arena, OBJECTIONS_MAX * sizeof(*ret->objections));
    for (; ret->objections_count < found.count; ret->objections_count++)
        ret->objections[ret->objections_count] = (struct call_analysis_objections){
            found.items[ret->objections_count].label, found.items[ret->objections_count].quote };
}

static const char *summary(const struct conversation *conversation, const struct call_analysis *analysis)
{
    struct heard wish = FIND(conversation, hot_phrases);
    if (!wish.turn)
        wish = FIND(conversation, warm_phrases);
    for (int i = 0; !wish.turn && i < conversation->count; i++)
        if (turn_is_by(&conversation->turns[i], CUSTOMER) && conversation->turns[i].words[1])
            wish = (struct heard){ &conversation->turns[i], conversation->turns[i].words + 1 };
    const char *booked = strcmp(analysis->booking_status, "booked") == 0 ? "An appointment was made."
                         : strcmp(analysis->booking_status, "service_not_offered") == 0
                             ? "The company does not offer what was asked for."
                             : "No appointment was made.";
    const char *objected =
        analysis->objections_count > 0
            ? arena_printf(conversation->arena, " The customer objected: \"%s\"", analysis->objections[0].quote)
            : "";
    return wish.turn ? arena_printf(conversation->arena, "The customer said: \"%s\" %s%s",
                                    heard_quote(conversation, wish, QUOTED_SUMMARY_BYTES_MAX), booked, objected)
                     : booked;
}

void rules_analyze(const struct rules_call *call, struct arena *arena, struct call_analysis *ret)
{
    struct conversation conversation;
    conversation_read(call->transcript, arena, &conversation);
    *ret = (struct call_analysis){
        .evidence = arena_alloc(arena, EVIDENCE_MAX * sizeof(*ret->evidence)) };
    judge_booking(&conversation, call, ret);
    judge_lead(&conversation, ret);
    judge_outcome(&conversation, ret);
    find_objections(&conversation, ret);
    ret->sentiment_score = conversation_mood(&conversation);
    struct call_analysis_sop_compliance *sop = &ret->sop_compliance;
    sop->missed_steps =
        sop_missed(call->sop ? call->sop : &sop_usual, &conversation, &sop->missed_steps_count, &sop->score);
    ret->summary = summary(&conversation, ret);
}
