/* whatsapp.c: a message to a person, as WhatsApp lets a business write: freely within 24 hours of the person's last
 * message, in parts when it is long, else by a template; nothing to who wants nothing.
 *
 * In which form and words it was begun is kept: a repeat goes on in them, whatever the clock says by then and whatever
 * has changed of what it tells.
 *     version            "3"; in parts "3/1", "3/2", …; by template, when it might have been text, "3/template" */
#include "notifier/notifier.h"
#include "notifier/parts.h"

#include <string.h>

#define WINDOW "interval '23 hours 59 minutes'" /* WhatsApp's 24 hours, and a minute for it to get there */

/* $1 number, $2 address, $3–$6 what it is for, $7 tenant.  The window and the stop are of the number, whoever writes to
 * it. */
static const struct statement find_recipient = {
    .name = "find_recipient",
    .text = "SELECT EXISTS (SELECT 1 FROM user_phones WHERE phone = $1 AND stopped_at IS NOT NULL) AS stopped,"
            " coalesce(greatest((SELECT max(last_received_at) FROM user_phones WHERE phone = $1),"
            " (SELECT max(\"timestamp\") FROM messages WHERE tenant = $7 AND phone = $1 AND direction = 'incoming'))"
            " > now() - " WINDOW ", false) AS open, begun.version AS begun, begun.content AS begun_with"
            " FROM (SELECT) AS one LEFT JOIN LATERAL (SELECT version, content FROM asks WHERE kind = 'once'"
            "  AND recipient = $2 AND purpose = $3 AND subject = $4 AND version IN ($5, $5 || '/1', $5 || '/template')"
            "  AND resend = $6::integer AND state <> 'refused' ORDER BY version DESC LIMIT 1) AS begun ON true",
    .params = 7,
};
/* What the answer says of it; reports may have said more already. */
static const struct statement note_accepted = {
    .name = "note_accepted",
    .text = "UPDATE asks SET provider_status = $2, updated_at = now()"
            " WHERE ask_id = $1::uuid AND coalesce(delivery_status_rank(provider_status),"
            " 0) < delivery_status_rank($2)",
    .params = 2,
};
static const struct statement note_failed = {
    .name = "note_failed",
    .text = "UPDATE asks SET provider_status = 'failed', error_code = $2, updated_at = now()"
            " WHERE ask_id = $1::uuid AND state = 'refused'",
    .params = 2,
};
static const struct statement note_code = {
    .name = "note_code",
    .text = "UPDATE asks SET error_code = $2 WHERE ask_id = $1::uuid",
    .params = 2,
};
static const struct statement find_message = {
    .name = "find_message",
    .text = "SELECT ask_id, provider_status FROM asks WHERE kind = 'once' AND recipient = $1 AND purpose = $2"
            " AND subject = $3 AND version = $4"
            " ORDER BY resend DESC LIMIT 1",
    .params = 4,
};
/* Nothing was asked; the row shows why. */
static const struct statement insert_blocked = {
    .name = "insert_blocked",
    .text = "INSERT INTO asks (ask_id, stage, event_id, run, name, kind, provider, tenant, correlation_id, recipient,"
            " purpose, subject,"
            " version, content, state, provider_status, error)"
            " VALUES ($1::uuid, 'notifier', $2::uuid, $3::integer, $4, 'once', 'twilio', $5, $6, $7, $8, $9, $10,"
            " $11, 'refused',"
            " 'blocked', $12)"
            " ON CONFLICT DO NOTHING",
    .params = 12,
};
/* The time of each part is its own: they are read in their order. */
static const struct statement insert_outgoing = {
    .name = "insert_outgoing",
    .text =
        "INSERT INTO messages (tenant, message_id, email, phone, client_id, meeting_id, direction, purpose, message,"
        " \"timestamp\")"
        " VALUES ($1, $2, $3, $4, $5::uuid, $6::uuid, 'outgoing', $7, $8, clock_timestamp())"
        " ON CONFLICT DO NOTHING",
    .params = 8,
};
static const struct statement stop_number = {
    .name = "stop_number",
    .text = "UPDATE user_phones SET stopped_at = now(), updated_at = now() WHERE phone = $1 AND stopped_at IS NULL",
    .params = 1,
};
static const struct statement start_number = {
    .name = "start_number",
    .text = "UPDATE user_phones SET stopped_at = NULL, updated_at = now() WHERE phone = $1 AND stopped_at IS NOT NULL",
    .params = 1,
};

