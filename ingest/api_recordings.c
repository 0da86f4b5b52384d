/* api_recordings.c: GET /api/v1/calls/{id}/recording, /api/v1/recordings/sessions/{id}/recording: the audio of a call
 * or visit, from the copy that transcribe made.
 *
 * A copy in a bucket is sent on in pieces, each asked for when the listener has taken the one before: so the bucket
 * need not be reachable for listeners, who may hear what their token lets them and nothing else, and neither a
 * recording nor a slow listener holds much here.  Nobody waits for the bucket but the one who listens: its answers are
 * told on the HTTP client's thread. */
#include "ingest/api.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "ingest/api_query.h"
#include "ingest/byte_range.h"

#define PIECE_ARENA_BYTES_MAX (2 * RECORDINGS_PIECE_BYTES_MAX)

static const struct statement find_call_recording = {
    .name = "api_find_recording",
    .text = "SELECT r.path, r.format, r.sha256, r.bytes, r.removed_at"
            " FROM calls c JOIN recordings r USING (tenant, call_id) WHERE c.call_id = $1 ORDER BY c.call_at DESC LIMIT 1",
    .params = 1,
};

static const struct statement find_session_recording = {
    .name = "api_find_session_recording",
    .text = "SELECT r.path, r.format, r.sha256, r.bytes, r.removed_at"
            " FROM recording_sessions s JOIN session_recordings r USING (tenant, session_id) WHERE s.session_id = $1::uuid",
    .params = 1,
};

/* What is to be sent of a recording, and how. */
struct playing {
    const char *path, *content_type, *tag;
    int64_t bytes; /* of all of it */
    int64_t first, last;
    bool part;
};

/* A part is only right of the file it was begun with. */
static enum byte_range wanted_range(const struct http_exchange *exchange, const char *tag, int64_t bytes,
                                    int64_t *ret_first, int64_t *ret_last)
{
    struct text begun_with = http_header(exchange, "If-Range");

    return begun_with.at && !text_is(begun_with, tag)
               ? RANGE_NONE
               : byte_range_read(http_header(exchange, "Range"), bytes, ret_first, ret_last);
}

#define HEADERS_MAX 5
static void describe_part(struct arena *arena, const struct playing *playing,
                          struct http_answer_header ret[HEADERS_MAX])
{
    const char *part = playing->part ? arena_printf(arena, "bytes %lld-%lld/%lld", (long long)playing->first,
                                                    (long long)playing->last, (long long)playing->bytes)
                                     : NULL;
    const struct http_answer_header headers[HEADERS_MAX] = { { "Cache-Control", "no-store" },
                                                             { "Accept-Ranges", "bytes" },
                                                             { "ETag", playing->tag },
                                                             { part ? "Content-Range" : NULL, part },
                                                             { 0 } };
    memcpy(ret, headers, sizeof(headers));
}

static bool find_part(struct api_request *request, struct playing *playing)
{
    playing->first = 0;
    playing->last = playing->bytes - 1;
    enum byte_range range =
        wanted_range(request->exchange, playing->tag, playing->bytes, &playing->first, &playing->last);
    playing->part = range == RANGE_PART;
    if (range != RANGE_OUTSIDE)
        return true;
    const struct http_answer_header headers[] = {
        { "Accept-Ranges", "bytes" },
        { "ETag", playing->tag },
        { "Content-Range", arena_printf(request->arena, "bytes */%lld", (long long)playing->bytes) },
        { 0 },
    };
    api_refuse_with(request, 416, "the recording has no part in this range", headers);
    return false;
}

/* On any thread. */
static void refuse_copy(struct http_exchange *exchange, enum recordings_result result, const char *path,
                        const struct problem *why)
{
    log_warning("a recording that is asked for cannot be played", LOG_TEXT("path", path),
                LOG_TEXT("reason", why->text));
    if (result == RECORDINGS_ABSENT)
        api_send_problem(exchange, 404, "the copy of the recording is not there any more", NULL, NULL);
    else
        api_send_later(exchange, "the recordings cannot be reached at the moment", API_AGAIN_S);
}

/* --- from the folder ------------------------------------------------------------------------------------------- */

static void play_file(struct api_request *request, struct playing *playing)
{
    struct http_answer_header headers[HEADERS_MAX];
    struct problem why;
    struct stat facts;
    int fd = -1;

    enum recordings_result result =
        recordings_open(&request->ingest->recordings, stage_http(), request->arena, playing->path, &fd, &why);
    if (result == RECORDINGS_DONE && (fstat(fd, &facts) != 0 || !S_ISREG(facts.st_mode) || facts.st_size == 0)) {
        fail(&why, "it is no file, or an empty one");
        result = RECORDINGS_ABSENT;
    }
    if (result != RECORDINGS_DONE)
        refuse_copy(request->exchange, result, playing->path, &why);
    playing->bytes = result == RECORDINGS_DONE ? facts.st_size : 0;
    if (result != RECORDINGS_DONE || !find_part(request, playing)) {
        if (fd >= 0)
            close(fd);
        return;
    }
    describe_part(request->arena, playing, headers);
    http_answer_file(request->exchange, playing->part ? 206 : 200, playing->content_type, fd, playing->first,
                     playing->last - playing->first + 1, headers);
}

