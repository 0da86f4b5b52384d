/* openai.c: any OpenAI-compatible server, POST /audio/transcriptions (platform.openai.com/docs/api-reference/audio).
 *
 * Each channel is sent on its own, so that speakers are told apart, as FLAC at 16 kHz in pieces of at most ten minutes:
 * such a piece is below the limit of 25 MB whatever it holds, and below the minutes some models take.  A piece ends in
 * a pause; one in which nobody speaks is not sent, because models hear words in silence.
 *
 * Imitators leave out segments, give times as text, or answer with plain text: all of that is taken. */
#include "transcribe/transcribe.h"

#include "common/openai.h"
#include "transcribe/speech.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define ANSWER_BYTES_MAX      (1024 * 1024)                   /* to one piece */
#define PIECE_FRAMES_MAX      (10 * 60 * SPEECH_FRAMES_PER_S) /* 19.2 MB before compression */
#define PIECE_FRAMES_WANTED   (9 * 60 * SPEECH_FRAMES_PER_S)  /* from here on it ends in a pause */
#define PAUSE_FRAMES          30
#define SPEECH_FRAMES_LEAST   10  /* loud ones; OpenAI refuses less than 0.1 s */
#define NO_SPEECH_MAX         0.6 /* a segment less likely than both of these was not said: as in Whisper */
#define LOG_PROBABILITY_LEAST (-1.0)
#define LANGUAGE_BYTES_MAX    16

/* One channel on its way to OpenAI. */
struct channel {
    struct work *work;
    const char *id, *speaker;
    struct audio *audio;
    struct speech_level level;
    bool at_end;
    struct transcript *transcript; /* of all channels */
    struct answer *answer;
};

/* A piece of it. */
struct piece {
    int number;            /* from 1 */
    double begins_s;       /* in the recording */
    double start_s, end_s; /* of what is loud in it, in the piece */
    int frames, loud_frames;
};

/* --- what is sent ------------------------------------------------------------------------------------------------- */

static bool write_frames(struct channel *channel, struct audio_writer *writer, struct piece *piece, struct problem *why)
{
    int quiet = 0;
    while (!channel->at_end && piece->frames < PIECE_FRAMES_MAX &&
           (piece->frames < PIECE_FRAMES_WANTED || quiet < PAUSE_FRAMES)) {
        int16_t samples[SPEECH_FRAME_SAMPLES] = { 0 };
        size_t got = audio_read(channel->audio, samples, SPEECH_FRAME_SAMPLES);
        channel->at_end = got < SPEECH_FRAME_SAMPLES;
        if (got > 0 && !audio_write(writer, samples, got, why))
            return false;
        bool loud = speech_level_loud(&channel->level, samples, NULL);
        quiet = loud ? 0 : quiet + 1;
        if (loud) {
            piece->start_s = piece->loud_frames ? piece->start_s : (double)piece->frames / SPEECH_FRAMES_PER_S;
            piece->end_s = (double)(piece->frames + 1) / SPEECH_FRAMES_PER_S;
            piece->loud_frames++;
        }
        piece->frames++;
    }
    return audio_ended(channel->audio, why) == AUDIO_GOOD;
}

/* The channel's next piece, as FLAC. */
static bool write_piece(struct channel *channel, int fd, struct piece *piece, struct problem *why)
{
    struct problem closing;
    struct audio_writer *writer = audio_write_open(fd, why);
    if (!writer)
        return false;
    if (!write_frames(channel, writer, piece, why)) {
        audio_write_close(writer, &closing);
        return false;
    }
    return audio_write_close(writer, why);
}

/* "CAL1-agent-1.flac": a name the provider shows in its logs. */
static const char *file_name(const struct channel *channel, const struct piece *piece)
{
    char *name =
        arena_printf(work_arena(channel->work), "%s-%s-%d.flac", channel->id, channel->speaker, piece->number);
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && !strchr("._-", *at))
            *at = '-';
    return name;
}

static const char *first_key(struct work *work, const char *keys)
{
    return arena_copy_text(work_arena(work), (struct text){ keys, strcspn(keys, ", ") });
}

static bool gives_times(const char *model)
{
    return strncmp(model, "gpt-", 4) != 0;
}

/* --- what comes back ---------------------------------------------------------------------------------------------- */

