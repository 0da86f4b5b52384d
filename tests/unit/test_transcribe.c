/* The transcribe stage by its effects: a recording is copied and sent to be heard, whatever its host, its bytes and the
 * provider do. */
#include "tests/unit/transcribe_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/resource.h>

/* --- what is described -------------------------------------------------------------------------------------------- */

#define RECORDING_ANSWER                                                                                               \
    "{\"path\":\"acme/"                                                                                                \
    "x.wav\",\"bytes\":32044,\"sha256\":\"00ff\",\"format\":\"wav\",\"channels\":2,\"sample_rate_hz\":8000,"           \
    "\"duration_s\":2.5}"

static void describes_rows_and_event(void **state)
{
    (void)state;
    struct asked asked = {
        .recording = RECORDING_ANSWER,
        .transcript =
            "{\"provider\":\"local\",\"language\":\"en\",\"model\":\"pocketsphinx\",\"segments\":["
            "{\"speaker\":\"agent\",\"start_s\":0.5,\"end_s\":1,\"text\":\"good morning\",\"confidence\":0.75},"
            "{\"speaker\":\"customer\",\"start_s\":1.5,\"end_s\":2,\"text\":\"hello\"}]}",
    };
    expect(try_path("call.wav", &asked), DONE, "");
    assert_string_equal(
        effects.at,
        "row upsert_recording acme|CAL1|acme/x.wav|32044|00ff|wav|2|8000|2.5\n"
        "row upsert_transcript acme|CAL1|local|pocketsphinx|en|agent: good morning\ncustomer: hello|"
        "[{\"speaker\":\"agent\",\"start_s\":0.5,\"end_s\":1,\"text\":\"good morning\",\"confidence\":0.75},"
        "{\"speaker\":\"customer\",\"start_s\":1.5,\"end_s\":2,\"text\":\"hello\"}]|2|3|2.5|2026-11-21T09:30:00Z|2\n"
        "event call.transcribed CAL1 "
        "{\"call_id\":\"CAL1\",\"provider\":\"local\",\"model\":\"pocketsphinx\",\"language\":\"en\","
        "\"duration_s\":2.5,\"segments\":2,\"words\":3,\"speakers\":2}\n");

    asked.transcript = "{\"provider\":\"local\",\"language\":\"en\",\"model\":\"pocketsphinx\",\"segments\":[]}";
    expect(try_path("call.wav", &asked), DONE, "");
    expect_effect("row upsert_transcript acme|CAL1|local|pocketsphinx|en||[]|0|0|2.5|");
    expect_effect("\"segments\":0,\"words\":0,\"speakers\":0");
}

/* What was answered before holds; whoever wants it listened to again is told why that cannot be. */
static void does_not_listen_to_what_was_removed(void **state)
{
    (void)state;
    struct asked asked = { .known_path = "acme/x.wav", .removed = true };
    expect(try_path("call.wav", &asked), REJECT, "removed at the end of its company's retention time");
    assert_int_equal(count_files(".wav"), 0);
    asked.recording = RECORDING_ANSWER;
    asked.transcript = "{\"provider\":\"local\",\"language\":\"en\",\"model\":\"pocketsphinx\",\"segments\":[]}";
    expect(try_path("call.wav", &asked), DONE, "");
}

static void rejects_what_it_cannot_use(void **state)
{
    (void)state;
    struct asked asked = { .recording = RECORDING_ANSWER, .transcript = "{\"segments\":3}" };
    expect(try_path("call.wav", &asked), REJECT, "the recorded answer is not a transcript");
    asked.recording = "{}";
    expect(try_path("call.wav", &asked), REJECT, "the recorded answer about the recording cannot be read");
    expect(try_data("{\"call_id\":\"" CALL "\"}", &asked), REJECT, "");
    expect(try_data("{\"call_id\":\"" CALL "\",\"recording_url\":7}", &asked), REJECT, "");
    assert_string_equal(why.pointer, "/recording_url");
    expect(try_path("call.wav", &(struct asked){ .absent = true }), REJECT, "call \"CAL1\" is not there");
}

/* --- the copy ----------------------------------------------------------------------------------------------------- */

