/* coach_chat.c: chat.received, chat.transcribed → chat.answered: what a salesperson's message asks for, and the answer.
 *
 * Commands need no model; for the rest it is asked once.  How the chat stands is read from what was made of the
 * messages before this one, by their time: so a replay sees what was seen then.  A roleplay lasts until it is left, or
 * until a reminder asks how a meeting went. */
#include "analyze/coach.h"
#include "common/postgres.h"

#include <stdlib.h>
#include <string.h>

#define NEXT_SHOWN_MAX 3
#define LATELY_US (INT64_C(86400) * 1000000)    /* "done" again means what was noted since */
#define ARRAY_BYTES_MAX 1024
#define LIST_BYTES_MAX (16 * 1024)

const char *const coach_modes[] = { [COACH_ADVICE] = "advice", [COACH_ROLEPLAY] = "roleplay" };

static const struct statement find_chat = {
    .name = "find_chat",
    .text = "SELECT u.name, co.name AS company, co.time_zone, p.stopped_at IS NOT NULL AS stopped,"
            " to_char($3::timestamptz AT TIME ZONE co.time_zone, 'YYYY-MM-DD HH24:MI, FMDay') AS now,"
            " a.mode, a.language, a.meeting_id, a.waiting, array_to_string(a.choices, ',') AS choices, a.source_time"
            " FROM users u JOIN companies co USING (tenant)"
            " LEFT JOIN user_phones p ON p.tenant = u.tenant AND p.phone = $5"
            " LEFT JOIN LATERAL (SELECT * FROM chat_answers b WHERE b.tenant = u.tenant AND b.email = u.email"
            "  AND (b.source_time, b.message_id) < ($3::timestamptz, $4) ORDER BY b.source_time DESC, b.message_id DESC"
            "  LIMIT 1) a ON true"
            " WHERE u.tenant = $1 AND u.email = $2",
    .params = 5,
};
/* `own` is what an earlier run made of this very message: then the meeting is seen as it was before. */
static const struct statement find_chat_meetings = {
    .name = "find_chat_meetings",
    .text =
        "WITH near AS ((SELECT * FROM meetings WHERE tenant = $1 AND salesperson_email = $2 AND status <> 'cancelled'"
        "  AND start_time > $3::timestamptz ORDER BY start_time LIMIT 6)"
        " UNION ALL (SELECT * FROM meetings WHERE tenant = $1 AND salesperson_email = $2 AND status <> 'cancelled'"
        "  AND start_time <= $3::timestamptz ORDER BY start_time DESC LIMIT 8))"
        " SELECT m.meeting_id, m.client_id, m.title, m.description, c.name AS client, c.company,"
        " (extract(epoch FROM m.start_time) * 1000000)::bigint AS starts_us,"
        " (extract(epoch FROM m.end_time) * 1000000)::bigint AS ends_us,"
        " to_char(m.start_time AT TIME ZONE co.time_zone, 'YYYY-MM-DD HH24:MI') AS starts,"
        " to_char(m.end_time AT TIME ZONE co.time_zone, 'YYYY-MM-DD HH24:MI') AS ends,"
        " to_char($3::timestamptz AT TIME ZONE co.time_zone, 'YYYY-MM-DD') AS today,"
        " p.summary, p.steps, m.plan_state = 'announced' AS plan_announced,"
        " CASE WHEN last.act IS NOT NULL THEN last.act <> 'undo'"
        "  WHEN own.act IN ('complete', 'undo') THEN own.act = 'undo'"
        "  ELSE m.status = 'completed' AND n.state IS DISTINCT FROM 'withdrawn' END AS noted,"
        " m.status = 'reminder_sent' OR own.act = 'complete' AS awaiting,"
        " (extract(epoch FROM coalesce(last.source_time, n.updated_at, m.updated_at)) * 1000000)::bigint AS noted_us"
        " FROM near m JOIN clients c USING (tenant, client_id) JOIN companies co USING (tenant)"
        " LEFT JOIN meeting_plans p ON p.tenant = m.tenant AND p.meeting_id = m.meeting_id"
        " LEFT JOIN meeting_notes n ON n.tenant = m.tenant AND n.meeting_id = m.meeting_id AND n.revision = m.revision"
        " LEFT JOIN chat_answers own ON own.tenant = m.tenant AND own.message_id = $4 AND own.meeting_id = m.meeting_id"
        " LEFT JOIN LATERAL (SELECT b.act, b.source_time FROM chat_answers b WHERE b.tenant = m.tenant"
        "  AND b.meeting_id = m.meeting_id AND b.act IN ('complete', 'amend', 'undo') AND b.source_time > m.planned_at"
        "  AND (b.source_time, b.message_id) < ($3::timestamptz, $4)"
        "  ORDER BY b.source_time DESC, b.message_id DESC LIMIT 1) last ON true"
        " ORDER BY m.start_time, m.meeting_id",
    .params = 4,
};
static const struct statement find_messages = {
    .name = "find_messages",
    .text = "SELECT m.direction, m.message, coalesce(a.mode = 'roleplay', false) AS in_roleplay FROM messages m"
            " LEFT JOIN chat_answers a ON a.tenant = m.tenant AND a.message_id = m.message_id"
            " WHERE m.tenant = $1 AND m.email = $2 AND m.\"timestamp\" <= $3::timestamptz AND m.message_id <> $4"
            " AND m.message <> '' ORDER BY m.\"timestamp\" DESC, m.direction LIMIT 20",
    .params = 4,
};
static const struct statement upsert_answer = {
    .name = "upsert_answer",
    .text =
        "INSERT INTO chat_answers AS a (tenant, message_id, email, act, meeting_id, mode, language, waiting, choices,"
        " provider, model, prompt_version, source_time, run)"
        " VALUES ($1, $2, $3, $4, $5::uuid, $6, $7, $8, $9::uuid[], $10, $11, $12, $13::timestamptz, $14::integer)"
        " ON CONFLICT (tenant, message_id) DO UPDATE SET act = EXCLUDED.act, meeting_id = EXCLUDED.meeting_id,"
        " mode = EXCLUDED.mode, language = EXCLUDED.language, waiting = EXCLUDED.waiting, choices = EXCLUDED.choices,"
        " provider = EXCLUDED.provider, model = EXCLUDED.model, prompt_version = EXCLUDED.prompt_version,"
        " source_time = EXCLUDED.source_time, run = EXCLUDED.run, updated_at = now()"
        " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (a.source_time, a.run)",
    .params = 14,
};

