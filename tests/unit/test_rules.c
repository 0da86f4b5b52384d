/* Calls of every kind, analysed from their words alone: analyze/rules.c.  Each is told once more without one of its
 * lines, which must change what comes out. */
#include "analyze/analyze.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)96 << 20)
#define SATURDAY "2026-11-21T09:30"

static const struct {
    const char *name, *transcript;
    const char *said;                   /* booking, lead, outcome, objections */
    const char *time, *service;         /* of the appointment */
    int mood;                           /* the sentiment's sign */
    const char *key, *without;          /* without the line that begins so: what is said then */
} cases[] = {
    { "booked, as PocketSphinx hears it",
      "agent: good morning and thank you for calling how can i help you\n"
      "customer: hello my water heater is leaking and i need some help\n"
      "agent: i am sorry to hear that what is your address\n"
      "customer: it is twenty five oak street\n"
      "agent: i see it costs eighty dollars robert can come on tuesday at ten o'clock\n"
      "customer: that sounds too expensive but i need it so please come\n"
      "agent: you are booked for tuesday at ten o'clock thank you and goodbye\n"
      "customer: thank you very much goodbye",
      "booked hot booked price", "2026-11-24T10:00:00", "water heater", 1, "agent: you are booked",
      "not_booked hot qualified_not_booked price" },
    { "booked, as Whisper hears it",
      "agent: Good afternoon, this is Ana at Acme Roofing.\n"
      "customer: Hi! I'd like to book an appointment for an inspection.\n"
      "agent: We can come tomorrow at 3pm. Does that work?\n"
      "customer: Yes, perfect.\n"
      "agent: Great, you\xe2\x80\x99re all set. See you tomorrow!",
      "booked hot booked", "2026-11-22T15:00:00", "inspection", 1, "agent: Great",
      "not_booked hot qualified_not_booked" },
    { "booked by the customer",
      "agent: the earliest is monday at half past two\ncustomer: okay that works for me\nagent: very good",
      "booked hot booked", "2026-11-23T14:30:00", NULL, 1, "customer:", "not_booked cold other" },
    { "accepted, but nothing was offered", "agent: i will send you our brochure\ncustomer: that works for me",
      "not_booked cold other", NULL, NULL, 1, "agent:", "not_booked cold other" },
    { "booked without a time",
      "customer: can you come and look at my sink\nagent: i have booked you in we will call with the time",
      "booked hot booked", NULL, "plumbing", 0, "agent:", "not_booked hot qualified_not_booked" },
    { "the time follows the booking",
      "customer: my furnace stopped working\nagent: youre booked\nagent: it will be thursday at nine in the morning",
      "booked hot booked", "2026-11-26T09:00:00", "heating", 0, "agent: it will", "booked hot booked" },
    { "a later phone number does not move the time",
      "agent: you are booked for tuesday at ten\ncustomer: call me at five five five oh one two three",
      "booked hot booked", "2026-11-24T10:00:00", NULL, 0, "agent:", "not_booked cold other" },
    { "hot, not booked",
      "agent: how can i help\ncustomer: i need someone right away the pipe is leaking\nagent: we have nobody free i"
      " am sorry",
      "not_booked hot qualified_not_booked", NULL, NULL, 0, "customer:", "not_booked cold other" },
    { "warm", "agent: hello\ncustomer: how much is a new roof\nagent: about nine thousand\ncustomer: okay good to know",
      "not_booked warm qualified_not_booked", NULL, NULL, 1, "customer: how", "not_booked cold other" },
    { "price objection",
      "customer: i am interested in painting\nagent: that is two thousand dollars\ncustomer: no that is more than i"
      " can pay",
      "not_booked warm qualified_not_booked price", NULL, NULL, -1, "customer: no",
      "not_booked warm qualified_not_booked" },
    { "many objections",
      "customer: i need a quote\nagent: sure\ncustomer: you are too expensive\ncustomer: i have to ask my wife\n"
      "customer: i want to shop around\ncustomer: i dont trust you",
      "not_booked warm qualified_not_booked price,authority,competitor,trust", NULL, NULL, -1, "customer: i have",
      "not_booked warm qualified_not_booked price,competitor,trust" },
    { "an objection denied is none",
      "customer: i need a quote\ncustomer: that is not too expensive\ncustomer: it is not too late",
      "not_booked warm qualified_not_booked", NULL, NULL, 0, "customer: i need", "not_booked cold other" },
    { "not an emergency", "customer: it is not an emergency but do you do gutters\nagent: yes we do",
      "not_booked warm qualified_not_booked", NULL, NULL, 0, "customer:", "not_booked cold other" },
    { "not offered", "customer: can you come and fix my fridge\nagent: i am sorry we do not offer that",
      "service_not_offered hot service_not_offered", NULL, NULL, 0, "agent:", "not_booked hot qualified_not_booked" },
    { "wrong number", "agent: thanks for calling\ncustomer: i need pizza sorry wrong number",
      "not_booked cold wrong_number", NULL, NULL, -1, "customer:", "not_booked cold other" },
    { "spam",
      "agent: hello\ncustomer: we can improve your google listing how much is your website making\nagent: take us"
      " off your list",
      "not_booked cold spam", NULL, NULL, 0, "customer:", "not_booked cold spam" },
    { "a recorded voice", "agent: hello\ncustomer: to lower your electric bill press one", "not_booked cold spam", NULL,
      NULL, 0, "customer:", "not_booked cold other" },
    { "a voicemail is still a lead",
      "agent: nobody is here please speak after the tone\ncustomer: my basement is flooding call me",
      "not_booked hot voicemail", NULL, NULL, 0, "agent:", "not_booked hot qualified_not_booked" },
    { "existing customer", "agent: how can i help\ncustomer: i have a question about my invoice\nagent: sure",
      "not_booked cold existing_customer", NULL, NULL, 0, "customer:", "not_booked cold other" },
    { "a cancelled appointment is not booked",
      "customer: i need to cancel my appointment for tuesday at ten\nagent: okay you are all set it is cancelled",
      "not_booked warm existing_customer", NULL, NULL, 0, "customer:", "booked hot booked" },
    { "a moved one is", "customer: i would like to reschedule\nagent: sure you are all set for friday at eleven",
      "booked hot booked", "2026-11-27T11:00:00", NULL, 0, "agent:", "not_booked warm existing_customer" },
    { "one channel for both",
      "speaker: thank you for calling how can i help\nspeaker: my toilet is broken can you come tomorrow\n"
      "speaker: yes you are booked for tomorrow at one",
      "booked hot booked", "2026-11-22T13:00:00", "plumbing", 1, "speaker: yes",
      "not_booked hot qualified_not_booked" },
    { "one channel, too expensive",
      "speaker: hello\nspeaker: how much is it\nspeaker: two hundred\nspeaker: that is too expensive",
      "not_booked warm qualified_not_booked price", NULL, NULL, -1, "speaker: that",
      "not_booked warm qualified_not_booked" },
    { "what only the agent says is not the customer's wish",
      "agent: is it leaking is it urgent do you need someone\ncustomer: just looking around", "not_booked cold other",
      NULL, NULL, 0, "customer:", "not_booked cold other" },
    { "what only the customer says books nothing", "agent: hello\ncustomer: you are booked out i guess",
      "not_booked cold other", NULL, NULL, 0, "customer:", "not_booked cold other" },
    { "angry",
      "agent: how can i help\ncustomer: this is the worst service it is ridiculous and unacceptable\nagent: i am sorry",
      "not_booked cold other", NULL, NULL, -1, "customer:", "not_booked cold other" },
    { "delighted", "customer: everything was wonderful thank you\nagent: glad to hear", "not_booked cold other", NULL,
      NULL, 1, "customer:", "not_booked cold other" },
    { "hardly anything", "customer: hm", "not_booked cold other", NULL, NULL, 0, "agent:", "not_booked cold other" },
    { "nothing", "", "not_booked cold other", NULL, NULL, 0, "agent:", "not_booked cold other" },
    { "labels alone", "agent:\ncustomer: \n\n\n", "not_booked cold other", NULL, NULL, 0,
      "agent:", "not_booked cold other" },
    { "another language",
      "agent: Gr\xc3\xbc\xc3\x9f Gott\ncustomer:"
      " \xe7\xb5\xa6\xe6\xb9\xaf\xe5\x99\xa8\xe3\x81\x8c\xe5\xa3\x8a\xe3\x82\x8c\xe3\x81\xbe\xe3\x81\x97\xe3\x81\x9f",
      "not_booked cold other", NULL, NULL, 0, "agent:", "not_booked cold other" },
};

