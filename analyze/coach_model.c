/* coach_model.c: a model's answer to a message.  What it claims is held to the message: a meeting is completed only by
 * words that stand in it, outside of questions, and only after its reminder. */
#include "analyze/coach.h"
#include "common/json.h"
#include "common/utf8.h"

#include <string.h>

#define CONTENT_BYTES_MAX (256 * 1024)
#define DESCRIPTION_CHARACTERS_MAX 1500         /* less than the plan is made of */
#define LANGUAGE_BYTES_MAX 16

/* --- what it is told ---------------------------------------------------------------------------------------------- */

/* "under way", "in 45 minutes", "ended 2 hours ago" */
static const char *stands(const struct chat *chat, const struct coach_meeting *meeting, struct arena *arena)
{
    bool begun = meeting->starts_us <= chat->at_us, ended = meeting->ends_us <= chat->at_us;
    int64_t minutes = (begun ? chat->at_us - meeting->ends_us : meeting->starts_us - chat->at_us) / 60000000;
    const char *unit = minutes < 120 ? "minutes" : minutes < 2880 ? "hours" : "days";
    int64_t count = minutes < 120 ? minutes : minutes < 2880 ? minutes / 60 : minutes / 1440;
    if (begun && !ended)
        return "under way";
    return begun ? arena_printf(arena, "ended %lld %s ago", (long long)count, unit)
                 : arena_printf(arena, "in %lld %s", (long long)count, unit);
}

static void write_meeting(struct buf *json, const struct chat *chat, const struct coach_meeting *meeting,
                          struct arena *arena)
{
    buf_add_char(json, '{');
    json_add_string(json, "title", meeting->title);
    json_add_string(json, "description", coach_clean(arena, meeting->description, DESCRIPTION_CHARACTERS_MAX));
    json_add_string(json, "client", meeting->client);
    json_add_string(json, "client_company", meeting->company);
    json_add_string(json, "starts", meeting->starts);
    json_add_string(json, "ends", meeting->ends);
    json_add_string(json, "stands", stands(chat, meeting, arena));
    json_add_bool(json, "outcome_noted", meeting->noted);
    json_name(json, "plan");
    if (!meeting->summary) {
        buf_add_string(json, "null}");
        return;
    }
    buf_add_char(json, '{');
    json_add_string(json, "summary", meeting->summary);
    json_name(json, "steps");
    for (size_t i = 0; i < COACH_STEPS; i++) {
        buf_add_char(json, i ? ',' : '[');
        json_write_string(json, meeting->steps[i]);
    }
    buf_add_string(json, "]}}");
}

static void write_messages(struct buf *json, const struct coach_message *messages, size_t count)
{
    json_name(json, "messages");
    buf_add_char(json, '[');
    for (size_t i = 0; i < count; i++) {
        json_separate(json);
        buf_add_char(json, '{');
        json_add_string(json, "from", messages[i].incoming ? "salesperson" : "coach");
        json_add_string(json, "text", messages[i].text);
        json_add_bool(json, "in_roleplay", messages[i].in_roleplay);
        buf_add_char(json, '}');
    }
    buf_add_char(json, ']');
}

struct told {
    const struct coach_meeting *meeting, *reminded;     /* NULL: none */
    const struct coach_known *known;
    const struct coach_message *messages;
    size_t count;
    bool leaves;
};

static const char *content_of(const struct chat *chat, const struct told *told, struct arena *arena)
{
    struct buf json;
    buf_init(&json, CONTENT_BYTES_MAX);
    buf_add_char(&json, '{');
    json_add_string(&json, "now", chat->now);
    json_add_string(&json, "time_zone", chat->time_zone);
    json_add_string(&json, "salesperson", chat->name);
    json_add_string(&json, "company", chat->company);
    json_add_string(&json, "mode", coach_modes[chat->mode]);
    json_add_bool(&json, "leaves_roleplay", told->leaves);
    json_add_bool(&json, "plan_waiting", told->meeting && told->meeting->plan_announced);
    json_add_string(&json, "language", chat->language);
    json_name(&json, "meeting");
    if (told->meeting)
        write_meeting(&json, chat, told->meeting, arena);
    else
        buf_add_string(&json, "null");
    json_name(&json, "reminded");
    if (told->reminded)
        write_meeting(&json, chat, told->reminded, arena);
    else
        buf_add_string(&json, "null");
    json_name(&json, "known_of_client");
    coach_known_write(&json, told->known);
    write_messages(&json, told->messages, told->count);
    json_add_string(&json, "message", chat->text);
    buf_add_char(&json, '}');
    const char *content = arena_copy_text(arena, buf_text(&json));
    buf_done(&json);
    return content;
}

/* --- what it says ------------------------------------------------------------------------------------------------- */

static bool check_answer(struct text json, struct arena *arena, void *ret, struct problem *why)
{
    struct chat_answer *answer = ret;
    if (!chat_answer_read(json, arena, answer, why))
        return false;
    answer->text = answer->text ? coach_style(arena, answer->text, COACH_ANSWER_CHARACTERS_MAX) : "";
    if (strcmp(answer->act, "answer") == 0 && !*answer->text)
        return fail_at(why, "/text", "an answer must have a text");
    return true;
}

