/* Visits of every outcome, analysed from their words alone: analyze/rules_visit.c.  Each is told once more without
 * one of its lines, since the outcome must rest on it. */
#include "analyze/analyze.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)96 << 20)

static const struct {
    const char *name, *transcript;
    const char *outcome, *quote;        /* the words it rests on; NULL: none */
    const char *objections;
    const char *key, *without;          /* without the line that begins so: what is the outcome then */
} cases[] = {
    { "won", "agent: shall we start on monday\ncustomer: yes please go ahead", "won", "yes please go ahead", "",
      "customer:", "pending" },
    { "won, as Whisper hears it", "agent: Would you like to sign?\ncustomer: All right, let\xe2\x80\x99s do it!", "won",
      "All right, let\xe2\x80\x99s do it!", "", "customer:", "pending" },
    { "won, told by one channel", "speaker: we replace it for nine thousand\nspeaker: where do i sign", "won",
      "where do i sign", "", "speaker: where", "pending" },
    { "won by the agent's words", "customer: fine\nagent: thank you for signing", "won", "thank you for signing", "",
      "agent:", "pending" },
    { "lost",
      "agent: it costs nine thousand dollars\ncustomer: that is too expensive\n"
      "customer: we are going with another company",
      "lost", "we are going with another company", "price competitor", "customer: we are", "pending" },
    { "lost, politely", "customer: thank you for coming but i will pass", "lost",
      "thank you for coming but i will pass", "", "customer:", "pending" },
    { "open", "customer: i have to think about it", "pending", "i have to think about it", "", "customer:", "pending" },
    { "nobody decides", "agent: this is the roof\ncustomer: it leaks", "pending", NULL, "", "customer:", "pending" },
    { "first open, then won",
      "customer: let me think about it\nagent: i can start on monday\ncustomer: okay i will take it",
      "won", "okay i will take it", "", "customer: okay", "pending" },
    { "first won, then open", "customer: i will sign\ncustomer: but first i have to talk to my wife", "pending",
      "but first i have to talk to my wife", "authority", "customer: but", "won" },
    { "first lost, then won",
      "customer: i am not interested\nagent: i can make it eight thousand\ncustomer: we have a deal",
      "won", "we have a deal", "", "customer: we", "lost" },
    { "first won, then lost", "customer: we have a deal\ncustomer: no wait the answer is no", "lost",
      "no wait the answer is no", "", "customer: no", "won" },
    { "both in one breath", "customer: i wanted to think about it but lets do it", "won",
      "i wanted to think about it but lets do it", "", "customer:", "pending" },
    { "denied", "customer: i will not go ahead with it", "pending", NULL, "", "customer:", "pending" },
    { "what the agent hopes is no decision",
      "agent: then you will say let us do it\ncustomer: maybe", "pending", NULL, "",
      "agent:", "pending" },
    { "not understood", "customer: nous allons signer", "pending", NULL, "", "customer:", "pending" },
    { "nothing", "", "pending", NULL, "", "x", "pending" },
};

static const char *objections_of(const struct visit_analysis *analysis, struct arena *arena)
{
    const char *all = "";
    for (size_t i = 0; i < analysis->objections_count; i++)
        all = arena_printf(arena, "%s%s%s", all, i ? " " : "", analysis->objections[i].category);
    return all;
}

/* The transcript without its first line that begins so. */
static const char *without(const char *transcript, const char *key, struct arena *arena)
{
    const char *line = strstr(transcript, key);
    if (!line)
        return transcript;
    const char *end = line + strcspn(line, "\n");
    return arena_printf(arena, "%.*s%s", (int)(line - transcript), transcript, *end ? end + 1 : end);
}

static void a_visit_is_what_was_said_last(void **state)
{
    struct arena *arena = *state;
    struct visit_analysis analysis;
    struct problem why;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        print_message("%s\n", cases[i].name);
        rules_analyze_visit(cases[i].transcript, arena, &analysis);
        assert_string_equal(analysis.outcome, cases[i].outcome);
        assert_int_equal(analysis.evidence_count, cases[i].quote != NULL);
        if (cases[i].quote)
            assert_string_equal(analysis.evidence[0].quote, cases[i].quote);
        assert_string_equal(objections_of(&analysis, arena), cases[i].objections);

        struct buf json;
        buf_init(&json, 1 << 20);
        visit_analysis_write(&json, &analysis);
        if (!visit_analysis_read(buf_text(&json), arena, &analysis, &why))
            fail_msg("%s: %s %s", cases[i].name, why.pointer, why.text);
        buf_done(&json);
        rules_analyze_visit(without(cases[i].transcript, cases[i].key, arena), arena, &analysis);
        assert_string_equal(analysis.outcome, cases[i].without);
    }
}

static void the_steps_are_the_agents(void **state)
{
    static const char all[] = "agent: good morning this is ana what would you like\n"
                              "agent: i recommend a new roof it costs nine thousand dollars\n"
                              "agent: shall we start\nagent: thank you";
    struct visit_analysis analysis;
    rules_analyze_visit(all, *state, &analysis);
    assert_true(analysis.sop_compliance.score == 1 && analysis.sop_compliance.missed_steps_count == 0);
    rules_analyze_visit(without(all, "agent: i recommend", *state), *state, &analysis);
    assert_int_equal(analysis.sop_compliance.missed_steps_count, 2);
    assert_string_equal(analysis.sop_compliance.missed_steps[0], "explains what would be done");
    assert_string_equal(analysis.sop_compliance.missed_steps[1], "names the price");
    rules_analyze_visit("customer: good morning this costs a thousand dollars", *state, &analysis);
    assert_true(analysis.sop_compliance.score == 0);
}

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_visit_is_what_was_said_last, start, finish),
        cmocka_unit_test_setup_teardown(the_steps_are_the_agents, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
