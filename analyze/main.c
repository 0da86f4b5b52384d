/* main.c: the analyze stage: transcripts and messages become results held to a schema. */
#include "analyze/coach.h"

#include <string.h>

static struct analyze analyze;

#define OFFSET(field) offsetof(struct analyze, field)
static const struct setting settings[] = {
    { "ANALYZE_CALLS_WITH", SET_CHOICE, OFFSET(with), "llm", .choices = analyze_withs,
      .help = "who says what a call or a visit meant; llm is LLM_PROVIDER" },
    { "LLM_PROVIDER", SET_CHOICE, OFFSET(llm_provider), "rules", .choices = llm_providers,
      .help = "who reads transcripts and coaches; rules is offline and needs no key" },
    { "LLM_TIMEOUT", SET_DURATION, OFFSET(llm_timeout_ms), "120s", 1000, 900000,
      .help = "one answer of a model, end to end" },
    { "GEMINI_API_KEY", SET_SECRET, OFFSET(gemini_key), NULL, .help = "needed with LLM_PROVIDER=gemini" },
    { "GEMINI_BASE_URL", SET_URL, OFFSET(gemini_url), "https://generativelanguage.googleapis.com",
      .help = "Gemini's address" },
    { "GEMINI_MODEL", SET_TEXT, OFFSET(gemini_model), "gemini-2.5-flash", .help = "the model asked" },
    { "OPENAI_API_KEY", SET_SECRET, OFFSET(openai_key), NULL, .help = "needed with LLM_PROVIDER=openai" },
    { "OPENAI_BASE_URL", SET_URL, OFFSET(openai_url), "https://api.openai.com/v1",
      .help = "any OpenAI-compatible server" },
    { "OPENAI_MODEL", SET_TEXT, OFFSET(openai_model), "gpt-4o-mini", .help = "the model asked" },
    SHUNYA_SETTINGS(OFFSET(shunya)),
    { 0 },
};

static bool analyze_open(void *context, struct problem *why)
{
    const struct analyze *opened = context;
    if (opened->with == WITH_SHUNYA)
        return shunya_ready(&opened->shunya, "ANALYZE_CALLS_WITH", why);
    if (opened->llm_provider == LLM_GEMINI && !opened->gemini_key)
        return fail(why, "LLM_PROVIDER is gemini but GEMINI_API_KEY is not set; set it, or LLM_PROVIDER=rules");
    if (opened->llm_provider == LLM_OPENAI && !opened->openai_key)
        return fail(why, "LLM_PROVIDER is openai but OPENAI_API_KEY is not set; set it, or LLM_PROVIDER=rules");
    return true;
}

static enum outcome job_has_finished(struct work *work, const struct event *event)
{
    return job_finished(work, event, &analysis_jobs);
}

static enum outcome job_is_due(struct work *work, const struct event *event)
{
    return job_due(work, event, &analysis_jobs);
}

static const struct statement find_due_jobs = JOB_DUE_STATEMENT("analyze");
static const struct sweep sweeps[] = {
    { .name = "jobs", .every_ms = JOB_SWEEP_MS, .due = &find_due_jobs, .type = &EVENT_JOB_DUE },
    { 0 },
};
static const struct route routes[] = {
    { .type = &EVENT_CALL_TRANSCRIBED, .handle = analyze_call },
    { .type = &EVENT_VISIT_TRANSCRIBED, .handle = analyze_visit },
    { .type = &EVENT_MEETING_CHANGED, .handle = plan_meeting },
    { .type = &EVENT_CHAT_RECEIVED, .handle = answer_chat },
    { .type = &EVENT_CHAT_TRANSCRIBED, .handle = answer_voice },
    { .type = &EVENT_JOB_FINISHED, .handle = job_has_finished },
    { .type = &EVENT_JOB_DUE, .handle = job_is_due },
    { 0 },
};

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &(struct stage){
        .name = "analyze",
        .summary = "reads transcripts, meetings and messages and writes what they mean, what to do, and what to answer",
        .settings = settings,
        .context = &analyze,
        .routes = routes,
        .sweeps = sweeps,
        .open = analyze_open,
    });
}
