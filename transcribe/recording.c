#include "transcribe/recording.h"

#include "common/json.h"
#include "common/log.h"
#include "common/tree.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FOLDER_MODE    0750
#define READ_BYTES     (64 * 1024)
#define HOST_BYTES_MAX 100 /* shown to operators */
#define PART_ENDING    ".part"

static const char *const formats[] = { "wav", "mp3", "flac", "au", "ogg" };

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}

static void unlinkp(const char **path)
{
    if (*path)
        unlink(*path);
}

/* --- the folder --------------------------------------------------------------------------------------------------- */

static bool make_folder(const char *path, struct problem *why)
{
    if (mkdir(path, FOLDER_MODE) == 0 || errno == EEXIST)
        return true;
    return fail(why, "could not make the folder \"%s\": %s", path, strerror(errno));
}

static bool make_folders(const char *path, struct problem *why)
{
    char *parent = must_copy(path);
    bool good = true;
    for (char *at = parent + 1; good && (at = strchr(at, '/')); at++) {
        *at = '\0';
        good = make_folder(parent, why);
        *at = '/';
    }
    free(parent);
    return good && make_folder(path, why);
}

/* Whoever writes such a file holds a lock on it: one that can be locked was left by a crash. */
static bool remove_left(int folder, const char *name)
{
    CLEANUP(closep) int fd = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && unlinkat(folder, name, 0) == 0;
}

static int remove_all_left(int folder)
{
    DIR *listing = fdopendir(folder);
    int removed = 0;
    if (!listing) {
        close(folder);
        return 0;
    }
    for (struct dirent *entry; (entry = readdir(listing));) {
        size_t bytes = strlen(entry->d_name), ending = strlen(PART_ENDING);
        if (bytes > ending && strcmp(entry->d_name + bytes - ending, PART_ENDING) == 0)
            removed += remove_left(dirfd(listing), entry->d_name);
    }
    closedir(listing);
    return removed;
}

static void clean(const char *dir)
{
    DIR *tenants = opendir(dir);
    int removed = tenants ? remove_all_left(dup(dirfd(tenants))) : 0;
    if (tenants)
        rewinddir(tenants); /* a duplicate shares the place in the listing */
    for (struct dirent *entry; tenants && (entry = readdir(tenants));) {
        int folder = entry->d_name[0] == '.'
                         ? -1
                         : openat(dirfd(tenants), entry->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (folder >= 0)
            removed += remove_all_left(folder);
    }
    if (tenants)
        closedir(tenants);
    if (removed > 0)
        log_info("removed recordings that were copied by half", LOG_INT("files", removed));
}

int recording_scratch(const struct recording_settings *settings, struct problem *why)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof(path), "%s/scratch.XXXXXX" PART_ENDING, settings->dir) >= (int)sizeof(path)) {
        fail(why, "the name of RECORDINGS_DIR is too long");
        return -1;
    }
    int fd = mkostemps(path, strlen(PART_ENDING), O_CLOEXEC);
    if (fd < 0)
        fail(why, "could not make a file in \"%s\": %s", settings->dir, strerror(errno));
    else
        unlink(path);
    return fd;
}

bool recordings_prepare(const char *dir, struct problem *why)
{
    struct problem said;
    if (!make_folders(dir, &said))
        return fail(why, "%s; RECORDINGS_DIR must be a folder this daemon may write to", said.text);
    CLEANUP(closep) int fd = recording_scratch(&(struct recording_settings){ .dir = dir }, &said);
    if (fd < 0)
        return fail(why, "%s; RECORDINGS_DIR must be a folder this daemon may write to", said.text);
    clean(dir);
    return true;
}

/* --- what a copy is ----------------------------------------------------------------------------------------------- */

struct copying {
    const struct recording_wanted *wanted;
    const char *host;
    const char *folder; /* RECORDINGS_DIR/<tenant> */
    const char *name;   /* without its ending */
};

