/* transcribe_fixture.h: what the tests of the transcribe stage share: a server that is both the host of recordings and
 * OpenAI, a folder, and the handler, tried on an event.  Include once; it includes cmocka. */
#pragma once

#include "tests/unit/audio_fixture.h"
#include "tests/unit/scripted_server.h"

#include "common/stage/runtime.h"
#include "transcribe/audio.h"
#include "transcribe/transcribe.h"

#include <dirent.h>
#include <sys/stat.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define CALL        "CAL1"
#define TENANT      "acme"
#define UPLOADS_MAX 8

static struct server server;
static struct transcribe transcribe;
static struct arena *arena;
static struct buf effects;
static struct problem why;

static const struct burst agent_speaks[] = { { 0.3, 0.8 }, { 0, 0 } };
static const struct burst customer_speaks[] = { { 1, 1.5 }, { 0, 0 } };

/* --- the other side ----------------------------------------------------------------------------------------------- */

/* What OpenAI answers to the next uploads, in turn, and what it got. */
static struct {
    const char *status, *headers, *bodies[2];
    int uploads;
    char seen[UPLOADS_MAX]
             [512]; /* of each: authorization, names and values of the fields, the file's name and first bytes */
} openai;

static inline void note_field(const char *part, const char *end, char *seen)
{
    const char *name = strstr(part, "name=\""), *value = strstr(part, "\r\n\r\n"), *file = strstr(part, "filename=\"");
    const char *until = value ? memmem(value, (size_t)(end - value), "\r\n--", 4) : NULL;
    if (!name || !value || !until)
        return;
    size_t used = strlen(seen);
    snprintf(seen + used, 512 - used, " %.*s=", (int)strcspn(name + 6, "\""), name + 6);
    used = strlen(seen);
    if (file && file < value)
        snprintf(seen + used, 512 - used, "%.*s:%.4s", (int)strcspn(file + 10, "\""), file + 10, value + 4);
    else
        snprintf(seen + used, 512 - used, "%.*s", (int)(until - value - 4), value + 4);
}

static inline bool transcriptions(const struct exchange *exchange)
{
    const char *length = strcasestr(exchange->request, "\r\nContent-Length:");
    const char *end = exchange->body + (length ? strtoul(length + 17, NULL, 10) : 0), *part = exchange->body;
    const char *authorization = strcasestr(exchange->request, "\r\nAuthorization: ");
    char *seen = openai.seen[openai.uploads % UPLOADS_MAX];
    snprintf(seen, 512, "%.*s", authorization ? (int)strcspn(authorization + 17, "\r") : 0,
             authorization ? authorization + 17 : "");
    while ((part = memmem(part, (size_t)(end - part), "Content-Disposition", 19))) {
        note_field(part, end, seen);
        part += 19;
    }
    const char *body = openai.bodies[openai.uploads++ % 2];
    return server_answer(exchange->fd, openai.status, openai.headers, text_of(body ? body : ""));
}

static inline bool send_file(const struct exchange *exchange, const char *name, size_t missing)
{
    size_t bytes;
    char *at = read_bytes(path_of(name), &bytes);
    bool good = server_printf(exchange->fd, "HTTP/1.1 200 OK\r\nContent-Type: audio/wav\r\nContent-Length: %zu\r\n\r\n",
                              bytes) &&
                server_send(exchange->fd, at, bytes - missing);
    free(at);
    return good && missing == 0;
}

static inline bool send_for_ever(const struct exchange *exchange)
{
    static const char zeros[4096];
    size_t bytes;
    char *at = read_bytes(path_of("call.wav"), &bytes);
    bool good = server_printf(exchange->fd, "HTTP/1.1 200 OK\r\n\r\n") && server_send(exchange->fd, at, bytes);
    free(at);
    while (good)
        good = server_send(exchange->fd, zeros, sizeof(zeros));
    return false;
}

