/* ingest: the door, where webhooks come in and are kept before they are acknowledged, and the recorder, which makes
 * rows and domain events of them. */
#include <stdio.h>
#include <string.h>

#include "common/json.h"
#include "common/log.h"
#include "common/metrics.h"
#include "common/phone.h"
#include "ingest/api.h"
#include "ingest/api_writes.h"
#include "ingest/graph.h"
#include "ingest/inbound.h"
#include "ingest/producers.h"
#include "ingest/reconcile.h"
#include "ingest/refusals.h"

#define SCRATCH_BYTES_MAX ((size_t)96 * 1024 * 1024)    /* of one webhook: its body decoded, and in base64 */
#define ROUTES_MAX 64
#define ANSWER_DEADLINE_MS 10000        /* senders give up earlier; the door needs 250 ms and the disk */
#define DRAIN_PART 5                    /* of the drain deadline is the door's: a fifth */
#define METRICS_BYTES_MAX (8 * 1024 * 1024)
#define KEYS_FILE "keys.json"

static struct ingest ingest;

#define AT(field) offsetof(struct ingest, field)
static const struct setting settings[] = {
    { "INGEST_LISTEN", SET_LISTEN, AT(listen), "0.0.0.0:5000",
      .help = "where webhooks, the API, /health, /ready and /metrics are served" },
    { "PUBLIC_URL", SET_URL, AT(public_url), NULL,
      .help = "the address providers see; Twilio's signatures depend on it" },
    { "CALLRAIL_SIGNING_KEY", SET_SECRET, AT(callrail_signing_key), NULL,
      .help = "signs CallRail's webhooks; several, separated by commas, while it is changed" },
    { "CALLRAIL_API_KEY", SET_SECRET, AT(callrail_api_key), NULL,
      .help = "asks CallRail for calls whose webhooks never came; the first of several. Without it nobody asks" },
    { "CALLRAIL_ACCOUNT_ID", SET_TEXT, AT(callrail_account_id), NULL, .help = "the account it is the key of" },
    { "CALLRAIL_BASE_URL", SET_URL, AT(callrail_url), "https://api.callrail.com/v3", .help = "CallRail's address" },
    { "CALLRAIL_CHECK_EVERY", SET_DURATION, AT(callrail_check_every_ms), "10m", 1000, 86400000,
      .help = "how often an account is asked for such calls" },
    { "CALLRAIL_BUDGET_PERCENT", SET_COUNT, AT(callrail_budget_percent), "25", 1, 100,
      .help = "what that may take of the 1,000 requests an hour and 10,000 a day that CallRail allows an account" },
    { "TWILIO_AUTH_TOKEN", SET_SECRET, AT(twilio_auth_token), NULL,
      .help = "signs Twilio's callbacks; several, separated by commas, while it is changed" },
    { "SHUNYA_WEBHOOK_SECRET", SET_SECRET, AT(shunya_webhook_secret), NULL,
      .help = "signs Shunya's webhooks; several, separated by commas, while it is changed" },
    { "SHUNYA_SIGNATURE_LEGACY", SET_SWITCH, AT(shunya_signature_legacy), "off",
      .help = "on: Shunya's older signatures are taken too, which hold no time" },
    { "OUTLOOK_WEBHOOK_SECRET", SET_SECRET, AT(outlook_webhook_secret), NULL,
      .help = "the header X-Webhook-Secret of Outlook's webhooks; several, separated by commas, while it is changed" },
    { "COACH_MAILBOX", SET_TEXT, AT(coach_mailbox), NULL,
      .help = "the mailbox that is invited to meetings and is nobody's client" },
    { "GRAPH_TENANT_ID", SET_TEXT, AT(graph_tenant_id), NULL,
      .help = "the directory at Microsoft of the mailbox; without it meetings come by /outlook-webhook alone" },
    { "GRAPH_CLIENT_ID", SET_TEXT, AT(graph_client_id), NULL, .help = "our application there" },
    { "GRAPH_CLIENT_SECRET", SET_SECRET, AT(graph_client_secret), NULL,
      .help = "its secret; several, separated by commas, while it is changed, of which the first is used" },
    { "GRAPH_BASE_URL", SET_URL, AT(graph_url), "https://graph.microsoft.com/v1.0",
      .help = "Microsoft Graph's address" },
    { "GRAPH_LOGIN_BASE_URL", SET_URL, AT(graph_login_url), "https://login.microsoftonline.com",
      .help = "where Microsoft gives tokens" },
    { "DEFAULT_TENANT", SET_TEXT, AT(default_tenant), NULL,
      .help = "the company of /register and of meetings that name none; without it /register needs one in its path" },
    { "DEFAULT_REGION", SET_TEXT, AT(default_region), "US",
      .help = "the region of phone numbers written without a country" },
    { "SPOOL", SET_SWITCH, AT(spool), "on",
      .help = "off: no disk that outlives the process; webhooks are answered 503 while Kafka is away" },
    { "SPOOL_DIR", SET_TEXT, AT(spool_dir), ".run/spool",
      .help = "folder of what was accepted while Kafka was away; one for each instance" },
    { "SPOOL_BYTES_MAX", SET_BYTES, AT(spool_bytes_max), "4GiB", .least = 1024 * 1024,
      .help = "size of the spool; then webhooks are answered 503" },
    RECORDINGS_SETTINGS(AT(recordings)),
    { "INGEST_CONNECTIONS_MAX", SET_COUNT, AT(connections_max), "4096", 16, 65536, .help = "open connections in all" },
    { "INGEST_CONNECTIONS_PER_ADDRESS_MAX", SET_COUNT, AT(connections_per_address_max), "1024", 1, 65536,
      .help = "open connections of one address; behind a proxy they are all of one" },
    { "INGEST_REQUEST_DEADLINE", SET_DURATION, AT(request_deadline_ms), "10s", 100, 600000,
      .help = "from a request's first byte to its last, then 408" },
    { "INGEST_IN_FLIGHT_BYTES_MAX", SET_BYTES, AT(in_flight_bytes_max), "256MiB", .least = 32 * 1024 * 1024,
      .help = "bodies above 16 KiB held at once, then 503" },
    { "INGEST_IN_FLIGHT_PER_KEY_MAX", SET_COUNT, AT(in_flight_per_key_max), "10000", 1, 1000000,
      .help = "webhooks of one source without an answer, then 429" },
    { "API_THREADS", SET_COUNT, AT(api_threads), "4", 1, 64, .help = "API requests that ask Postgres at once" },
    { "API_QUEUE_MAX", SET_COUNT, AT(api_queue_max), "256", 1, 65536, .help = "API requests that wait for it, then 503" },
    { 0 },
};

