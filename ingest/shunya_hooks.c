#include "ingest/shunya_hooks.h"

#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/shunya.h"
#include "common/signature.h"
#include "events.h"
#include "ingest/inbound.h"

#define SOURCE "shunya"
#define CONTENT_TYPE_BYTES_MAX 256      /* as in the schema, as is the next one */
#define SIGNATURE_BYTES_MAX 256

static const char json_type[] = "application/json";

/* It ends up in addresses and logs. */
static bool is_name(const char *id)
{
    for (; *id; id++)
        if (*id <= ' ' || *id > '~')
            return false;
    return true;
}

bool shunya_hook_read(struct text content_type, struct text body, struct arena *arena, struct shunya_webhook *ret,
                      struct problem *why)
{
    size_t bytes = sizeof(json_type) - 1;
    if (content_type.bytes < bytes || strncasecmp(content_type.at, json_type, bytes) != 0)
        return fail(why, "the content type is not %s", json_type);
    if (!shunya_webhook_read(body, arena, ret, why))
        return false;
    if (!is_name(ret->call_id))
        return fail_at(why, "/call_id", "must be printable ASCII without blanks");
    return is_name(ret->job_id) || fail_at(why, "/job_id", "must be printable ASCII without blanks");
}

/* -1: the request is answered. */
static int check_signer(struct http_exchange *exchange, const struct ingest *ingest)
{
    if (!ingest->shunya_webhook_secret) {
        inbound_refuse(exchange, SOURCE, "no_key", "it cannot be checked: SHUNYA_WEBHOOK_SECRET is not set");
        return SIGNATURE_WRONG;
    }
    int key = signature_shunya(text_of(ingest->shunya_webhook_secret), http_header(exchange, "X-Shunya-Signature"),
                               http_body(exchange), now_us() / 1000000, ingest->shunya_signature_legacy);
    if (key == SIGNATURE_WRONG)
        inbound_refuse(exchange, SOURCE, "wrong",
                       "the header X-Shunya-Signature is missing, is older than five minutes, or was not made with "
                       "SHUNYA_WEBHOOK_SECRET");
    return key;
}

/* Two webhooks are one when job and event are the same. */
static void identify(struct inbound *inbound, const struct shunya_webhook *webhook, struct text body)
{
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1];

    if (webhook) {
        uuid_of(inbound->id, SOURCE, webhook->job_id, webhook->event, NULL);
        return;
    }
    sha256(body, hash);
    uuid_of(inbound->id, SOURCE, "body", hex_print(hash, sizeof(hash), hash_text), NULL);
}

static void webhook_kept(struct parcel *parcel, enum kept how)
{
    if (inbound_settle(parcel, how))
        http_answer(parcel->asker, 200, json_type, TEXT("{\"status\":\"accepted\"}\n"), NULL);
}

static void receive(struct http_exchange *exchange, struct ingest *ingest)
{
    struct arena *arena = ingest->scratch;
    struct text body = http_body(exchange), content_type = http_header(exchange, "Content-Type");
    struct problem why = { 0 };
    struct shunya_webhook webhook;

    int key = check_signer(exchange, ingest);
    if (key == SIGNATURE_WRONG)
        return;
    struct source *source = inbound_source(ingest, exchange, SOURCE, NULL, key);
    if (!source)
        return;
    bool readable = shunya_hook_read(content_type, body, arena, &webhook, &why);
    struct inbound inbound = { .type = &EVENT_SHUNYA_JOB_RECEIVED, .subject = readable ? webhook.call_id : NULL };
    struct inbound_body kept_body = inbound_body(body, arena);
    struct shunya_job_received received = {
        .received_at = time_print(now_us(), inbound.received_at),
        .content_type = inbound_header(content_type, CONTENT_TYPE_BYTES_MAX, arena),
        .signature = inbound_header(http_header(exchange, "X-Shunya-Signature"), SIGNATURE_BYTES_MAX, arena),
        .encoding = kept_body.encoding,
        .body = kept_body.body,
    };
    inbound.data = &received;
    identify(&inbound, readable ? &webhook : NULL, body);
    if (readable)
        inbound_keep(ingest, exchange, source, &inbound, webhook_kept);
    else
        inbound_keep_unreadable(ingest, exchange, source, &inbound, &why, webhook_kept);
}

static void job_webhook(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    receive(exchange, ingest);
    arena_reset(ingest->scratch);
}

const struct http_route shunya_hook_routes[] = {
    { "POST", SHUNYA_WEBHOOK_PATH, job_webhook, WEBHOOK_BYTES_MAX, NULL },
    { 0 },
};
