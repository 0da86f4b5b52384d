/* The HTTP client against a server that misbehaves in every way it must survive. */
#include "tests/unit/http_fixture.h"

#include <fcntl.h>
#include <signal.h>
#include <time.h>

#include <setjmp.h>
#include <cmocka.h>

#define CALLERS    200
#define CALLS_EACH 10

static void assert_answered(const struct asked *asked, long status)
{
    if (asked->result != HTTP_ANSWERED)
        fail_msg("no answer: %s", asked->why.text);
    assert_int_equal(asked->reply.status, status);
}

static void assert_why(const struct asked *asked, enum http_result result, const char *said)
{
    if (asked->result != result || strstr(asked->why.text, said) == NULL)
        fail_msg("wanted result %d with \"%s\", got %d with \"%s\"", result, said, asked->result, asked->why.text);
    assert_int_equal(asked->reply.result, result);
    assert_null(asked->reply.body.at);
}

static void assert_body(const struct asked *asked, const char *wanted)
{
    assert_int_equal(asked->reply.body.bytes, strlen(wanted));
    assert_string_equal(asked->reply.body.at, wanted);
    assert_int_equal(asked->reply.bytes, strlen(wanted));
}

static void assert_contains(struct text text, const char *part)
{
    if (strstr(text.at, part) == NULL)
        fail_msg("\"%s\" is not in \"%s\"", part, text.at);
}

/* --- answers ----------------------------------------------------------------------------------------------------- */

static void gives_the_answer(void **state)
{
    (void)state;
    struct asked asked = get(&server, "/ok");
    assert_answered(&asked, 200);
    assert_body(&asked, "{\"good\":true}");
    assert_string_equal(asked.reply.content_type, "application/json");
    assert_int_equal(asked.reply.retry_after_ms, -1);
    assert_true(asked.reply.took_us > 0);

    asked = get(&server, "/missing");
    assert_answered(&asked, 404);
    assert_body(&asked, "no such thing");
    assert_string_equal(asked.reply.content_type, "");

    asked = get(&server, "/chunked");
    assert_answered(&asked, 200);
    assert_body(&asked, "hello, world");

    asked = get(&server, "/empty");
    assert_answered(&asked, 204);
    assert_body(&asked, "");

    asked = ask((struct http_request){ .method = "HEAD", .url = url_of(&server, "/head") });
    assert_answered(&asked, 200);
    assert_body(&asked, "");
    assert_int_equal(http_client_in_flight(client), 0);
}

static void sends_what_was_asked(void **state)
{
    (void)state;
    const char *const headers[] = { "Content-Type: application/json", "X-Api-Key: key", NULL };
    struct asked asked = ask((struct http_request){ .method = "POST",
                                                    .url = url_of(&server, "/echo"),
                                                    .headers = headers,
                                                    .body = TEXT("{\"a\":1}"),
                                                    .basic_user = "user",
                                                    .basic_password = "pass" });
    assert_answered(&asked, 200);
    assert_true(text_starts(asked.reply.body, "POST /echo HTTP/1.1\r\n"));
    assert_contains(asked.reply.body, "\r\nContent-Type: application/json\r\n");
    assert_contains(asked.reply.body, "\r\nX-Api-Key: key\r\n");
    assert_contains(asked.reply.body, "\r\nAuthorization: Basic dXNlcjpwYXNz\r\n");
    assert_contains(asked.reply.body, "\r\nUser-Agent: switchboard-test\r\n");
    assert_contains(asked.reply.body, "\r\nContent-Length: 7\r\n");
    assert_contains(asked.reply.body, "\r\n\r\n{\"a\":1}");

    /* nothing of that is left for the next one */
    asked = get(&server, "/echo");
    assert_true(text_starts(asked.reply.body, "GET /echo HTTP/1.1\r\n"));
    assert_null(strstr(asked.reply.body.at, "Authorization"));
    assert_null(strstr(asked.reply.body.at, "X-Api-Key"));

    static const struct {
        const char *method, *body, *line, *length;
    } cases[] = {
        { "POST", NULL, "POST /echo ", "\r\nContent-Length: 0\r\n" },
        { "PUT", "x", "PUT /echo ", "\r\nContent-Length: 1\r\n" },
        { "PATCH", "xy", "PATCH /echo ", "\r\nContent-Length: 2\r\n" },
        { "DELETE", NULL, "DELETE /echo ", "\r\n\r\n" },
        { "GET", "q", "GET /echo ", "\r\nContent-Length: 1\r\n" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        asked = ask((struct http_request){
            .method = cases[i].method, .url = url_of(&server, "/echo"), .body = text_of(cases[i].body) });
        assert_answered(&asked, 200);
        assert_true(text_starts(asked.reply.body, cases[i].line));
        assert_contains(asked.reply.body, cases[i].length);
    }
}

static void ignores_proxies_of_the_environment(void **state)
{
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "http://127.0.0.1:1", 1);
    struct asked asked = get(&server, "/ok");
    unsetenv("http_proxy");
    unsetenv("all_proxy");
    assert_answered(&asked, 200);
}

