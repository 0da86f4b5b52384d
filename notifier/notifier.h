/* notifier.h: what the stage's files share: its settings and WhatsApp. */
#pragma once

#include "common/stage.h"

#include "events.h"

#define WHATSAPP_VARIABLE_CHARACTERS_MAX 300 /* of each template variable: the whole filled template may have 1,024 */

struct notifier {
    const char *twilio_account, *twilio_token, *twilio_url, *whatsapp_from, *admin_whatsapp;
    const char *content_lead;
    const char *public_url;
    int64_t twilio_timeout_ms;
};

/* A message to one person, by template.  Strings live as long as the handler's run. */
struct whatsapp_message {
    const char *to;                 /* E.164 */
    const char *purpose;            /* "lead_alert" */
    const char *subject;            /* what it is about: the call's id */
    const char *version;
    const char *content_sid;        /* the approved template; NULL: none is configured … */
    const char *content_setting;    /* … under this name */
    const char *const *variables;   /* of the template, from 1; NULL-terminated */
    const char *content;            /* what it says, in words, for the operator */
};

/* --- whatsapp.c ------------------------------------------------------------------------------------------------------
 * Sends it once, however often the handler runs, and describes delivery.changed.  Without a template it is
 * `blocked`: visible in deliveries with the setting that is missing, and the event is done. */
enum outcome whatsapp_send(struct work *work, const struct whatsapp_message *message);

/* --- the routes of each use case: put together in main.c */
enum outcome tell_of_call(struct work *work, const struct event *event);        /* calls.c */
enum outcome note_report(struct work *work, const struct event *event);         /* messages.c */
