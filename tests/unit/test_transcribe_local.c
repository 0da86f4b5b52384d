/* PocketSphinx: recorded speech is heard in every format, by channel, by several at once, and in the same memory. */
#include "tests/unit/transcribe_fixture.h"

#include <ctype.h>

static bool local_is_here(void)
{
    transcribe.with = TRANSCRIBE_LOCAL;
    if (local_ready(&transcribe, &why))
        return shared_is_here();
    printf("skipped: %s\n", why.text);
    return false;
}

/* Copies a file of ../shared to where the server finds it. */
static const char *served(const char *name)
{
    size_t bytes;
    char *at = read_bytes(shared_path(name), &bytes);
    write_bytes(path_of(name), at, bytes);
    free(at);
    return name;
}

static const char *lines_heard(void)
{
    const char *begin = strstr(effects.at, "|en|");
    assert_non_null(begin);
    return arena_copy_text(arena, (struct text){ begin + 4, strcspn(begin + 4, "|") });
}

/* Words in lower case, without punctuation and speakers. */
static size_t words_of(const char *text, char words[256][32])
{
    size_t count = 0;
    for (const char *at = text; *at && count < 256;) {
        size_t bytes = 0;
        for (; *at && !isspace((unsigned char)*at); at++)
            if ((isalnum((unsigned char)*at) || *at == '\'' || *at == ':') && bytes < 31)
                words[count][bytes++] = (char)tolower((unsigned char)*at);
        words[count][bytes] = '\0';
        count += bytes > 0 && words[count][bytes - 1] != ':';
        while (isspace((unsigned char)*at))
            at++;
    }
    return count;
}

/* How many of the words that were said were heard, in order. */
static double share_heard(const char *said, const char *heard)
{
    static char a[256][32], b[256][32];
    static int longest[257][257];
    size_t wanted = words_of(said, a), got = words_of(heard, b);
    memset(longest, 0, sizeof(longest));
    for (size_t i = 1; i <= wanted; i++)
        for (size_t j = 1; j <= got; j++) {
            int better = longest[i - 1][j] > longest[i][j - 1] ? longest[i - 1][j] : longest[i][j - 1];
            longest[i][j] = strcmp(a[i - 1], b[j - 1]) == 0 ? longest[i - 1][j - 1] + 1 : better;
        }
    return (double)longest[wanted][got] / (double)wanted;
}

static void hears_recorded_speech(void **state)
{
    (void)state;
    static const char said[] = "Good morning, Steve. Good morning, Katie. Have you tried the latest real time "
                               "diarization in Microsoft Speech Service which can "
                               "tell you who said what in real time? Not yet. I've been using the batch transcription "
                               "with diarization functionality, but it "
                               "produces diarization results until whole audio get processed. Is the new feature can "
                               "diarize in real time? Absolutely. That's "
                               "exciting. Let me try it right now.";
    if (!local_is_here())
        skip();
    expect(try_path(served("two-people-talking.wav"), &(struct asked){ 0 }), DONE, "");
    double share = share_heard(said, lines_heard());
    if (share <= 0.8)
        fail_msg("heard %.0f %% of the words:\n%s", share * 100, lines_heard());
    expect_effect("|acme|CAL1|local|pocketsphinx|en|speaker: good morning steve\nspeaker: good morning katie\n" + 1);

    static const char *const names[] = { "one-question.wav", "one-question.mp3", "one-question-mulaw.wav" };
    for (size_t i = 0; i < LENGTH(names); i++) {
        forget_copies();
        expect(try_path(served(names[i]), &(struct asked){ 0 }), DONE, "");
        assert_string_equal(lines_heard(), "speaker: what's the weather like");
        expect_effect("\"segments\":1,\"words\":4,\"speakers\":1");
    }
    forget_copies();
    expect(try_path(served("broken-header.wav"), &(struct asked){ 0 }), REJECT, "the recording has a broken header");
}

