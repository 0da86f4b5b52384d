/* main.c: the analyze stage: transcripts and messages become results held to a schema. */
#include "analyze/analyze.h"

#include <string.h>

static struct analyze analyze;

#define OFFSET(field) offsetof(struct analyze, field)
static const struct setting settings[] = {
    { "LLM_PROVIDER", SET_CHOICE, OFFSET(llm_provider), "rules", .choices = llm_providers,
      .help = "who reads the transcripts; rules is offline and needs no key" },
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
    { 0 },
};

static bool analyze_open(void *context, struct problem *why)
{
    const struct analyze *opened = context;
    if (opened->llm_provider == LLM_GEMINI && !opened->gemini_key)
        return fail(why, "LLM_PROVIDER is gemini but GEMINI_API_KEY is not set; set it, or LLM_PROVIDER=rules");
    if (opened->llm_provider == LLM_OPENAI && !opened->openai_key)
        return fail(why, "LLM_PROVIDER is openai but OPENAI_API_KEY is not set; set it, or LLM_PROVIDER=rules");
    return true;
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &(struct stage){
        .name = "analyze",
        .summary = "reads transcripts and writes what they mean, each item with the words it rests on",
        .settings = settings,
        .context = &analyze,
        .routes = analyze_routes,
        .open = analyze_open,
    });
}
