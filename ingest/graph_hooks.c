#include "ingest/graph_hooks.h"

#include <stdio.h>
#include <string.h>

#include "common/log.h"
#include "common/metrics.h"
#include "common/signature.h"
#include "common/utf8.h"
#include "events.h"
#include "ingest/inbound.h"
#include "ingest/refusals.h"

#define SOURCE "graph"
#define ID_BYTES_MAX 1024               /* as in the schema, as are the next three */
#define SUBSCRIPTION_BYTES_MAX 128
#define ETAG_BYTES_MAX 512
#define ITEM_BYTES_MAX 65536
#define TOKEN_CHARACTERS_MAX 4096
#define STATE_BYTES_MAX 128             /* Graph's own limit */

static struct metric dropped =
    METRIC_COUNTER("ingest_graph_dropped_total", "items of Microsoft Graph's notices without our clientState");

void graph_hooks_open(void)
{
    metric_register(&dropped);
}

/* --- ours? -------------------------------------------------------------------------------------------------------- */

char *graph_client_state(struct text secret, const char *tenant, const char *mailbox, char ret[GRAPH_STATE_BYTES])
{
    const struct text parts[] = { text_of(tenant), TEXT("\x1f"), text_of(mailbox) };
    uint8_t code[SHA256_BYTES];
    hmac_sha256(secret, parts, LENGTH(parts), code);
    return hex_print(code, sizeof(code), ret);
}

char *graph_client_states(const char *secrets, const char *tenant, const char *mailbox,
                          char ret[GRAPH_STATES_BYTES_MAX])
{
    size_t used = 0;
    ret[0] = '\0';
    for (const char *at = secrets + strspn(secrets, ", "); *at && used + GRAPH_STATE_BYTES < GRAPH_STATES_BYTES_MAX;) {
        struct text secret = { at, strcspn(at, ", ") };
        if (used > 0)
            ret[used++] = ',';
        graph_client_state(secret, tenant, mailbox, ret + used);
        used += GRAPH_STATE_BYTES - 1;
        at += secret.bytes;
        at += strspn(at, ", ");
    }
    return ret;
}

int graph_state_find(const char *states, const char *given)
{
    int found = SIGNATURE_WRONG;
    size_t given_bytes = strlen(given);
    for (int place = 0; *states; place++) {
        size_t bytes = strcspn(states, ",");
        if (bytes == given_bytes && bytes > 0 && secret_equal(states, given, bytes) && found == SIGNATURE_WRONG)
            found = place;
        states += bytes + (states[bytes] == ',');
    }
    return found;
}

/* --- what it says ------------------------------------------------------------------------------------------------- */

bool graph_notices_find(struct text body, struct json_value *ret_items, struct problem *why)
{
    struct json_value root;
    if (!json_parse(body, &root, why))
        return false;
    if (!json_find(root, "value", ret_items) || ret_items->kind != JSON_ARRAY)
        return fail_at(why, "/value", "must be a list of notices");
    struct json_scan scan;
    struct json_value item;
    size_t count = 0;
    for (json_enter(&scan, *ret_items); json_element(&scan, &item);)
        count++;
    return count <= GRAPH_ITEMS_MAX || fail_at(why, "/value", "must have at most %d notices, has %zu", GRAPH_ITEMS_MAX, count);
}

/* NULL: it is no text, or longer. */
static const char *text_member(struct json_value object, const char *name, size_t bytes_max, struct arena *arena)
{
    struct json_value value;
    const char *text = json_find(object, name, &value) ? json_string(value, arena) : NULL;
    return text && *text && strlen(text) <= bytes_max ? text : NULL;
}

const char *graph_notice_state(struct json_value item, struct arena *arena)
{
    const char *state = text_member(item, "clientState", STATE_BYTES_MAX, arena);
    return state ? state : "";
}

/* The item without what must not be kept. */
static struct text without_state(struct json_value item, struct arena *arena)
{
    struct buf kept;
    struct json_scan scan;
    struct json_value value;
    struct text name;
    buf_init(&kept, ITEM_BYTES_MAX);
    buf_add_char(&kept, '{');
    json_enter(&scan, item);
    while (json_member(&scan, &name, &value)) {
        if (json_string_is(name, "clientState"))
            continue;
        json_separate(&kept);
        buf_add_text(&kept, name);
        buf_add_char(&kept, ':');
        buf_add_text(&kept, value.raw);
    }
    buf_add_char(&kept, '}');
    struct text text = kept.overflowed ? TEXT("{}") : text_of(arena_copy_text(arena, buf_text(&kept)));
    buf_done(&kept);
    return text;
}