static bool server_behave(const struct exchange *exchange)
{
    const char *path = strchr(exchange->request, ' ') + 1;
    int fd = exchange->fd;
    if (strncmp(path, "/v1/audio/transcriptions ", 25) == 0)
        return transcriptions(exchange);
    if (strncmp(path, "/html ", 6) == 0)
        return server_answer(fd, "200 OK", "Content-Type: text/html\r\n",
                             TEXT("<!doctype html><title>Sign in</title>"));
    if (strncmp(path, "/empty ", 7) == 0)
        return server_answer(fd, "200 OK", "Content-Type: audio/wav\r\n", TEXT(""));
    if (strncmp(path, "/endless ", 9) == 0)
        return send_for_ever(exchange);
    if (strncmp(path, "/cut ", 5) == 0)
        return send_file(exchange, "call.wav", 1000);
    if (strncmp(path, "/stall ", 7) == 0)
        return server_printf(fd, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nRIFF") && server_await_close(fd);
    if (strncmp(path, "/inside ", 8) == 0)
        return server_answer(fd, "302 Found", "Location: http://127.0.0.1:9/secret\r\n", TEXT(""));
    if (strncmp(path, "/moved ", 7) == 0)
        return server_answer(fd, "302 Found", "Location: /call.wav\r\n", TEXT(""));
    char name[64];
    snprintf(name, sizeof(name), "%.*s", (int)strcspn(path + 1, " ?"), path + 1);
    if (strncmp(name, "status/", 7) == 0) {
        memcpy(strchr(name, '/') + 4, " No", 4);
        return server_answer(fd, name + 7, "Retry-After: 7\r\n", TEXT("no"));
    }
    return send_file(exchange, name, 0);
}

/* --- the handler, tried ------------------------------------------------------------------------------------------- */

struct asked {
    const char *known_path;             /* of the call's row */
    bool absent;                        /* there is no such row */
    bool removed;                       /* the copy's time is over */
    const char *recording, *transcript; /* recorded answers; NULL: the request itself is made */
};

static inline enum outcome answer_query(void *context, const struct statement *statement, struct params params,
                                        struct arena *of, struct rows *ret)
{
    static const char *const names[] = { "tenant", "path", "removed_at" };
    const struct asked *asked = context;
    assert_string_equal(statement->name, "find_recorded_call");
    assert_string_equal(params.values[0], CALL);
    const char **values = arena_alloc(of, 3 * sizeof(*values));
    values[0] = TENANT;
    values[1] = asked->known_path;
    values[2] = asked->removed ? "2026-11-21 09:30:00+00" : NULL;
    *ret = (struct rows){ .count = !asked->absent, .columns = 3, .values = values, .names = names };
    return DONE;
}

static inline enum outcome answer_ask(void *context, const char *name, const struct ask *ask, struct arena *of,
                                      struct answer *ret)
{
    const struct asked *asked = context;
    (void)of;
    assert_int_equal(ask->kind, ASK_AGAIN);
    bool recording = strcmp(name, "recording") == 0;
    assert_true(recording || strcmp(name, "transcribe") == 0);
    assert_string_equal(ask->provider, recording ? "recordings" : transcribe_providers[transcribe.with]);
    *ret = (struct answer){ .body = text_of(recording ? asked->recording : asked->transcript), .recorded = true };
    return DONE;
}

static inline enum outcome try_into(const char *data, const struct asked *asked, struct buf *ret_effects,
                                    struct problem *ret_why)
{
    static const struct stage stage = { .name = "transcribe", .context = &transcribe };
    struct work_probe probe = { .query = answer_query,
                                .ask = asked->transcript ? answer_ask : NULL,
                                .context = (void *)asked };
    struct event event = { .id = "886313e1-3b8a-5372-9b90-0c9aee199e5d",
                           .source = "/ingest",
                           .type = "call.recorded",
                           .subject = CALL,
                           .time = "2026-11-21T09:30:00Z",
                           .correlation_id = CALL,
                           .run = 2,
                           .traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                           .data = text_of(data) };
    struct buf message;
    buf_init(&message, 64 * 1024);
    buf_clear(ret_effects);
    event_write(&message, &event, &EVENT_CALL_RECORDED, NULL);
    enum outcome outcome =
        work_try(&stage, transcribe_routes[0].handle, buf_text(&message), &probe, ret_effects, ret_why);
    buf_done(&message);
    return outcome;
}

static inline enum outcome try_data(const char *data, const struct asked *asked)
{
    return try_into(data, asked, &effects, &why);
}

static inline enum outcome try_path(const char *path, const struct asked *asked)
{
    return try_data(arena_printf(arena, "{\"call_id\":\"" CALL "\",\"recording_url\":\"http://127.0.0.1:%u/%s\"}",
                                 server.port, path),
                    asked);
}

static inline void expect(enum outcome got, enum outcome wanted, const char *said)
{
    if (got != wanted || (wanted != DONE && !strstr(why.text, said)))
        fail_msg("wanted %d with \"%s\", got %d with \"%s\"", wanted, said, got, why.text);
}

static inline void expect_effect(const char *line)
{
    if (!strstr(effects.at ? effects.at : "", line))
        fail_msg("wanted \"%s\" in:\n%s", line, effects.at ? effects.at : "nothing");
}

static inline int count_files(const char *ending)
{
    const char *path = arena_printf(arena, "%s/" TENANT, transcribe.recordings.store.dir);
    DIR *listing = opendir(path);
    int count = 0;
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        size_t bytes = strlen(entry->d_name);
        count += bytes > strlen(ending) && strcmp(entry->d_name + bytes - strlen(ending), ending) == 0;
    }
    if (listing)
        closedir(listing);
    return count;
}

