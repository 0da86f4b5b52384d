/* api_writes.h: what an API client wants to be changed becomes an event, and its answer comes back by another.
 *
 *     handler ──▶ api.requested (inbound.api) ──▶ recorder: rows, api_operations ──▶ api.answered (replies) ──▶ client
 *
 * The handler (an API thread) has checked token, role and body.  The request is kept as webhooks are (door.h), so it is
 * not lost any more; then its outcome is waited for (replies.h), at most REPLIES_PATIENCE_MS: after that the client is
 * told where to look (202, Location).  Its id is made of the token and the header Idempotency-Key, so whoever repeats
 * it gets the outcome that was recorded, and nothing happens twice; the same key for something else is 422. */
#pragma once

#include "ingest/api.h"

#define IDEMPOTENCY_KEY_BYTES_MAX 255

struct api_writes;

/* Before the server starts; Kafka may be away. */
struct api_writes *api_writes_open(struct ingest *ingest, struct problem *why);
/* With the server: requests are handed to the door on its loop. */
bool api_writes_start(struct api_writes *writes, struct http_server *server, struct problem *why);
/* When the server is drained, before the API is closed: nobody waits any more.  NULL is fine. */
void api_writes_stop(struct api_writes *writes);
/* When the door is closed.  NULL is fine. */
void api_writes_free(struct api_writes *writes);

/* The body through a generated reader (requests.h); false when it was refused: 415, or 422 with its JSON pointer. */
#define api_read_body(request, reader, ret)                                                                       \
    (api_is_json(request) &&                                                                                      \
     api_body_read_((request), (reader)(http_body((request)->exchange), (request)->arena, (ret), &(request)->why)))
bool api_is_json(struct api_request *request);
bool api_body_read_(struct api_request *request, bool valid);
/* 422 for what a reader cannot see. */
void api_refuse_body(struct api_request *request, const char *detail, const char *pointer);

/* Hands the request on, which is answered by and by: it must not be touched any more.  `subject` is the conversation
 * among whose events it keeps its place: a call, a lead, a visit. */
void api_write(struct api_request *request, const char *subject);
