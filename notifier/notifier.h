/* notifier.h: what the stage's files share: its settings and WhatsApp. */
#pragma once

#include "notifier/pace.h"

#include "events.h"

#define WHATSAPP_VARIABLE_CHARACTERS_MAX 300 /* of each template variable: the whole filled template may have 1,024 */

struct notifier {
    const char *twilio_account, *twilio_token, *twilio_url, *whatsapp_from, *admin_whatsapp;
    const char *content_lead, *content_welcome, *content_plan, *content_reminder;
    const char *public_url;
    const char *hubspot_token, *hubspot_url, *hubspot_path;
    int64_t twilio_timeout_ms, hubspot_timeout_ms;
    int64_t messages_per_s;         /* of our sender, by all instances; 0: no limit */
    struct pace messages, due, searches; /* at Twilio, and of these what is due; at HubSpot */
};

/* Whose talk with the coach a message belongs to. */
struct talk {
    const char *email;                  /* the salesperson's; NULL: nobody knows the number */
    const char *client_id, *meeting_id; /* which it is about; may be NULL */
};

/* A message to one person: free text while that person may be written to freely (24 hours from their last message),
 * else a template.  Strings live as long as the handler's run. */
struct whatsapp_message {
    const char *to;      /* E.164 */
    const char *purpose; /* "lead_alert" */
    const char *subject; /* what it is about: the call's id */
    const char *version;
    const char *text;             /* of any length; NULL: it is sent by template alone */
    const char *content_setting;  /* the setting that names its template; NULL: there is none for it, only text */
    const char *content_sid;      /* its value; NULL: not set */
    const char *const *variables; /* of the template, from 1; NULL-terminated */
    const char *content;          /* what the template says, in words, for the person's list of messages */
    const char *lacking;          /* the name of a setting without which it cannot be written; NULL: nothing lacks */
    bool by_template;             /* although text might be sent: it was, and came too late */
    bool although_stopped;        /* the confirmation that nothing is sent any more */
    const struct talk *talk;      /* NULL: none's, and not kept in `messages` */
};

/* What became of it. */
struct whatsapp_end {
    bool sent; /* or was before; else it is `blocked` or `failed`, and deliveries say why */
    bool by_template;
    const char *old; /* nothing was done, and why: it was sent before, and could not be now; NULL: see above */
};

/* --- whatsapp.c ------------------------------------------------------------------------------------------------------
 * Sends it once, however often the handler runs, and describes delivery.changed, and a row of `messages`, of each part.
 * DONE also when it is
 *     blocked     a setting lacks, the person may be written to by template alone and there is none, or wants nothing
 *     failed      Twilio refuses it for good: a wrong number (21211, 63003), one that has opted out (21610)
 * each visible in deliveries. */
enum outcome whatsapp_send(struct work *work, const struct whatsapp_message *message, struct whatsapp_end *ret);
/* The same for who has nothing else to describe: what was sent before is skipped. */
enum outcome whatsapp_tell(struct work *work, const struct whatsapp_message *message);
/* The person wants no message at this number, or wants them again. */
void whatsapp_stop(struct work *work, const char *number);
void whatsapp_start(struct work *work, const char *number);

/* --- twilio.c: one message ---------------------------------------------------------------------------------------- */
struct twilio_message {
    const struct whatsapp_message *message;
    const char *recipient; /* "whatsapp:+…" */
    bool by_template;      /* what is said (ask_content) is a template's variables, else the text itself */
    const char *ask_id;    /* set when it was asked for: of its row … */
    const char *code;      /* … and Twilio's code when it refused; NULL: none */
    bool for_good;         /* the code says that this message will never go out, and no other is concerned */
};
#define TWILIO_OPTED_OUT      "21610"
#define TWILIO_OUTSIDE_WINDOW "63016"
/* A template's variables as what is said: a line each, as Twilio takes them. */
const char *twilio_variables(struct work *work, const char *const *variables);
/* The setting without which nobody can ask it; NULL: all are there. */
const char *twilio_missing(const struct notifier *notifier);
enum outcome twilio_send(struct work *work, void *request, struct answer *ret);
enum outcome twilio_look_up(struct work *work, void *request, struct answer *ret, bool *ret_found);
/* A message that may have left, and that nobody is about to say again; as a request that may be repeated. */
struct twilio_search {
    const char *ask_id, *recipient, *content;
    bool found;
};
enum outcome twilio_find(struct work *work, void *request, struct answer *ret);
/* The status that an answer of each of them tells; "accepted" when it is none that we rank. */
const char *twilio_status(const struct answer *answer);
/* Twilio's form of a number; a setting may have it already.  And without it. */
const char *twilio_address(struct work *work, const char *number);
const char *twilio_number(const char *address);

/* --- the routes of each use case: put together in main.c */
enum outcome tell_of_call(struct work *work, const struct event *event);        /* calls.c */
enum outcome note_report(struct work *work, const struct event *event);         /* messages.c */
enum outcome look_for_message(struct work *work, const struct event *event);
enum outcome welcome_salesperson(struct work *work, const struct event *event); /* coach.c */
enum outcome tell_of_unknown_organizer(struct work *work, const struct event *event);
enum outcome tell_plan(struct work *work, const struct event *event);
enum outcome tell_answer(struct work *work, const struct event *event);        /* coach_chat.c */
enum outcome handle_due_meeting(struct work *work, const struct event *event); /* coach_due.c */
enum outcome handle_due_note(struct work *work, const struct event *event);
extern const struct statement find_due_messages, find_due_meetings, find_due_notes;
const char *due_meetings_at_once(void *context);
