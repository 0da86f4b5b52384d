/* rules_visit.c: a visit analysed from its words alone, offline and without a model: did the customer agree, refuse,
 * or leave it open? Whoever says it last has decided; where nobody does, the visit is pending. */
#include "analyze/analyze.h"
#include "analyze/phrases.h"

#include <string.h>

#define EVIDENCE_MAX 1
#define QUOTED_SUMMARY_BYTES_MAX 200

static const struct phrase won_phrases[] = {
    { "we have a deal", ANYONE },      { "you have a deal", ANYONE },     { "youve got a deal", ANYONE },
    { "its a deal", ANYONE },          { "it is a deal", ANYONE },        { "i will sign", CUSTOMER },
    { "ill sign", CUSTOMER },          { "we will sign", CUSTOMER },      { "happy to sign", CUSTOMER },
    { "where do i sign", CUSTOMER },   { "where do we sign", CUSTOMER },  { "i will take it", CUSTOMER },
    { "ill take it", CUSTOMER },       { "we will take it", CUSTOMER },   { "well take it", CUSTOMER },
    { "lets do it", CUSTOMER },        { "let us do it", CUSTOMER },      { "we accept", CUSTOMER },
    { "i accept", CUSTOMER },          { "i agree to the", CUSTOMER },    { "please go ahead", CUSTOMER },
    { "you can go ahead", CUSTOMER },  { "go ahead with it", CUSTOMER },  { "when can you start", CUSTOMER },
    { "you are hired", CUSTOMER },     { "you got the job", CUSTOMER },   { "thank you for signing", AGENT },
    { "thanks for signing", AGENT },   { "glad to have you", AGENT },
};
static const struct phrase lost_phrases[] = {
    { "not interested", CUSTOMER },          { "no longer interested", CUSTOMER },   { "we decided against", CUSTOMER },
    { "i decided against", CUSTOMER },       { "going with another", CUSTOMER },     { "go with another", CUSTOMER },
    { "with somebody else", CUSTOMER },      { "with someone else", CUSTOMER },      { "we will pass", CUSTOMER },
    { "we are not going to do", CUSTOMER },  { "i will pass", CUSTOMER },
    { "i am not going to do", CUSTOMER },    { "i do not want it", CUSTOMER },       { "i dont want it", CUSTOMER },
    { "we do not want it", CUSTOMER },       { "we dont want it", CUSTOMER },        { "not moving forward", CUSTOMER },
    { "the answer is no", CUSTOMER },        { "we cannot afford", CUSTOMER },       { "we cant afford", CUSTOMER },
    { "sorry to lose you", AGENT },          { "sorry that we could not", AGENT },
};
static const struct phrase open_phrases[] = {
    { "think about it", CUSTOMER },      { "think it over", CUSTOMER },      { "sleep on it", CUSTOMER },
    { "get back to you", CUSTOMER },     { "call you back", CUSTOMER },      { "let you know", CUSTOMER },
    { "need some time", CUSTOMER },      { "need more time", CUSTOMER },     { "send me the quote", CUSTOMER },
    { "send me a quote", CUSTOMER },     { "send us the quote", CUSTOMER },  { "talk to my husband", CUSTOMER },
    { "talk to my wife", CUSTOMER },     { "ask my husband", CUSTOMER },     { "ask my wife", CUSTOMER },
    { "compare other", CUSTOMER },       { "other quotes", CUSTOMER },
};
/* As sop_usual of a call. */
static const struct sop visit_steps = {
    .steps = {
        { "greets and says who he is",
          SOP_PHRASES("my name is", "this is", "good morning", "good afternoon", "nice to meet you",
                      "thank you for having me") },
        { "asks what is needed",
          SOP_PHRASES("what can i do for you", "what do you need", "what would you like", "how can i help",
                      "tell me", "show me", "what seems to be") },
        { "explains what would be done",
          SOP_PHRASES("we would", "we will", "i recommend", "i suggest", "it takes", "the work") },
        { "names the price",
          SOP_PHRASES("dollars", "it costs", "the price", "the total", "thousand", "hundred") },
        { "asks for a decision",
          SOP_PHRASES("would you like to", "do you want to", "shall we", "are you ready", "does that work",
                      "sign here", "how does that sound") },
        { "thanks or agrees the next step",
          SOP_PHRASES("thank you", "see you", "we start", "we will start", "i will call", "i will send") },
    },
    .count = 6,
};

/* Is `heard` said after `other`, or `other` not at all? */
static bool is_later(struct heard heard, struct heard other)
{
    if (!heard.turn || !other.turn)
        return heard.turn != NULL;
    return heard.turn != other.turn ? heard.turn > other.turn : heard.at > other.at;
}

static const char *judge_outcome(const struct conversation *conversation, struct heard *ret)
{
    struct heard won = FIND_LAST(conversation, won_phrases), lost = FIND_LAST(conversation, lost_phrases),
                 open = FIND_LAST(conversation, open_phrases);
    *ret = is_later(won, lost) ? won : lost;
    if (!ret->turn || is_later(open, *ret)) {
        *ret = open;
        return "pending";
    }
    return ret->turn == won.turn && ret->at == won.at ? "won" : "lost";
}

static const char *summary(const struct conversation *conversation, const char *outcome, struct heard decided)
{
    const char *end = strcmp(outcome, "won") == 0    ? "The customer agreed"
                      : strcmp(outcome, "lost") == 0 ? "The customer refused"
                                                     : "The visit ended without a decision";
    return decided.turn ? arena_printf(conversation->arena, "%s: \"%s\"", end,
                                       heard_quote(conversation, decided, QUOTED_SUMMARY_BYTES_MAX))
                        : arena_printf(conversation->arena, "%s.", end);
}

void rules_analyze_visit(const char *transcript, struct arena *arena, struct visit_analysis *ret)
{
    struct conversation conversation;
    struct heard decided;
    conversation_read(transcript, arena, &conversation);
    *ret = (struct visit_analysis){ .evidence = arena_alloc(arena, EVIDENCE_MAX * sizeof(*ret->evidence)) };
    ret->outcome = judge_outcome(&conversation, &decided);
    if (decided.turn)
        ret->evidence[ret->evidence_count++] =
            (struct visit_analysis_evidence){ "outcome", heard_quote(&conversation, decided, QUOTE_BYTES_MAX) };
    struct findings objections = conversation_objections(&conversation);
    ret->objections = arena_alloc(arena, OBJECTIONS_MAX * sizeof(*ret->objections));
    for (; ret->objections_count < objections.count; ret->objections_count++)
        ret->objections[ret->objections_count] = (struct visit_analysis_objections){
            objections.items[ret->objections_count].label, objections.items[ret->objections_count].quote };
    struct visit_analysis_sop_compliance *sop = &ret->sop_compliance;
    sop->missed_steps = sop_missed(&visit_steps, &conversation, &sop->missed_steps_count, &sop->score);
    ret->sentiment_score = conversation_mood(&conversation);
    ret->summary = summary(&conversation, ret->outcome, decided);
}
