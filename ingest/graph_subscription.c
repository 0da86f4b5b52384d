/* graph_subscription.c: subscription.due → the subscription to COACH_MAILBOX's calendar is made, renewed, or a page of
 * the calendar is read (learn.microsoft.com/graph/change-notifications-overview, …/delta-query-events).
 *
 * The mailbox's row is the whole memory: one step an event, so it does not matter which instance goes on.  Whatever
 * goes wrong is its `error` and moves its next_check_at: an event that is retried would ask more often than it knows.
 *
 * Making the n-th one is asked once: when it is not known whether Graph made it, it is looked for among the
 * application's subscriptions.
 *
 * The calendar is read at first, after the subscription was gone, when Graph says that something was missed, when a
 * series changed, and daily, because a series' meetings come into sight with time.  What it shows arrives as notices
 * do, under the same ids, so that what was told of is not handled again. */
#include "ingest/graph.h"

#include "common/json.h"
#include "common/log.h"
#include "common/tree.h"
#include "ingest/graph_hooks.h"

#include <stdlib.h>
#include <string.h>

#define SECOND INT64_C(1000000)
#define MINUTE (60 * SECOND)
#define DAY    (24 * 60 * MINUTE)

#define LIFE_US            (4200 * MINUTE)      /* asked for: some descriptions allow 4,230 minutes, some more */
#define CHECK_US           (6 * 60 * MINUTE)    /* at the latest it is looked after again */
#define WINDOW_US          (14 * DAY)           /* of the calendar, from now on */
#define WINDOW_BEFORE_US   DAY                  /* and before: what is under way may still be cancelled */
#define WINDOW_NEW_US      DAY                  /* after so long it is read from its beginning */
#define PAGE_EVENTS_MAX    50
#define PAGE_PAUSE_US      SECOND               /* between two pages */
#define LIST_PAGES_MAX     10                   /* of the application's subscriptions */
#define BACK_OFF_US        MINUTE               /* after a failure, doubling to … */
#define BACK_OFF_US_MAX    (60 * MINUTE)
#define LINK_BYTES_MAX     8192                 /* of a link that Graph gives */

/* --- when --------------------------------------------------------------------------------------------------------- */

/* $1: COACH_MAILBOX.  An event that was lost or rejected is sent anew each hour. */
const struct statement graph_due = {
    .name = "graph_due",
    .text = "SELECT m.mailbox AS id, coalesce(s.next_check_at::text || ' +'"
            "  || floor(extract(epoch FROM now() - s.next_check_at) / 3600),"
            "  date_trunc('hour', now())::text) AS next_check_at,"
            " '" GRAPH_PROVIDER "/' || m.mailbox AS subject, s.tenant,"
            " json_build_object('mailbox', m.mailbox, 'next_check_at', s.next_check_at::text)::text AS data"
            " FROM (SELECT $1::text AS mailbox WHERE $1 IS NOT NULL) AS m"
            " LEFT JOIN graph_subscriptions s USING (mailbox)"
            " WHERE (s.mailbox IS NULL OR s.next_check_at <= now())"
            " AND NOT EXISTS (SELECT 1 FROM pauses p WHERE p.kind = 'tenant' AND p.name = s.tenant"
            "  OR p.kind = 'provider' AND p.name = '" GRAPH_PROVIDER "')",
    .params = 1,
};

const char *graph_due_mailbox(void *context)
{
    const struct ingest *ingest = context;
    return graph_is_on(ingest) ? ingest->coach_mailbox : NULL;
}

/* --- the row ------------------------------------------------------------------------------------------------------ */

#define MICROS(time) "(extract(epoch FROM " time ") * 1000000)::bigint"

