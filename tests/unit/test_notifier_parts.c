/* Long texts as messages that WhatsApp takes, and how fast messages may leave. */
#include "notifier/pace.h"
#include "notifier/parts.h"

#include "common/utf8.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

static struct arena *arena;
static const char *parts[WHATSAPP_PARTS_MAX];

static int start(void **state)
{
    (void)state;
    arena = arena_new((size_t)16 << 20);
    return 0;
}

static int end(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

static int characters(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static const char *many(const char *piece, int times)
{
    size_t bytes = strlen(piece);
    char *text = arena_alloc(arena, bytes * (size_t)times + 1);
    for (int i = 0; i < times; i++)
        memcpy(text + bytes * (size_t)i, piece, bytes);
    return text;
}

/* What is said, without numbers and blanks. */
static const char *words(const char *text)
{
    char *copy = arena_alloc(arena, strlen(text) + 1), *at = copy;
    for (; *text; text++)
        if ((unsigned char)*text > ' ')
            *at++ = *text;
    return copy;
}

static void check_parts(const char *text, int wanted)
{
    char said[64 * 1024] = "";
    int count = parts_of(arena, text, parts);
    assert_int_equal(count, wanted);
    for (int i = 0; i < count; i++) {
        char number[32];
        snprintf(number, sizeof(number), "(%d/%d) ", i + 1, count);
        assert_true(characters(parts[i]) <= WHATSAPP_BODY_CHARACTERS_MAX);
        assert_true(text_is_utf8(text_of(parts[i])));
        assert_true(count == 1 || strncmp(parts[i], number, strlen(number)) == 0);
        strcat(said, count == 1 ? parts[i] : parts[i] + strlen(number));
    }
    assert_string_equal(words(said), words(text));
}

static void what_fits_is_one_part_as_it_is(void **state)
{
    assert_int_equal(parts_of(arena, "", parts), 0);
    assert_int_equal(parts_of(arena, " \n\t ", parts), 0);
    check_parts("  Good morning.\n\nA plan. \n", 1);
    assert_string_equal(parts[0], "Good morning.\n\nA plan.");
    check_parts(many("x", 1600), 1);
    check_parts(many("\xF0\x9F\x98\x80", 1600), 1); /* characters, not bytes */
    check_parts(many("\xF0\x9F\x98\x80", 1601), 2);
    (void)state;
}

static void a_long_text_ends_its_parts_where_a_person_would(void **state)
{
    const char *paragraph = many("Every word of it counts. ", 30);
    check_parts(arena_printf(arena, "One. %s\n\nTwo. %s\n\nThree. %s", paragraph, paragraph, paragraph), 2);
    assert_memory_equal(parts[1], "(2/2) Three. ", 13);

    check_parts(many("Every word of it counts! ", 100), 2); /* one paragraph: its sentences */
    assert_true(parts[0][strlen(parts[0]) - 1] == '!');

    check_parts(many("word ", 500), 2); /* one sentence: its words */
    assert_string_equal(parts[0] + strlen(parts[0]) - 5, " word");

    check_parts(many("\xE2\x82\xAC", 4000), 3); /* one word: its characters */
    assert_int_equal(characters(parts[0]), 1598);

    check_parts(arena_printf(arena, "Short.\n\n%s", many("Every word of it counts. ", 100)), 2);
    assert_true(characters(parts[0]) > 1000); /* not a part for one word */

    check_parts(arena_printf(arena, "%s 3.5 %s", many("x ", 780), many("y ", 300)), 2);
    (void)state;
}

static void what_is_beyond_all_parts_is_cut_and_shown_to_be(void **state)
{
    assert_int_equal(parts_of(arena, many("word ", 10000), parts), WHATSAPP_PARTS_MAX);
    const char *last = parts[WHATSAPP_PARTS_MAX - 1];
    assert_memory_equal(last, "(10/10) ", 8);
    assert_string_equal(last + strlen(last) - strlen(UTF8_ELLIPSIS), UTF8_ELLIPSIS);
    assert_int_equal(characters(last), WHATSAPP_BODY_CHARACTERS_MAX);
    (void)state;
}

static void texts_are_clipped_between_characters(void **state)
{
    assert_string_equal(clipped(arena, "Roof", 4), "Roof");
    assert_string_equal(clipped(arena, "Roofs", 4), "Roo" UTF8_ELLIPSIS);
    assert_string_equal(clipped(arena, "\xE2\x82\xAC\xE2\x82\xAC\xE2\x82\xAC", 2), "\xE2\x82\xAC" UTF8_ELLIPSIS);
    (void)state;
}

/* --- the pace ----------------------------------------------------------------------------------------------------- */

#define SECOND_US INT64_C(1000000)
#define FOR_EVER  (INT64_C(3600) * SECOND_US)

/* When the turns of so many instances come that all have more than enough to send, and the most that fall into any one
 * second. */
static int64_t most_in_a_second(int64_t per_s, int64_t live, int turns)
{
    int64_t *at = arena_alloc(arena, sizeof(*at) * (size_t)turns), most = 0;
    for (int i = 0; i < turns; i++) {
        struct pace pace = PACE_NEW;
        int number = i / (int)live; /* all instances alike */
        for (int turn = 0; turn <= number; turn++)
            at[i] = pace_turn(&pace, pace_share(per_s, live), 0, FOR_EVER);
    }
    for (int i = 0, first = 0; i < turns; i++) {
        while (at[i] - at[first] >= SECOND_US)
            first++;
        most = i - first + 1 > most ? i - first + 1 : most;
    }
    return most;
}

static void no_second_has_more_than_the_provider_allows(void **state)
{
    static const int64_t rates[] = { 1, 3, 5, 80, 400 };
    for (size_t i = 0; i < LENGTH(rates); i++)
        for (int64_t live = 1; live <= 4; live++) {
            int64_t most = most_in_a_second(rates[i], live, 1000);
            print_message("%lld a second, %lld instances: %lld\n", (long long)rates[i], (long long)live,
                          (long long)most);
            /* instances that begin in the same moment may all have one more; that of few is as little as it can be */
            assert_true(most <= rates[i] + live - 1);
        }
    (void)state;
}

static void who_writes_now_and_then_does_not_wait(void **state)
{
    struct pace pace = PACE_NEW;
    struct pace_share share = pace_share(80, 1);
    assert_true(share.at_once >= 8);
    for (int64_t second = 1; second < 10; second++)
        for (int i = 0; i < share.at_once; i++)
            assert_int_equal(pace_turn(&pace, share, second * SECOND_US, FOR_EVER), 0);
    (void)state;
}

static void a_turn_that_is_far_off_is_not_taken(void **state)
{
    struct pace pace = PACE_NEW;
    struct pace_share share = pace_share(1, 1);
    assert_int_equal(pace_turn(&pace, share, SECOND_US, 0), 0);
    for (int i = 0; i < 5; i++)
        assert_int_equal(pace_turn(&pace, share, SECOND_US, SECOND_US / 2), SECOND_US);
    assert_int_equal(pace_turn(&pace, share, 2 * SECOND_US, 0), 0);
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(what_fits_is_one_part_as_it_is),
        TEST(a_long_text_ends_its_parts_where_a_person_would),
        TEST(what_is_beyond_all_parts_is_cut_and_shown_to_be),
        TEST(texts_are_clipped_between_characters),
        TEST(no_second_has_more_than_the_provider_allows),
        TEST(who_writes_now_and_then_does_not_wait),
        TEST(a_turn_that_is_far_off_is_not_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
