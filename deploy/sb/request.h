/* request.h: an HTTP request as a person has it: copied from a log, a capture, or given piece by piece.
 *
 *     [POST /twilio-status?delivery=1 HTTP/1.1]       may be missing
 *     Name: value                                     lines end in LF or CRLF
 *     (an empty line)
 *     the body, to the last byte */
#pragma once

#include "common/base.h"

#define REQUEST_HEADERS_MAX    128
#define REQUEST_BYTES_MAX      (17 * 1024 * 1024) /* the door takes bodies of 16 MiB */
#define REQUEST_LINE_BYTES_MAX (16 * 1024)

/* Views into what was read. */
struct request {
    struct text target; /* of the request line, as written: a path with its query, or a whole URL; absent: not known */
    struct request_header {
        struct text name, value;
    } headers[REQUEST_HEADERS_MAX];
    size_t header_count;
    struct text body; /* never absent */
};

/* False with the line that is wrong. `ret` was zeroed. */
bool request_read(struct text input, struct request *ret, struct problem *why);
/* A line "Name: value"; false when it is none, or there are too many. */
bool request_add_header(struct request *request, struct text line, struct problem *why);
/* The first of that name, whatever its letter case; absent when there is none. */
struct text request_header(const struct request *request, const char *name);

/* A URL, or the target of a request line, in the pieces that proxies change; absent what is not there. */
struct url {
    struct text scheme; /* "https" */
    struct text host;   /* without its port */
    struct text port;   /* with its colon */
    struct text path;   /* with its slash */
    struct text query;  /* with its question mark */
};
void url_split(struct text url, struct url *ret);
