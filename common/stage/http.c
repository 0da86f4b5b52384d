/* http.c: an HTTP request inside a handler, and what its end means for the event. */
#include "common/stage/runtime.h"

#include <string.h>

#define BODY_SHOWN_BYTES 160            /* of a refusal, in the reason */

enum outcome work_http_any(struct work *work, const struct http_request *request, struct http_reply *ret)
{
    struct problem why;
    struct http_request with_cancel = *request;
    bool once = work->asked && work->asked->kind == ASK_ONCE;
    with_cancel.cancelled = &work->cancelled;
    with_cancel.repeatable = !once;
    work_waits(work);
    enum http_result result = http_call(stage_http(), &with_cancel, work->arena, ret, &why);
    work_goes_on(work);
    switch (result) {
    case HTTP_ANSWERED:
        return DONE;
    case HTTP_NOT_SENT:
    case HTTP_CANCELLED:
        return retry(work, 0, "%s", why.text);
    case HTTP_BROKEN:
        return once ? ask_uncertain(work, "%s", why.text) : retry(work, 0, "%s", why.text);
    case HTTP_TOO_LARGE:
    case HTTP_FORBIDDEN:
        break;
    }
    return reject(work, "%s", why.text);
}

/* The start of a refusal's body on one line, cut at a character. */
static const char *shown(struct work *work, struct text body)
{
    if (!body.at || !text_is_utf8(body))
        return "";
    size_t bytes = body.bytes < BODY_SHOWN_BYTES ? body.bytes : BODY_SHOWN_BYTES;
    while (bytes < body.bytes && bytes > 0 && ((unsigned char)body.at[bytes] & 0xC0) == 0x80)
        bytes--;
    char *text = arena_copy_text(work->arena, (struct text){ body.at, bytes });
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ')
            *at = ' ';
    return text;
}

enum outcome work_refused(struct work *work, const char *provider, const char *format, ...)
{
    struct problem why;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(why.text, sizeof(why.text), format, arguments);
    va_end(arguments);
    retry(work, 0, "%s", why.text);
    if (work->try)
        return RETRY;
    pthread_mutex_lock(&runtime.lock);
    struct circuit *circuit = circuit_find(CIRCUIT_PROVIDER, provider);
    if (circuit)
        circuit_open_now(circuit, work->why.text);
    pthread_mutex_unlock(&runtime.lock);
    return RETRY;
}

enum outcome work_refused_us(struct work *work, long status)
{
    const struct ask *asked = work->asked;
    const char *provider = asked ? asked->provider : "the provider";
    retry(work, 0, "%s refuses our credentials (HTTP status %ld): check its key in the settings", provider, status);
    return asked && asked->no_circuit ? RETRY : work_refused(work, provider, "%s", work->why.text);
}

enum outcome work_http(struct work *work, const struct http_request *request, struct http_reply *ret)
{
    TRY(work_http_any(work, request, ret));
    return work_http_judge(work, ret);
}

enum outcome work_http_judge(struct work *work, const struct http_reply *reply)
{
    long status = reply->status;
    if (status >= 200 && status < 300)
        return DONE;
    if (status == 401 || status == 403)
        return work_refused_us(work, status);
    bool once = work->asked && work->asked->kind == ASK_ONCE;
    if (once && (status == 408 || status >= 500)) {     /* it may have acted before it failed */
        work->retry_ms = reply->retry_after_ms > 0 ? reply->retry_after_ms : 0;
        return ask_uncertain(work, "HTTP status %ld: %s", status, shown(work, reply->body));
    }
    bool transient = status == 408 || status == 425 || status == 429 || status >= 500;
    const char *body = shown(work, reply->body);
    if (transient)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0, "HTTP status %ld: %s", status, body);
    return reject(work, "HTTP status %ld: %s", status, body);
}
