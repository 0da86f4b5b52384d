/* Any file is either heard, within its length, or refused with a sentence.  Run with -malloc_limit_mb=64: nothing is
 * allocated by a size that stands in a header. */
#include "tests/fuzz/fuzz.h"

#include "transcribe/speech.h"

#include <sys/mman.h>

#define DURATION_MS_MAX 10000
#define SAMPLES_MAX     ((DURATION_MS_MAX / 1000 + 1) * AUDIO_RATE_HZ)

static void listen_to(const char *path, int channel, const struct audio_facts *facts)
{
    struct problem why;
    struct utterance utterance;
    double last_s = 0;
    struct audio *audio;
    require(audio_open(path, channel, &audio, &why) == AUDIO_GOOD);
    struct utterances *utterances = utterances_new(audio);
    while (utterances_next(utterances, &utterance)) {
        require(utterance.count > 0 && utterance.count <= UTTERANCE_SECONDS_MAX * AUDIO_RATE_HZ);
        require(utterance.start_s >= last_s && utterance.end_s >= utterance.start_s &&
              utterance.end_s <= facts->duration_s + 0.1);
        last_s = utterance.start_s;
    }
    utterances_freep(&utterances);
    audio_close(audio);
}

static void count_samples(const char *path, const struct audio_facts *facts)
{
    struct problem why;
    int16_t samples[1000];
    size_t count = 0;
    struct audio *audio;
    require(audio_open(path, 0, &audio, &why) == AUDIO_GOOD);
    for (size_t got; (got = audio_read(audio, samples, LENGTH(samples))) > 0;)
        count += got;
    audio_close(audio);
    double wanted = facts->duration_s * AUDIO_RATE_HZ;
    require(count <= SAMPLES_MAX && (double)count <= wanted + 16 && (double)count >= wanted - 16);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct audio_facts facts;
    struct problem why = { .text = "" };
    char path[32];
    int fd = memfd_create("audio", MFD_CLOEXEC);
    require(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    if (audio_inspect(path, DURATION_MS_MAX, &facts, &why) == AUDIO_GOOD) {
        require(facts.frames > 0 && facts.channels >= 1 && facts.channels <= AUDIO_CHANNELS_MAX);
        require(facts.sample_rate_hz >= AUDIO_FILE_RATE_HZ_LEAST && facts.sample_rate_hz <= AUDIO_FILE_RATE_HZ_MAX);
        count_samples(path, &facts);
        for (int channel = 0; channel < facts.channels; channel++)
            listen_to(path, channel, &facts);
    } else {
        require(strncmp(why.text, "the recording ", 14) == 0);
    }
    close(fd);
    return 0;
}
