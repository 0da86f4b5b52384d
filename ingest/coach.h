/* coach.h: what the recorder's parts of the sales coach share: registrations (coach.c), meetings (coach_meetings.c) and
 * those who tell of meetings (outlook_hooks.c's events, Microsoft Graph's).
 *
 * Threads: the stage's workers. */
#pragma once

#include "ingest/recorder.h"

#define MEETING_ATTENDEES_MAX 200           /* read; who comes after them is not looked at */
#define MEETING_CLIENTS_MAX 50              /* kept of one meeting */
#define MEETING_TITLE_BYTES_MAX 1024        /* longer texts are cut at a character */
#define MEETING_DESCRIPTION_BYTES_MAX 8192
#define MEETING_NAME_BYTES_MAX 400
#define MEETING_MOVED_HOURS 24              /* organizer, client and title the same: within so long it was moved */
#define MEETING_PLAN_AGAIN_MINUTES 15       /* before the start, when it was planned … */
#define MEETING_PLAN_AGAIN_AHEAD_HOURS 24   /* … longer than this ahead */
#define MEETING_REMINDER_MINUTES 1          /* after the end */

/* A time as a calendar writes it. */
struct meeting_time {
    const char *at;             /* RFC 3339, or the same without an offset; NULL: not known */
    const char *zone;           /* where `at` has no offset: IANA's name or Microsoft's; NULL: the company's */
};

struct meeting_person {
    const char *email;          /* as it came; NULL, or none: known by name */
    const char *name;           /* NULL: not known */
    bool is_resource;           /* a room or a device */
};

struct meeting_client {
    const char *email, *name, *company, *phone, *hubspot_contact_id;    /* as they came; each may be NULL */
};

/* What is said of one meeting: all of it, as it is now. */
struct meeting_news {
    const char *tenant;         /* NULL: the organizer's, else DEFAULT_TENANT */
    const char *event_id;       /* the calendar's, the same in all news of one meeting; NULL: it has none, and is
                                 * known by organizer, client and start */
    bool cancelled;             /* then, with an event_id, nothing else need be known */
    const char *organizer;      /* e-mail address, as it came */
    const char *title, *description;        /* NULL: none */
    struct meeting_time start, end;
    const struct meeting_client *client;    /* NULL: the first attendee who can be one leads */
    const struct meeting_person *attendees;
    size_t attendee_count;
    const char *heard_at;       /* RFC 3339: when this was how it stood; what was heard later is not changed by it */
};

/* Describes what the news changes: clients, meetings, meeting_clients and meeting.changed on the organizer's key; sets
 * the work's tenant.  Skips what is old or has nobody to meet; rejects what cannot be (no tenant, an end before the
 * start, a time zone nobody knows). */
enum outcome record_meeting(struct work *work, const struct meeting_news *news);

enum outcome record_registration(struct work *work, const struct event *event);     /* coach.c */
enum outcome record_outlook(struct work *work, const struct event *event);          /* coach_meetings.c */
