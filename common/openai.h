/* openai.h: what OpenAI-compatible servers say when they refuse: the same for whatever is asked of them
 * (platform.openai.com/docs/guides/error-codes).  Imitators put the sentence elsewhere, or send no JSON at all.
 *
 * `json` is the reply's body as tree_read() gives it, NULL when it is none.  Inside an ask's `call`. */
#pragma once

#include "common/stage.h"
#include "common/tree.h"

/* Why, in the server's words; in the work's arena, never NULL. */
const char *openai_reason(struct work *work, const struct http_reply *reply, const cJSON *json);

/* What an answer means that is not 2xx: RETRY (Retry-After honoured), RETRY with the circuit opened when our key is refused or our
 * money is spent, else REJECT. */
enum outcome openai_failed(struct work *work, const struct http_reply *reply, const cJSON *json);
