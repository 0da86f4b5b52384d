/* verify_callrail.c: CallRail signs the body; whose key it is depends on the path. */
#include <stdio.h>
#include <string.h>

#include "deploy/sb/verify.h"
#include "ingest/callrail_hooks.h"

#define PATH_START "/api/v1/callrail/"
#define FIXED_PATH PATH_START "call.completed"

static bool callrail_open(struct verify *verify, struct problem *why)
{
    verify->keyring =
        keyring_open(&(struct keyring_settings){ .shared_keys = verify->settings.callrail_signing_key,
                                                 .database_url = verify->settings.database_url,
                                                 .database_role = "switchboard_ingest" },
                     why);
    if (verify->keyring && !keyring_is_known(verify->keyring))
        fprintf(stderr, "sb verify: Postgres does not answer, so companies' own keys are not tried\n");
    return verify->keyring != NULL;
}

/* The company in /api/v1/callrail/{company}/call.…, else NULL: a fixed path. */
static const char *company_of(struct text path, struct arena *arena)
{
    if (!text_starts(path, PATH_START))
        return NULL;
    struct text rest = { path.at + strlen(PATH_START), path.bytes - strlen(PATH_START) };
    const char *slash = rest.bytes > 0 ? memchr(rest.at, '/', rest.bytes) : NULL;
    return slash ? arena_copy_text(arena, (struct text){ rest.at, (size_t)(slash - rest.at) }) : NULL;
}

static void callrail_suspect(struct verify *verify)
{
    struct url target;

    url_split(verify->request.target, &target);
    choice_add(verify, D_PATH, target.path.bytes > 0 ? target.path : TEXT(FIXED_PATH), NULL);
    if (company_of(target.path, verify->arena))
        choice_add(verify, D_PATH, TEXT(FIXED_PATH), "the path without a company");
    suspect_body(verify);
    suspect_signature(verify, "Signature");
}

/* The key is good; is all else? */
static void look_inside(struct verify *verify, const struct candidate *candidate, const struct signer *signer,
                        struct verdict *ret)
{
    struct callrail_call call;
    struct problem why = { 0 };
    bool readable = callrail_read(request_header(&verify->request, "Content-Type"), candidate->body, verify->arena,
                                  &call, &why);

    ret->accepted = callrail_speaks_for(verify->keyring, signer, &call, verify->settings.default_region);
    if (!ret->accepted) {
        ret->reason = "refused: a company's key signed for a number of another company";
        ret->mend = "assign the tracking number to this company, or send the webhook to the path of the other one";
    } else if (!readable) {
        ret->reason = arena_printf(verify->arena, "it is let in, but cannot be read and goes to dead.ingest: %s%s%s",
                                   why.pointer, why.pointer[0] ? " " : "", why.text);
    }
}

static struct verdict callrail_check(struct verify *verify, const struct candidate *candidate)
{
    struct verdict verdict = { .key = VERIFY_NO_KEY };
    const char *company = company_of(candidate->path, verify->arena);
    struct signer signer = keyring_signer(verify->keyring, company, candidate->signature, candidate->body);

    if (signer.kind == SIGNER_NO_KEY) {
        verdict.reason = "there is no key to check it with";
        verdict.mend = "set CALLRAIL_SIGNING_KEY, or the company's own (companies.callrail_keys)";
    } else if (candidate->signature.at == NULL) {
        verdict.reason = "the header Signature is missing";
        verdict.mend = "give all headers; if CallRail sends none, turn signing on in its webhook integration";
    } else if (signer.kind == SIGNER_UNTRIED) {
        verdict.reason = "the body is too large to be tried with the key of every company";
        verdict.mend = "send the webhooks of such length to the path of their company";
    } else if (signer.kind == SIGNER_UNKNOWN) {
        verdict.can_match = true;
        verdict.reason = company ? arena_printf(verify->arena, "no key of the company \"%s\" made this signature",
                                                company)
                                 : "no known key made this signature over this body";
        verdict.mend = "compare CALLRAIL_SIGNING_KEY with the signing key that CallRail shows for the account that "
                       "sent it";
    } else {
        bool shared = signer.kind == SIGNER_SHARED;
        verdict.key = signer.key;
        verdict.keys_of = shared ? "CALLRAIL_SIGNING_KEY"
                                 : arena_printf(verify->arena, "the company \"%s\"", signer.tenant);
        look_inside(verify, candidate, &signer, &verdict);
    }
    return verdict;
}

static const char *callrail_mend(struct verify *verify, const struct match *match)
{
    if (!text_equal(match->candidate.path, verify->dimensions[D_PATH].choices[0].value))
        return arena_printf(verify->arena, "%s signed it: use the path of that one, or give this company the key",
                            match->verdict.keys_of);
    return "the body must reach the door byte for byte: look for a proxy that rewrites it, or for a copy that is not "
           "exact";
}

const struct verify_provider verify_callrail = {
    .name = "callrail",
    .open = callrail_open,
    .suspect = callrail_suspect,
    .check = callrail_check,
    .mend = callrail_mend,
};
