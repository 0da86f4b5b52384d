/* transcribe.h: what the stage's files share: its settings, what a transcript is, and who makes one. */
#pragma once

#include "common/shunya.h"
#include "transcribe/recording.h"

#include "events.h"

#define TRANSCRIPT_SEGMENTS_MAX   20000
#define TRANSCRIPT_TEXT_BYTES_MAX (1024 * 1024) /* of all segments; four hours of talk are a quarter of it */
#define LOCAL_DECODERS_MOST       64

enum transcribe_provider { TRANSCRIBE_LOCAL, TRANSCRIBE_OPENAI, TRANSCRIBE_SHUNYA };
extern const char *const transcribe_providers[]; /* by enum transcribe_provider, NULL-terminated */

struct transcribe {
    int with;
    struct recording_settings recordings;
    const char *model_dir;
    int64_t decoders_max;
    const char *openai_key, *openai_url, *openai_model;
    int64_t openai_timeout_ms;
    struct shunya shunya;
    const char *shunya_language; /* NULL: it finds out */
    const char *twilio_account, *twilio_token, *twilio_url; /* of voice notes */
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
    const char *id, *url; /* of the call or visit, and where its recording was fetched from */
    struct recording *recording; /* its file is open */
};
enum outcome local_transcribe(struct work *work, void *request, struct answer *ret);
enum outcome openai_transcribe(struct work *work, void *request, struct answer *ret);
/* RETRY when the daemon or the work is to end; asked between pieces of long work. */
enum outcome transcribe_go_on(struct work *work);
bool local_ready(const struct transcribe *transcribe, struct problem *why); /* is the model there? */
void local_close(void);

/* --- conversation.c, calls.c, visits.c ---------------------------------------------------------------------------- */
/* What was made of a recording. */
struct transcribed {
    const struct transcript *transcript;
    int words, speakers;
    double duration_s;
    int64_t took_us; /* -1: not known */
};
/* Calls and visits take the same way; these are their tables and events. */
struct conversation_kind {
    const char *name;             /* "call": jobs.kind */
    const struct statement *find; /* by id: tenant, url; of a copy its path, duration_s and removed_at */
    const struct statement *upsert_recording, *upsert_transcript;
    void (*announce)(struct work *work, const char *id, const struct transcribed *transcribed);
};
extern const struct conversation_kind call_kind, visit_kind;
/* Their statements differ in the table and in what names the conversation. */
#define UPSERT_RECORDING(table, id)                                                                                    \
    "INSERT INTO " table " AS r (tenant, " id ", path, bytes, sha256, format, channels, sample_rate_hz, duration_s)"   \
    " VALUES ($1, $2, $3, $4::bigint, $5, $6, $7::integer, $8::integer, $9::double precision)"                         \
    " ON CONFLICT (tenant, " id ") DO UPDATE SET path = EXCLUDED.path, bytes = EXCLUDED.bytes,"                        \
    " sha256 = EXCLUDED.sha256, format = EXCLUDED.format, channels = EXCLUDED.channels,"                               \
    " sample_rate_hz = EXCLUDED.sample_rate_hz, duration_s = EXCLUDED.duration_s, updated_at = now()"                  \
    " WHERE (r.path, r.sha256) IS DISTINCT FROM (EXCLUDED.path, EXCLUDED.sha256)"
#define UPSERT_TRANSCRIPT(table, id)                                                                                   \
    "INSERT INTO " table " AS t (tenant, " id ", provider, model, language, text, segments, speakers, words,"          \
    " duration_s, source_time, run)"                                                                                   \
    " VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8::integer, $9::integer, $10::double precision, $11::timestamptz,"   \
    " $12::integer)"                                                                                                   \
    " ON CONFLICT (tenant, " id ") DO UPDATE SET provider = EXCLUDED.provider, model = EXCLUDED.model,"                \
    " language = EXCLUDED.language, text = EXCLUDED.text, segments = EXCLUDED.segments,"                               \
    " speakers = EXCLUDED.speakers, words = EXCLUDED.words, duration_s = EXCLUDED.duration_s,"                         \
    " source_time = EXCLUDED.source_time, run = EXCLUDED.run, updated_at = now()"                                      \
    " WHERE (EXCLUDED.source_time, EXCLUDED.run) >= (t.source_time, t.run)"
struct conversation {
    const struct conversation_kind *kind;
    const char *id, *url;
};
enum outcome transcribe_conversation(struct work *work, const struct conversation *conversation);
enum outcome transcribe_call(struct work *work, const struct event *event);
enum outcome transcribe_visit(struct work *work, const struct event *event);
extern const struct job_type transcription_jobs;
extern const struct route transcribe_routes[];
extern const struct sweep transcribe_sweeps[];

/* --- retention.c: copies whose time is over ------------------------------------------------------------------------ */
#define RETENTION_SWEEP_MS 10000
extern const struct statement find_expired_recordings;
enum outcome transcribe_retention(struct work *work, const struct event *event);

/* --- coach.c: voice notes ------------------------------------------------------------------------------------------ */
enum outcome transcribe_note(struct work *work, const struct event *event);

/* --- shunya.c ----------------------------------------------------------------------------------------------------- */
/* As job_order(). */
enum outcome shunya_order(struct work *work, const struct conversation *conversation,
                          const struct transcribe_request *request, struct text *ret_words, struct answer *ret);
enum outcome shunya_check_transcription(struct work *work, void *job, struct answer *ret);
bool shunya_transcript_of(struct text json, struct arena *arena, struct transcript *ret, struct problem *why);
