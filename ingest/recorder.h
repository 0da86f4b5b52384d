/* recorder.h: the recorder: an accepted webhook, or a change a client asked for, becomes rows and domain events.  Its
 * handlers run on the stage's workers. */
#pragma once

#include "ingest/ingest.h"

#include "events.h"

enum outcome record_callrail(struct work *work, const struct event *event);         /* calls.c */
enum outcome reconcile_calls(struct work *work, const struct event *event);         /* reconcile.c */
enum outcome record_twilio_status(struct work *work, const struct event *event);    /* messages.c */
enum outcome record_twilio_message(struct work *work, const struct event *event);   /* coach_chats.c */
enum outcome record_shunya(struct work *work, const struct event *event);           /* jobs.c */
enum outcome record_api_request(struct work *work, const struct event *event);      /* changes.c */

/* At most so many characters: what it says is shown, not decided on.  NULL gives NULL. */
const char *recorder_cut(struct work *work, const char *value, size_t characters_max);
/* The raw body as the door kept it. */
enum outcome recorder_body(struct work *work, const char *encoding, struct text kept, struct text *ret);
