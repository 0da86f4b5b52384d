/* test_websocket.c: WebSockets frame by frame, from a client that need not keep to RFC 6455. */
#include <pthread.h>

#include "common/http_server.h"
#include "tests/unit/wire.h"

#define HOST    "Host: x\r\n"
#define UPGRADE HOST "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n"
#define KEY     "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" /* RFC 6455 section 1.3, with its answer */
#define ACCEPT  "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"

enum { TEXT_FRAME = 0x1, BINARY_FRAME = 0x2, CLOSE_FRAME = 0x8, PING_FRAME = 0x9, PONG_FRAME = 0xA, FINAL = 0x80 };

static struct http_server *server;
static uint16_t port;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static struct websocket *open_one; /* the last that was opened and is not closed */
static int opened_count, closed_count, closed_code;
static int closes_awaited;

static void was_opened(struct websocket *websocket, void *context)
{
    assert_string_equal(context, "mine");
    pthread_mutex_lock(&lock);
    open_one = websocket;
    opened_count++;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void was_closed(struct websocket *websocket, int code, void *context)
{
    assert_string_equal(context, "mine");
    pthread_mutex_lock(&lock);
    if (open_one == websocket)
        open_one = NULL;
    closed_count++;
    closed_code = code;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void got_text(struct websocket *websocket, struct text message, void *context)
{
    (void)context;
    if (text_is(message, "close me"))
        websocket_close(websocket, 4000, "as you wish");
    else if (text_is(message, "flood me"))
        for (int i = 0; i < 4000; i++)
            websocket_send_text(websocket, (struct text){ (char[1000]){ "flood" }, 1000 });
    else
        websocket_send_text(websocket, message);
}

static const struct websocket_events events = {
    .opened = was_opened,
    .text = got_text,
    .closed = was_closed,
    .message_bytes_max = 1000,
    .queued_bytes_max = 1000 * 1000,
    .idle_ms_max = 400,
};

static void accept_it(struct http_exchange *exchange, void *context)
{
    (void)context;
    if (http_query_value(exchange, "no") != NULL)
        http_answer_problem(exchange, 403, "not you", NULL);
    else
        assert_true(http_accept_websocket(exchange, &events, "mine"));
}

static void *accept_slowly(void *exchange)
{
    assert_true(http_accept_websocket(exchange, &events, "mine"));
    return NULL;
}

static void accept_elsewhere(struct http_exchange *exchange, void *context)
{
    pthread_t thread;

    (void)context;
    pthread_create(&thread, NULL, accept_slowly, exchange);
    pthread_detach(thread);
}

static void is_no_upgrade(struct http_exchange *exchange, void *context)
{
    (void)context;
    assert_false(http_accept_websocket(exchange, &events, "mine"));
    http_answer(exchange, 200, NULL, TEXT("no upgrade"), NULL);
}

static int start(void **state)
{
    static const struct http_route routes[] = {
        { "GET", "/live", accept_it, 0, &events },
        { "GET", "/later", accept_elsewhere, 0, &events },
        { "GET", "/both", is_no_upgrade, 0, NULL },
        { 0 },
    };
    struct problem why;

    (void)state;
    opened_count = closed_count = closed_code = closes_awaited = 0;
    server = http_server_start(&(struct http_server_settings){ .listen = "127.0.0.1:0",
                                                               .connections_max = 100,
                                                               .connections_per_address_max = 100,
                                                               .request_deadline_ms = 300,
                                                               .answer_deadline_ms = 10000,
                                                               .in_flight_bytes_max = 1024 },
                               routes, &why);
    assert_non_null(server);
    port = http_server_port(server);
    return 0;
}

static int stop(void **state)
{
    (void)state;
    if (server != NULL)
        http_server_drain(server, 1000);
    server = NULL;
    assert_int_equal(opened_count, closed_count);
    return 0;
}

/* For the next one, after those that were waited for already. */
static void wait_for_close(int code)
{
    pthread_mutex_lock(&lock);
    closes_awaited++;
    while (closed_count < closes_awaited)
        pthread_cond_wait(&changed, &lock);
    assert_int_equal(closed_code, code);
    pthread_mutex_unlock(&lock);
}

/* --- frames ------------------------------------------------------------------------------------------------------- */

static struct wire *open_websocket(void)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    assert_int_equal(wire_ask(wire, "GET /live HTTP/1.1\r\n" UPGRADE KEY "\r\n", &answer), 101);
    assert_non_null(strstr(answer.head, ACCEPT));
    return wire;
}

static void frame_print(struct buf *out, int first, bool masked, const void *payload, size_t bytes)
{
    static const uint8_t mask[4] = { 1, 2, 3, 4 };
    const uint8_t *from = payload;

    buf_add_char(out, (char)first);
    buf_add_char(out, (char)((bytes < 126 ? bytes : 126) | (masked ? 0x80 : 0)));
    if (bytes >= 126) {
        buf_add_char(out, (char)(bytes >> 8));
        buf_add_char(out, (char)bytes);
    }
    if (masked)
        buf_add(out, mask, 4);
    for (size_t i = 0; i < bytes; i++)
        buf_add_char(out, (char)(masked ? from[i] ^ mask[i % 4] : from[i]));
}

static void send_frame(struct wire *wire, int first, const void *payload, size_t bytes)
{
    struct buf out;

    buf_init(&out, WIRE_BYTES_MAX);
    frame_print(&out, first, true, payload, bytes);
    wire_try_send(wire, out.at, out.bytes);
    buf_done(&out);
}

/* Gives the first byte of the next frame; its payload goes to `ret`, terminated. */
static int read_frame(struct wire *wire, char *ret, size_t *ret_bytes)
{
    wire_need(wire, 2);
    int first = (uint8_t)wire->at[0];
    size_t bytes = (uint8_t)wire->at[1], head = 2;
    assert_true(bytes <= 126); /* a server does not mask */
    if (bytes == 126) {
        wire_need(wire, 4);
        bytes = (size_t)(uint8_t)wire->at[2] << 8 | (uint8_t)wire->at[3];
        head = 4;
    }
    wire_need(wire, head + bytes);
    memcpy(ret, wire->at + head, bytes);
    ret[bytes] = '\0';
    *ret_bytes = bytes;
    wire_take(wire, head + bytes);
    return first;
}

static void expect_frame(struct wire *wire, int first, const char *payload)
{
    static char got[WIRE_BYTES_MAX];
    size_t bytes;

    int was;
    do {
        was = read_frame(wire, got, &bytes);
    } while (was == (FINAL | PING_FRAME) && first != (FINAL | PING_FRAME));
    assert_int_equal(was, first);
    assert_string_equal(got, payload);
}

static void expect_close(struct wire *wire, int code)
{
    char got[WIRE_BYTES_MAX];
    size_t bytes;
    int first;

    while ((first = read_frame(wire, got, &bytes)) != (FINAL | CLOSE_FRAME))
        assert_true(first == (FINAL | PING_FRAME) || first == (FINAL | TEXT_FRAME) || first == (FINAL | PONG_FRAME));
    assert_int_equal(bytes >= 2 ? (uint8_t)got[0] << 8 | (uint8_t)got[1] : 1005, code);
}

static void say_goodbye(struct wire *wire)
{
    send_frame(wire, FINAL | CLOSE_FRAME, "\x03\xE8", 2);
    expect_close(wire, 1000);
    wire_ends(wire);
    wire_close(wire);
    wait_for_close(1000);
}

/* --- tests -------------------------------------------------------------------------------------------------------- */

static void only_proper_upgrades_are_taken(void **state)
{
    static const struct {
        const char *request;
        int status;
        const char *wanted;
    } cases[] = {
        { "GET /live HTTP/1.1\r\n" HOST "\r\n", 426, "Upgrade: websocket\r\n" },
        { "GET /live HTTP/1.1\r\n" UPGRADE "\r\n", 426, "Sec-WebSocket-Version: 13\r\n" },
        { "GET /live HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Key: abc\r\n\r\n", 426, NULL },
        { "GET /live HTTP/1.1\r\n" UPGRADE "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZTE=\r\n\r\n", 426, NULL },
        { "GET /live HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Version: 13\r\n" KEY
          "\r\n",
          426, NULL },
        { "GET /live HTTP/1.1\r\n" HOST "Connection: close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" KEY
          "\r\n",
          426, NULL },
        { "GET /live HTTP/1.1\r\n" HOST "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 8\r\n" KEY
          "\r\n",
          426, NULL },
        { "GET /live HTTP/1.0\r\n" UPGRADE KEY "\r\n", 426, NULL },
        { "POST /live HTTP/1.1\r\n" UPGRADE KEY "\r\n", 405, NULL },
        { "GET /live?no=1 HTTP/1.1\r\n" UPGRADE KEY "\r\n", 403, "not you" },
        { "GET /both HTTP/1.1\r\n" HOST "\r\n", 200, "no upgrade" },
        { "GET /live HTTP/1.1\r\n" UPGRADE KEY "\r\n", 101, ACCEPT },
        { "GET /later HTTP/1.1\r\n" UPGRADE KEY "\r\n", 101, "Upgrade: websocket\r\n" },
    };
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct wire *wire = wire_open(port);
        if (wire_ask(wire, cases[i].request, &answer) != cases[i].status)
            fail_msg("case %zu: %d", i, answer.status);
        if (cases[i].wanted != NULL && !strstr(answer.head, cases[i].wanted) && !strstr(answer.body, cases[i].wanted))
            fail_msg("case %zu: %s%s", i, answer.head, answer.body);
        wire_close(wire);
    }
}

