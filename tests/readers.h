/* readers.h: every generated reader and its writer under its schema's name, for tests that try them all. */
#pragma once

#include "answers.h"
#include "events.h"
#include "requests.h"

#include <string.h>

struct reader {
    const char *name;
    /* reads, and writes what was read */
    bool (*rewrite)(struct text json, struct arena *arena, struct buf *out, struct problem *why);
};

#define REWRITE(name)                                                                                                  \
    static bool name##_rewrite(struct text json, struct arena *arena, struct buf *out, struct problem *why)            \
    {                                                                                                                  \
        struct name data;                                                                                              \
        if (!name##_read(json, arena, &data, why))                                                                     \
            return false;                                                                                              \
        name##_write(out, &data);                                                                                      \
        return true;                                                                                                   \
    }
REWRITE(api_answered)
REWRITE(api_requested)
REWRITE(call_analyzed)
REWRITE(call_progressed)
REWRITE(call_recorded)
REWRITE(call_transcribed)
REWRITE(callrail_call_received)
REWRITE(chat_answered)
REWRITE(chat_received)
REWRITE(chat_transcribed)
REWRITE(delivery_changed)
REWRITE(event_rejected)
REWRITE(graph_change_received)
REWRITE(delivery_due)
REWRITE(job_due)
REWRITE(job_finished)
REWRITE(meeting_changed)
REWRITE(meeting_due)
REWRITE(message_reported)
REWRITE(note_due)
REWRITE(outlook_meeting_received)
REWRITE(plan_made)
REWRITE(reconcile_due)
REWRITE(recording_due)
REWRITE(registration_received)
REWRITE(salesperson_registered)
REWRITE(shunya_job_received)
REWRITE(subscription_due)
REWRITE(twilio_message_received)
REWRITE(twilio_status_received)
REWRITE(visit_analyzed)
REWRITE(visit_recorded)
REWRITE(visit_transcribed)
REWRITE(call_analysis)
REWRITE(chat_answer)
REWRITE(meeting_plan)
REWRITE(shunya_analysis)
REWRITE(shunya_job)
REWRITE(shunya_submitted)
REWRITE(shunya_transcript)
REWRITE(shunya_webhook)
REWRITE(visit_analysis)
REWRITE(correct_analysis)
REWRITE(create_appointment)
REWRITE(create_registration)
REWRITE(start_session)
REWRITE(stop_session)
REWRITE(update_call)
REWRITE(update_lead)
#undef REWRITE

static const struct reader readers[] = {
    { "api.answered", api_answered_rewrite },
    { "api.requested", api_requested_rewrite },
    { "call.analyzed", call_analyzed_rewrite },
    { "call.progressed", call_progressed_rewrite },
    { "call.recorded", call_recorded_rewrite },
    { "call.transcribed", call_transcribed_rewrite },
    { "callrail.call.received", callrail_call_received_rewrite },
    { "chat.answered", chat_answered_rewrite },
    { "chat.received", chat_received_rewrite },
    { "chat.transcribed", chat_transcribed_rewrite },
    { "delivery.changed", delivery_changed_rewrite },
    { "event.rejected", event_rejected_rewrite },
    { "graph.change.received", graph_change_received_rewrite },
    { "delivery.due", delivery_due_rewrite },
    { "job.due", job_due_rewrite },
    { "job.finished", job_finished_rewrite },
    { "meeting.changed", meeting_changed_rewrite },
    { "meeting.due", meeting_due_rewrite },
    { "message.reported", message_reported_rewrite },
    { "note.due", note_due_rewrite },
    { "outlook.meeting.received", outlook_meeting_received_rewrite },
    { "plan.made", plan_made_rewrite },
    { "reconcile.due", reconcile_due_rewrite },
    { "recording.due", recording_due_rewrite },
    { "registration.received", registration_received_rewrite },
    { "salesperson.registered", salesperson_registered_rewrite },
    { "shunya.job.received", shunya_job_received_rewrite },
    { "subscription.due", subscription_due_rewrite },
    { "twilio.message.received", twilio_message_received_rewrite },
    { "twilio.status.received", twilio_status_received_rewrite },
    { "visit.analyzed", visit_analyzed_rewrite },
    { "visit.recorded", visit_recorded_rewrite },
    { "visit.transcribed", visit_transcribed_rewrite },
    { "call_analysis", call_analysis_rewrite },
    { "chat_answer", chat_answer_rewrite },
    { "meeting_plan", meeting_plan_rewrite },
    { "shunya_analysis", shunya_analysis_rewrite },
    { "shunya_job", shunya_job_rewrite },
    { "shunya_submitted", shunya_submitted_rewrite },
    { "shunya_transcript", shunya_transcript_rewrite },
    { "shunya_webhook", shunya_webhook_rewrite },
    { "visit_analysis", visit_analysis_rewrite },
    { "correct_analysis", correct_analysis_rewrite },
    { "create_appointment", create_appointment_rewrite },
    { "create_registration", create_registration_rewrite },
    { "start_session", start_session_rewrite },
    { "stop_session", stop_session_rewrite },
    { "update_call", update_call_rewrite },
    { "update_lead", update_lead_rewrite },
};

static inline const struct reader *reader_find(const char *name)
{
    for (size_t i = 0; i < LENGTH(readers); i++) {
        if (strcmp(readers[i].name, name) == 0)
            return &readers[i];
    }
    return NULL;
}

/* The first event type that was forgotten above, or NULL. */
static inline const char *readers_forgotten(void)
{
    for (const struct event_type *const *type = event_types; *type != NULL; type++) {
        if (reader_find((*type)->name) == NULL)
            return (*type)->name;
    }
    return NULL;
}