/* Graph's words and ours. */
static const char *change_of(struct json_value item, struct arena *arena)
{
    static const char *const names[][3] = {
        { "changeType", "created", "created" },
        { "changeType", "updated", "updated" },
        { "changeType", "deleted", "deleted" },
        { "lifecycleEvent", "missed", "missed" },
        { "lifecycleEvent", "subscriptionRemoved", "removed" },
        { "lifecycleEvent", "reauthorizationRequired", "reauthorize" },
    };
    for (size_t i = LENGTH(names); i-- > 0;) {
        const char *said = text_member(item, names[i][0], ID_BYTES_MAX, arena);
        if (said && strcmp(said, names[i][1]) == 0)
            return names[i][2];
    }
    return NULL;
}

/* "Users/{id}/Events/{id}": its last part, when resourceData does not say it. */
static const char *event_id_in(const char *resource)
{
    const char *slash = resource ? strrchr(resource, '/') : NULL;
    return slash && slash[1] ? slash + 1 : NULL;
}

bool graph_notice_read(struct json_value item, struct arena *arena, struct graph_notice *ret, struct problem *why)
{
    struct json_value data;
    *ret = (struct graph_notice){ .subscription_id = "unknown", .change = "updated", .item = TEXT("{}") };
    if (item.kind != JSON_OBJECT)
        return fail(why, "an item is not an object");
    ret->item = without_state(item, arena);
    const char *subscription = text_member(item, "subscriptionId", SUBSCRIPTION_BYTES_MAX, arena);
    const char *change = change_of(item, arena);
    if (!subscription)
        return fail_at(why, "/subscriptionId", "must be a text of at most %d bytes", SUBSCRIPTION_BYTES_MAX);
    ret->subscription_id = subscription;
    if (!change)
        return fail(why, "neither changeType nor lifecycleEvent is one that is known here");
    ret->change = change;
    if (text_member(item, "lifecycleEvent", ID_BYTES_MAX, arena))
        return true;
    if (json_find(item, "resourceData", &data) && data.kind == JSON_OBJECT) {
        ret->event_id = text_member(data, "id", ID_BYTES_MAX, arena);
        ret->etag = text_member(data, "@odata.etag", ETAG_BYTES_MAX, arena);
    }
    if (!ret->event_id)
        ret->event_id = event_id_in(text_member(item, "resource", ID_BYTES_MAX, arena));
    return ret->event_id || fail_at(why, "/resourceData/id", "is missing, and /resource names no event");
}

char *graph_notice_id(const struct graph_notice *notice, const char *received_at, char ret[UUID_BYTES])
{
    return uuid_of(ret, SOURCE, notice->subscription_id, notice->event_id ? notice->event_id : "", notice->change,
                   notice->etag ? notice->etag : received_at, NULL);
}

const char *graph_notice_key(const struct graph_notice *notice, struct arena *arena)
{
    uint8_t hash[SHA256_BYTES];
    const char *key = notice->event_id ? notice->event_id : notice->subscription_id;
    if (strlen(key) <= EVENT_KEY_BYTES_MAX)
        return key;
    sha256(text_of(key), hash);
    return hex_print(hash, sizeof(hash), arena_alloc(arena, 2 * sizeof(hash) + 1));
}

/* --- the route ---------------------------------------------------------------------------------------------------- */

/* One body's items: it is answered when all that are ours are durable. */
struct batch {
    struct http_exchange *exchange;
    int left;
    bool lost;
};

static void batch_settle(struct batch *batch)
{
    static const struct http_answer_header later[] = { { "Retry-After", DOOR_RETRY_AFTER_S }, { 0 } };
    if (--batch->left > 0)
        return;
    if (batch->lost)
        http_answer(batch->exchange, 503, "text/plain", TEXT("this cannot be kept at the moment\n"), later);
    else
        http_answer(batch->exchange, 202, NULL, TEXT(""), NULL);
}

static void item_kept(struct parcel *parcel, enum kept how)
{
    struct batch *batch = parcel->asker;
    inbound_release(parcel);
    batch->lost |= how == KEPT_NOT;
    batch_settle(batch);
}

