/* What a salesperson writes, by what becomes of it: commands, and a model's answers. */
#include "tests/unit/coach_fixture.h"

#include "common/json.h"

#define GLOBEX "22222222-2222-4222-8222-222222222222"
#define MEETING_COLUMNS 17

/* --- a chat ------------------------------------------------------------------------------------------------------- */

enum { CHAT_STOPPED = 3, CHAT_MODE = 5, CHAT_LANGUAGE, CHAT_MEETING, CHAT_WAITING, CHAT_CHOICES, CHAT_TIME };
static struct query_rows chat_rows[5];
static struct query_rows *const chat = &chat_rows[0], *const meetings = &chat_rows[1];

static const struct query_rows usual_chat_rows[] = {
    { "find_chat",
      { FIND_CHAT_COLUMNS },
      { "Ana Silva", "Acme", "UTC", "f", "2026-11-21 14:30, Saturday" },
      1 },
    { "find_chat_meetings",
      { FIND_CHAT_MEETINGS_COLUMNS },
      { NULL },
      0 },
    { "find_known", { FIND_KNOWN_COLUMNS }, { "2026-10-01", "Intro", "they want a quote" }, 1 },
    { "find_messages",
      { FIND_MESSAGES_COLUMNS },
      { "outgoing", "Here is the plan", "f", "incoming", "hello", "f" },
      2 },
    { 0 },
};

struct has {
    const char *id, *title, *client, *company;
    int begins, ends;                   /* minutes from now */
    bool planned, announced, noted, awaiting;
};

static const char *minutes_us(int minutes)
{
    int64_t now;
    assert_true(time_read(TEXT(EVENT_TIME), &now));
    return arena_printf(arena, "%lld", (long long)(now + (int64_t)minutes * 60000000));
}

static void there_is(const struct has *has)
{
    const char *const values[MEETING_COLUMNS] = { has->id,
                                                  CLIENT,
                                                  has->title,
                                                  "About the API.",
                                                  has->client,
                                                  has->company,
                                                  minutes_us(has->begins),
                                                  minutes_us(has->ends),
                                                  has->begins > 900 ? "2026-11-22 10:00" : "2026-11-21 10:00",
                                                  "2026-11-22 11:00",
                                                  "2026-11-21",
                                                  has->planned ? "They wait for it." : NULL,
                                                  has->planned ? "[\"one\",\"two the price\",\"three\"]" : NULL,
                                                  has->announced ? "t" : "f",
                                                  has->noted ? "t" : "f",
                                                  has->awaiting ? "t" : "f",
                                                  minutes_us(has->ends) };
    assert_true(meetings->rows < ROWS_MAX - 1);
    memcpy(meetings->values + meetings->rows++ * MEETING_COLUMNS, values, sizeof(values));
}
#define THERE_IS(...) there_is(&(struct has){ __VA_ARGS__ })
#define TOMORROW .id = ACME, .title = "Demo", .client = "Jane Doe", .company = "Globex", .begins = 1170, .ends = 1230
#define NOW .id = GLOBEX, .title = "Renewal", .client = "Bob Ray", .company = "Initech", .begins = -10, .ends = 20
#define OVER .id = GLOBEX, .title = "Renewal", .client = "Bob Ray", .company = "Initech", .begins = -61, .ends = -1

static enum outcome writes_kind(const char *kind, const char *text, const char *salesperson)
{
    struct buf data;
    buf_init(&data, 65536);
    buf_printf(&data, "{\"message_id\":\"SM1\",\"from\":\"" PHONE "\",\"salesperson\":");
    json_write_string(&data, salesperson);
    buf_printf(&data, ",\"kind\":\"%s\",\"text\":", kind);
    json_write_string(&data, text);
    buf_add_string(&data, "}");
    enum outcome outcome =
        try_event(&stage, answer_chat,
                  &(struct event){ .type = "chat.received", .subject = salesperson ? salesperson : PHONE,
                                   .tenant = salesperson ? "acme" : NULL, .data = buf_text(&data) },
                  chat_rows, give_answer);
    buf_done(&data);
    return outcome;
}

static void writes(const char *text)
{
    asked = 0;
    expect(writes_kind("text", text, EMAIL), DONE);
}