static void messages_come_back(void **state)
{
    struct wire *wire = open_websocket();
    char large[1001] = { 0 };

    (void)state;
    send_frame(wire, FINAL | TEXT_FRAME, "hello", 5);
    expect_frame(wire, FINAL | TEXT_FRAME, "hello");
    send_frame(wire, FINAL | TEXT_FRAME, "", 0);
    expect_frame(wire, FINAL | TEXT_FRAME, "");
    memset(large, 'l', 1000);
    send_frame(wire, FINAL | TEXT_FRAME, large, 1000);
    expect_frame(wire, FINAL | TEXT_FRAME, large);
    send_frame(wire, TEXT_FRAME, "in \xC3", 4); /* fragments may part a character, and a ping may come between */
    send_frame(wire, FINAL | PING_FRAME, "are you", 7);
    expect_frame(wire, FINAL | PONG_FRAME, "are you");
    send_frame(wire, 0, "\xA9 thr", 5);
    send_frame(wire, FINAL, "ee", 2);
    expect_frame(wire, FINAL | TEXT_FRAME, "in \xC3\xA9 three");
    say_goodbye(wire);
}

static void frames_may_come_with_the_handshake(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;
    struct buf both;

    (void)state;
    buf_init(&both, WIRE_BYTES_MAX);
    buf_add_string(&both, "GET /live HTTP/1.1\r\n" UPGRADE KEY "\r\n");
    for (int i = 0; i < 50; i++)
        frame_print(&both, FINAL | TEXT_FRAME, true, "early", 5);
    assert_true(wire_try_send(wire, both.at, both.bytes));
    buf_done(&both);
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.status, 101);
    for (int i = 0; i < 50; i++)
        expect_frame(wire, FINAL | TEXT_FRAME, "early");
    say_goodbye(wire);
}

