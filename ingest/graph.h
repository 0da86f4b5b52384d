/* graph.h: the calendar of COACH_MAILBOX at Microsoft Graph: the subscription that tells of its changes
 * (graph_subscription.c), what is read of them (graph_changes.c), and the requests of both (graph.c).
 *
 *     sweep ─▶ subscription.due ─▶ made, renewed, or a page of the calendar read
 *     POST /graph/notify ─▶ inbound.graph ─▶ graph.change.received ─▶ the event is read ─▶ outlook.meeting.received
 *
 * No request has a circuit, since that would hold up the recorder: what fails is tried again by itself, a notice by the
 * runtime, the subscription by its row.
 *
 * Threads: the stage's workers. */
#pragma once

#include "ingest/recorder.h"

#define GRAPH_PROVIDER "graph"
#define GRAPH_TIMEOUT_MS 30000

/* False when the settings do not go together.  Declares the metrics; the mailbox is in lower case from here on. */
bool graph_open(struct ingest *ingest, struct problem *why);
/* A line for --check. */
void graph_check(const struct ingest *ingest, struct buf *out);
/* Is a calendar watched?  All settings are there. */
bool graph_is_on(const struct ingest *ingest);

struct graph_request {
    const char *method;
    const char *url;            /* of GRAPH_BASE_URL: our token goes nowhere else (asserted) */
    const char *prefer;         /* further preferences; NULL: none */
    const char *body;           /* JSON; NULL: none */
};
/* From inside an ask's call: with a token, of which there is a new one when Graph does not take the old one.  DONE
 * whenever there is an answer. */
enum outcome graph_call(struct work *work, const struct graph_request *request, struct http_reply *ret);
/* Sees to it that there is a token, before what must not be asked twice. */
enum outcome graph_prepare(struct work *work);
/* What an answer other than 2xx means: RETRY, with Retry-After, or REJECT; the reason is Graph's own. */
enum outcome graph_refused(struct work *work, const struct http_reply *reply);
/* "…/users/coach%40acme.test/events/AAMk…": what follows the base address, escaped part by part; NULL ends it. */
const char *graph_url(struct work *work, const char *first_part, ...) __attribute__((__sentinel__));

/* Describes that the calendar is to be read, because not every change was told of. */
void graph_read_calendar(struct work *work, const char *mailbox);

enum outcome record_graph_change(struct work *work, const struct event *event);     /* graph_changes.c */
enum outcome look_after_subscription(struct work *work, const struct event *event); /* graph_subscription.c */
/* Of the sweep that finds the subscription due. */
extern const struct statement graph_due;
const char *graph_due_mailbox(void *context);
