/* verify_twilio.c: Twilio signs the address it called and the form's fields. */
#include <string.h>

#include "common/signature.h"
#include "deploy/sb/verify.h"
#include "ingest/twilio_hooks.h"

#define SIGNATURE_HEADER "X-Twilio-Signature"
#define SETTINGS_HEADER  "X-Twilio-Webhooks-Signature-Settings"
#define PATH             "/twilio-status"
#define MESSAGE_PATH     "/whatsapp-webhook"

static bool twilio_open(struct verify *verify, struct problem *why)
{
    (void)verify, (void)why;
    return true;
}

static struct text scheme_text(struct verify *verify, struct text scheme)
{
    return text_of(arena_printf(verify->arena, "%.*s://", (int)scheme.bytes, scheme.at));
}

/* The door's address is PUBLIC_URL and the path and query it was asked for. */
static void suspect_place(struct verify *verify, const struct url *ours, const struct url *target)
{
    struct text forwarded = request_header(&verify->request, "X-Forwarded-Host");
    struct url host, proxy;

    url_split(text_of(arena_printf(verify->arena, "http://%s",
                                   arena_copy_text(verify->arena, request_header(&verify->request, "Host")))),
              &host);
    url_split(text_of(arena_printf(verify->arena, "http://%s", arena_copy_text(verify->arena, forwarded))), &proxy);
    choice_add(verify, D_SCHEME, scheme_text(verify, ours->scheme), NULL);
    choice_add(verify, D_SCHEME, TEXT("http://"), "http instead of https");
    choice_add(verify, D_SCHEME, TEXT("https://"), "https instead of http");
    choice_add(verify, D_HOST, ours->host, NULL);
    if (target->host.at)
        choice_add(verify, D_HOST, target->host, "the host of the request line instead of PUBLIC_URL's");
    if (forwarded.at)
        choice_add(verify, D_HOST, proxy.host, "the host of X-Forwarded-Host instead of PUBLIC_URL's");
    if (request_header(&verify->request, "Host").at)
        choice_add(verify, D_HOST, host.host, "the host of the header Host instead of PUBLIC_URL's");
    choice_add(verify, D_PORT, ours->port.at ? ours->port : TEXT(""), NULL);
    choice_add(verify, D_PORT, TEXT(""), "no port in the address");
    if (target->port.at)
        choice_add(verify, D_PORT, target->port, "the port of the request line");
    if (host.port.at)
        choice_add(verify, D_PORT, host.port, "the port of the header Host");
}

/* A PUBLIC_URL with a path: that stands before the one asked for. */
static void suspect_path(struct verify *verify, const struct url *ours, const struct url *target)
{
    struct text asked = target->path.bytes > 0 ? target->path : TEXT(PATH), bare = asked;
    struct text query = target->query.at ? target->query : TEXT("");
    bool slash = asked.bytes > 1 && asked.at[asked.bytes - 1] == '/';

    bare.bytes -= slash;
    choice_add(verify, D_PATH,
               text_of(arena_printf(verify->arena, "%.*s%.*s", (int)ours->path.bytes,
                                    ours->path.at ? ours->path.at : "", (int)bare.bytes, bare.at)),
               NULL);
    choice_add(verify, D_PATH, bare, "the path without that of PUBLIC_URL");
    choice_add(verify, D_SLASH, slash ? TEXT("/") : TEXT(""), NULL);
    choice_add(verify, D_SLASH, slash ? TEXT("") : TEXT("/"),
               slash ? "no slash behind the path" : "a slash behind the path");
    choice_add(verify, D_QUERY, query, NULL);
    choice_add(verify, D_QUERY, TEXT(""), "no query in the address");
    if (query.bytes == 1)
        choice_add(verify, D_QUERY, TEXT(""), "no question mark behind the path");
}

