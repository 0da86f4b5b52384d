/* graph_changes.c: graph.change.received → outlook.meeting.received: Microsoft Graph says that something changed, and
 * what it is now is asked.  It arrives in the organizer's conversation, as what /outlook-webhook tells of does, so that
 * everything of one organizer is in one order.
 *
 * A series has one event that stands for all; its meetings are those that the calendar shows, so that is read. */
#include "ingest/graph.h"

#include "common/email.h"
#include "common/json.h"
#include "common/tree.h"

#include <string.h>

#define FIELDS                                                                                                         \
    "?$select=id,iCalUId,subject,bodyPreview,start,end,organizer,attendees,isCancelled,isOnlineMeeting,type,"          \
    "seriesMasterId"
#define MEETING_BYTES_MAX (4 * 1024 * 1024)

/* --- news of the subscription itself ------------------------------------------------------------------------------ */

/* $2: it is gone; $3: it must be renewed now; $4: changes were missed. */
static const struct statement note_subscription = {
    .name = "note_subscription",
    .text = "UPDATE graph_subscriptions SET expires_at = CASE WHEN $2::boolean THEN NULL ELSE expires_at END,"
            " renew_at = CASE WHEN $3::boolean THEN now() ELSE renew_at END,"
            " missed_at = CASE WHEN $4::boolean THEN coalesce(missed_at, now()) ELSE missed_at END,"
            " next_check_at = now(), updated_at = now() WHERE subscription_id = $1",
    .params = 4,
};
static const struct statement read_calendar = {
    .name = "read_calendar",
    .text = "UPDATE graph_subscriptions SET missed_at = coalesce(missed_at, now()),"
            " next_check_at = least(next_check_at, now()), updated_at = now() WHERE mailbox = $1",
    .params = 1,
};

void graph_read_calendar(struct work *work, const char *mailbox)
{
    effect_row(work, &read_calendar, mailbox);
}

static enum outcome reauthorize(struct work *work, void *request, struct answer *ret)
{
    const struct graph_request wanted = { .method = "POST", .url = request };
    struct http_reply reply;
    (void)ret;
    TRY(graph_call(work, &wanted, &reply));
    bool done = (reply.status >= 200 && reply.status <= 299) || reply.status == 404;    /* gone: it will be made anew */
    return done ? DONE : graph_refused(work, &reply);
}

static enum outcome note_news(struct work *work, const struct graph_change_received *change)
{
    bool again = strcmp(change->change, "reauthorize") == 0, removed = strcmp(change->change, "removed") == 0;
    struct answer answer;
    if (!again && !removed && strcmp(change->change, "missed") != 0)
        return reject(work, "the notice names no event");
    if (again)
        TRY(ask(work, "reauthorize",
                &(struct ask){ .kind = ASK_AGAIN, .provider = GRAPH_PROVIDER, .no_circuit = true,
                               .timeout_ms = GRAPH_TIMEOUT_MS, .call = reauthorize,
                               .request = (void *)graph_url(work, "subscriptions", change->subscription_id,
                                                            "reauthorize", NULL) },
                &answer));
    effect_row(work, &note_subscription, change->subscription_id, removed ? "true" : "false", again ? "true" : "false",
               again ? "false" : "true");
    return DONE;
}

/* --- news of an event --------------------------------------------------------------------------------------------- */

/* The organizers of a meeting that is known by this id, in whichever company. */
static const struct statement find_meeting_organizers = {
    .name = "find_meeting_organizers",
    .text = "SELECT m.tenant, m.salesperson_email FROM companies c JOIN meetings m ON m.tenant = c.tenant"
            " WHERE m.outlook_event_id = $1",
    .params = 1,
};

struct reading {
    const char *url;
    bool gone;
};

static enum outcome read_event(struct work *work, void *request, struct answer *ret)
{
    struct reading *reading = request;
    const struct graph_request wanted = { .method = "GET", .url = reading->url };
    struct http_reply reply;
    TRY(graph_call(work, &wanted, &reply));
    reading->gone = reply.status == 404 || reply.status == 410;
    if (reading->gone)
        return DONE;
    if (reply.status != 200)
        return graph_refused(work, &reply);
    if (!tree_string(tree_read(work_arena(work), reply.body), "id"))
        return retry(work, 0, "Microsoft Graph's answer is no event");
    ret->body = reply.body;
    return DONE;
}

