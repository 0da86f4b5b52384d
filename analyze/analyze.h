/* analyze.h: what the stage's files share: its settings and the models. */
#pragma once

#include "common/stage.h"

#include "answers.h"
#include "events.h"

#define LLM_ANSWER_BYTES_MAX (1024 * 1024)
#define LLM_PROMPT_BYTES_MAX (2 * 1024 * 1024)
#define LLM_OUTPUT_TOKENS_MAX 8192

enum llm_provider { LLM_GEMINI, LLM_OPENAI, LLM_RULES };
extern const char *const llm_providers[];       /* by enum llm_provider, NULL-terminated */

struct analyze {
    int llm_provider;
    const char *gemini_key, *gemini_url, *gemini_model;
    const char *openai_key, *openai_url, *openai_model;
    int64_t llm_timeout_ms;
};

/* What a model is asked: the same for every provider. Lives as long as the handler's run. */
struct llm_request {
    const char *instructions;       /* the prompt file's text */
    const char *content;            /* what it is about */
    const char *schema_name;        /* of the answer, a-z and _ */
    const char *schema;             /* its JSON Schema */
};

/* --- gemini.c, openai.c: one request; `ret->body` is the model's text, whole, or the outcome says why not */
enum outcome gemini_call(struct work *work, void *llm_request, struct answer *ret);
enum outcome openai_call(struct work *work, void *llm_request, struct answer *ret);

/* --- llm.c -------------------------------------------------------------------------------------------------------------
 * Asks the model for an answer that `check` accepts; an answer it refuses is asked for once more, with the reason named, then the event is
 * rejected.  `name` is the ask's name. `ret` points into the work's arena. */
enum outcome llm_ask(struct work *work, const char *name, const struct llm_request *request,
                     bool (*check)(struct text json, struct arena *arena, void *ret_data, struct problem *why), void *ret_data,
                     struct answer *ret);

/* --- evidence.c ------------------------------------------------------------------------------------------------------------
 * No fact without evidence: is `quote` said in `transcript`?  Case, punctuation and white space do not count, and digits and number
 * words are the same ("10" and "ten").  A prepared transcript serves many quotes. */
struct evidence;
struct evidence *evidence_prepare(const char *transcript, struct arena *arena);
bool evidence_holds(const struct evidence *evidence, const char *quote, struct arena *arena);

/* --- rules.c: the analysis without any model; see there ------------------------------------------------------------------- */
struct rules_call {
    const char *transcript;         /* "agent: …" and "customer: …" lines */
    const char *started_at;         /* local wall-clock time of the call at the company: "2026-11-21T09:30" */
    int weekday;                    /* of that day: 1 Monday … 7 Sunday */
};
/* Fills `ret` (call_analysis; strings in `arena`). `ret->appointment->scheduled_start` is local wall-clock time without offset. */
void rules_analyze(const struct rules_call *call, struct arena *arena, struct call_analysis *ret);

extern const struct route analyze_routes[];     /* calls.c */
