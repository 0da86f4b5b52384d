/* coach.c: what a salesperson gets without asking: the welcome and the plan; and who is told of an organizer nobody
 * knows. */
#include "notifier/coach.h"
#include "notifier/parts.h"

#include <stdlib.h>
#include <string.h>

static const struct statement find_meeting = {
    .name = "find_meeting",
    .text =
        "SELECT m.meeting_id, m.tenant, m.title, m.salesperson_email, coalesce(u.phone, m.salesperson_phone) AS phone,"
        " to_char(m.start_time AT TIME ZONE co.time_zone, 'FMDay, FMDD FMMonth, HH24:MI') AS starts,"
        " m.client_id, coalesce(c.name, c.email) AS client, c.company, c.email AS client_email, c.hubspot_contact_id,"
        " coalesce($3::integer, m.revision) AS revision, m.plan_version, m.status, m.plan_state, m.plan_sent_version,"
        " coalesce(m.next_check_at <= now(), false) AS due, m.start_time <= now() AS begun, m.end_time <= now() AS "
        "ended,"
        " extract(epoch FROM (date_trunc('day', now() AT TIME ZONE co.time_zone) + interval '1 day') AT TIME ZONE "
        "co.time_zone"
        " - now())::bigint AS tomorrow_s,"
        " p.plan_version AS made_version, p.summary, p.steps ->> 0 AS step1, p.steps ->> 1 AS step2, p.steps ->> 2 AS "
        "step3,"
        " p.provider, n.state AS note_state, n.outcome AS note_outcome, n.hubspot_note_id, n.version AS note_version,"
        " n.source_time AS note_source_time, coalesce(n.source_time > $2::timestamptz, false) AS note_newer,"
        " coalesce(n.state = 'waiting' AND n.next_check_at <= now(), false) AS note_due,"
        " extract(epoch FROM now() - n.created_at)::bigint AS note_age_s"
        " FROM meetings m JOIN companies co USING (tenant)"
        " JOIN clients c ON c.tenant = m.tenant AND c.client_id = m.client_id"
        " LEFT JOIN users u ON u.tenant = m.tenant AND u.email = m.salesperson_email"
        " LEFT JOIN meeting_plans p ON p.tenant = m.tenant AND p.meeting_id = m.meeting_id"
        " LEFT JOIN meeting_notes n ON n.tenant = m.tenant AND n.meeting_id = m.meeting_id"
        "  AND n.revision = coalesce($3::integer, m.revision)"
        " WHERE m.meeting_id = $1::uuid",
    .params = 3,
};
static const struct statement note_plan = {
    .name = "note_plan",
    .text = "UPDATE meetings SET plan_state = $2, plan_sent_version = $3::integer, updated_at = now()"
            " WHERE meeting_id = $1::uuid AND coalesce(plan_sent_version, 0) <= $3::integer",
    .params = 3,
};

/* "Roof" with Bo Lee (Lee & Sons): short enough for a template's variable. */
static const char *about(struct work *work, const char *title, const char *client, const char *company)
{
    struct arena *arena = work_arena(work);
    const char *whom =
        client ? arena_printf(arena, " with %s", clipped(arena, client, COACH_TITLE_CHARACTERS_MAX)) : "";
    const char *where =
        company ? arena_printf(arena, " (%s)", clipped(arena, company, COACH_TITLE_CHARACTERS_MAX)) : "";
    return arena_printf(arena, "\"%s\"%s%s", clipped(arena, title, COACH_TITLE_CHARACTERS_MAX), whom, where);
}

static bool is_true(const struct rows *rows, const char *column)
{
    return strcmp(row_get(rows, 0, column), "t") == 0;
}

static int64_t seconds(const struct rows *rows, const char *column)
{
    const char *value = row_get(rows, 0, column);
    return value ? atoll(value) : 0;
}