/* The event's data, without what every one has. */
static void expect_reply(const char *act, const char *meeting_id, const char *more)
{
    expect_text(effects.at, arena_printf(arena,
                                         "event chat.answered " EMAIL " {\"message_id\":\"SM1\",\"from\":\"" PHONE
                                         "\",\"salesperson\":\"" EMAIL "\",\"act\":\"%s\"",
                                         act));
    if (meeting_id)
        expect_text(effects.at, arena_printf(arena, "\"meeting_id\":\"%s\"", meeting_id));
    else
        expect_no_text(effects.at, "\"meeting_id\"");
    expect_text(effects.at, more);
    expect_text(effects.at, arena_printf(arena, "row upsert_answer acme|SM1|" EMAIL "|%s|%s|", act,
                                         meeting_id ? meeting_id : "NULL"));
}

static void commands_need_no_model(void **state)
{
    THERE_IS(NOW, .planned = true);
    THERE_IS(TOMORROW);
    model_says(NULL, NULL);
    writes("Plan please!");
    expect_reply("plan", GLOBEX, "\"language\":\"en\"");
    writes("next");
    expect_reply(
        "answer", GLOBEX,
        "Under way: Renewal (Bob Ray, Initech), since 10:00.\\nNext: Demo (Jane Doe, Globex), 2026-11-22 10:00.");
    writes("NÄCHSTER TERMIN");
    expect_reply("answer", GLOBEX, "Als Nächstes: Demo (Jane Doe, Globex)");
    expect_text(effects.at, "\"language\":\"de\"");
    writes("Help");
    expect_reply("answer", NULL, "*undo*");
    writes("STOP");
    expect_reply("stop", NULL, "\"language\":\"en\"");
    writes("unsubscribe");
    expect_reply("stop", NULL, "");
    writes("start");
    expect_reply("start", NULL, "");
    assert_int_equal(asked, 0);
    (void)state;
}

static void done_in_any_case_with_any_words(void **state)
{
    static const struct {
        const char *text, *outcome, *language;
    } cases[] = {
        { "Done", NULL, "en" },
        { "DONE!!", NULL, "en" },
        { "done - They signed for 3 years, and the price is 40.", "They signed for 3 years, and the price is 40.",
          "en" },
        { "Done? they signed", "? they signed", "en" },
        { "*done*: sie haben nicht unterschrieben, und wir sehen uns wieder",
          "sie haben nicht unterschrieben, und wir sehen uns wieder", "de" },
        { "erledigt, sie kaufen", "sie kaufen", "de" },
        { "Hecho: firmaron", "firmaron", "es" },
        { "C'est fait, ils signent", "ils signent", "fr" },
        { "Concluído. assinaram", "assinaram", "pt" },
        { "Fatto: hanno firmato", "hanno firmato", "it" },
        { "TAMAMLANDI", NULL, NULL }, /* a dotless I: its lower case is another letter */
        { "bitti, imzaladılar", "imzaladılar", "tr" },
        { "تم، وقعوا العقد", "وقعوا العقد", "ar" },
        { "हो गया, उन्होंने हस्ताक्षर किए", "उन्होंने हस्ताक्षर किए", "hi" },
    };
    THERE_IS(NOW);
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].text);
        model_says("{\"act\":\"answer\",\"text\":\"hm\",\"outcome\":null,\"quote\":null,\"language\":\"en\",\"mode\":"
                   "\"advice\"}",
                   NULL);
        writes(cases[i].text);
        if (!cases[i].language)
            continue;
        assert_int_equal(asked, 0);
        expect_reply("complete", GLOBEX, arena_printf(arena, "\"language\":\"%s\"", cases[i].language));
        if (cases[i].outcome)
            expect_text(effects.at, arena_printf(arena, "\"outcome\":\"%s\"", cases[i].outcome));
        else
            expect_no_text(effects.at, "\"outcome\"");
        expect_text(effects.at, "\"quote\":\"");
    }
    (void)state;
}

static void done_where_there_is_nothing_to_complete(void **state)
{
    model_says(NULL, NULL);
    writes("done");
    expect_reply("answer", NULL, "There is no meeting to complete.");
    THERE_IS(TOMORROW);
    writes("done, they signed");
    expect_reply("answer", ACME, "Demo (Jane Doe, Globex) has not begun: it starts 2026-11-22 10:00.");
    THERE_IS(OVER, .noted = true);
    writes("done");
    expect_reply("answer", GLOBEX, "Renewal (Bob Ray, Initech) is noted already.");
    writes("done with Jane");
    expect_reply("answer", ACME, "has not begun");
    (void)state;
}

