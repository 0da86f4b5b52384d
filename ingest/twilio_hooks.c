#include "ingest/twilio_hooks.h"

#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/form.h"
#include "common/signature.h"
#include "events.h"
#include "ingest/inbound.h"

#define SOURCE "twilio"
#define BODY_BYTES_MAX (1024 * 1024)    /* a form, sorted to know whether it is authentic; Twilio's have some KiB */
#define URL_BYTES_MAX 4096              /* as in the schema, as are the next two */
#define CONTENT_TYPE_BYTES_MAX 256
#define SIGNATURE_BYTES_MAX 256

static const char form_type[] = "application/x-www-form-urlencoded";

bool twilio_is_form(struct text content_type)
{
    return content_type.bytes >= sizeof(form_type) - 1 &&
           strncasecmp(content_type.at, form_type, sizeof(form_type) - 1) == 0;
}

/* The field, or that of its older name. */
static bool field_read(const struct form *form, const char *name, const char *pointer, const char *older_name,
                       const char **ret, struct problem *why)
{
    const struct form_field *found = NULL, *older = NULL;

    for (size_t i = 0; i < form->count; i++) {
        const struct form_field *field = &form->fields[i];
        if (text_is(field->name, name)) {
            if (found && !text_equal(found->value, field->value))
                return fail_at(why, pointer, "is given twice");
            found = field;
        } else if (older_name && text_is(field->name, older_name)) {
            older = field;
        }
    }
    found = found ? found : older;
    if (!found || found->value.bytes == 0)
        return fail_at(why, pointer, "is missing");
    if (found->value.bytes > TWILIO_FIELD_BYTES_MAX || memchr(found->value.at, '\0', found->value.bytes))
        return fail_at(why, pointer, "must have at most %d bytes, none of them zero", TWILIO_FIELD_BYTES_MAX);
    *ret = found->value.at;
    return true;
}

static bool form_of(struct text content_type, struct text body, struct arena *arena, struct form *ret,
                    struct problem *why)
{
    if (!twilio_is_form(content_type))
        return fail(why, "the content type is not %s", form_type);
    if (!text_is_utf8(body))
        return fail(why, "the body is not UTF-8");
    return form_read(body, arena, ret, why);
}

bool twilio_status_read(struct text content_type, struct text body, struct arena *arena, struct twilio_notice *ret,
                        struct problem *why)
{
    struct form form;
    if (!form_of(content_type, body, arena, &form, why))
        return false;
    const char *sequence = form_get(&form, "SequenceNumber");
    ret->sequence = sequence ? sequence : "";
    return field_read(&form, "MessageSid", "/MessageSid", "SmsSid", &ret->message_sid, why) &&
           field_read(&form, "MessageStatus", "/MessageStatus", "SmsStatus", &ret->status, why) &&
           field_read(&form, "To", "/To", NULL, &ret->person, why);
}

bool twilio_message_read(struct text content_type, struct text body, struct arena *arena, struct twilio_notice *ret,
                         struct problem *why)
{
    struct form form;
    if (!form_of(content_type, body, arena, &form, why))
        return false;
    ret->status = ret->sequence = "";
    return field_read(&form, "MessageSid", "/MessageSid", "SmsSid", &ret->message_sid, why) &&
           field_read(&form, "From", "/From", NULL, &ret->person, why);
}

/* --- the route ------------------------------------------------------------------------------------------------ */

/* The address as Twilio called it: ours in public, and what it asked for as written.  -1: the request is answered. */
static int check_signer(struct http_exchange *exchange, const struct ingest *ingest, struct text url, bool form)
{
    if (!ingest->twilio_auth_token || !ingest->public_url) {
        inbound_refuse(exchange, SOURCE, "no_key",
                       !ingest->public_url ? "it cannot be checked: PUBLIC_URL is not set"
                                           : "it cannot be checked: TWILIO_AUTH_TOKEN is not set");
        return SIGNATURE_WRONG;
    }
    int key =
        signature_twilio(text_of(ingest->twilio_auth_token), http_header(exchange, "X-Twilio-Signature"),
                         http_header(exchange, "X-Twilio-Webhooks-Signature-Settings"), url, http_body(exchange), form);
    if (key == SIGNATURE_WRONG)
        inbound_refuse(exchange, SOURCE, "wrong",
                       "the header X-Twilio-Signature is missing, or was not made with TWILIO_AUTH_TOKEN "
                       "for this address: is PUBLIC_URL what Twilio calls?");
    return key;
}

