/* coach.h: what the coach's files share: a meeting as it stands, its words, and the note of what came of it. */
#pragma once

#include "notifier/notifier.h"

#define COACH_TITLE_CHARACTERS_MAX 200 /* of what a message says of a meeting's title, a client, a company */

/* A meeting's row, with those of its client, its plan, its note and its salesperson.  Strings live as long as the
 * handler's run; NULL: there is none. */
struct meeting {
    const char *id, *tenant, *title, *starts; /* starts: in the company's time zone, in words */
    const char *about;                        /* "Roof" with Bo Lee (Lee & Sons) */
    const char *salesperson, *phone; /* an address; the number that receives, NULL: nobody knows the organizer */
    const char *client_id, *client, *client_email, *hubspot_contact_id;
    const char *revision, *plan_version, *status, *plan_state, *plan_sent_version;
    bool due, begun, ended; /* next_check_at, start, end are over */
    int64_t tomorrow_s;     /* seconds until the company's next day */
    struct {
        const char *version, *summary, *steps[3]; /* version NULL: there is none */
        bool by_rules;
    } plan;
    struct {
        const char *state, *outcome, *hubspot_note_id, *version, *source_time; /* state NULL: there is none */
        bool newer; /* it is from a message after the one that is handled */
        bool due;   /* it waits, and its next_check_at is over */
        int64_t age_s;
    } note;
};

/* --- coach.c */
/* REJECT when there is none of that id; sets the tenant. */
enum outcome meeting_read(struct work *work, const char *id, struct meeting *ret);
/* The same with the note of an earlier revision, which `revision` then is, too. */
enum outcome meeting_read_note(struct work *work, const char *id, int64_t revision, struct meeting *ret);
/* The plan in words; NULL: there is none. */
const char *plan_text(struct work *work, const struct meeting *meeting);
/* Sends the plan: its text, or, when the person may not be written to freely, that it is ready (then it is `announced`,
 * and follows on the next message).  `occasion` tells the several times apart that a plan is sent: "", "/again". */
enum outcome plan_send(struct work *work, const struct meeting *meeting, const char *occasion);
/* Says once more, by template, that it is ready: its text came too late. */
enum outcome plan_announce(struct work *work, const struct meeting *meeting);
/* Its text, to who has just written: what was announced. */
enum outcome plan_follow(struct work *work, const struct meeting *meeting, const char *message_id);

/* --- coach_due.c */
enum outcome reminder_send(struct work *work, const struct meeting *meeting, bool by_template,
                           struct whatsapp_end *ret);

/* --- coach_note.c: the note of a meeting, in the CRM or here alone.  Each describes its rows and gives what is to be
 * said of it (NULL: nothing).  None waits for the CRM: a note it does not take now is `waiting`, and tried again when
 * its next_check_at says (note.due), whatever becomes of the meeting. */
const char *note_complete(struct work *work, const struct meeting *meeting, const char *outcome);
const char *note_amend(struct work *work, const struct meeting *meeting, const char *outcome);
const char *note_undo(struct work *work, const struct meeting *meeting);
const char *note_try_again(struct work *work, const struct meeting *meeting);