/* --- from the bucket ------------------------------------------------------------------------------------------- */

/* Lives until the last piece is sent; until there is an answer, what it points to is the exchange's. */
struct playback {
    const struct recordings *recordings;
    struct http_exchange *exchange; /* NULL: it is answered */
    struct http_stream *stream;
    struct playing playing;
    char *path;
    struct arena *arena; /* of one piece: request and answer */
    int64_t piece_bytes;
    struct http_request request;
    struct http_reply reply;
    struct problem why;
};

static void playback_free(void *context)
{
    struct playback *playback = context;

    arena_free(playback->arena);
    free(playback->path);
    free(playback);
}

static void piece_came(void *context);

static void ask_for_piece(struct playback *playback, int64_t offset)
{
    int64_t first = playback->playing.first + offset, left = playback->playing.last - first + 1;

    playback->piece_bytes = left < RECORDINGS_PIECE_BYTES_MAX ? left : RECORDINGS_PIECE_BYTES_MAX;
    arena_reset(playback->arena);
    playback->request =
        recordings_piece(playback->recordings, playback->arena, playback->path, first, playback->piece_bytes);
    http_call_begin(stage_http(), &playback->request, playback->arena, &playback->reply, &playback->why, piece_came,
                    playback);
}

static void more(void *context, struct http_stream *stream, int64_t offset)
{
    struct playback *playback = context;

    playback->stream = stream;
    ask_for_piece(playback, offset);
}

static void begin_answer(struct playback *playback)
{
    const struct playing *playing = &playback->playing;
    struct http_exchange *exchange = playback->exchange;
    struct http_answer_header headers[HEADERS_MAX];

    playback->exchange = NULL;
    describe_part(http_arena(exchange), playing, headers);
    http_answer_stream(exchange, playing->part ? 206 : 200, playing->content_type, playing->last - playing->first + 1,
                       playback->reply.body, &(struct http_stream_source){ more, playback_free, playback }, headers);
}

/* On the HTTP client's thread. */
static void piece_came(void *context)
{
    struct playback *playback = context;
    enum recordings_result result =
        recordings_judge_piece(playback->recordings, &playback->reply, playback->piece_bytes, &playback->why);

    if (result == RECORDINGS_DONE && playback->exchange) {
        begin_answer(playback);
    } else if (result == RECORDINGS_DONE) {
        http_stream_give(playback->stream, playback->reply.body);
    } else if (playback->exchange) {
        refuse_copy(playback->exchange, result, playback->path, &playback->why);
        playback_free(playback);
    } else {
        log_warning("a recording cannot be played to its end", LOG_TEXT("path", playback->path),
                    LOG_TEXT("reason", playback->why.text));
        http_stream_give(playback->stream, (struct text){ NULL, 0 });
    }
}

static void play_from_bucket(struct api_request *request, struct playing *playing)
{
    if (!find_part(request, playing))
        return;
    struct playback *playback = must_alloc(sizeof(*playback));
    *playback = (struct playback){ .recordings = &request->ingest->recordings,
                                   .exchange = request->exchange,
                                   .playing = *playing,
                                   .path = must_copy(playing->path),
                                   .arena = arena_new(PIECE_ARENA_BYTES_MAX) };
    ask_for_piece(playback, 0);
}

/* --- either ---------------------------------------------------------------------------------------------------- */

static void play(struct api_request *request, const struct statement *find, const char *id, const char *what)
{
    struct rows rows;

    if (!api_no_parameters(http_url(request->exchange), request->arena, &request->why)) {
        api_refuse_query(request, &request->why);
        return;
    }
    if (!api_query(request, find, PARAMS(id), &rows))
        return;
    if (rows.count == 0) {
        api_refuse_absent(request, what);
        return;
    }
    if (row_get(&rows, 0, "removed_at")) {
        api_refuse(request, 410,
                   "the recording was removed at the end of its company's retention time; what was said in it can still"
                   " be read",
                   NULL);
        return;
    }
    struct playing playing = {
        .path = row_get(&rows, 0, "path"),
        .content_type = recording_content_type(row_get(&rows, 0, "format")),
        .tag = arena_printf(request->arena, "\"%s\"", row_get(&rows, 0, "sha256")),
        .bytes = strtoll(row_get(&rows, 0, "bytes"), NULL, 10),
    };
    (request->ingest->recordings.bucket ? play_from_bucket : play_file)(request, &playing);
}

void api_play_call(struct api_request *request)
{
    play(request, &find_call_recording, http_path_value(request->exchange, "id"), "recording of a call");
}

void api_play_session(struct api_request *request)
{
    const char *session_id = api_path_uuid(request, "recording of a visit");

    if (session_id)
        play(request, &find_session_recording, session_id, "recording of a visit");
}
