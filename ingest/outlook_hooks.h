/* outlook_hooks.h: POST /outlook-webhook and /outlook-webhook/{tenant}: news of a meeting, sent by a scenario tool.
 *
 *     {"meeting": {"id"?, "title", "start_time", "end_time", "organizer": {"address"}, "status"?, "attendees"?},
 *      "client"?: {"name", "email", "company", "phone", "hubspot_contact_id"}}
 *
 * The attendees may stand beside the meeting, too.  Microsoft Graph's own names are taken as well: subject,
 * bodyPreview, start and end as {dateTime, timeZone}, organizer.emailAddress, attendees[].emailAddress and type,
 * isCancelled.  Members that are not known are passed over.
 *
 * Sends of the same content within OUTLOOK_SAME_MS are one event.  Later they are another, since a meeting that is
 * moved and moved back is told of in the same words; what says nothing new changes nothing. */
#pragma once

#include "ingest/coach.h"

#define OUTLOOK_SAME_MS 60000
#define OUTLOOK_ID_BYTES_MAX 1024

/* Reads a body, into the arena: all of `ret` but `tenant` and `heard_at`.  The organizer's address can be read, there
 * is a start and an end unless the meeting was cancelled; whether the rest makes sense is the recorder's. */
bool outlook_meeting_read(struct text body, struct arena *arena, struct meeting_news *ret, struct problem *why);