/* All by Postgres's clock. */
static const struct statement find_subscription = {
    .name = "find_subscription",
    .text = "SELECT " MICROS("now()") " AS now_us, s.next_check_at, s.subscription_id, s.state_sha256, s.delta_link,"
            " " MICROS("s.expires_at") " AS expires_us, " MICROS("s.renew_at") " AS renew_us,"
            " " MICROS("s.window_at") " AS window_us, " MICROS("s.missed_at") " AS missed_us,"
            " coalesce(s.made, 0) AS made, coalesce(s.failures, 0) AS failures, EXISTS (SELECT 1 FROM companies WHERE tenant = $2) AS has_company"
            " FROM (VALUES ($1::text)) AS m (mailbox) LEFT JOIN graph_subscriptions s USING (mailbox)",
    .params = 2,
};
/* $3: its next_check_at until now; NULL: it has no row yet. */
static const struct statement move_subscription = {
    .name = "move_subscription",
    .text = "INSERT INTO graph_subscriptions (mailbox, tenant, next_check_at, subscription_id, state_sha256,"
            " expires_at, renew_at, delta_link, window_at, missed_at, failures, error, made)"
            " VALUES ($1, $2, $4::timestamptz, $5, $6, $7::timestamptz, $8::timestamptz, $9, $10::timestamptz,"
            " $11::timestamptz, $12::integer, $13, $14::integer)"
            " ON CONFLICT (mailbox) DO UPDATE SET tenant = EXCLUDED.tenant, next_check_at = EXCLUDED.next_check_at,"
            " subscription_id = EXCLUDED.subscription_id, state_sha256 = EXCLUDED.state_sha256,"
            " expires_at = EXCLUDED.expires_at, renew_at = EXCLUDED.renew_at, delta_link = EXCLUDED.delta_link,"
            " window_at = EXCLUDED.window_at, missed_at = EXCLUDED.missed_at, failures = EXCLUDED.failures,"
            " error = EXCLUDED.error, made = EXCLUDED.made, updated_at = now()"
            " WHERE graph_subscriptions.next_check_at = $3::timestamptz",
    .params = 14,
    .must = 1,
};

/* Times: 0: there is none. */
struct subscription {
    const char *mailbox, *tenant;
    const char *due;                    /* its next_check_at; NULL: it has no row yet */
    const char *id;                     /* the last one's; NULL: there was none */
    const char *state, *state_sha256;   /* the clientState of now; the hash of the one it was made with */
    int64_t now_us, expires_us, renew_us, window_us, missed_us;
    const char *delta_link;
    int64_t made;                       /* so many were */
    int64_t failures;                   /* in a row */
};

static int64_t integer(const struct rows *rows, const char *column)
{
    const char *value = row_get(rows, 0, column);
    return value ? atoll(value) : 0;
}

static const char *hash_of(struct work *work, const char *text)
{
    uint8_t hash[SHA256_BYTES];
    sha256(text_of(text), hash);
    return hex_print(hash, sizeof(hash), arena_alloc(work_arena(work), 2 * sizeof(hash) + 1));
}

static enum outcome read_row(struct work *work, const char *mailbox, struct subscription *ret)
{
    const struct ingest *ingest = work_context(work);
    const char *secrets = ingest->graph_client_secret;
    struct rows rows;
    TRY(work_query(work, &find_subscription, &rows, mailbox, ingest->default_tenant));
    if (strcmp(row_get(&rows, 0, "has_company"), "t") != 0)
        return reject(work, "DEFAULT_TENANT \"%s\" is no company: name one that is there, or make it with \"sb company"
                            " add\"", ingest->default_tenant);
    *ret = (struct subscription){ .mailbox = mailbox,
                                  .tenant = ingest->default_tenant,
                                  .due = row_get(&rows, 0, "next_check_at"),
                                  .id = row_get(&rows, 0, "subscription_id"),
                                  .state_sha256 = row_get(&rows, 0, "state_sha256"),
                                  .now_us = integer(&rows, "now_us"),
                                  .expires_us = integer(&rows, "expires_us"),
                                  .renew_us = integer(&rows, "renew_us"),
                                  .window_us = integer(&rows, "window_us"),
                                  .missed_us = integer(&rows, "missed_us"),
                                  .delta_link = row_get(&rows, 0, "delta_link"),
                                  .made = integer(&rows, "made"),
                                  .failures = integer(&rows, "failures") };
    ret->state = graph_client_state((struct text){ secrets, strcspn(secrets, ", ") }, ret->tenant, mailbox,
                                    arena_alloc(work_arena(work), GRAPH_STATE_BYTES));
    return DONE;
}