/* Twilio's token is the same at each try; without it a message is known by its sid, a report by what it says. */
static void identify(struct inbound *inbound, const struct http_exchange *exchange, const struct twilio_notice *notice,
                     struct arena *arena)
{
    struct text token = http_header(exchange, "I-Twilio-Idempotency-Token");
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1];

    if (token.bytes > 0) {
        uuid_of(inbound->id, SOURCE, "token", arena_copy_text(arena, token), NULL);
    } else if (notice) {
        uuid_of(inbound->id, SOURCE, notice->message_sid, notice->status, notice->sequence, NULL);
    } else {
        sha256(http_body(exchange), hash);
        uuid_of(inbound->id, SOURCE, "body", hex_print(hash, sizeof(hash), hash_text), NULL);
    }
}

/* What one route takes. */
struct hook {
    const struct event_type *type;
    bool (*read)(struct text content_type, struct text body, struct arena *arena, struct twilio_notice *ret,
                 struct problem *why);
    inbound_kept *kept;
};

static void status_kept(struct parcel *parcel, enum kept how)
{
    if (inbound_settle(parcel, how))
        http_answer(parcel->asker, 204, NULL, TEXT(""), NULL);
}

/* Nothing is said at once: answers go the way of all our messages. */
static void message_kept(struct parcel *parcel, enum kept how)
{
    if (inbound_settle(parcel, how))
        http_answer(parcel->asker, 200, "text/xml", TEXT("<Response/>"), NULL);
}

static const struct hook status_hook = { &EVENT_TWILIO_STATUS_RECEIVED, twilio_status_read, status_kept };
static const struct hook message_hook = { &EVENT_TWILIO_MESSAGE_RECEIVED, twilio_message_read, message_kept };

/* Both types are kept alike. */
static const void *data_of(const struct hook *hook, const struct twilio_status_received *received, struct arena *arena)
{
    if (hook == &status_hook)
        return received;
    struct twilio_message_received *message = arena_alloc(arena, sizeof(*message));
    *message = (struct twilio_message_received){ .url = received->url,
                                                 .received_at = received->received_at,
                                                 .content_type = received->content_type,
                                                 .signature = received->signature,
                                                 .encoding = received->encoding,
                                                 .body = received->body };
    return message;
}

static void receive(struct http_exchange *exchange, struct ingest *ingest, const struct hook *hook)
{
    struct arena *arena = ingest->scratch;
    struct text body = http_body(exchange);
    struct text content_type = http_header(exchange, "Content-Type"),
                signature = http_header(exchange, "X-Twilio-Signature");
    struct text url =
        text_of(arena_printf(arena, "%s%s", ingest->public_url ? ingest->public_url : "", http_url(exchange)));
    struct problem why = { 0 };
    struct twilio_notice notice;

    int key = check_signer(exchange, ingest, url, twilio_is_form(content_type));
    if (key == SIGNATURE_WRONG)
        return;
    struct source *source = inbound_source(ingest, exchange, SOURCE, NULL, key);
    if (!source)
        return;
    bool readable = hook->read(content_type, body, arena, &notice, &why);
    if (readable && url.bytes > URL_BYTES_MAX)
        readable = fail(&why, "the address is longer than %d bytes", URL_BYTES_MAX);
    struct inbound inbound = { .type = hook->type, .subject = readable ? notice.person : NULL };
    struct inbound_body kept_body = inbound_body(body, arena);
    struct twilio_status_received received = {
        .url = inbound_header(url, URL_BYTES_MAX, arena),
        .received_at = time_print(now_us(), inbound.received_at),
        .content_type = inbound_header(content_type, CONTENT_TYPE_BYTES_MAX, arena),
        .signature = inbound_header(signature, SIGNATURE_BYTES_MAX, arena),
        .encoding = kept_body.encoding,
        .body = kept_body.body,
    };
    inbound.data = data_of(hook, &received, arena);
    identify(&inbound, exchange, readable ? &notice : NULL, arena);
    if (readable)
        inbound_keep(ingest, exchange, source, &inbound, hook->kept);
    else
        inbound_keep_unreadable(ingest, exchange, source, &inbound, &why, hook->kept);
}

static void status_callback(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    receive(exchange, ingest, &status_hook);
    arena_reset(ingest->scratch);
}

static void message_webhook(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    receive(exchange, ingest, &message_hook);
    arena_reset(ingest->scratch);
}

/* ?delivery=… is our own marker: it is part of the signed address, and the recorder reads it from there. */
const struct http_route twilio_hook_routes[] = {
    { "POST", "/twilio-status", status_callback, BODY_BYTES_MAX, NULL },
    { "POST", "/whatsapp-webhook", message_webhook, BODY_BYTES_MAX, NULL },
    { 0 },
};
