/* coach_chat.c: chat.answered → the answer, and what it asks for: a plan, a note, a stop. */
#include "notifier/coach.h"

#include <string.h>

#define ANNOUNCED_AT_ONCE_MAX "3" /* plans that follow on one message; the rest on the next */

static const struct statement find_announced = {
    .name = "find_announced",
    .text = "SELECT meeting_id FROM meetings WHERE tenant = $1 AND salesperson_email = $2 AND plan_state = 'announced'"
            " AND status = 'scheduled' AND end_time > now() ORDER BY start_time LIMIT " ANNOUNCED_AT_ONCE_MAX,
    .params = 2,
};
static const struct statement note_reply = {
    .name = "note_reply",
    .text = "UPDATE meetings SET last_client_reply = $2, updated_at = now() WHERE meeting_id = $1::uuid",
    .params = 2,
};

/* One chat.answered being handled. */
struct chat {
    struct chat_answered said;
    struct meeting meeting;
    bool has_meeting;
    bool plan_followed; /* the meeting's plan was among what followed */
    const char *on;     /* the day, in UTC */
};

static enum outcome say(struct work *work, const struct chat *chat, const struct whatsapp_message *message)
{
    const struct talk talk = { .email = chat->said.salesperson,
                               .client_id = chat->has_meeting ? chat->meeting.client_id : NULL,
                               .meeting_id = chat->has_meeting ? chat->meeting.id : NULL };
    struct whatsapp_message whole = *message;
    struct whatsapp_end end;
    whole.to = chat->said.from;
    whole.purpose = whole.purpose ? whole.purpose : "answer";
    whole.subject = whole.subject ? whole.subject : chat->said.message_id;
    whole.version = "1";
    whole.talk = &talk;
    return whatsapp_send(work, &whole, &end);
}

/* What analyze has to say, then what we have. */
static const char *both(struct work *work, const char *first, const char *second)
{
    return !first || !*first ? second : !second ? first : arena_printf(work_arena(work), "%s\n\n%s", first, second);
}

static enum outcome answer(struct work *work, const struct chat *chat, const char *ours)
{
    const char *text = both(work, chat->said.text, ours);
    return text && *text ? say(work, chat, &(struct whatsapp_message){ .text = text }) : DONE;
}

/* --- what a message can ask for ----------------------------------------------------------------------------------- */

static enum outcome act_answer(struct work *work, const struct chat *chat)
{
    return answer(work, chat, NULL);
}

static enum outcome act_plan(struct work *work, const struct chat *chat)
{
    if (chat->plan_followed)
        return answer(work, chat, NULL);
    const char *plan = chat->has_meeting ? plan_text(work, &chat->meeting) : NULL;
    if (plan)
        return answer(work, chat, plan);
    if (chat->said.text && *chat->said.text)
        return answer(work, chat, NULL);
    return answer(work, chat,
                  chat->has_meeting
                      ? arena_printf(work_arena(work), "The plan for %s is not made yet.", chat->meeting.about)
                      : "I know of no meeting of yours. Invite the coach's mailbox to one.");
}

static enum outcome act_complete(struct work *work, const struct chat *chat)
{
    const char *outcome = chat->said.outcome ? chat->said.outcome : chat->said.quote ? chat->said.quote : "done";
    if (!chat->has_meeting)
        return answer(
            work, chat,
            "I found no meeting of yours that this is about, so nothing was noted. Your message is kept here.");
    if (strcmp(chat->meeting.status, "cancelled") == 0) {
        effect_row(work, &note_reply, chat->meeting.id, outcome);
        return answer(work, chat,
                      arena_printf(work_arena(work),
                                   "%s was cancelled, so nothing was noted in HubSpot. Your words are kept here.",
                                   chat->meeting.about));
    }
    return answer(work, chat, note_complete(work, &chat->meeting, outcome));
}

