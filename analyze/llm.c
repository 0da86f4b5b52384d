/* llm.c: a model asked for an answer of a given shape. */
#include "analyze/analyze.h"

#include <string.h>

const char *const llm_providers[] = { [LLM_GEMINI] = "gemini", [LLM_OPENAI] = "openai", [LLM_RULES] = "rules", NULL };

static enum outcome llm_ask_once(struct work *work, const char *name, const struct llm_request *request, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const struct ask one = {
        .kind = ASK_AGAIN,
        .provider = llm_providers[analyze->llm_provider],
        .timeout_ms = analyze->llm_timeout_ms,
        .call = analyze->llm_provider == LLM_GEMINI ? gemini_call : openai_call,
        .request = (void *)request,
    };
    return ask(work, name, &one, ret);
}

/* Models wrap JSON in a code fence now and then, whatever they were told. */
static struct text without_fence(struct text answer)
{
    const char *first = memchr(answer.at, '{', answer.bytes);
    size_t end = answer.bytes;
    while (end > 0 && answer.at[end - 1] != '}')
        end--;
    if (!first || answer.at + end <= first || !text_starts(answer, "```"))
        return answer;
    return (struct text){ first, (size_t)(answer.at + end - first) };
}

enum outcome llm_ask(struct work *work, const char *name, const struct llm_request *request,
                     bool (*check)(struct text json, struct arena *arena, void *ret_data, struct problem *why), void *ret_data,
                     struct answer *ret)
{
    struct problem why = { .text = "" };
    TRY(llm_ask_once(work, name, request, ret));
    if (check(without_fence(ret->body), work_arena(work), ret_data, &why))
        return DONE;

    struct llm_request again = *request;
    again.content = arena_printf(work_arena(work), "%s\n\nAn earlier answer was refused: %s%s%s. Answer again, following the schema exactly.",
                                 request->content, why.pointer, why.pointer[0] ? ": " : "", why.text);
    TRY(llm_ask_once(work, arena_printf(work_arena(work), "%s-again", name), &again, ret));
    if (check(without_fence(ret->body), work_arena(work), ret_data, &why))
        return DONE;
    struct problem refused = why;
    fail_at(&refused, why.pointer, "the model's answer was refused twice: %.400s", why.text);
    return reject_problem(work, &refused);
}
