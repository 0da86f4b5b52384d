/* verify_outlook.c: whoever tells of meetings sends a secret as it is. */
#include <string.h>

#include "common/signature.h"
#include "deploy/sb/verify.h"
#include "ingest/outlook_hooks.h"

#define HEADER "X-Webhook-Secret"
#define SETTING "OUTLOOK_WEBHOOK_SECRET"

static bool outlook_open(struct verify *verify, struct problem *why)
{
    (void)verify, (void)why;
    return true;
}

/* The secret stands in the place of a signature; people paste it with quotes, or as a token. */
static void outlook_suspect(struct verify *verify)
{
    struct text sent = request_header(&verify->request, HEADER), bare = sent;

    choice_add(verify, D_BODY, verify->request.body, NULL);
    choice_add(verify, D_SIGNATURE, sent, NULL);
    if (text_starts(sent, "Bearer "))
        choice_add(verify, D_SIGNATURE, (struct text){ sent.at + strlen("Bearer "), sent.bytes - strlen("Bearer ") },
                   "the secret without the word Bearer");
    if (bare.bytes >= 2 && (bare.at[0] == '"' || bare.at[0] == '\'') && bare.at[bare.bytes - 1] == bare.at[0])
        choice_add(verify, D_SIGNATURE, (struct text){ bare.at + 1, bare.bytes - 2 }, "the secret without quotes");
}

static struct verdict outlook_check(struct verify *verify, const struct candidate *candidate)
{
    struct verdict verdict = { .key = VERIFY_NO_KEY };
    struct meeting_news news;
    struct problem why = { 0 };

    if (!verify->settings.outlook_webhook_secret) {
        verdict.reason = "there is no secret to check it with";
        verdict.mend = "set " SETTING;
        return verdict;
    }
    if (candidate->signature.at == NULL) {
        verdict.reason = "the header " HEADER " is missing";
        verdict.mend = "give all headers; add this one, with the secret, to what sends the webhook";
        return verdict;
    }
    verdict.key = signature_secret(text_of(verify->settings.outlook_webhook_secret), candidate->signature);
    if (verdict.key == SIGNATURE_WRONG) {
        verdict.key = VERIFY_NO_KEY;
        verdict.can_match = true;
        verdict.reason = "the header " HEADER " is not a secret that is known here";
        verdict.mend = "compare " SETTING " with what the sender has";
        return verdict;
    }
    verdict.keys_of = SETTING;
    verdict.accepted = true;
    if (!outlook_meeting_read(candidate->body, verify->arena, &news, &why))
        verdict.reason = arena_printf(verify->arena, "it is let in, but cannot be read and goes to dead.ingest: %s%s%s",
                                      why.pointer, why.pointer[0] ? " " : "", why.text);
    return verdict;
}

static const char *outlook_mend(struct verify *verify, const struct match *match)
{
    (void)verify, (void)match;
    return "send the secret alone in the header " HEADER;
}

const struct verify_provider verify_outlook = {
    .name = "outlook",
    .open = outlook_open,
    .suspect = outlook_suspect,
    .check = outlook_check,
    .mend = outlook_mend,
};
