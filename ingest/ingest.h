/* ingest.h: what the files of the ingest daemon share.
 *
 *     main.c            settings, routes, start and end
 *     callrail_hooks.c  POST /api/v1/callrail/…      authentic? readable? whose?
 *     twilio_hooks.c    POST /twilio-status, /whatsapp-webhook
 *     shunya_hooks.c    POST /api/v1/shunya/webhook
 *     outlook_hooks.c   POST /outlook-webhook              outlook_meeting.c: what its body says
 *     graph_hooks.c     POST /graph/notify                 graph.c: asking Graph
 *     coach_register.c  GET, POST /register                register_page.c: the page; rate.c: how often
 *     inbound.c         the webhook becomes an event in inbound.* or dead.ingest and is answered once it is durable
 *     refusals.c        those that are not authentic, counted for the operator
 *     door.c            Kafka or the spool          door_open.c: its opening, closing; producers.c, spool.c: its two ways
 *     keys.c            who may knock
 *     api.c, api_*.c    /api/v1/…                    tokens.c: who asks; replies.c: who waits
 *     reconcile.c       CallRail is asked for calls whose webhooks never came
 *     recorder.c, calls.c, messages.c, jobs.c   the recorder: inbound.* → rows and domain events
 *     coach.c, coach_meetings.c, coach_chats.c  the same for salespeople who register, their meetings and what they write
 *     graph_changes.c, graph_subscription.c     the same for the calendar at Microsoft Graph
 *     changes.c, appointments.c, visits.c, corrections.c, leads.c   the same for what API clients change
 *
 * Threads: hooks, inbound and door run on the HTTP server's loop thread; the recorder's handlers on the stage's workers;
 * the API's on its own. */
#pragma once

#include "common/http_server.h"
#include "common/recordings.h"
#include "common/stage.h"
#include "ingest/door.h"
#include "ingest/keys.h"

#define WEBHOOK_BYTES_MAX (16 * 1024 * 1024)
#define SOURCES_MAX 128                 /* told apart; what comes from more counts as "other" */

/* Who sends: CallRail, a company's own account there, Twilio, Shunya, Outlook, people who register. */
struct source {
    char name[sizeof("callrail/") + TENANT_BYTES];
    int64_t in_flight;                  /* webhooks without an answer */
    int64_t heard_s;                    /* when the metrics were told last, in seconds since 1970 … */
    int key;                            /* … and of which key */
};

struct ingest {
    /* settings */
    const char *listen;
    const char *public_url;             /* NULL: Twilio's webhooks cannot be checked */
    const char *default_region;         /* of phone numbers written without a country */
    const char *default_tenant;         /* of what names none; NULL: the coach's page needs the company in its path */
    const char *coach_mailbox;          /* who is invited to meetings and is nobody's client; NULL: none */
    bool spool;
    const char *spool_dir;
    int64_t spool_bytes_max;
    struct recordings recordings;
    const char *callrail_signing_key, *twilio_auth_token, *shunya_webhook_secret, *outlook_webhook_secret;
    bool shunya_signature_legacy;
    int64_t connections_max, connections_per_address_max, in_flight_bytes_max, in_flight_per_key_max;
    int64_t request_deadline_ms;
    int64_t api_threads, api_queue_max;
    const char *callrail_url, *callrail_account_id;
    const char *callrail_api_key;       /* NULL: the shared account is not asked for calls that never arrived */
    int64_t callrail_check_every_ms, callrail_budget_percent;
    const char *graph_tenant_id, *graph_client_id, *graph_client_secret;    /* NULL: no calendar is watched */
    const char *graph_url, *graph_login_url;

    /* the door's */
    struct http_server *server;
    struct door *door;
    struct keyring *keyring;
    struct api *api;
    struct api_writes *writes;
    struct arena *scratch;              /* of one webhook, on the loop thread */
    struct source sources[SOURCES_MAX];
    size_t source_count;
};

/* The recorder: one table, of calls.c, messages.c, coach_chats.c and jobs.c.  A call's id is the event's subject, which the door read from
 * the body. */
extern const struct route ingest_routes[];
extern const struct sweep ingest_sweeps[];
/* /api/v1/… and /openapi.yaml. */
extern const struct http_route ingest_api_routes[];
/* The webhooks. */
extern const struct http_route callrail_hook_routes[], twilio_hook_routes[], shunya_hook_routes[],
    outlook_hook_routes[], graph_hook_routes[];
/* The page in the browser, and /register. */
extern const struct http_route page_routes[], coach_register_routes[];
