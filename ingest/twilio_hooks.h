/* twilio_hooks.h: what the door reads of a Twilio status callback: which message, to whom.  Everything else is the
 * recorder's. */
#pragma once

#include "common/arena.h"

#define TWILIO_FIELD_BYTES_MAX 128

/* Terminated views into the arena. */
struct twilio_status {
    const char *message_sid, *status, *to;
    const char *sequence;               /* SequenceNumber, or "" */
};

/* Reads a form body (Twilio, "Track outbound message status").  False with pointer and reason. */
bool twilio_status_read(struct text content_type, struct text body, struct arena *arena, struct twilio_status *ret,
                        struct problem *why);
/* Twilio signs a form by its fields, anything else by its hash in the address. */
bool twilio_is_form(struct text content_type);
