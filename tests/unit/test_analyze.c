/* The analyze stage's handler by its effects: with rules, with recorded answers of a model, and with Gemini's and
 * OpenAI's wire format spoken by a server of our own. */
#include "analyze/analyze.h"

#include "tests/unit/provider_fixture.h"

#include "tests/unit/handler_fixture.h"

#include "common/json.h"
#include "common/tree.h"

static struct analyze analyze;
static const struct stage stage = { .name = "analyze", .context = &analyze };

#define TRANSCRIPT                                                                                                     \
    "agent: Thanks for calling Acme, how can I help?\n"                                                                \
    "customer: My water heater is leaking, I need someone.\n"                                                          \
    "agent: Robert can come Tuesday at ten.\n"                                                                         \
    "customer: That is too expensive, but okay.\n"                                                                     \
    "agent: You are booked for Tuesday at ten."
#define LEAD "11111111-1111-4111-8111-111111111111"

/* --- what it reads ------------------------------------------------------------------------------------------------ */

enum { STATUS = 2, TEXT_AT = 8, WORDS = 9, APPOINTMENT_ID = 14, SOP_STEPS = 15 };
static const struct query_rows usual_rows[] = {
    { "find_transcript",
      { "tenant", "lead_id", "status", "call_local", "weekday", "weekday_name", "time_zone", "company", "text",
        "words", "corrected_qualification", "corrected_booking", "corrected_category", "corrected_sentiment",
        "appointment_id", "sop_steps" },
      { "acme", LEAD, "completed", "2026-11-21T09:30", "6", "Saturday", "America/New_York", "Acme",
        TRANSCRIPT, "40", NULL, NULL, NULL, NULL, NULL, NULL },
      1 },
    { "read_time", { "at" }, { "2026-11-24 15:00:00+00" }, 1 },
    { "find_reps", { "user_id", "name" }, { "rep-ana", "Ana Silva", "rep-rob", "Robert Hill" }, 2 },
    { 0 },
};
static struct query_rows rows[LENGTH(usual_rows)];
static const char *event_data;

static enum outcome analyze_with(int provider, ask_answerer *answer_ask)
{
    analyze.llm_provider = provider;
    return try_event(
        &stage, analyze_call,
        &(struct event){ .type = "call.transcribed", .subject = "CAL1", .data = text_of(event_data), .run = 2 }, rows,
        answer_ask);
}

static enum outcome by_rules(const char *transcript)
{
    rows[0].values[TEXT_AT] = transcript;
    return analyze_with(LLM_RULES, NULL);
}

/* --- rules -------------------------------------------------------------------------------------------------------- */

static void a_booked_call(void **state)
{
    expect(by_rules(TRANSCRIPT), DONE);
    assert_string_equal(queries.at,
                        "find_transcript CAL1\nread_time 2026-11-24T10:00:00|America/New_York\nfind_reps acme\n");
    assert_string_equal(
        effects.at,
        "row upsert_analysis acme|CAL1|rules|rules|NULL|hot|booked|booked|-1|"
        "[{\"category\":\"price\",\"quote\":\"That is too expensive, but okay.\"}]|0.6666666666666666|"
        "[\"asks for the customer's name\",\"asks for the address or a phone number\"]|"
        "The customer said: \"My water heater is leaking, I need someone.\" An appointment was made."
        " The customer objected: \"That is too expensive, but okay.\"|"
        "[{\"field\":\"booking_status\",\"quote\":\"You are booked for Tuesday at ten.\"},"
        "{\"field\":\"lead_qualification\",\"quote\":\"My water heater is leaking, I need someone.\"}]|"
        "0|" EVENT_TIME "|2\n"
        "row update_lead acme|CAL1\n"
        "row upsert_appointment"
        " acme|72b6601b-0a49-5ed6-ba21-84da60210baa|CAL1|2026-11-24 15:00:00+00|water heater|NULL|"
        "You are booked for Tuesday at ten.|" EVENT_TIME "|2|rep-rob\n"
        "row delete_appointment acme|CAL1|" EVENT_TIME "|2\n"
        "event call.analyzed CAL1"
        " {\"call_id\":\"CAL1\",\"provider\":\"rules\",\"model\":\"rules\",\"lead_qualification\":\"hot\","
        "\"booking_status\":\"booked\",\"call_outcome_category\":\"booked\",\"sentiment_score\":-1,\"objections\":1,"
        "\"dropped_without_evidence\":0,\"appointment_id\":\"72b6601b-0a49-5ed6-ba21-84da60210baa\","
        "\"lead_id\":\"" LEAD "\","
        "\"summary\":\"The customer said: \\\"My water heater is leaking, I need someone.\\\" An appointment was made."
        " The customer objected: \\\"That is too expensive, but okay.\\\"\"}\n");
    (void)state;
}

