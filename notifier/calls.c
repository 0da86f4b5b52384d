/* calls.c: call.analyzed → a booked or hot call tells the assigned rep, else the administrator, once per call. */
#include "notifier/notifier.h"

#include <string.h>

static const struct statement find_alert = {
    .name = "find_alert",
    .text = "SELECT c.tenant, co.name AS company, co.alert_whatsapp, c.customer_name, c.customer_number,"
            " a.service_type,"
            " to_char(a.scheduled_start AT TIME ZONE co.time_zone, 'FMDay DD.MM. HH24:MI') AS starts,"
            " u.phone AS rep_phone"
            " FROM calls c JOIN companies co USING (tenant)"
            " LEFT JOIN appointments a USING (tenant, call_id)"
            " LEFT JOIN users u ON u.tenant = c.tenant AND u.user_id = a.assigned_rep_id"
            " WHERE c.source = 'callrail' AND c.call_id = $1",
    .params = 1,
};

/* "Booked: water heater, Tuesday 24.11. 10:00, Ana Silva +15550100001", "Hot lead: number withheld" */
static const char *headline(struct work *work, const struct call_analyzed *call, const struct rows *rows)
{
    const char *service = row_get(rows, 0, "service_type"), *starts = row_get(rows, 0, "starts");
    const char *name = row_get(rows, 0, "customer_name"), *number = row_get(rows, 0, "customer_number");
    bool booked = strcmp(call->booking_status, "booked") == 0;
    const char *visit = booked ? arena_printf(work_arena(work), "Booked: %s%s%s, ", service ? service : "a visit",
                                              starts ? ", " : "", starts ? starts : "")
                               : "Hot lead: ";
    return arena_printf(work_arena(work), "%s%s%s%s", visit, name ? name : "", name ? " " : "",
                        number ? number : "number withheld");
}

enum outcome tell_of_call(struct work *work, const struct event *event)
{
    const struct notifier *notifier = work_context(work);
    struct call_analyzed call;
    TRY(work_read_data(work, event, call_analyzed_read, &call));
    struct rows rows;
    TRY(work_query(work, &find_alert, &rows, call.call_id));
    if (rows.count == 0)
        return reject(work, "call \"%s\" is not there", call.call_id);
    work_set_tenant(work, row_get(&rows, 0, "tenant"));
    if (strcmp(call.booking_status, "booked") != 0 && strcmp(call.lead_qualification, "hot") != 0)
        return skip(work, "neither booked nor hot");
    if (strcmp(row_get(&rows, 0, "alert_whatsapp"), "t") != 0)
        return skip(work, "the company has alerts switched off");
    const char *to = row_get(&rows, 0, "rep_phone") ? row_get(&rows, 0, "rep_phone") : notifier->admin_whatsapp;
    if (!to)
        return skip(work, "nobody to tell: the call has no rep with a phone number, and ADMIN_WHATSAPP_TO is not set");

    const char *what = headline(work, &call, &rows), *company = row_get(&rows, 0, "company"),
               *summary = call.summary ? call.summary : what;
    return whatsapp_tell(work, &(struct whatsapp_message){
        .to = to,
        .purpose = "lead_alert",
        .subject = call.call_id,
        .version = "1",
        .content_sid = notifier->content_lead,
        .content_setting = "TWILIO_CONTENT_SID_LEAD",
        .variables = (const char *const[]){ company, what, summary, NULL },
        .content = arena_printf(work_arena(work), "%s\n%s\n%s", company, what, summary),
    });
}