/* The one that was asked about comes before the one that is under way; a name before both. */
static void done_means_the_meeting_that_was_asked_about(void **state)
{
    model_says(NULL, NULL);
    THERE_IS(.id = ACME, .title = "Demo", .client = "Jane Doe", .company = "Globex", .begins = -5, .ends = 30);
    THERE_IS(OVER, .awaiting = true);
    writes("done they signed");
    expect_reply("complete", GLOBEX, "\"outcome\":\"they signed\"");
    writes("done Globex signed");
    expect_reply("complete", ACME, "\"outcome\":\"Globex signed\"");
    (void)state;
}

static void two_at_once_are_asked_about(void **state)
{
    THERE_IS(OVER, .awaiting = true);
    THERE_IS(.id = ACME, .title = "Demo", .client = "Jane Doe", .company = "Globex", .begins = -50, .ends = -1,
             .awaiting = true);
    model_says(NULL, NULL);
    writes("done they signed");
    expect_reply("answer", NULL,
                 "Which meeting do you mean? Reply with its number.\\n1. Renewal (Bob Ray, Initech), 10:00\\n"
                 "2. Demo (Jane Doe, Globex), 10:00");
    expect_text(effects.at, "|done they signed|{\"" GLOBEX "\",\"" ACME "\"}|");
    chat->values[CHAT_WAITING] = "done they signed";
    chat->values[CHAT_CHOICES] = GLOBEX "," ACME;
    static const char *const picks[] = { "2", "2.", "Globex", "the demo", "with Jane" };
    for (size_t i = 0; i < LENGTH(picks); i++) {
        writes(picks[i]);
        expect_reply("complete", ACME, "\"outcome\":\"they signed\"");
    }
    writes("1");
    expect_reply("complete", GLOBEX, "\"outcome\":\"they signed\"");
    writes("help");
    expect_reply("answer", NULL, "*undo*");
    expect_text(effects.at, "|NULL|NULL|NULL|NULL|NULL|" EVENT_TIME);
    writes("done with Jane: a quote");
    expect_reply("complete", ACME, "\"outcome\":\"");
    (void)state;
}

static void notes_are_mended(void **state)
{
    model_says(NULL, NULL);
    writes("undo");
    expect_reply("answer", NULL, "Nothing was noted lately");
    THERE_IS(OVER, .noted = true);
    writes("Change: they want 3 licences, not 2");
    expect_reply("amend", GLOBEX, "\"outcome\":\"they want 3 licences, not 2\"");
    writes("change");
    expect_reply("answer", GLOBEX, "Write *change* and then");
    writes("UNDO");
    expect_reply("undo", GLOBEX, "\"language\":\"en\"");
    meetings->values[16] = minutes_us(-8 * 24 * 60);    /* noted_us */
    writes("undo");
    expect_reply("answer", NULL, "Nothing was noted lately");
    (void)state;
}

static void what_is_no_text(void **state)
{
    model_says(NULL, NULL);
    chat->values[CHAT_LANGUAGE] = "de";
    expect(writes_kind("media", NULL, EMAIL), DONE);
    expect_reply("answer", NULL, "Danke! Ich kann Text lesen");
    expect(writes_kind("voice", NULL, EMAIL), DONE);
    assert_string_equal(effects.at, "skip its words come as chat.transcribed\n");
    expect(writes_kind("media", "help", EMAIL), DONE);
    expect_reply("answer", NULL, "*undo*");
    expect(try_event(&stage, answer_voice,
                     &(struct event){ .type = "chat.transcribed",
                                      .subject = EMAIL,
                                      .tenant = "acme",
                                      .data = TEXT("{\"message_id\":\"SM1\",\"from\":\"" PHONE
                                                   "\",\"salesperson\":\"" EMAIL "\",\"text\":\"\"}") },
                     chat_rows, give_answer),
           DONE);
    expect_reply("answer", NULL, "In deiner Sprachnachricht waren keine Worte zu verstehen.");
    expect(writes_kind("text", " \xE2\x80\xAE ", EMAIL), DONE);
    expect_reply("answer", NULL, "*undo*");
    (void)state;
}