static bool hash_file(const char *path, char ret[2 * SHA256_BYTES + 1], int64_t *ret_bytes, struct problem *why)
{
    crypto_hash_sha256_state state;
    uint8_t digest[SHA256_BYTES];
    CLEANUP(closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *chunk = must_alloc(READ_BYTES);
    ssize_t got = -1;
    crypto_hash_sha256_init(&state);
    for (*ret_bytes = 0; fd >= 0 && (got = read(fd, chunk, READ_BYTES)) > 0; *ret_bytes += got)
        crypto_hash_sha256_update(&state, (const unsigned char *)chunk, (unsigned long long)got);
    free(chunk);
    if (got < 0)
        return fail(why, "could not read the recording's copy \"%s\": %s", path, strerror(errno));
    crypto_hash_sha256_final(&state, digest);
    hex_print(digest, sizeof(digest), ret);
    return true;
}

enum outcome recording_refuse(struct work *work, enum audio_result result, const struct problem *why)
{
    return result == AUDIO_BAD ? reject_problem(work, why) : retry(work, 0, "%s", why->text);
}

/* Looks at a file; `ret->path` is left to the caller, who knows its name. */
static enum outcome describe(struct work *work, const struct recording_settings *settings, const char *file,
                             struct recording *ret)
{
    struct audio_facts facts;
    struct problem why;
    int64_t bytes;
    char *sha256 = arena_alloc(work_arena(work), 2 * SHA256_BYTES + 1);
    enum audio_result result = audio_inspect(file, settings->duration_ms_max, &facts, &why);
    if (result != AUDIO_GOOD)
        return recording_refuse(work, result, &why);
    if (!hash_file(file, sha256, &bytes, &why))
        return retry(work, 0, "%s", why.text);
    *ret = (struct recording){ .bytes = bytes,
                               .sha256 = sha256,
                               .format = facts.format,
                               .channels = facts.channels,
                               .sample_rate_hz = facts.sample_rate_hz,
                               .duration_s = facts.duration_s };
    return DONE;
}

static struct text write_answer(struct arena *arena, const struct recording *recording)
{
    struct buf json;
    buf_init(&json, PATH_MAX + 1024);
    buf_add_char(&json, '{');
    json_name(&json, "path");
    json_write_string(&json, recording->path);
    json_name(&json, "bytes");
    json_write_integer(&json, recording->bytes);
    json_name(&json, "sha256");
    json_write_string(&json, recording->sha256);
    json_name(&json, "format");
    json_write_string(&json, recording->format);
    json_name(&json, "channels");
    json_write_integer(&json, recording->channels);
    json_name(&json, "sample_rate_hz");
    json_write_integer(&json, recording->sample_rate_hz);
    json_name(&json, "duration_s");
    json_write_number(&json, recording->duration_s);
    buf_add_char(&json, '}');
    struct text answer = text_of(arena_copy_text(arena, buf_text(&json)));
    buf_done(&json);
    return answer;
}

static bool read_answer(struct arena *arena, const char *dir, struct text answer, struct recording *ret)
{
    const cJSON *json = tree_read(arena, answer), *duration = tree_get(json, "duration_s");
    *ret = (struct recording){ .path = tree_string(json, "path"),
                               .bytes = tree_count(json, "bytes"),
                               .sha256 = tree_string(json, "sha256"),
                               .format = tree_string(json, "format"),
                               .channels = (int)tree_count(json, "channels"),
                               .sample_rate_hz = (int)tree_count(json, "sample_rate_hz"),
                               .duration_s = cJSON_IsNumber(duration) ? duration->valuedouble : 0 };
    if (!ret->path || !ret->sha256 || !ret->format)
        return false;
    ret->file = arena_printf(arena, "%s/%s", dir, ret->path);
    return true;
}

/* --- an existing copy --------------------------------------------------------------------------------------------- */

/* One that the disk does not give now is there all the same: its address may have expired. */
static enum outcome use_file(struct work *work, const struct copying *copying, const char *path, struct recording *ret,
                             bool *ret_found)
{
    const char *file = arena_printf(work_arena(work), "%s/%s", copying->wanted->settings->dir, path);
    *ret_found = false;
    if (access(file, F_OK) != 0)
        return DONE;
    enum outcome outcome = describe(work, copying->wanted->settings, file, ret);
    if (outcome == REJECT) {
        log_warning("a recording's copy cannot be used; it is fetched again", LOG_TEXT("path", path),
                    LOG_TEXT("why", work_why(work)->text));
        return DONE;
    }
    *ret_found = outcome == DONE;
    ret->path = path;
    return outcome;
}

static enum outcome find_copy(struct work *work, const struct copying *copying, struct recording *ret, bool *ret_found)
{
    const struct recording_wanted *wanted = copying->wanted;
    *ret_found = false;
    if (wanted->known_path)
        TRY(use_file(work, copying, wanted->known_path, ret, ret_found));
    for (size_t i = 0; i < LENGTH(formats) && !*ret_found; i++)
        TRY(use_file(work, copying,
                     arena_printf(work_arena(work), "%s/%s.%s", wanted->tenant, copying->name, formats[i]), ret,
                     ret_found));
    return DONE;
}

/* --- fetching it -------------------------------------------------------------------------------------------------- */

static enum outcome judge_status(struct work *work, const char *host, const struct http_reply *reply)
{
    long status = reply->status;
    if (status >= 200 && status <= 299)
        return DONE;
    if (status == 403 || status == 404 || status == 410)
        return reject(
            work, "the recording is not at %s any more (HTTP status %ld): its address has expired, or it was deleted",
            host, status);
    if (status == 401)
        return reject(work, "%s wants credentials for the recording (HTTP status 401)", host);
    if (status == 408 || status == 425 || status == 429 || status >= 500)
        return retry(work, reply->retry_after_ms > 0 ? reply->retry_after_ms : 0,
                     "could not fetch the recording from %s: HTTP status %ld", host, status);
    return reject(work, "could not fetch the recording from %s: HTTP status %ld", host, status);
}

/* A full disk is our trouble, not the host's: say so. */
static enum outcome judge_storage(struct work *work, const struct recording_settings *settings, int fd,
                                  enum outcome outcome)
{
    struct statvfs disk;
    if (outcome == RETRY && fstatvfs(fd, &disk) == 0 &&
        (disk.f_bavail == 0 || (disk.f_files > 0 && disk.f_favail == 0)))
        return retry(work, 0, "could not store the recording: the disk of RECORDINGS_DIR \"%s\" is full",
                     settings->dir);
    return outcome;
}

static enum outcome download(struct work *work, const struct copying *copying, int fd)
{
    const struct recording_settings *settings = copying->wanted->settings;
    const struct http_request request = {
        .method = "GET",
        .url = copying->wanted->url,
        .headers = (const char *const[]){ "Accept: audio/*, application/octet-stream;q=0.9, */*;q=0.1", NULL },
        .timeout_ms = settings->timeout_ms,
        .stall_timeout_ms = settings->stall_timeout_ms,
        .answer_bytes_max = (size_t)settings->bytes_max,
        .file = fd,
        .to_file = true,
        .outside = true,
    };
    struct http_reply reply;
    enum outcome outcome = work_http_any(work, &request, &reply);
    if (reply.result == HTTP_TOO_LARGE)
        return reject(work, "the recording is larger than the %lld bytes of RECORDING_BYTES_MAX",
                      (long long)settings->bytes_max);
    if (outcome != DONE)
        return judge_storage(work, settings, fd, outcome);
    TRY(judge_status(work, copying->host, &reply));
    if (fsync(fd) != 0)
        return retry(work, 0, "could not store the recording in \"%s\": %s", copying->folder, strerror(errno));
    return DONE;
}

/* The name must be as durable as what it names. */
static bool give_name(const char *from, const char *to, const char *folder)
{
    CLEANUP(closep) int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd >= 0 && rename(from, to) == 0 && fsync(fd) == 0;
}

static enum outcome fetch(struct work *work, const struct copying *copying, struct recording *ret)
{
    struct arena *arena = work_arena(work);
    const struct recording_wanted *wanted = copying->wanted;
    struct problem why;
    if (!make_folder(copying->folder, &why))
        return retry(work, 0, "%s", why.text);
    char *part = arena_printf(arena, "%s/%s.XXXXXX" PART_ENDING, copying->folder, copying->name);
    CLEANUP(closep) int fd = mkostemps(part, strlen(PART_ENDING), O_CLOEXEC);
    if (fd < 0)
        return retry(work, 0, "could not make a file in \"%s\": %s", copying->folder, strerror(errno));
    CLEANUP(unlinkp) const char *left = part;
    flock(fd, LOCK_EX | LOCK_NB); /* for remove_left(): it is not left */

    TRY(download(work, copying, fd));
    TRY(describe(work, wanted->settings, part, ret));
    ret->path = arena_printf(arena, "%s/%s.%s", wanted->tenant, copying->name, ret->format);
    const char *file = arena_printf(arena, "%s/%s", wanted->settings->dir, ret->path);
    if (!give_name(part, file, copying->folder))
        return retry(work, 0, "could not store the recording as \"%s\": %s", file, strerror(errno));
    left = NULL;
    return DONE;
}

static enum outcome copy(struct work *work, void *request, struct answer *ret)
{
    const struct copying *copying = request;
    struct recording recording;
    bool found;
    TRY(find_copy(work, copying, &recording, &found));
    if (!found)
        TRY(fetch(work, copying, &recording));
    ret->body = write_answer(work_arena(work), &recording);
    return DONE;
}

/* "recordings.example.com", without credentials and port; what cannot be read is refused by the request itself. */
static const char *host_of(struct arena *arena, const char *url)
{
    const char *at = strstr(url, "://");
    at = at ? at + 3 : url;
    size_t bytes = strcspn(at, "/?#");
    const char *credentials = memrchr(at, '@', bytes);
    if (credentials) {
        bytes -= (size_t)(credentials + 1 - at);
        at = credentials + 1;
    }
    size_t name = at[0] == '[' ? strcspn(at, "]") + 1 : strcspn(at, ":");
    bytes = name < bytes ? name : bytes;
    char *host = arena_copy_text(arena, (struct text){ at, bytes < HOST_BYTES_MAX ? bytes : HOST_BYTES_MAX });
    for (char *c = host; *c; c++)
        *c = isalnum((unsigned char)*c) || strchr(".-[]:", *c) ? (char)tolower((unsigned char)*c) : '-';
    return host[0] ? host : "nowhere";
}

enum outcome recording_get(struct work *work, const struct recording_wanted *wanted, struct recording *ret)
{
    struct arena *arena = work_arena(work);
    uint8_t digest[SHA256_BYTES];
    char name[2 * SHA256_BYTES + 1];
    sha256(text_of(wanted->id), digest);
    struct copying copying = {
        .wanted = wanted,
        .host = host_of(arena, wanted->url),
        .folder = arena_printf(arena, "%s/%s", wanted->settings->dir, wanted->tenant),
        .name = hex_print(digest, sizeof(digest), name),
    };
    struct answer answer;
    TRY(ask(work, "recording",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = "recordings",
                           .no_circuit = true, /* their hosts come from outside: one that is away must hold up no other */
                           .timeout_ms = wanted->settings->timeout_ms,
                           .call = copy,
                           .request = &copying },
            &answer));
    if (!read_answer(arena, wanted->settings->dir, answer.body, ret))
        return reject(work, "the recorded answer about the recording cannot be read");
    return DONE;
}