static int start(void **state)
{
    *state = arena_new(ARENA_BYTES_MAX);
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

static struct call_analysis analyze(const char *transcript, struct arena *arena)
{
    struct call_analysis analysis;
    rules_analyze(&(struct rules_call){ .transcript = transcript, .started_at = SATURDAY, .weekday = 6 }, arena,
                  &analysis);
    return analysis;
}

static const char *print(const struct call_analysis *analysis, struct arena *arena)
{
    const char *text = arena_printf(arena, "%s %s %s", analysis->booking_status, analysis->lead_qualification,
                                    analysis->call_outcome_category);
    for (size_t i = 0; i < analysis->objections_count; i++)
        text = arena_printf(arena, "%s%s%s", text, i ? "," : " ", analysis->objections[i].category);
    return text;
}

/* What holds of any analysis: valid by its schema, and every quote was said. */
static void check_sound(const char *transcript, const struct call_analysis *analysis, struct arena *arena)
{
    struct evidence *evidence = evidence_prepare(transcript, arena);
    struct call_analysis read, whole = *analysis;
    struct call_analysis_appointment appointment;
    struct problem why;
    struct buf json;
    if (whole.appointment) {            /* calls.c gives the time its offset */
        appointment = *whole.appointment;
        if (appointment.scheduled_start)
            appointment.scheduled_start = arena_printf(arena, "%sZ", appointment.scheduled_start);
        whole.appointment = &appointment;
        assert_true(evidence_holds(evidence, appointment.quote, arena));
    }
    for (size_t i = 0; i < whole.evidence_count; i++)
        assert_true(evidence_holds(evidence, whole.evidence[i].quote, arena));
    for (size_t i = 0; i < whole.objections_count; i++)
        assert_true(evidence_holds(evidence, whole.objections[i].quote, arena));
    buf_init(&json, 1 << 20);
    call_analysis_write(&json, &whole);
    if (!call_analysis_read(buf_text(&json), arena, &read, &why))
        fail_msg("%s: %s in %s", why.pointer, why.text, json.at);
    buf_done(&json);
}

static const char *without_line(const char *transcript, const char *key, struct arena *arena)
{
    char *copy = arena_copy(arena, transcript), *line = strstr(copy, key);
    if (line)
        memmove(line, line + strcspn(line, "\n"), strlen(line + strcspn(line, "\n")) + 1);
    return copy;
}

static void calls_are_understood(void **state)
{
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct call_analysis analysis = analyze(cases[i].transcript, *state);
        const char *time = analysis.appointment ? analysis.appointment->scheduled_start : NULL;
        const char *service = analysis.appointment ? analysis.appointment->service_type : NULL;
        int mood = (analysis.sentiment_score > 0) - (analysis.sentiment_score < 0);
        print_message("%s\n", cases[i].name);
        assert_string_equal(print(&analysis, *state), cases[i].said);
        assert_string_equal(time ? time : "", cases[i].time ? cases[i].time : "");
        assert_string_equal(service ? service : "", cases[i].service ? cases[i].service : "");
        assert_int_equal(mood, cases[i].mood);
        check_sound(cases[i].transcript, &analysis, *state);

        const char *less = without_line(cases[i].transcript, cases[i].key, *state);
        analysis = analyze(less, *state);
        assert_string_equal(print(&analysis, *state), cases[i].without);
        check_sound(less, &analysis, *state);
    }
}

