/* gemini.c: Google Gemini, generateContent (ai.google.dev/api).
 *
 * A refused prompt is HTTP 200 without candidates; JSON is promised only when finishReason is STOP; a bad key is
 * HTTP 400 with the reason API_KEY_INVALID; a quota's pause stands in google.rpc.RetryInfo. */
#include "analyze/analyze.h"
#include "common/json.h"
#include "common/tree.h"

#include <stdlib.h>
#include <string.h>

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
    const char *message = tree_string(error, "message") ? tree_string(error, "message") : "";
    long status = reply->status;
    if (status == 401 || status == 402 || status == 403 || key_is_invalid(error))
        return work_refused_us(work, status);
    if (status == 429)
        return retry(work, retry_delay_ms(error), "gemini: HTTP status 429: %.300s", message);
    if (status == 408 || status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "gemini: HTTP status %ld: %.300s",
                     status, message);
    return reject(work, "gemini: HTTP status %ld: %.300s", status, message);
}

/* The answer's text: all parts but the model's thoughts. */
static enum outcome gemini_text(struct work *work, const cJSON *json, struct buf *text)
{
    const cJSON *candidate = cJSON_GetArrayItem(tree_get(json, "candidates"), 0), *part;
    const char *blocked = tree_string(tree_get(json, "promptFeedback"), "blockReason"),
               *finish = tree_string(candidate, "finishReason");
    if (!candidate)
        return reject(work, "gemini gave no answer%s%.64s", blocked ? ", it refuses the prompt: " : "",
                      blocked ? blocked : "");
    if (!finish || strcmp(finish, "STOP") != 0)
        return reject(work, "gemini did not finish its answer: %.64s", finish ? finish : "it was cut off");
    cJSON_ArrayForEach(part, tree_get(tree_get(candidate, "content"), "parts"))
        if (tree_string(part, "text") && !cJSON_IsTrue(tree_get(part, "thought")))
            buf_add_string(text, tree_string(part, "text"));
    return DONE;
}

enum outcome gemini_read(struct work *work, const struct http_reply *reply, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const cJSON *json = tree_read(work_arena(work), reply->body), *usage = tree_get(json, "usageMetadata");
    if (reply->status < 200 || reply->status > 299)
        return gemini_failed(work, reply, json);
    if (!json)
        return retry(work, 0, "gemini: the answer is not JSON");

    struct buf text;
    buf_init(&text, LLM_ANSWER_BYTES_MAX);      /* as large as the whole answer may be */
    enum outcome outcome = gemini_text(work, json, &text);
    *ret = (struct answer){
        .body = { arena_copy_text(work_arena(work), buf_text(&text)), text.bytes },
        .provider_id = arena_copy(work_arena(work), tree_string(json, "responseId")),
        .model = llm_model(work, tree_string(json, "modelVersion"), analyze->gemini_model),
        .tokens_in = tree_count(usage, "promptTokenCount"),
        .tokens_out = tree_count(usage, "candidatesTokenCount") + tree_count(usage, "thoughtsTokenCount"),
    };
    buf_done(&text);
    return outcome;
}

enum outcome gemini_call(struct work *work, void *llm_request, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const struct llm_request *request = llm_request;
    const char *url = arena_printf(work_arena(work), "%s/v1beta/models/%s:generateContent", analyze->gemini_url,
                                   analyze->gemini_model);
    struct buf body;
    struct http_reply reply;
    buf_init(&body, LLM_PROMPT_BYTES_MAX);
    buf_add_string(&body, "{\"systemInstruction\":{\"parts\":[{\"text\":");
    json_write_string(&body, request->instructions);
    buf_add_string(&body, "}]},\"contents\":[{\"role\":\"user\",\"parts\":[{\"text\":");
    json_write_string(&body, request->content);
    buf_printf(&body, "}]}],\"generationConfig\":{\"temperature\":0,\"maxOutputTokens\":%d,"
                      "\"responseMimeType\":\"application/json\","
                      "\"responseJsonSchema\":%s}}", LLM_OUTPUT_TOKENS_MAX, request->schema);
    TRY(llm_post(work, url, "x-goog-api-key: ", analyze->gemini_key, &body, &reply));
    return gemini_read(work, &reply, ret);
}
