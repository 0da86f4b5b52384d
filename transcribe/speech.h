/* speech.h: where somebody speaks: a channel cut into utterances at its pauses.
 *
 * By energy alone: each 10 ms are compared with the quietest of the last seconds, so that neither the level of a
 * recording nor a steady noise matters.  The same samples always give the same utterances.
 *
 * Threads: one at a time.  Memory: one utterance of at most UTTERANCE_SECONDS_MAX, whatever the channel's length. */
#pragma once

#include "transcribe/audio.h"

#define SPEECH_FRAMES_PER_S   100
#define SPEECH_FRAME_SAMPLES  (AUDIO_RATE_HZ / SPEECH_FRAMES_PER_S)
#define SPEECH_FLOOR_BLOCKS   8
#define UTTERANCE_SECONDS_MAX 15 /* longer speech is cut where it is quietest */

/* Tells loud frames from quiet ones. */
struct speech_level {
    float last_sample;
    float smooth_db[5]; /* of the last frames, a ring */
    float block_floor_db[SPEECH_FLOOR_BLOCKS];
    int64_t frames;
};
void speech_level_init(struct speech_level *level);
/* Is the next frame louder than the quiet of the last seconds?  `ret_db` may be NULL. */
bool speech_level_loud(struct speech_level *level, const int16_t samples[SPEECH_FRAME_SAMPLES], float *ret_db);

struct utterance {
    const int16_t *samples; /* with a little quiet on both sides; until the next call */
    size_t count;
    double start_s, end_s; /* of the speech itself */
};

struct utterances;
struct utterances *utterances_new(struct audio *audio); /* reads from `audio`, which stays the caller's */
bool utterances_next(struct utterances *utterances, struct utterance *ret); /* false at the end */
void utterances_freep(struct utterances **utterances);
