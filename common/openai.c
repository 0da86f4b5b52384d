/* openai.c: a 429 that means "no money" is not tried again: it fails for everyone until somebody pays. */
#include "common/openai.h"

#include <string.h>

const char *openai_reason(struct work *work, const struct http_reply *reply, const cJSON *json)
{
    const char *const said[] = { tree_string(tree_get(json, "error"), "message"), tree_string(json, "error"),
                                 tree_string(json, "message"), tree_string(json, "detail") };
    for (size_t i = 0; i < LENGTH(said); i++)
        if (said[i])
            return said[i];
    if (!json && reply->body.at && text_is_utf8(reply->body))
        return arena_copy_text(work_arena(work), reply->body);
    return "it does not say why";
}

static bool is_about_money(const char *type, const char *code)
{
    if ((type && strcmp(type, "insufficient_quota") == 0) || (code && strcmp(code, "insufficient_quota") == 0))
        return true;
    return code && strcmp(code, "rate_limit_exceeded") != 0
           && (strstr(code, "limit_exceeded") || strstr(code, "exhausted"));
}

enum outcome openai_failed(struct work *work, const struct http_reply *reply, const cJSON *json)
{
    const cJSON *error = tree_get(json, "error");
    bool no_money = is_about_money(tree_string(error, "type"), tree_string(error, "code"));
    const char *reason = openai_reason(work, reply, json);
    long status = reply->status;
    if (status == 401 || status == 402 || status == 403 || (status == 429 && no_money))
        return work_refused_us(work, status);
    if (status == 408 || status == 409 || status == 425 || status == 429 || status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "openai: HTTP status %ld: %.300s",
                     status, reason);
    return reject(work, "openai: HTTP status %ld: %.300s", status, reason);
}
