/* shunya.c: Shunya, POST /api/v1/transcription/transcribe: the recording's address goes there, and the words come
 * back at once or with a job.  It fetches the recording itself, so its address must lead somewhere from outside. */
#include "transcribe/transcribe.h"

#include "answers.h"
#include "common/json.h"

#include <string.h>
#include <strings.h>

#define LANGUAGE_BYTES_MAX 16 /* as in the event's schema */

static bool is_transcript(struct text json, struct arena *arena, struct problem *why)
{
    struct shunya_transcript transcript;
    return shunya_transcript_read(json, arena, &transcript, why);
}

static enum outcome submit(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    const struct transcribe_request *wanted = request;
    struct buf body;
    shunya_begin(work, &transcribe->shunya, &body);
    json_add_string(&body, "call_id", wanted->id);
    json_add_string(&body, "audio_url", wanted->url);
    if (transcribe->shunya_language)
        json_add_string(&body, "language", transcribe->shunya_language);
    buf_add_char(&body, '}');
    return shunya_submit(work, &transcribe->shunya, "/api/v1/transcription/transcribe", &body, is_transcript, ret);
}

enum outcome shunya_order(struct work *work, const struct conversation *conversation,
                          const struct transcribe_request *request, struct text *ret_words, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    return job_order(work,
                     &(struct job_order){ .type = &transcription_jobs,
                                          .subject = conversation->id,
                                          .kind = conversation->kind->name,
                                          .about = text_of(request->recording->sha256),
                                          .timeout_ms = transcribe->shunya.timeout_ms,
                                          .call = submit,
                                          .look_up = shunya_look_up,
                                          .request = (void *)request },
                     ret_words, ret);
}

enum outcome shunya_check_transcription(struct work *work, void *job, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    return shunya_check(work, &transcribe->shunya, job, ret);
}

/* --- what comes back ---------------------------------------------------------------------------------------------- */

static const char *const speakers[] = { "agent", "customer" };

/* Whoever is not told to be one of the two is somebody. */
static const char *speaker_of(const char *name)
{
    for (size_t i = 0; i < LENGTH(speakers); i++)
        if (name && strcasecmp(name, speakers[i]) == 0)
            return speakers[i];
    return "speaker";
}

/* A line of the text may begin with who says it. */
static void add_line(struct transcript *transcript, struct text line, struct arena *arena)
{
    struct segment segment = { .speaker = "speaker" };
    for (size_t i = 0; i < LENGTH(speakers); i++) {
        size_t bytes = strlen(speakers[i]);
        if (line.bytes > bytes && line.at[bytes] == ':' && strncasecmp(line.at, speakers[i], bytes) == 0) {
            segment.speaker = speakers[i];
            line = (struct text){ line.at + bytes + 1, line.bytes - bytes - 1 };
        }
    }
    segment.text = arena_copy_text(arena, line);
    transcript_add(transcript, &segment, arena);
}

static void add_lines(struct transcript *transcript, struct text text, struct arena *arena)
{
    while (text.bytes > 0) {
        const char *end = memchr(text.at, '\n', text.bytes);
        struct text line = { text.at, end ? (size_t)(end - text.at) : text.bytes };
        add_line(transcript, line, arena);
        line.bytes += end != NULL;
        text = (struct text){ text.at + line.bytes, text.bytes - line.bytes };
    }
}

bool shunya_transcript_of(struct text json, struct arena *arena, struct transcript *ret, struct problem *why)
{
    struct shunya_transcript told;
    if (!shunya_transcript_read(json, arena, &told, why))
        return false;
    bool has_language = told.language && told.language[0] && strlen(told.language) <= LANGUAGE_BYTES_MAX;
    *ret = (struct transcript){ .provider = "shunya", .language = has_language ? told.language : NULL };
    for (size_t i = 0; i < told.segments_count; i++)
        transcript_add(ret,
                       &(struct segment){ .speaker = speaker_of(told.segments[i].speaker),
                                          .start_s = told.segments[i].start_s,
                                          .end_s = told.segments[i].end_s,
                                          .text = told.segments[i].text },
                       arena);
    if (ret->count == 0)
        add_lines(ret, told.transcript_text, arena);
    transcript_sort(ret);
    return true;
}
