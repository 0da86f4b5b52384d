/* The coach without a model: plans of every kind of meeting, each changed when its words are, and a client who objects.
 */
#include "analyze/coach.h"

#include "common/json.h"

#include "tests/unit/handler_fixture.h"

static const struct coach_known nothing_known = { .count = 0 };

static struct coach_meeting meeting_of(const char *title, const char *description)
{
    return (struct coach_meeting){ .meeting_id = "m", .title = title, .description = description, .client = "Jane Doe",
                                   .company = "Globex", .when = "10:00" };
}

static struct meeting_plan plan_of(const struct coach_meeting *meeting, int64_t minutes_left)
{
    struct meeting_plan plan;
    rules_plan(meeting, &nothing_known, minutes_left, arena, &plan);
    assert_int_equal(plan.steps_count, COACH_STEPS);
    assert_string_equal(plan.language, "en");
    for (size_t i = 0; i < COACH_STEPS; i++)
        assert_true(strlen(plan.steps[i]) > 20 && !strpbrk(plan.steps[i], "{}#|"));
    return plan;
}

static const char *whole(const struct meeting_plan *plan)
{
    return arena_printf(arena, "%s\n%s\n%s\n%s", plan->summary, plan->steps[0], plan->steps[1], plan->steps[2]);
}

/* --- plans -------------------------------------------------------------------------------------------------------- */

static void every_kind_has_its_own_plan(void **state)
{
    static const char *const titles[] = { "Complaint about the delivery",
                                          "Contract renewal",
                                          "Negotiation of terms",
                                          "Pricing talk",
                                          "Closing",
                                          "Demo of the booking tool",
                                          "QBR with Globex",
                                          "Kickoff",
                                          "Follow-up",
                                          "Intro call",
                                          "Lunch" };
    const char *plans[LENGTH(titles)];
    for (size_t i = 0; i < LENGTH(titles); i++) {
        struct coach_meeting meeting = meeting_of(titles[i], "");
        struct meeting_plan plan = plan_of(&meeting, 600);
        plans[i] = whole(&plan);
        expect_text(plan.summary, titles[i]);
        expect_text(plans[i], "Jane Doe");
        expect_text(plans[i], "Globex");
        for (size_t j = 0; j < i; j++)
            for (size_t step = 0; step < COACH_STEPS; step++)
                expect_no_text(plans[j], plan.steps[step]);
    }
    (void)state;
}

/* The kind shows in other languages, and in the description when the title says nothing. */
static void the_kind_is_found_where_it_stands(void **state)
{
    static const struct {
        const char *title, *description, *words;
    } cases[] = {
        { "Vertragsverlängerung Globex", "", "which it goes on" },
        { "Globex x Acme", "Jane would like a demo of the reports.", "agree a trial" },
        { "Réclamation", "", "Promise one remedy" },
        { "Propuesta de precio", "", "name your price only after that" },
        { "Globex", "", "make “Globex” worth the time" },
        { "Demo and pricing", "", "and the reason for it" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct coach_meeting meeting = meeting_of(cases[i].title, cases[i].description);
        struct meeting_plan plan = plan_of(&meeting, 600);
        expect_text(whole(&plan), cases[i].words);
    }
    (void)state;
}

static void a_plan_rests_on_the_invitation(void **state)
{
    struct coach_meeting plain = meeting_of("Demo",
                                            "Hi Ana!\nJoin Microsoft Teams: https://teams.example/x\n_______\nRegards"),
                         secure = meeting_of(
                             "Demo", "Hi Ana! Our auditors look at security and version 3.5 of the export. Bye."),
                         asks = meeting_of("Demo", "We like it so far. Can it talk to our CRM?"),
                         none = meeting_of("Demo", ""),
                         list = meeting_of("Demo", "• “Quoted words” stand first\n- and others come up");
    struct meeting_plan plan = plan_of(&plain, 600);
    expect_no_text(whole(&plan), "The invitation says");
    expect_no_text(whole(&plan), "teams.example");
    plan = plan_of(&secure, 600);
    expect_text(plan.summary, "The invitation says: “Our auditors look at security and version 3.5 of the export”.");
    expect_text(plan.steps[0], "have the answer on security ready");
    expect_text(plan.steps[1], "which of the security questions could stop it at Globex");
    plan = plan_of(&asks, 600);
    expect_text(plan.steps[1], "Be ready to answer: “Can it talk to our CRM?”");
    expect_text(plan.steps[0], "know which systems it has to work with");
    plan = plan_of(&none, 600);
    expect_no_text(whole(&plan), "invitation");
    plan = plan_of(&list, 600);
    expect_text(plan.summary, "The invitation says: ““Quoted words” stand first”.");
    (void)state;
}

static void a_plan_fits_the_time_that_is_left(void **state)
{
    static const struct {
        int64_t minutes;
        const char *begins;
    } cases[] = { { 6000, "You have 4 days: " },
                  { 600, "You have 10 hours: " },
                  { 45, "In the 45 minutes that are left, " },
                  { 3, "It is about to begin" },
                  { -10, "It is about to begin" } };
    struct coach_meeting meeting = meeting_of("Demo", "");
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct meeting_plan plan = plan_of(&meeting, cases[i].minutes);
        assert_true(text_starts(text_of(plan.steps[0]), cases[i].begins));
    }
    (void)state;
}

