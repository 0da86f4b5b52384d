/* hubspot_http.c: see hubspot.h.  Error bodies come in two shapes, and every field of them may lack. */
#include "notifier/hubspot.h"
#include "common/form.h"
#include "common/tree.h"
#include "notifier/parts.h"

#include <string.h>

#define ANSWER_BYTES_MAX      (4 * 1024 * 1024)
#define WHY_CHARACTERS_MAX    160
#define MOVING_MS             (60 * 60 * 1000) /* 477, when it does not say how long */
#define ASSOCIATIONS_PER_PAGE 500

const char *hubspot_path(struct work *work, const char *format, ...)
{
    const struct notifier *notifier = work_context(work);
    char rest[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(rest, sizeof(rest), format, arguments);
    va_end(arguments);
    return arena_printf(work_arena(work), "%s%s", notifier->hubspot_path, rest);
}

const char *hubspot_associations_path(struct work *work, const char *contact_id, const char *after)
{
    const struct notifier *notifier = work_context(work);
    char *base = arena_copy(work_arena(work), notifier->hubspot_path), *version = strstr(base, "/v3/");
    struct buf path;
    if (version)
        version[2] = '4';
    buf_init(&path, 64 * 1024);
    buf_printf(&path, "%s/contacts/%s/associations/notes?limit=%d", base, contact_id, ASSOCIATIONS_PER_PAGE);
    if (after) {
        buf_add_string(&path, "&after=");
        form_encode(&path, after);
    }
    const char *text = arena_copy_text(work_arena(work), buf_text(&path));
    buf_done(&path);
    return text;
}

/* "HTTP status 403, MISSING_SCOPES: This app has not been granted …" */
static const char *reason(struct work *work, const struct http_reply *reply, const cJSON *error)
{
    const char *category = tree_string(error, "category"), *message = tree_string(error, "message");
    if (!category)
        category = tree_string(error, "errorType");
    return arena_printf(work_arena(work), "HTTP status %ld%s%s%s%s", reply->status, category ? ", " : "",
                        category ? clipped(work_arena(work), category, WHY_CHARACTERS_MAX) : "", message ? ": " : "",
                        message ? clipped(work_arena(work), message, WHY_CHARACTERS_MAX) : "");
}

static enum outcome judge(struct work *work, struct hubspot_result *result, const struct http_reply *reply)
{
    const cJSON *error = tree_read(work_arena(work), reply->body);
    const char *policy = tree_string(error, "policyName");
    long status = reply->status;
    if ((status >= 200 && status < 300) || status == 404)
        return DONE;
    result->why = reason(work, reply, error);
    result->later_ms = reply->retry_after_ms > 0 ? reply->retry_after_ms : status == 477 ? MOVING_MS : 0;
    result->tomorrow = status == 429 && policy && strcmp(policy, "DAILY") == 0;
    if (status == 423 || status == 425 || status == 429 || status == 477)
        return retry(work, result->later_ms, "%s", result->why);
    if (status == 408 || status >= 500) /* it may have acted before it failed */
        return ask_uncertain(work, "%s", result->why);
    return reject(work, "%s", result->why);
}

enum outcome hubspot_http(struct work *work, struct hubspot_result *result, const char *method, const char *path,
                          struct text body, struct http_reply *ret)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    const char *token =
        arena_copy_text(arena, (struct text){ notifier->hubspot_token, strcspn(notifier->hubspot_token, ",") });
    const char *headers[] = { arena_printf(arena, "Authorization: Bearer %s", token), "Accept: application/json",
                              body.at ? "Content-Type: application/json" : NULL, NULL };
    const struct http_request http = {
        .method = method,
        .url = arena_printf(arena, "%s%s", notifier->hubspot_url, path),
        .headers = headers,
        .body = body,
        .timeout_ms = notifier->hubspot_timeout_ms,
        .answer_bytes_max = ANSWER_BYTES_MAX,
    };
    enum outcome outcome = work_http_any(work, &http, ret);
    if (outcome != DONE) {
        result->why = arena_copy(arena, work_why(work)->text);
        return outcome;
    }
    return judge(work, result, ret);
}
