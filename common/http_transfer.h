/* http_transfer.h: one call as a libcurl transfer, and its answer; private to the HTTP client.
 *
 * A redirect makes a call go through transfer_begin() again: each hop is a transfer of its own.
 * Threads: the engine's only; the caller sleeps meanwhile, so what it handed over (request, arena, reply, why) is ours.
 */
#pragma once

#include <stdatomic.h>
#include <sys/queue.h>

#include "common/address_guard.h"
#include "common/http_client.h"
#include "common/http_sockets.h"

#define HTTP_HEADERS_MAX 32
#define HTTP_CONNECT_TIMEOUT_MS INT64_C(10000)          /* DNS, TCP and TLS; at most what is left of the call's own */
#define HTTP_RETRY_AFTER_MS_MAX (INT64_C(24) * 3600 * 1000) /* a provider that asks for more is held to this */
#define HTTP_EXPECT_100_MS 200L                         /* after it an upload goes on without "100 Continue" */
#define HTTP_BODY_KEPT_BYTES (64 * 1024)                /* room that a transfer keeps for the next answer */
#define HTTP_ORIGIN_BYTES 272                           /* "https://", a name of 253, ":65535" */

/* What the transfers of one client share. */
struct http_engine {
    CURLM *multi;
    CURLSH *share;          /* TLS sessions; connections and names are shared through `multi` */
    CURLU *address;         /* a scratch pad for URLs */
    struct http_sockets sockets;
    struct address_guard *guard;
    char *user_agent;
};

/* On the caller's stack while it waits; of a caller that does not, on the heap. */
struct call {
    const struct http_request *request;
    struct arena *arena;
    struct http_reply *reply;
    struct problem *why;            /* may be NULL */
    int64_t called_us;
    atomic_uint done;               /* a futex: the caller sleeps on it … */
    void (*told)(void *context);    /* … unless this is to be called, and the call freed */
    void *context;

    struct call *earlier;           /* in the inbox */
    TAILQ_ENTRY(call) held;         /* in the list of all that the engine holds */
    TAILQ_ENTRY(call) waiting;      /* in its host's queue, until it has a transfer */
    struct http_host *host;
    struct transfer *transfer;

    char *redirected_to;            /* the current hop's URL; NULL: the request's own */
    int redirects;
    bool left_origin;               /* credentials stay behind */
    bool turned_to_get;
};

/* A pooled easy handle with what one hop needs. */
struct transfer {
    struct http_engine *engine;
    SLIST_ENTRY(transfer) free;
    CURL *easy;
    struct call *call;
    const char *origin;             /* "https://api.example:443"; the host's, which outlives the hop */
    struct curl_slist headers[HTTP_HEADERS_MAX + 2];
    curl_mime *mime;
    struct buf body;
    char error[CURL_ERROR_SIZE];

    bool sent;                      /* something of this hop's request may have left */
    bool too_large;
    int write_errno;                /* why `file` could not be written */
    int read_errno;                 /* why `upload` could not be read */
    int64_t uploaded_bytes;
    int addresses_tried, addresses_refused;
    bool reuse_refused;             /* a kept connection led to a refused address */
    char refused[64];               /* the refused address, for people */
    enum { BODY_UNDECIDED, BODY_TO_MEMORY, BODY_TO_FILE, BODY_TO_NOWHERE } body_goes;
    int64_t moved_bytes, moved_us;  /* when bytes last moved, in either direction */
};

struct transfer *transfer_new(struct http_engine *engine);
void transfer_free(struct transfer *transfer);

/* "scheme://host:port" of the call's current URL; false when it is not a URL, or neither http nor https. */
bool call_origin(struct http_engine *engine, const struct call *call, char ret[HTTP_ORIGIN_BYTES], struct problem *why);

/* Whether the other side may have seen the request: also when only a redirect's second hop could not be made. */
bool call_was_sent(const struct call *call);

/* Starts the current hop.  False, with the reason in the call's, when it cannot be: nothing was sent.
 * transfer_end() follows either way. */
bool transfer_begin(struct transfer *transfer, struct call *call, const char *origin);
/* Takes it off libcurl, which ends it when it is not done.  The call no longer has a transfer. */
void transfer_end(struct transfer *transfer);

/* Whether a done transfer sends its call elsewhere; the call's current URL is then the new one. */
bool transfer_redirects(struct transfer *transfer, CURLcode code);
/* The result of a done transfer, with the reply or the reason in the call's. */
enum http_result transfer_result(struct transfer *transfer, CURLcode code);
/* Nothing has moved for the request's stall_timeout_ms. */
bool transfer_stalled(struct transfer *transfer, int64_t now);
