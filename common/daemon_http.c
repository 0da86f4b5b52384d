#include "common/daemon_parts.h"
#include "common/http_server.h"
#include "common/log.h"
#include "common/metrics.h"

#include <assert.h>

/* For a scraper, an orchestrator's probes and a person or two. */
#define CONNECTIONS_MAX             64
#define CONNECTIONS_PER_ADDRESS_MAX 32
#define REQUEST_DEADLINE_MS         10000
#define ANSWER_DEADLINE_MS          10000
#define IN_FLIGHT_BYTES_MAX         (64 * 1024)
#define DRAIN_MS                    1000
#define METRICS_BYTES_MAX           (8 * 1024 * 1024)

static struct http_server *server;
static bool (*stage_is_ready)(void *context, struct problem *why);
static void *ready_context;

static void answer_health(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/plain", TEXT("ok\n"), NULL);
}

static void answer_ready(struct http_exchange *exchange, void *context)
{
    (void)context;
    struct problem why = { 0 };
    if (daemon_stopping())
        http_answer_problem(exchange, 503, "stopping", NULL);
    else if (stage_is_ready && !stage_is_ready(ready_context, &why))
        http_answer_problem(exchange, 503, why.text, NULL);
    else
        http_answer(exchange, 200, "text/plain", TEXT("ready\n"), NULL);
}

static void answer_metrics(struct http_exchange *exchange, void *context)
{
    (void)context;
    struct buf out;
    buf_init(&out, METRICS_BYTES_MAX);
    metrics_print(&out);
    if (out.overflowed)
        http_answer_problem(exchange, 500, "the metrics are larger than 8 MiB", NULL);
    else
        http_answer(exchange, 200, "text/plain; version=0.0.4; charset=utf-8", buf_text(&out), NULL);
    buf_done(&out);
}

bool daemon_serve_metrics(bool (*ready)(void *context, struct problem *why), void *context, struct problem *why)
{
    static const struct http_route routes[] = {
        { "GET", "/health", answer_health, 0, NULL },
        { "GET", "/ready", answer_ready, 0, NULL },
        { "GET", "/metrics", answer_metrics, 0, NULL },
        { 0 },
    };
    const char *listen = daemon_settings()->listen;
    assert(listen && !server);
    stage_is_ready = ready;
    ready_context = context;
    struct http_server_settings settings = {
        .listen = listen,
        .connections_max = CONNECTIONS_MAX,
        .connections_per_address_max = CONNECTIONS_PER_ADDRESS_MAX,
        .request_deadline_ms = REQUEST_DEADLINE_MS,
        .answer_deadline_ms = ANSWER_DEADLINE_MS,
        .in_flight_bytes_max = IN_FLIGHT_BYTES_MAX,
    };
    server = http_server_start(&settings, routes, why);
    if (!server)
        return false;
    log_info("serving /health, /ready and /metrics", LOG_TEXT("listen", listen),
             LOG_INT("port", http_server_port(server)));
    return true;
}

void daemon_http_stop(void)
{
    if (server)
        http_server_drain(server, DRAIN_MS);
    server = NULL;
}