void whatsapp_stop(struct work *work, const char *number)
{
    effect_row(work, &stop_number, twilio_number(number));
}

void whatsapp_start(struct work *work, const char *number)
{
    effect_row(work, &start_number, twilio_number(number));
}

/* --- what is described of one message ----------------------------------------------------------------------------- */

static void tell_delivery(struct work *work, const struct whatsapp_message *message, const char *recipient,
                          const char *delivery_id, const char *sid, const char *status, const char *code)
{
    effect_event(work, &EVENT_DELIVERY_CHANGED, recipient,
                 &(struct delivery_changed){ .delivery_id = delivery_id,
                                             .channel = "whatsapp",
                                             .purpose = message->purpose,
                                             .subject_id = message->subject,
                                             .message_id = sid,
                                             .status = status,
                                             .error_code = code });
}

static void describe_sent(struct work *work, const struct twilio_message *sending, const struct answer *answer)
{
    const struct whatsapp_message *message = sending->message;
    const struct talk *talk = message->talk;
    const char *status = twilio_status(answer);
    effect_row(work, &note_accepted, answer->ask_id, status);
    if (talk && work_tenant(work))
        effect_row(work, &insert_outgoing, work_tenant(work), answer->ask_id, talk->email, twilio_number(message->to),
                   talk->client_id, talk->meeting_id, message->purpose,
                   sending->by_template ? message->content : answer->content);
    tell_delivery(work, message, sending->recipient, answer->ask_id, answer->provider_id, status, NULL);
}

static void describe_refused(struct work *work, const struct twilio_message *sending)
{
    effect_row(work, &note_failed, sending->ask_id, sending->code);
    if (strcmp(sending->code, TWILIO_OPTED_OUT) == 0)
        whatsapp_stop(work, sending->message->to);
    tell_delivery(work, sending->message, sending->recipient, sending->ask_id, NULL, "failed", sending->code);
}

/* One event may ask for several. */
static const char *ask_name(struct work *work, const struct whatsapp_message *message, const char *version)
{
    return arena_printf(work_arena(work), "%s/%s/%s", message->purpose, message->subject, version);
}

/* Nothing is sent.  What was sent before, as the same, stays as it is. */
static enum outcome block(struct work *work, const struct whatsapp_message *message, const char *recipient,
                          const char *reason, struct whatsapp_end *ret)
{
    const struct event *event = work_event(work);
    struct arena *arena = work_arena(work);
    struct rows rows;
    TRY(work_query(work, &find_message, &rows, recipient, message->purpose, message->subject, message->version));
    const char *status = rows.count > 0 ? row_get(&rows, 0, "provider_status") : "blocked";
    if (!status || strcmp(status, "blocked") != 0) {
        *ret = (struct whatsapp_end){ .sent = true,
                                      .old = arena_printf(arena, "%s, but the message was sent before", reason) };
        return DONE;
    }
    const char *id = rows.count > 0 ? row_get(&rows, 0, "ask_id")
                                    : uuid_of(arena_alloc(arena, UUID_BYTES), "blocked", recipient, message->purpose,
                                              message->subject, message->version, NULL);
    effect_row(work, &insert_blocked, id, event->id, arena_printf(arena, "%d", work_run(work)),
               ask_name(work, message, message->version), work_tenant(work), event->correlation_id, recipient,
               message->purpose, message->subject, message->version,
               message->content ? message->content : message->text, reason);
    tell_delivery(work, message, recipient, id, NULL, "blocked", NULL);
    return DONE;
}

/* --- sending ------------------------------------------------------------------------------------------------------ */