/* The question asked on the left, and again on the right; each in its own place. */
static void tells_channels_apart(void **state)
{
    (void)state;
    if (!local_is_here())
        skip();
    SF_INFO info = { .format = SF_FORMAT_WAV | SF_FORMAT_ULAW, .samplerate = 16000, .channels = 2 };
    SNDFILE *file = sf_open(path_of("stereo.wav"), SFM_WRITE, &info);
    static int16_t samples[4 * 16000], frames[8 * 16000][2];
    struct audio *audio;
    assert_int_equal(audio_open(shared_path("one-question.wav"), 0, &audio, &why), AUDIO_GOOD);
    size_t count = audio_read(audio, samples, LENGTH(samples));
    audio_close(audio);
    for (size_t i = 0; i < count; i++) {
        frames[i + 16000 * 5][0] = samples[i];
        frames[i + 16000 * 1][1] = samples[i];
    }
    sf_writef_short(file, &frames[0][0], LENGTH(frames));
    sf_close(file);
    expect(try_path("stereo.wav", &(struct asked){ 0 }), DONE, "");
    assert_string_equal(lines_heard(), "customer: what's the weather like\nagent: what's the weather like");
    expect_effect("{\"speaker\":\"customer\",\"start_s\":1.1");
    expect_effect("{\"speaker\":\"agent\",\"start_s\":5.1");
    expect_effect("\"segments\":2,\"words\":8,\"speakers\":2");
}

static long resident_kib(void)
{
    long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%*d %ld", &pages) != 1)
        abort();
    fclose(file);
    return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static void stays_the_same_size(void **state)
{
    (void)state;
    if (!local_is_here())
        skip();
    long after_few = 0;
    for (int i = 0; i < 20; i++) {
        forget_copies();
        expect(try_path(served("one-question.wav"), &(struct asked){ 0 }), DONE, "");
        arena_reset(arena);
        if (i == 4)
            after_few = resident_kib();
    }
#ifndef __SANITIZE_ADDRESS__ /* which keeps what was freed */
    long grown = resident_kib() - after_few;
    if (grown > 1024)
        fail_msg("%ld KiB more after 15 transcriptions", grown);
#endif
    assert_true(after_few > 0);
}

static void says_which_model_is_missing(void **state)
{
    (void)state;
    const char *usual = transcribe.model_dir;
    transcribe.model_dir = "/nowhere";
    assert_false(local_ready(&transcribe, &why));
    assert_non_null(strstr(why.text, "could not find PocketSphinx's model \"/nowhere/en-us\""));
    transcribe.model_dir = usual;
}

struct listener {
    pthread_t thread;
    struct buf effects;
    struct problem why;
    enum outcome outcome;
};

static void *listen_to_call(void *context)
{
    struct listener *listener = context;
    static const struct asked nothing = { 0 };
    char data[256];
    snprintf(data, sizeof(data),
             "{\"call_id\":\"" CALL "\",\"recording_url\":\"http://127.0.0.1:%u/one-question.wav\"}", server.port);
    buf_init(&listener->effects, 64 * 1024);
    listener->outcome = try_into(data, &nothing, &listener->effects, &listener->why);
    return NULL;
}

static void shares_its_decoders(void **state)
{
    (void)state;
    struct listener listeners[5];
    if (!local_is_here())
        skip();
    served("one-question.wav");
    transcribe.decoders_max = 2;
    for (size_t i = 0; i < LENGTH(listeners); i++)
        if (pthread_create(&listeners[i].thread, NULL, listen_to_call, &listeners[i]) != 0)
            abort();
    for (size_t i = 0; i < LENGTH(listeners); i++)
        pthread_join(listeners[i].thread, NULL);
    transcribe.decoders_max = 1;
    for (size_t i = 0; i < LENGTH(listeners); i++) {
        if (listeners[i].outcome != DONE)
            fail_msg("%s", listeners[i].why.text);
        assert_non_null(strstr(listeners[i].effects.at, "|en|speaker: what's the weather like|"));
        buf_done(&listeners[i].effects);
    }
    assert_int_equal(count_files(".wav"), 1);
    assert_int_equal(count_files(".part"), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(hears_recorded_speech), TEST(tells_channels_apart),        TEST(shares_its_decoders),
        TEST(stays_the_same_size),   TEST(says_which_model_is_missing),
    };
    return cmocka_run_group_tests_name("transcribe_local", tests, begin, end);
}
