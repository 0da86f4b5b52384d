/* audio_fixture.h: recordings made for tests: bursts of noise that stand for speech, in any format libsndfile writes,
 * in a folder of the test's own.  Include once, before cmocka. */
#pragma once

#include <math.h>
#include <sndfile.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/base.h"

#define FIXTURE_PATH_BYTES 512

struct burst {
    double from_s, to_s;
};

static char folder[64];

#define QUIET_USUAL 0.0005f /* of a line on which nobody speaks */
static float quiet = QUIET_USUAL;

static inline void folder_make(void)
{
    /* in memory where that can be had: the copies are made durable again and again */
    snprintf(folder, sizeof(folder), "%s/switchboard-audio-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(folder))
        abort();
}

static inline void folder_remove(void)
{
    char command[128];
    snprintf(command, sizeof(command), "rm -rf '%s'", folder);
    if (system(command) != 0)
        abort();
}

/* A path in the folder; one of four that take turns, for each thread. */
static inline const char *path_of(const char *name)
{
    static _Thread_local char paths[4][FIXTURE_PATH_BYTES];
    static _Thread_local int next;
    char *path = paths[next++ % 4];
    snprintf(path, FIXTURE_PATH_BYTES, "%s/%s", folder, name);
    return path;
}

static inline const char *shared_path(const char *name)
{
    static char paths[2][FIXTURE_PATH_BYTES];
    static int next;
    char *path = paths[next++ % 2];
    snprintf(path, FIXTURE_PATH_BYTES, "%s/audio/%s", getenv("SHARED_DIR") ? getenv("SHARED_DIR") : "../shared", name);
    return path;
}

static inline bool shared_is_here(void)
{
    if (access(shared_path("README.md"), R_OK) == 0)
        return true;
    printf("skipped: %s is not here; set SHARED_DIR to hear recorded speech\n", shared_path(""));
    return false;
}

/* Noise that is the same at every run, louder in the bursts of the channel than the quiet of a line. */
static inline float sample_at(double at_s, const struct burst *bursts)
{
    static uint32_t state = 1;
    state = state * 1664525 + 1013904223;
    float noise = (float)(state >> 8) / (1 << 23) - 1;
    for (; bursts && bursts->to_s > 0; bursts++)
        if (at_s >= bursts->from_s && at_s < bursts->to_s)
            return noise * 0.2f;
    return noise * quiet;
}

/* Bursts end with { 0, 0 }; NULL: the channel is quiet throughout. */
static inline void write_audio(const char *path, int format, int sample_rate_hz, int channels, double seconds,
                               const struct burst *left, const struct burst *right)
{
    SF_INFO info = { .format = format, .samplerate = sample_rate_hz, .channels = channels };
    SNDFILE *file = sf_open(path, SFM_WRITE, &info);
    if (!file) {
        printf("%s: %s\n", path, sf_strerror(NULL));
        abort();
    }
    for (int64_t i = 0; i < (int64_t)(seconds * sample_rate_hz); i++) {
        double at_s = (double)i / sample_rate_hz;
        float frame[8];
        for (int channel = 0; channel < channels; channel++)
            frame[channel] = sample_at(at_s, channel == 0 ? left : right);
        if (sf_writef_float(file, frame, 1) != 1)
            abort();
    }
    sf_close(file);
}

static inline void write_bytes(const char *path, const void *at, size_t bytes)
{
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(at, 1, bytes, file) != bytes || fclose(file) != 0)
        abort();
}

/* The whole file; to be freed. */
static inline char *read_bytes(const char *path, size_t *ret_bytes)
{
    FILE *file = fopen(path, "rb");
    if (!file)
        abort();
    fseek(file, 0, SEEK_END);
    *ret_bytes = (size_t)ftell(file);
    rewind(file);
    char *at = malloc(*ret_bytes + 1);
    if (!at || fread(at, 1, *ret_bytes, file) != *ret_bytes)
        abort();
    fclose(file);
    return at;
}