static void a_call_that_is_not_booked(void **state)
{
    rows[0].values[1] = NULL;           /* and without a lead: the number was withheld */
    expect(by_rules("customer: how much is it"), DONE);
    assert_string_equal(queries.at, "find_transcript CAL1\n");
    expect_text(effects.at, "|warm|not_booked|qualified_not_booked|0|[]|0|[");
    expect_text(effects.at, "row update_lead acme|CAL1\n");     /* of the lead the call has by then, if it has one */
    expect_text(effects.at, "row delete_appointment acme|CAL1|" EVENT_TIME "|2\n");
    expect_no_text(effects.at, "upsert_appointment");
    expect_no_text(effects.at, "appointment_id");
    expect_no_text(effects.at, "lead_id");
    (void)state;
}

/* What was corrected by a person is what others hear, whatever the model says; the rows see to themselves. */
static void a_corrected_call(void **state)
{
    static const char *const corrected[] = { "cold", "not_booked", "spam", "-0.5" };
    memcpy(rows[0].values + WORDS + 1, corrected, sizeof(corrected));
    expect(by_rules(TRANSCRIPT), DONE);
    expect_text(effects.at, "row upsert_analysis acme|CAL1|rules|rules|NULL|hot|booked|booked|-1|");
    expect_text(effects.at, "\"lead_qualification\":\"cold\",\"booking_status\":\"not_booked\","
                            "\"call_outcome_category\":\"spam\",\"sentiment_score\":-0.5,");
    expect_no_text(effects.at, "\"appointment_id\"");
    (void)state;
}

/* Whatever it sounds like, nobody answered: no appointment, no steps to follow; and the lead stays hot. */
static void a_voicemail(void **state)
{
    rows[0].values[STATUS] = "missed";
    expect(by_rules("speaker: my basement is flooding that works for me tuesday at ten"), DONE);
    expect_text(effects.at, "|hot|not_booked|voicemail|1|[]|NULL|[]|");
    expect_text(effects.at, "No appointment was made.");
    expect_text(effects.at, "row update_lead acme|CAL1\n");
    expect_text(effects.at, "row delete_appointment");
    expect(by_rules("speaker: sorry wrong number"), DONE);
    expect_text(effects.at, "|cold|not_booked|wrong_number|");
    (void)state;
}

static void what_there_is_nothing_to_say_about(void **state)
{
    rows[0].values[WORDS] = "0";
    expect(by_rules(""), DONE);
    assert_string_equal(effects.at, "skip nobody said anything that was understood\n");
    rows[0].rows = 0;
    expect(by_rules(""), REJECT);
    assert_string_equal(why.text, "call \"CAL1\" has no transcript");
    (void)state;
}

#define STEPS                                                                                                          \
    "[{\"step\":\"says who comes\",\"phrases\":[\"Robert can come!\",\"Ana can come\"]},"                                \
    "{\"step\":\"names the price\",\"phrases\":[\"it costs\",\"that is too expensive\"]},"                               \
    "{\"step\":\"thanks\",\"phrases\":[\"thanks for calling\"]},{\"step\":\"says nothing\",\"phrases\":[\"?!\"]}]"

/* The company's own steps, however they are written; what the customer says does none of them. */
static void the_companys_steps(void **state)
{
    rows[0].values[SOP_STEPS] = STEPS;
    expect(by_rules(TRANSCRIPT), DONE);
    expect_text(effects.at, "|0.5|[\"names the price\",\"says nothing\"]|");
    rows[0].values[SOP_STEPS] = NULL;
    expect(by_rules(TRANSCRIPT), DONE);
    expect_text(effects.at, "|[\"asks for the customer's name\",\"asks for the address or a phone number\"]|");
    (void)state;
}

/* Made when the call was nobody's: what is told of it is the row that is there. */
static void an_appointment_keeps_its_id(void **state)
{
    rows[0].values[APPOINTMENT_ID] = LEAD;
    expect(by_rules(TRANSCRIPT), DONE);
    expect_text(effects.at, "row upsert_appointment acme|" LEAD "|CAL1|");
    expect_text(effects.at, "\"appointment_id\":\"" LEAD "\"");
    (void)state;
}

