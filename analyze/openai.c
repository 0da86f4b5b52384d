/* openai.c: any OpenAI-compatible server, POST /chat/completions (platform.openai.com/docs/api-reference/chat).
 *
 * Checked in this order: refusal, finish_reason, then the text. */
#include "analyze/analyze.h"
#include "common/json.h"
#include "common/openai.h"

#include <string.h>

static enum outcome openai_text(struct work *work, const cJSON *json, const char **ret_text)
{
    const cJSON *choice = cJSON_GetArrayItem(tree_get(json, "choices"), 0), *message = tree_get(choice, "message");
    const char *refusal = tree_string(message, "refusal"), *finish = tree_string(choice, "finish_reason");
    *ret_text = tree_string(message, "content");
    if (refusal && *refusal)
        return reject(work, "the model refused: %.300s", refusal);
    if (!finish || strcmp(finish, "stop") != 0)
        return reject(work, "the model did not finish its answer: %.64s", finish ? finish : "it was cut off");
    return *ret_text ? DONE : reject(work, "the model gave no text");
}

enum outcome openai_read(struct work *work, const struct http_reply *reply, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const cJSON *json = tree_read(work_arena(work), reply->body), *usage = tree_get(json, "usage");
    const char *text;
    if (reply->status < 200 || reply->status > 299)
        return openai_failed(work, reply, json);
    if (!json)
        return retry(work, 0, "openai: the answer is not JSON");
    TRY(openai_text(work, json, &text));
    *ret = (struct answer){
        .body = text_of(arena_copy(work_arena(work), text)),
        .provider_id = arena_copy(work_arena(work), tree_string(json, "id")),
        .model = llm_model(work, tree_string(json, "model"), analyze->openai_model),
        .tokens_in = tree_count(usage, "prompt_tokens"),
        .tokens_out = tree_count(usage, "completion_tokens"),
    };
    return DONE;
}

enum outcome openai_call(struct work *work, void *llm_request, struct answer *ret)
{
    const struct analyze *analyze = work_context(work);
    const struct llm_request *request = llm_request;
    const char *url = arena_printf(work_arena(work), "%s/chat/completions", analyze->openai_url);
    struct buf body;
    struct http_reply reply;
    buf_init(&body, LLM_PROMPT_BYTES_MAX);
    buf_add_string(&body, "{\"model\":");
    json_write_string(&body, analyze->openai_model);
    buf_add_string(&body, ",\"temperature\":0,\"messages\":[{\"role\":\"system\",\"content\":");
    json_write_string(&body, request->instructions);
    buf_add_string(&body, "},{\"role\":\"user\",\"content\":");
    json_write_string(&body, request->content);
    buf_printf(
        &body,
        "}],\"max_completion_tokens\":%d,\"response_format\":{\"type\":\"json_schema\","
        "\"json_schema\":{\"name\":\"%s\","
        "\"strict\":true,\"schema\":%s}}}",
        LLM_OUTPUT_TOKENS_MAX, request->schema_name, request->schema);
    TRY(llm_post(work, url, "Authorization: Bearer ", analyze->openai_key, &body, &reply));
    return openai_read(work, &reply, ret);
}