/* --- reading ------------------------------------------------------------------------------------------------------ */

static bool is_true(const char *value)
{
    return value && strcmp(value, "t") == 0;
}

static int64_t number_of(const char *value)
{
    return value ? strtoll(value, NULL, 10) : 0;
}

static void read_meeting(struct arena *arena, const struct rows *rows, int row, struct coach_meeting *ret)
{
    const char *starts = row_get(rows, row, "starts"), *today = row_get(rows, row, "today");
    bool is_today = strncmp(starts, today, strlen(today)) == 0;
    *ret = (struct coach_meeting){
        .meeting_id = row_get(rows, row, "meeting_id"),
        .client_id = row_get(rows, row, "client_id"),
        .title = coach_clean(arena, row_get(rows, row, "title"), COACH_TITLE_CHARACTERS_MAX),
        .description = coach_clean(arena, row_get(rows, row, "description"), COACH_DESCRIPTION_CHARACTERS_MAX),
        .client = coach_clean(arena, row_get(rows, row, "client"), COACH_NAME_CHARACTERS_MAX),
        .company = coach_clean(arena, row_get(rows, row, "company"), COACH_NAME_CHARACTERS_MAX),
        .starts_us = number_of(row_get(rows, row, "starts_us")),
        .ends_us = number_of(row_get(rows, row, "ends_us")),
        .starts = starts,
        .ends = row_get(rows, row, "ends"),
        .when = is_today ? starts + strlen(today) + 1 : starts,
        .plan_announced = is_true(row_get(rows, row, "plan_announced")),
        .noted = is_true(row_get(rows, row, "noted")),
        .noted_us = number_of(row_get(rows, row, "noted_us")),
    };
    ret->awaiting = !ret->noted && is_true(row_get(rows, row, "awaiting"));
    if (row_get(rows, row, "summary") && coach_steps(arena, row_get(rows, row, "steps"), ret->steps))
        ret->summary = row_get(rows, row, "summary");
}