/* A first name counts when only one rep has it, and where a person is meant. */
static void the_named_rep_gets_it(void **state)
{
    static const struct {
        const char *said, *first, *second, *rep;
    } cases[] = {
        { "robert hill is good", "Ana Silva", "Robert Hill", "rep-2" },
        { "we are sending ana", "Ana Silva", "Robert Hill", "rep-1" },
        { "with ana or with robert", "Ana Silva", "Robert Hill", "NULL" },
        { "ana will do", "Ana Silva", "Ana Jones", "NULL" },
        { "ana jones will do", "Ana Silva", "Ana Jones", "rep-2" },
        { "nobody", "Ana Silva", "Robert Hill", "NULL" },
        { "we will be there mark my word", "Will Smith", "Mark Twain", "NULL" },
        { "we will be there mark my word", "Will", "Mark", "NULL" },
        { "i send mark", "Will", "Mark", "rep-2" },
        { "will can come", "Will Smith", "", "rep-1" },
        { "will can come", "-", "Will Smith", "rep-2" },
        { "Jos\xc3\xa9 can come", "JOS\xc3\x89 Garc\xc3\xad" "a", " ", "rep-1" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        rows[2] = (struct query_rows){
            "find_reps", { "user_id", "name" }, { "rep-1", cases[i].first, "rep-2", cases[i].second }, 2
        };
        expect(by_rules(arena_printf(arena, "agent: you are booked\nagent: %s", cases[i].said)), DONE);
        expect_text(effects.at, arena_printf(arena, "|" EVENT_TIME "|2|%s\n", cases[i].rep));
    }
    (void)state;
}

static void an_event_that_is_none(void **state)
{
    event_data = "{\"call_id\":\"\",\"provider\":\"local\",\"segments\":5,\"words\":40}";
    expect(by_rules(TRANSCRIPT), REJECT);
    assert_string_equal(why.pointer, "/call_id");
    (void)state;
}

/* --- a model's answers, recorded ---------------------------------------------------------------------------------- */

static const char *answers[2];
static int asked;
static struct buf prompts;

static enum outcome give_answer(void *context, const char *name, const struct ask *asking, struct arena *of,
                                struct answer *ret)
{
    const struct llm_request *request = asking->request;
    (void)context, (void)of;
    assert_int_equal(asking->kind, ASK_AGAIN);
    assert_string_equal(asking->provider, "gemini");
    assert_true(asked < 2);
    assert_string_equal(name, asked == 0 ? "llm" : "llm-again");
    buf_printf(&prompts, "%s\n", request->content);
    *ret = (struct answer){ .body = text_of(answers[asked++]), .model = "gemini-test" };
    return DONE;
}

static enum outcome by_model(const char *first, const char *second)
{
    answers[0] = first;
    answers[1] = second;
    asked = 0;
    buf_clear(&prompts);
    return analyze_with(LLM_GEMINI, give_answer);
}

#define ANALYSIS(lead, booking, category, objections, appointment, evidence)                                           \
    "{\"lead_qualification\":\"" lead "\",\"booking_status\":\"" booking "\",\"call_outcome_category\":\"" category    \
    "\",\"sentiment_score\":0.25,\"objections\":[" objections "],\"sop_compliance\":{\"score\":0.5," \
                                                              "\"missed_steps\":[\"thanks\"]}," \
    "\"appointment\":" appointment ",\"summary\":\"A heater leaks.\",\"evidence\":[" evidence "]}"
#define OBJECTION(quote) "{\"category\":\"price\",\"quote\":\"" quote "\"}"
#define APPOINTMENT(quote) \
    "{\"scheduled_start\":\"2026-11-24T10:00:00-05:00\",\"service_type\":\"heater\",\"location\":null," \
    "\"quote\":\"" quote \
    "\"}"
#define EVIDENCE(field, quote) "{\"field\":\"" field "\",\"quote\":\"" quote "\"}"
#define GOOD                                                                                                           \
    ANALYSIS("hot", "booked", "booked", OBJECTION("That is too expensive"), APPOINTMENT("booked for Tuesday at 10"),   \
             EVIDENCE("lead_qualification", "I need someone") "," EVIDENCE("booking_status", "You are booked"))

static void a_models_answer(void **state)
{
    expect(by_model(GOOD, NULL), DONE);
    expect_text(
        prompts.at,
        "Company: Acme\nThe call began on Saturday, 2026-11-21T09:30 (time zone"
        " America/New_York).\n\nTranscript:\n" TRANSCRIPT);
    assert_string_equal(
        effects.at,
        "row upsert_analysis acme|CAL1|gemini|gemini-test|call_analysis.v1|hot|booked|booked|0.25|"
        "[{\"category\":\"price\",\"quote\":\"That is too expensive\"}]|0.5|[\"thanks\"]|A heater leaks.|"
        "[{\"field\":\"lead_qualification\",\"quote\":\"I need"
        " someone\"},{\"field\":\"booking_status\",\"quote\":\"You are booked\"}]|"
        "0|" EVENT_TIME "|2\n"
        "row update_lead acme|CAL1\n"
        "row upsert_appointment"
        " acme|72b6601b-0a49-5ed6-ba21-84da60210baa|CAL1|2026-11-24T10:00:00-05:00|heater|NULL|"
        "booked for Tuesday at 10|" EVENT_TIME "|2|rep-rob\n"
        "row delete_appointment acme|CAL1|" EVENT_TIME "|2\n"
        "event call.analyzed CAL1 {\"call_id\":\"CAL1\",\"provider\":\"gemini\",\"model\":\"gemini-test\","
        "\"prompt_version\":\"call_analysis.v1\",\"lead_qualification\":\"hot\",\"booking_status\":\"booked\","
        "\"call_outcome_category\":\"booked\",\"sentiment_score\":0.25,\"objections\":1,\"dropped_without_evidence\":0,"
        "\"appointment_id\":\"72b6601b-0a49-5ed6-ba21-84da60210baa\","
        "\"lead_id\":\"" LEAD "\",\"summary\":\"A heater leaks.\"}\n");
    (void)state;
}

/* What nobody said is dropped and counted, and what rested on it falls. */
static void invented_quotes_are_dropped(void **state)
{
    static const struct {
        const char *name, *answer, *values;     /* lead, booking, category */
        int dropped;
        bool appointment;
    } cases[] = {
        { "one objection of two",
          ANALYSIS("hot", "not_booked", "qualified_not_booked",
                   OBJECTION("I never said so") "," OBJECTION("too expensive"), "null",
                   EVIDENCE("lead_qualification", "I need someone")),
          "hot|not_booked|qualified_not_booked", 1, false },
        { "the appointment's words, although others hold the booking",
          ANALYSIS("hot", "booked", "booked", "", APPOINTMENT("Wednesday at nine"),
                   EVIDENCE("booking_status", "You are booked")),
          "hot|booked|booked", 1, true },
        { "the appointment's words, and nothing holds the booking",
          ANALYSIS("hot", "booked", "booked", "", APPOINTMENT("Wednesday at nine"), ""), "cold|not_booked|other", 4,
          false },
        { "a quote across two turns",
          ANALYSIS("hot", "not_booked", "other", "", "null",
                   EVIDENCE("lead_qualification", "I need someone. Robert can come")),
          "cold|not_booked|other", 2, false },
        { "a claim without any words", ANALYSIS("warm", "service_not_offered", "spam", "", "null", ""),
          "cold|not_booked|other", 3, false },
        { "a category without a quote of its own",
          ANALYSIS("warm", "not_booked", "existing_customer", "", "null",
                   EVIDENCE("lead_qualification", "how can I help")),
          "warm|not_booked|existing_customer", 0, false },
        { "booked in one place and not in the other", ANALYSIS("cold", "not_booked", "booked", "", "null", ""),
          "cold|not_booked|other", 1, false },
        { "an appointment that is not booked",
          ANALYSIS("cold", "not_booked", "other", "", APPOINTMENT("booked for Tuesday"), ""), "cold|not_booked|other",
          0, false },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        expect(by_model(cases[i].answer, NULL), DONE);
        expect_text(effects.at, arena_printf(arena, "|call_analysis.v1|%s|0.25|", cases[i].values));
        expect_text(effects.at, arena_printf(arena, "|%d|" EVENT_TIME "|2\n", cases[i].dropped));
        expect_text(effects.at, arena_printf(arena, "\"dropped_without_evidence\":%d", cases[i].dropped));
        expect_text(effects.at, cases[i].appointment ? "row upsert_appointment" : "row delete_appointment");
        expect_no_text(effects.at, "never said");
        expect_no_text(effects.at, "Wednesday");
    }
    (void)state;
}

static void what_stands_around_the_json_is_passed_over(void **state)
{
    static const char *const wrapped[] = { "```json\n" GOOD "\n```", "\n```\n" GOOD "```\n\n",
                                           "Here it is:\n" GOOD "\nAnything else?", " " GOOD " " };
    for (size_t i = 0; i < LENGTH(wrapped); i++) {
        expect(by_model(wrapped[i], NULL), DONE);
        expect_text(effects.at, "|hot|booked|booked|0.25|");
    }
    (void)state;
}

static void an_invalid_answer_is_asked_for_once_more(void **state)
{
    static const struct {
        const char *name, *answer, *pointer, *reason;
    } cases[] = {
        { "nonsense", "I am sorry, Dave.", "", "" },
        { "nothing", "", "", "" },
        { "braces", "}{", "", "" },
        { "half", "{\"lead_qualification\":\"hot\",", "", "" },
        { "a list", "[]", "", "" },
        { "an empty object", "{}", "/lead_qualification", "" },
        { "an unknown value", ANALYSIS("boiling", "booked", "booked", "", "null", ""), "/lead_qualification", "" },
        { "an unknown member", "{\"mood\":1}", "/mood", "" },
        { "a category nobody knows",
          ANALYSIS("hot", "booked", "booked", "{\"category\":\"weather\",\"quote\":\"x\"}", "null", ""),
          "/objections/0/category", "" },
        { "a time that is none",
          ANALYSIS("hot", "booked", "booked", "",
                   "{\"scheduled_start\":\"Tuesday\",\"service_type\":null,\"location\":null,\"quote\":\"x\"}", ""),
          "/appointment/scheduled_start", "date and time" },
        { "no summary", "{\"lead_qualification\":\"hot\",\"summary\":\"\"}", "/summary", "" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        expect(by_model(cases[i].answer, GOOD), DONE);
        assert_int_equal(asked, 2);
        expect_text(prompts.at, "An earlier answer was refused: ");
        expect_text(prompts.at, cases[i].pointer);

        expect(by_model(cases[i].answer, cases[i].answer), REJECT);
        assert_string_equal(why.pointer, cases[i].pointer);
        expect_text(why.text, "the model's answer was refused twice: ");
        expect_text(why.text, cases[i].reason);
        assert_int_equal(effects.bytes, 0);
    }
    (void)state;
}

static void a_summary_too_long_for_its_column_is_refused(void **state)
{
    char *longest = arena_alloc(arena, 4001), *longer = arena_alloc(arena, 4003);
    for (int i = 0; i < 2000; i++)
        memcpy(longest + 2 * i, "\xc3\xa4", 2);         /* 2,000 characters, not bytes */
    sprintf(longer, "%s.", longest);
    const char *format =
        "{\"lead_qualification\":\"cold\",\"booking_status\":\"not_booked\",\"call_outcome_category\":\"other\","
        "\"sentiment_score\":0,"
        "\"objections\":[],\"sop_compliance\":{\"score\":0,\"missed_steps\":[]},\"appointment\":null,\"summary\":\"";
    expect(by_model(arena_printf(arena, "%s%s\",\"evidence\":[]}", format, longest), NULL), DONE);
    expect_text(effects.at, longest);
    const char *refused = arena_printf(arena, "%s%s\",\"evidence\":[]}", format, longer);
    expect(by_model(refused, refused), REJECT);
    assert_string_equal(why.pointer, "/summary");
    (void)state;
}

static void a_model_is_told_of_the_companys_steps(void **state)
{
    rows[0].values[SOP_STEPS] = STEPS;
    expect(by_model(GOOD, NULL), DONE);
    expect_text(prompts.at, "(time zone America/New_York).\n\nIn this company the agent's steps are these alone:\n"
                            "- says who comes\n- names the price\n- thanks\n- says nothing\n"
                            "\nTranscript:\n" TRANSCRIPT);
    (void)state;
}

static void a_model_is_told_of_a_voicemail(void **state)
{
    rows[0].values[STATUS] = "missed";
    expect(by_model(GOOD, NULL), DONE);
    expect_text(prompts.at, "Nobody answered; this is the voicemail.");
    expect_text(effects.at, "|hot|not_booked|voicemail|0.25|");
    expect_text(effects.at, "|NULL|[]|A heater leaks.|");
    expect_text(effects.at, "row delete_appointment");
    (void)state;
}

/* --- the wire ----------------------------------------------------------------------------------------------------- */

static enum outcome over_the_wire(int provider, const char *status, const char *headers, const char *body)
{
    provider_answers(status, headers, body);
    return analyze_with(provider, NULL);
}

static const char *quoted(const char *text)
{
    struct buf json;
    buf_init(&json, 1 << 20);
    json_write_string(&json, text);
    const char *copy = arena_copy_text(arena, buf_text(&json));
    buf_done(&json);
    return copy;
}

static const char *gemini_answer(const char *text)
{
    return arena_printf(
        arena,
        "{\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hm,"
        " {\",\"thought\":true},{\"text\":%s},"
        "{\"text\":\"\\n\"}]},\"finishReason\":\"STOP\"}],\"usageMetadata\":{\"promptTokenCount\":900,"
        "\"candidatesTokenCount\":80,\"thoughtsTokenCount\":20},\"modelVersion\":\"gemini-9\",\"responseId\":\"r1\"}",
        quoted(text));
}

static const char *openai_answer(const char *text)
{
    return arena_printf(
        arena,
        "{\"id\":\"chatcmpl-1\",\"model\":\"gpt-9\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\","
        "\"content\":%s,\"refusal\":null},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":900,"
        "\"completion_tokens\":100}}",
        quoted(text));
}

static void both_are_asked_as_their_documents_say(void **state)
{
    expect(over_the_wire(LLM_GEMINI, "200 OK", "", gemini_answer(GOOD)), DONE);
    expect_text(effects.at, "|gemini|gemini-9|call_analysis.v1|hot|booked|");
    expect_text(provider_got(arena), "POST /v1/v1beta/models/gemini-test:generateContent HTTP/1.1\r\n");
    expect_text(provider_got(arena), "x-goog-api-key: key-one\r\n");
    const cJSON *sent = tree_read(arena, text_of(provider_got_body(arena)));
    assert_non_null(sent);
    const cJSON *settings = tree_get(sent, "generationConfig");
    assert_string_equal(tree_string(settings, "responseMimeType"), "application/json");
    assert_non_null(tree_get(tree_get(settings, "responseJsonSchema"), "properties"));
    expect_no_text(strstr(provider_got(arena), "responseJsonSchema"), "minLength");

    expect(over_the_wire(LLM_OPENAI, "200 OK", "", openai_answer(GOOD)), DONE);
    expect_text(effects.at, "|openai|gpt-9|call_analysis.v1|hot|booked|");
    expect_text(provider_got(arena), "POST /v1/chat/completions HTTP/1.1\r\n");
    expect_text(provider_got(arena), "Authorization: Bearer key-one\r\n");
    sent = tree_read(arena, text_of(provider_got_body(arena)));
    assert_string_equal(tree_string(sent, "model"), "gpt-test");
    assert_string_equal(tree_string(tree_get(sent, "response_format"), "type"), "json_schema");
    (void)state;
}

static void what_providers_answer_decides(void **state)
{
    static const struct {
        int provider;
        const char *name, *status, *headers, *body;
        enum outcome outcome;
        const char *reason;
        int64_t retry_ms;
    } cases[] = {
        { LLM_GEMINI, "not JSON", "200 OK", "", "<html>", RETRY, "gemini: the answer is not JSON", 0 },
        { LLM_GEMINI, "cut off", "200 OK", "",
          "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"{\\\"lead\"}]},\"finishReason\":\"MAX_TOKENS\"}]}",
          REJECT, "gemini did not finish its answer: MAX_TOKENS", 0 },
        { LLM_GEMINI, "all thought, no answer", "200 OK", "",
          "{\"candidates\":[{\"finishReason\":\"MAX_TOKENS\",\"index\":0}]}", REJECT,
          "gemini did not finish its answer: MAX_TOKENS", 0 },
        { LLM_GEMINI, "no end", "200 OK", "", "{\"candidates\":[{\"content\":{\"parts\":[{\"text\":\"{\"}]}}]}", REJECT,
          "it was cut off", 0 },
        { LLM_GEMINI, "unsafe", "200 OK", "", "{\"candidates\":[{\"finishReason\":\"SAFETY\"}]}", REJECT, "SAFETY", 0 },
        { LLM_GEMINI, "blocked prompt", "200 OK", "", "{\"promptFeedback\":{\"blockReason\":\"PROHIBITED_CONTENT\"}}",
          REJECT, "gemini gave no answer, it refuses the prompt: PROHIBITED_CONTENT", 0 },
        { LLM_GEMINI, "nothing", "200 OK", "", "{}", REJECT, "gemini gave no answer", 0 },
        { LLM_GEMINI, "no object", "200 OK", "", "[]", REJECT, "gemini gave no answer", 0 },
        { LLM_GEMINI, "empty twice", "200 OK", "", "{\"candidates\":[{\"content\":{},\"finishReason\":\"STOP\"}]}",
          REJECT, "the model's answer was refused twice", 0 },
        { LLM_GEMINI, "bad key", "400 Bad Request", "",
          "{\"error\":{\"code\":400,\"message\":\"API key not"
          " valid.\",\"status\":\"INVALID_ARGUMENT\",\"details\":[{\"@type\":"
          "\"type.googleapis.com/google.rpc.ErrorInfo\",\"reason\":\"API_KEY_INVALID\"}]}}",
          RETRY, "gemini refuses our credentials", 0 },
        { LLM_GEMINI, "bad request", "400 Bad Request", "",
          "{\"error\":{\"message\":\"Unknown name \\\"x\\\"\",\"details\":[{}]}}", REJECT,
          "gemini: HTTP status 400: Unknown name \"x\"", 0 },
        { LLM_GEMINI, "an error that is not JSON", "400 Bad Request", "", "no", REJECT,
          "gemini: HTTP status 400: ", 0 },
        { LLM_GEMINI, "no money", "402 Payment Required", "", "{}", RETRY, "refuses our credentials (HTTP status 402)",
          0 },
        { LLM_GEMINI, "forbidden", "403 Forbidden", "", "{}", RETRY, "refuses our credentials (HTTP status 403)", 0 },
        { LLM_GEMINI, "no such model", "404 Not Found", "", "{\"error\":{\"message\":\"models/x is not found\"}}",
          REJECT, "gemini: HTTP status 404: models/x is not found", 0 },
        { LLM_GEMINI, "quota, with a pause", "429 Too Many", "",
          "{\"error\":{\"message\":\"Quota"
          " exceeded\",\"details\":[{\"@type\":\"type.googleapis.com/google.rpc.QuotaFailure\"},{\"@type\":"
          "\"type.googleapis.com/google.rpc.RetryInfo\",\"retryDelay\":\"37.5s\"}]}}",
          RETRY, "gemini: HTTP status 429: Quota exceeded", 37500 },
        { LLM_GEMINI, "quota, with a pause that is none", "429 Too Many", "",
          "{\"error\":{\"details\":[{\"retryDelay\":\"nan\"},{\"retryDelay\":-1}]}}", RETRY, "gemini: HTTP status 429",
          0 },
        { LLM_GEMINI, "overloaded", "503 Unavailable", "Retry-After: 3\r\n", "{\"error\":{\"message\":\"overloaded\"}}",
          RETRY, "gemini: HTTP status 503: overloaded", 3000 },
        { LLM_GEMINI, "closed", NULL, "", "", RETRY, "", 0 },

        { LLM_OPENAI, "not JSON", "200 OK", "", "upstream error", RETRY, "openai: the answer is not JSON", 0 },
        { LLM_OPENAI, "cut off", "200 OK", "",
          "{\"choices\":[{\"message\":{\"content\":\"{\"},\"finish_reason\":\"length\"}]}", REJECT,
          "the model did not finish its answer: length", 0 },
        { LLM_OPENAI, "filtered", "200 OK", "",
          "{\"choices\":[{\"message\":{\"content\":\"\"},\"finish_reason\":\"content_filter\"}]}", REJECT,
          "content_filter", 0 },
        { LLM_OPENAI, "refusal", "200 OK", "",
          "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"I cannot help with"
          " that.\"},\"finish_reason\":\"stop\"}]}",
          REJECT, "the model refused: I cannot help with that.", 0 },
        { LLM_OPENAI, "no text", "200 OK", "",
          "{\"choices\":[{\"message\":{\"content\":null,\"refusal\":\"\"},\"finish_reason\":\"stop\"}]}", REJECT,
          "the model gave no text", 0 },
        { LLM_OPENAI, "no choices", "200 OK", "", "{\"choices\":[]}", REJECT, "did not finish", 0 },
        { LLM_OPENAI, "bad key", "401 Unauthorized", "", "{\"error\":{\"code\":\"invalid_api_key\"}}", RETRY,
          "openai refuses our credentials (HTTP status 401)", 0 },
        { LLM_OPENAI, "too fast", "429 Too Many", "Retry-After: 2\r\n",
          "{\"error\":{\"type\":\"requests\",\"code\":\"rate_limit_exceeded\",\"message\":\"slow\"}}", RETRY,
          "openai: HTTP status 429: slow", 2000 },
        { LLM_OPENAI, "no quota", "429 Too Many", "",
          "{\"error\":{\"type\":\"insufficient_quota\",\"code\":\"credit_balance_exhausted\"}}", RETRY,
          "refuses our credentials (HTTP status 429)", 0 },
        { LLM_OPENAI, "no quota, by its code", "429 Too Many", "",
          "{\"error\":{\"type\":null,\"code\":\"insufficient_quota\"}}", RETRY,
          "refuses our credentials (HTTP status 429)", 0 },
        { LLM_OPENAI, "a limit of the organization", "429 Too Many", "",
          "{\"error\":{\"code\":\"organization_spend_limit_exceeded\"}}", RETRY,
          "refuses our credentials (HTTP status 429)", 0 },
        { LLM_OPENAI, "an imitator's error", "400 Bad Request", "", "{\"detail\":\"no\"}", REJECT,
          "openai: HTTP status 400: no", 0 },
        { LLM_OPENAI, "an error in the error's place", "400 Bad Request", "", "{\"error\":\"no\"}", REJECT,
          "openai: HTTP status 400: no", 0 },
        { LLM_OPENAI, "no money", "402 Payment Required", "", "{}", RETRY, "refuses our credentials (HTTP status 402)",
          0 },
        { LLM_OPENAI, "too early", "425 Too Early", "", "", RETRY, "openai: HTTP status 425: ", 0 },
        { LLM_OPENAI, "conflict", "409 Conflict", "", "{}", RETRY, "openai: HTTP status 409", 0 },
        { LLM_OPENAI, "broken", "500 Error", "", "", RETRY, "openai: HTTP status 500", 0 },
        { LLM_OPENAI, "closed", NULL, "", "", RETRY, "", 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s: %s\n", llm_providers[cases[i].provider], cases[i].name);
        expect(over_the_wire(cases[i].provider, cases[i].status, cases[i].headers, cases[i].body), cases[i].outcome);
        expect_text(why.text, cases[i].reason);
        assert_int_equal(retry_ms, cases[i].retry_ms);
        assert_int_equal(effects.bytes, 0);
    }
    (void)state;
}

static void hostile_answers(void **state)
{
    char *huge = arena_alloc(arena, 2 << 20);
    memset(huge, '[', (2 << 20) - 1);
    expect(over_the_wire(LLM_GEMINI, "200 OK", "", huge), REJECT);          /* larger than we take */
    huge[512 * 1024] = '\0';
    expect(over_the_wire(LLM_OPENAI, "200 OK", "", huge), RETRY);           /* nested */
    expect(over_the_wire(LLM_OPENAI, "200 OK", "", "{\"id\":\"\xff\"}"), RETRY);
    assert_string_equal(why.text, "openai: the answer is not JSON");
    for (int i = 0; i < 400; i++)
        memcpy(huge + 2 * i, "\xc3\xa4", 2);
    huge[800] = '\0';
    expect(over_the_wire(LLM_OPENAI, "400 No", "", arena_printf(arena, "{\"error\":{\"message\":\"x%s\"}}", huge)),
           REJECT);
    assert_true(text_is_utf8(text_of(why.text)));
    const char *model = arena_printf(
        arena, "{\"model\":\"%s\",\"choices\":[{\"message\":{\"content\":%s},\"finish_reason\":\"stop\"}]}", huge,
        quoted(GOOD));
    expect(over_the_wire(LLM_OPENAI, "200 OK", "", model), DONE);           /* a name that fits nowhere */
    expect_text(effects.at, "|openai|gpt-test|");
    (void)state;
}

static void a_provider_that_hangs_is_left(void **state)
{
    analyze.llm_timeout_ms = 100;
    expect(over_the_wire(LLM_GEMINI, "", "", ""), RETRY);
    (void)state;
}

static void a_prompt_too_large_is_not_sent(void **state)
{
    char *huge = arena_alloc(arena, (2 << 20) + 1);
    memset(huge, 'x', 2 << 20);
    rows[0].values[TEXT_AT] = huge;
    expect(over_the_wire(LLM_GEMINI, "200 OK", "", "{}"), REJECT);
    assert_string_equal(why.text, "the prompt is larger than 2097152 bytes");
    expect(over_the_wire(LLM_OPENAI, "200 OK", "", "{}"), REJECT);
    (void)state;
}

static int start(void **state)
{
    memcpy(rows, usual_rows, sizeof(rows));
    event_data = "{\"call_id\":\"CAL1\",\"provider\":\"local\",\"segments\":5,\"words\":40}";
    static char url[64];
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", server.port);
    analyze = (struct analyze){ .gemini_url = url,
                                .gemini_key = "key-one,key-two",
                                .gemini_model = "gemini-test",
                                .openai_url = url,
                                .openai_key = "key-one,key-two",
                                .openai_model = "gpt-test",
                                .llm_timeout_ms = 20000 };
    buf_init(&prompts, 1 << 20);
    return handlers_start(state);
}

static int end(void **state)
{
    buf_done(&prompts);
    return handlers_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_booked_call),
        TEST(a_call_that_is_not_booked),
        TEST(a_corrected_call),
        TEST(a_voicemail),
        TEST(the_companys_steps),
        TEST(an_appointment_keeps_its_id),
        TEST(what_there_is_nothing_to_say_about),
        TEST(the_named_rep_gets_it),
        TEST(an_event_that_is_none),
        TEST(a_models_answer),
        TEST(invented_quotes_are_dropped),
        TEST(what_stands_around_the_json_is_passed_over),
        TEST(an_invalid_answer_is_asked_for_once_more),
        TEST(a_summary_too_long_for_its_column_is_refused),
        TEST(a_model_is_told_of_a_voicemail),
        TEST(a_model_is_told_of_the_companys_steps),
        TEST(both_are_asked_as_their_documents_say),
        TEST(what_providers_answer_decides),
        TEST(hostile_answers),
        TEST(a_provider_that_hangs_is_left),
        TEST(a_prompt_too_large_is_not_sent),
    };
    return cmocka_run_group_tests(tests, provider_start, provider_stop);
}
