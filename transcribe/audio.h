/* audio.h: recordings as samples: what a file is, whether there is anything to hear in it, and one of its channels at
 * 16 kHz.
 *
 * A file is not believed: it is looked at by its first bytes, only formats that telephones and their providers use are
 * given to libsndfile, and how long it is shows when it is read to its end.  Nothing is allocated by a size that stands
 * in a header (libsndfile and its decoders keep to limits of their own, at most a few MiB a file;
 * tests/fuzz/fuzz_audio.c), and nothing holds more than a chunk of the decoded audio.
 *
 * Threads: any; one file is used by one thread at a time. */
#pragma once

#include "common/base.h"

#define AUDIO_RATE_HZ            16000 /* of what is given */
#define AUDIO_CHANNELS_MAX       2
#define AUDIO_FILE_RATE_HZ_LEAST 4000
#define AUDIO_FILE_RATE_HZ_MAX   192000

struct audio_facts {
    const char *format; /* "wav", "flac", "mp3", "au" or "ogg": also the file name's ending */
    int channels;
    int sample_rate_hz;
    int64_t frames; /* that can be read, whatever the header says */
    double duration_s;
};

/* How it ended that a file was looked at; but for AUDIO_GOOD `why` says more. */
enum audio_result {
    AUDIO_GOOD,
    AUDIO_BAD,    /* a sentence about the recording ("the recording is an HTML page, not audio"): so it will stay */
    AUDIO_UNREAD, /* the disk did not give it, or memory is out: another time it may be good */
};

/* Reads the file at `path` to its end.  AUDIO_BAD when it is not audio that can be used, or lasts longer than
 * `duration_ms_max`. */
enum audio_result audio_inspect(const char *path, int64_t duration_ms_max, struct audio_facts *ret, struct problem *why);

struct audio;

/* One channel of a file (0 is the left one), as 16-bit samples at AUDIO_RATE_HZ. */
enum audio_result audio_open(const char *path, int channel, struct audio **ret, struct problem *why);
/* Gives up to `samples_max` samples; fewer only at the end … */
size_t audio_read(struct audio *audio, int16_t *samples, size_t samples_max);
/* … of which this says whether it is the recording's: AUDIO_UNREAD when the disk gave no more. */
enum audio_result audio_ended(const struct audio *audio, struct problem *why);
void audio_close(struct audio *audio); /* NULL is fine */
void audio_closep(struct audio **audio);

/* A mono FLAC file at AUDIO_RATE_HZ, written at the start of the open file `fd`, which stays open. */
struct audio_writer;
struct audio_writer *audio_write_open(int fd, struct problem *why);
bool audio_write(struct audio_writer *writer, const int16_t *samples, size_t count, struct problem *why);
bool audio_write_close(struct audio_writer *writer, struct problem *why);
