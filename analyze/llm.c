/* llm.c: a model asked for an answer of a given shape. */
#include "analyze/analyze.h"

#include <string.h>

const char *const llm_providers[] = { [LLM_GEMINI] = "gemini", [LLM_OPENAI] = "openai", [LLM_RULES] = "rules", NULL };
const char *const analyze_withs[] = { [WITH_LLM] = "llm", [WITH_SHUNYA] = "shunya", NULL };

static enum outcome llm_ask_once(struct work *work, const char *name, const struct llm_request *request,
                                 struct answer *ret)
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

/* Models put a code fence or a sentence around JSON now and then, whatever they were told. */
static struct text without_fence(struct text answer)
{
    const char *first = memchr(answer.at, '{', answer.bytes), *last = memrchr(answer.at, '}', answer.bytes);
    return first && last > first ? (struct text){ first, (size_t)(last - first) + 1 } : answer;
}

enum outcome llm_ask(struct work *work, const char *name, const struct llm_request *request,
                     bool (*check)(struct text json, struct arena *arena, void *ret_data, struct problem *why),
                     void *ret_data, struct answer *ret)
{
    struct problem why = { .text = "" };
    TRY(llm_ask_once(work, name, request, ret));
    if (check(without_fence(ret->body), work_arena(work), ret_data, &why))
        return DONE;

    struct llm_request again = *request;
    again.content = arena_printf(
        work_arena(work), "%s\n\nAn earlier answer was refused: %s%s%s. Answer again, following the schema exactly.",
        request->content, why.pointer, why.pointer[0] ? ": " : "", why.text);
    TRY(llm_ask_once(work, arena_printf(work_arena(work), "%s-again", name), &again, ret));
    if (check(without_fence(ret->body), work_arena(work), ret_data, &why))
        return DONE;
    struct problem refused = why;
    fail_at(&refused, why.pointer, "the model's answer was refused twice: %.400s", why.text);
    return reject_problem(work, &refused);
}

/* --- what both providers need ------------------------------------------------------------------------------------- */

enum outcome llm_post(struct work *work, const char *url, const char *header, const char *keys, struct buf *body,
                      struct http_reply *ret)
{
    const struct analyze *analyze = work_context(work);
    const char *key = arena_printf(work_arena(work), "%s%.*s", header, (int)strcspn(keys, ","), keys);
    const struct http_request request = {
        .method = "POST",
        .url = url,
        .headers = (const char *const[]){ "Content-Type: application/json", key, NULL },
        .body = { arena_copy_text(work_arena(work), buf_text(body)), body->bytes },
        .timeout_ms = analyze->llm_timeout_ms,
        .answer_bytes_max = LLM_ANSWER_BYTES_MAX,
    };
    bool too_large = body->overflowed;
    buf_done(body);
    return too_large ? reject(work, "the prompt is larger than %d bytes", LLM_PROMPT_BYTES_MAX)
                     : work_http_any(work, &request, ret);
}

const char *llm_model(struct work *work, const char *told, const char *configured)
{
    return arena_copy(work_arena(work), told && strlen(told) <= LLM_MODEL_BYTES_MAX ? told : configured);
}