static inline void forget_copies(void)
{
    if (system(arena_printf(arena, "rm -rf '%s'", transcribe.recordings.store.dir)) != 0 ||
        !recordings_prepare(&transcribe.recordings.store, &why))
        abort();
}

/* --- each test ---------------------------------------------------------------------------------------------------- */

static inline void openai_says(const char *status, const char *headers, const char *first, const char *second)
{
    openai.uploads = 0;
    openai.status = status;
    openai.headers = headers;
    openai.bodies[0] = first;
    openai.bodies[1] = second;
}

#define AS_JSON "Content-Type: application/json\r\n"

static inline int begin_each(void **state)
{
    (void)state;
    arena_reset(arena);
    transcribe.with = TRANSCRIBE_OPENAI;
    transcribe.openai_model = "whisper-1";
    openai_says("200 OK", AS_JSON, "{\"text\":\"yes\"}", "{\"text\":\"no\"}");
    forget_copies();
    mkdir(arena_printf(arena, "%s/" TENANT, transcribe.recordings.store.dir), 0700);
    return 0;
}

static inline int begin(void **state)
{
    (void)state;
    static char dir[FIXTURE_PATH_BYTES], url[64], allowed[64];
    folder_make();
    arena = arena_new(64 * 1024 * 1024);
    buf_init(&effects, 1024 * 1024);
    server_start(&server);
    snprintf(dir, sizeof(dir), "%s", path_of("recordings"));
    snprintf(url, sizeof(url), "http://127.0.0.1:%u/v1", server.port);
    snprintf(allowed, sizeof(allowed), "127.0.0.1:%u", server.port);
    transcribe = (struct transcribe){ .recordings = { .store = { .dir = dir, .timeout_ms = 20000, .stall_timeout_ms = 300 },
                                                      .bytes_max = 1024 * 1024,
                                                      .duration_ms_max = 3600000 },
                                      .model_dir = "/usr/share/pocketsphinx/model/en-us",
                                      .decoders_max = 1,
                                      .openai_key = "sk",
                                      .openai_url = url,
                                      .openai_timeout_ms = 20000 };
    write_audio(path_of("call.wav"), SF_FORMAT_WAV | SF_FORMAT_ULAW, 16000, 2, 2, agent_speaks, customer_speaks);
    write_audio(path_of("mono.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 1, 2, agent_speaks, NULL);
    write_audio(path_of("silence.wav"), SF_FORMAT_WAV | SF_FORMAT_PCM_16, 8000, 2, 2, NULL, NULL);
    write_bytes(path_of("noise.bin"), "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    runtime.http = http_client_start(
        &(struct http_client_settings){
            .connections_max = 8, .connections_per_host_max = 8, .allowed_private = allowed, .user_agent = "test" },
        &why);
    return runtime.http && crypto_init(&why) ? 0 : -1;
}

static inline int end(void **state)
{
    (void)state;
    http_client_stop(runtime.http);
    server_stop(&server);
    local_close();
    folder_remove();
    buf_done(&effects);
    arena_free(arena);
    return 0;
}

#define TEST(name) cmocka_unit_test_setup(name, begin_each)
