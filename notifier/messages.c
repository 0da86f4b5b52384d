/* messages.c: message.reported, delivery.due → what became of a message of ours; statuses only move forward.
 *
 * A message whose answer was lost is looked for by whoever says it again (common/stage/ask.c).  When nobody does, since
 * the event was settled otherwise (the meeting was over by then), it is looked for here.
 *
 * WhatsApp tells only here that text came after its 24 hours, or that the person has opted out. */
#include "notifier/coach.h"

#include <string.h>

static const struct statement find_delivery = {
    .name = "find_delivery",
    .text = "SELECT ask_id, tenant, recipient, purpose, subject, version, coalesce(provider_status, answer) AS status,"
            " state, content, provider_id FROM asks"
            " WHERE kind = 'once' AND stage = 'notifier' AND provider = $1"
            " AND (ask_id = $2::uuid OR $2 IS NULL AND provider_id = $3)",
    .params = 3,
};
/* Also tells that a message was accepted whose answer we never got. */
static const struct statement update_delivery = {
    .name = "update_delivery",
    .text = "UPDATE asks SET provider_status = $2, error_code = coalesce($3, error_code),"
            " error = CASE WHEN state IN ('sent', 'uncertain') THEN $4 ELSE coalesce($4, error) END,"
            " provider_id = coalesce(provider_id, $5), state = CASE WHEN state IN ('sent',"
            " 'uncertain') THEN 'answered' ELSE state END,"
            " answer = coalesce(answer, $2), updated_at = now()"
            " WHERE ask_id = $1::uuid"
            " AND coalesce(delivery_status_rank(coalesce(provider_status, answer)), 0) < delivery_status_rank($2)",
    .params = 5,
    .must = 1,
};

#define NOBODY_SAYS_IT_AFTER "interval '1 minute'" /* the lease's end */
const struct statement find_due_messages = {
    .name = "find_due_messages",
    .text = "SELECT a.ask_id AS id, a.lease_until AS next_check_at, coalesce(a.correlation_id, a.recipient) AS "
            "subject, a.tenant,"
            " json_build_object('delivery_id', a.ask_id)::text AS data FROM asks a"
            " WHERE a.state = 'sent' AND a.kind = 'once' AND a.stage = 'notifier' AND a.provider = 'twilio'"
            " AND a.lease_until < now() - " NOBODY_SAYS_IT_AFTER
            " AND EXISTS (SELECT 1 FROM ledger l WHERE l.event_id = a.event_id AND l.stage = a.stage AND l.run = a.run"
            "  AND l.outcome <> 'parked')"
            " ORDER BY a.updated_at LIMIT 500",
};
static const struct statement note_not_sent = {
    .name = "note_not_sent",
    .text = "UPDATE asks SET state = 'refused', error = 'it never left, and by now it is not to be said any more',"
            " updated_at = now() WHERE ask_id = $1::uuid AND state = 'sent'",
    .params = 1,
    .must = 1,
};
static const struct statement note_unknown = {
    .name = "note_unknown",
    .text = "UPDATE asks SET state = 'uncertain', error = 'it may have left, and the provider does not say', "
            "updated_at = now()"
            " WHERE ask_id = $1::uuid AND state = 'sent'",
    .params = 1,
};

static void tell_changed(struct work *work, const struct rows *delivery, const char *message_id, const char *status,
                         const char *error_code)
{
    effect_event(work, &EVENT_DELIVERY_CHANGED, row_get(delivery, 0, "recipient"),
                 &(struct delivery_changed){ .delivery_id = row_get(delivery, 0, "ask_id"),
                                             .channel = "whatsapp",
                                             .purpose = row_get(delivery, 0, "purpose"),
                                             .subject_id = row_get(delivery, 0, "subject"),
                                             .message_id = message_id,
                                             .status = status,
                                             .error_code = error_code });
}

