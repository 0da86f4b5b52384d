#include "transcribe/speech.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FLOOR_BLOCK_FRAMES  50 /* the quietest of 8 such blocks is the floor: of the last 4 s */
#define LOUD_ABOVE_FLOOR_DB 12.0f
#define LOUD_LEAST_DB       (-62.0f) /* below it nobody understands anything anyway */
#define LOUD_MAX_DB         (-25.0f) /* above it it is speech, however loud everything is */
#define FLOOR_AT_FIRST_DB   (-50.0f) /* a recording may begin in the middle of a word */
#define SILENCE_DB          (-100.0f)
#define PRE_EMPHASIS        0.97f /* takes out hum and a constant offset */

#define BEGIN_WINDOW_FRAMES 20
#define BEGIN_LOUD_FRAMES   8 /* so many loud ones of the window are speech, fewer a click */
#define PAUSE_FRAMES        50
#define PAUSE_LOUD_FRAMES   2  /* so many loud ones in a pause are still a pause */
#define SHORT_PAUSE_FRAMES  20 /* enough to end an utterance that is long already */
#define LONG_FRAMES         (8 * SPEECH_FRAMES_PER_S)
#define QUIET_AROUND_FRAMES 30 /* kept on both sides */
#define FRAMES_MAX          (UTTERANCE_SECONDS_MAX * SPEECH_FRAMES_PER_S)
#define CUT_WITHIN_FRAMES   (5 * SPEECH_FRAMES_PER_S) /* from the end, where a cut is looked for */

/* --- loud or quiet ------------------------------------------------------------------------------------------------ */

void speech_level_init(struct speech_level *level)
{
    *level = (struct speech_level){ .frames = 0 };
    for (size_t i = 0; i < LENGTH(level->block_floor_db); i++)
        level->block_floor_db[i] = FLOOR_AT_FIRST_DB;
}

static float frame_db(struct speech_level *level, const int16_t *samples)
{
    float sum = 0;
    for (size_t i = 0; i < SPEECH_FRAME_SAMPLES; i++) {
        float sample = (float)samples[i] / 32768;
        float sharpened = sample - PRE_EMPHASIS * level->last_sample;
        level->last_sample = sample;
        sum += sharpened * sharpened;
    }
    float db = 10 * log10f(sum / SPEECH_FRAME_SAMPLES + 1e-12f);
    return db > SILENCE_DB ? db : SILENCE_DB;
}

/* The quietest of the last seconds; a single quiet frame inside a word does not count. */
static float floor_db(struct speech_level *level, float db)
{
    level->smooth_db[level->frames % (int64_t)LENGTH(level->smooth_db)] = db;
    float smooth = 0, floor = 0;
    for (size_t i = 0; i < LENGTH(level->smooth_db); i++)
        smooth += level->smooth_db[i] / LENGTH(level->smooth_db);
    float *block = &level->block_floor_db[level->frames / FLOOR_BLOCK_FRAMES % SPEECH_FLOOR_BLOCKS];
    if (level->frames % FLOOR_BLOCK_FRAMES == 0 || smooth < *block)
        *block = smooth;
    for (size_t i = 0; i < SPEECH_FLOOR_BLOCKS; i++)
        if (level->block_floor_db[i] < floor)
            floor = level->block_floor_db[i];
    level->frames++;
    return floor;
}

bool speech_level_loud(struct speech_level *level, const int16_t samples[SPEECH_FRAME_SAMPLES], float *ret_db)
{
    float db = frame_db(level, samples);
    float least = floor_db(level, db) + LOUD_ABOVE_FLOOR_DB;
    least = least < LOUD_LEAST_DB ? LOUD_LEAST_DB : least > LOUD_MAX_DB ? LOUD_MAX_DB : least;
    if (ret_db)
        *ret_db = db;
    return db > least;
}

/* --- utterances --------------------------------------------------------------------------------------------------- */

struct utterances {
    struct audio *audio;
    struct speech_level level;
    bool at_end;
    int64_t first; /* the channel's frame at the start of the buffer */
    int frames;    /* in the buffer */
    int seen;      /* of them */
    int begin;     /* the first loud one of the utterance; -1: nobody speaks */
    int given;     /* to be dropped */
    float db[FRAMES_MAX];
    bool loud[FRAMES_MAX];
    int16_t samples[FRAMES_MAX][SPEECH_FRAME_SAMPLES];
};