/* A reminder that came after the last word ends a roleplay: what is written now is the answer to it. */
static bool was_reminded_since(const struct chat *chat, const char *last_time)
{
    int64_t last_us;
    for (size_t i = 0; i < chat->count && last_time; i++)
        if (chat->meetings[i].awaiting && chat->meetings[i].ends_us <= chat->at_us
            && time_read(text_of(last_time), &last_us) && chat->meetings[i].ends_us > last_us)
            return true;
    return false;
}

/* False when nobody is known by that address (any more). */
static enum outcome read_chat(struct work *work, struct chat *chat, bool *ret_known)
{
    struct arena *arena = work_arena(work);
    struct rows rows, meetings;
    TRY(work_query(work, &find_chat, &rows, chat->tenant, chat->email, work_source_time(work), chat->message_id,
                   chat->from));
    *ret_known = rows.count > 0;
    if (rows.count == 0)
        return DONE;
    const char *mode = row_get(&rows, 0, "mode"), *language = row_get(&rows, 0, "language");
    chat->name = coach_clean(arena, row_get(&rows, 0, "name"), COACH_NAME_CHARACTERS_MAX);
    chat->company = coach_clean(arena, row_get(&rows, 0, "company"), COACH_NAME_CHARACTERS_MAX);
    chat->time_zone = row_get(&rows, 0, "time_zone");
    chat->now = row_get(&rows, 0, "now");
    chat->stopped = is_true(row_get(&rows, 0, "stopped"));
    chat->language = language ? language : coach_languages[0];
    chat->meeting_id = row_get(&rows, 0, "meeting_id");
    chat->waiting = row_get(&rows, 0, "waiting");
    chat->choices = row_get(&rows, 0, "choices");
    TRY(work_query(work, &find_chat_meetings, &meetings, chat->tenant, chat->email, work_source_time(work),
                   chat->message_id));
    for (int row = 0; row < meetings.count && chat->count < COACH_MEETINGS_MAX; row++)
        read_meeting(arena, &meetings, row, &chat->meetings[chat->count++]);
    bool plays = mode && strcmp(mode, coach_modes[COACH_ROLEPLAY]) == 0;
    chat->mode = plays && !was_reminded_since(chat, row_get(&rows, 0, "source_time")) ? COACH_ROLEPLAY : COACH_ADVICE;
    return DONE;
}

enum outcome coach_messages(struct work *work, const struct chat *chat, struct coach_message *ret, size_t *ret_count)
{
    struct rows rows;
    TRY(work_query(work, &find_messages, &rows, chat->tenant, chat->email, work_source_time(work), chat->message_id));
    *ret_count = 0;
    for (int row = rows.count - 1; row >= 0 && *ret_count < COACH_MESSAGES_MAX; row--)
        ret[(*ret_count)++] = (struct coach_message){
            .incoming = strcmp(row_get(&rows, row, "direction"), "incoming") == 0,
            .in_roleplay = is_true(row_get(&rows, row, "in_roleplay")),
            .text = coach_clean(work_arena(work), row_get(&rows, row, "message"), COACH_OUTCOME_CHARACTERS_MAX),
        };
    return DONE;
}

/* --- replies ------------------------------------------------------------------------------------------------------ */

static void say(struct work *work, struct chat_reply *reply, enum sentence which, const struct coach_meeting *meeting)
{
    reply->act = "answer";
    reply->meeting = meeting ? meeting : reply->meeting;
    reply->text = sentence(work_arena(work), reply->language, which, meeting);
}