static void refuses_broken_headers(void **state)
{
    (void)state;
    const char *const injected[] = { "X-Name: a\r\nX-Admin: 1", NULL };
    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .headers = injected });
    assert_why(&asked, HTTP_NOT_SENT, "line break");

    const char *many[64] = { NULL };
    for (size_t i = 0; i < LENGTH(many) - 1; i++)
        many[i] = "X-Name: a";
    asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .headers = many });
    assert_why(&asked, HTTP_NOT_SENT, "more than 32 headers");
    assert_int_equal(server_count(&server, &server.requests), 0);
    asked = get(&server, "/ok");
    assert_answered(&asked, 200);
}

static char *temporary_file(const char *content)
{
    char *path = arena_copy(arena, "/tmp/test_http_client.XXXXXX");
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    close(fd);
    return path;
}

static void sends_parts(void **state)
{
    (void)state;
    char *path = temporary_file("RIFF of a call");
    const struct http_part parts[] = {
        { .name = "model", .data = "small" },
        { .name = "file", .file_path = path, .file_name = "call.wav", .content_type = "audio/wav" },
        { 0 },
    };
    struct asked asked =
        ask((struct http_request){ .method = "POST", .url = url_of(&server, "/echo"), .parts = parts });
    assert_answered(&asked, 200);
    assert_true(text_starts(asked.reply.body, "POST /echo "));
    assert_contains(asked.reply.body, "\r\nContent-Type: multipart/form-data; boundary=");
    assert_contains(asked.reply.body, "name=\"model\"\r\n\r\nsmall\r\n");
    assert_contains(asked.reply.body,
                    "name=\"file\"; filename=\"call.wav\"\r\nContent-Type: audio/wav\r\n\r\nRIFF of a call\r\n");

    unlink(path);
    asked = ask((struct http_request){ .method = "POST", .url = url_of(&server, "/echo"), .parts = parts });
    assert_why(&asked, HTTP_NOT_SENT, path);
    assert_int_equal(server_count(&server, &server.requests), 1);
}

static void reads_retry_after(void **state)
{
    (void)state;
    char date[80], past[80];
    time_t in_a_minute = time(NULL) + 60;
    struct tm tm;
    strftime(date, sizeof(date), "Retry-After: %a, %d %b %Y %H:%M:%S GMT\r\n", gmtime_r(&in_a_minute, &tm));
    snprintf(past, sizeof(past), "Retry-After: Wed, 21 Oct 2015 07:28:00 GMT\r\n");
    const struct {
        const char *header;
        int64_t least, most;
    } cases[] = {
        { "", -1, -1 },
        { "Retry-After: 0\r\n", 0, 0 },
        { "Retry-After: 120\r\n", 120000, 120000 },
        { "Retry-After: 1.5\r\n", 1000, 1000 },
        { "retry-after-ms: 1500\r\n", 1500, 1500 },
        { "Retry-After: 2\r\nretry-after-ms: 1500.7\r\n", 1500, 1500 },
        { "Retry-After: 2\r\nretry-after-ms: soon\r\n", 2000, 2000 },
        { "Retry-After: 99999999999999999999\r\n", 86400000, 86400000 },
        { "Retry-After: -5\r\n", -1, -1 },
        { "Retry-After: whenever\r\n", -1, -1 },
        { date, 50000, 60000 },
        { past, 0, 0 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        server_set(&server, &server.header, cases[i].header);
        struct asked asked = get(&server, "/header");
        assert_answered(&asked, 429);
        assert_body(&asked, "slow down");
        if (asked.reply.retry_after_ms < cases[i].least || asked.reply.retry_after_ms > cases[i].most)
            fail_msg("%s was read as %lld ms", cases[i].header, (long long)asked.reply.retry_after_ms);
    }
}

/* It begins in the middle of a header: to libcurl before 8.1.1 that was more of the last answer's, which it had freed. */
static void an_answer_has_nothing_of_the_one_before(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        server_set(&server, &server.header, "Retry-After: 3\r\n");
        struct asked asked = get(&server, "/header");
        assert_answered(&asked, 429);
        assert_int_equal(asked.reply.retry_after_ms, 3000);
        asked = get(&server, "/folded");
        assert_int_equal(asked.result, HTTP_BROKEN);
    }
}