static void refuses_what_cannot_be_fetched(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        enum outcome wanted;
        const char *said;
    } table[] = {
        { "html", REJECT, "the recording is an HTML page, not audio" },
        { "empty", REJECT, "the recording is empty" },
        { "noise.bin", REJECT, "has a broken header" },
        { "status/403", REJECT, "is not at 127.0.0.1 any more (HTTP status 403): its address has expired" },
        { "status/404", REJECT, "HTTP status 404" },
        { "status/410", REJECT, "HTTP status 410" },
        { "status/401", REJECT, "wants credentials" },
        { "status/400", REJECT, "HTTP status 400" },
        { "status/302", REJECT, "HTTP status 302" },
        { "status/408", RETRY, "HTTP status 408" },
        { "status/429", RETRY, "HTTP status 429" },
        { "status/500", RETRY, "could not fetch the recording from 127.0.0.1: HTTP status 500" },
        { "status/503", RETRY, "HTTP status 503" },
        { "cut", RETRY, "gave no whole answer" },
        { "stall", RETRY, "" },
        { "endless", REJECT, "is larger than the 1048576 bytes of RECORDING_BYTES_MAX" },
        { "inside", REJECT, "is not an address of the public internet" },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        expect(try_path(table[i].path, &(struct asked){ 0 }), table[i].wanted, table[i].said);
        assert_int_equal(count_files(""), 2); /* nothing but . and .. */
    }
    expect(try_data("{\"call_id\":\"" CALL "\",\"recording_url\":\"file:///etc/passwd\"}", &(struct asked){ 0 }),
           REJECT, "only http and https");
    expect(try_data("{\"call_id\":\"" CALL "\",\"recording_url\":\"http://127.0.0.1:9/x.wav\"}", &(struct asked){ 0 }),
           REJECT, "is not an address of the public internet");
}

static void copies_once(void **state)
{
    (void)state;
    openai.uploads = 0;
    int before = server_count(&server, &server.requests);
    expect(try_path("moved", &(struct asked){ 0 }), DONE, "");
    assert_int_equal(server_count(&server, &server.requests),
                     before + 4); /* the redirect, the file, and both channels */
    assert_int_equal(count_files(".wav"), 1);
    assert_int_equal(count_files(".part"), 0);
    char *first = arena_copy_text(arena, buf_text(&effects));
    assert_non_null(strstr(first, "row upsert_recording acme|CAL1|acme/"));

    before = server_count(&server, &server.requests); /* the address has expired, the copy is there */
    expect(try_path("status/403", &(struct asked){ 0 }), DONE, "");
    assert_int_equal(server_count(&server, &server.requests), before + 2);
    size_t line = strcspn(first, "\n");
    assert_memory_equal(effects.at, first, line);

    /* a call that got another tenant keeps its copy */
    const char *path = strstr(first, "acme/");
    path = arena_copy_text(arena, (struct text){ path, strcspn(path, "|") });
    if (rename(arena_printf(arena, "%s/%s", transcribe.recordings.store.dir, path),
               arena_printf(arena, "%s/kept.wav", transcribe.recordings.store.dir)))
        abort();
    expect(try_path("status/403", &(struct asked){ .known_path = "kept.wav" }), DONE, "");
    expect_effect("acme|CAL1|kept.wav|");

    /* one that rotted is fetched again */
    write_bytes(arena_printf(arena, "%s/kept.wav", transcribe.recordings.store.dir), "rotten", 6);
    expect(try_path("call.wav", &(struct asked){ .known_path = "kept.wav" }), DONE, "");
    assert_memory_equal(effects.at, first, line);
}

static void removes_what_a_crash_left(void **state)
{
    (void)state;
    const char *left = arena_printf(arena, "%s/" TENANT "/left.part", transcribe.recordings.store.dir);
    const char *busy = arena_printf(arena, "%s/" TENANT "/busy.part", transcribe.recordings.store.dir);
    const char *whole = arena_printf(arena, "%s/" TENANT "/whole.wav", transcribe.recordings.store.dir);
    mkdir(arena_printf(arena, "%s/" TENANT, transcribe.recordings.store.dir), 0700);
    write_bytes(left, "half", 4);
    write_bytes(busy, "half", 4);
    write_bytes(whole, "whole", 5);
    int fd = open(busy, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0); /* another instance is at it */
    assert_true(recordings_prepare(&(struct recordings){ .dir = transcribe.recordings.store.dir }, &why));
    assert_int_equal(access(left, F_OK), -1);
    assert_int_equal(access(busy, F_OK) | access(whole, F_OK), 0);
    close(fd);
    assert_true(recordings_prepare(&(struct recordings){ .dir = transcribe.recordings.store.dir }, &why));
    assert_int_equal(access(busy, F_OK), -1);

    assert_false(recordings_prepare(&(struct recordings){ .dir = path_of("call.wav") }, &why));
    assert_non_null(strstr(why.text, "RECORDINGS_DIR must be a folder this daemon may write to"));
    assert_false(recordings_prepare(&(struct recordings){ .dir = "/proc/recordings" }, &why));
    assert_true(recordings_prepare(&(struct recordings){ .dir = path_of("a/new/folder") }, &why));
}