static enum outcome act_amend(struct work *work, const struct chat *chat)
{
    bool can = chat->has_meeting && chat->said.outcome;
    return answer(work, chat,
                  can ? note_amend(work, &chat->meeting, chat->said.outcome)
                      : "I found no note that could be changed.");
}

static enum outcome act_undo(struct work *work, const struct chat *chat)
{
    return answer(work, chat,
                  chat->has_meeting ? note_undo(work, &chat->meeting) : "I found no note that could be taken back.");
}

/* Their own words, or analyze's in the person's language. */
static enum outcome confirm(struct work *work, const struct chat *chat, const char *ours)
{
    const char *text = chat->said.text && *chat->said.text ? chat->said.text : ours;
    return say(work, chat, &(struct whatsapp_message){ .text = text, .although_stopped = true });
}

static enum outcome act_stop(struct work *work, const struct chat *chat)
{
    TRY(confirm(work, chat,
                "You get no more messages from your coach at this number. Write \"start\" to get them again."));
    whatsapp_stop(work, chat->said.from);
    return DONE;
}

static enum outcome act_start(struct work *work, const struct chat *chat)
{
    whatsapp_start(work, chat->said.from);
    return confirm(work, chat, "You get messages from your coach at this number again.");
}

/* Once a day, whatever is written. */
static enum outcome act_link(struct work *work, const struct chat *chat)
{
    const struct notifier *notifier = work_context(work);
    const char *link = notifier->public_url ? arena_printf(work_arena(work), "%s/register", notifier->public_url) : "";
    const char *text = chat->said.text && *chat->said.text
                           ? chat->said.text
                           : "I do not know this number yet. To be coached, register here:";
    bool has_link = notifier->public_url && strstr(text, link);
    return say(work, chat,
               &(struct whatsapp_message){
                   .purpose = "link",
                   .subject = chat->on,
                   .text = has_link ? text : arena_printf(work_arena(work), "%s\n%s", text, link),
                   .lacking = notifier->public_url ? NULL : "PUBLIC_URL",
               });
}

/* --- the event ---------------------------------------------------------------------------------------------------- */

static const struct act {
    const char *name;
    enum outcome (*handle)(struct work *work, const struct chat *chat);
    bool wants_plans; /* what was announced comes first */
} acts[] = {
    { "answer", act_answer, true }, { "plan", act_plan, true },  { "complete", act_complete, true },
    { "amend", act_amend, true },   { "undo", act_undo, true },  { "stop", act_stop, false },
    { "start", act_start, false },  { "link", act_link, false },
};

static enum outcome follow_announced(struct work *work, struct chat *chat)
{
    struct rows rows;
    struct meeting announced;
    TRY(work_query(work, &find_announced, &rows, work_tenant(work), chat->said.salesperson));
    for (int i = 0; i < rows.count; i++) {
        const char *id = row_get(&rows, i, "meeting_id");
        TRY(meeting_read(work, id, &announced));
        if (!announced.plan.version)
            continue;
        announced.phone = chat->said.from;
        TRY(plan_follow(work, &announced, chat->said.message_id));
        chat->plan_followed = chat->plan_followed || (chat->has_meeting && strcmp(id, chat->meeting.id) == 0);
    }
    return DONE;
}

enum outcome tell_answer(struct work *work, const struct event *event)
{
    struct chat chat = { .on = arena_copy_text(work_arena(work), (struct text){ event->time, strlen("2026-11-21") }) };
    TRY(work_read_data(work, event, chat_answered_read, &chat.said));
    const struct act *act = acts;
    while (strcmp(act->name, chat.said.act) != 0) /* the schema has no other */
        act++;
    if (chat.said.meeting_id) {
        TRY(meeting_read(work, chat.said.meeting_id, &chat.meeting));
        chat.has_meeting = true;
    }
    if (act->wants_plans && chat.said.salesperson && work_tenant(work))
        TRY(follow_announced(work, &chat));
    return act->handle(work, &chat);
}