static void read_plan_and_note(const struct rows *rows, struct meeting *ret)
{
    const char *provider = row_get(rows, 0, "provider");
    ret->plan.version = row_get(rows, 0, "made_version");
    ret->plan.summary = row_get(rows, 0, "summary");
    ret->plan.steps[0] = row_get(rows, 0, "step1");
    ret->plan.steps[1] = row_get(rows, 0, "step2");
    ret->plan.steps[2] = row_get(rows, 0, "step3");
    ret->plan.by_rules = provider && strcmp(provider, "rules") == 0;
    ret->note.state = row_get(rows, 0, "note_state");
    ret->note.outcome = row_get(rows, 0, "note_outcome");
    ret->note.hubspot_note_id = row_get(rows, 0, "hubspot_note_id");
    ret->note.version = row_get(rows, 0, "note_version");
    ret->note.source_time = row_get(rows, 0, "note_source_time");
    ret->note.newer = is_true(rows, "note_newer");
    ret->note.due = is_true(rows, "note_due");
    ret->note.age_s = seconds(rows, "note_age_s");
}

/* `revision` NULL: as it stands. */
static enum outcome read(struct work *work, const char *id, const char *revision, struct meeting *ret)
{
    struct rows rows;
    TRY(work_query(work, &find_meeting, &rows, id, work_event(work)->time, revision));
    if (rows.count == 0)
        return reject(work, "meeting \"%s\" is not there", id);
    *ret = (struct meeting){
        .id = row_get(&rows, 0, "meeting_id"),
        .tenant = row_get(&rows, 0, "tenant"),
        .title = row_get(&rows, 0, "title"),
        .starts = row_get(&rows, 0, "starts"),
        .about = about(work, row_get(&rows, 0, "title"), row_get(&rows, 0, "client"), row_get(&rows, 0, "company")),
        .salesperson = row_get(&rows, 0, "salesperson_email"),
        .phone = row_get(&rows, 0, "phone"),
        .client_id = row_get(&rows, 0, "client_id"),
        .client = row_get(&rows, 0, "client"),
        .client_email = row_get(&rows, 0, "client_email"),
        .hubspot_contact_id = row_get(&rows, 0, "hubspot_contact_id"),
        .revision = row_get(&rows, 0, "revision"),
        .plan_version = row_get(&rows, 0, "plan_version"),
        .status = row_get(&rows, 0, "status"),
        .plan_state = row_get(&rows, 0, "plan_state"),
        .plan_sent_version = row_get(&rows, 0, "plan_sent_version"),
        .due = is_true(&rows, "due"),
        .begun = is_true(&rows, "begun"),
        .ended = is_true(&rows, "ended"),
        .tomorrow_s = seconds(&rows, "tomorrow_s"),
    };
    read_plan_and_note(&rows, ret);
    work_set_tenant(work, ret->tenant);
    return DONE;
}

enum outcome meeting_read(struct work *work, const char *id, struct meeting *ret)
{
    return read(work, id, NULL, ret);
}

enum outcome meeting_read_note(struct work *work, const char *id, int64_t revision, struct meeting *ret)
{
    return read(work, id, arena_printf(work_arena(work), "%lld", (long long)revision), ret);
}

/* --- the welcome -------------------------------------------------------------------------------------------------- */

/* Anybody can register an address with a number of theirs: who is coached at another one hears of it there. */
static enum outcome tell_old_number(struct work *work, const struct event *event,
                                    const struct salesperson_registered *registered)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    const char *mend = notifier->public_url ? arena_printf(arena, "register this one again at %s/register/%s",
                                                           notifier->public_url, work_tenant(work))
                                            : "register this one again";
    struct whatsapp_end end;
    return whatsapp_send(
        work,
        &(struct whatsapp_message){
            .to = registered->replaces,
            .purpose = "number_changed",
            .subject = registered->user_id,
            .version = event->id,
            .text = arena_printf(arena,
                                 "Another number is registered for %s now: your coach writes there, and no longer here."
                                 " If that was not you, %s, and tell your administrator.",
                                 registered->email, mend),
            .talk = &(struct talk){ .email = registered->email },
        },
        &end);
}

