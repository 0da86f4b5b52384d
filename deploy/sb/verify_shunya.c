/* verify_shunya.c: Shunya signs the body, and the time at which it did. */
#include <stdlib.h>

#include "common/shunya.h"
#include "common/signature.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/verify.h"
#include "ingest/shunya_hooks.h"

#define SIGNATURE_HEADER "X-Shunya-Signature"

static bool shunya_open(struct verify *verify, struct problem *why)
{
    (void)verify, (void)why;
    return true;
}

static void shunya_suspect(struct verify *verify)
{
    suspect_body(verify);
    suspect_signature(verify, SIGNATURE_HEADER);
}

/* The key is good; is all else?  `signed_us` is negative when the signature holds no time. */
static void look_inside(struct verify *verify, const struct candidate *candidate, int64_t signed_us,
                        struct verdict *ret)
{
    struct shunya_webhook webhook;
    struct problem why = { 0 };
    char age[AGE_BYTES];

    if (signed_us < 0 && !verify->settings.shunya_signature_legacy) {
        ret->reason = "refused: it is signed in the older way, without a time";
        ret->mend = "have Shunya sign with a time (t=…,v1=…), or set SHUNYA_SIGNATURE_LEGACY=on";
    } else if (signed_us >= 0 && llabs(now_us() - signed_us) > SIGNATURE_AGE_S_MAX * INT64_C(1000000)) {
        bool past = signed_us < now_us();
        ret->reason = arena_printf(verify->arena, "refused: it was signed %s %s, and the door takes five minutes",
                                   age_print(llabs(now_us() - signed_us), age), past ? "ago" : "from now");
        ret->mend = "none is needed if it came then, and was kept since; else set the clock here, or at Shunya";
    } else {
        ret->accepted = true;
        if (!shunya_hook_read(request_header(&verify->request, "Content-Type"), candidate->body, verify->arena,
                              &webhook, &why))
            ret->reason =
                arena_printf(verify->arena, "it is let in, but cannot be read and goes to dead.ingest: %s%s%s",
                             why.pointer, why.pointer[0] ? " " : "", why.text);
    }
}

static struct verdict shunya_check_request(struct verify *verify, const struct candidate *candidate)
{
    const char *secret = verify->settings.shunya_webhook_secret;
    struct verdict verdict = { .key = VERIFY_NO_KEY, .keys_of = "SHUNYA_WEBHOOK_SECRET" };
    int64_t signed_s;

    if (secret == NULL) {
        verdict.reason = "it cannot be checked: SHUNYA_WEBHOOK_SECRET is not set";
        verdict.mend = "set SHUNYA_WEBHOOK_SECRET to the secret that Shunya signs with";
        return verdict;
    }
    if (candidate->signature.at == NULL) {
        verdict.reason = "the header " SIGNATURE_HEADER " is missing";
        verdict.mend = "give all headers; what has no signature was not sent by Shunya";
        return verdict;
    }
    bool timed = signature_shunya_time(candidate->signature, &signed_s);
    verdict.key =
        signature_shunya(text_of(secret), candidate->signature, candidate->body, timed ? signed_s : 0, !timed);
    verdict.can_match = verdict.key == SIGNATURE_WRONG;
    if (!verdict.can_match) {
        look_inside(verify, candidate, timed ? signed_s * 1000000 : -1, &verdict);
        return verdict;
    }
    verdict.reason = "no key made this signature over this body";
    verdict.mend = "compare SHUNYA_WEBHOOK_SECRET with the secret that Shunya shows for its webhooks";
    return verdict;
}

static const char *shunya_mend(struct verify *verify, const struct match *match)
{
    (void)verify, (void)match;
    return "body and signature must reach the door as they were sent: look for a proxy that rewrites them, or for a "
           "copy that is not exact";
}

const struct verify_provider verify_shunya = {
    .name = "shunya",
    .open = shunya_open,
    .suspect = shunya_suspect,
    .check = shunya_check_request,
    .mend = shunya_mend,
};
