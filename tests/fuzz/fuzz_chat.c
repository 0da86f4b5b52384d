/* What the coach reads from others: a model's plan or answer, and what salespeople and invitations write, which hold any
 * words in any script. */
#include "tests/fuzz/fuzz.h"
#include "tests/fuzz/fuzz_handler.h"

#include "analyze/coach.h"
#include "common/json.h"
#include "tests/coach_columns.h"

#define ARENA_BYTES_MAX ((size_t)96 << 20)
#define FUZZ_MEETING "11111111-1111-4111-8111-111111111111"

static struct analyze context = { .gemini_model = "gemini", .openai_model = "gpt", .llm_timeout_ms = 1000 };

/* --- the coach's rows: one meeting, over and asked about, whose invitation says what it is given ------------------ */

static const char *invitation = "";

static bool coach_query(const struct statement *statement, struct arena *arena, struct rows *ret)
{
    static const char *const plan_names[] = { FIND_MEETING_COLUMNS };
    static const char *const chat_names[] = { FIND_CHAT_COLUMNS };
    static const char *const chat_values[] = { "Ana", "Acme", "UTC", "f",  "2026-11-21 14:30",      "advice",
                                               "de",  NULL,   NULL,  NULL, "2026-11-21 09:00:00+00" };
    static const char *const meeting_names[] = { FIND_CHAT_MEETINGS_COLUMNS };
    static const char *const known_names[] = { FIND_KNOWN_COLUMNS };
    static const char *const message_names[] = { FIND_MESSAGES_COLUMNS };
    const char *const plan_values[] = {
        "acme", FUZZ_MEETING, FUZZ_MEETING, invitation, invitation, "1", "1", "scheduled", "a@b.c",
        "+12025550101", "f", invitation, "Globex", "2026-11-22 10:00", "2026-11-22 11:00", "60", invitation,
        "Ana", "Acme", "UTC", NULL, NULL
    };
    const char *const meeting_values[] = {
        FUZZ_MEETING, FUZZ_MEETING, invitation, invitation, "Jane Doe", invitation, "1700000000000000",
        "1700000001000000", "2026-11-21 10:00", "2026-11-21 11:00", "2026-11-21", "It is due.",
        "[\"one\",\"two\",\"three\"]", "f", "f", "t", "1700000001000000"
    };
    const char *const known_values[] = { "2026-10-01", invitation, invitation };
    const char *const message_values[] = { "incoming", invitation, "t" };
    const struct {
        const char *name;
        struct rows rows;
        size_t bytes;
    } all[] = {
        { "find_meeting", { 1, LENGTH(plan_names), plan_values, plan_names }, sizeof(plan_values) },
        { "find_chat", { 1, LENGTH(chat_names), chat_values, chat_names }, sizeof(chat_values) },
        { "find_chat_meetings", { 1, LENGTH(meeting_names), meeting_values, meeting_names }, sizeof(meeting_values) },
        { "find_known", { 1, LENGTH(known_names), known_values, known_names }, sizeof(known_values) },
        { "find_messages", { 1, LENGTH(message_names), message_values, message_names }, sizeof(message_values) },
    };
    for (size_t i = 0; i < LENGTH(all); i++)
        if (strcmp(statement->name, all[i].name) == 0) {
            *ret = all[i].rows;
            ret->values = memcpy(arena_alloc(arena, all[i].bytes), all[i].rows.values, all[i].bytes);
            return true;
        }
    return false;
}

static enum outcome answer_query(void *unused, const struct statement *statement, struct params params,
                                 struct arena *arena, struct rows *ret)
{
    (void)unused, (void)params;
    if (!coach_query(statement, arena, ret))
        *ret = (struct rows){ .count = 0 };
    return DONE;
}

/* The event that is described last has a line of its own; what stands before it may be anybody's words. */
static bool is_readable(struct text effects)
{
    size_t end = effects.bytes > 0 ? effects.bytes - 1 : 0;
    const char *line = end > 0 ? memrchr(effects.at, '\n', end) : NULL;
    line = line ? line + 1 : effects.at;
    return !text_starts((struct text){ line, (size_t)(effects.at + effects.bytes - line) }, "event unreadable ");
}

