/* What counts as said: analyze/words.c and analyze/evidence.c. */
#include "analyze/analyze.h"
#include "analyze/words.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)64 << 20)

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

static void words_are_plain(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        { "", "" },
        { " .,;!? \t-", "" },
        { "Hello, World!", "hello world" },
        { "don't DON\xe2\x80\x99T don\xca\xbct", "dont dont dont" },
        { "'yes' \xe2\x80\x98no\xe2\x80\x99", "yes no" },
        { "the customers' o'clock", "the customers oclock" },
        { "3pm 10:30am 1st", "3 pm 10 30 am 1 st" },
        { "well\xe2\x80\xa6ok \xe2\x80\x94 \xe2\x80\x9cyes\xe2\x80\x9d \xc2\xabno\xc2\xbb", "well ok yes no" },
        { "a\xc2\xa0" "b\xe2\x80\x89" "c", "a b c" },
        { "\xc3\x89" "COLE \xc3\x89t\xc3\xa9", "\xc3\xa9" "cole \xc3\xa9t\xc3\xa9" },
        { "\xd0\x9f\xd0\xa0\xd0\x98\xd0\x92\xd0\x95\xd0\xa2, \xce\xa3\xce\xb1",
          "\xd0\xbf\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82 \xcf\x83\xce\xb1" },
        { "\xe7\xb5\xa6\xe6\xb9\xaf\xe5\x99\xa8\xe3\x80\x82", "\xe7\xb5\xa6 \xe6\xb9\xaf \xe5\x99\xa8" },
        { "caf\xc3 \xff" "bar\xe2\x80", "caf bar" },         /* not UTF-8 */
        { "\xf0\x9f\x98\x80 smile", "smile" },
    };
    char got[256];
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct word word;
        got[0] = '\0';
        for (const char *at = cases[i].text; word_next(at, &word); at = word.to) {
            assert_true(word.from >= at && word.to > word.from);
            snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s", got[0] ? " " : "", word.text);
        }
        assert_string_equal(got, cases[i].words);
    }
    (void)state;
}

static void a_huge_word_is_several(void **state)
{
    struct word word;
    size_t seen = 0;
    char *huge = arena_alloc(*state, 100001);
    memset(huge, 'x', 100000);
    for (const char *at = huge; word_next(at, &word); at = word.to)
        seen += strlen(word.text);
    assert_int_equal(seen, 100000);
    for (size_t i = 0; i + 2 <= 100000; i += 2)
        memcpy(huge + i, "\xc3\x9c", 2);
    for (const char *at = huge; word_next(at, &word); at = word.to)
        assert_true(text_is_utf8(text_of(word.text)));
}

static void speakers_are_known_by_their_label(void **state)
{
    enum speaker speaker;
    assert_string_equal(turn_said("agent: hi", &speaker), " hi");
    assert_int_equal(speaker, AGENT);
    assert_string_equal(turn_said("customer: at 10:30", &speaker), " at 10:30");
    assert_int_equal(speaker, CUSTOMER);
    assert_string_equal(turn_said("speaker: hi", &speaker), " hi");
    assert_int_equal(speaker, ANYONE);
    assert_string_equal(turn_said("10:30 it is", &speaker), "10:30 it is");
    assert_int_equal(speaker, ANYONE);
    (void)state;
}

/* One call as a good transcriber writes it, one as PocketSphinx does. */
#define WRITTEN                                                                                                        \
    "agent: Good morning! Thanks for calling \xe2\x80\x9c" "Acme\xe2\x80\x9d. How can I help?\n" \
    "customer: Hi, my water heater isn\xe2\x80\x99t working \xe2\x80\x94 it's leaking\xe2\x80\xa6 badly.\n"            \
    "agent: It's $80. Call us at 555-0123, ext. 4.\n"                                                                  \
    "customer: That's too expensive; I'd pay 25 dollars. Oh, ten o'clock works.\n"                                     \
    "agent: You're booked for Tuesday, 10:30.\n"                                                                       \
    "customer: Das w\xc3\xa4re sch\xc3\xb6n. \xd0\xa1\xd0\xbf\xd0\xb0\xd1\x81\xd0\xb8\xd0\xb1\xd0\xbe!\n"              \
    "customer: \xe7\xb5\xa6\xe6\xb9\xaf\xe5\x99\xa8\xe3\x81\x8c\xe5\xa3\x8a\xe3\x82\x8c\xe3\x81\x9f"
#define HEARD                                                                                                          \
    "agent: good morning how can i help\n"                                                                             \
    "customer: it is twenty five oak street and my number is five five five oh one two three four\n"                   \
    "agent: that one ten o'clock works it is one hundred dollars\n"                                                    \
    "customer: we'll take the ninety nine dollar one\n"

