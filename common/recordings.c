#include "common/recordings.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/crypto.h"

#define ASK_TIMEOUT_MS  10000         /* of whatever brings no whole recording */
#define REFUSAL_BYTES_MAX (64 * 1024) /* a few lines of XML */
#define CODE_BYTES_MAX  64
#define HASH_OF_NOTHING "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

/* --- paths ---------------------------------------------------------------------------------------------------- */

/* The table is data: a path leads below the folder, and is spelt in one way in an address. */
static bool path_is_sound(const char *path)
{
    bool begins = true;
    for (const char *at = path; *at; at++) {
        if (begins && !isalnum((unsigned char)*at))
            return false;
        if (!isalnum((unsigned char)*at) && strchr("._-/", *at) == NULL)
            return false;
        begins = *at == '/';
    }
    return !begins;
}

static enum recordings_result refuse_path(const char *path, struct problem *why)
{
    fail(why, "\"%s\" is no path of a recording", path);
    return RECORDINGS_ABSENT;
}

const char *const recording_formats[] = { "wav", "mp3", "flac", "au", "ogg", NULL };

const char *recording_content_type(const char *format)
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

int recordings_scratch(const struct recordings *recordings, struct problem *why)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/scratch.XXXXXX.part", recordings->dir) >= (int)sizeof(path)) {
        fail(why, "the name of RECORDINGS_DIR is too long");
        return -1;
    }
    int fd = mkostemps(path, strlen(".part"), O_CLOEXEC);
    if (fd < 0)
        fail(why, "could not make a file in \"%s\": %s", recordings->dir, strerror(errno));
    else
        unlink(path);
    return fd;
}

/* --- the folder ----------------------------------------------------------------------------------------------- */

static const char *file_of(const struct recordings *recordings, struct arena *arena, const char *path)
{
    return arena_printf(arena, "%s/%s", recordings->dir, path);
}

/* When the folder itself is not there, nothing is known of what is in it. */
static enum recordings_result judge_errno(const struct recordings *recordings, const char *path, int error,
                                          struct problem *why)
{
    bool absent = (error == ENOENT || error == ENOTDIR) && access(recordings->dir, X_OK) == 0;
    fail(why, "could not reach the recording \"%s\" in \"%s\" (RECORDINGS_DIR): %s", path, recordings->dir,
         strerror(error));
    return absent ? RECORDINGS_ABSENT : RECORDINGS_AWAY;
}

