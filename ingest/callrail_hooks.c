#include "ingest/callrail_hooks.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/form.h"
#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/phone.h"
#include "events.h"
#include "ingest/inbound.h"

#define SOURCE "callrail"
#define CONTENT_TYPE_BYTES_MAX 256      /* as in the schema */
#define SIGNATURE_BYTES_MAX 256

/* --- reading -------------------------------------------------------------------------------------------------- */

/* The names the door looks for; a call's in the order in which they count. */
enum name { CALL_ID, RESOURCE_ID, ID, TRACKING_NUMBER, TRACKING_PHONE_NUMBER, NAMES };
#define CALL_NAMES (ID + 1)

static const struct {
    const char *name, *pointer;
} names[NAMES] = {
    [CALL_ID] = { "call_id", "/call_id" },
    [RESOURCE_ID] = { "resource_id", "/resource_id" },
    [ID] = { "id", "/id" },
    [TRACKING_NUMBER] = { "tracking_number", "/tracking_number" },
    [TRACKING_PHONE_NUMBER] = { "tracking_phone_number", "/tracking_phone_number" },
};

/* What was found under each name; absent: nothing, or null. */
struct found {
    struct text values[NAMES];
    bool given[NAMES];
};

static bool find_name(struct found *found, int name, struct text value, struct problem *why)
{
    if (found->given[name])
        return fail_at(why, names[name].pointer, "is given twice");
    found->given[name] = true;
    found->values[name] = value;
    return true;
}

/* Text and numbers; an older CallRail id is a number. */
static bool value_read(struct json_value value, int name, struct arena *arena, struct text *ret, struct problem *why)
{
    *ret = (struct text){ NULL, 0 };
    if (value.kind == JSON_NULL)
        return true;
    if (value.kind == JSON_NUMBER)
        *ret = value.raw;
    else if (value.kind != JSON_STRING)
        return fail_at(why, names[name].pointer, "must be text");
    else if (!memchr(value.raw.at, '\\', value.raw.bytes))
        *ret = (struct text){ value.raw.at + 1, value.raw.bytes - 2 };
    else
        *ret = text_of(json_string(value, arena));
    return true;
}

static bool find_in_json(struct text body, struct arena *arena, struct found *found, struct problem *why)
{
    struct json_value whole, value;
    struct json_scan scan;
    struct text member, text;

    if (!json_parse(body, &whole, why))
        return false;
    if (whole.kind != JSON_OBJECT)
        return fail(why, "the body is JSON but not an object");
    json_enter(&scan, whole);
    while (json_member(&scan, &member, &value))
        for (int name = 0; name < NAMES; name++)
            if (json_string_is(member, names[name].name) &&
                (!value_read(value, name, arena, &text, why) || !find_name(found, name, text, why)))
                return false;
    return true;
}

static bool find_in_form(struct text body, struct arena *arena, struct found *found, struct problem *why)
{
    struct form form;

    if (!text_is_utf8(body))
        return fail(why, "the body is not UTF-8");
    if (!form_read(body, arena, &form, why))
        return false;
    for (size_t i = 0; i < form.count; i++)
        for (int name = 0; name < NAMES; name++)
            if (text_is(form.fields[i].name, names[name].name) && !find_name(found, name, form.fields[i].value, why))
                return false;
    return true;
}

static bool media_type_is(struct text content_type, const char *name)
{
    size_t bytes = strlen(name);
    if (content_type.bytes < bytes || strncasecmp(content_type.at, name, bytes) != 0)
        return false;
    return content_type.bytes == bytes || memchr("; \t", content_type.at[bytes], 3) != NULL;
}

/* An id ends up in addresses and logs: printable ASCII without blanks. */
static bool call_id_read(struct text value, int name, struct callrail_call *ret, struct problem *why)
{
    if (value.bytes > CALL_ID_BYTES_MAX)
        return fail_at(why, names[name].pointer, "must have at most %d bytes, has %zu", CALL_ID_BYTES_MAX, value.bytes);
    for (size_t i = 0; i < value.bytes; i++)
        if (value.at[i] <= ' ' || value.at[i] > '~')
            return fail_at(why, names[name].pointer, "must be printable ASCII without blanks");
    memcpy(ret->call_id, value.at, value.bytes);
    ret->call_id[value.bytes] = '\0';
    return true;
}

bool callrail_read(struct text content_type, struct text body, struct arena *arena, struct callrail_call *ret,
                   struct problem *why)
{
    struct found found = { 0 };
    bool readable;

    ret->call_id[0] = '\0';
    ret->number_count = 0;
    if (media_type_is(content_type, "application/json"))
        readable = find_in_json(body, arena, &found, why);
    else if (media_type_is(content_type, "application/x-www-form-urlencoded"))
        readable = find_in_form(body, arena, &found, why);
    else
        readable = fail(why, "the content type is neither application/json nor application/x-www-form-urlencoded");
    if (!readable)
        return false;
    for (int name = TRACKING_NUMBER; name < NAMES; name++) {
        struct text number = found.values[name];
        if (number.bytes == 0 || number.bytes > CALLRAIL_NUMBER_BYTES_MAX)
            continue;
        char *copy = ret->numbers[ret->number_count++];
        memcpy(copy, number.at, number.bytes);
        copy[number.bytes] = '\0';
    }
    for (int name = 0; name < CALL_NAMES; name++)
        if (found.values[name].bytes > 0)
            return call_id_read(found.values[name], name, ret, why);
    return fail_at(why, names[CALL_ID].pointer, "is missing, and so are resource_id and id");
}