/* One of its parts; NULL: its template. */
static enum outcome send_one(struct work *work, const struct whatsapp_message *message, const char *recipient,
                             const char *part, const char *version, bool *ret_sent)
{
    struct notifier *notifier = work_context(work);
    struct twilio_message sending = { .message = message, .recipient = recipient, .by_template = !part };
    struct answer answer;
    TRY(pace_wait(work, &notifier->messages, notifier->messages_per_s));
    enum outcome outcome = ask(work, ask_name(work, message, version),
                               &(struct ask){
                                   .kind = ASK_ONCE,
                                   .provider = "twilio",
                                   .recipient = recipient,
                                   .purpose = message->purpose,
                                   .subject = message->subject,
                                   .version = version,
                                   .content = part ? part : twilio_variables(work, message->variables),
                                   .timeout_ms = notifier->twilio_timeout_ms,
                                   .call = twilio_send,
                                   .look_up = twilio_look_up,
                                   .request = &sending,
                               },
                               &answer);
    *ret_sent = outcome == DONE;
    if (outcome == DONE)
        describe_sent(work, &sending, &answer);
    else if (outcome == REJECT && sending.for_good)
        describe_refused(work, &sending);
    else if (outcome == REJECT && sending.code)
        return reject_noting(work, &note_code, sending.ask_id, sending.code);
    else
        return outcome;
    return DONE;
}

/* `begun`: the version under which it was, and what it said; NULL: it was not. */
static enum outcome send_text(struct work *work, const struct whatsapp_message *message, const char *recipient,
                              const char *begun, const char *begun_with, struct whatsapp_end *ret)
{
    bool as_one = begun && strcmp(begun, message->version) == 0;
    const char *parts[WHATSAPP_PARTS_MAX];
    int count = parts_of(work_arena(work), as_one ? begun_with : message->text, parts);
    as_one = as_one || (count == 1 && !begun);
    ret->sent = true;
    for (int i = 0; i < count && ret->sent; i++) {
        const char *version =
            as_one ? message->version : arena_printf(work_arena(work), "%s/%d", message->version, i + 1);
        TRY(send_one(work, message, recipient, parts[i], version, &ret->sent));
    }
    return DONE;
}

static enum outcome send_template(struct work *work, const struct whatsapp_message *message, const char *recipient,
                                  struct whatsapp_end *ret)
{
    const char *version =
        message->text ? arena_printf(work_arena(work), "%s/template", message->version) : message->version;
    struct whatsapp_message templated = *message;
    templated.version = version;
    ret->by_template = true;
    if (!message->content_setting)
        return block(work, message, recipient,
                     "the person's last message is more than 24 hours old, and there is no template for it", ret);
    if (!message->content_sid)
        return block(work, &templated, recipient,
                     arena_printf(work_arena(work), "%s is not set", message->content_setting), ret);
    return send_one(work, &templated, recipient, NULL, version, &ret->sent);
}

static const char *missing_setting(const struct notifier *notifier, const struct whatsapp_message *message)
{
    const char *missing = twilio_missing(notifier);
    return missing ? missing : !notifier->whatsapp_from ? "TWILIO_WHATSAPP_FROM" : message->lacking;
}

/* In the form in which it was begun, else as the person may be written to now. */
static bool goes_as_text(const struct whatsapp_message *message, const struct rows *recipient)
{
    const char *begun = row_get(recipient, 0, "begun");
    if (!message->text || message->by_template)
        return false;
    if (begun && message->content_setting)
        return !strstr(begun, "/template");
    return begun || strcmp(row_get(recipient, 0, "open"), "t") == 0;
}

enum outcome whatsapp_send(struct work *work, const struct whatsapp_message *message, struct whatsapp_end *ret)
{
    const struct notifier *notifier = work_context(work);
    const struct event *event = work_event(work);
    const char *recipient = twilio_address(work, message->to), *missing = missing_setting(notifier, message);
    *ret = (struct whatsapp_end){ 0 };
    if (missing)
        return block(work, message, recipient, arena_printf(work_arena(work), "%s is not set", missing), ret);
    struct rows rows;
    TRY(work_query(work, &find_recipient, &rows, twilio_number(message->to), recipient, message->purpose,
                   message->subject, message->version,
                   arena_printf(work_arena(work), "%d", event->resend ? event->run : 0), work_tenant(work)));
    if (strcmp(row_get(&rows, 0, "stopped"), "t") == 0 && !message->although_stopped)
        return block(work, message, recipient, "the person wants no messages at this number", ret);
    return goes_as_text(message, &rows)
               ? send_text(work, message, recipient, row_get(&rows, 0, "begun"), row_get(&rows, 0, "begun_with"), ret)
               : send_template(work, message, recipient, ret);
}

enum outcome whatsapp_tell(struct work *work, const struct whatsapp_message *message)
{
    struct whatsapp_end end;
    TRY(whatsapp_send(work, message, &end));
    return end.old ? skip(work, "%s", end.old) : DONE;
}