/* A tag as BCP 47 has it, else NULL. */
static const char *language_tag(const char *language)
{
    size_t letters = strspn(language, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    bool fine = (letters == 2 || letters == 3) && (language[letters] == '\0' || language[letters] == '-') &&
                strlen(language) <= LANGUAGE_BYTES_MAX &&
                language[strspn(language, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] == '\0';
    return fine ? language : NULL;
}

static size_t question_mark(const char *at)
{
    return *at == '?' ? 1 : strncmp(at, "؟", 2) == 0 ? 2 : strncmp(at, "？", 3) == 0 ? 3 : 0;
}

/* The message without its questions, which tell of nothing: "They signed! What now?" gives "They signed!" */
static const char *statements_of(const char *text, struct arena *arena)
{
    char *kept = arena_alloc(arena, strlen(text) + 1), *out = kept, *sentence_out = kept;
    for (const char *at = text; *at;) {
        size_t mark = question_mark(at);
        bool ends = strchr(".!\n", *at);
        if (mark > 0) {
            out = sentence_out;
            at += mark;
            continue;
        }
        *out++ = *at == '\n' ? ' ' : *at;
        at++;
        sentence_out = ends ? out : sentence_out;
    }
    *out = '\0';
    return kept;
}

/* Does the answer say, in words of the message, how the reminded meeting went? */
static bool is_told(const struct chat *chat, const struct told *told, const struct chat_answer *answer,
                    struct arena *arena)
{
    const char *statements = statements_of(chat->text, arena);
    return told->reminded && chat->mode == COACH_ADVICE && !told->leaves && strcmp(answer->mode, "advice") == 0
           && answer->quote && evidence_holds(evidence_prepare(statements, arena), answer->quote, arena);
}

/* In the person's words, whatever the model made of them. */
static const char *outcome_of(const struct chat *chat, const struct chat_answer *answer, struct arena *arena)
{
    char *whole = arena_copy(arena, chat->text);
    for (char *at = strchr(whole, '\n'); at; at = strchr(at, '\n'))
        *at = ' ';
    bool theirs = answer->outcome && evidence_holds(evidence_prepare(whole, arena), answer->outcome, arena);
    return coach_clean(arena, theirs ? answer->outcome : chat->text, COACH_MESSAGE_CHARACTERS_MAX);
}

static void take(struct work *work, const struct chat *chat, const struct told *told, const struct chat_answer *answer,
                 struct chat_reply *reply)
{
    struct arena *arena = work_arena(work);
    const char *language = language_tag(answer->language);
    bool has_plan = told->meeting && told->meeting->summary;
    reply->language = language ? arena_copy(arena, language) : reply->language;
    reply->meeting = told->meeting;
    reply->mode = strcmp(answer->mode, "roleplay") == 0 && !told->leaves ? COACH_ROLEPLAY : COACH_ADVICE;
    reply->act = "answer";
    if (strcmp(answer->act, "complete") == 0 && is_told(chat, told, answer, arena)) {
        reply->act = "complete";
        reply->meeting = told->reminded;
        reply->outcome = outcome_of(chat, answer, arena);
        reply->quote = coach_clean(arena, answer->quote, COACH_QUOTE_CHARACTERS_MAX);
    } else if (strcmp(answer->act, "plan") == 0 && has_plan) {
        reply->act = "plan";
    } else if (*answer->text && strcmp(answer->act, "complete") != 0) {
        reply->text = answer->text;
    } else {
        bool asks_for_plan = strcmp(answer->act, "plan") == 0;
        reply->text = sentence(arena, reply->language,
                               !asks_for_plan  ? SAY_TELL_OUTCOME
                               : told->meeting ? SAY_NO_PLAN
                                               : SAY_NO_MEETING,
                               told->meeting);
    }
}

enum outcome coach_ask(struct work *work, const struct chat *chat, const struct meeting_choice *current, bool leaves,
                       struct chat_reply *reply)
{
    struct arena *arena = work_arena(work);
    const struct meeting_choice over = meeting_choose(chat, TO_COMPLETE, arena);
    struct coach_message *messages = arena_alloc(arena, COACH_MESSAGES_MAX * sizeof(*messages));
    struct coach_known known = { .count = 0 };
    struct chat_answer said;
    struct answer answer;
    struct told told = {
        .meeting = current->count > 0 ? current->of[0] : NULL,
        .reminded = over.count > 0 && over.of[0]->awaiting ? over.of[0] : NULL,
        .known = &known, .messages = messages, .leaves = leaves,
    };
    TRY(coach_messages(work, chat, messages, &told.count));
    if (told.meeting)
        TRY(coach_known(work, chat->tenant, told.meeting->client_id, told.meeting->meeting_id, &known));
    const struct llm_request request = {
        .instructions = chat_answer_prompt,
        .content = content_of(chat, &told, arena),
        .schema_name = "chat_answer",
        .schema = chat_answer_schema,
    };
    TRY(llm_ask(work, "chat", &request, check_answer, &said, &answer));
    reply->provider = answer.provider;
    reply->model = answer.model;
    reply->prompt_version = chat_answer_prompt_version;
    take(work, chat, &told, &said, reply);
    return DONE;
}