static void a_plan_goes_on_from_the_last_meeting(void **state)
{
    struct coach_known known = { .meetings = { { "2026-10-01", "Intro", "they want a quote for 40 seats" } },
                                 .count = 1 };
    struct coach_meeting meeting = meeting_of("Demo", "");
    struct meeting_plan plan;
    rules_plan(&meeting, &known, 600, arena, &plan);
    expect_text(plan.summary, "Last time (2026-10-01): “they want a quote for 40 seats”.");
    expect_text(plan.steps[2], "they want a quote for 40 seats");
    known.meetings[0].outcome = "";
    rules_plan(&meeting, &known, 600, arena, &plan);
    expect_text(plan.summary, "You last met on 2026-10-01 (“Intro”); nothing was noted.");
    (void)state;
}

static void a_client_without_a_name(void **state)
{
    struct coach_meeting meeting = meeting_of("Demo", "");
    meeting.client = meeting.company = "";
    struct meeting_plan plan = plan_of(&meeting, 600);
    expect_text(plan.summary, "“Demo” with the client.");
    expect_no_text(whole(&plan), "Jane");
    (void)state;
}

/* --- a chat ------------------------------------------------------------------------------------------------------- */

static struct chat chat;
static struct coach_meeting meeting;
static struct coach_message messages[COACH_MESSAGES_MAX];
static size_t count;

/* One turn, as coach_chat.c has it: what was written and answered is among the messages of the next. */
static const char *says_and(const char *text, bool leaves)
{
    struct chat_reply reply = { .language = "en" };
    chat.text = text;
    rules_chat(&chat, &meeting, messages, count, leaves, arena, &reply);
    messages[count++] =
        (struct coach_message){ .incoming = true, .in_roleplay = reply.mode == COACH_ROLEPLAY, .text = text };
    messages[count++] = (struct coach_message){ .text = reply.text };
    chat.mode = reply.mode;
    return reply.text;
}
#define says(text) says_and((text), false)

static void a_client_objects_until_the_play_ends(void **state)
{
    expect_text(says("roleplay please"),
                "(I play Jane Doe; \"exit\" ends it.)\nWe are also talking with another supplier about “QBR”");
    expect_text(says("I understand. What do they do better?"),
                "Good that you ask. What keeps me busy is this: They have that too.");
    expect_text(says("You save 12.5% with us."),
                "12.5%, you say. I would have to see how you come to that. If I change");
    expect_text(says("We can give you a discount"), "You give way quickly.");
    expect_text(says("well"), "“well”: that does not answer it for me.");
    assert_int_equal(chat.mode, COACH_ROLEPLAY);
    const char *told = says_and("exit", true);
    expect_text(told,
                "Out of the role. In 4 answers to Jane Doe you gave something away, you named a figure, you asked,"
                " you showed that you listened.");
    expect_text(told, "Next time: bring an example of somebody like them.");
    assert_int_equal(chat.mode, COACH_ADVICE);
    (void)state;
}

static void the_words_say_what_is_objected(void **state)
{
    static const struct {
        const char *text, *objection;
    } cases[] = { { "roleplay: she says the price is too high", "too much money" },
                  { "practice with me, they want to wait", "bad time" },
                  { "pretend you do not trust us", "promised a lot before" },
                  { "be the client who has a competitor", "another supplier" } };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        chat.mode = COACH_ADVICE;
        count = 0;
        expect_text(says(cases[i].text), cases[i].objection);
    }
    meeting.title = "Pricing talk";
    chat.mode = COACH_ADVICE;
    count = 0;
    expect_text(says("roleplay"), "“Pricing talk” once more, and for Globex it is simply too much money");
    expect_text(says("exit the price"), "does not answer");
    (void)state;
}

static void leaving_at_once(void **state)
{
    says("roleplay");
    expect_text(says_and("exit", true), "You did not answer Jane Doe yet");
    (void)state;
}

static void advice_is_the_step_that_fits(void **state)
{
    static const char *const steps[] = { "Prepare the figures.", "Ask for the budget.", "Agree a date." };
    memcpy(meeting.steps, steps, sizeof(steps));
    expect_text(says("what about the budget"), "There is no plan for QBR (Jane Doe, Globex) yet.");
    meeting.summary = "s";
    expect_text(says("what about the budget"), "says to this:\nAsk for the budget.");
    expect_text(says("what first?"), "Prepare the figures.");
    chat.at_us = meeting.starts_us = 10, meeting.ends_us = 20;
    expect_text(says("what now?"), "Ask for the budget.");
    chat.at_us = 20;
    expect_text(says("what now?"), "Agree a date.");
    meeting.awaiting = true;
    expect_text(says("they signed"), "If the meeting is over, write *done*");
    expect_no_text(says("how do I handle an objection?"), "(I play");
    (void)state;
}

static int start(void **state)
{
    int result = handlers_start(state);
    chat = (struct chat){ .text = "", .language = "en", .mode = COACH_ADVICE };
    meeting = meeting_of("QBR", "");
    meeting.starts_us = 100;
    meeting.ends_us = 200;
    count = 0;
    return result;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_kind_has_its_own_plan),
        TEST(the_kind_is_found_where_it_stands),
        TEST(a_plan_rests_on_the_invitation),
        TEST(a_plan_fits_the_time_that_is_left),
        TEST(a_plan_goes_on_from_the_last_meeting),
        TEST(a_client_without_a_name),
        TEST(a_client_objects_until_the_play_ends),
        TEST(the_words_say_what_is_objected),
        TEST(leaving_at_once),
        TEST(advice_is_the_step_that_fits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