static void strangers_get_the_link(void **state)
{
    model_says(NULL, NULL);
    expect(writes_kind("text", "hello", NULL), DONE);
    assert_string_equal(effects.at, "event chat.answered " PHONE " {\"message_id\":\"SM1\",\"from\":\"" PHONE
                                    "\",\"act\":\"link\"}\n");
    assert_null(queries.at && queries.bytes ? queries.at : NULL);
    chat->rows = 0;
    writes("hello");
    assert_string_equal(effects.at, "skip nobody is registered with that address any more\n");
    (void)state;
}

static void who_wants_no_messages_is_not_answered(void **state)
{
    THERE_IS(OVER, .awaiting = true);
    chat->values[CHAT_STOPPED] = "t";
    model_says(NULL, NULL);
    writes("what about the price");
    assert_string_equal(effects.at, "skip the person wants no messages, and this is no command\n");
    writes("done");
    expect_reply("complete", GLOBEX, "");
    writes("START");
    expect_reply("start", NULL, "");
    (void)state;
}

static void a_waiting_plan_needs_only_a_word(void **state)
{
    static const char *const words[] = { "ok", "Yes please", "👍", "Ja gerne", "نعم", "thanks!" };
    THERE_IS(TOMORROW, .planned = true, .announced = true);
    for (size_t i = 0; i < LENGTH(words); i++) {
        model_says(NULL, NULL);
        writes(words[i]);
        expect_reply("plan", ACME, "");
    }
    model_says(
        "{\"act\":\"plan\",\"text\":null,\"outcome\":null,\"quote\":null,\"language\":\"en\",\"mode\":\"advice\"}",
        NULL);
    writes("let me see it then");
    expect_reply("plan", ACME, "\"provider\":\"gemini\",\"model\":\"test\"}");
    expect_text(prompts.at, "\"plan_waiting\":true");
    (void)state;
}

/* --- what a model's answer becomes -------------------------------------------------------------------------------- */

#define SAYS(act, text, outcome, quote, mode)                                                                          \
    "{\"act\":\"" act "\",\"text\":" text ",\"outcome\":" outcome ",\"quote\":" quote                                  \
    ",\"language\":\"de-AT\",\"mode\":\"" mode "\"}"

static void a_models_answer(void **state)
{
    THERE_IS(TOMORROW, .planned = true);
    model_says(
        SAYS("answer", "\"## Preis\\n**Ruhig** bleiben.\\n|a|b|\\n|---|---|\\n|1|2|\"", "null", "null", "advice"),
        NULL);
    writes("Was sage ich zum Preis?");
    expect_reply("answer", ACME, "\"text\":\"Preis\\n*Ruhig* bleiben.\\na, b\\n1, 2\"");
    expect_text(effects.at, "\"language\":\"de-AT\",\"provider\":\"gemini\",\"model\":\"test\"");
    expect_text(effects.at, "|advice|de-AT|NULL|NULL|gemini|test|chat_answer.v1|" EVENT_TIME "|0\n");
    expect_text(queries.at, "find_messages acme|" EMAIL "|" EVENT_TIME "|SM1\nfind_known acme|" CLIENT "|" ACME "\n");
    expect_text(prompts.at, "\"mode\":\"advice\",\"leaves_roleplay\":false,\"plan_waiting\":false");
    expect_text(prompts.at, "\"stands\":\"in 19 hours\"");
    expect_text(prompts.at, "\"reminded\":null");
    expect_text(prompts.at, "\"messages\":[{\"from\":\"salesperson\",\"text\":\"hello\",\"in_roleplay\":false},"
                            "{\"from\":\"coach\",\"text\":\"Here is the plan\",\"in_roleplay\":false}],"
                            "\"message\":\"Was sage ich zum Preis?\"}");
    (void)state;
}

