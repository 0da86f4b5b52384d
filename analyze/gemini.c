/* gemini.c: Google Gemini, generateContent (ai.google.dev/api).
 *
 * A refused prompt is HTTP 200 without candidates; JSON is promised only when finishReason is STOP; a bad key is HTTP 400 with
 * the reason API_KEY_INVALID; a quota's pause stands in google.rpc.RetryInfo. */
#include "analyze/analyze.h"
#include "common/json.h"
#include "common/tree.h"

#include <stdlib.h>
#include <string.h>

static struct text gemini_body(struct work *work, const struct llm_request *request)
{
    struct buf body;
    buf_init(&body, LLM_PROMPT_BYTES_MAX);
    buf_add_string(&body, "{\"systemInstruction\":{\"parts\":[{\"text\":");
    json_write_string(&body, request->instructions);
    buf_add_string(&body, "}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":");
    json_write_string(&body, request->content);
    buf_printf(&body, "}]}],\"generationConfig\":{\"temperature\":0,\"maxOutputTokens\":%d,"
                      "\"responseMimeType\":\"application/json\",\"responseJsonSchema\":%s}}", LLM_OUTPUT_TOKENS_MAX, request->schema);
    struct text text = { body.overflowed ? NULL : arena_copy_text(work_arena(work), buf_text(&body)), body.bytes };
    buf_done(&body);
    return text;
}

/* The pause that google.rpc.RetryInfo asks for ("37s"), in ms; 0 when there is none. */
static int64_t retry_delay_ms(const cJSON *error)
{
    const cJSON *detail;
    cJSON_ArrayForEach(detail, tree_get(error, "details")) {
        const char *delay = tree_string(detail, "retryDelay");
        if (delay && strtod(delay, NULL) > 0 && strtod(delay, NULL) < 86400)
            return (int64_t)(strtod(delay, NULL) * 1000);
    }
    return 0;
}

static bool key_is_invalid(const cJSON *error)
{
    const cJSON *detail;
    cJSON_ArrayForEach(detail, tree_get(error, "details")) {
        const char *reason = tree_string(detail, "reason");
        if (reason && strcmp(reason, "API_KEY_INVALID") == 0)
            return true;
    }
    return false;
}

static enum outcome gemini_failed(struct work *work, const struct http_reply *reply, const cJSON *json)
{
    const cJSON *error = tree_get(json, "error");
    const char *message = error ? tree_string(error, "message") : NULL;
    if (reply->status == 429)
        return retry(work, retry_delay_ms(error), "gemini: HTTP status 429: %.200s", message ? message : "");
    if (reply->status == 401 || reply->status == 403 || key_is_invalid(error))
        return work_refused_us(work, reply->status);
    if (reply->status == 408 || reply->status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "gemini: HTTP status %ld: %.200s", reply->status,
                     message ? message : "");
    return reject(work, "gemini: HTTP status %ld: %.200s", reply->status, message ? message : "");
}

/* The answer's text: all parts but the model's thoughts. */
static enum outcome gemini_text(struct work *work, const cJSON *json, struct buf *text)
{
    const cJSON *candidate = cJSON_GetArrayItem(tree_get(json, "candidates"), 0);
    if (!candidate) {
        const char *reason = tree_string(tree_get(json, "promptFeedback"), "blockReason");
        return reject(work, "gemini refused the prompt: %s", reason ? reason : "no candidates");
    }
    const char *finish = tree_string(candidate, "finishReason");
    if (!finish || strcmp(finish, "STOP") != 0)
        return reject(work, "gemini did not finish its answer: %s", finish ? finish : "it was cut off");
    const cJSON *part;
    cJSON_ArrayForEach(part, tree_get(tree_get(candidate, "content"), "parts"))
        if (tree_string(part, "text") && !cJSON_IsTrue(tree_get(part, "thought")))
            buf_add_string(text, tree_string(part, "text"));
    return text->overflowed ? reject(work, "gemini's answer is larger than %d bytes", LLM_ANSWER_BYTES_MAX) : DONE;
}

enum outcome gemini_call(struct work *work, void *llm_request, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    struct text body = gemini_body(work, llm_request);
    if (!body.at)
        return reject(work, "the prompt is larger than %d bytes", LLM_PROMPT_BYTES_MAX);
    const char *headers[] = { "Content-Type: application/json", arena_printf(work_arena(work), "x-goog-api-key: %s", analyze->gemini_key), NULL };
    const struct http_request request = {
        .method = "POST",
        .url = arena_printf(work_arena(work), "%s/v1beta/models/%s:generateContent", analyze->gemini_url, analyze->gemini_model),
        .headers = headers,
        .body = body,
        .timeout_ms = analyze->llm_timeout_ms,
        .answer_bytes_max = LLM_ANSWER_BYTES_MAX,
    };
    struct http_reply reply;
    TRY(work_http_any(work, &request, &reply));
    const cJSON *json = tree_read(work_arena(work), reply.body);
    if (reply.status < 200 || reply.status > 299)
        return gemini_failed(work, &reply, json);
    if (!json)
        return retry(work, 0, "gemini: the answer is not JSON");

    struct buf text;
    buf_init(&text, LLM_ANSWER_BYTES_MAX);
    enum outcome outcome = gemini_text(work, json, &text);
    const cJSON *usage = tree_get(json, "usageMetadata");
    *ret = (struct answer){
        .body = { arena_copy_text(work_arena(work), buf_text(&text)), text.bytes },
        .provider_id = arena_copy(work_arena(work), tree_string(json, "responseId")),
        .model = arena_copy(work_arena(work), tree_string(json, "modelVersion") ? tree_string(json, "modelVersion") : analyze->gemini_model),
        .tokens_in = tree_count(usage, "promptTokenCount"),
        .tokens_out = tree_count(usage, "candidatesTokenCount") + tree_count(usage, "thoughtsTokenCount"),
    };
    buf_done(&text);
    return outcome;
}