static void bounds_the_answer(void **state)
{
    (void)state;
    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .answer_bytes_max = 13 });
    assert_answered(&asked, 200);
    asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .answer_bytes_max = 12 });
    assert_why(&asked, HTTP_TOO_LARGE, "larger than 12 bytes");
    asked = ask((struct http_request){ .url = url_of(&server, "/chunked"), .answer_bytes_max = 11 });
    assert_why(&asked, HTTP_TOO_LARGE, "larger than 11 bytes");
    asked = get(&server, "/endless");
    assert_why(&asked, HTTP_TOO_LARGE, "larger than");
    asked = get(&server, "/declared"); /* known before the first byte of it */
    assert_why(&asked, HTTP_TOO_LARGE, "larger than");
    asked = get(&server, "/endless-header");
    assert_why(&asked, HTTP_BROKEN, "a header of its answer is too long");
}

static void writes_to_a_file(void **state)
{
    (void)state;
    char *path = temporary_file("");
    char content[64] = { 0 };
    int fd = open(path, O_RDWR);
    unlink(path);

    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/chunked"), .to_file = true, .file = fd });
    assert_answered(&asked, 200);
    assert_null(asked.reply.body.at);
    assert_int_equal(asked.reply.bytes, 12);
    assert_int_equal(pread(fd, content, sizeof(content), 0), 12);
    assert_string_equal(content, "hello, world");

    asked = ask((struct http_request){ .url = url_of(&server, "/missing"), .to_file = true, .file = fd });
    assert_answered(&asked, 404); /* what the server has to say about it is not the file */
    assert_body(&asked, "no such thing");
    assert_int_equal(lseek(fd, 0, SEEK_END), 12);
    close(fd);

    fd = open("/dev/full", O_WRONLY);
    asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .to_file = true, .file = fd });
    close(fd);
    assert_why(&asked, HTTP_BROKEN, "No space left on device");
}

/* --- no answer --------------------------------------------------------------------------------------------------- */

static void tells_not_sent_from_broken(void **state)
{
    (void)state;
    uint16_t port;
    close(server_listen(&port)); /* nobody listens there now */
    struct asked asked = ask((struct http_request){ .url = arena_printf(arena, "http://127.0.0.1:%u/secret", port) });
    assert_why(&asked, HTTP_NOT_SENT, "could not reach http://127.0.0.1:");
    assert_null(strstr(asked.why.text, "secret"));
    asked = ask((struct http_request){ .url = "http://nowhere.test/" });
    assert_why(&asked, HTTP_NOT_SENT, "nowhere.test");
    asked = ask((struct http_request){ .url = arena_printf(arena, "https://127.0.0.1:%u/ok", server.port) });
    assert_why(&asked, HTTP_NOT_SENT, "could not reach https://"); /* it does not speak TLS */

    asked = get(&server, "/cut");
    assert_why(&asked, HTTP_BROKEN, "no whole answer");
    asked = get(&server, "/cut-chunked");
    assert_why(&asked, HTTP_BROKEN, "no whole answer");
    asked = get(&server, "/dropped");
    assert_why(&asked, HTTP_BROKEN, "no whole answer");
}

static void times_out(void **state)
{
    (void)state;
    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/never"), .timeout_ms = SHORT_MS });
    assert_why(&asked, HTTP_BROKEN, "no whole answer came from");
    assert_true(asked.reply.took_us >= SHORT_MS * 1000);
    asked = ask((struct http_request){ .url = url_of(&server, "/stalled"), .timeout_ms = SHORT_MS });
    assert_why(&asked, HTTP_BROKEN, "within 200 ms");
    asked = ask((struct http_request){ .url = url_of(&server, "/stalled"), .stall_timeout_ms = SHORT_MS });
    assert_why(&asked, HTTP_BROKEN, "nothing moved to or from");
    asked = ask((struct http_request){ .url = url_of(&server, "/never"), .stall_timeout_ms = SHORT_MS });
    assert_why(&asked, HTTP_BROKEN, "for 200 ms");

    asked = get(&server, "/ok");
    assert_answered(&asked, 200);
}