/* Only after the reminder, in words of the message that are no question, and never in a roleplay. */
static void a_meeting_is_completed_by_what_was_said(void **state)
{
    static const struct {
        const char *name, *text, *answer;
        const char *outcome;            /* NULL: it is not completed */
        bool reminded, plays;
    } cases[] = {
        { "told", "Great news! They signed, 3 years.",
          SAYS("complete", "null", "\"They signed, 3 years\"", "\"they signed\"", "advice"), "They signed, 3 years",
          true, false },
        { "in the model's words", "They signed.",
          SAYS("complete", "null", "\"A contract was concluded\"", "\"They signed\"", "advice"), "They signed.", true,
          false },
        { "no outcome", "They signed.", SAYS("complete", "null", "null", "\"They signed\"", "advice"), "They signed.",
          true, false },
        { "and a question", "They signed. What now?",
          SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), "They signed", true, false },
        { "nobody said so", "Hm, well.", SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), NULL,
          true, false },
        { "no quote", "They signed.", SAYS("complete", "null", "\"They signed\"", "null", "advice"), NULL, true,
          false },
        { "a question", "They signed, didn't they?",
          SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), NULL, true, false },
        { "before the reminder", "They signed.",
          SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), NULL, false, false },
        { "in a roleplay", "We signed others.",
          SAYS("complete", "null", "\"We signed others\"", "\"We signed others\"", "advice"), NULL, true, true },
        { "the model plays", "They signed.", SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "roleplay"),
          NULL, true, false },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        memcpy(chat_rows, usual_chat_rows, sizeof(usual_chat_rows));
        THERE_IS(OVER, .awaiting = cases[i].reminded);
        if (cases[i].plays) {
            chat->values[CHAT_MODE] = "roleplay";
            chat->values[CHAT_TIME] = EVENT_TIME;
        }
        model_says(cases[i].answer, NULL);
        writes(cases[i].text);
        if (cases[i].outcome) {
            expect_reply("complete", GLOBEX, arena_printf(arena, "\"outcome\":\"%s\",\"quote\":\"", cases[i].outcome));
        } else {
            expect_reply("answer", GLOBEX, "\"text\":\"Wenn der Termin vorbei ist, schreib *done*");
            expect_no_text(effects.at, "\"quote\"");
        }
    }
    (void)state;
}

static void two_that_were_asked_about(void **state)
{
    THERE_IS(OVER, .awaiting = true);
    THERE_IS(.id = ACME, .title = "Demo", .client = "Jane Doe", .company = "Globex", .begins = -50, .ends = -1,
             .awaiting = true);
    model_says(SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), NULL);
    writes("They signed.");
    expect_reply("answer", NULL, "\\n1. Renewal");
    expect_text(effects.at, "|They signed.|{");
    chat->values[CHAT_WAITING] = "They signed.";
    chat->values[CHAT_CHOICES] = GLOBEX "," ACME;
    writes("2");
    expect_reply("complete", ACME, "\"outcome\":\"They signed\"");
    (void)state;
}

static void a_roleplay_lasts_until_it_is_left(void **state)
{
    static const char *const leaving[] = { "stop roleplay",       "Exit", "feedback please", "STOP", "done",
                                           "Rollenspiel beenden", "salir" };
    THERE_IS(TOMORROW, .planned = true);
    model_says(SAYS("answer", "\"Zu teuer.\"", "null", "null", "roleplay"), NULL);
    writes("Spiel den Kunden");
    expect_reply("answer", ACME, "\"text\":\"Zu teuer.\"");
    expect_text(effects.at, "|roleplay|de-AT|");
    chat->values[CHAT_MODE] = "roleplay";
    chat->values[CHAT_TIME] = "2026-11-21T14:29:00Z";
    writes("Warum?");
    expect_text(prompts.at, "\"mode\":\"roleplay\",\"leaves_roleplay\":false");
    expect_text(effects.at, "|roleplay|de-AT|");
    for (size_t i = 0; i < LENGTH(leaving); i++) {
        print_message("%s\n", leaving[i]);
        model_says(SAYS("answer", "\"Gut gefragt.\"", "null", "null", "roleplay"), NULL);
        writes(leaving[i]);
        expect_reply("answer", ACME, "\"text\":\"Gut gefragt.");
        expect_text(effects.at, "|advice|de-AT|");
        expect_text(prompts.at, "\"leaves_roleplay\":true");
    }
    model_says(SAYS("answer", "\"Gut gefragt.\"", "null", "null", "advice"), NULL);
    writes("stop");
    expect_text(effects.at, "Gut gefragt.\\n\\nDas Rollenspiel ist beendet. Wenn du keine Nachrichten mehr willst");
    writes("unsubscribe");
    expect_reply("stop", NULL, "");
    (void)state;
}

/* A reminder asks how it went: what is written then is no part of the play. */
static void a_reminder_ends_a_roleplay(void **state)
{
    THERE_IS(OVER, .awaiting = true);
    chat->values[CHAT_MODE] = "roleplay";
    chat->values[CHAT_TIME] = "2026-11-21T09:00:00Z";
    model_says(SAYS("complete", "null", "\"They signed\"", "\"They signed\"", "advice"), NULL);
    writes("They signed.");
    expect_reply("complete", GLOBEX, "");
    expect_text(prompts.at, "\"mode\":\"advice\"");
    (void)state;
}