static void the_agents_steps_are_checked(void **state)
{
    struct call_analysis all = analyze(
        "agent: Thank you for calling Acme, this is Ana. How can I help?\nagent: May I have your name?\n"
        "agent: And your address?\nagent: We can come on Monday. Does that work?\nagent: Thank you, have a nice"
        " day.", *state);
    assert_int_equal(all.sop_compliance.missed_steps_count, 0);
    assert_true(all.sop_compliance.score == 1);
    struct call_analysis none = analyze("agent: yeah\ncustomer: thank you for calling how can i help", *state);
    assert_int_equal(none.sop_compliance.missed_steps_count, 6);
    assert_true(none.sop_compliance.score == 0);
    assert_string_equal(none.sop_compliance.missed_steps[0], "greets and names the company");
}

/* The words that count stand in the middle of a turn that holds the whole call: the quote is around them. */
static void a_long_turn_is_quoted_where_it_counts(void **state)
{
    static const char *const kinds[] = { "blah ", "bl\xc3\xa4h. ", "it's ", "a1 ", "\xe7\xb5\xa6\xe6\xb9\xaf" };
    for (size_t i = 0; i < LENGTH(kinds); i++) {
        struct buf text;
        buf_init(&text, 1 << 20);
        buf_add_string(&text, "speaker: ");
        for (int j = 0; j < 2000; j++)
            buf_add_string(&text, kinds[i]);
        buf_add_string(&text, "Oh. You\xe2\x80\x99re booked for Tuesday, ten thirty! ");
        for (int j = 0; j < 2000; j++)
            buf_add_string(&text, kinds[i]);
        buf_add_string(&text, "that is too expensive and we close on friday at nine");
        struct call_analysis analysis = analyze(text.at, *state);
        assert_string_equal(print(&analysis, *state), "booked hot booked price");
        assert_string_equal(analysis.appointment->scheduled_start, "2026-11-24T10:30:00");
        assert_non_null(strstr(analysis.appointment->quote, "You\xe2\x80\x99re booked for Tuesday, ten thirty"));
        assert_non_null(strstr(analysis.objections[0].quote, "too expensive"));
        assert_in_range(strlen(analysis.appointment->quote), 100, 300);
        check_sound(text.at, &analysis, *state);
        buf_done(&text);
    }
}