static void is_not_held_up_by_a_stuck_resolver(void **state)
{
    (void)state;
    struct background stuck = { 0 };
    background_start(&stuck, (struct http_request){ .url = "http://stuck.test/", .timeout_ms = SHORT_MS });
    background_join(&stuck);
    assert_why(&stuck.asked, HTTP_NOT_SENT, "could not reach http://stuck.test:80");

    pthread_mutex_lock(&resolver_mutex);
    assert_int_equal(resolver_stuck, 1); /* still, and the engine lives */
    pthread_mutex_unlock(&resolver_mutex);
    struct asked asked = get(&server, "/ok");
    assert_answered(&asked, 200);

    pthread_mutex_lock(&resolver_mutex);
    resolver_freed = true;
    pthread_cond_broadcast(&resolver_changed);
    while (resolver_stuck > 0)
        pthread_cond_wait(&resolver_changed, &resolver_mutex);
    pthread_mutex_unlock(&resolver_mutex);
}

static void is_cancelled(void **state)
{
    (void)state;
    bool cancelled = false;
    struct background background = { 0 };
    background_start(&background, (struct http_request){ .url = url_of(&server, "/never"), .cancelled = &cancelled });
    server_await(&server, &server.requests, 1);
    __atomic_store_n(&cancelled, true, __ATOMIC_RELEASE);
    http_client_wake(client);
    background_join(&background);
    assert_why(&background.asked, HTTP_CANCELLED, "cancelled");

    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .cancelled = &cancelled });
    assert_why(&asked, HTTP_CANCELLED, "cancelled");
    assert_int_equal(server_count(&server, &server.requests), 1);
}

static void hurries(void **state)
{
    (void)state;
    struct background kept = { 0 }, repeatable = { 0 };
    background_start(&kept, (struct http_request){ .url = url_of(&server, "/never") });
    background_start(&repeatable, (struct http_request){ .url = url_of(&server, "/never"), .repeatable = true });
    server_await(&server, &server.requests, 2);
    http_client_hurry(client);
    background_join(&repeatable);
    assert_why(&repeatable.asked, HTTP_CANCELLED, "cancelled");
    struct asked later = ask((struct http_request){ .url = url_of(&server, "/ok"), .repeatable = true });
    assert_why(&later, HTTP_CANCELLED, "cancelled");
    later = get(&server, "/ok");
    assert_answered(&later, 200);
    assert_int_equal(http_client_in_flight(client), 1);
    http_client_stop(client);
    client = NULL;
    background_join(&kept);
}

static void stops_with_calls_open(void **state)
{
    (void)state;
    struct background background[4] = { 0 };
    for (size_t i = 0; i < LENGTH(background); i++)
        background_start(&background[i], (struct http_request){ .url = url_of(&server, "/never") });
    server_await(&server, &server.requests, LENGTH(background));
    assert_int_equal(http_client_in_flight(client), LENGTH(background));
    http_client_stop(client);
    client = NULL;
    for (size_t i = 0; i < LENGTH(background); i++) {
        background_join(&background[i]);
        assert_why(&background[i].asked, HTTP_CANCELLED, "cancelled");
    }
    struct problem why;
    assert_null(http_client_start(&(struct http_client_settings){ .connections_max = 1,
                                                                  .connections_per_host_max = 1,
                                                                  .allowed_private = "nonsense" },
                                  &why));
    assert_non_null(strstr(why.text, "nonsense"));
}

/* --- connections ------------------------------------------------------------------------------------------------- */

static void keeps_connections(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct asked asked = get(&server, i % 2 ? "/ok" : "/chunked");
        assert_answered(&asked, 200);
    }
    assert_int_equal(server_count(&server, &server.requests), 20);
    assert_int_equal(server_count(&server, &server.connections), 1);
}

/* A kept connection that dies under a request: the server may have acted on it, so only what may be repeated is. */
static void repeats_only_what_is_safe(void **state)
{
    (void)state;
    static const struct {
        const char *method;
        enum http_result second;
        int requests;
    } cases[] = {
        { "GET", HTTP_ANSWERED, 3 },
        { "PUT", HTTP_ANSWERED, 3 },
        { "POST", HTTP_BROKEN, 2 },
        { "PATCH", HTTP_BROKEN, 2 },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct server fresh;
        server_start(&fresh);
        struct http_request request = { .method = cases[i].method,
                                        .url = url_of(&fresh, "/dies-when-reused"),
                                        .body = TEXT("x") };
        struct asked asked = ask(request);
        assert_answered(&asked, 200);
        asked = ask(request);
        if (asked.result != cases[i].second)
            fail_msg("%s ended with %d: %s", cases[i].method, asked.result, asked.why.text);
        if (asked.result == HTTP_BROKEN)
            assert_why(&asked, HTTP_BROKEN, "not sent twice");
        assert_int_equal(server_count(&fresh, &fresh.requests), cases[i].requests);
        server_stop(&fresh);
    }
}