struct utterances *utterances_new(struct audio *audio)
{
    struct utterances *utterances = must_alloc(sizeof(*utterances));
    utterances->audio = audio;
    speech_level_init(&utterances->level);
    return utterances;
}

void utterances_freep(struct utterances **utterances)
{
    free(*utterances);
    *utterances = NULL;
}

static bool read_frame(struct utterances *utterances)
{
    int at = utterances->frames;
    if (utterances->at_end)
        return false;
    size_t got = audio_read(utterances->audio, utterances->samples[at], SPEECH_FRAME_SAMPLES);
    utterances->at_end = got < SPEECH_FRAME_SAMPLES;
    if (got == 0)
        return false;
    memset(utterances->samples[at] + got, 0, (SPEECH_FRAME_SAMPLES - got) * sizeof(int16_t));
    utterances->loud[at] = speech_level_loud(&utterances->level, utterances->samples[at], &utterances->db[at]);
    utterances->frames++;
    return true;
}

static void drop(struct utterances *utterances, int frames)
{
    size_t left = (size_t)(utterances->frames - frames);
    memmove(utterances->db, utterances->db + frames, left * sizeof(utterances->db[0]));
    memmove(utterances->loud, utterances->loud + frames, left * sizeof(utterances->loud[0]));
    memmove(utterances->samples, utterances->samples + frames, left * sizeof(utterances->samples[0]));
    utterances->first += frames;
    utterances->frames -= frames;
    utterances->seen -= frames;
    utterances->begin -= utterances->begin < 0 ? 0 : frames;
}

/* How many of the last `window` frames are loud, and which is the first of those. */
static int count_loud(const struct utterances *utterances, int window, int *ret_first)
{
    int count = 0;
    for (int i = utterances->seen - 1; i >= 0 && i >= utterances->seen - window; i--) {
        if (!utterances->loud[i])
            continue;
        count++;
        *ret_first = i;
    }
    return count;
}

/* Moves the utterance's begin to the start of the buffer. */
static void look_for_begin(struct utterances *utterances)
{
    int first;
    if (count_loud(utterances, BEGIN_WINDOW_FRAMES, &first) >= BEGIN_LOUD_FRAMES) {
        utterances->begin = first;
        drop(utterances, first > QUIET_AROUND_FRAMES ? first - QUIET_AROUND_FRAMES : 0);
    } else if (utterances->seen == FRAMES_MAX) {
        drop(utterances, FRAMES_MAX - BEGIN_WINDOW_FRAMES - QUIET_AROUND_FRAMES);
    }
}

static bool is_pause(const struct utterances *utterances)
{
    int first, spoken = utterances->seen - utterances->begin;
    int pause = spoken > LONG_FRAMES ? SHORT_PAUSE_FRAMES : PAUSE_FRAMES;
    return spoken > pause && count_loud(utterances, pause, &first) <= PAUSE_LOUD_FRAMES;
}

static int quietest(const struct utterances *utterances)
{
    int at = FRAMES_MAX - CUT_WITHIN_FRAMES;
    for (int i = at; i < FRAMES_MAX; i++)
        if (utterances->db[i] < utterances->db[at])
            at = i;
    return at;
}

static bool give(struct utterances *utterances, int end, struct utterance *ret)
{
    int last = end - 1;
    while (last > utterances->begin && !utterances->loud[last])
        last--;
    utterances->given = last + 1 + QUIET_AROUND_FRAMES < end ? last + 1 + QUIET_AROUND_FRAMES : end;
    *ret = (struct utterance){ .samples = utterances->samples[0],
                               .count = (size_t)utterances->given * SPEECH_FRAME_SAMPLES,
                               .start_s = (double)(utterances->first + utterances->begin) / SPEECH_FRAMES_PER_S,
                               .end_s = (double)(utterances->first + last + 1) / SPEECH_FRAMES_PER_S };
    return true;
}

bool utterances_next(struct utterances *utterances, struct utterance *ret)
{
    utterances->begin = -1;
    drop(utterances, utterances->given);
    utterances->given = 0;
    utterances->seen = 0; /* what is left of the buffer is looked at again */
    while (utterances->seen < utterances->frames || read_frame(utterances)) {
        utterances->seen++;
        if (utterances->begin < 0)
            look_for_begin(utterances);
        else if (is_pause(utterances))
            return give(utterances, utterances->seen, ret);
        if (utterances->begin >= 0 && utterances->seen == FRAMES_MAX)
            return give(utterances, quietest(utterances), ret);
    }
    return utterances->begin >= 0 && give(utterances, utterances->seen, ret);
}