static void a_byte_at_a_time(void **state)
{
    struct wire *wire = open_websocket();
    struct buf out;

    (void)state;
    buf_init(&out, 1000);
    frame_print(&out, FINAL | TEXT_FRAME, true, "slowly", 6);
    for (size_t i = 0; i < out.bytes; i++)
        assert_true(wire_try_send(wire, out.at + i, 1));
    expect_frame(wire, FINAL | TEXT_FRAME, "slowly");
    buf_done(&out);
    say_goodbye(wire);
}

static void bad_frames_end_it(void **state)
{
    static const struct {
        const char *name;
        int first;
        const char *payload;
        size_t bytes;
        bool unmasked;
        int code;
    } cases[] = {
        { "unmasked", FINAL | TEXT_FRAME, "abc", 3, true, 1002 },
        { "reserved bit", FINAL | 0x40 | TEXT_FRAME, "abc", 3, false, 1002 },
        { "reserved opcode", FINAL | 0x3, "abc", 3, false, 1002 },
        { "continuation of nothing", FINAL, "abc", 3, false, 1002 },
        { "not UTF-8", FINAL | TEXT_FRAME, "a\xFF", 2, false, 1007 },
        { "cut UTF-8", FINAL | TEXT_FRAME, "a\xC3", 2, false, 1007 },
        { "surrogate", FINAL | TEXT_FRAME, "\xED\xA0\x80", 3, false, 1007 },
        { "too large", FINAL | TEXT_FRAME, NULL, 1001, false, 1009 },
        { "binary where only text is taken", FINAL | BINARY_FRAME, "abc", 3, false, 1003 },
        { "bad close code", FINAL | CLOSE_FRAME, "\x03\xEE", 2, false, 1002 },
        { "close with a code", FINAL | CLOSE_FRAME, "\x0F\xA1why", 5, false, 4001 },
        { "close without a code", FINAL | CLOSE_FRAME, "", 0, false, 1005 },
        { "asks for it", FINAL | TEXT_FRAME, "close me", 8, false, 4000 },
    };
    static const char zeros[2000];

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct wire *wire = open_websocket();
        struct buf out;
        print_message("    %s\n", cases[i].name);
        buf_init(&out, WIRE_BYTES_MAX);
        frame_print(&out, cases[i].first, !cases[i].unmasked, cases[i].payload ? cases[i].payload : zeros,
                    cases[i].bytes);
        if (cases[i].code != 4000)
            buf_add(&out, zeros, 500); /* what comes after does not keep the close from arriving */
        wire_try_send(wire, out.at, out.bytes);
        buf_done(&out);
        expect_close(wire, cases[i].code);
        shutdown(wire->fd, SHUT_WR);
        wire_ends(wire);
        wire_close(wire);
        wait_for_close(cases[i].code);
    }
}

