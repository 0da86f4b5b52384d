/* Any body under any content type: the door reads a call's id that may be a key, or says why not; and either way the event
 * that holds the body is valid by its schema and gives the body back. */
#include "tests/fuzz/fuzz.h"

#include "ingest/callrail_hooks.h"

#include "common/crypto.h"
#include "events.h"
#include "ingest/graph_hooks.h"
#include "ingest/inbound.h"
#include "ingest/twilio_hooks.h"

#define ARENA_BYTES_MAX ((size_t)256 * 1024 * 1024)

static void check_body(const struct callrail_call_received *kept, struct text raw, struct arena *arena)
{
    struct text body = kept->body;
    if (strcmp(kept->encoding, "base64") == 0) {
        char *decoded = arena_alloc(arena, body.bytes + 1);
        require(base64_read(body, decoded, body.bytes, &body.bytes));
        body.at = decoded;
    }
    require(text_equal(body, raw));
}

/* As inbound.c writes it, and as the recorder and an operator read it. */
static void check_event(const struct callrail_call *call, struct text content_type, struct text raw, struct arena *arena)
{
    struct inbound_body kept = inbound_body(raw, arena);
    struct callrail_call_received received = { .hook = "call.completed",
                                               .received_at = "2026-11-21T07:00:00Z",
                                               .content_type = inbound_header(content_type, 256, arena),
                                               .signature = "",
                                               .encoding = kept.encoding,
                                               .body = kept.body };
    struct event event = { .id = "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
                           .source = "/ingest",
                           .subject = call->call_id[0] ? call->call_id : "none",
                           .time = "2026-11-21T07:00:00Z" };
    struct callrail_call_received read;
    struct problem why;
    struct buf line, letter;

    buf_init(&line, EVENT_INBOUND_BYTES_MAX);
    event_write(&line, &event, &EVENT_CALLRAIL_CALL_RECEIVED, &received);
    require(!line.overflowed && !memchr(line.at, '\n', line.bytes));
    require(event_read(buf_text(&line), arena, &event, &why));
    require(callrail_call_received_read(event.data, arena, &read, &why));
    check_body(&read, raw, arena);

    struct event_rejected rejected = {
        .stage = "ingest", .reason = "r", .topic = "t", .event = buf_text(&line), .encoding = "text"
    };
    buf_init(&letter, EVENT_INBOUND_BYTES_MAX);
    event_write(&letter, &event, &EVENT_EVENT_REJECTED, &rejected);
    require(event_read(buf_text(&letter), arena, &event, &why) && EVENT_EVENT_REJECTED.check(event.data, &why));
    buf_done(&letter);
    buf_done(&line);
}

/* Each item of Graph's: what is kept of it is valid by its schema, and does not say its clientState. */
static void check_notices(struct text body, struct arena *arena)
{
    struct json_value items, item;
    struct json_scan scan;
    struct problem why = { 0 };
    if (!graph_notices_find(body, &items, &why)) {
        check_reason(&why);
        return;
    }
    json_enter(&scan, items);
    for (int i = 0; i < 8 && json_element(&scan, &item); i++) {
        struct graph_notice notice;
        struct buf data;
        struct json_value kept;
        why = (struct problem){ 0 };
        if (!graph_notice_read(item, arena, &notice, &why))
            check_reason(&why);
        const char *key = graph_notice_key(&notice, arena);
        require(key[0] && strlen(key) <= EVENT_KEY_BYTES_MAX);
        require(json_parse(notice.item, &kept, &why) && !json_find(kept, "clientState", &kept));
        buf_init(&data, EVENT_BYTES_MAX);
        graph_change_received_write(&data, &(struct graph_change_received){ .subscription_id = notice.subscription_id,
                                                                            .change = notice.change,
                                                                            .event_id = notice.event_id,
                                                                            .etag = notice.etag,
                                                                            .received_at = "2026-11-21T07:00:00Z",
                                                                            .item = notice.item.at });
        require(!data.overflowed && EVENT_GRAPH_CHANGE_RECEIVED.check(buf_text(&data), &why));
        buf_done(&data);
    }
}

/* The first byte chooses the content type, the rest is the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const content_types[] = { "application/json", "application/x-www-form-urlencoded",
                                                 "application/json;charset=utf-8", "text/plain\xff", NULL };
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why = { 0 };
    struct callrail_call call;
    struct twilio_notice notice;

    if (size > 0) {
        struct text content_type = text_of(content_types[data[0] % LENGTH(content_types)]);
        struct text body = { (const char *)data + 1, size - 1 };
        bool readable = callrail_read(content_type, body, arena, &call, &why);
        require(readable == (call.call_id[0] != '\0') && strlen(call.call_id) <= CALL_ID_BYTES_MAX);
        if (!readable)
            check_reason(&why);
        check_event(&call, content_type, body, arena);
        why = (struct problem){ 0 };
        if (twilio_status_read(content_type, body, arena, &notice, &why))
            require(strlen(notice.person) <= EVENT_KEY_BYTES_MAX && notice.person[0] && notice.message_sid[0]);
        else
            check_reason(&why);
        why = (struct problem){ 0 };
        if (twilio_message_read(content_type, body, arena, &notice, &why))
            require(strlen(notice.person) <= EVENT_KEY_BYTES_MAX && notice.person[0] && notice.message_sid[0]);
        else
            check_reason(&why);
        check_notices(body, arena);
    }
    arena_free(arena);
    return 0;
}