static void answers_are_held_to_their_schema(void **state)
{
    static const char *const bad[] = { SAYS("answer", "null", "null", "null", "advice"),
                                       SAYS("answer", "\" \\n\"", "null", "null", "advice"),
                                       SAYS("sell", "\"x\"", "null", "null", "advice"), "{}", "no" };
    THERE_IS(TOMORROW);
    for (size_t i = 0; i < LENGTH(bad); i++) {
        model_says(bad[i], bad[i]);
        expect(writes_kind("text", "hm", EMAIL), REJECT);
        expect_text(why.text, "the model's answer was refused twice");
    }
    char *long_text = arena_alloc(arena, 12001);
    for (size_t i = 0; i < 12000; i++)
        long_text[i] = i % 6 == 5 ? ' ' : 'x';
    model_says(arena_printf(arena, SAYS("answer", "\"%s\"", "null", "null", "advice"), long_text), NULL);
    writes("hm");
    const char *text = strstr(effects.at, "\"text\":\"");
    assert_in_range(strchr(text + 8, '"') - text - 8, 2900, 3002);      /* the ellipsis has three bytes */
    expect_text(effects.at, "x…\"");
    (void)state;
}

/* With two at once the conversation goes on about the one it was about; a name changes that. */
static void the_current_meeting(void **state)
{
    THERE_IS(NOW);
    THERE_IS(.id = ACME, .title = "Demo", .client = "Jane Doe", .company = "Globex", .begins = -5, .ends = 30);
    model_says(SAYS("answer", "\"x\"", "null", "null", "advice"), NULL);
    writes("what do I say?");
    expect_reply("answer", NULL, "Which meeting do you mean?");
    writes("what do I say to Bob?");
    expect_reply("answer", GLOBEX, "\"text\":\"x\"");
    chat->values[CHAT_MEETING] = ACME;
    writes("what do I say?");
    expect_reply("answer", ACME, "\"text\":\"x\"");
    writes("and at the renewal?");
    expect_reply("answer", GLOBEX, "\"text\":\"x\"");
    (void)state;
}

static void without_a_meeting_the_model_still_answers(void **state)
{
    model_says(SAYS("answer", "\"Frag nach.\"", "null", "null", "advice"), NULL);
    writes("what do I say?");
    expect_reply("answer", NULL, "Frag nach.");
    expect_text(prompts.at, "\"meeting\":null,\"reminded\":null,\"known_of_client\":[]");
    (void)state;
}

static void without_a_model(void **state)
{
    analyze.llm_provider = LLM_RULES;
    THERE_IS(TOMORROW, .planned = true);
    writes("what about the price?");
    expect_reply("answer", ACME,
                 "\"text\":\"No language model is configured, so here is what the plan of Demo (Jane Doe, Globex) says "
                 "to this:\\n"
                 "two the price\"");
    expect_text(effects.at, "\"provider\":\"rules\",\"model\":\"rules\"");
    writes("roleplay please: the price");
    expect_text(effects.at, "|roleplay|");
    expect_text(effects.at, "(I play Jane Doe; \\\"exit\\\" ends it.)");
    (void)state;
}

static int start(void **state)
{
    memcpy(chat_rows, usual_chat_rows, sizeof(usual_chat_rows));
    return coach_start(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, coach_end)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(commands_need_no_model), TEST(done_in_any_case_with_any_words),
        TEST(done_where_there_is_nothing_to_complete), TEST(done_means_the_meeting_that_was_asked_about),
        TEST(two_at_once_are_asked_about), TEST(notes_are_mended), TEST(what_is_no_text),
        TEST(strangers_get_the_link), TEST(who_wants_no_messages_is_not_answered),
        TEST(a_waiting_plan_needs_only_a_word), TEST(a_models_answer), TEST(a_meeting_is_completed_by_what_was_said),
        TEST(two_that_were_asked_about), TEST(a_roleplay_lasts_until_it_is_left), TEST(a_reminder_ends_a_roleplay),
        TEST(answers_are_held_to_their_schema), TEST(the_current_meeting),
        TEST(without_a_meeting_the_model_still_answers), TEST(without_a_model),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
