/* twilio_hooks.h: what the door reads of Twilio's webhooks: of a status callback which message, to whom; of a message
 * which one, from whom.  Everything else is the recorder's. */
#pragma once

#include "common/arena.h"

#define TWILIO_FIELD_BYTES_MAX 128

/* Terminated views into the arena. */
struct twilio_notice {
    const char *message_sid;
    const char *person;                 /* whom the message is to, or from: an address, whatever it looks like */
    const char *status, *sequence;      /* MessageStatus and SequenceNumber; "": there is none */
};

/* Read a form body (Twilio, "Track outbound message status"; "Twilio's request to your incoming message webhook URL").
 * False with pointer and reason. */
bool twilio_status_read(struct text content_type, struct text body, struct arena *arena, struct twilio_notice *ret,
                        struct problem *why);
bool twilio_message_read(struct text content_type, struct text body, struct arena *arena, struct twilio_notice *ret,
                         struct problem *why);
/* Twilio signs a form by its fields, anything else by its hash in the address. */
bool twilio_is_form(struct text content_type);
