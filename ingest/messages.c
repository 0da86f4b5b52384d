/* messages.c: the recorder's part of messages: twilio.status.received → message.reported.  Fields: Twilio's status
 * callback (twilio.com/docs/messaging/guides/track-outbound-message-status). */
#include "common/form.h"
#include "ingest/recorder.h"

#include <string.h>

#define DELIVERY_MARKER "delivery="

/* Our own id of the delivery, which the notifier put into the callback's address; NULL when it is not there. */
static const char *delivery_of(struct work *work, const char *url)
{
    const char *query = strchr(url, '?'), *marker = query ? strstr(query, DELIVERY_MARKER) : NULL;
    if (!marker || (marker[-1] != '?' && marker[-1] != '&'))
        return NULL;
    struct text id = { marker + strlen(DELIVERY_MARKER), strcspn(marker + strlen(DELIVERY_MARKER), "&#") };
    return uuid_is(id) ? arena_copy_text(work_arena(work), id) : NULL;
}

static const char *get(const struct form *form, const char *name)
{
    const char *value = form_get(form, name);
    return value && *value ? value : NULL;
}

enum outcome record_twilio_status(struct work *work, const struct event *event)
{
    struct twilio_status_received received;
    TRY(work_read_data(work, event, twilio_status_received_read, &received));
    struct text body;
    TRY(recorder_body(work, received.encoding, received.body, &body));
    struct form *form = arena_alloc(work_arena(work), sizeof(*form));
    if (!form_read(body, work_arena(work), form, work_why(work)))
        return REJECT;
    const char *sid = get(form, "MessageSid"), *status = get(form, "MessageStatus"), *to = get(form, "To");
    if (!sid || !status)
        return reject(work, "%s is missing", sid ? "MessageStatus" : "MessageSid");

    const char *subject = to ? recorder_cut(work, to, 64) : sid;
    effect_event(work, &EVENT_MESSAGE_REPORTED, subject, &(struct message_reported){
        .provider = "twilio",
        .message_id = sid,
        .delivery_id = delivery_of(work, received.url),
        .recipient = recorder_cut(work, to, 64),
        .status = status,
        .error_code = recorder_cut(work, get(form, "ErrorCode"), 16),
        .error_message = recorder_cut(work, get(form, "ErrorMessage"), 1024),
        .reported_at = received.received_at,
    });
    return DONE;
}
