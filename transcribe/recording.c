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

static void closep(int *fd)
{
    if (*fd >= 0)
        close(*fd);
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

bool recordings_prepare(const struct recordings *store, struct problem *why)
{
    struct problem said;
    if (!recordings_ready(store, why))
        return false;
    if (!make_folders(store->dir, &said))
        return fail(why, "%s; RECORDINGS_DIR must be a folder this daemon may write to", said.text);
    CLEANUP(closep) int fd = recordings_scratch(store, &said);
    if (fd < 0)
        return fail(why, "%s; RECORDINGS_DIR must be a folder this daemon may write to", said.text);
    clean(store->dir);
    return true;
}

/* --- what a copy is ----------------------------------------------------------------------------------------------- */

struct copying {
    const struct recording_wanted *wanted;
    const struct recordings *store;
    const char *host;
    const char *folder;          /* RECORDINGS_DIR/<tenant> */
    const char *name;            /* without its ending */
    const char *stored;          /* the path of the copy that is there, or NULL */
    const char *part;            /* what is fetched has this name in the folder until it has its own; NULL: none */
    struct recording *recording; /* what is known of it, and what was opened or fetched */
};

/* /proc gives an open file a name again. */
static const char *file_of(struct work *work, int fd)
{
    return arena_printf(work_arena(work), "/proc/self/fd/%d", fd);
}

void recording_done(struct recording *recording)
{
    closep(&recording->fd);
    recording->fd = -1;
}

/* Nothing else is open then. */
static void take_file(struct recording *recording, int fd)
{
    recording_done(recording);
    recording->fd = fd;
}

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

enum outcome recording_judge(struct work *work, const struct recordings *store, enum recordings_result result,
                             const struct problem *why)
{
    if (result == RECORDINGS_DONE)
        return DONE;
    return store->bucket && result == RECORDINGS_REFUSED ? work_refused(work, RECORDINGS_PROVIDER, "%s", why->text)
                                                         : retry(work, 0, "%s", why->text);
}

/* Looks at the open file; its path is left to the caller, who knows it. */
static enum outcome describe(struct work *work, const struct recording_settings *settings, struct recording *recording)
{
    const char *file = file_of(work, recording->fd);
    struct audio_facts facts;
    struct problem why;
    int64_t bytes;
    char *sha256 = arena_alloc(work_arena(work), 2 * SHA256_BYTES + 1);
    enum audio_result result = audio_inspect(file, settings->duration_ms_max, &facts, &why);
    if (result != AUDIO_GOOD)
        return recording_refuse(work, result, &why);
    if (!hash_file(file, sha256, &bytes, &why))
        return retry(work, 0, "%s", why.text);
    *recording = (struct recording){ .fd = recording->fd,
                                     .bytes = bytes,
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

static bool read_answer(struct arena *arena, struct text answer, struct recording *recording)
{
    const cJSON *json = tree_read(arena, answer), *duration = tree_get(json, "duration_s");
    *recording = (struct recording){ .fd = recording->fd,
                                     .path = tree_string(json, "path"),
                                     .bytes = tree_count(json, "bytes"),
                                     .sha256 = tree_string(json, "sha256"),
                                     .format = tree_string(json, "format"),
                                     .channels = (int)tree_count(json, "channels"),
                                     .sample_rate_hz = (int)tree_count(json, "sample_rate_hz"),
                                     .duration_s = cJSON_IsNumber(duration) ? duration->valuedouble : 0 };
    return recording->path && recording->sha256 && recording->format;
}

/* --- an existing copy --------------------------------------------------------------------------------------------- */

static enum outcome look_at(struct work *work, struct copying *copying, const char *path)
{
    struct problem why;
    work_waits(work);
    enum recordings_result result = recordings_look(copying->store, stage_http(), work_arena(work), path, &why);
    work_goes_on(work);
    if (result == RECORDINGS_DONE)
        copying->stored = path;
    return result == RECORDINGS_ABSENT ? DONE : recording_judge(work, copying->store, result, &why);
}

static enum outcome look_for(struct work *work, struct copying *copying, const char *tenant)
{
    for (size_t i = 0; recording_formats[i] && !copying->stored; i++)
        TRY(look_at(work, copying,
                    arena_printf(work_arena(work), "%s/%s.%s", tenant, copying->name, recording_formats[i])));
    return DONE;
}

/* A copy whose row was never written is found by its name, also one made before the call got another tenant than the
 * event has. */
static enum outcome find_copy(struct work *work, struct copying *copying)
{
    const struct recording_wanted *wanted = copying->wanted;
    const char *before = work_event(work)->tenant;
    if (wanted->known_path)
        TRY(look_at(work, copying, wanted->known_path));
    TRY(look_for(work, copying, wanted->tenant));
    return before && strcmp(before, wanted->tenant) != 0 ? look_for(work, copying, before) : DONE;
}

/* One that the store does not give now is there all the same: its address may have expired. */
static enum outcome use_copy(struct work *work, struct copying *copying, bool *ret_used)
{
    struct problem why;
    int fd;
    work_waits(work);
    enum recordings_result result =
        recordings_open(copying->store, stage_http(), work_arena(work), copying->stored, &fd, &why);
    work_goes_on(work);
    *ret_used = false;
    if (result == RECORDINGS_ABSENT)
        return DONE;
    TRY(recording_judge(work, copying->store, result, &why));
    take_file(copying->recording, fd);
    enum outcome outcome = describe(work, copying->wanted->settings, copying->recording);
    if (outcome == REJECT) {
        log_warning("a recording's copy cannot be used; it is fetched again", LOG_TEXT("path", copying->stored),
                    LOG_TEXT("why", work_why(work)->text));
        return DONE;
    }
    *ret_used = outcome == DONE;
    copying->recording->path = copying->stored;
    return outcome;
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
static enum outcome judge_storage(struct work *work, const struct recordings *store, int fd, enum outcome outcome)
{
    struct statvfs disk;
    if (outcome == RETRY && fstatvfs(fd, &disk) == 0 &&
        (disk.f_bavail == 0 || (disk.f_files > 0 && disk.f_favail == 0)))
        return retry(work, 0, "could not store the recording: the disk of RECORDINGS_DIR \"%s\" is full",
                     store->dir);
    return outcome;
}

static enum outcome download(struct work *work, const struct copying *copying, int fd)
{
    const struct recording_settings *settings = copying->wanted->settings;
    const struct http_request request = {
        .method = "GET",
        .url = copying->wanted->url,
        .headers = (const char *const[]){ "Accept: audio/*, application/octet-stream;q=0.9, */*;q=0.1", NULL },
        .timeout_ms = copying->store->timeout_ms,
        .stall_timeout_ms = copying->store->stall_timeout_ms,
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
        return judge_storage(work, copying->store, fd, outcome);
    TRY(judge_status(work, copying->host, &reply));
    if (fsync(fd) != 0)
        return retry(work, 0, "could not store the recording in \"%s\": %s", copying->store->dir, strerror(errno));
    return DONE;
}

/* Where what is fetched goes: in a folder beside its place, where it only has to be renamed. */
static enum outcome make_part(struct work *work, struct copying *copying)
{
    struct problem why;
    if (copying->store->bucket) {
        take_file(copying->recording, recordings_scratch(copying->store, &why));
        return copying->recording->fd >= 0 ? DONE : retry(work, 0, "%s", why.text);
    }
    if (!make_folder(copying->folder, &why))
        return retry(work, 0, "%s", why.text);
    char *part = arena_printf(work_arena(work), "%s/%s.XXXXXX" PART_ENDING, copying->folder, copying->name);
    take_file(copying->recording, mkostemps(part, strlen(PART_ENDING), O_CLOEXEC));
    if (copying->recording->fd < 0)
        return retry(work, 0, "could not make a file in \"%s\": %s", copying->folder, strerror(errno));
    copying->part = part;
    flock(copying->recording->fd, LOCK_EX | LOCK_NB); /* for remove_left(): it is not left */
    return DONE;
}

static enum outcome keep(struct work *work, struct copying *copying)
{
    const struct recording *recording = copying->recording;
    const struct recordings_file file = { .fd = recording->fd,
                                          .name = copying->part,
                                          .bytes = recording->bytes,
                                          .sha256 = recording->sha256,
                                          .format = recording->format };
    struct problem why;
    work_waits(work);
    enum recordings_result result =
        recordings_keep(copying->store, stage_http(), work_arena(work), &file, recording->path, &why);
    work_goes_on(work);
    if (result == RECORDINGS_DONE)
        copying->part = NULL;
    return recording_judge(work, copying->store, result, &why);
}

static enum outcome fetch(struct work *work, struct copying *copying)
{
    const struct recording_wanted *wanted = copying->wanted;
    struct recording *recording = copying->recording;
    TRY(make_part(work, copying));
    TRY(download(work, copying, recording->fd));
    TRY(describe(work, wanted->settings, recording));
    recording->path = arena_printf(work_arena(work), "%s/%s.%s", wanted->tenant, copying->name, recording->format);
    copying->stored = NULL; /* what was there could not be used */
    return copying->store->bucket ? DONE : keep(work, copying);
}

/* --- asking ------------------------------------------------------------------------------------------------------- */

static enum outcome reject_removed(struct work *work)
{
    return reject(work, "the recording was removed at the end of its company's retention time, so it cannot be listened"
                        " to again; its transcript stays as it is");
}

/* What an ask is given, is given once: on a rerun the file is not open any more, and nothing is fetched again. */
static enum outcome copy(struct work *work, void *request, struct answer *ret)
{
    struct copying *copying = request;
    bool used = false;
    if (copying->wanted->removed)
        return reject_removed(work);
    if (!copying->store->bucket)
        TRY(find_copy(work, copying));
    if (copying->stored)
        TRY(use_copy(work, copying, &used));
    if (!used)
        TRY(fetch(work, copying));
    ret->body = write_answer(work_arena(work), copying->recording);
    return DONE;
}

static enum outcome look(struct work *work, void *request, struct answer *ret)
{
    struct copying *copying = request;
    TRY(find_copy(work, copying));
    ret->body = text_of(copying->stored ? copying->stored : "");
    return DONE;
}

static enum outcome put(struct work *work, void *request, struct answer *ret)
{
    struct copying *copying = request;
    (void)ret;
    if (copying->recording->fd < 0)
        TRY(fetch(work, copying));
    return keep(work, copying);
}

/* It is asked for what lies there now, also by a replay. */
static enum outcome ask_bucket(struct work *work, const char *name, struct copying *copying,
                               enum outcome (*call)(struct work *work, void *request, struct answer *ret),
                               struct answer *ret)
{
    return ask(work, name,
               &(struct ask){ .kind = ASK_AGAIN,
                              .provider = RECORDINGS_PROVIDER,
                              .unrecorded = true,
                              .timeout_ms = copying->store->timeout_ms,
                              .call = call,
                              .request = copying },
               ret);
}

/* A bucket that does not answer is found out before anything is fetched for it. */
static enum outcome look_in_bucket(struct work *work, struct copying *copying)
{
    struct answer answer;
    TRY(ask_bucket(work, "recording_look", copying, look, &answer));
    copying->stored = answer.body.bytes > 0 ? arena_copy_text(work_arena(work), answer.body) : NULL;
    return DONE;
}

static enum outcome get(struct work *work, struct copying *copying)
{
    bool in_bucket = copying->store->bucket && !copying->wanted->removed;
    struct answer answer;
    if (in_bucket)
        TRY(look_in_bucket(work, copying));
    TRY(ask(work, "recording",
            &(struct ask){ .kind = ASK_AGAIN,
                           .provider = "recordings",
                           .no_circuit = true, /* their hosts come from outside: one that is away must hold up no other */
                           .timeout_ms = copying->store->timeout_ms,
                           .call = copy,
                           .request = copying },
            &answer));
    if (!read_answer(work_arena(work), answer.body, copying->recording))
        return reject(work, "the recorded answer about the recording cannot be read");
    if (in_bucket && !copying->stored)
        TRY(ask_bucket(work, "recording_keep", copying, put, &answer));
    copying->recording->removed = copying->wanted->removed;
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
        .store = &wanted->settings->store,
        .host = host_of(arena, wanted->url),
        .folder = arena_printf(arena, "%s/%s", wanted->settings->store.dir, wanted->tenant),
        .name = hex_print(digest, sizeof(digest), name),
        .recording = ret,
    };
    enum outcome outcome = get(work, &copying);
    if (copying.part)
        unlink(copying.part);
    return outcome;
}

enum outcome recording_bring(struct work *work, const struct recordings *store, struct recording *recording)
{
    struct problem why;
    if (recording->removed)
        return reject_removed(work);
    if (recording->fd < 0) {
        work_waits(work);
        enum recordings_result result =
            recordings_open(store, stage_http(), work_arena(work), recording->path, &recording->fd, &why);
        work_goes_on(work);
        if (result == RECORDINGS_ABSENT)
            return reject(work, "the copy of the recording is not there any more: %s", why.text);
        TRY(recording_judge(work, store, result, &why));
    }
    recording->file = file_of(work, recording->fd);
    return DONE;
}