/* A number, also one written as text. */
static bool number_of(const cJSON *object, const char *name, double *ret)
{
    const cJSON *item = tree_get(object, name);
    char *end;
    if (cJSON_IsNumber(item)) {
        *ret = item->valuedouble;
        return true;
    }
    if (!cJSON_IsString(item))
        return false;
    *ret = strtod(item->valuestring, &end);
    return end != item->valuestring && *end == '\0';
}

static bool was_said(const cJSON *segment)
{
    double no_speech, log_probability;
    return !(number_of(segment, "no_speech_prob", &no_speech) && no_speech > NO_SPEECH_MAX &&
             number_of(segment, "avg_logprob", &log_probability) && log_probability < LOG_PROBABILITY_LEAST);
}

static void add_text(struct channel *channel, const struct piece *piece, const char *text)
{
    transcript_add(channel->transcript,
                   &(struct segment){ .speaker = channel->speaker,
                                      .start_s = piece->begins_s + piece->start_s,
                                      .end_s = piece->begins_s + piece->end_s,
                                      .text = text },
                   work_arena(channel->work));
}

/* A time of a segment, which lies in its piece whatever is said of it. */
static double time_in(const struct piece *piece, const cJSON *segment, const char *name, double otherwise_s)
{
    double time_s = otherwise_s;
    number_of(segment, name, &time_s);
    return fmin(fmax(time_s, 0), (double)piece->frames / SPEECH_FRAMES_PER_S);
}

static void add_segments(struct channel *channel, const struct piece *piece, const cJSON *segments)
{
    const cJSON *item;
    cJSON_ArrayForEach(item, segments) {
        struct piece part = *piece;
        const char *text = tree_string(item, "text");
        if (!text || !was_said(item))
            continue;
        part.start_s = time_in(piece, item, "start", piece->start_s);
        part.end_s = time_in(piece, item, "end", piece->end_s);
        add_text(channel, &part, text);
    }
}

/* "english" → "en"; a code stays as it is, and a name nobody knows is kept when it is short. */
static const char *language_code(const char *name)
{
    static const char *const known[][2] = {
        { "af", "afrikaans" },  { "ar", "arabic" },     { "az", "azerbaijani" }, { "be", "belarusian" },
        { "bg", "bulgarian" },  { "bs", "bosnian" },    { "ca", "catalan" },     { "cs", "czech" },
        { "cy", "welsh" },      { "da", "danish" },     { "de", "german" },      { "el", "greek" },
        { "en", "english" },    { "es", "spanish" },    { "et", "estonian" },    { "fa", "persian" },
        { "fi", "finnish" },    { "fr", "french" },     { "gl", "galician" },    { "he", "hebrew" },
        { "hi", "hindi" },      { "hr", "croatian" },   { "hu", "hungarian" },   { "hy", "armenian" },
        { "id", "indonesian" }, { "is", "icelandic" },  { "it", "italian" },     { "ja", "japanese" },
        { "kk", "kazakh" },     { "kn", "kannada" },    { "ko", "korean" },      { "lt", "lithuanian" },
        { "lv", "latvian" },    { "mi", "maori" },      { "mk", "macedonian" },  { "mr", "marathi" },
        { "ms", "malay" },      { "ne", "nepali" },     { "nl", "dutch" },       { "no", "norwegian" },
        { "pl", "polish" },     { "pt", "portuguese" }, { "ro", "romanian" },    { "ru", "russian" },
        { "sk", "slovak" },     { "sl", "slovenian" },  { "sr", "serbian" },     { "sv", "swedish" },
        { "sw", "swahili" },    { "ta", "tamil" },      { "th", "thai" },        { "tl", "tagalog" },
        { "tr", "turkish" },    { "uk", "ukrainian" },  { "ur", "urdu" },        { "vi", "vietnamese" },
        { "zh", "chinese" },
    };
    for (size_t i = 0; name && i < LENGTH(known); i++)
        if (strcasecmp(name, known[i][1]) == 0)
            return known[i][0];
    return name && name[0] && strlen(name) <= LANGUAGE_BYTES_MAX ? name : NULL;
}