static enum outcome welcome(struct work *work, const struct salesperson_registered *registered,
                            struct whatsapp_end *ret)
{
    const struct notifier *notifier = work_context(work);
    const char *text = arena_printf(
        work_arena(work),
        "Hello %s, this is your sales coach.\n\nInvite the coach's mailbox to a meeting with a client: I send you a"
        " plan before it, and ask you afterwards how it went. Write to me here whenever you want advice, or to"
        " rehearse. \"help\" tells what I can do, \"stop\" ends it.",
        clipped(work_arena(work), registered->name, COACH_TITLE_CHARACTERS_MAX));
    return whatsapp_send(
        work,
        &(struct whatsapp_message){
            .to = registered->phone,
            .purpose = "welcome",
            .subject = registered->user_id,
            .version = "1",
            .text = text,
            .content_setting = "TWILIO_CONTENT_SID_WELCOME",
            .content_sid = notifier->content_welcome,
            .variables = (const char *const[]){ registered->name, NULL },
            .content = arena_printf(work_arena(work), "Welcome, %s. Reply to begin.", registered->name),
            .talk = &(struct talk){ .email = registered->email },
        },
        ret);
}

enum outcome welcome_salesperson(struct work *work, const struct event *event)
{
    struct salesperson_registered registered;
    struct whatsapp_end end = { 0 };
    TRY(work_read_data(work, event, salesperson_registered_read, &registered));
    bool is_new = registered.first || registered.phone_is_new;
    if (registered.replaces)
        TRY(tell_old_number(work, event, &registered));
    else if (!is_new)
        return skip(work, "neither the person nor the number is new");
    if (is_new)
        TRY(welcome(work, &registered, &end));
    return end.old && !registered.replaces ? skip(work, "%s", end.old) : DONE;
}

/* --- an organizer nobody knows ------------------------------------------------------------------------------------ */