static void quotes_are_said_or_not(void **state)
{
    static const struct {
        const char *transcript, *quote;
        bool holds;
    } cases[] = {
        { WRITTEN, "Good morning! Thanks for calling \"Acme\".", true },
        { WRITTEN, "GOOD MORNING, THANKS FOR CALLING ACME", true },
        { WRITTEN, "  good\n morning\tthanks  ", true },
        { WRITTEN, "my water heater isn't working", true },
        { WRITTEN, "my water heater isn\xe2\x80\x99t working - it\xe2\x80\x99s leaking... badly", true },
        { WRITTEN, "\xe2\x80\x9cit's leaking\xe2\x80\xa6 badly\xe2\x80\x9d", true },
        { WRITTEN, "it's eighty", true },
        { WRITTEN, "$80", true },
        { WRITTEN, "80 dollars", false },
        { WRITTEN, "call us at five five five zero one two three", true },
        { WRITTEN, "5550123", true },
        { WRITTEN, "555 01", false },                       /* "0123" is one number */
        { WRITTEN, "extension four", false },
        { WRITTEN, "twenty-five dollars", true },
        { WRITTEN, "twenty dollars", false },
        { WRITTEN, "5 dollars", false },
        { WRITTEN, "oh ten o'clock works", true },
        { WRITTEN, "10 o\xe2\x80\x99" "clock works", true },
        { WRITTEN, "booked for Tuesday, ten thirty", true },
        { WRITTEN, "booked for tuesday ten", true },
        { WRITTEN, "booked for tuesday 103", false },
        { WRITTEN, "das w\xc3\x84RE sch\xc3\xb6n", true },
        { WRITTEN, "das ware schon", false },
        { WRITTEN, "\xd1\x81\xd0\xbf\xd0\xb0\xd1\x81\xd0\xb8\xd0\xb1\xd0\xbe", true },
        { WRITTEN, "\xe5\xa3\x8a\xe3\x82\x8c\xe3\x81\x9f", true },
        { WRITTEN, "\xe5\xa3\x8a\xe3\x81\x9f", false },
        { WRITTEN, "customer: That's too expensive", true },        /* the label, copied along */
        { WRITTEN, "agent: that's too expensive", true },
        { WRITTEN, "doctor: that's too expensive", false },
        /* invented */
        { WRITTEN, "the service was wonderful", false },
        { WRITTEN, "that's not too expensive", false },
        { WRITTEN, "too expensive I'd pay 250 dollars", false },
        { WRITTEN, "water heate", false },
        { WRITTEN, "ater heater", false },
        /* across turns, even of one speaker */
        { WRITTEN, "How can I help? Hi, my water heater", false },
        { WRITTEN, "How can I help?\ncustomer: Hi, my water heater", false },
        { WRITTEN, "badly. agent: It's $80", false },
        { WRITTEN, "\xd0\xa1\xd0\xbf\xd0\xb0\xd1\x81\xd0\xb8\xd0\xb1\xd0\xbe \xe7\xb5\xa6", false },
        { WRITTEN, "help\x1f" "hi", false },
        { WRITTEN, "help \x1f hi", false },
        /* nothing at all */
        { WRITTEN, "", false },
        { WRITTEN, " ... ", false },
        { WRITTEN, "customer:", false },
        { "", "anything", false },
        { "agent:\ncustomer: \n\n", "agent", false },
        { "agent: 5\ncustomer: 5", "55", false },

        { HEARD, "25 Oak Street", true },
        { HEARD, "It is twenty five Oak Street.", true },
        { HEARD, "my number is 555-0123", true },
        { HEARD, "555 01234", true },
        { HEARD, "5550124", false },
        { HEARD, "ten o'clock works", true },                       /* although "one" comes before */
        { HEARD, "11 o'clock works", false },
        { HEARD, "100 dollars", false },                            /* hundreds stay words */
        { HEARD, "We'll take the 99 dollar one.", true },
        { HEARD, "we will take the", false },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct evidence *evidence = evidence_prepare(cases[i].transcript, *state);
        if (evidence_holds(evidence, cases[i].quote, *state) != cases[i].holds)
            fail_msg("\"%s\" should %sbe evidence", cases[i].quote, cases[i].holds ? "" : "not ");
    }
}

/* The largest transcript there is, of the words that take the most room. */
static void the_largest_transcript_is_searched(void **state)
{
    size_t bytes = 1 << 20;
    char *transcript = arena_alloc(*state, bytes + 64);
    for (size_t i = 0; i < bytes; i += 4)
        memcpy(transcript + i, "a1\nb", 4);
    memcpy(transcript + bytes, "\ncustomer: at the very end", sizeof("\ncustomer: at the very end"));
    struct evidence *evidence = evidence_prepare(transcript, *state);
    assert_true(evidence_holds(evidence, "at the very end", *state));
    assert_false(evidence_holds(evidence, "at the very beginning", *state));
    assert_false(evidence_holds(evidence, transcript, *state));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(words_are_plain, start, finish),
        cmocka_unit_test_setup_teardown(a_huge_word_is_several, start, finish),
        cmocka_unit_test_setup_teardown(speakers_are_known_by_their_label, start, finish),
        cmocka_unit_test_setup_teardown(quotes_are_said_or_not, start, finish),
        cmocka_unit_test_setup_teardown(the_largest_transcript_is_searched, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
