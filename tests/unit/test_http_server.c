/* test_http_server.c: the HTTP server by what a client sees: requests good, bad and odd. */
#include "tests/unit/server_under_test.h"

static int start_usual(void **state)
{
    struct http_server_settings settings = usual_settings();

    (void)state;
    start(&settings);
    return 0;
}

/* --- requests and what they get ----------------------------------------------------------------------------------- */

enum after { STAYS, ENDS };

struct request_case {
    const char *name;
    const char *request;
    int status;         /* 0: none, the connection just ends */
    enum after after;   /* whether the connection ends with the answer */
    const char *wanted; /* somewhere in the answer; NULL: nothing more */
};

static const struct request_case request_cases[] = {
    { "plain", "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "hello" },
    { "own header", "GET /hello HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "X-Stage: ingest" },
    { "HEAD for GET", "HEAD /hello HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "Content-Length: 5" },
    { "HTTP/1.0 without Host", "GET /hello HTTP/1.0\r\n\r\n", 200, ENDS, "hello" },
    { "asked to close", "GET /hello HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", 200, ENDS, "hello" },
    { "body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd", 200, STAYS, "\r\n\r\nabcd" },
    { "empty body", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", 200, STAYS, "Content-Length: 0" },
    { "no body", "POST /echo HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "Content-Length: 0" },
    { "chunked", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n",
      200, STAYS, "\r\n\r\nabcd" },
    { "chunked with trailer",
      "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n1\r\na\r\n0\r\nX-T: 1\r\n\r\n", 200, STAYS,
      "\r\n\r\na" },
    { "path value", "GET /calls/CA1 HTTP/1.1\r\n" HOST "\r\n", 200, STAYS,
      "GET|/calls/CA1|/calls/CA1|CA1|-||127.0.0.1" },
    { "path value in the middle", "GET /calls/CA1/parts HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "|CA1|" },
    { "another method", "PUT /calls/CA1 HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "PUT|" },
    { "encoded path value", "GET /calls/a%2Fb%20%C3%A9 HTTP/1.1\r\n" HOST "\r\n", 200, STAYS,
      "/calls/a%2Fb%20%C3%A9|a/b \xC3\xA9|" },
    { "encoded plain path", "GET /%68ello HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "hello" },
    { "query", "GET /show?a=1&q=x%20y+z&q=2 HTTP/1.1\r\n" HOST "X-Odd: v\r\n\r\n", 200, STAYS,
      "/show|/show?a=1&q=x%20y+z&q=2|-|x y z|v|" },
    { "broken query", "GET /show?q=%G HTTP/1.1\r\n" HOST "\r\n", 200, STAYS, "|-|-|" },
    { "problem", "GET /refuse HTTP/1.1\r\n" HOST "\r\n", 422, STAYS,
      "{\"type\":\"about:blank\",\"title\":\"Unprocessable Content\",\"status\":422,\"detail\":\"the \\\"name\\\" is "
      "missing\",\"pointer\":\"/name\"}" },

    { "unknown path", "GET /nothing HTTP/1.1\r\n" HOST "\r\n", 404, STAYS, "application/problem+json" },
    { "path goes on", "GET /hello/ HTTP/1.1\r\n" HOST "\r\n", 404, STAYS, NULL },
    { "empty path value", "GET /calls/ HTTP/1.1\r\n" HOST "\r\n", 404, STAYS, NULL },
    { "very deep path", "GET /1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h HTTP/1.1\r\n" HOST "\r\n", 404, STAYS, NULL },
    { "wrong method", "DELETE /calls/1 HTTP/1.1\r\n" HOST "\r\n", 405, STAYS, "Allow: GET, HEAD, PUT\r\n" },
    { "wrong method, plain path", "GET /echo HTTP/1.1\r\n" HOST "\r\n", 405, STAYS, "Allow: POST\r\n" },
    { "odd method", "BREW /echo HTTP/1.1\r\n" HOST "\r\n", 405, STAYS, NULL },
    { "unknown path with body", "POST /nothing HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd", 404, ENDS,
      "Connection: close" },

    { "two Content-Lengths", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd", 400,
      ENDS, "more than one" },
    { "the same Content-Length twice",
      "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\nContent-Length: 4\r\n\r\nabcd", 400, ENDS, NULL },
    { "Content-Length and chunked",
      "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ENDS,
      NULL },
    { "chunked and Content-Length",
      "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n", 400, ENDS,
      NULL },
    { "Content-Length a word", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: four\r\n\r\nabcd", 400, ENDS, NULL },
    { "Content-Length signed", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: +4\r\n\r\nabcd", 400, ENDS, NULL },
    { "Content-Length with space before the colon", "POST /echo HTTP/1.1\r\n" HOST "Content-Length : 4\r\n\r\nabcd",
      400, ENDS, NULL },
    { "Transfer-Encoding twice",
      "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400,
      ENDS, NULL },
    { "Transfer-Encoding in HTTP/1.0", "POST /echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, ENDS,
      NULL },
    { "Transfer-Encoding gzip", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400,
      ENDS, NULL },
    { "chunk size not hexadecimal", "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nxy\r\n", 400,
      ENDS, NULL },
    { "no Host", "GET /hello HTTP/1.1\r\n\r\n", 400, ENDS, NULL },
    { "two Hosts", "GET /hello HTTP/1.1\r\n" HOST HOST "\r\n", 400, ENDS, NULL },
    { "not HTTP", "HELO me\r\n\r\n", 0, ENDS, NULL },
    { "HTTP/2 preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505, ENDS, NULL },
    { "absolute target", "GET http://x/hello HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "star", "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "broken escape", "GET /calls/%zz HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, "percent-encoding" },
    { "cut escape", "GET /calls/a%2 HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "escaped U+0000", "GET /calls/a%00b HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "escaped not UTF-8", "GET /calls/%ff HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "raw UTF-8", "GET /calls/\xC3\xA9 HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "control character", "GET /calls/\x01 HTTP/1.1\r\n" HOST "\r\n", 400, STAYS, NULL },
    { "unknown expectation", "POST /echo HTTP/1.1\r\n" HOST "Expect: tea\r\nContent-Length: 4\r\n\r\nabcd", 417, ENDS,
      NULL },
    { "body where none is taken", "GET /hello HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na", 413, ENDS, NULL },
    { "body too large", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n", 413, ENDS, "Connection: close" },
    { "Content-Length beyond all", "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999\r\n\r\n", 413,
      ENDS, NULL },
    { "too large, with expectation",
      "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1001\r\n\r\n", 413, ENDS, NULL },
};

static void check_request(const struct request_case *c)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    print_message("    %s\n", c->name);
    wire_send(wire, c->request);
    if (c->status != 0) {
        wire_answer(wire, strncmp(c->request, "HEAD", 4) != 0, &answer);
        assert_int_equal(answer.status, c->status);
        char whole[sizeof(answer.head) + sizeof(answer.body)];
        snprintf(whole, sizeof(whole), "%s%s", answer.head, answer.body);
        if (c->wanted != NULL && strstr(whole, c->wanted) == NULL)
            fail_msg("%s: wanted \"%s\" in\n%s", c->name, c->wanted, whole);
    }
    if (c->after == ENDS)
        wire_ends(wire);
    else
        assert_int_equal(wire_ask(wire, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    wire_close(wire);
}

static void each_request_gets_its_answer(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(request_cases); i++)
        check_request(&request_cases[i]);
}

static void nothing_hides_behind_a_nul(void **state)
{
    static const char request[] = "GET /hello\0/x HTTP/1.1\r\n" HOST "\r\n";
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    assert_true(wire_try_send(wire, request, sizeof(request) - 1));
    if (wire_more(wire) > 0) { /* libmicrohttpd 1.0 just closes */
        wire_answer(wire, true, &answer);
        assert_int_equal(answer.status, 400);
    }
    wire_close(wire);
}

static void large_heads(void **state)
{
    static const struct {
        size_t target, fields, field_bytes;
        int status;
    } cases[] = {
        { 7000, 1, 10, 404 },  { 10, 1, 7000, 200 }, { 10, 99, 20, 200 },
        { 10, 101, 5, 431 },   { 10, 1, 9000, 431 }, { 10, 1, 20000, 431 },
        { 10, 2000, 20, 431 }, { 9000, 1, 10, 431 }, { 200000, 1, 10, 414 },
    };
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct wire *wire = wire_open(port);
        struct buf request;
        buf_init(&request, 1024 * 1024);
        buf_printf(&request, "GET /hello%s%0*d HTTP/1.1\r\n" HOST,
                   cases[i].status == 404 || cases[i].target > 10 ? "/" : "?", (int)cases[i].target, 0);
        for (size_t j = 1; j <= cases[i].fields; j++)
            buf_printf(&request, "x%zu: %0*d\r\n", j, (int)cases[i].field_bytes, 0);
        buf_add_string(&request, "\r\n");
        wire_try_send(wire, request.at, request.bytes);
        wire_answer(wire, true, &answer);
        if (answer.status != cases[i].status)
            fail_msg("case %zu: %d", i, answer.status);
        buf_done(&request);
        wire_close(wire);
    }
}

static void queries_of_many_parameters(void **state)
{
    static const struct {
        size_t parameters, bytes;
        int status;
    } cases[] = { { 1, 1, 200 },   { 100, 1, 200 },  { 100, 70, 200 },  { 60, 130, 200 },
                  { 101, 1, 414 }, { 101, 70, 414 }, { 1000, 1, 414 }, { 4000, 1, 414 } };
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct wire *wire = wire_open(port);
        struct buf request;
        buf_init(&request, 1024 * 1024);
        buf_add_string(&request, "GET /hello");
        for (size_t j = 0; j < cases[i].parameters; j++)
            buf_printf(&request, "%c%0*d", j == 0 ? '?' : '&', (int)cases[i].bytes, 0);
        buf_add_string(&request, " HTTP/1.1\r\n" HOST "\r\n");
        wire_try_send(wire, request.at, request.bytes);
        wire_answer(wire, true, &answer);
        if (answer.status != cases[i].status)
            fail_msg("case %zu: %d", i, answer.status);
        buf_done(&request);
        wire_close(wire);
    }
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    wire_send(wire, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n1"
                    "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n2"
                    "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n3"
                    "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n4"
                    "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n5");
    for (char digit = '1'; digit <= '5'; digit++) {
        if (digit == '2' || digit == '4') {
            struct http_exchange *exchange = take_kept();
            http_answer(exchange, 202, NULL, http_body(exchange), NULL);
        }
        wire_answer(wire, true, &answer);
        assert_int_equal(answer.body[0], digit);
    }
    wire_close(wire);
}

/* --- bodies ------------------------------------------------------------------------------------------------------- */

static void expectation_is_met(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    assert_int_equal(
        wire_ask(wire, "POST /echo HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 4\r\n\r\n", &answer),
        100);
    assert_int_equal(wire_ask(wire, "abcd", &answer), 200);
    assert_string_equal(answer.body, "abcd");
    wire_close(wire);
}

/* A client that sends all it has before it reads must still see why it was refused. */
static void refused_bodies_do_not_reset_the_answer(void **state)
{
    static const char *const heads[] = {
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4000000\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n3D0900\r\n",
    };
    char *body = calloc(1, 4000000);
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(heads); i++) {
        struct wire *wire = wire_open(port);
        wire_send(wire, heads[i]);
        assert_true(wire_try_send(wire, body, 4000000));
        wire_answer(wire, true, &answer);
        assert_int_equal(answer.status, 413);
        shutdown(wire->fd, SHUT_WR);
        wire_ends(wire);
        wire_close(wire);
    }
    free(body);
    wait_for_status(413, 2);
    assert_string_equal(last_route, "/echo");
}

static void body_arrives_in_pieces(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    wire_send(wire, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        wire_send(wire, "y");
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.body_bytes, 1000);
    wire_send(wire, "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 1000; i++)
        wire_send(wire, "1\r\nz\r\n");
    wire_send(wire, "0\r\n\r\n");
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.body_bytes, 1000);
    wire_close(wire);
}

#define WITH(start_, test_) cmocka_unit_test_setup_teardown(test_, start_, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(start_usual, each_request_gets_its_answer),
        WITH(start_usual, nothing_hides_behind_a_nul),
        WITH(start_usual, large_heads),
        WITH(start_usual, queries_of_many_parameters),
        WITH(start_usual, pipelined_requests_are_answered_in_order),
        WITH(start_usual, expectation_is_met),
        WITH(start_usual, refused_bodies_do_not_reset_the_answer),
        WITH(start_usual, body_arrives_in_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
