/* Recordings as samples: formats, what is no audio, what is cut off; where somebody speaks; transcripts put together.
 */
#include "tests/unit/audio_fixture.h"

#include "transcribe/speech.h"
#include "transcribe/transcribe.h"

#include <fcntl.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define HOURS_MS (4 * 3600 * INT64_C(1000))

static struct arena *arena;

static const struct burst one_burst[] = { { 0.5, 1.5 }, { 0, 0 } };

/* --- formats ------------------------------------------------------------------------------------------------------ */

static void reads_what_telephones_record(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int format, sample_rate_hz, channels;
        const char *wanted;
    } table[] = {
        { "pcm16.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, "wav" },
        { "pcm24.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_24, 44100, 2, "wav" },
        { "pcm8.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_U8, 8000, 1, "wav" },
        { "float.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT, 16000, 2, "wav" },
        { "mulaw.wav", SF_FORMAT_WAV | SF_FORMAT_ULAW, 8000, 2, "wav" },
        { "alaw.wav", SF_FORMAT_WAV | SF_FORMAT_ALAW, 8000, 1, "wav" },
        { "gsm.wav", SF_FORMAT_WAV | SF_FORMAT_GSM610, 8000, 1, "wav" },
        { "adpcm.wav", SF_FORMAT_WAV | SF_FORMAT_MS_ADPCM, 8000, 1, "wav" },
        { "extensible.wav", SF_FORMAT_WAVEX | SF_FORMAT_PCM_16, 16000, 2, "wav" },
        { "big.wav", SF_FORMAT_RF64 | SF_FORMAT_PCM_16, 16000, 1, "wav" },
        { "a.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 48000, 2, "flac" },
        { "b.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 8000, 1, "flac" },
        { "a.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 16000, 1, "mp3" },
        { "b.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III, 44100, 2, "mp3" },
        { "a.au", SF_FORMAT_AU | SF_FORMAT_ULAW, 8000, 1, "au" },
        { "a.ogg", SF_FORMAT_OGG | SF_FORMAT_OPUS, 16000, 1, "ogg" },
        { "b.ogg", SF_FORMAT_OGG | SF_FORMAT_OPUS, 48000, 2, "ogg" },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        struct audio_facts facts;
        struct problem why;
        const char *path = path_of(table[i].name);
        write_audio(path, table[i].format, table[i].sample_rate_hz, table[i].channels, 2, one_burst, one_burst);
        if (audio_inspect(path, HOURS_MS, &facts, &why) != AUDIO_GOOD)
            fail_msg("%s: %s", table[i].name, why.text);
        assert_string_equal(facts.format, table[i].wanted);
        assert_int_equal(facts.channels, table[i].channels);
        assert_int_equal(facts.sample_rate_hz, table[i].sample_rate_hz);
        if (fabs(facts.duration_s - 2) > 0.15) /* MP3 and ADPCM have whole blocks */
            fail_msg("%s lasts %g s", table[i].name, facts.duration_s);
        for (int channel = 0; channel < table[i].channels; channel++) {
            struct audio *audio;
            assert_int_equal(audio_open(path, channel, &audio, &why), AUDIO_GOOD);
            struct utterances *utterances = utterances_new(audio);
            struct utterance utterance;
            if (!utterances_next(utterances, &utterance))
                fail_msg("%s: nobody speaks on channel %d", table[i].name, channel);
            if (fabs(utterance.start_s - 0.5) > 0.1 || fabs(utterance.end_s - 1.5) > 0.1)
                fail_msg("%s: speech from %g to %g", table[i].name, utterance.start_s, utterance.end_s);
            assert_false(utterances_next(utterances, &utterance));
            utterances_freep(&utterances);
            audio_close(audio);
        }
    }
}

static void resamples_to_16_khz(void **state)
{
    (void)state;
    static const int rates[] = { 8000, 11025, 16000, 22050, 44100, 48000 };
    for (size_t i = 0; i < LENGTH(rates); i++) {
        struct problem why;
        int16_t samples[1000];
        size_t count = 0;
        write_audio(path_of("rate.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, rates[i], 1, 3, one_burst, NULL);
        struct audio *audio;
        assert_int_equal(audio_open(path_of("rate.wav"), 0, &audio, &why), AUDIO_GOOD);
        for (size_t got; (got = audio_read(audio, samples, LENGTH(samples))) > 0; count += got)
            ;
        assert_int_equal(audio_read(audio, samples, LENGTH(samples)), 0);
        audio_close(audio);
        assert_in_range(count, 3 * AUDIO_RATE_HZ - 4, 3 * AUDIO_RATE_HZ + 4);
    }
    struct problem why;
    struct audio *audio;
    assert_int_equal(audio_open(path_of("rate.wav"), 1, &audio, &why), AUDIO_BAD);
    assert_string_equal(why.text, "the recording has no channel 2");
}

/* --- what is no audio --------------------------------------------------------------------------------------------- */

static void refuse(const char *what, const void *at, size_t bytes, const char *wanted)
{
    struct audio_facts facts;
    struct problem why;
    write_bytes(path_of("refused"), at, bytes);
    if (audio_inspect(path_of("refused"), HOURS_MS, &facts, &why) == AUDIO_GOOD)
        fail_msg("%s was taken for audio", what);
    if (!strstr(why.text, wanted))
        fail_msg("%s: wanted \"%s\", got \"%s\"", what, wanted, why.text);
}

static void refuses_what_is_not_audio(void **state)
{
    (void)state;
    static const struct {
        const char *content, *wanted;
    } table[] = {
        { "", "the recording is empty" },
        { "<!DOCTYPE html><html><body>Sign in</body></html>", "the recording is an HTML page, not audio" },
        { "\xEF\xBB\xBF \r\n<HTML><head>", "an HTML page" },
        { "<?xml version=\"1.0\"?><Error><Code>AccessDenied</Code></Error>", "an XML document" },
        { "{\"url\":\"https://recordings.example/1.mp3\"}", "JSON, not audio" },
        { "not found", "plain text, not audio" },
        { "....ftypM4A ....", "MP4 audio, which cannot be read" },
        { "\x1A\x45\xDF\xA3 webm", "WebM, which cannot be read" },
        { "#!AMR\n", "AMR audio" },
        { "%PDF-1.7", "a PDF document" },
        { "PK\x03\x04 zip", "a zip archive" },
        { "\x1F\x8B\x08 gzip", "a gzip archive" },
        { "\x01\x02\x03\x04\x05\x06", "has a broken header: it begins like no audio format" },
        { "RIFF\x24\xFF\xFF\xFFWAVE", "has a broken header" },
        { "RIFF....WAVEdata....", "has a broken header" },
        { "fLaC....", "has a broken header" },
        { "OggS....", "Ogg audio other than Opus, which cannot be read" },
        { "ID3....", "has a broken header" },
        { "FORM....AIFF....", "AIFF audio, which cannot be read" },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        struct problem why;
        struct audio *audio;
        refuse(table[i].content, table[i].content, strlen(table[i].content), table[i].wanted);
        assert_int_equal(audio_open(path_of("refused"), 0, &audio, &why), AUDIO_BAD);
    }
}

static void put_header(unsigned char *header, uint32_t channels, uint32_t rate, uint32_t data_bytes)
{
    static const unsigned char plain[44] =
        "RIFF\xFF\xFF\xFF\x7FWAVEfmt \x10\0\0\0\x01\0\x01\0\x80\x3e\0\0\0\x7d\0\0\x02\0\x10\0data";
    memcpy(header, plain, sizeof(plain));
    memcpy(header + 22, &(uint16_t){ (uint16_t)channels }, 2);
    memcpy(header + 24, &rate, 4);
    memcpy(header + 32, &(uint16_t){ (uint16_t)(2 * channels) }, 2);
    memcpy(header + 40, &data_bytes, 4);
}

static void refuses_headers_nobody_can_mean(void **state)
{
    (void)state;
    unsigned char file[44 + 64] = { 0 };
    put_header(file, 1, 16000, 64);
    refuse("a header alone", file, 44, "is empty: it has a header and no sound");
    put_header(file, 6, 16000, 48);
    refuse("six channels", file, sizeof(file), "has 6 channels");
    put_header(file, 1, 1, 64);
    refuse("a sample a second", file, sizeof(file), "broken header: 1 samples a second");
    put_header(file, 1, 2000000000, 64);
    refuse("two thousand million samples a second", file, sizeof(file), "broken header");
    put_header(file, 0, 16000, 64);
    refuse("no channel", file, sizeof(file), "broken header");
    put_header(file, 65535, 16000, 64);
    refuse("65,535 channels", file, sizeof(file), "broken header");

    struct audio_facts facts;
    struct problem why;
    static const uint32_t lies[] = { 0xFFFFFFFF, 0x7FFFFFFF, 1 << 30 };
    for (size_t i = 0; i < LENGTH(lies); i++) { /* the length of a stream whose end nobody knew */
        put_header(file, 1, 16000, lies[i]);
        write_bytes(path_of("lies.wav"), file, sizeof(file));
        if (audio_inspect(path_of("lies.wav"), HOURS_MS, &facts, &why) != AUDIO_GOOD)
            fail_msg("data of %u bytes: %s", lies[i], why.text);
        assert_int_equal(facts.frames, 32);
    }
}

static void refuses_what_is_too_long(void **state)
{
    (void)state;
    struct audio_facts facts;
    struct problem why;
    write_audio(path_of("long.flac"), SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 8000, 1, 61, NULL, NULL);
    assert_int_equal(audio_inspect(path_of("long.flac"), 61000, &facts, &why), AUDIO_GOOD);
    assert_int_equal(audio_inspect(path_of("long.flac"), 60000, &facts, &why), AUDIO_BAD);
    assert_string_equal(why.text, "the recording lasts longer than the 60 s of RECORDING_DURATION_MAX");
    assert_int_equal(audio_inspect(path_of("absent"), 60000, &facts, &why), AUDIO_UNREAD);
    assert_non_null(strstr(why.text, "No such file or directory"));
}

/* Cut off anywhere, a recording is either heard as far as it goes or refused with a reason. */
static void stands_what_is_cut_off(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int format;
    } table[] = {
        { "cut.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16 },   { "cut-mulaw.wav", SF_FORMAT_WAV | SF_FORMAT_ULAW },
        { "cut.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16 }, { "cut.mp3", SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III },
        { "cut.au", SF_FORMAT_AU | SF_FORMAT_ULAW },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        size_t bytes, heard = 0;
        write_audio(path_of(table[i].name), table[i].format, 16000, 2, 2, one_burst, one_burst);
        char *whole = read_bytes(path_of(table[i].name), &bytes);
        for (size_t cut = 0; cut < bytes; cut += cut < 256 ? 8 : 1024) {
            struct audio_facts facts = { .duration_s = 0 };
            struct problem why = { .text = "" };
            write_bytes(path_of("cut"), whole, cut);
            if (audio_inspect(path_of("cut"), HOURS_MS, &facts, &why) == AUDIO_GOOD)
                heard++;
            else if (!strstr(why.text, "the recording "))
                fail_msg("%s cut at %zu: \"%s\"", table[i].name, cut, why.text);
            if (facts.duration_s > 2.2)
                fail_msg("%s cut at %zu lasts %g s", table[i].name, cut, facts.duration_s);
        }
        if (heard == 0)
            fail_msg("%s is never heard when its end is missing", table[i].name);
        free(whole);
    }
}

static void knows_the_recorded_files(void **state)
{
    (void)state;
    if (!shared_is_here())
        skip();
    static const struct {
        const char *name, *wanted;
    } table[] = { { "one-question.wav", "wav" },       { "one-question.mp3", "mp3" },
                  { "one-question-mulaw.wav", "wav" }, { "two-people-talking.wav", "wav" },
                  { "broken-header.wav", NULL },       { "README.md", NULL } };
    for (size_t i = 0; i < LENGTH(table); i++) {
        struct audio_facts facts;
        struct problem why;
        bool good = audio_inspect(shared_path(table[i].name), HOURS_MS, &facts, &why) == AUDIO_GOOD;
        if (good != (table[i].wanted != NULL))
            fail_msg("%s: %s", table[i].name, good ? "was taken" : why.text);
        if (good)
            assert_string_equal(facts.format, table[i].wanted);
    }
}

/* --- utterances --------------------------------------------------------------------------------------------------- */

static void cuts_at_pauses(void **state)
{
    (void)state;
    static const struct burst spoken[] = { { 0, 0.8 }, { 1.6, 2.4 }, { 2.6, 3 }, { 5, 5.02 },
                                           { 6, 40 },  { 42, 42.5 }, { 0, 0 } };
    struct problem why;
    struct utterance utterance;
    write_audio(path_of("talk.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 16000, 1, 43, spoken, NULL);
    struct audio *audio;
    assert_int_equal(audio_open(path_of("talk.wav"), 0, &audio, &why), AUDIO_GOOD);
    struct utterances *utterances = utterances_new(audio);
    struct burst got[16];
    size_t count = 0;
    while (utterances_next(utterances, &utterance) && count < LENGTH(got)) {
        assert_in_range(utterance.count, 1, UTTERANCE_SECONDS_MAX * AUDIO_RATE_HZ);
        got[count++] = (struct burst){ utterance.start_s, utterance.end_s };
    }
    utterances_freep(&utterances);
    audio_close(audio);

    assert_in_range(count, 6, 9); /* from the first word; a short pause is none; a click is no speech; 34 s are cut */
    assert_true(got[0].from_s < 0.1 && fabs(got[0].to_s - 0.8) < 0.1);
    assert_true(fabs(got[1].from_s - 1.6) < 0.1 && fabs(got[1].to_s - 3) < 0.1);
    assert_true(fabs(got[2].from_s - 6) < 0.1);
    assert_true(fabs(got[count - 2].to_s - 40) < 0.1);
    assert_true(fabs(got[count - 1].from_s - 42) < 0.1 && fabs(got[count - 1].to_s - 42.5) < 0.1);
    for (size_t i = 3; i < count - 1; i++) /* and nothing of them is lost */
        assert_true(fabs(got[i].from_s - got[i - 1].to_s) < 0.1);
}

static void does_not_hear_steady_noise(void **state)
{
    (void)state;
    static const struct burst all[] = { { 0, 60 }, { 0, 0 } };
    struct problem why;
    struct utterance utterance = { .end_s = 0 };
    double spoken_s = 0;
    write_audio(path_of("noise.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 30, NULL, NULL);
    struct audio *audio;
    assert_int_equal(audio_open(path_of("noise.wav"), 0, &audio, &why), AUDIO_GOOD);
    struct utterances *utterances = utterances_new(audio);
    assert_false(utterances_next(utterances, &utterance));
    utterances_freep(&utterances);
    audio_close(audio);

    /* a loud hum is learnt within seconds */
    SF_INFO info = { .format = SF_FORMAT_WAV | SF_FORMAT_PCM_16, .samplerate = 8000, .channels = 1 };
    SNDFILE *file = sf_open(path_of("hum.wav"), SFM_WRITE, &info);
    for (int i = 0; i < 8000 * 30; i++) {
        float sample = 0.05f * sample_at((double)i / 8000, all) + 0.3f * (float)sin(i * 2 * M_PI * 60 / 8000);
        sf_writef_float(file, &sample, 1);
    }
    sf_close(file);
    assert_int_equal(audio_open(path_of("hum.wav"), 0, &audio, &why), AUDIO_GOOD);
    utterances = utterances_new(audio);
    while (utterances_next(utterances, &utterance))
        spoken_s += utterance.end_s - utterance.start_s;
    utterances_freep(&utterances);
    audio_close(audio);
    assert_true(spoken_s < 6);
}

/* --- FLAC for providers ------------------------------------------------------------------------------------------- */

static void writes_flac(void **state)
{
    (void)state;
    struct problem why;
    struct audio_facts facts;
    int16_t samples[SPEECH_FRAME_SAMPLES];
    int fd = open(path_of("out.flac"), O_RDWR | O_CREAT | O_TRUNC, 0600);
    struct audio_writer *writer = audio_write_open(fd, &why);
    for (int frame = 0; frame < 150; frame++) {
        for (int i = 0; i < SPEECH_FRAME_SAMPLES; i++)
            samples[i] = (int16_t)(frame * 100 + i);
        assert_true(audio_write(writer, samples, LENGTH(samples), &why));
    }
    assert_true(audio_write_close(writer, &why));
    close(fd);
    assert_int_equal(audio_inspect(path_of("out.flac"), HOURS_MS, &facts, &why), AUDIO_GOOD);
    assert_int_equal(facts.frames, 24000);
    struct audio *audio;
    assert_int_equal(audio_open(path_of("out.flac"), 0, &audio, &why), AUDIO_GOOD);
    for (int frame = 0; frame < 150; frame++) {
        assert_int_equal(audio_read(audio, samples, LENGTH(samples)), LENGTH(samples));
        assert_int_equal(samples[0], frame * 100);
        assert_int_equal(samples[159], frame * 100 + 159);
    }
    audio_close(audio);

    if (access("/dev/full", W_OK) == 0) { /* a full disk is told */
        fd = open("/dev/full", O_RDWR);
        writer = audio_write_open(fd, &why);
        bool good = writer != NULL;
        for (int frame = 0; good && frame < 6000; frame++)
            good = audio_write(writer, samples, LENGTH(samples), &why);
        good = writer && audio_write_close(writer, &why) && good;
        assert_false(good);
        close(fd);
    }
}

/* --- transcripts -------------------------------------------------------------------------------------------------- */

static void puts_channels_together_by_time(void **state)
{
    (void)state;
    struct transcript transcript = { .provider = "local", .language = "en", .model = "pocketsphinx" }, read;
    struct problem why;
    static const struct segment segments[] = {
        { .speaker = "agent",
          .start_s = 0.5,
          .end_s = 1,
          .text = "good\nmorning",
          .confidence = 0.5,
          .has_confidence = true },
        { .speaker = "agent", .start_s = 4, .end_s = 5.0004, .text = " \t" },
        { .speaker = "agent", .start_s = 6, .end_s = 5, .text = "what  is\ncustomer: your name " },
        { .speaker = "customer", .start_s = 2.25, .end_s = 3, .text = "hello \"there\"" },
        { .speaker = "customer", .start_s = 6, .end_s = NAN, .text = "\xC3\xA4 \xFF" },
        { .speaker = "customer", .start_s = -1, .end_s = 0.25, .text = "first" },
    };
    for (size_t i = 0; i < LENGTH(segments); i++)
        transcript_add(&transcript, &segments[i], arena);
    transcript_sort(&transcript);
    struct text json = transcript_write(&transcript, arena);
    assert_true(text_is(
        json, "{\"provider\":\"local\",\"language\":\"en\",\"model\":\"pocketsphinx\",\"segments\":["
              "{\"speaker\":\"customer\",\"start_s\":0,\"end_s\":0.25,\"text\":\"first\"},"
              "{\"speaker\":\"agent\",\"start_s\":0.5,\"end_s\":1,\"text\":\"good morning\",\"confidence\":0.5},"
              "{\"speaker\":\"customer\",\"start_s\":2.25,\"end_s\":3,\"text\":\"hello \\\"there\\\"\"},"
              "{\"speaker\":\"agent\",\"start_s\":6,\"end_s\":6,\"text\":\"what is customer: your name\"},"
              "{\"speaker\":\"customer\",\"start_s\":6,\"end_s\":6,\"text\":\"\xC3\xA4 \xEF\xBF\xBD\"}]}"));
    assert_true(transcript_read(json, arena, &read, &why));
    assert_string_equal(transcript_lines(&read, arena),
                        "customer: first\nagent: good morning\ncustomer: hello \"there\"\n"
                        "agent: what is customer: your name\ncustomer: \xC3\xA4 \xEF\xBF\xBD");
    assert_int_equal(transcript_words(&read), 12);
    assert_int_equal(transcript_speakers(&read), 2);
    assert_true(transcript_fits(&read));
}

static void reads_only_transcripts(void **state)
{
    (void)state;
    static const char *const wrong[] = { "",
                                         "null",
                                         "{}",
                                         "{\"segments\":[]}",
                                         "{\"provider\":\"local\",\"segments\":3}",
                                         "{\"provider\":\"local\",\"segments\":[{\"speaker\":\"agent\"}]}" };
    struct transcript read;
    struct problem why;
    for (size_t i = 0; i < LENGTH(wrong); i++)
        assert_false(transcript_read(text_of(wrong[i]), arena, &read, &why));
    assert_true(transcript_read(TEXT("{\"provider\":\"openai\",\"segments\":[]}"), arena, &read, &why));
    assert_int_equal(transcript_words(&read) + transcript_speakers(&read), 0);
    assert_string_equal(transcript_lines(&read, arena), "");
    assert_string_equal(transcript_segments_json(&read, arena), "[]");

    struct segment said = { .speaker = "agent", .text = "yes" };
    for (int i = 0; i <= TRANSCRIPT_SEGMENTS_MAX; i++)
        transcript_add(&read, &said, arena);
    assert_false(transcript_fits(&read));
}

static int begin(void **state)
{
    (void)state;
    folder_make();
    arena = arena_new(64 * 1024 * 1024);
    return 0;
}

static int end(void **state)
{
    (void)state;
    folder_remove();
    arena_free(arena);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_what_telephones_record),   cmocka_unit_test(resamples_to_16_khz),
        cmocka_unit_test(refuses_what_is_not_audio),      cmocka_unit_test(refuses_headers_nobody_can_mean),
        cmocka_unit_test(refuses_what_is_too_long),       cmocka_unit_test(stands_what_is_cut_off),
        cmocka_unit_test(knows_the_recorded_files),       cmocka_unit_test(cuts_at_pauses),
        cmocka_unit_test(does_not_hear_steady_noise),     cmocka_unit_test(writes_flac),
        cmocka_unit_test(puts_channels_together_by_time), cmocka_unit_test(reads_only_transcripts),
    };
    return cmocka_run_group_tests_name("audio", tests, begin, end);
}