/* What a full disk does: the file cannot grow. */
static void tries_again_when_it_cannot_store(void **state)
{
    (void)state;
    struct rlimit usual, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &usual);
    small = (struct rlimit){ 4096, usual.rlim_max };
    setrlimit(RLIMIT_FSIZE, &small);
    enum outcome outcome = try_path("call.wav", &(struct asked){ 0 });
    setrlimit(RLIMIT_FSIZE, &usual);
    expect(outcome, RETRY, "could not store the answer");
    assert_int_equal(count_files(".part"), 0);
    forget_copies();
    if (geteuid() == 0)
        return; /* who may write anywhere */
    chmod(transcribe.recordings.store.dir, 0500);
    outcome = try_path("call.wav", &(struct asked){ 0 });
    chmod(transcribe.recordings.store.dir, 0700);
    expect(outcome, RETRY, "could not make the folder");
}

/* --- OpenAI ------------------------------------------------------------------------------------------------------- */

static void sends_each_channel(void **state)
{
    (void)state;
    transcribe.openai_key = "sk-first, sk-second";
    openai_says(
        "200 OK", AS_JSON,
        "{\"task\":\"transcribe\",\"language\":\"english\",\"duration\":\"2.0\",\"text\":\"x\",\"segments\":["
        "{\"id\":0,\"start\":0.3,\"end\":0.8,\"text\":\" Good morning.\",\"avg_logprob\":-0.2,\"no_speech_prob\":0.01},"
        "{\"id\":1,\"start\":1.6,\"end\":1.9,\"text\":\" Thanks for "
        "watching!\",\"avg_logprob\":-1.5,\"no_speech_prob\":0.9}]}",
        "{\"language\":\"english\",\"text\":\"x\",\"segments\":[{\"start\":\"0.2\",\"end\":\"0.25\",\"text\":\"Hm.\"},"
        "{\"start\":1,\"end\":1.5,\"text\":\"Hello.\"}]}");
    expect(try_path("call.wav", &(struct asked){ 0 }), DONE, "");
    assert_int_equal(openai.uploads, 2);
    assert_string_equal(openai.seen[0],
                        "Bearer sk-first file=CAL1-agent-1.flac:fLaC model=whisper-1 response_format=verbose_json");
    assert_string_equal(openai.seen[1],
                        "Bearer sk-first file=CAL1-customer-1.flac:fLaC model=whisper-1 response_format=verbose_json");
    expect_effect("|openai|whisper-1|en|customer: Hm.\nagent: Good morning.\ncustomer: Hello.|");
    expect_effect("{\"speaker\":\"agent\",\"start_s\":0.3,\"end_s\":0.8,\"text\":\"Good morning.\"}");
    expect_effect("\"provider\":\"openai\",\"model\":\"whisper-1\",\"language\":\"en\",\"duration_s\":2,\"segments\":3,"
                  "\"words\":4,"
                  "\"speakers\":2,\"took_ms\":");
}

static void takes_answers_of_imitators(void **state)
{
    (void)state;
    static const struct {
        const char *model, *headers, *body, *wanted;
    } table[] = {
        { "gpt-4o-transcribe", AS_JSON,
          "{\"text\":\"Hello there.\",\"usage\":{\"input_tokens\":3,\"output_tokens\":2}}",
          "|openai|gpt-4o-transcribe|NULL|speaker: Hello "
          "there.|[{\"speaker\":\"speaker\",\"start_s\":0.29,\"end_s\":0.81," },
        { "whisper-large", AS_JSON, "{\"text\":\"Hello there.\",\"segments\":[],\"language\":\"de\"}",
          "|de|speaker: Hello there.|" },
        { "whisper-large", AS_JSON, "{\"text\":\"\",\"segments\":null,\"language\":\"klingon of the north\"}",
          "|NULL||[]|0|0|" },
        { "whisper-large", "Content-Type: text/plain; charset=utf-8\r\n", "Hello\nthere.\n",
          "|NULL|speaker: Hello there.|" },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        transcribe.openai_model = table[i].model;
        openai_says("200 OK", table[i].headers, table[i].body, NULL);
        expect(try_path("mono.wav", &(struct asked){ 0 }), DONE, "");
        expect_effect(table[i].wanted);
    }
    assert_non_null(
        strstr(openai.seen[0], "file=CAL1-speaker-1.flac:fLaC model=whisper-large response_format=verbose_json"));
    transcribe.openai_model = "gpt-4o-transcribe";
    openai_says("200 OK", AS_JSON, "{\"text\":\"x\"}", NULL);
    expect(try_path("mono.wav", &(struct asked){ 0 }), DONE, "");
    assert_non_null(strstr(openai.seen[0], "model=gpt-4o-transcribe response_format=json"));
}