static const char *time_or_null(struct work *work, int64_t us)
{
    return us > 0 ? work_time(work, us) : NULL;
}

/* It is looked after again at `next_us`; `error`: of the failure, else NULL. */
static enum outcome move(struct work *work, const struct subscription *row, int64_t next_us, const char *error)
{
    effect_row(work, &move_subscription, row->mailbox, row->tenant, row->due, work_time(work, next_us), row->id,
               row->state_sha256, time_or_null(work, row->expires_us), time_or_null(work, row->renew_us),
               row->delta_link, time_or_null(work, row->window_us), time_or_null(work, row->missed_us),
               arena_printf(work_arena(work), "%lld", (long long)row->failures), error,
               arena_printf(work_arena(work), "%lld", (long long)row->made));
    return DONE;
}

static enum outcome put_off(struct work *work, struct subscription *row, int64_t wait_us)
{
    const char *why = arena_copy(work_arena(work), work_why(work)->text);
    int64_t back_off_us = BACK_OFF_US;
    for (int64_t i = 0; i < row->failures && back_off_us < BACK_OFF_US_MAX; i++)
        back_off_us *= 2;
    if (back_off_us > BACK_OFF_US_MAX)
        back_off_us = BACK_OFF_US_MAX;
    if (wait_us > back_off_us)
        back_off_us = wait_us;
    row->failures++;
    log_warning("the subscription to the coach's calendar could not be looked after", LOG_TEXT("mailbox", row->mailbox),
                LOG_INT("failures", row->failures), LOG_INT("again_s", back_off_us / SECOND), LOG_TEXT("why", why));
    return move(work, row, row->now_us + back_off_us, why);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

/* One request, and how it went. */
struct asking {
    struct graph_request request;
    struct subscription *row;
    bool gone;                          /* 404, 410: there is no such thing (any more) */
    int64_t wait_us;                    /* what Retry-After says */
};

static enum outcome judge(struct work *work, struct asking *asking, const struct http_reply *reply)
{
    asking->wait_us = reply->retry_after_ms > 0 ? reply->retry_after_ms * 1000 : 0;
    asking->gone = reply->status == 404 || reply->status == 410;
    return (reply->status >= 200 && reply->status <= 299) || asking->gone ? DONE : graph_refused(work, reply);
}

static enum outcome call(struct work *work, void *request, struct answer *ret)
{
    struct asking *asking = request;
    struct http_reply reply;
    TRY(graph_call(work, &asking->request, &reply));
    TRY(judge(work, asking, &reply));
    if (!asking->gone && reply.body.at)
        ret->body = reply.body;
    return DONE;
}

static enum outcome ask_graph(struct work *work, const char *name, struct asking *asking, const cJSON **ret)
{
    struct answer answer;
    TRY(ask(work, name,
            &(struct ask){ .kind = ASK_AGAIN, .provider = GRAPH_PROVIDER, .no_circuit = true, .unrecorded = true,
                           .timeout_ms = GRAPH_TIMEOUT_MS, .call = call, .request = asking },
            &answer));
    *ret = tree_read(work_arena(work), answer.body);
    return DONE;
}

/* --- making it ---------------------------------------------------------------------------------------------------- */

static const char *notify_url(struct work *work, const struct subscription *row)
{
    const struct ingest *ingest = work_context(work);
    return arena_printf(work_arena(work), "%s" GRAPH_NOTIFY_PATH "?tenant=%s", ingest->public_url, row->tenant);
}

static const char *resource_of(struct work *work, const struct subscription *row)
{
    return arena_printf(work_arena(work), "/users/%s/events", row->mailbox);
}

static const char *wanted_body(struct work *work, const struct subscription *row)
{
    struct buf json;
    const char *url = notify_url(work, row);
    buf_init(&json, 16 * 1024);
    buf_add_char(&json, '{');
    json_add_string(&json, "changeType", "created,updated,deleted");
    json_add_string(&json, "notificationUrl", url);
    json_add_string(&json, "lifecycleNotificationUrl", url);
    json_add_string(&json, "resource", resource_of(work, row));
    json_add_string(&json, "expirationDateTime", work_time(work, row->now_us + LIFE_US));
    json_add_string(&json, "clientState", row->state);
    buf_add_char(&json, '}');
    const char *copy = arena_copy_text(work_arena(work), buf_text(&json));
    buf_done(&json);
    return copy;
}

static bool is_ours(struct work *work, const struct subscription *row, const cJSON *subscription)
{
    const char *resource = tree_string(subscription, "resource"), *url = tree_string(subscription, "notificationUrl");
    const char *wanted = resource_of(work, row);
    if (!resource || !url || strcmp(url, notify_url(work, row)) != 0)
        return false;
    return strcasecmp(resource + (resource[0] == '/'), wanted + 1) == 0;
}

/* Among all of the application's: Graph does not tell their clientState. */
static enum outcome look_up(struct work *work, void *request, struct answer *ret, bool *ret_found)
{
    const struct ingest *ingest = work_context(work);
    struct asking *asking = request;
    const char *url = graph_url(work, "subscriptions", NULL);
    *ret_found = false;
    for (int page = 0; page < LIST_PAGES_MAX && url && http_leads_to(url, ingest->graph_url); page++) {
        const struct graph_request list = { .method = "GET", .url = url };
        struct http_reply reply;
        const cJSON *item;
        TRY(graph_call(work, &list, &reply));
        if (reply.status != 200)
            return graph_refused(work, &reply);
        const cJSON *json = tree_read(work_arena(work), reply.body);
        cJSON_ArrayForEach(item, tree_get(json, "value")) {
            if (!is_ours(work, asking->row, item) || !tree_string(item, "id"))
                continue;
            char *found = cJSON_PrintUnformatted(item);
            ret->body = text_of(arena_copy(work_arena(work), found));
            cJSON_free(found);
            *ret_found = true;
            return DONE;
        }
        url = tree_string(json, "@odata.nextLink");
    }
    return DONE;
}

/* An equal one, of which nothing is known here, not even whether its clientState is ours: it makes room. */
static enum outcome clear_away(struct work *work, struct asking *asking, const struct http_reply *refusal)
{
    struct answer older = { 0 };
    struct http_reply reply;
    bool found;
    TRY(look_up(work, asking, &older, &found));
    const char *id = tree_string(tree_read(work_arena(work), older.body), "id");
    if (!found || !id)
        return graph_refused(work, refusal);
    const struct graph_request deletion = { .method = "DELETE", .url = graph_url(work, "subscriptions", id, NULL) };
    TRY(graph_call(work, &deletion, &reply));
    return retry(work, 0, "an older subscription to this calendar was in the way, and was deleted (HTTP status %ld)",
                 reply.status);
}

static enum outcome create(struct work *work, void *request, struct answer *ret)
{
    struct asking *asking = request;
    struct http_reply reply;
    TRY(graph_call(work, &asking->request, &reply));
    asking->wait_us = reply.retry_after_ms > 0 ? reply.retry_after_ms * 1000 : 0;
    if (reply.status == 409)
        return clear_away(work, asking, &reply);
    if (reply.status == 408 || reply.status >= 500)
        return ask_uncertain(work, "HTTP status %ld", reply.status);
    if (reply.status < 200 || reply.status > 299)
        return graph_refused(work, &reply);
    if (!tree_string(tree_read(work_arena(work), reply.body), "id"))
        return ask_uncertain(work, "Microsoft Graph's answer is no subscription");
    ret->body = reply.body;
    return DONE;
}

/* Takes over what Graph granted; what it does not say is as it was asked for. */
static void granted(struct subscription *row, const cJSON *json)
{
    const char *expires = tree_string(json, "expirationDateTime");
    if (!expires || !time_read(text_of(expires), &row->expires_us) || row->expires_us <= row->now_us)
        row->expires_us = row->now_us + LIFE_US;
    row->renew_us = row->now_us + (row->expires_us - row->now_us) / 2;
}

static enum outcome make(struct work *work, struct subscription *row, struct asking *asking)
{
    struct answer answer;
    asking->request = (struct graph_request){ .method = "POST",
                                              .url = graph_url(work, "subscriptions", NULL),
                                              .body = wanted_body(work, row) };
    TRY(graph_prepare(work));
    TRY(ask(work, "subscription",
            &(struct ask){ .kind = ASK_ONCE,
                           .provider = GRAPH_PROVIDER,
                           .no_circuit = true,
                           .recipient = row->mailbox,
                           .purpose = "subscription",
                           .subject = row->mailbox,
                           .version = arena_printf(work_arena(work), "%lld", (long long)row->made + 1),
                           .content = "a subscription to the calendar",
                           .timeout_ms = GRAPH_TIMEOUT_MS,
                           .call = create,
                           .look_up = look_up,
                           .request = asking },
            &answer));
    const cJSON *json = tree_read(work_arena(work), answer.body);
    row->id = tree_string(json, "id");
    row->made++;
    row->state_sha256 = hash_of(work, row->state);
    granted(row, json);
    row->missed_us = row->missed_us ? row->missed_us : row->now_us;
    log_info("Microsoft Graph tells of the coach's calendar", LOG_TEXT("mailbox", row->mailbox),
             LOG_INT("days", (row->expires_us - row->now_us) / DAY));
    return DONE;
}

/* --- keeping it --------------------------------------------------------------------------------------------------- */

static void forget(struct subscription *row)
{
    row->expires_us = row->renew_us = 0;
    row->missed_us = row->missed_us ? row->missed_us : row->now_us;
}

static enum outcome renew(struct work *work, struct subscription *row, struct asking *asking)
{
    const cJSON *json;
    const char *until = work_time(work, row->now_us + LIFE_US);
    asking->request = (struct graph_request){
        .method = "PATCH",
        .url = graph_url(work, "subscriptions", row->id, NULL),
        .body = arena_printf(work_arena(work), "{\"expirationDateTime\":\"%s\"}", until),
    };
    TRY(ask_graph(work, "renewal", asking, &json));
    if (asking->gone)
        forget(row);
    else
        granted(row, json);
    return DONE;
}

/* Its notices say what only a secret knows that is not used any more: it makes room for another. */
static enum outcome give_up(struct work *work, struct subscription *row, struct asking *asking)
{
    const cJSON *json;
    asking->request = (struct graph_request){ .method = "DELETE",
                                              .url = graph_url(work, "subscriptions", row->id, NULL) };
    TRY(ask_graph(work, "deletion", asking, &json));
    forget(row);
    return DONE;
}

/* --- reading the calendar ----------------------------------------------------------------------------------------- */

static const char *window_url(struct work *work, struct subscription *row)
{
    row->window_us = row->now_us;
    return arena_printf(work_arena(work), "%s?startDateTime=%s&endDateTime=%s",
                        graph_url(work, "users", row->mailbox, "calendarView", "delta", NULL),
                        work_time(work, row->now_us - WINDOW_BEFORE_US), work_time(work, row->now_us + WINDOW_US));
}

static void arrive(struct work *work, const struct subscription *row, const cJSON *item)
{
    const char *id = tree_string(item, "id"), *type = tree_string(item, "type");
    bool removed = tree_get(item, "@removed");
    if (!id || strlen(id) > EVENT_KEY_BYTES_MAX || (type && strcmp(type, "seriesMaster") == 0))
        return;                         /* a series' meetings are listed themselves */
    struct graph_notice notice = { .subscription_id = row->id,
                                   .change = removed ? "deleted" : "updated",
                                   .event_id = id,
                                   .etag = tree_string(item, "@odata.etag") };
    const struct graph_change_received received = {
        .subscription_id = row->id,
        .change = notice.change,
        .event_id = id,
        .etag = notice.etag,
        .received_at = work_time(work, row->now_us),
        .item = removed ? "{\"calendar\":\"removed\"}" : "{\"calendar\":\"shown\"}",
    };
    char arrival[UUID_BYTES];
    graph_notice_id(&notice, received.received_at, arrival);
    effect_arrival(work, &EVENT_GRAPH_CHANGE_RECEIVED, arrival, id, &received);
}

/* A link of Graph's own; NULL: it is none that our token may go to. */
static const char *link_of(struct work *work, const cJSON *json, const char *name)
{
    const struct ingest *ingest = work_context(work);
    const char *link = tree_string(json, name);
    return link && strlen(link) <= LINK_BYTES_MAX && http_leads_to(link, ingest->graph_url) ? link : NULL;
}

/* One page.  A link of another GRAPH_BASE_URL than is set by now leads to its beginning. */
static enum outcome read_page(struct work *work, struct subscription *row, struct asking *asking)
{
    const struct ingest *ingest = work_context(work);
    const cJSON *json, *item;
    int count = 0;
    bool goes_on = row->delta_link && http_leads_to(row->delta_link, ingest->graph_url);
    asking->request = (struct graph_request){ .method = "GET",
                                              .url = goes_on ? row->delta_link : window_url(work, row),
                                              .prefer = "odata.maxpagesize=50" };
    TRY(ask_graph(work, "page", asking, &json));
    if (asking->gone) {                 /* Graph forgot where it was: from the beginning */
        row->delta_link = NULL;
        return DONE;
    }
    const char *next = link_of(work, json, "@odata.nextLink"), *delta = link_of(work, json, "@odata.deltaLink");
    if (!cJSON_IsArray(tree_get(json, "value")) || (!next && !delta))
        return retry(work, 0, "Microsoft Graph's answer is no page of a calendar");
    cJSON_ArrayForEach(item, tree_get(json, "value")) {
        if (count++ == 2 * PAGE_EVENTS_MAX)
            return retry(work, 0, "Microsoft Graph's page is larger than was asked for");
        arrive(work, row, item);
    }
    row->delta_link = next ? next : delta;
    bool is_old = row->window_us + WINDOW_NEW_US <= row->now_us;
    if (!next && is_old)
        row->delta_link = NULL;         /* what was removed is known; the days that came into sight are read next */
    else if (!next)
        row->missed_us = 0;
    return DONE;
}

/* --- one step ----------------------------------------------------------------------------------------------------- */

static int64_t soonest(int64_t a_us, int64_t b_us)
{
    return a_us < b_us ? a_us : b_us;
}

/* What is to be done first; *ret_next_us: when to look again. */
static enum outcome step(struct work *work, struct subscription *row, struct asking *asking, int64_t *ret_next_us)
{
    bool is_live = row->id && row->expires_us > row->now_us;
    bool is_stale = row->state_sha256 && strcmp(row->state_sha256, hash_of(work, row->state)) != 0;
    bool is_old = row->window_us + WINDOW_NEW_US <= row->now_us;
    *ret_next_us = row->now_us;
    if (is_live && is_stale)
        return give_up(work, row, asking);
    if (!is_live)
        return make(work, row, asking);
    if (row->renew_us <= row->now_us)
        return renew(work, row, asking);
    if (row->missed_us || is_old) {
        row->missed_us = row->missed_us ? row->missed_us : row->now_us;
        *ret_next_us = row->now_us + PAGE_PAUSE_US;
        return read_page(work, row, asking);
    }
    *ret_next_us = soonest(soonest(row->renew_us, row->window_us + WINDOW_NEW_US), row->now_us + CHECK_US);
    return DONE;
}

static bool is_same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

enum outcome look_after_subscription(struct work *work, const struct event *event)
{
    const struct ingest *ingest = work_context(work);
    struct subscription_due due;
    struct subscription row;
    struct asking asking = { .row = &row };
    int64_t next_us;

    TRY(work_read_data(work, event, subscription_due_read, &due));
    if (!graph_is_on(ingest) || strcmp(due.mailbox, ingest->coach_mailbox) != 0)
        return skip(work, "this mailbox is not watched any more");
    TRY(read_row(work, due.mailbox, &row));
    if (!is_same(row.due, due.next_check_at))
        return skip(work, "this check was made already");
    work_set_tenant(work, row.tenant);
    enum outcome outcome = step(work, &row, &asking, &next_us);
    if (outcome == RETRY && daemon_stopping())
        return RETRY;
    if (outcome != DONE)
        return put_off(work, &row, asking.wait_us);
    row.failures = 0;
    return move(work, &row, next_us, NULL);
}
