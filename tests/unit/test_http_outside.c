/* The HTTP client with addresses that came from outside: what it may not reach, however it is asked, and how it follows
 * redirects. */
#include "tests/unit/http_fixture.h"

#include <signal.h>

#include <setjmp.h>
#include <cmocka.h>

static void assert_forbidden(const struct asked *asked, const char *said)
{
    if (asked->result != HTTP_FORBIDDEN || strstr(asked->why.text, said) == NULL)
        fail_msg("wanted it forbidden with \"%s\", got %d with \"%s\"", said, asked->result, asked->why.text);
    assert_null(asked->reply.body.at);
}

static void assert_answered(const struct asked *asked, long status)
{
    if (asked->result != HTTP_ANSWERED)
        fail_msg("no answer: %s", asked->why.text);
    assert_int_equal(asked->reply.status, status);
}

static struct asked get_outside(const char *url)
{
    return ask((struct http_request){ .url = url, .outside = true });
}

/* A request to `server` that is redirected to `location`. */
static struct asked redirected(struct http_request request, const char *path, const char *location)
{
    server_set(&server, &server.location, location);
    request.url = url_of(&server, path);
    request.outside = true;
    return ask(request);
}

static void does_not_reach_private_addresses(void **state)
{
    (void)state;
    const char *const urls[] = {
        url_of(&inner, "/ok"),
        arena_printf(arena, "http://localhost:%u/ok", inner.port),
        arena_printf(arena, "http://inside.test:%u/ok", inner.port),
        arena_printf(arena, "http://2130706433:%u/ok", inner.port),
        arena_printf(arena, "http://0x7f.1:%u/ok", inner.port),
        arena_printf(arena, "http://0177.0.0.1:%u/ok", inner.port),
        arena_printf(arena, "http://127.1:%u/ok", inner.port),
        arena_printf(arena, "http://0.0.0.0:%u/ok", inner.port),
        arena_printf(arena, "http://[::1]:%u/ok", inner.port),
        arena_printf(arena, "http://[::]:%u/ok", inner.port),
        arena_printf(arena, "http://[::ffff:127.0.0.1]:%u/ok", inner.port),
        arena_printf(arena, "http://[64:ff9b::7f00:1]:%u/ok", inner.port),
        arena_printf(arena, "http://[2002:7f00:1::]:%u/ok", inner.port),
        arena_printf(arena, "https://127.0.0.1:%u/ok", inner.port),
        arena_printf(arena, "http://127.0.0.1:%u@127.0.0.1:%u/ok", server.port, inner.port),
        "http://metadata.test/latest/meta-data/",
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[fe80::1]/",
    };
    for (size_t i = 0; i < LENGTH(urls); i++) {
        struct asked asked = get_outside(urls[i]);
        if (asked.result != HTTP_FORBIDDEN)
            fail_msg("%s ended with %d: %s", urls[i], asked.result, asked.why.text);
        assert_non_null(strstr(asked.why.text, "is not an address of the public internet"));
    }
    assert_int_equal(server_count(&inner, &inner.connections), 0);

    struct asked asked = get_outside(url_of(&inner, "/ok"));
    assert_forbidden(&asked, "127.0.0.1 is not an address");
    asked = get(&inner, "/ok"); /* our own configuration may say so */
    assert_answered(&asked, 200);
}

static void reaches_what_is_listed(void **state)
{
    (void)state;
    struct asked asked = get_outside(url_of(&server, "/ok"));
    assert_answered(&asked, 200);
    asked = get_outside(arena_printf(arena, "http://inside.test:%u/ok", server.port));
    assert_answered(&asked, 200);
}