enum outcome tell_of_unknown_organizer(struct work *work, const struct event *event)
{
    const struct notifier *notifier = work_context(work);
    struct arena *arena = work_arena(work);
    struct meeting_changed changed;
    struct meeting meeting;
    TRY(work_read_data(work, event, meeting_changed_read, &changed));
    if (changed.known || strcmp(changed.change, "cancelled") == 0)
        return skip(work, "nobody has to be told");
    TRY(meeting_read(work, changed.meeting_id, &meeting));
    if (meeting.phone)
        return skip(work, "the organizer has registered meanwhile");
    if (!notifier->admin_whatsapp)
        return skip(work, "nobody to tell of an unknown organizer: ADMIN_WHATSAPP_TO is not set");
    const char *what =
        arena_printf(arena, "Unknown organizer: %s, %s, %s", meeting.salesperson, meeting.about, meeting.starts);
    const char *mend = notifier->public_url ? arena_printf(arena, "To be coached, register at %s/register/%s",
                                                           notifier->public_url, meeting.tenant)
                                            : "To be coached, this person has to register";
    return whatsapp_tell(work, &(struct whatsapp_message){
                                   .to = notifier->admin_whatsapp,
                                   .purpose = "unknown_organizer",
                                   .subject = meeting.salesperson,
                                   .version = "1",
                                   .text = arena_printf(arena, "%s\n\n%s", what, mend),
                                   .content_setting = "TWILIO_CONTENT_SID_LEAD",
                                   .content_sid = notifier->content_lead,
                                   .variables = (const char *const[]){ meeting.tenant, what, mend, NULL },
                                   .content = arena_printf(arena, "%s\n%s\n%s", meeting.tenant, what, mend),
                               });
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

const char *plan_text(struct work *work, const struct meeting *meeting)
{
    if (!meeting->plan.version)
        return NULL;
    return arena_printf(work_arena(work), "Your plan for %s\n%s\n\n%s\n\n1. %s\n2. %s\n3. %s%s", meeting->about,
                        meeting->starts, meeting->plan.summary, meeting->plan.steps[0], meeting->plan.steps[1],
                        meeting->plan.steps[2],
                        meeting->plan.by_rules ? "\n\n(Made without a model, from the words of the invitation.)" : "");
}

static struct whatsapp_message plan_message(struct work *work, const struct meeting *meeting, const char *version,
                                            const struct talk *talk)
{
    return (struct whatsapp_message){
        .to = meeting->phone,
        .purpose = "plan",
        .subject = meeting->id,
        .version = version,
        .text = plan_text(work, meeting),
        .talk = talk,
    };
}

/* `variables` must live as long as the message. */
static void add_announcement(struct work *work, const struct meeting *meeting, const char *const *variables,
                             struct whatsapp_message *message)
{
    const struct notifier *notifier = work_context(work);
    message->content_setting = "TWILIO_CONTENT_SID_PLAN";
    message->content_sid = notifier->content_plan;
    message->variables = variables;
    message->content = arena_printf(work_arena(work), "Your plan for %s is ready: reply to read it.", meeting->about);
}

enum outcome plan_send(struct work *work, const struct meeting *meeting, const char *occasion)
{
    const struct talk talk = { meeting->salesperson, meeting->client_id, meeting->id };
    const char *version = arena_printf(work_arena(work), "%s%s", meeting->plan.version, occasion);
    struct whatsapp_message message = plan_message(work, meeting, version, &talk);
    struct whatsapp_end end;
    add_announcement(work, meeting, (const char *const[]){ meeting->about, NULL }, &message);
    TRY(whatsapp_send(work, &message, &end));
    if (!end.old &&
        (end.sent || end.by_template)) /* it follows on the next message, also when it could not be announced */
        effect_row(work, &note_plan, meeting->id, end.by_template ? "announced" : "sent", meeting->plan.version);
    return DONE;
}

enum outcome plan_announce(struct work *work, const struct meeting *meeting)
{
    const struct talk talk = { meeting->salesperson, meeting->client_id, meeting->id };
    struct whatsapp_message message = plan_message(work, meeting, meeting->plan.version, &talk);
    struct whatsapp_end end;
    add_announcement(work, meeting, (const char *const[]){ meeting->about, NULL }, &message);
    message.by_template = true;
    TRY(whatsapp_send(work, &message, &end));
    if (end.sent)
        effect_row(work, &note_plan, meeting->id, "announced", meeting->plan.version);
    return DONE;
}

enum outcome plan_follow(struct work *work, const struct meeting *meeting, const char *message_id)
{
    const struct talk talk = { meeting->salesperson, meeting->client_id, meeting->id };
    const char *version = arena_printf(work_arena(work), "%s/reply/%s", meeting->plan.version, message_id);
    struct whatsapp_message message = plan_message(work, meeting, version, &talk);
    struct whatsapp_end end;
    TRY(whatsapp_send(work, &message, &end));
    if (end.sent)
        effect_row(work, &note_plan, meeting->id, "sent", meeting->plan.version);
    return DONE;
}

/* Why the plan is not sent; NULL: it is. */
static const char *why_not(const struct meeting *meeting, const struct plan_made *made, bool resend)
{
    bool newer = !meeting->plan.version || atoll(meeting->plan.version) > made->plan_version ||
                 atoll(meeting->plan_version) > made->plan_version;
    bool was_sent = meeting->plan_state && strcmp(meeting->plan_state, "sent") == 0 && meeting->plan_sent_version &&
                    atoll(meeting->plan_sent_version) >= made->plan_version;
    return strcmp(meeting->status, "cancelled") == 0   ? "the meeting was cancelled"
           : strcmp(meeting->status, "completed") == 0 ? "the meeting is completed"
           : meeting->ended                            ? "the meeting has ended"
           : newer                                     ? "the meeting was changed since, and has a newer plan"
           : !meeting->phone                           ? "nobody knows the organizer"
           : was_sent && !resend                       ? "the plan was sent before"
                                                       : NULL;
}

enum outcome tell_plan(struct work *work, const struct event *event)
{
    struct plan_made made;
    struct meeting meeting;
    TRY(work_read_data(work, event, plan_made_read, &made));
    TRY(meeting_read(work, made.meeting_id, &meeting));
    const char *reason = why_not(&meeting, &made, event->resend);
    return reason ? skip(work, "%s", reason) : plan_send(work, &meeting, "");
}
