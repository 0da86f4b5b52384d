/* coach_due.c: what happens to a meeting because time went by: the plan once more shortly before, the reminder one
 * minute after the end; and to a note that the CRM did not take yet.
 *
 * When is the next of them stands in meetings.next_check_at, and in meeting_notes.next_check_at.  Each of them is done
 * once: the event's id holds that moment, handling it moves it on, and the message is known by meeting and revision. */
#include "notifier/coach.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REMINDER_AFTER "interval '1 minute'" /* the end */
#define DUE_BEYOND_RATE 4 /* a tick finds what may be sent in a second, and a quarter more */
#define LEFT_TO_ANSWERS 8 /* of the rate, one part in so many: whoever writes does not wait for what is due */

static const struct statement move_check = {
    .name = "move_check",
    .text = "UPDATE meetings SET next_check_at = end_time + " REMINDER_AFTER ", updated_at = now()"
            " WHERE meeting_id = $1::uuid AND revision = $2::integer AND status = 'scheduled'",
    .params = 2,
};
static const struct statement end_check = {
    .name = "end_check",
    .text = "UPDATE meetings SET next_check_at = NULL, updated_at = now() WHERE meeting_id = $1::uuid AND revision = "
            "$2::integer",
    .params = 2,
};
static const struct statement note_reminder = {
    .name = "note_reminder",
    .text = "UPDATE meetings SET status = 'reminder_sent', next_check_at = NULL, updated_at = now()"
            " WHERE meeting_id = $1::uuid AND revision = $2::integer AND status = 'scheduled'",
    .params = 2,
};
const struct statement find_due_meetings = {
    .name = "find_due_meetings",
    .text = "SELECT meeting_id AS id, next_check_at, salesperson_email AS subject, tenant,"
            " json_build_object('meeting_id', meeting_id, 'revision', revision)::text AS data"
            " FROM meetings WHERE next_check_at <= now() ORDER BY next_check_at LIMIT $1::integer",
    .params = 1,
};

static const struct statement end_note_check = {
    .name = "end_note_check",
    .text = "UPDATE meeting_notes SET next_check_at = NULL, updated_at = now()"
            " WHERE meeting_id = $1::uuid AND revision = $2::integer",
    .params = 2,
};
const struct statement find_due_notes = {
    .name = "find_due_notes",
    .text = "SELECT n.meeting_id || '/' || n.revision AS id, n.next_check_at, m.salesperson_email AS subject, n.tenant,"
            " json_build_object('meeting_id', n.meeting_id, 'revision', n.revision)::text AS data"
            " FROM meeting_notes n JOIN meetings m USING (tenant, meeting_id)"
            " WHERE n.state = 'waiting' AND n.next_check_at <= now() ORDER BY n.next_check_at LIMIT 500",
};

/* As many as the senders can send until it looks again. */
const char *due_meetings_at_once(void *context)
{
    static char text[16]; /* the sweeper's thread alone */
    const struct notifier *notifier = context;
    int64_t count = notifier->messages_per_s + notifier->messages_per_s / DUE_BEYOND_RATE + 1;
    snprintf(text, sizeof(text), "%d",
             count < SWEEP_ROWS_MAX && notifier->messages_per_s > 0 ? (int)count : SWEEP_ROWS_MAX);
    return text;
}

enum outcome reminder_send(struct work *work, const struct meeting *meeting, bool by_template, struct whatsapp_end *ret)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    return whatsapp_send(
        work,
        &(struct whatsapp_message){
            .to = meeting->phone,
            .purpose = "reminder",
            .subject = meeting->id,
            .version = meeting->revision,
            .text = arena_printf(
                arena, "How did %s go? Write \"done\" and in a few words what came of it, and I note it for you.",
                meeting->about),
            .content_setting = "TWILIO_CONTENT_SID_REMINDER",
            .content_sid = notifier->content_reminder,
            .variables = (const char *const[]){ meeting->about, NULL },
            .content = arena_printf(arena, "How did %s go? Reply and tell what happened.", meeting->about),
            .by_template = by_template,
            .talk = &(struct talk){ meeting->salesperson, meeting->client_id, meeting->id },
        },
        ret);
}

static enum outcome remind(struct work *work, const struct meeting *meeting)
{
    struct whatsapp_end end;
    TRY(reminder_send(work, meeting, false, &end));
    effect_row(work, end.sent ? &note_reminder : &end_check, meeting->id, meeting->revision);
    return DONE;
}

/* A meeting that has begun needs no plan any more. */
static enum outcome plan_again(struct work *work, const struct meeting *meeting)
{
    if (meeting->plan.version && !meeting->begun)
        TRY(plan_send(work, meeting, "/again"));
    effect_row(work, &move_check, meeting->id, meeting->revision);
    return DONE;
}

static enum outcome try_note(struct work *work, const struct meeting *meeting)
{
    const char *said = note_try_again(work, meeting);
    if (!said || !meeting->phone)
        return DONE;
    struct whatsapp_end end;
    return whatsapp_send(
        work,
        &(struct whatsapp_message){
            .to = meeting->phone,
            .purpose = "note_news",
            .subject = meeting->id,
            .version = arena_printf(work_arena(work), "%s/%s", meeting->revision, meeting->note.version),
            .text = said,
            .talk = &(struct talk){ meeting->salesperson, meeting->client_id, meeting->id },
        },
        &end);
}

static enum outcome handle(struct work *work, const struct meeting *meeting)
{
    struct notifier *notifier = work_context(work);
    if (strcmp(meeting->status, "scheduled") == 0 && meeting->phone) {
        TRY(pace_wait(work, &notifier->due, notifier->messages_per_s - notifier->messages_per_s / LEFT_TO_ANSWERS));
        return meeting->ended ? remind(work, meeting) : plan_again(work, meeting);
    }
    effect_row(work, &end_check, meeting->id, meeting->revision);
    return DONE;
}

enum outcome handle_due_meeting(struct work *work, const struct event *event)
{
    struct meeting_due due;
    struct meeting meeting;
    TRY(work_read_data(work, event, meeting_due_read, &due));
    TRY(meeting_read(work, due.meeting_id, &meeting));
    if (atoll(meeting.revision) != due.revision)
        return skip(work, "the meeting was moved since");
    if (!meeting.due && work_run(work) == 0) /* a dead letter that is retried has its time behind it */
        return skip(work, "nothing is due for it any more");
    enum outcome outcome = handle(work, &meeting);
    /* refused for good or given up, as is in the dead letter: the sweep shall not find it again */
    return outcome == DONE ? DONE : noting(work, outcome, &end_check, meeting.id, meeting.revision);
}

enum outcome handle_due_note(struct work *work, const struct event *event)
{
    struct note_due due;
    struct meeting meeting;
    TRY(work_read_data(work, event, note_due_read, &due));
    TRY(meeting_read_note(work, due.meeting_id, due.revision, &meeting));
    bool waits = meeting.note.state && strcmp(meeting.note.state, "waiting") == 0;
    if (!waits || (!meeting.note.due && work_run(work) == 0))
        return skip(work, "the note does not wait any more");
    enum outcome outcome = try_note(work, &meeting);
    return outcome == DONE ? DONE : noting(work, outcome, &end_note_check, meeting.id, meeting.revision);
}