static void knows_http_and_https_only(void **state)
{
    (void)state;
    static const char *const urls[] = { "file:///etc/passwd", "ftp://127.0.0.1/x", "gopher://127.0.0.1/x",
                                        "dict://127.0.0.1/x", "smb://127.0.0.1/x", "unknown://x/" };
    for (size_t i = 0; i < LENGTH(urls); i++)
        for (int outside = 0; outside < 2; outside++) {
            struct asked asked = ask((struct http_request){ .url = urls[i], .outside = outside != 0 });
            assert_forbidden(&asked, "only http and https");
        }
    static const char *const broken[] = { "", "http://", "http://a b/", "http://a:99999/", "//a/", "http://a\r\nb/" };
    for (size_t i = 0; i < LENGTH(broken); i++) {
        struct asked asked = get_outside(broken[i]);
        if (asked.result != HTTP_FORBIDDEN)
            fail_msg("\"%s\" ended with %d: %s", broken[i], asked.result, asked.why.text);
    }
}

/* A connection that a trusted request opened is no way in for one from outside. */
static void does_not_reuse_a_trusted_connection(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct asked asked = get(&inner, "/ok");
        assert_answered(&asked, 200);
        asked = get_outside(url_of(&inner, "/echo"));
        assert_forbidden(&asked, "127.0.0.1 is not an address");
    }
    assert_int_equal(server_count(&inner, &inner.requests), 3);
}

static void follows_redirects(void **state)
{
    (void)state;
    static const char *const paths[] = { "/redirect/301", "/redirect/302", "/redirect/303", "/redirect/307",
                                         "/redirect/308" };
    for (size_t i = 0; i < LENGTH(paths); i++) {
        struct asked asked = redirected((struct http_request){ 0 }, paths[i], "/echo");
        assert_answered(&asked, 200);
        assert_true(text_starts(asked.reply.body, "GET /echo ")); /* and nothing of the redirect's own body */
        assert_int_equal(asked.reply.bytes, asked.reply.body.bytes);
        asked = redirected((struct http_request){ 0 }, paths[i], url_of(&other, "/missing"));
        assert_answered(&asked, 404);
    }
    /* one without a place to go to is an answer */
    struct asked asked = redirected((struct http_request){ 0 }, "/redirect/302", "");
    assert_answered(&asked, 302);
}

static void leaves_redirects_of_trusted_requests_alone(void **state)
{
    (void)state;
    server_set(&server, &server.location, url_of(&other, "/ok"));
    struct asked asked = get(&server, "/redirect/302");
    assert_answered(&asked, 302);
    assert_true(text_is(asked.reply.body, "gone"));
    assert_int_equal(server_count(&other, &other.requests), 0);
}

static void keeps_or_drops_the_method(void **state)
{
    (void)state;
    static const struct {
        const char *method, *path, *wanted;
        bool body;
    } cases[] = {
        { "POST", "/redirect/301", "GET /echo ", false }, { "POST", "/redirect/302", "GET /echo ", false },
        { "POST", "/redirect/303", "GET /echo ", false }, { "POST", "/redirect/307", "POST /echo ", true },
        { "POST", "/redirect/308", "POST /echo ", true }, { "PUT", "/redirect/302", "PUT /echo ", true },
        { "PUT", "/redirect/303", "GET /echo ", false },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct asked asked = redirected((struct http_request){ .method = cases[i].method, .body = TEXT("payload") },
                                        cases[i].path, "/echo");
        assert_answered(&asked, 200);
        if (!text_starts(asked.reply.body, cases[i].wanted) ||
            (strstr(asked.reply.body.at, "payload") != NULL) != cases[i].body)
            fail_msg("%s %s went on as %s", cases[i].method, cases[i].path, asked.reply.body.at);
    }
}

static void does_not_follow_where_it_may_not_go(void **state)
{
    (void)state;
    struct asked asked = redirected((struct http_request){ 0 }, "/redirect/302", url_of(&inner, "/ok"));
    assert_forbidden(&asked, "127.0.0.1 is not an address");
    asked =
        redirected((struct http_request){ 0 }, "/redirect/302", arena_printf(arena, "//inside.test:%u/ok", inner.port));
    assert_forbidden(&asked, "127.0.0.1 is not an address");
    asked = redirected((struct http_request){ 0 }, "/redirect/307", "http://metadata.test/latest");
    assert_forbidden(&asked, "169.254.169.254 is not an address");
    asked = redirected((struct http_request){ 0 }, "/redirect/302", "file:///etc/passwd");
    assert_forbidden(&asked, "only http and https");
    asked = redirected((struct http_request){ 0 }, "/redirect/302", "ftp://127.0.0.1/");
    assert_forbidden(&asked, "only http and https");
    assert_int_equal(server_count(&inner, &inner.connections), 0);

    int before = server_count(&server, &server.requests);
    asked = redirected((struct http_request){ 0 }, "/redirect/302", "/redirect/302");
    assert_forbidden(&asked, "gave up on http://127.0.0.1:");
    assert_int_equal(server_count(&server, &server.requests) - before, HTTP_REDIRECTS_MAX + 1);
}