/* What the path leads to lies below the folder, whatever links there are. */
static int open_below(const struct recordings *recordings, const char *file)
{
    char real_folder[PATH_MAX], real_file[PATH_MAX];
    if (!realpath(recordings->dir, real_folder) || !realpath(file, real_file))
        return -1;
    size_t bytes = strlen(real_folder);
    if (strncmp(real_file, real_folder, bytes) != 0 || real_file[bytes] != '/') {
        errno = ENOENT;
        return -1;
    }
    return open(real_file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
}

/* The name must be as durable as what it names. */
static enum recordings_result give_name(const struct recordings *recordings, struct arena *arena,
                                        const struct recordings_file *file, const char *path, struct problem *why)
{
    const char *slash = strrchr(path, '/');
    const char *folder = slash ? arena_printf(arena, "%s/%.*s", recordings->dir, (int)(slash - path), path)
                               : recordings->dir;
    CLEANUP(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd >= 0 && rename(file->name, file_of(recordings, arena, path)) == 0 && fsync(fd) == 0)
        return RECORDINGS_DONE;
    fail(why, "could not store the recording as \"%s\" in \"%s\": %s", path, recordings->dir, strerror(errno));
    return RECORDINGS_AWAY;
}

/* --- the bucket ----------------------------------------------------------------------------------------------- */

static const char *endpoint(const struct recordings *recordings, struct arena *arena)
{
    return recordings->url ? recordings->url : arena_printf(arena, "https://s3.%s.amazonaws.com", recordings->region);
}

/* `extra`: one more header, or NULL. */
static struct http_request request_of(const struct recordings *recordings, struct arena *arena, const char *method,
                                      const char *path, const char *sha256, const char *extra)
{
    const char **headers = arena_alloc(arena, 3 * sizeof(*headers));
    headers[0] = arena_printf(arena, "x-amz-content-sha256: %s", sha256);
    headers[1] = extra;
    headers[2] = NULL;
    return (struct http_request){
        .method = method,
        .url = arena_printf(arena, "%s/%s/%s", endpoint(recordings, arena), recordings->bucket, path),
        .headers = headers,
        .basic_user = recordings->access_key,
        .basic_password = recordings->secret_key,
        .aws_sigv4 = arena_printf(arena, "aws:amz:%s:s3", recordings->region),
        .timeout_ms = ASK_TIMEOUT_MS,
        .stall_timeout_ms = recordings->stall_timeout_ms,
        .answer_bytes_max = REFUSAL_BYTES_MAX,
        .repeatable = true, /* the same again changes nothing */
    };
}

/* "SignatureDoesNotMatch"; "" when the answer names nothing that looks like it. */
static void read_code(struct text body, char ret[CODE_BYTES_MAX])
{
    static const char begin[] = "<Code>";
    const char *at = body.at ? memmem(body.at, body.bytes, begin, strlen(begin)) : NULL;
    size_t bytes = 0;
    for (at = at ? at + strlen(begin) : ""; bytes < CODE_BYTES_MAX - 1 && isalnum((unsigned char)at[bytes]); bytes++)
        ret[bytes] = at[bytes];
    ret[bytes] = '\0';
}

static enum recordings_result judge_status(const struct recordings *recordings, const struct http_reply *reply,
                                           struct problem *why)
{
    long status = reply->status;
    char code[CODE_BYTES_MAX];
    if (status >= 200 && status <= 299)
        return RECORDINGS_DONE;
    read_code(reply->body, code);
    const char *separator = code[0] ? " " : "";
    if (status == 404 && strcmp(code, "NoSuchBucket") != 0) {
        fail(why, "the bucket \"%s\" does not have the recording", recordings->bucket);
        return RECORDINGS_ABSENT;
    }
    bool slow = strcmp(code, "RequestTimeout") == 0; /* with status 400 */
    if (slow || status == 408 || status == 409 || status == 425 || status == 429 || status >= 500) {
        fail(why, "the bucket \"%s\" does not do it now (HTTP status %ld%s%s)", recordings->bucket, status, separator,
             code);
        return RECORDINGS_AWAY;
    }
    if (status == 404)
        fail(why, "there is no bucket \"%s\": check RECORDINGS_S3_BUCKET and RECORDINGS_S3_URL", recordings->bucket);
    else
        fail(why,
             "the bucket \"%s\" refuses us (HTTP status %ld%s%s): check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,"
             " RECORDINGS_S3_REGION, and that the key may put, get and delete there and list the bucket",
             recordings->bucket, status, separator, code);
    return RECORDINGS_REFUSED;
}

static enum recordings_result judge(const struct recordings *recordings, const struct http_reply *reply,
                                    struct problem *why)
{
    return reply->result == HTTP_ANSWERED ? judge_status(recordings, reply, why) : RECORDINGS_AWAY;
}

static enum recordings_result call(const struct recordings *recordings, struct http_client *client,
                                   struct arena *arena, const struct http_request *request, struct problem *why)
{
    struct http_reply reply;
    http_call(client, request, arena, &reply, why);
    return judge(recordings, &reply, why);
}

static enum recordings_result ask(const struct recordings *recordings, struct http_client *client, struct arena *arena,
                                  const char *method, const char *path, struct problem *why)
{
    struct http_request request = request_of(recordings, arena, method, path, HASH_OF_NOTHING, NULL);
    return call(recordings, client, arena, &request, why);
}

static enum recordings_result fetch(const struct recordings *recordings, struct http_client *client,
                                    struct arena *arena, const char *path, int *ret_fd, struct problem *why)
{
    struct http_request request = request_of(recordings, arena, "GET", path, HASH_OF_NOTHING, NULL);
    int fd = recordings_scratch(recordings, why);
    if (fd < 0)
        return RECORDINGS_AWAY;
    request.timeout_ms = recordings->timeout_ms;
    request.answer_bytes_max = RECORDINGS_UPLOAD_BYTES_MAX;
    request.file = fd;
    request.to_file = true;
    enum recordings_result result = call(recordings, client, arena, &request, why);
    if (result == RECORDINGS_DONE)
        *ret_fd = fd;
    else
        close(fd);
    return result;
}

static enum recordings_result put(const struct recordings *recordings, struct http_client *client, struct arena *arena,
                                  const struct recordings_file *file, const char *path, struct problem *why)
{
    struct http_request request =
        request_of(recordings, arena, "PUT", path, file->sha256,
                   arena_printf(arena, "Content-Type: %s", recording_content_type(file->format)));
    request.timeout_ms = recordings->timeout_ms;
    request.upload = file->fd;
    request.upload_bytes = file->bytes;
    return call(recordings, client, arena, &request, why);
}

/* --- either --------------------------------------------------------------------------------------------------- */

bool recordings_ready(const struct recordings *recordings, struct problem *why)
{
    if (recordings->bucket == NULL)
        return recordings->url == NULL ||
               fail(why, "RECORDINGS_S3_URL is set but RECORDINGS_S3_BUCKET is not; set it, or neither");
    if (!path_is_sound(recordings->bucket) || strchr(recordings->bucket, '/'))
        return fail(why, "RECORDINGS_S3_BUCKET is \"%s\", and must be the name of a bucket", recordings->bucket);
    return (recordings->access_key && recordings->secret_key) ||
           fail(why, "RECORDINGS_S3_BUCKET is set but %s is not",
                recordings->access_key ? "AWS_SECRET_ACCESS_KEY" : "AWS_ACCESS_KEY_ID");
}

enum recordings_result recordings_reach(const struct recordings *recordings, struct http_client *client,
                                        struct arena *arena, struct problem *why)
{
    if (recordings->bucket == NULL)
        return access(recordings->dir, W_OK | X_OK) == 0 ? RECORDINGS_DONE : judge_errno(recordings, "", errno, why);
    enum recordings_result result = ask(recordings, client, arena, "HEAD", "", why);
    if (result == RECORDINGS_ABSENT) { /* an answer to HEAD has no code */
        fail(why, "there is no bucket \"%s\": check RECORDINGS_S3_BUCKET and RECORDINGS_S3_URL", recordings->bucket);
        return RECORDINGS_REFUSED;
    }
    return result;
}

/* The folder is made with the first copy. */
static bool is_to_be_made(const struct recordings *recordings)
{
    return !recordings->bucket && access(recordings->dir, F_OK) != 0 && errno == ENOENT;
}

bool recordings_check(const struct recordings *recordings, struct buf *out)
{
    const struct http_client_settings settings = { .connections_max = 1, .connections_per_host_max = 1 };
    struct problem why;
    bool good = recordings_ready(recordings, &why);
    struct http_client *client = good ? http_client_start(&settings, &why) : NULL;
    struct arena *arena = arena_new(2 * REFUSAL_BYTES_MAX);
    good = client && (is_to_be_made(recordings) ||
                      recordings_reach(recordings, client, arena, &why) == RECORDINGS_DONE);
    if (good && recordings->bucket)
        buf_printf(out, "ok   recordings bucket %s at %s\n", recordings->bucket, endpoint(recordings, arena));
    else
        buf_printf(out, "%s recordings %s\n", good ? "ok  " : "bad ", good ? recordings->dir : why.text);
    http_client_stop(client);
    arena_free(arena);
    return good;
}

enum recordings_result recordings_look(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const char *path, struct problem *why)
{
    if (!path_is_sound(path))
        return refuse_path(path, why);
    if (recordings->bucket)
        return ask(recordings, client, arena, "HEAD", path, why);
    return access(file_of(recordings, arena, path), F_OK) == 0 ? RECORDINGS_DONE
                                                               : judge_errno(recordings, path, errno, why);
}

enum recordings_result recordings_open(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const char *path, int *ret_fd, struct problem *why)
{
    if (!path_is_sound(path))
        return refuse_path(path, why);
    if (recordings->bucket)
        return fetch(recordings, client, arena, path, ret_fd, why);
    *ret_fd = open_below(recordings, file_of(recordings, arena, path));
    return *ret_fd >= 0 ? RECORDINGS_DONE : judge_errno(recordings, path, errno, why);
}

enum recordings_result recordings_keep(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const struct recordings_file *file, const char *path,
                                       struct problem *why)
{
    return recordings->bucket ? put(recordings, client, arena, file, path, why)
                              : give_name(recordings, arena, file, path, why);
}

enum recordings_result recordings_remove(const struct recordings *recordings, struct http_client *client,
                                         struct arena *arena, const char *path, struct problem *why)
{
    if (!path_is_sound(path))
        return refuse_path(path, why);
    if (recordings->bucket)
        return ask(recordings, client, arena, "DELETE", path, why);
    return unlink(file_of(recordings, arena, path)) == 0 ? RECORDINGS_DONE
                                                         : judge_errno(recordings, path, errno, why);
}

/* --- playback ------------------------------------------------------------------------------------------------- */

struct http_request recordings_piece(const struct recordings *recordings, struct arena *arena, const char *path,
                                     int64_t first, int64_t bytes)
{
    struct http_request request =
        request_of(recordings, arena, "GET", path_is_sound(path) ? path : "-", HASH_OF_NOTHING,
                   arena_printf(arena, "Range: bytes=%lld-%lld", (long long)first, (long long)(first + bytes - 1)));
    request.answer_bytes_max = RECORDINGS_PIECE_BYTES_MAX;
    return request;
}

enum recordings_result recordings_judge_piece(const struct recordings *recordings, const struct http_reply *reply,
                                              int64_t bytes, struct problem *why)
{
    bool outside = reply->result == HTTP_ANSWERED && reply->status == 416;
    enum recordings_result result = outside ? RECORDINGS_AWAY : judge(recordings, reply, why);
    if (!outside && (result != RECORDINGS_DONE || reply->bytes == bytes))
        return result;
    fail(why, "the bucket \"%s\" has another recording there than the one that was kept", recordings->bucket);
    return RECORDINGS_AWAY;
}