static void try_event(stage_handler *handle, const struct event_type *type, const char *data)
{
    static const struct stage stage = { .name = "analyze", .context = &context };
    static const struct work_probe probe = { .query = answer_query, .ask = give_answer };
    const struct event event = { .subject = "a@b.c", .tenant = "acme", .data = text_of(data) };
    struct buf effects;

    if (try_handler(&stage, &probe, handle, type, event, &effects))
        require(!effects.overflowed && text_is_utf8(buf_text(&effects)) && is_readable(buf_text(&effects)));
    buf_done(&effects);
}

/* --- the coach ---------------------------------------------------------------------------------------------------- */

#define MEETING_DATA                                                                                                   \
    "{\"meeting_id\":\"" FUZZ_MEETING                                                                                  \
    "\",\"change\":\"scheduled\",\"salesperson\":\"a@b.c\",\"known\":true,\"revision\":1,"                             \
    "\"plan_version\":1}"

static void try_chat(const char *words, struct arena *arena)
{
    struct buf data;
    buf_init(&data, EVENT_BYTES_MAX);
    buf_add_string(
        &data,
        "{\"message_id\":\"SM1\",\"from\":\"+12025550101\",\"salesperson\":\"a@b.c\",\"kind\":\"text\",\"text\":");
    json_write_string(&data, coach_clean(arena, words, COACH_MESSAGE_CHARACTERS_MAX));
    buf_add_char(&data, '}');
    try_event(answer_chat, &EVENT_CHAT_RECEIVED, buf_text(&data).at);
    buf_done(&data);
}

/* A plan or an answer of a model, to an invitation and a message as they usually are. */
static void try_coach(struct text json, struct arena *arena)
{
    if (!text_is_utf8(json))
        return;
    answer_body = json;
    context.llm_provider = LLM_GEMINI;
    invitation = "Demo of the reports. Can it talk to our CRM?";
    try_event(plan_meeting, &EVENT_MEETING_CHANGED, MEETING_DATA);
    try_chat("It went well, they signed for 3 years. What now?", arena);
}

static size_t characters_of(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += (*text & 0xC0) != 0x80;
    return count;
}

/* Words that anybody wrote: in an invitation, and in a message. */
static void try_words(const char *words, struct arena *arena)
{
    const char *clean = coach_clean(arena, words, 100), *styled = coach_style(arena, words, 100);
    require(text_is_utf8(text_of(clean)) && characters_of(clean) <= 100 && !strpbrk(clean, "\x01\x1b\x7f\r"));
    require(text_is_utf8(text_of(styled)) && characters_of(styled) <= 100 && !strstr(styled, "```"));
    require(strcmp(coach_clean(arena, clean, 100), clean) == 0);
    answer_body = TEXT(
        "{\"act\":\"answer\",\"text\":\"x\",\"outcome\":null,\"quote\":null,\"language\":\"en\",\"mode\":\"advice\"}");
    invitation = words;
    for (context.llm_provider = LLM_GEMINI; context.llm_provider <= LLM_RULES;
         context.llm_provider += LLM_RULES - LLM_GEMINI) {
        try_chat(words, arena);
        try_chat("roleplay", arena);
    }
    context.llm_provider = LLM_RULES;
    try_event(plan_meeting, &EVENT_MEETING_CHANGED, MEETING_DATA);
}

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    struct problem why;
    (void)count, (void)arguments;
    require(crypto_init(&why));
    return 0;
}

/* The first byte chooses what the rest is. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    if (size > 0) {
        struct text rest = { (const char *)data + 1, size - 1 };
        if (data[0] == 'c')
            try_coach(rest, arena);
        else
            try_words(arena_copy_text(arena, rest), arena);
    }
    arena_free(arena);
    return 0;
}
