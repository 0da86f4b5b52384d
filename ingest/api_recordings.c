/* api_recordings.c: GET /api/v1/calls/{id}/recording, /api/v1/recordings/sessions/{id}/recording: the audio of a call
 * or visit, from the copy that transcribe made. */
#include "ingest/api.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/log.h"
#include "ingest/api_query.h"
#include "ingest/byte_range.h"

static const struct statement find_call_recording = {
    .name = "api_find_recording",
    .text = "SELECT r.path, r.format, r.sha256 FROM calls c JOIN recordings r USING (tenant, call_id)"
            " WHERE c.call_id = $1 ORDER BY c.call_at DESC LIMIT 1",
    .params = 1,
};

static const struct statement find_session_recording = {
    .name = "api_find_session_recording",
    .text = "SELECT r.path, r.format, r.sha256 FROM recording_sessions s JOIN session_recordings r"
            " USING (tenant, session_id) WHERE s.session_id = $1::uuid",
    .params = 1,
};

static const char *content_type_of(const char *format)
{
    static const struct {
        const char *format, *content_type;
    } types[] = {
        { "wav", "audio/wav" }, { "mp3", "audio/mpeg" }, { "au", "audio/basic" }, { "flac", "audio/flac" }
    };

    for (size_t i = 0; i < LENGTH(types); i++)
        if (strcmp(format, types[i].format) == 0)
            return types[i].content_type;
    return "application/octet-stream";
}

/* What the path leads to lies below the folder, whatever it says and whatever links there are. */
static int open_below(const char *folder, const char *path)
{
    char joined[PATH_MAX], real_folder[PATH_MAX], real_file[PATH_MAX];
    bool fits = snprintf(joined, sizeof(joined), "%s/%s", folder, path) < (int)sizeof(joined);

    if (!fits || !realpath(folder, real_folder) || !realpath(joined, real_file))
        return -1;
    size_t bytes = strlen(real_folder);
    if (strncmp(real_file, real_folder, bytes) != 0 || real_file[bytes] != '/') {
        errno = EACCES;
        return -1;
    }
    return open(real_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

static bool open_recording(struct api_request *request, const char *path, int *ret_fd, int64_t *ret_bytes)
{
    struct stat facts;
    int fd = open_below(request->ingest->recordings_dir, path);

    if (fd >= 0 && fstat(fd, &facts) == 0 && S_ISREG(facts.st_mode) && facts.st_size > 0) {
        *ret_fd = fd;
        *ret_bytes = facts.st_size;
        return true;
    }
    log_warning("a recording that is asked for cannot be opened", LOG_TEXT("path", path),
                LOG_TEXT("recordings_dir", request->ingest->recordings_dir), LOG_TEXT("reason", strerror(errno)));
    if (fd >= 0)
        close(fd);
    api_refuse(request, 404, "the copy of the recording is not there any more", NULL);
    return false;
}

/* A part is only right of the file it was begun with. */
static enum byte_range wanted_range(const struct http_exchange *exchange, const char *tag, int64_t bytes,
                                    int64_t *ret_first, int64_t *ret_last)
{
    struct text begun_with = http_header(exchange, "If-Range");

    return begun_with.at && !text_is(begun_with, tag)
               ? RANGE_NONE
               : byte_range_read(http_header(exchange, "Range"), bytes, ret_first, ret_last);
}

static void send_file(struct api_request *request, int fd, int64_t bytes, const char *content_type, const char *tag)
{
    int64_t first = 0, last = bytes - 1;
    enum byte_range range = wanted_range(request->exchange, tag, bytes, &first, &last);
    const char *part = range == RANGE_OUTSIDE
                           ? arena_printf(request->arena, "bytes */%lld", (long long)bytes)
                           : arena_printf(request->arena, "bytes %lld-%lld/%lld", (long long)first, (long long)last,
                                          (long long)bytes);
    const struct http_answer_header headers[] = { { "Cache-Control", "no-store" },
                                                  { "Accept-Ranges", "bytes" },
                                                  { "ETag", tag },
                                                  { range == RANGE_NONE ? NULL : "Content-Range", part },
                                                  { 0 } };

    if (range != RANGE_OUTSIDE) {
        http_answer_file(request->exchange, range == RANGE_PART ? 206 : 200, content_type, fd, first, last - first + 1,
                         headers);
        return;
    }
    close(fd);
    api_refuse_with(request, 416, "the recording has no part in this range", headers + 1);
}

static void play(struct api_request *request, const struct statement *find, const char *id, const char *what)
{
    struct rows rows;
    int64_t bytes;
    int fd;

    if (!api_no_parameters(http_url(request->exchange), request->arena, &request->why)) {
        api_refuse_query(request, &request->why);
        return;
    }
    if (!api_query(request, find, PARAMS(id), &rows))
        return;
    if (rows.count == 0)
        api_refuse_absent(request, what);
    else if (open_recording(request, row_get(&rows, 0, "path"), &fd, &bytes))
        send_file(request, fd, bytes, content_type_of(row_get(&rows, 0, "format")),
                  arena_printf(request->arena, "\"%s\"", row_get(&rows, 0, "sha256")));
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
