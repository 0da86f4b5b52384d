/* transcribe.h: what the stage's files share: its settings, what a transcript is, and who makes one. */
#pragma once

#include "common/stage.h"
#include "transcribe/recording.h"

#include "events.h"

#define TRANSCRIPT_SEGMENTS_MAX   20000
#define TRANSCRIPT_TEXT_BYTES_MAX (1024 * 1024) /* of all segments; four hours of talk are a quarter of it */
#define LOCAL_DECODERS_MOST       64

enum transcribe_provider { TRANSCRIBE_LOCAL, TRANSCRIBE_OPENAI };
extern const char *const transcribe_providers[]; /* by enum transcribe_provider, NULL-terminated */

struct transcribe {
    int with;
    struct recording_settings recordings;
    const char *model_dir;
    int64_t decoders_max;
    const char *openai_key, *openai_url, *openai_model;
    int64_t openai_timeout_ms;
};

/* --- transcript.c: what was said, piece by piece; its memory is the arena it is made in --------------------------- */
struct segment {
    const char *speaker; /* "agent", "customer", or "speaker" when they cannot be told apart */
    double start_s, end_s;
    const char *text;  /* one line */
    double confidence; /* from 0 to 1 */
    bool has_confidence;
    size_t added; /* its number; set by transcript_add() */
};
struct transcript {
    const char *provider; /* who made it: a name of transcribe_providers */
    const char *language; /* ISO 639 where it is known; may be NULL */
    const char *model;
    struct segment *segments;
    size_t count, room;
    size_t text_bytes;
};
/* Who speaks on a channel of a recording with so many channels. */
const char *transcript_speaker(int channel, int channels);
/* Adds a copy; white space becomes single spaces, and a segment without words is left out. */
void transcript_add(struct transcript *transcript, const struct segment *segment, struct arena *arena);
/* By start; of the same start in the order they were added. */
void transcript_sort(struct transcript *transcript);
/* Is it within the limits above?  Nobody talks that much in a call. */
bool transcript_fits(const struct transcript *transcript);
/* What is recorded of it: {"provider", "language", "model", "segments": as below}. */
struct text transcript_write(const struct transcript *transcript, struct arena *arena);
bool transcript_read(struct text json, struct arena *arena, struct transcript *ret, struct problem *why);
/* [{"speaker", "start_s", "end_s", "text", and where it is known "confidence"}] */
const char *transcript_segments_json(const struct transcript *transcript, struct arena *arena);
/* A line each: "agent: good morning". */
const char *transcript_lines(const struct transcript *transcript, struct arena *arena);
int transcript_words(const struct transcript *transcript);
int transcript_speakers(const struct transcript *transcript);

/* --- local.c, openai.c: the asks' calls; `request` is a struct transcribe_request, the answer a transcript -------- */
struct transcribe_request {
    const char *call_id;
    const struct recording *recording;
};
enum outcome local_transcribe(struct work *work, void *request, struct answer *ret);
enum outcome openai_transcribe(struct work *work, void *request, struct answer *ret);
/* RETRY when the daemon or the work is to end; asked between pieces of long work. */
enum outcome transcribe_go_on(struct work *work);
bool local_ready(const struct transcribe *transcribe, struct problem *why); /* is the model there? */
void local_close(void);

extern const struct route transcribe_routes[]; /* calls.c */