static struct metric requests =
    METRIC_COUNTER("ingest_requests_total", "HTTP requests by route and status", "route", "status");
static struct metric request_time =
    METRIC_HISTOGRAM("ingest_request_seconds", "from a request's first byte to its answer, by route", "route");

/* --- the server ----------------------------------------------------------------------------------------------- */

static void note_answer(void *context, const char *route, int status, int64_t took_us)
{
    char number[] = { (char)('0' + status / 100 % 10), (char)('0' + status / 10 % 10), (char)('0' + status % 10), '\0' };
    (void)context;
    metric_add(&requests, 1, route ? route : "none", number);
    metric_time(&request_time, took_us, route ? route : "none");
}

static void answer_health(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/plain", TEXT("ok\n"), NULL);
}

/* Ready is who can keep a webhook.  That the recorder waits for Postgres must not keep webhooks out: it is said,
 * not failed. */
static void answer_ready(struct http_exchange *exchange, void *context)
{
    struct problem why = { 0 };
    char text[sizeof(why.text) + 64];
    (void)context;
    if (daemon_stopping()) {
        http_answer_problem(exchange, 503, "stopping", NULL);
    } else if (!door_ready(ingest.door, &why)) {
        http_answer_problem(exchange, 503, why.text, NULL);
    } else {
        bool recorder_ready = stage_ready(&why);
        snprintf(text, sizeof(text), recorder_ready ? "ready%s\n" : "ready; the recorder waits: %s\n",
                 recorder_ready ? "" : why.text);
        http_answer(exchange, 200, "text/plain", text_of(text), NULL);
    }
}