/* Who answers 303 has acted on the request: that the answer could not be fetched does not undo it. */
static void counts_a_redirected_request_as_sent(void **state)
{
    (void)state;
    uint16_t port;
    close(server_listen(&port)); /* nobody listens there now */
    http_client_stop(client);
    client = start_client(16, 16, port);
    const char *nowhere = arena_printf(arena, "http://127.0.0.1:%u/", port);
    struct asked asked = get_outside(nowhere);
    assert_int_equal(asked.result, HTTP_NOT_SENT);
    asked = redirected((struct http_request){ .method = "POST", .body = TEXT("x") }, "/redirect/303", nowhere);
    assert_int_equal(asked.result, HTTP_BROKEN);
}

static void leaves_credentials_behind(void **state)
{
    (void)state;
    const char *const headers[] = { "X-Api-Key: key", "Authorization: Bearer token", "Cookie: a=b", "Accept: audio/*",
                                    NULL };
    struct http_request request = { .headers = headers };
    struct asked asked = redirected(request, "/redirect/302", "/echo"); /* the same host */
    assert_answered(&asked, 200);
    assert_non_null(strstr(asked.reply.body.at, "X-Api-Key: key"));
    assert_non_null(strstr(asked.reply.body.at, "Authorization: Bearer token"));

    struct http_request basic = { .headers = headers + 3, .basic_user = "user", .basic_password = "pass" };
    const char *const elsewhere[] = {
        url_of(&other, "/echo"),                                        /* another port is another server */
        arena_printf(arena, "http://inside.test:%u/echo", server.port), /* another name as well */
        arena_printf(arena, "http://127.0.0.1:%u@inside.test:%u/echo", server.port, server.port),
    };
    for (size_t i = 0; i < LENGTH(elsewhere); i++) {
        asked = redirected(request, "/redirect/302", elsewhere[i]);
        assert_answered(&asked, 200);
        assert_null(strstr(asked.reply.body.at, "X-Api-Key"));
        assert_null(strstr(asked.reply.body.at, "Bearer"));
        assert_null(strstr(asked.reply.body.at, "Cookie"));
        assert_non_null(strstr(asked.reply.body.at, "Accept: audio/*"));
        asked = redirected(basic, "/redirect/302", elsewhere[i]);
        assert_answered(&asked, 200);
        assert_null(strstr(asked.reply.body.at, "dXNlcjpwYXNz"));
    }

    /* nor are they taken up again on the way back */
    server_set(&other, &other.location, url_of(&server, "/echo"));
    asked = redirected(request, "/redirect/302", url_of(&other, "/redirect/302"));
    assert_answered(&asked, 200);
    assert_null(strstr(asked.reply.body.at, "X-Api-Key"));
}

int main(void)
{
    signal(SIGPIPE, SIG_IGN);
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(does_not_reach_private_addresses),
        TEST(reaches_what_is_listed),
        TEST(knows_http_and_https_only),
        TEST(does_not_reuse_a_trusted_connection),
        TEST(follows_redirects),
        TEST(leaves_redirects_of_trusted_requests_alone),
        TEST(keeps_or_drops_the_method),
        TEST(does_not_follow_where_it_may_not_go),
        TEST(counts_a_redirected_request_as_sent),
        TEST(leaves_credentials_behind),
    };
    return cmocka_run_group_tests_name("http client, outside", tests, NULL, NULL);
}