static void a_word_without_end_is_not_quoted(void **state)
{
    struct buf text;
    buf_init(&text, 1 << 20);
    buf_add_string(&text, "customer: ");
    for (int i = 0; i < 100000; i++)
        buf_add_string(&text, "\xc3\xa4");
    struct call_analysis analysis = analyze(text.at, *state);
    assert_string_equal(print(&analysis, *state), "not_booked cold other");
    check_sound(text.at, &analysis, *state);
    buf_done(&text);
}

/* As much of one thing as a transcript may hold takes no longer than a moment. */
static void the_largest_calls_are_read(void **state)
{
    static const char *const lines[] = {
        "customer: too expensive\n", "customer: not urgent not urgent not leaking\n", "a\n", "\n", "5 ", "not no "
    };
    for (size_t i = 0; i < LENGTH(lines); i++) {
        struct buf text;
        buf_init(&text, (1 << 20) + 64);
        while (text.bytes < 1 << 20)
            buf_add_string(&text, lines[i]);
        struct call_analysis analysis = analyze(text.at, *state);
        assert_true(analysis.objections_count <= 20);
        check_sound(text.at, &analysis, *state);
        buf_done(&text);
        arena_reset(*state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(calls_are_understood, start, finish),
        cmocka_unit_test_setup_teardown(the_agents_steps_are_checked, start, finish),
        cmocka_unit_test_setup_teardown(a_long_turn_is_quoted_where_it_counts, start, finish),
        cmocka_unit_test_setup_teardown(a_word_without_end_is_not_quoted, start, finish),
        cmocka_unit_test_setup_teardown(the_largest_calls_are_read, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
