/* http_client.h: HTTP out: one curl_multi_socket engine per process, on a thread of its own; callers block in http_call().
 *
 * Connections are reused and HTTP/2 is used where offered; there are at most `connections_max` in all and
 * `connections_per_host_max` for one host (scheme, name, port), and as many calls under way: callers beyond it wait
 * inside their own time-out, first come, first served for each host and in turn between hosts.  A request that was lost
 * with a kept connection is sent again only when its method may be (GET, HEAD, PUT, DELETE, OPTIONS).  Proxies of the
 * environment are ignored.
 *
 * The address guard: a request marked `outside` (its address came from outside) may not reach private, loopback, link-local,
 * multicast, unspecified or otherwise special addresses (IANA special-purpose registries, RFC 6890; IPv4-mapped IPv6 too),
 * checked on the address actually connected to, so after DNS and again at each redirect, unless host:port is in
 * `allowed_private`.  Only http and https; at most REDIRECTS_MAX redirects; credentials are not sent on to other hosts. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

#define HTTP_REDIRECTS_MAX 5

struct http_client;

struct http_client_settings {
    int64_t connections_max;
    int64_t connections_per_host_max;
    const char *allowed_private;        /* "127.0.0.1:9000,10.0.0.5:80" or NULL: reachable although private; for `outside` requests */
    const char *user_agent;
};

struct http_part {                      /* one part of multipart/form-data */
    const char *name;                   /* NULL ends a list */
    const char *data;                   /* the value, or … */
    const char *file_path;              /* … a file streamed from disk */
    const char *file_name;
    const char *content_type;
};

struct http_request {
    const char *method;
    const char *url;
    const char *const *headers;         /* "Name: value", NULL-terminated, or NULL */
    struct text body;                   /* absent: none */
    const struct http_part *parts;      /* instead of body … */
    int upload;                         /* … or, with the method PUT, an open file, read from its start as it is sent … */
    int64_t upload_bytes;               /* … whose size this is; 0: none */
    const char *basic_user, *basic_password;
    const char *aws_sigv4;              /* "aws:amz:us-east-1:s3": signed by AWS Signature Version 4 instead, with the two
                                         * above as key and secret; the caller gives x-amz-content-sha256.  May be NULL */
    int64_t timeout_ms;                 /* all in all, of which connecting may take 10 s; required */
    int64_t stall_timeout_ms;           /* less than 1 byte/s for so long ends it; 0: none */
    size_t answer_bytes_max;            /* a larger answer is HTTP_TOO_LARGE; required */
    int file;                           /* when `to_file`: where a 2xx body goes, instead of memory */
    bool to_file;
    bool outside;                       /* the address guard applies and redirects are followed */
    bool repeatable;                    /* harmless to send again later: http_client_hurry() ends it */
    const volatile bool *cancelled;     /* may be NULL; set it atomically, then call http_client_wake() */
};

enum http_result {
    HTTP_ANSWERED,          /* there is a status, whatever it is */
    HTTP_NOT_SENT,          /* could not resolve or connect: the other side did not see the request */
    HTTP_BROKEN,            /* sent, perhaps acted on, no whole answer (cut, time-out) */
    HTTP_TOO_LARGE,
    HTTP_FORBIDDEN,         /* the address guard, no URL, a scheme that is not allowed, too many redirects: stays so */
    HTTP_CANCELLED,
};

struct http_reply {
    enum http_result result;
    long status;
    struct text body;               /* in the arena; absent when it went to a file */
    int64_t bytes;                  /* of the body, also in a file */
    const char *content_type;       /* "" when none */
    int64_t retry_after_ms;         /* Retry-After (both forms) or retry-after-ms; -1 when absent */
    int64_t took_us;
};

/* Does the address lead to the scheme, host and port of `base`, and not merely begin like it?  For credentials, which
 * go there alone. */
bool http_leads_to(const char *url, const char *base);

struct http_client *http_client_start(const struct http_client_settings *settings, struct problem *why);
/* Open calls end with HTTP_CANCELLED; returns when their callers have left http_call(), which nobody may enter after.
 * NULL is fine. */
void http_client_stop(struct http_client *client);
/* Blocks until there is a result; `why` is filled unless HTTP_ANSWERED.  Any thread but the engine's. */
enum http_result http_call(struct http_client *client, const struct http_request *request, struct arena *arena,
                           struct http_reply *ret, struct problem *why);
/* The same without blocking: `told` is called on the engine's thread once there is a result, and must not block.  What
 * is handed over must live until then.  Any thread. */
void http_call_begin(struct http_client *client, const struct http_request *request, struct arena *arena,
                     struct http_reply *ret, struct problem *why, void (*told)(void *context), void *context);
void http_client_wake(struct http_client *client);                  /* after a `cancelled` was set */
/* The process is to end: `repeatable` calls, open and later ones, end with HTTP_CANCELLED; the others go on. */
void http_client_hurry(struct http_client *client);
int64_t http_client_in_flight(const struct http_client *client);