/* --- the routes ----------------------------------------------------------------------------------------------- */

bool callrail_speaks_for(struct keyring *keyring, const struct signer *signer, const struct callrail_call *call,
                         const char *default_region)
{
    char number[PHONE_BYTES];

    if (signer->kind != SIGNER_COMPANY)
        return true;
    for (int i = 0; i < call->number_count; i++)
        if (phone_e164(call->numbers[i], default_region, number) &&
            keyring_is_of_another(keyring, number, signer->tenant))
            return false;
    return true;
}

/* True when the signer is known; else the request is answered. */
static bool check_signer(struct http_exchange *exchange, const struct signer *signer)
{
    if (signer->kind == SIGNER_NO_KEY)
        inbound_refuse(exchange, SOURCE, "no_key", "there is no key to check it with: CALLRAIL_SIGNING_KEY is not set, "
                                                   "and the company has no key of its own");
    else if (signer->kind == SIGNER_UNTRIED)
        http_answer_problem(exchange, 413, "the body is too large to be tried with the key of every company: send it to "
                                           "the path of its company", NULL);
    else if (signer->kind == SIGNER_UNKNOWN)
        inbound_refuse(exchange, SOURCE, "wrong", "the header Signature is missing, or no active key made it");
    return signer->kind == SIGNER_SHARED || signer->kind == SIGNER_COMPANY;
}

static void callrail_kept(struct parcel *parcel, enum kept how)
{
    char answer[sizeof("{\"status\":\"accepted\",\"id\":\"\"}\n") + UUID_BYTES];

    if (!inbound_settle(parcel, how))
        return;
    int bytes = snprintf(answer, sizeof(answer), "{\"status\":\"accepted\",\"id\":\"%s\"}\n", parcel->id);
    http_answer(parcel->asker, 200, "application/json", (struct text){ answer, (size_t)bytes }, NULL);
}

/* Two webhooks are one when call, hook and every byte are the same. */
static void identify(struct inbound *inbound, const char *call_id, const char *hook, struct text body)
{
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1];

    sha256(body, hash);
    uuid_of(inbound->id, SOURCE, call_id, hook, hex_print(hash, sizeof(hash), hash_text), NULL);
}

static void receive(struct http_exchange *exchange, struct ingest *ingest, const char *hook)
{
    const char *company = http_path_value(exchange, "company");
    struct text body = http_body(exchange);
    struct text signature = http_header(exchange, "Signature"), content_type = http_header(exchange, "Content-Type");
    struct problem why = { 0 };
    struct callrail_call call;

    struct signer signer = keyring_signer(ingest->keyring, company, signature, body);
    if (!check_signer(exchange, &signer))
        return;
    bool readable = callrail_read(content_type, body, ingest->scratch, &call, &why);
    if (!callrail_speaks_for(ingest->keyring, &signer, &call, ingest->default_region)) {
        inbound_refuse(exchange, SOURCE, "another_company", "a company's key signed for a number of another company");
        return;
    }
    const char *speaks_for = signer.kind == SIGNER_COMPANY ? signer.tenant : NULL;
    struct source *source = inbound_source(ingest, exchange, SOURCE, speaks_for, signer.key);
    if (!source)
        return;
    struct inbound inbound = { .type = &EVENT_CALLRAIL_CALL_RECEIVED, .subject = readable ? call.call_id : NULL };
    struct inbound_body kept_body = inbound_body(body, ingest->scratch);
    struct callrail_call_received received = {
        .hook = hook,
        .company = speaks_for,
        .received_at = time_print(now_us(), inbound.received_at),
        .content_type = inbound_header(content_type, CONTENT_TYPE_BYTES_MAX, ingest->scratch),
        .signature = inbound_header(signature, SIGNATURE_BYTES_MAX, ingest->scratch),
        .encoding = kept_body.encoding,
        .body = kept_body.body,
    };
    inbound.data = &received;
    identify(&inbound, call.call_id, hook, body);
    if (readable)
        inbound_keep(ingest, exchange, source, &inbound, callrail_kept);
    else
        inbound_keep_unreadable(ingest, exchange, source, &inbound, &why, callrail_kept);
}

static void handle(struct http_exchange *exchange, struct ingest *ingest, const char *hook)
{
    receive(exchange, ingest, hook);
    arena_reset(ingest->scratch);
}

static void call_incoming(struct http_exchange *exchange, void *context)
{
    handle(exchange, context, "call.incoming");
}

static void call_answered(struct http_exchange *exchange, void *context)
{
    handle(exchange, context, "call.answered");
}

static void call_completed(struct http_exchange *exchange, void *context)
{
    handle(exchange, context, "call.completed");
}

const struct http_route callrail_hook_routes[] = {
    { "POST", "/api/v1/callrail/call.incoming", call_incoming, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/api/v1/callrail/call.answered", call_answered, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/api/v1/callrail/call.completed", call_completed, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/api/v1/callrail/{company}/call.incoming", call_incoming, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/api/v1/callrail/{company}/call.answered", call_answered, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/api/v1/callrail/{company}/call.completed", call_completed, WEBHOOK_BYTES_MAX, NULL },
    { 0 },
};