/* As if it had been told of by /outlook-webhook. */
static void arrive(struct work *work, const char *tenant, const char *organizer, const char *meeting)
{
    char id[UUID_BYTES], run[16];
    struct buf body;
    snprintf(run, sizeof(run), "%d", work_run(work));
    buf_init(&body, MEETING_BYTES_MAX + 64);
    buf_printf(&body, "{\"meeting\":%s}", meeting);
    const struct outlook_meeting_received received = {
        .tenant_path = tenant,
        .received_at = work_time(work, now_us()),
        .content_type = "application/json",
        .encoding = "text",
        .body = buf_text(&body),
    };
    uuid_of(id, GRAPH_PROVIDER, work_event(work)->id, run, tenant ? tenant : "", NULL);
    effect_arrival(work, &EVENT_OUTLOOK_MEETING_RECEIVED, id, organizer, &received);
    buf_done(&body);
}

static const char *cancellation(struct work *work, const char *event_id, const char *organizer)
{
    struct buf json;
    buf_init(&json, 16 * 1024);
    buf_add_char(&json, '{');
    json_add_string(&json, "id", event_id);
    json_add_bool(&json, "isCancelled", true);
    json_name(&json, "organizer");
    buf_add_char(&json, '{');
    json_add_string(&json, "address", organizer);
    buf_add_string(&json, "}}");
    const char *copy = arena_copy_text(work_arena(work), buf_text(&json));
    buf_done(&json);
    return copy;
}

/* An event nobody knows by its id may stand for a series, whose meetings the calendar then shows as removed. */
static enum outcome record_gone(struct work *work, const struct graph_change_received *change)
{
    const struct ingest *ingest = work_context(work);
    struct rows rows;
    TRY(work_query(work, &find_meeting_organizers, &rows, change->event_id));
    for (int row = 0; row < rows.count; row++) {
        const char *organizer = row_get(&rows, row, "salesperson_email");
        arrive(work, row_get(&rows, row, "tenant"), organizer, cancellation(work, change->event_id, organizer));
    }
    if (rows.count == 0 && strcmp(change->change, "deleted") == 0 && work_event(work)->causation_id == NULL)
        graph_read_calendar(work, ingest->coach_mailbox);
    return DONE;
}

static enum outcome record_event(struct work *work, struct text json)
{
    const struct ingest *ingest = work_context(work);
    const cJSON *event = tree_read(work_arena(work), json);
    const char *type = tree_string(event, "type");
    char organizer[EMAIL_BYTES];
    if (type && strcmp(type, "seriesMaster") == 0) {
        graph_read_calendar(work, ingest->coach_mailbox);
        return DONE;
    }
    if (!email_read(tree_string(tree_get(tree_get(event, "organizer"), "emailAddress"), "address"), organizer))
        return skip(work, "the event has no organizer who can be written to");
    if (strcasecmp(organizer, ingest->coach_mailbox) == 0)
        return skip(work, "it is the coach's own event");
    arrive(work, NULL, organizer, arena_copy_text(work_arena(work), json));
    return DONE;
}

enum outcome record_graph_change(struct work *work, const struct event *event)
{
    const struct ingest *ingest = work_context(work);
    struct graph_change_received change;
    struct answer answer;
    TRY(work_read_data(work, event, graph_change_received_read, &change));
    if (!graph_is_on(ingest))
        return reject(work, "the GRAPH settings are not there any more: set them, then retry this");
    if (!change.event_id)
        return note_news(work, &change);
    if (strcmp(change.change, "deleted") == 0)
        return record_gone(work, &change);
    struct reading reading = { .url = arena_printf(work_arena(work), "%s" FIELDS,
                                                   graph_url(work, "users", ingest->coach_mailbox, "events",
                                                             change.event_id, NULL)) };
    TRY(ask(work, "event",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = GRAPH_PROVIDER,
                           .no_circuit = true,
                           .unrecorded = true,  /* what it holds is people's, and stands in what arrives */
                           .timeout_ms = GRAPH_TIMEOUT_MS,
                           .call = read_event,
                           .request = &reading },
            &answer));
    return answer.body.bytes == 0 ? record_gone(work, &change) : record_event(work, answer.body);
}