/* The coach's text came too late: a template says once that it is there, or asks the same. */
static enum outcome send_template_instead(struct work *work, const struct rows *delivery)
{
    const char *purpose = row_get(delivery, 0, "purpose"), *version = row_get(delivery, 0, "version");
    bool plan = strcmp(purpose, "plan") == 0, reminder = strcmp(purpose, "reminder") == 0;
    struct meeting meeting;
    struct whatsapp_end end;
    if ((!plan && !reminder) || strstr(version, "/template"))
        return DONE;
    TRY(meeting_read(work, row_get(delivery, 0, "subject"), &meeting));
    bool over = strcmp(meeting.status, "completed") == 0 || strcmp(meeting.status, "cancelled") == 0;
    if (!meeting.phone || over)
        return DONE;
    if (reminder)
        return strcmp(version, meeting.revision) == 0 ? reminder_send(work, &meeting, true, &end) : DONE;
    return meeting.plan.version && !meeting.ended ? plan_announce(work, &meeting) : DONE;
}

static enum outcome act_on(struct work *work, const struct message_reported *report, const struct rows *delivery)
{
    const char *code = report->error_code ? report->error_code : "";
    if (strcmp(code, TWILIO_OPTED_OUT) == 0)
        whatsapp_stop(work, row_get(delivery, 0, "recipient"));
    return strcmp(code, TWILIO_OUTSIDE_WINDOW) == 0 ? send_template_instead(work, delivery) : DONE;
}

enum outcome note_report(struct work *work, const struct event *event)
{
    struct message_reported report;
    TRY(work_read_data(work, event, message_reported_read, &report));
    struct rows rows;
    TRY(work_query(work, &find_delivery, &rows, report.provider, report.delivery_id, report.message_id));
    if (rows.count == 0)
        return skip(work, "message \"%s\" is not one of ours", report.message_id);
    work_set_tenant(work, row_get(&rows, 0, "tenant"));
    const char *before = row_get(&rows, 0, "status"), *known_id = row_get(&rows, 0, "provider_id");
    if (known_id && strcmp(known_id, report.message_id) != 0)
        return skip(work, "message \"%s\" is not the one this delivery is known by", report.message_id);
    if (delivery_status_rank(report.status) < 0)
        return skip(work, "status \"%s\" is not known", report.status);
    if (before && delivery_status_rank(report.status) <= delivery_status_rank(before))
        return skip(work, "\"%s\" is no news after \"%s\"", report.status, before);

    effect_row(work, &update_delivery, row_get(&rows, 0, "ask_id"), report.status, report.error_code,
               report.error_message, report.message_id);
    tell_changed(work, &rows, report.message_id, report.status, report.error_code);
    return act_on(work, &report, &rows);
}

enum outcome look_for_message(struct work *work, const struct event *event)
{
    const struct notifier *notifier = work_context(work);
    struct delivery_due due;
    struct rows rows;
    struct answer answer;
    TRY(work_read_data(work, event, delivery_due_read, &due));
    TRY(work_query(work, &find_delivery, &rows, "twilio", due.delivery_id, NULL));
    if (rows.count == 0 || strcmp(row_get(&rows, 0, "state"), "sent") != 0)
        return skip(work, "what became of the message is known by now");
    work_set_tenant(work, row_get(&rows, 0, "tenant"));
    if (twilio_missing(notifier))
        return retry(work, 0, "twilio may have the message, but %s is not set", twilio_missing(notifier));
    struct twilio_search lost = { due.delivery_id, row_get(&rows, 0, "recipient"), row_get(&rows, 0, "content"),
                                  false };
    enum outcome outcome = ask(work, "find",
                               &(struct ask){ .kind = ASK_AGAIN,
                                              .provider = "twilio",
                                              .unrecorded = true,
                                              .timeout_ms = notifier->twilio_timeout_ms,
                                              .call = twilio_find,
                                              .request = &lost },
                               &answer);
    if (outcome != DONE)
        return noting(work, outcome, &note_unknown, due.delivery_id);
    if (!lost.found) {
        effect_row(work, &note_not_sent, due.delivery_id);
        return DONE;
    }
    const char *status = twilio_status(&answer);
    effect_row(work, &update_delivery, due.delivery_id, status, NULL, NULL, answer.provider_id);
    tell_changed(work, &rows, answer.provider_id, status, NULL);
    return DONE;
}
