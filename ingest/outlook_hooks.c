#include "ingest/outlook_hooks.h"

#include <stdio.h>
#include <string.h>

#include "common/crypto.h"
#include "common/signature.h"
#include "events.h"
#include "ingest/inbound.h"

#define SOURCE "outlook"
#define CONTENT_TYPE_BYTES_MAX 256      /* as in the schema */

/* SIGNATURE_WRONG: the request is answered. */
static int check_sender(struct http_exchange *exchange, const struct ingest *ingest)
{
    if (!ingest->outlook_webhook_secret) {
        inbound_refuse(exchange, SOURCE, "no_key", "it cannot be checked: OUTLOOK_WEBHOOK_SECRET is not set");
        return SIGNATURE_WRONG;
    }
    int key = signature_secret(text_of(ingest->outlook_webhook_secret), http_header(exchange, "X-Webhook-Secret"));
    if (key == SIGNATURE_WRONG)
        inbound_refuse(exchange, SOURCE, "wrong",
                       "the header X-Webhook-Secret is missing, or is not OUTLOOK_WEBHOOK_SECRET");
    return key;
}

/* outlook_hooks.h says when two are one. */
static void identify(struct inbound *inbound, const char *tenant, const char *meeting_id, struct text body,
                     int64_t heard_us)
{
    uint8_t hash[SHA256_BYTES];
    char hash_text[2 * SHA256_BYTES + 1], when[24];
    sha256(body, hash);
    snprintf(when, sizeof(when), "%lld", (long long)(heard_us / 1000 / OUTLOOK_SAME_MS));
    uuid_of(inbound->id, SOURCE, tenant ? tenant : "", meeting_id ? meeting_id : "",
            hex_print(hash, sizeof(hash), hash_text), when, NULL);
}

static void webhook_kept(struct parcel *parcel, enum kept how)
{
    if (inbound_settle(parcel, how))
        http_answer(parcel->asker, 200, "application/json", TEXT("{\"status\":\"accepted\"}\n"), NULL);
}

static void receive(struct http_exchange *exchange, struct ingest *ingest)
{
    struct arena *arena = ingest->scratch;
    struct text body = http_body(exchange);
    const char *tenant = http_path_value(exchange, "tenant");
    struct problem why = { 0 };
    struct meeting_news news = { 0 };

    int key = check_sender(exchange, ingest);
    if (key == SIGNATURE_WRONG)
        return;
    struct source *source = inbound_source(ingest, exchange, SOURCE, NULL, key);
    if (!source)
        return;
    bool readable = outlook_meeting_read(body, arena, &news, &why);
    if (readable && tenant && strlen(tenant) >= TENANT_BYTES)
        readable = fail(&why, "the company in the path is longer than %d bytes", TENANT_BYTES - 1);
    int64_t heard_us = now_us();
    struct inbound inbound = { .type = &EVENT_OUTLOOK_MEETING_RECEIVED, .subject = readable ? news.organizer : NULL };
    struct inbound_body kept_body = inbound_body(body, arena);
    struct outlook_meeting_received received = {
        .tenant_path = tenant ? inbound_header(text_of(tenant), TENANT_BYTES - 1, arena) : NULL,
        .received_at = time_print(heard_us, inbound.received_at),
        .content_type = inbound_header(http_header(exchange, "Content-Type"), CONTENT_TYPE_BYTES_MAX, arena),
        .encoding = kept_body.encoding,
        .body = kept_body.body,
    };
    inbound.data = &received;
    identify(&inbound, tenant, news.event_id, body, heard_us);
    if (readable)
        inbound_keep(ingest, exchange, source, &inbound, webhook_kept);
    else
        inbound_keep_unreadable(ingest, exchange, source, &inbound, &why, webhook_kept);
}

static void meeting_webhook(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    receive(exchange, ingest);
    arena_reset(ingest->scratch);
}

const struct http_route outlook_hook_routes[] = {
    { "POST", "/outlook-webhook", meeting_webhook, WEBHOOK_BYTES_MAX, NULL },
    { "POST", "/outlook-webhook/{tenant}", meeting_webhook, WEBHOOK_BYTES_MAX, NULL },
    { 0 },
};