static void twilio_suspect(struct verify *verify)
{
    struct url ours, target;

    url_split(text_of(verify->settings.public_url), &ours);
    url_split(verify->request.target, &target);
    suspect_place(verify, &ours, &target);
    suspect_path(verify, &ours, &target);
    suspect_body(verify);
    suspect_signature(verify, SIGNATURE_HEADER);
    choice_add(verify, D_SETTINGS, request_header(&verify->request, SETTINGS_HEADER), NULL);
    choice_add(verify, D_SETTINGS, TEXT("algorithm=HMAC_SHA256"),
               "the header " SETTINGS_HEADER ": algorithm=HMAC_SHA256");
    choice_add(verify, D_SETTINGS, TEXT("algorithm=HMAC_SHA1"), "no header " SETTINGS_HEADER);
}

/* The key is good; is all else? */
static void look_inside(struct verify *verify, const struct candidate *candidate, struct text content_type,
                        struct verdict *ret)
{
    struct twilio_notice notice;
    struct problem why = { 0 };
    struct text path = candidate->path;
    bool message = path.at && memmem(path.at, path.bytes, MESSAGE_PATH, strlen(MESSAGE_PATH));

    ret->accepted = true;
    if (!(message ? twilio_message_read : twilio_status_read)(content_type, candidate->body, verify->arena, &notice,
                                                              &why))
        ret->reason = arena_printf(verify->arena, "it is let in, but cannot be read and goes to dead.ingest: %s%s%s",
                                   why.pointer, why.pointer[0] ? " " : "", why.text);
}

static struct verdict twilio_check(struct verify *verify, const struct candidate *candidate)
{
    const char *token = verify->settings.twilio_auth_token;
    struct text content_type = request_header(&verify->request, "Content-Type");
    struct verdict verdict = { .key = VERIFY_NO_KEY, .keys_of = "TWILIO_AUTH_TOKEN" };

    if (token == NULL || verify->settings.public_url == NULL) {
        verdict.reason = token ? "it cannot be checked: PUBLIC_URL is not set"
                               : "it cannot be checked: TWILIO_AUTH_TOKEN is not set";
        verdict.mend = token ? "set PUBLIC_URL to the address that Twilio calls, without the path"
                             : "set TWILIO_AUTH_TOKEN to the account's auth token";
    } else if (candidate->signature.at == NULL) {
        verdict.reason = "the header " SIGNATURE_HEADER " is missing";
        verdict.mend = "give all headers; what has no signature was not sent by Twilio";
    } else {
        verdict.key = signature_twilio(text_of(token), candidate->signature, candidate->settings, candidate->url,
                                       candidate->body, twilio_is_form(content_type));
        verdict.can_match = verdict.key == SIGNATURE_WRONG;
        if (!verdict.can_match)
            look_inside(verify, candidate, content_type, &verdict);
    }
    if (verdict.can_match) {
        verdict.reason = "no key made this signature for this address and body";
        verdict.mend = "compare TWILIO_AUTH_TOKEN with the account's auth token, and PUBLIC_URL with what Twilio calls";
    }
    return verdict;
}

static const char *twilio_mend(struct verify *verify, const struct match *match)
{
    struct url url;
    struct text given = verify->dimensions[D_BODY].choices[0].value;

    if (!text_equal(match->candidate.body, given))
        return "the form must reach the door as it was sent: look for a proxy that rewrites it, or for a copy that is "
               "not exact";
    url_split(match->candidate.url, &url);
    if (text_equal(match->candidate.path, verify->dimensions[D_PATH].choices[0].value) && url.scheme.at)
        return arena_printf(verify->arena,
                            "Twilio calls the address above: PUBLIC_URL=%.*s://%.*s%.*s, or change what Twilio calls",
                            (int)url.scheme.bytes, url.scheme.at, (int)url.host.bytes, url.host.at,
                            (int)url.port.bytes, url.port.at ? url.port.at : "");
    return "Twilio calls the address above: PUBLIC_URL and the path that reaches the door must be the same";
}

_Static_assert(SIGNATURE_WRONG == VERIFY_NO_KEY, "a signature's result is a place among the keys");

const struct verify_provider verify_twilio = {
    .name = "twilio",
    .signs_url = true,
    .open = twilio_open,
    .suspect = twilio_suspect,
    .check = twilio_check,
    .mend = twilio_mend,
};