static void answer_metrics(struct http_exchange *exchange, void *context)
{
    struct buf out;
    (void)context;
    buf_init(&out, METRICS_BYTES_MAX);
    door_metrics(ingest.door);
    metrics_print(&out);
    if (out.overflowed)
        http_answer_problem(exchange, 500, "the metrics are larger than 8 MiB", NULL);
    else
        http_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&out), NULL);
    buf_done(&out);
}

static const struct http_route operators_routes[] = {
    { "GET", "/health", answer_health, 0, NULL },
    { "GET", "/ready", answer_ready, 0, NULL },
    { "GET", "/metrics", answer_metrics, 0, NULL },
    { 0 },
};

/* One table of all: it lives as long as the server. */
static bool gather_routes(const struct http_route **ret, struct problem *why)
{
    static struct http_route all[ROUTES_MAX + 1];
    static const struct http_route *const tables[] = { callrail_hook_routes,  twilio_hook_routes,
                                                       shunya_hook_routes,    outlook_hook_routes,
                                                       graph_hook_routes,
                                                       coach_register_routes, ingest_api_routes,
                                                       page_routes,           operators_routes };
    size_t count = 0;

    for (size_t i = 0; i < LENGTH(tables); i++)
        for (const struct http_route *route = tables[i]; route->method; route++) {
            if (count == ROUTES_MAX)
                return fail(why, "there are more than %d routes", ROUTES_MAX);
            all[count++] = *route;
        }
    *ret = all;
    return true;
}

static bool watch(void *loop, int fd, void (*ready)(void *context), void *context, struct problem *why)
{
    return http_server_watch(loop, fd, ready, context, why);
}

/* --- start and end -------------------------------------------------------------------------------------------- */

static bool open_keyring(struct problem *why)
{
    static char path[1024];
    snprintf(path, sizeof(path), "%s/" KEYS_FILE, daemon_settings()->state_dir);
    ingest.keyring = keyring_open(&(struct keyring_settings){ .shared_keys = ingest.callrail_signing_key,
                                                              .database_url = daemon_settings()->database_url,
                                                              .database_role = "switchboard_ingest",
                                                              .copy_path = path },
                                  why);
    return ingest.keyring;
}

static bool open_door(struct problem *why)
{
    static const struct topic *door_topics[PRODUCERS_TOPICS_MAX + 1];
    size_t count = 0;

    for (const struct topic *topic = topics; topic->name; topic++)
        if (strncmp(topic->name, "inbound.", strlen("inbound.")) == 0 || strcmp(topic->name, "dead.ingest") == 0) {
            if (count == LENGTH(door_topics) - 1)
                return fail(why, "there are more than %zu topics for the door", count);
            door_topics[count++] = topic;
        }
    struct door_settings door_settings = {
        .brokers = daemon_settings()->kafka_brokers,
        .client_id = daemon_settings()->instance,
        .topics = door_topics,
        .spool_directory = ingest.spool ? ingest.spool_dir : NULL,
        .spool_bytes_max = ingest.spool_bytes_max,
        .watch = watch,
    };
    ingest.door = door_open(&door_settings, why);
    return ingest.door;
}