static enum outcome read_words(struct channel *channel, const struct piece *piece, const struct http_reply *reply,
                               const cJSON *json)
{
    struct work *work = channel->work;
    struct transcript *transcript = channel->transcript;
    const cJSON *segments = tree_get(json, "segments");
    const char *text = tree_string(json, "text");
    if (!json && strncasecmp(reply->content_type, "text/plain", 10) == 0 && text_is_utf8(reply->body))
        text = arena_copy_text(work_arena(work), reply->body);
    else if (!json)
        return retry(work, 0, "openai: the answer is neither JSON nor plain text");
    if (cJSON_GetArraySize(segments) > 0)
        add_segments(channel, piece, segments);
    else if (text)
        add_text(channel, piece, text);
    else
        return reject(work, "openai: the answer has no text: %.200s", openai_reason(work, reply, json));
    if (!transcript->language)
        transcript->language = language_code(tree_string(json, "language"));
    return transcript_fits(transcript) ? DONE : reject(work, "openai: the answer says more than anybody can");
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static enum outcome send_piece(struct channel *channel, const struct piece *piece, int fd)
{
    struct work *work = channel->work;
    const struct transcribe *transcribe = work_context(work);
    struct arena *arena = work_arena(work);
    const char *const headers[] = {
        arena_printf(arena, "Authorization: Bearer %s", first_key(work, transcribe->openai_key)), NULL
    };
    const struct http_part parts[] = {
        { .name = "file",
          .file_path = arena_printf(arena, "/proc/self/fd/%d", fd),
          .file_name = file_name(channel, piece),
          .content_type = "audio/flac" },
        { .name = "model", .data = transcribe->openai_model },
        { .name = "response_format", .data = gives_times(transcribe->openai_model) ? "verbose_json" : "json" },
        { 0 },
    };
    const struct http_request request = {
        .method = "POST",
        .url = arena_printf(arena, "%s/audio/transcriptions", transcribe->openai_url),
        .headers = headers,
        .parts = parts,
        .timeout_ms = transcribe->openai_timeout_ms,
        .answer_bytes_max = ANSWER_BYTES_MAX,
    };
    struct http_reply reply;
    TRY(work_http_any(work, &request, &reply));
    const cJSON *json = tree_read(arena, reply.body);
    if (reply.status < 200 || reply.status > 299)
        return openai_failed(work, &reply, json);
    const cJSON *usage = tree_get(json, "usage");
    channel->answer->tokens_in += tree_count(usage, "input_tokens");
    channel->answer->tokens_out += tree_count(usage, "output_tokens");
    return read_words(channel, piece, &reply, json);
}

static void close_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static enum outcome transcribe_piece(struct channel *channel, struct piece *piece)
{
    const struct transcribe *transcribe = work_context(channel->work);
    struct problem why;
    CLEANUP(close_fd) int fd = recordings_scratch(&transcribe->recordings.store, &why);
    if (fd < 0 || !write_piece(channel, fd, piece, &why))
        return retry(channel->work, 0, "%s", why.text);
    return piece->loud_frames < SPEECH_FRAMES_LEAST ? DONE : send_piece(channel, piece, fd);
}

static enum outcome transcribe_channel(struct channel *channel)
{
    struct piece piece = { .number = 0 };
    speech_level_init(&channel->level);
    while (!channel->at_end) {
        piece = (struct piece){ .number = piece.number + 1,
                                .begins_s = piece.begins_s + (double)piece.frames / SPEECH_FRAMES_PER_S };
        TRY(transcribe_go_on(channel->work));
        TRY(transcribe_piece(channel, &piece));
    }
    return DONE;
}

enum outcome openai_transcribe(struct work *work, void *request, struct answer *ret)
{
    const struct transcribe *transcribe = work_context(work);
    const struct transcribe_request *wanted = request;
    const struct recording *recording = wanted->recording;
    struct transcript transcript = { .provider = "openai", .model = transcribe->openai_model };
    for (int i = 0; i < recording->channels; i++) {
        struct problem why;
        CLEANUP(audio_closep) struct audio *audio = NULL;
        enum audio_result result = audio_open(recording->file, i, &audio, &why);
        if (result != AUDIO_GOOD)
            return recording_refuse(work, result, &why);
        struct channel channel = { .work = work,
                                   .id = wanted->id,
                                   .speaker = transcript_speaker(i, recording->channels),
                                   .audio = audio,
                                   .transcript = &transcript,
                                   .answer = ret };
        TRY(transcribe_channel(&channel));
    }
    transcript_sort(&transcript);
    ret->body = transcript_write(&transcript, work_arena(work));
    ret->model = transcript.model;
    return DONE;
}
