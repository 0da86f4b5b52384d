/* The coach's words: commands and sentences in many languages, and text as it may be shown. */
#include "analyze/coach.h"

#include "tests/unit/handler_fixture.h"

static void every_sentence_is_there_in_every_language(void **state)
{
    const struct coach_meeting meeting = { .title = "T", .client = "", .company = "", .when = "10:00" };
    for (int which = 0; which < SENTENCES; which++)
        for (size_t i = 0; i < COACH_LANGUAGES; i++) {
            const char *said = sentence(arena, coach_languages[i], (enum sentence)which, &meeting);
            assert_true(*said && text_is_utf8(text_of(said)) && !strchr(said, '{'));
            for (size_t j = 0; j < i; j++)
                assert_string_not_equal(said, sentence(arena, coach_languages[j], (enum sentence)which, &meeting));
        }
    assert_string_equal(sentence(arena, "xx", SAY_NO_MEETING, NULL), sentence(arena, "en", SAY_NO_MEETING, NULL));
    assert_string_equal(sentence(arena, "pt-BR", SAY_NO_MEETING, NULL), sentence(arena, "pt", SAY_NO_MEETING, NULL));
    (void)state;
}

static void commands_of_many_languages(void **state)
{
    static const struct {
        const char *text;
        enum command_kind kind;
    } cases[] = {
        { "plan", COMMAND_PLAN },
        { "Zeig mir den Plan, bitte", COMMAND_PLAN },
        { "MI PLAN", COMMAND_PLAN },
        { "الخطة", COMMAND_PLAN },
        { "योजना", COMMAND_PLAN },
        { "plan the meeting with me", COMMAND_NONE },
        { "What's next?", COMMAND_NEXT },
        { "PRÓXIMA reunión", COMMAND_NEXT },
        { "prochain rendez-vous", COMMAND_NEXT },
        { "Sonraki toplantı", COMMAND_NEXT },
        { "अगली बैठक", COMMAND_NEXT },
        { "next week is bad", COMMAND_NONE },
        { "Hilfe!", COMMAND_HELP },
        { "मदद", COMMAND_HELP },
        { "Stop.", COMMAND_STOP },
        { "Arrêter", COMMAND_STOP },
        { "توقف", COMMAND_STOP },
        { "stop talking about the price", COMMAND_NONE },
        { "Stop all", COMMAND_UNSUBSCRIBE },
        { "Start", COMMAND_START },
        { "शुरू करो", COMMAND_START },
        { "start roleplay", COMMAND_NONE },
        { "Rückgängig", COMMAND_UNDO },
        { "geri al", COMMAND_UNDO },
        { "change it to Monday", COMMAND_CHANGE },
        { "Ändere: Montag", COMMAND_CHANGE },
        { "change the subject?", COMMAND_NONE },
        { "fait-il chaud ?", COMMAND_NONE },
        { "Fertig?", COMMAND_NONE },
        { "done?", COMMAND_DONE },
        { "donut", COMMAND_NONE },
        { "abandoned", COMMAND_NONE },
        { "the deal is done", COMMAND_NONE },
        { "??", COMMAND_NONE },
        { "👍🏽", COMMAND_YES },
        { "Quitter", COMMAND_LEAVE },
        { "देखते हैं", COMMAND_NONE },
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        if (command_read(cases[i].text, arena).kind != cases[i].kind)
            fail_msg("%s is %d", cases[i].text, command_read(cases[i].text, arena).kind);
    (void)state;
}

static void the_language_of_words(void **state)
{
    assert_string_equal(text_language("What do I say to the client about it?", arena), "en");
    assert_string_equal(text_language("Was sage ich, wenn das zu teuer ist und sie nicht kaufen?", arena), "de");
    assert_string_equal(text_language("¿Qué les digo si es muy caro para los jefes?", arena), "es");
    assert_string_equal(text_language("Comment je réponds pour le prix, ils ne sont pas contents", arena), "fr");
    assert_string_equal(text_language("O que eu digo, eles não querem uma reunião com o chefe", arena), "pt");
    assert_string_equal(text_language("Come rispondo, non è per loro il prezzo che gli va", arena), "it");
    assert_string_equal(text_language("Bu fiyat için ne demeliyim, çok pahalı ve nasıl", arena), "tr");
    assert_string_equal(text_language("ماذا أقول عن السعر", arena), "ar");
    assert_string_equal(text_language("कीमत के बारे में क्या कहूँ", arena), "hi");
    assert_null(text_language("3pm", arena));
    (void)state;
}

static void text_is_cleaned_and_cut(void **state)
{
    static const struct {
        const char *text;
        size_t most;
        const char *clean;
    } cases[] = {
        { NULL, 10, "" },
        { " \n\t ", 10, "" },
        { "a\r\nb\n\n\n\n\nc", 20, "a\nb\n\nc" },
        { "a\tb \x7f", 20, "a b" },
        { "caf\xE9", 20, "caf" },
        { "one two three", 9, "one two…" },
        { "First one. Second two three", 13, "First one.…" },
        { "aaaaaaaaaaaaaaaaaaaa", 5, "aaaa…" },
        { "ééééé", 4, "ééé…" },
        { "éééé", 4, "éééé" },
        { "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB", 20,
          "\xF0\x9F\x91\xA9\xE2\x80\x8D\xF0\x9F\x92\xBB" }, /* joined by U+200D */
    };
    for (size_t i = 0; i < LENGTH(cases); i++)
        assert_string_equal(coach_clean(arena, cases[i].text, cases[i].most), cases[i].clean);
    assert_string_equal(coach_style(arena, "### A\n---\n- **b** `c` __d__\n#e", 100), "A\n- *b* c *d*\n#e");
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, handlers_start, handlers_end)
int main(void)
{
    static const struct CMUnitTest tests[] = {
        TEST(every_sentence_is_there_in_every_language),
        TEST(commands_of_many_languages),
        TEST(the_language_of_words),
        TEST(text_is_cleaned_and_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
