/* signature.h: is this request from whom it says?  One function per scheme, over raw bytes, before anything is parsed.
 *
 * Each takes the secrets as one setting holds them (several, separated by commas, while they are rotated) and returns the
 * number (from 0) of the one that signed, or SIGNATURE_WRONG.  Comparisons are in constant time; every secret is tried.
 * A missing header is the absent text and is wrong.  Sources: the provider's documents named at each function. */
#pragma once

#include "common/base.h"

#define SIGNATURE_WRONG (-1)
#define SIGNATURE_FORM_FIELDS_MAX 512

/* CallRail: header `Signature`, base64 of HMAC-SHA1 over the body (apidocs.callrail.com, webhooks). */
int signature_callrail(struct text secrets, struct text header, struct text body);

/* Twilio: header `X-Twilio-Signature`; `settings` is `X-Twilio-Webhooks-Signature-Settings` or absent.
 * `url` is the public one, scheme and query included; it is tried with and without its port as Twilio's own checkers do.
 * GET and WebSocket upgrades pass an absent `body`; a JSON body (bodySHA256 in the query) is told by `is_form` false.
 * (twilio.com/docs/usage/webhooks/webhooks-security) */
int signature_twilio(struct text secrets, struct text header, struct text settings, struct text url, struct text body,
                     bool is_form);

/* Shunya: header `X-Shunya-Signature`, "t=<unix seconds>,v1=<hex of HMAC-SHA256 over "<t>." and the body>", at most
 * SIGNATURE_AGE_S_MAX from `now_s`; `legacy`: also hex over the body alone, bare or behind "sha256=", which has no time and
 * so can be sent again by whoever heard it. */
#define SIGNATURE_AGE_S_MAX 300
/* The <unix seconds> that such a header says; false: it holds none. */
bool signature_shunya_time(struct text header, int64_t *ret_s);
int signature_shunya(struct text secrets, struct text header, struct text body, int64_t now_s, bool legacy);

/* A secret that is sent as it is in a header (Outlook's X-Webhook-Secret). */
int signature_secret(struct text secrets, struct text header);
