/* hubspot.h: notes on contacts in HubSpot's CRM (developers.hubspot.com/docs/api-reference/crm-notes-v3).
 *
 * HubSpot never holds up a conversation: whatever fails there is told in the result, and nothing here opens a circuit.
 */
#pragma once

#include "notifier/coach.h"

#define HUBSPOT_NOTE_CHARACTERS_MAX 65536 /* of a note's HTML */
#define HUBSPOT_SEARCHES_PER_S      4     /* of the five that an account may make, since others search too */

enum hubspot_end {
    HUBSPOT_DONE, /* the note is as it was to be */
    HUBSPOT_NO_CONTACT,
    HUBSPOT_REFUSED, /* it will be refused again: `why` */
    HUBSPOT_LATER,   /* not now: `why`, `later_ms` */
};

struct hubspot_result {
    enum hubspot_end end;
    const char *contact_id, *note_id;
    const char *why;
    int64_t later_ms; /* so long HubSpot asks to be left alone; 0: it does not say */
    bool tomorrow;    /* the account has used up its day */
};

/* Writes the note once, under `version`, on the client's contact: its id, else its address. */
void hubspot_create_note(struct work *work, const struct meeting *meeting, const char *outcome, const char *version,
                         struct hubspot_result *ret);
/* These may be repeated. */
void hubspot_change_note(struct work *work, const struct meeting *meeting, const char *note_id, const char *outcome,
                         struct hubspot_result *ret);
void hubspot_delete_note(struct work *work, const char *note_id, struct hubspot_result *ret);

/* --- hubspot_http.c: one request, and what its answer means ------------------------------------------------------- */
/* DONE: 2xx, or 404, which is for the caller to judge.  Else `why`, later_ms and tomorrow of the result are set: RETRY:
 * later, REJECT: refused.  `path` begins with a slash and stands behind HUBSPOT_BASE_URL. */
enum outcome hubspot_http(struct work *work, struct hubspot_result *result, const char *method, const char *path,
                          struct text body, struct http_reply *ret);
/* HUBSPOT_CRM_PATH and the rest: "/crm/v3/objects" "/notes". */
const char *hubspot_path(struct work *work, const char *format, ...) PRINTF_LIKE(2, 3);
/* The same of associations, which are at version 4 where objects are at 3. */
const char *hubspot_associations_path(struct work *work, const char *contact_id, const char *after);