/* Twenty minutes: cut in the pauses after nine, and what is silent is not sent. */
static void sends_long_calls_in_pieces(void **state)
{
    (void)state;
    static const struct burst spoken[] = { { 10, 10.4 }, { 539.9, 540.3 }, { 560, 560.4 }, { 0, 0 } };
    quiet = 0;
    write_audio(path_of("long.flac"), SF_FORMAT_FLAC | SF_FORMAT_PCM_16, 8000, 1, 1200, spoken, NULL);
    quiet = QUIET_USUAL;
    transcribe.openai_model = "gpt-4o-transcribe";
    openai_says("200 OK", AS_JSON, "{\"text\":\"one\"}", "{\"text\":\"two\"}");
    expect(try_path("long.flac", &(struct asked){ 0 }), DONE, "");
    assert_int_equal(openai.uploads, 2);
    assert_non_null(strstr(openai.seen[0], "file=CAL1-speaker-1.flac"));
    assert_non_null(strstr(openai.seen[1], "file=CAL1-speaker-2.flac"));
    expect_effect("[{\"speaker\":\"speaker\",\"start_s\":9.99,\"end_s\":540.3");
    expect_effect("{\"speaker\":\"speaker\",\"start_s\":559.99,");
}

static void does_not_send_silence(void **state)
{
    (void)state;
    openai_says("500 Broken", AS_JSON, "{}", NULL);
    expect(try_path("silence.wav", &(struct asked){ 0 }), DONE, "");
    assert_int_equal(openai.uploads, 0);
    expect_effect("|openai|whisper-1|NULL||[]|0|0|2|");
}

static void judges_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *status, *body;
        enum outcome wanted;
        const char *said;
    } table[] = {
        { "400 Bad",
          "{\"error\":{\"message\":\"bad file\",\"type\":\"invalid_request_error\",\"param\":null,\"code\":null}}",
          REJECT, "openai: HTTP status 400: bad file" },
        { "401 No", "{\"error\":{\"message\":\"Incorrect API key\"}}", RETRY,
          "openai refuses our credentials (HTTP status 401)" },
        { "402 Pay", "{}", RETRY, "refuses our credentials" },
        { "403 No", "{}", RETRY, "refuses our credentials" },
        { "404 No", "{\"error\":{\"message\":\"no such model\",\"code\":\"model_not_found\"}}", REJECT,
          "no such model" },
        { "413 Large", "<html>", REJECT, "HTTP status 413: <html>" },
        { "415 Type", "{\"detail\":\"not audio\"}", REJECT, "not audio" },
        { "408 Late", "", RETRY, "HTTP status 408" },
        { "409 Conflict", "{\"object\":\"error\",\"message\":\"busy\"}", RETRY, "busy" },
        { "429 Many", "{\"error\":{\"message\":\"slow\",\"type\":\"requests\",\"code\":\"rate_limit_exceeded\"}}",
          RETRY, "openai: HTTP status 429: slow" },
        { "429 Money",
          "{\"error\":{\"message\":\"quota\",\"type\":\"insufficient_quota\",\"code\":\"insufficient_quota\"}}", RETRY,
          "refuses our credentials (HTTP status 429)" },
        { "429 Money", "{\"error\":{\"message\":\"limit\",\"code\":\"project_spend_limit_exceeded\"}}", RETRY,
          "refuses our credentials" },
        { "500 Broken", "{\"error\":\"oops\"}", RETRY, "oops" },
        { "503 Busy", "{\"error\":{\"message\":\"overloaded\",\"code\":\"server_is_overloaded\"}}", RETRY,
          "overloaded" },
        { "200 OK", "{\"text\":", RETRY, "neither JSON nor plain text" },
        { "200 OK", "{\"error\":{\"message\":\"nothing\"}}", REJECT, "the answer has no text: nothing" },
    };
    for (size_t i = 0; i < LENGTH(table); i++) {
        openai_says(table[i].status, AS_JSON, table[i].body, NULL);
        expect(try_path("mono.wav", &(struct asked){ 0 }), table[i].wanted, table[i].said);
    }
    static char large[2 * 1024 * 1024]; /* the server may still be sending it when the test is over */
    memset(large, 'a', sizeof(large) - 1);
    openai_says("200 OK", "Content-Type: text/plain\r\n", large, NULL);
    expect(try_path("mono.wav", &(struct asked){ 0 }), REJECT, "is larger than");
}

/* --- all of it ---------------------------------------------------------------------------------------------------- */

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(describes_rows_and_event),
        TEST(does_not_listen_to_what_was_removed),
        TEST(rejects_what_it_cannot_use),
        TEST(refuses_what_cannot_be_fetched),
        TEST(copies_once),
        TEST(removes_what_a_crash_left),
        TEST(tries_again_when_it_cannot_store),
        TEST(sends_each_channel),
        TEST(takes_answers_of_imitators),
        TEST(does_not_send_silence),
        TEST(judges_refusals),
        TEST(sends_long_calls_in_pieces),
    };
    return cmocka_run_group_tests_name("transcribe", tests, begin, end);
}