static bool open_server(struct problem *why)
{
    const struct http_route *routes;
    struct http_server_settings server = {
        .listen = ingest.listen,
        .connections_max = ingest.connections_max,
        .connections_per_address_max = ingest.connections_per_address_max,
        .request_deadline_ms = ingest.request_deadline_ms,
        .answer_deadline_ms = ANSWER_DEADLINE_MS,
        .in_flight_bytes_max = (size_t)ingest.in_flight_bytes_max,
        .on_answer = note_answer,
        .context = &ingest,
    };
    if (!gather_routes(&routes, why))
        return false;
    ingest.server = http_server_start(&server, routes, why);
    if (!ingest.server || !door_start(ingest.door, ingest.server, why) ||
        !api_writes_start(ingest.writes, ingest.server, why))
        return false;
    log_info("serving", LOG_TEXT("listen", ingest.listen), LOG_INT("port", http_server_port(ingest.server)));
    return true;
}

static bool ingest_open(void *context, struct problem *why)
{
    (void)context;
    metric_register(&requests);
    metric_register(&request_time);
    inbound_open();
    ingest.scratch = arena_new(SCRATCH_BYTES_MAX);
    ingest.api = api_open(&ingest, why);
    ingest.writes = ingest.api ? api_writes_open(&ingest, why) : NULL;
    return ingest.writes && recordings_ready(&ingest.recordings, why) && reconcile_open(&ingest, why) && graph_open(&ingest, why) && open_keyring(why) &&
           open_door(why) && open_server(why);
}

static void ingest_close(void *context)
{
    int64_t deadline_ms = daemon_settings()->drain_deadline_ms / DRAIN_PART / 2;
    (void)context;
    if (ingest.server)
        http_server_drain(ingest.server, deadline_ms);
    api_writes_stop(ingest.writes);
    api_close(ingest.api);
    door_close(ingest.door, deadline_ms);
    api_writes_free(ingest.writes);
    keyring_close(ingest.keyring);
    arena_free(ingest.scratch);
}

/* Not at every start: libphonenumber is loaded for it. */
static bool region_check(struct buf *out)
{
    bool good = phone_is_region(ingest.default_region);
    if (good)
        buf_printf(out, "ok   numbers without a country are read as of %s\n", ingest.default_region);
    else
        buf_printf(out, "bad  DEFAULT_REGION is %s; it takes the two letters that ISO 3166 gives a country: US, GB\n",
                   ingest.default_region);
    return good;
}

static bool ingest_check(void *context, struct buf *out)
{
    struct problem why;
    bool callrail = reconcile_open(context, &why);
    if (callrail)
        reconcile_check(context, out);
    else
        buf_printf(out, "bad  callrail %s\n", why.text);
    bool graph = graph_open(context, &why);
    if (graph)
        graph_check(context, out);
    else
        buf_printf(out, "bad  graph %s\n", why.text);
    bool recordings = recordings_check(&ingest.recordings, out);
    bool region = region_check(out);
    return callrail && graph && recordings && region;
}

static void ingest_report(void *context, struct buf *json)
{
    struct spool_size size = door_spool(ingest.door);
    (void)context;
    refusals_report(json);
    json_name(json, "spool");
    if (!ingest.spool) {
        buf_add_string(json, "null");
        return;
    }
    buf_add_char(json, '{');
    json_add_integer(json, "messages", size.messages);
    json_add_integer(json, "aside", size.aside);
    json_add_integer(json, "bytes", size.bytes);
    json_add_time(json, "since", size.waiting_since_us);
    buf_add_char(json, '}');
}

int main(int argc, char **argv)
{
    return stage_main(argc, argv, &(struct stage){
        .name = "ingest",
        .summary = "keeps what comes in from providers, acknowledges it, and records it as rows and events",
        .settings = settings,
        .context = &ingest,
        .routes = ingest_routes,
        .open = ingest_open,
        .close = ingest_close,
        .sweeps = ingest_sweeps,
        .check = ingest_check,
        .report = ingest_report,
        .own_metrics_server = true,
    });
}