/* The token is opaque, and is given back as it is read from the address: the one thing that needs no secret. */
static void answer_handshake(struct http_exchange *exchange, const char *token)
{
    static const struct http_answer_header headers[] = { { "X-Content-Type-Options", "nosniff" }, { 0 } };
    struct text whole = text_of(token);
    if (utf8_prefix(whole.at, whole.at + whole.bytes, TOKEN_CHARACTERS_MAX) < whole.bytes)
        http_answer_problem(exchange, 400, "validationToken is longer than Graph's are", NULL);
    else
        http_answer(exchange, 200, "text/plain", whole, headers);
}

/* An error would only make Graph come again, so what is not ours is dropped, counted and told to the operator. */
static void drop(struct http_exchange *exchange, int count)
{
    if (count == 0)
        return;
    metric_add(&dropped, count);
    refusal_note(SOURCE, "wrong", http_path(exchange),
                 "the clientState is missing, or was not made with GRAPH_CLIENT_SECRET for this company and mailbox");
    log_warning("notices of Microsoft Graph are not ours", LOG_INT("items", count),
                LOG_TEXT("peer", http_peer(exchange)));
}

/* `why`: of an item that is ours and cannot be understood; NULL: it can. */
static void keep(struct ingest *ingest, struct source *source, struct batch *batch, const struct graph_notice *notice,
                 const struct problem *why)
{
    struct inbound inbound = { .type = &EVENT_GRAPH_CHANGE_RECEIVED,
                               .subject = why ? NULL : graph_notice_key(notice, ingest->scratch),
                               .asker = batch };
    struct graph_change_received received = { .subscription_id = notice->subscription_id,
                                              .change = notice->change,
                                              .event_id = notice->event_id,
                                              .etag = notice->etag,
                                              .received_at = time_print(now_us(), inbound.received_at),
                                              .item = notice->item.at };
    inbound.data = &received;
    graph_notice_id(notice, inbound.received_at, inbound.id);
    batch->left++;
    if (why)
        inbound_keep_unreadable(ingest, batch->exchange, source, &inbound, why, item_kept);
    else
        inbound_keep(ingest, batch->exchange, source, &inbound, item_kept);
}

static void receive(struct http_exchange *exchange, struct ingest *ingest, struct json_value items)
{
    const char *tenant = http_query_value(exchange, "tenant");
    char states[GRAPH_STATES_BYTES_MAX];
    struct batch *batch = arena_alloc(http_arena(exchange), sizeof(*batch));
    struct source *source = NULL;
    struct json_value item;
    struct json_scan scan;
    int wrong = 0;

    graph_client_states(ingest->graph_client_secret, tenant ? tenant : "", ingest->coach_mailbox, states);
    *batch = (struct batch){ .exchange = exchange, .left = 1 };
    json_enter(&scan, items);
    while (json_element(&scan, &item)) {
        struct graph_notice notice;
        struct problem why = { 0 };
        int key = graph_state_find(states, graph_notice_state(item, ingest->scratch));
        if (key == SIGNATURE_WRONG) {
            wrong++;
            continue;
        }
        bool readable = graph_notice_read(item, ingest->scratch, &notice, &why);
        if (!source && !(source = inbound_source(ingest, exchange, SOURCE, NULL, key)))
            return; /* answered 429, before anything was kept */
        keep(ingest, source, batch, &notice, readable ? NULL : &why);
    }
    drop(exchange, wrong);
    batch_settle(batch);
}

static void notify(struct http_exchange *exchange, void *context)
{
    struct ingest *ingest = context;
    const char *token = http_query_value(exchange, "validationToken");
    struct json_value items;
    struct problem why = { 0 };

    if (token)
        answer_handshake(exchange, token);
    else if (!ingest->graph_client_secret || !ingest->coach_mailbox)
        inbound_refuse(exchange, SOURCE, "no_key",
                       "it cannot be checked: GRAPH_CLIENT_SECRET and COACH_MAILBOX are not both set");
    else if (!graph_notices_find(http_body(exchange), &items, &why))
        http_answer_problem(exchange, 400, why.text, why.pointer[0] ? why.pointer : NULL);
    else
        receive(exchange, ingest, items);
    arena_reset(ingest->scratch);
}

/* ?tenant=… is the company, as the subscription was told. */
const struct http_route graph_hook_routes[] = {
    { "POST", GRAPH_NOTIFY_PATH, notify, GRAPH_BODY_BYTES_MAX, NULL },
    { 0 },
};