/* Asks which one is meant; the words wait for the answer. */
static void ask_which(struct work *work, const struct chat *chat, const struct meeting_choice *choice,
                      struct chat_reply *reply)
{
    struct arena *arena = work_arena(work);
    struct buf list, ids;
    buf_init(&list, LIST_BYTES_MAX);
    buf_init(&ids, ARRAY_BYTES_MAX);
    pg_array_begin(&ids);
    buf_add_string(&list, sentence(arena, reply->language, SAY_WHICH, NULL));
    for (size_t i = 0; i < choice->count; i++) {
        buf_printf(&list, "\n%zu. %s, %s", i + 1, meeting_label(choice->of[i], arena), choice->of[i]->when);
        pg_array_add(&ids, choice->of[i]->meeting_id);
    }
    pg_array_end(&ids);
    reply->act = "answer";
    reply->meeting = NULL;
    reply->text = coach_clean(arena, buf_text(&list).at, COACH_ANSWER_CHARACTERS_MAX);
    reply->waiting = chat->text;
    reply->choices = arena_copy_text(arena, buf_text(&ids));
    buf_done(&list);
    buf_done(&ids);
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static void tell_plan(struct work *work, const struct chat *chat, struct chat_reply *reply)
{
    struct meeting_choice current = meeting_choose(chat, TO_TALK, work_arena(work));
    if (current.count > 1)
        ask_which(work, chat, &current, reply);
    else if (current.count == 0)
        say(work, reply, SAY_NO_MEETING, NULL);
    else if (!current.of[0]->summary)
        say(work, reply, SAY_NO_PLAN, current.of[0]);
    else
        reply->act = "plan", reply->meeting = current.of[0];
}

static void tell_next(struct work *work, const struct chat *chat, struct chat_reply *reply)
{
    struct arena *arena = work_arena(work);
    struct buf text;
    size_t shown = 0;
    buf_init(&text, LIST_BYTES_MAX);
    for (size_t i = 0; i < chat->count && shown < NEXT_SHOWN_MAX; i++) {
        const struct coach_meeting *meeting = &chat->meetings[i];
        bool begun = meeting->starts_us <= chat->at_us;
        if (meeting->noted || meeting->ends_us <= chat->at_us)
            continue;
        enum sentence which = begun ? SAY_UNDER_WAY : SAY_NEXT;
        buf_printf(&text, "%s%s", text.bytes ? "\n" : "", sentence(arena, reply->language, which, meeting));
        reply->meeting = reply->meeting ? reply->meeting : meeting;
        shown += !begun;
    }
    if (text.bytes == 0)
        buf_add_string(&text, sentence(arena, reply->language, SAY_NO_MEETING, NULL));
    reply->act = "answer";
    reply->text = coach_clean(arena, buf_text(&text).at, COACH_ANSWER_CHARACTERS_MAX);
    buf_done(&text);
}

/* Why the meeting that is meant cannot be completed. */
static void tell_why_not(struct work *work, const struct chat *chat, struct chat_reply *reply)
{
    const struct coach_meeting *meant = meeting_named(chat, work_arena(work));
    struct meeting_choice noted = meeting_choose(chat, TO_MEND, work_arena(work)),
                          next = meeting_choose(chat, TO_TALK, work_arena(work));
    bool noted_lately = noted.count > 0 && noted.of[0]->noted_us + LATELY_US > chat->at_us;
    if (!meant)
        meant = noted_lately ? noted.of[0] : next.count > 0 ? next.of[0] : NULL;
    if (meant && meant->noted)
        say(work, reply, SAY_ALREADY_NOTED, meant);
    else if (meant && meant->starts_us > chat->at_us)
        say(work, reply, SAY_NOT_BEGUN, meant);
    else
        say(work, reply, SAY_NOTHING_TO_COMPLETE, NULL);
}

/* True when a name in the message is that of a meeting which cannot be completed, though another could. */
static bool means_another(struct work *work, const struct chat *chat, const struct meeting_choice *choice)
{
    const struct coach_meeting *meant = chat->picked ? NULL : meeting_named(chat, work_arena(work));
    for (size_t i = 0; i < choice->count && meant; i++)
        if (choice->of[i] == meant)
            return false;
    return meant && (meant->noted || meant->starts_us > chat->at_us);
}

static void complete(struct work *work, const struct chat *chat, const char *outcome, struct chat_reply *reply)
{
    struct arena *arena = work_arena(work);
    struct meeting_choice choice = meeting_choose(chat, TO_COMPLETE, arena);
    if (choice.count == 0 || means_another(work, chat, &choice)) {
        tell_why_not(work, chat, reply);
    } else if (choice.count > 1) {
        ask_which(work, chat, &choice, reply);
    } else {
        reply->act = "complete";
        reply->meeting = choice.of[0];
        reply->outcome = *outcome ? outcome : NULL;
        reply->quote = coach_clean(arena, chat->text, COACH_QUOTE_CHARACTERS_MAX);
        reply->mode = COACH_ADVICE;
    }
}

static void mend(struct work *work, const struct chat *chat, const struct command *command, struct chat_reply *reply)
{
    struct meeting_choice choice = meeting_choose(chat, TO_MEND, work_arena(work));
    if (choice.count == 0) {
        say(work, reply, SAY_NOTHING_TO_MEND, NULL);
    } else if (command->kind == COMMAND_UNDO) {
        reply->act = "undo", reply->meeting = choice.of[0];
    } else if (!*command->rest) {
        say(work, reply, SAY_CHANGE_HOW, choice.of[0]);
    } else {
        reply->act = "amend", reply->meeting = choice.of[0];
        reply->outcome = command->rest;
    }
}

/* The plan that waits for a word, of the nearest meeting; NULL: none. */
static const struct coach_meeting *announced(const struct chat *chat)
{
    for (size_t i = 0; i < chat->count; i++)
        if (chat->meetings[i].plan_announced && chat->meetings[i].ends_us > chat->at_us)
            return &chat->meetings[i];
    return NULL;
}

/* Does what a command says; false when it is none here, so that the message is one like any other. */
static bool obey(struct work *work, const struct chat *chat, const struct command *command, struct chat_reply *reply)
{
    switch (command->kind) {
    case COMMAND_PLAN: tell_plan(work, chat, reply); return true;
    case COMMAND_NEXT: tell_next(work, chat, reply); return true;
    case COMMAND_HELP: say(work, reply, SAY_HELP, NULL); return true;
    case COMMAND_DONE: complete(work, chat, command->rest, reply); return true;
    case COMMAND_CHANGE:
    case COMMAND_UNDO: mend(work, chat, command, reply); return true;
    case COMMAND_STOP:
    case COMMAND_UNSUBSCRIBE: reply->act = "stop", reply->mode = COACH_ADVICE; return true;
    case COMMAND_START: reply->act = "start"; return true;
    case COMMAND_YES:
        reply->meeting = announced(chat);
        reply->act = reply->meeting ? "plan" : "answer";
        return reply->meeting;
    case COMMAND_LEAVE:
    case COMMAND_NONE: break;
    }
    return false;
}

/* --- conversation ------------------------------------------------------------------------------------------------- */

static enum outcome by_rules(struct work *work, const struct chat *chat, const struct coach_meeting *meeting,
                             bool leaves, struct chat_reply *reply)
{
    struct coach_message messages[COACH_MESSAGES_MAX];
    size_t count;
    TRY(coach_messages(work, chat, messages, &count));
    reply->act = "answer";
    reply->meeting = meeting;
    reply->provider = reply->model = "rules";
    rules_chat(chat, meeting, messages, count, leaves, work_arena(work), reply);
    return DONE;
}

static enum outcome converse(struct work *work, const struct chat *chat, bool leaves, struct chat_reply *reply)
{
    const struct analyze *analyze = work_context(work);
    struct meeting_choice current = meeting_choose(chat, TO_TALK, work_arena(work)),
                          over = meeting_choose(chat, TO_COMPLETE, work_arena(work));
    bool reminded = over.count > 0 && over.of[0]->awaiting;
    if (current.count > 1 && reminded)
        current = (struct meeting_choice){ .of = { over.of[0] }, .count = 1 };
    if (current.count > 1 && chat->mode == COACH_ADVICE) {
        ask_which(work, chat, &current, reply);
        return DONE;
    }
    if (analyze->llm_provider == LLM_RULES)
        return by_rules(work, chat, current.count > 0 ? current.of[0] : NULL, leaves, reply);
    TRY(coach_ask(work, chat, &current, leaves, reply));
    if (strcmp(reply->act, "complete") == 0 && over.count > 1)
        ask_which(work, chat, &over, reply);
    return DONE;
}

/* --- the way ------------------------------------------------------------------------------------------------------ */

/* Whether a command means the roleplay: "stop" and "exit" do, and "done" where there is nothing else it could end. */
static bool leaves_roleplay(struct work *work, const struct chat *chat, const struct command *command)
{
    if (chat->mode != COACH_ROLEPLAY)
        return false;
    return command->kind == COMMAND_LEAVE || command->kind == COMMAND_STOP
           || (command->kind == COMMAND_DONE && meeting_choose(chat, TO_COMPLETE, work_arena(work)).count == 0);
}

static enum outcome answer_words(struct work *work, struct chat *chat, struct chat_reply *reply, bool *ret_silent)
{
    struct arena *arena = work_arena(work);
    chat->picked = chat->waiting ? meeting_picked(chat, arena) : NULL;
    if (chat->picked)
        chat->text = coach_clean(arena, chat->waiting, COACH_MESSAGE_CHARACTERS_MAX);
    const struct command command = command_read(chat->text, arena);
    const char *said = command.kind == COMMAND_NONE ? text_language(chat->text, arena)
                                                    : text_language(command.rest, arena);
    reply->language = command.language ? command.language : said ? said : chat->language;
    bool leaves = leaves_roleplay(work, chat, &command);
    if (!leaves && obey(work, chat, &command, reply))
        return DONE;
    *ret_silent = chat->stopped;
    if (chat->stopped)
        return DONE;
    TRY(converse(work, chat, leaves, reply));
    if (leaves)
        reply->mode = COACH_ADVICE;
    if (leaves && command.kind == COMMAND_STOP)
        reply->text =
            arena_printf(arena, "%s\n\n%s", coach_clean(arena, reply->text, COACH_ANSWER_CHARACTERS_MAX - 200),
                         sentence(arena, reply->language, SAY_STOP_AGAIN, NULL));
    return DONE;
}

static void tell(struct work *work, const struct chat *chat, const struct chat_reply *reply)
{
    effect_event(work, &EVENT_CHAT_ANSWERED, work_event(work)->subject, &(struct chat_answered){
        .message_id = chat->message_id,
        .from = chat->from,
        .salesperson = chat->email,
        .act = reply->act,
        .meeting_id = reply->meeting ? reply->meeting->meeting_id : NULL,
        .text = reply->text,
        .outcome = reply->outcome,
        .quote = reply->quote,
        .language = reply->language,
        .provider = reply->provider,
        .model = reply->model,
    });
}

static enum outcome answer(struct work *work, struct chat *chat)
{
    struct chat_reply reply = { .act = "answer" };
    bool known, silent = false;
    chat->tenant = work_tenant(work);
    if (!chat->email) {
        reply.act = "link";
        tell(work, chat, &reply);
        return DONE;
    }
    if (!chat->tenant)
        return reject(work, "message \"%s\" has no tenant", chat->message_id);
    if (!time_read(text_of(work_source_time(work)), &chat->at_us))
        return reject(work, "message \"%s\" has no time", chat->message_id);
    TRY(read_chat(work, chat, &known));
    if (!known)
        return skip(work, "nobody is registered with that address any more");
    reply.language = chat->language;
    reply.mode = chat->mode;
    if (!*chat->text)
        say(work, &reply, chat->media ? SAY_MEDIA : chat->voice ? SAY_NO_WORDS : SAY_HELP, NULL);
    else
        TRY(answer_words(work, chat, &reply, &silent));
    if (silent)
        return skip(work, "the person wants no messages, and this is no command");
    effect_row(work, &upsert_answer, chat->tenant, chat->message_id, chat->email, reply.act,
               reply.meeting ? reply.meeting->meeting_id : NULL, coach_modes[reply.mode], reply.language, reply.waiting,
               reply.choices, reply.provider, reply.model, reply.prompt_version, work_source_time(work),
               arena_printf(work_arena(work), "%d", work_source_run(work)));
    tell(work, chat, &reply);
    return DONE;
}

enum outcome answer_chat(struct work *work, const struct event *event)
{
    struct chat_received received;
    TRY(work_read_data(work, event, chat_received_read, &received));
    if (strcmp(received.kind, "voice") == 0)
        return skip(work, "its words come as chat.transcribed");
    return answer(work, &(struct chat){
        .email = received.salesperson,
        .message_id = received.message_id,
        .from = received.from,
        .text = coach_clean(work_arena(work), received.text, COACH_MESSAGE_CHARACTERS_MAX),
        .media = strcmp(received.kind, "media") == 0,
    });
}

enum outcome answer_voice(struct work *work, const struct event *event)
{
    struct chat_transcribed transcribed;
    TRY(work_read_data(work, event, chat_transcribed_read, &transcribed));
    return answer(work, &(struct chat){
        .email = transcribed.salesperson,
        .message_id = transcribed.message_id,
        .from = transcribed.from,
        .text = coach_clean(work_arena(work), transcribed.text, COACH_MESSAGE_CHARACTERS_MAX),
        .voice = true,
    });
}