static void limits_connections(void **state)
{
    (void)state;
    struct background background[12] = { 0 };
    http_client_stop(client);
    client = start_client(6, 4, 0);
    for (size_t i = 0; i < LENGTH(background); i++)
        background_start(&background[i], (struct http_request){ .url = url_of(&server, "/hold") });
    server_await(&server, &server.held, 4);

    /* who waits for a full host waits in his own time … */
    struct asked asked = ask((struct http_request){ .url = url_of(&server, "/ok"), .timeout_ms = SHORT_MS });
    assert_why(&asked, HTTP_NOT_SENT, "no connection became free to http://127.0.0.1:");
    /* … may be cancelled … */
    bool cancelled = false;
    struct background waiting = { 0 };
    background_start(&waiting, (struct http_request){ .url = url_of(&server, "/ok"), .cancelled = &cancelled });
    while (http_client_in_flight(client) < (int64_t)LENGTH(background) + 1)
        sched_yield();
    __atomic_store_n(&cancelled, true, __ATOMIC_RELEASE);
    http_client_wake(client);
    background_join(&waiting);
    assert_why(&waiting.asked, HTTP_CANCELLED, "cancelled");
    /* … and holds nobody up who wants another host */
    asked = get(&other, "/ok");
    assert_answered(&asked, 200);

    server_release(&server);
    for (size_t i = 0; i < LENGTH(background); i++) {
        background_join(&background[i]);
        assert_answered(&background[i].asked, 200);
    }
    assert_int_equal(server_count(&server, &server.held_most), 4);
    assert_int_equal(server_count(&server, &server.connections), 4);
}

/* Idle connections of one host give way to those of another: never more than connections_max. */
static void closes_idle_connections_for_others(void **state)
{
    (void)state;
    struct background background[4] = { 0 };
    http_client_stop(client);
    client = start_client(4, 4, 0);
    for (size_t i = 0; i < LENGTH(background); i++)
        background_start(&background[i], (struct http_request){ .url = url_of(&server, "/hold") });
    server_await(&server, &server.held, 4);
    server_release(&server);
    for (size_t i = 0; i < LENGTH(background); i++)
        background_join(&background[i]);
    assert_int_equal(server_count(&server, &server.open), 4);

    struct asked asked = get(&other, "/ok");
    assert_answered(&asked, 200);
    pthread_mutex_lock(&server.mutex);
    while (server.open > 3) /* its end of the closed one */
        pthread_cond_wait(&server.changed, &server.mutex);
    pthread_mutex_unlock(&server.mutex);
}

static void serves_many_callers(void **state)
{
    (void)state;
    static struct background background[CALLERS];
    memset(background, 0, sizeof(background));
    for (size_t i = 0; i < CALLERS; i++) {
        background[i].times = CALLS_EACH;
        background_start(&background[i], (struct http_request){ .url = url_of(i % 3 ? &server : &other, "/ok") });
    }
    for (size_t i = 0; i < CALLERS; i++) {
        background_join(&background[i]);
        if (background[i].answered != CALLS_EACH)
            fail_msg("%d of %d calls answered: %s", background[i].answered, CALLS_EACH, background[i].asked.why.text);
    }
    assert_int_equal(server_count(&server, &server.requests) + server_count(&other, &other.requests),
                     CALLERS * CALLS_EACH);
    assert_true(server_count(&server, &server.connections) <= 128);
    assert_true(server_count(&other, &other.connections) <= 128);
    assert_int_equal(http_client_in_flight(client), 0);
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(gives_the_answer),
        TEST(sends_what_was_asked),
        TEST(ignores_proxies_of_the_environment),
        TEST(refuses_broken_headers),
        TEST(sends_parts),
        TEST(reads_retry_after),
        TEST(an_answer_has_nothing_of_the_one_before),
        TEST(bounds_the_answer),
        TEST(writes_to_a_file),
        TEST(tells_not_sent_from_broken),
        TEST(times_out),
        TEST(is_not_held_up_by_a_stuck_resolver),
        TEST(is_cancelled),
        TEST(hurries),
        TEST(stops_with_calls_open),
        TEST(keeps_connections),
        TEST(repeats_only_what_is_safe),
        TEST(limits_connections),
        TEST(closes_idle_connections_for_others),
        TEST(serves_many_callers),
    };
    return cmocka_run_group_tests_name("http client", tests, NULL, NULL);
}
