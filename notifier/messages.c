/* messages.c: message.reported → what became of a message of ours; statuses only move forward.
 *
 * WhatsApp tells only here that text came after its 24 hours, or that the person has opted out. */
#include "notifier/coach.h"

#include <string.h>

static const struct statement find_delivery = {
    .name = "find_delivery",
    .text = "SELECT ask_id, tenant, recipient, purpose, subject, version, coalesce(provider_status, answer) AS status,"
            " provider_id FROM asks"
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
    effect_event(work, &EVENT_DELIVERY_CHANGED, row_get(&rows, 0, "recipient"), &(struct delivery_changed){
        .delivery_id = row_get(&rows, 0, "ask_id"), .channel = "whatsapp", .purpose = row_get(&rows, 0, "purpose"),
        .subject_id = row_get(&rows, 0, "subject"), .message_id = report.message_id, .status = report.status,
        .error_code = report.error_code });
    return act_on(work, &report, &rows);
}
