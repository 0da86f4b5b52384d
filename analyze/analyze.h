/* analyze.h: what the stage's files share: its settings and the models. */
#pragma once

#include "analyze/findings.h"
#include "analyze/sop.h"
#include "common/shunya.h"

#include "answers.h"
#include "events.h"

#define LLM_ANSWER_BYTES_MAX (1024 * 1024)
#define LLM_PROMPT_BYTES_MAX (2 * 1024 * 1024)
#define LLM_OUTPUT_TOKENS_MAX 8192
#define LLM_MODEL_BYTES_MAX 128         /* of its name; as in the schema of call.analyzed */

enum llm_provider { LLM_GEMINI, LLM_OPENAI, LLM_RULES };
extern const char *const llm_providers[];       /* by enum llm_provider, NULL-terminated */

/* ANALYZE_CALLS_WITH: who analyses calls and visits. */
enum analyze_with { WITH_LLM, WITH_SHUNYA };
extern const char *const analyze_withs[];       /* by enum analyze_with, NULL-terminated */

struct analyze {
    int with;
    struct shunya shunya;
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
/* What an HTTP answer of theirs means. */
enum outcome gemini_read(struct work *work, const struct http_reply *reply, struct answer *ret);
enum outcome openai_read(struct work *work, const struct http_reply *reply, struct answer *ret);

/* --- llm.c -----------------------------------------------------------------------------------------------------------
 * Asks the model for an answer that `check` accepts; an answer it refuses is asked for once more, with the reason
 * named, then the event is rejected.  `name` is the ask's name. `ret` points into the work's arena. */
enum outcome llm_ask(struct work *work, const char *name, const struct llm_request *request,
                     bool (*check)(struct text json, struct arena *arena, void *ret_data, struct problem *why),
                     void *ret_data, struct answer *ret);
/* For gemini.c and openai.c.  Posts `body`, which is freed, with the header "<header><the first of keys>". */
enum outcome llm_post(struct work *work, const char *url, const char *header, const char *keys, struct buf *body,
                      struct http_reply *ret);
/* The name of what answered: as the provider says, else as configured. */
const char *llm_model(struct work *work, const char *told, const char *configured);

/* --- evidence.c ------------------------------------------------------------------------------------------------------
 * No fact without evidence: is `quote` said in `transcript`, by one speaker?  Case, punctuation, white space and the
 * speaker's name do not count, and digits and number words are the same ("25" and "twenty five").  A prepared
 * transcript serves many quotes. */
struct evidence;
struct evidence *evidence_prepare(const char *transcript, struct arena *arena);
bool evidence_holds(const struct evidence *evidence, const char *quote, struct arena *arena);

/* --- rules.c: the analysis without any model; see there ----------------------------------------------------------- */
struct rules_call {
    const char *transcript;         /* "agent: …" and "customer: …" lines */
    const char *started_at;         /* local wall-clock time of the call at the company: "2026-11-21T09:30" */
    int weekday;                    /* of that day: 1 Monday … 7 Sunday */
    bool voicemail;                 /* nobody answered: it is what the caller left */
    const struct sop *sop;          /* NULL: the usual steps */
};
/* Fills `ret` (call_analysis; strings in `arena`). `ret->appointment->scheduled_start` is local wall-clock time
 * without offset. */
void rules_analyze(const struct rules_call *call, struct arena *arena, struct call_analysis *ret);

/* --- rules_visit.c: the same of a visit --------------------------------------------------------------------------- */
void rules_analyze_visit(const char *transcript, struct arena *arena, struct visit_analysis *ret);

/* --- shunya.c --------------------------------------------------------------------------------------------------------
 * Orders the analysis of a transcript. DONE with what came back, or with an absent `ret_json`: a job brings it, to
 * finish_call() or finish_visit(). */
struct shunya_order {
    const char *id, *kind;          /* of the call or visit, and which: "call", "visit" */
    const char *transcript;
};
enum outcome shunya_analyze(struct work *work, const struct shunya_order *order, struct text *ret_json);
/* Reads it; a visit must have an outcome. */
bool shunya_analysis_of(const char *kind, struct text json, struct arena *arena, struct shunya_analysis *ret,
                        struct problem *why);
const char *shunya_summary(struct work *work, const struct shunya_analysis *analysis);
struct findings shunya_objections(struct work *work, const struct shunya_analysis *analysis);
const char *shunya_sop_score(struct work *work, const struct shunya_analysis *analysis);    /* NULL: it does not say */
const char *shunya_missed_steps(struct work *work, const struct shunya_analysis *analysis);
#define VENDOR_EVIDENCE "\"vendor\""  /* what a vendor says rests on no words of ours */
extern const struct job_type analysis_jobs;

/* --- calls.c, visits.c -------------------------------------------------------------------------------------------- */
stage_handler analyze_call, analyze_visit;
enum outcome finish_call(struct work *work, const struct job *job);
enum outcome finish_visit(struct work *work, const struct job *job);
enum outcome analyze_call_again(struct work *work, const struct job *job);
enum outcome analyze_visit_again(struct work *work, const struct job *job);