static void fragments_too_large_end_it(void **state)
{
    struct wire *wire = open_websocket();
    char part[600] = { 0 };

    (void)state;
    send_frame(wire, TEXT_FRAME, part, 600);
    send_frame(wire, FINAL, part, 600);
    expect_close(wire, 1009);
    wire_close(wire);
    wait_for_close(1009);
}

static void silence_is_pinged_then_ended(void **state)
{
    struct wire *wire = open_websocket();

    (void)state;
    expect_frame(wire, FINAL | PING_FRAME, "");
    send_frame(wire, FINAL | PONG_FRAME, "", 0);
    expect_frame(wire, FINAL | PING_FRAME, ""); /* the answer counted as a sign of life */
    expect_close(wire, 1001);
    wire_close(wire);
    wait_for_close(1001);
}

static void slow_readers_end(void **state)
{
    struct wire *wire = open_websocket();

    (void)state;
    send_frame(wire, FINAL | TEXT_FRAME, "flood me", 8);
    wait_for_close(1013);
    wire_close(wire);
}

static void pongs_do_not_pile_up(void **state)
{
    struct wire *wire = open_websocket();
    struct buf pings;

    (void)state;
    buf_init(&pings, 1024 * 1024);
    for (int i = 0; i < 4000; i++)
        frame_print(&pings, FINAL | PING_FRAME, true,
                    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 90);
    int flags = MSG_NOSIGNAL;
    while (send(wire->fd, pings.at, pings.bytes, flags) > 0) { /* reads nothing */
        pthread_mutex_lock(&lock);
        bool closed = closed_count > 0;
        pthread_mutex_unlock(&lock);
        if (closed)
            break;
    }
    buf_done(&pings);
    wait_for_close(1013);
    wire_close(wire);
}

static void leaving_is_noticed(void **state)
{
    struct wire *wire = open_websocket();

    (void)state;
    wire_close(wire);
    wait_for_close(1006);
}

#define SENDERS 4
#define SENDS   200

static void *send_many(void *argument)
{
    char message[20];

    for (int i = 0; i < SENDS; i++) {
        snprintf(message, sizeof(message), "%c%03d", *(const char *)argument, i);
        pthread_mutex_lock(&lock);
        websocket_send_text(open_one, text_of(message));
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

static void threads_send_at_once(void **state)
{
    struct wire *wire = open_websocket();
    pthread_t threads[SENDERS];
    int next[SENDERS] = { 0 };
    char got[WIRE_BYTES_MAX];
    size_t bytes;

    (void)state;
    pthread_mutex_lock(&lock);
    while (open_one == NULL)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    for (int i = 0; i < SENDERS; i++)
        pthread_create(&threads[i], NULL, send_many, &"abcd"[i]);
    for (int i = 0; i < SENDERS * SENDS; i++) {
        if (read_frame(wire, got, &bytes) == (FINAL | PING_FRAME)) {
            i--;
            continue;
        }
        assert_int_equal(atoi(got + 1), next[got[0] - 'a']++); /* each thread's in its order */
    }
    for (int i = 0; i < SENDERS; i++)
        pthread_join(threads[i], NULL);
    say_goodbye(wire);
}

static void *drain(void *argument)
{
    http_server_drain(argument, 5000);
    return NULL;
}

static void drain_says_goodbye(void **state)
{
    struct wire *polite = open_websocket(), *deaf = open_websocket();
    pthread_t thread;

    (void)state;
    pthread_create(&thread, NULL, drain, server);
    expect_close(polite, 1001);
    send_frame(polite, FINAL | CLOSE_FRAME, "\x03\xE9", 2);
    wire_ends(polite);
    pthread_join(thread, NULL); /* the deaf one does not hold it up for ever */
    server = NULL;
    expect_close(deaf, 1001);
    wire_close(polite);
    wire_close(deaf);
}

#define TEST(test_) cmocka_unit_test_setup_teardown(test_, start, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_proper_upgrades_are_taken),
        TEST(messages_come_back),
        TEST(frames_may_come_with_the_handshake),
        TEST(a_byte_at_a_time),
        TEST(bad_frames_end_it),
        TEST(fragments_too_large_end_it),
        TEST(silence_is_pinged_then_ended),
        TEST(slow_readers_end),
        TEST(pongs_do_not_pile_up),
        TEST(leaving_is_noticed),
        TEST(threads_send_at_once),
        TEST(drain_says_goodbye),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
