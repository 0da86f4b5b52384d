/* test_http_patience.c: the HTTP server with clients that are slow, that leave or are too many, and owners that answer
 * late, from other threads or never. */
#include <stdatomic.h>

#include "tests/unit/server_under_test.h"

static int start_usual(void **state)
{
    struct http_server_settings settings = usual_settings();

    (void)state;
    start(&settings);
    return 0;
}

static int start_impatient(void **state)
{
    struct http_server_settings settings = usual_settings();

    (void)state;
    settings.request_deadline_ms = settings.answer_deadline_ms = 300;
    start(&settings);
    return 0;
}

static int start_narrow(void **state)
{
    struct http_server_settings settings = usual_settings();

    (void)state;
    settings.connections_max = 6;
    settings.connections_per_address_max = 4;
    start(&settings);
    return 0;
}

static int start_cramped(void **state)
{
    struct http_server_settings settings = usual_settings();

    (void)state;
    settings.in_flight_bytes_max = LARGE_BYTES * 3 / 2;
    start(&settings);
    return 0;
}

/* --- deadlines ---------------------------------------------------------------------------------------------------- */

/* Sends a byte now and then until it is told to stop. */
static void drip(struct wire *wire, const char *bytes)
{
    for (; *bytes != '\0' && !wire_readable(wire, 30); bytes++) {
        if (!wire_try_send(wire, bytes, 1))
            break;
    }
    assert_int_not_equal(*bytes, '\0');
}

static void slow_requests_end(void **state)
{
    static const char *const begins[] = {
        "",
        "GET /hello HTTP/1.1\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1000\r\n\r\n",
        "POST /echo HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n",
    };
    static const char *const drips[] = {
        "GET /hello?aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "X-A: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "100\r\naaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    };
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(begins); i++) {
        struct wire *wire = wire_open(port);
        wire_send(wire, begins[i]);
        drip(wire, drips[i]);
        wire_answer(wire, true, &answer);
        assert_int_equal(answer.status, 408);
        wire_ends(wire);
        wire_close(wire);
    }
    wait_for_status(408, 4);
}

static void idle_connections_end_without_a_word(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    assert_int_equal(wire_ask(wire, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    assert_int_equal(wire_more(wire), 0);
    assert_int_equal(wire->bytes, 0);
    wire_close(wire);
}

/* The time of a request on a used connection runs from its first line, not from the end of the one before. */
static void each_request_has_its_own_time(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    for (int i = 0; i < 3; i++) {
        wire_send(wire, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\n");
        assert_false(wire_readable(wire, 150));
        assert_int_equal(wire_ask(wire, "a", &answer), 200);
        assert_false(wire_readable(wire, 50));
    }
    wire_close(wire);
}

static void unread_answers_end(void **state)
{
    struct wire *wire = wire_open(port);
    size_t total = 0;

    (void)state;
    wire_send(wire, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    wait_for_status(200, 1); /* told when the request is over, which it is not before the deadline */
    while (wire_more(wire) > 0) {
        total += wire->bytes;
        wire->bytes = 0;
    }
    assert_true(total < BIG_BYTES);
    wire_close(wire);
}

static void kept_exchanges_get_503_in_the_end(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    wire_send(wire, "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
    struct http_exchange *exchange = take_kept();
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.status, 503);
    assert_non_null(strstr(answer.head, "Retry-After: 1\r\n"));
    wire_ends(wire);
    wire_close(wire);
    assert_true(http_client_left(exchange));
    assert_true(text_is(http_body(exchange), "a")); /* still its owner's */
    assert_true(text_is(http_header(exchange, "Host"), "x"));
    http_answer(exchange, 202, NULL, TEXT("too late"), NULL);
    assert_int_equal(statuses[202], 0);
}

/* --- clients that leave ------------------------------------------------------------------------------------------- */

static void leaving_clients_are_noticed(void **state)
{
    (void)state;
    for (int reset = 0; reset < 2; reset++) {
        struct wire *wire = wire_open(port);
        wire_send(wire, "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
        struct http_exchange *exchange = take_kept();
        assert_false(http_client_left(exchange));
        if (reset)
            setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
        wire_close(wire);
        for (int waited_ms = 0; !http_client_left(exchange); waited_ms++) {
            assert_true(waited_ms < WIRE_MS);
            usleep(1000);
        }
        http_answer(exchange, 202, NULL, TEXT(""), NULL);
    }
    wait_for_status(202, 2);
}

/* Leaves after each byte of a request that is kept, by close and by reset: nothing is lost, freed twice or left behind.
 */
static void clients_may_leave_at_any_point(void **state)
{
    static const char request[] =
        "POST /keep HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\nGET /hello";
    const size_t whole = strlen(request) - strlen("GET /hello");
    int kept_wanted = 0;

    (void)state;
    for (size_t bytes = 0; bytes <= strlen(request); bytes++) {
        struct wire *wire = wire_open(port);
        assert_true(wire_try_send(wire, request, bytes));
        if (bytes >= whole) {
            struct http_exchange *exchange = take_kept();
            kept_wanted++;
            if (bytes % 3 == 0)
                http_answer(exchange, 202, NULL, TEXT("abc"), NULL);
            if (bytes % 2 == 0)
                setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
            wire_close(wire);
            if (bytes % 3 != 0)
                http_answer(exchange, 202, NULL, TEXT("abc"), NULL);
            continue;
        }
        if (bytes % 2 == 0)
            setsockopt(wire->fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
        wire_close(wire);
    }
    wait_for_status(202, kept_wanted);
}

/* --- limits ------------------------------------------------------------------------------------------------------- */

static void connections_are_limited_per_address(void **state)
{
    struct wire *wires[4];
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(wires); i++) {
        wires[i] = wire_open(port);
        assert_int_equal(wire_ask(wires[i], "GET /hello HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    }
    struct wire *fifth = wire_open(port);
    wire_ends(fifth);
    wire_close(fifth);
    for (size_t i = 0; i < LENGTH(wires); i++)
        wire_close(wires[i]);
    for (int status = 0; status != 200;) { /* until the server has noticed */
        struct wire *wire = wire_open(port);
        if (wire_try_send(wire, "GET /hello HTTP/1.1\r\n" HOST "\r\n", 32) && wire_more(wire) > 0)
            status = 200;
        wire_close(wire);
    }
}

static void connections_are_limited_in_all(void **state)
{
    struct wire *wires[6];
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(wires); i++) {
        wires[i] = wire_open_from(port, i < 4 ? "127.0.0.2" : "127.0.0.3");
        assert_int_equal(wire_ask(wires[i], "GET /show HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
        assert_non_null(strstr(answer.body, i < 4 ? "|127.0.0.2" : "|127.0.0.3"));
    }
    struct wire *seventh = wire_open(port); /* waits for its turn */
    wire_send(seventh, "GET /hello HTTP/1.1\r\n" HOST "\r\n");
    assert_int_equal(wire_ask(wires[0], "GET /hello HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    assert_false(wire_readable(seventh, 0));
    wire_close(wires[0]);
    wire_answer(seventh, true, &answer);
    assert_int_equal(answer.status, 200);
    wire_close(seventh);
    for (size_t i = 1; i < LENGTH(wires); i++)
        wire_close(wires[i]);
}

static void send_large(struct wire *wire, const char *path, bool chunked)
{
    char *body = malloc(LARGE_BYTES), head[200];

    assert_non_null(body);
    memset(body, 'a', LARGE_BYTES);
    if (chunked)
        snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n%x\r\n", path,
                 LARGE_BYTES);
    else
        snprintf(head, sizeof(head), "POST %s HTTP/1.1\r\n" HOST "Content-Length: %d\r\n\r\n", path, LARGE_BYTES);
    wire_send(wire, head);
    wire_try_send(wire, body, LARGE_BYTES); /* it may be refused before it is sent */
    free(body);
}

/* The room is that of one and a half. */
static void large_bodies_in_flight_are_limited(void **state)
{
    struct wire *first = wire_open(port), *small = wire_open(port);
    struct wire_answer answer;

    (void)state;
    send_large(first, "/keep", false);
    struct http_exchange *exchange = take_kept();
    for (int i = 0; i < 2; i++) {
        struct wire *second = wire_open(port);
        send_large(second, "/large", i == 1);
        wire_answer(second, true, &answer);
        assert_int_equal(answer.status, 503);
        assert_non_null(strstr(answer.head, "Retry-After: 1\r\n"));
        shutdown(second->fd, SHUT_WR);
        wire_ends(second);
        wire_close(second);
    }
    assert_int_equal(wire_ask(small, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 4\r\n\r\nabcd", &answer), 200);
    http_answer(exchange, 202, NULL, TEXT(""), NULL);
    wire_answer(first, true, &answer);
    send_large(first, "/large", false);
    wire_answer(first, true, &answer);
    assert_int_equal(answer.status, 200);
    wire_close(small);
    wire_close(first);
}

/* Sixteen strangers with a line of text each must not shut the door for everybody. */
static void what_was_only_announced_takes_no_room(void **state)
{
    struct wire *idlers[16], *wire = wire_open(port);
    struct wire_answer answer;

    (void)state;
    for (size_t i = 0; i < LENGTH(idlers); i++) {
        idlers[i] = wire_open(port);
        wire_send(idlers[i], "POST /large HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 40000\r\n\r\n");
        wire_answer(idlers[i], false, &answer);
        assert_int_equal(answer.status, 100);
    }
    send_large(wire, "/large", false);
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.status, 200);
    for (size_t i = 0; i < LENGTH(idlers); i++)
        wire_close(idlers[i]);
    wire_close(wire);
}

/* --- drain -------------------------------------------------------------------------------------------------------- */

static void *drain_slowly(void *argument)
{
    http_server_drain(argument, 10000);
    return NULL;
}

static void drain_waits_for_answers(void **state)
{
    struct wire *keeper = wire_open(port), *idler = wire_open(port);
    struct wire_answer answer;
    pthread_t thread;

    (void)state;
    assert_int_equal(wire_ask(idler, "GET /hello HTTP/1.1\r\n" HOST "\r\n", &answer), 200);
    wire_send(keeper, "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
    struct http_exchange *exchange = take_kept();
    pthread_create(&thread, NULL, drain_slowly, server);
    wire_ends(idler);
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), -1);
    assert_int_equal(errno, ECONNREFUSED);
    close(fd);
    http_answer(exchange, 202, NULL, TEXT("done"), NULL);
    wire_answer(keeper, true, &answer);
    assert_int_equal(answer.status, 202);
    assert_string_equal(answer.body, "done");
    assert_non_null(strstr(answer.head, "Connection: close"));
    wire_ends(keeper);
    pthread_join(thread, NULL);
    server = NULL;
    wire_close(keeper);
    wire_close(idler);
}

static void drain_gives_up_in_the_end(void **state)
{
    struct wire *wire = wire_open(port), *half = wire_open(port);
    struct wire_answer answer;

    (void)state;
    wire_send(half, "POST /echo HTTP/1.1\r\n" HOST "Content-Length: 10\r\n\r\nabc");
    wire_send(wire, "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
    struct http_exchange *exchange = take_kept();
    http_server_drain(server, 100);
    server = NULL;
    wire_answer(wire, true, &answer);
    assert_int_equal(answer.status, 503);
    wire_ends(wire);
    wire_answer(half, true, &answer);
    assert_int_equal(answer.status, 408);
    wire_close(wire);
    wire_close(half);
    http_answer(exchange, 202, NULL, TEXT("nobody hears it"), NULL);
}

/* --- threads ------------------------------------------------------------------------------------------------------ */

#define ANSWERERS 4
#define ASKERS    64
#define ASKS      40

static atomic_int answered;

static void *answer_kept(void *argument)
{
    (void)argument;
    while (atomic_fetch_add(&answered, 1) < ASKERS * ASKS) {
        struct http_exchange *exchange = take_kept();
        const char *again = arena_copy_text(http_arena(exchange), http_body(exchange));
        http_answer(exchange, 202, "text/plain", text_of(again), NULL);
    }
    return NULL;
}

static void threads_answer_at_once(void **state)
{
    pthread_t answerers[ANSWERERS];
    struct wire *wires[ASKERS];
    struct wire_answer answer;
    char request[200];

    (void)state;
    atomic_store(&answered, 0);
    for (size_t i = 0; i < ANSWERERS; i++)
        pthread_create(&answerers[i], NULL, answer_kept, NULL);
    for (size_t i = 0; i < ASKERS; i++)
        wires[i] = wire_open(port);
    for (int round = 0; round < ASKS; round++) {
        for (int i = 0; i < ASKERS; i++) {
            snprintf(request, sizeof(request), "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 8\r\n\r\n%03d.%04d", i,
                     round);
            wire_send(wires[i], request);
        }
        for (int i = 0; i < ASKERS; i++) {
            wire_answer(wires[i], true, &answer);
            snprintf(request, sizeof(request), "%03d.%04d", i, round);
            assert_string_equal(answer.body, request);
        }
    }
    for (size_t i = 0; i < ANSWERERS; i++)
        pthread_join(answerers[i], NULL);
    for (size_t i = 0; i < ASKERS; i++)
        wire_close(wires[i]);
    wait_for_status(202, ASKERS * ASKS);
}

static int watched[2];

static void answer_from_watch(void *context)
{
    char byte;

    (void)context;
    assert_int_equal(read(watched[0], &byte, 1), 1);
    http_answer(take_kept(), 202, NULL, (struct text){ &byte, 1 }, NULL);
}

static void loop_watches_for_its_owner(void **state)
{
    struct wire *wire = wire_open(port);
    struct wire_answer answer;
    struct problem why;

    (void)state;
    assert_int_equal(pipe(watched), 0);
    assert_true(http_server_watch(server, watched[0], answer_from_watch, NULL, &why));
    for (int i = 0; i < 3; i++) {
        wire_send(wire, "POST /keep HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\na");
        wait_for_kept();
        assert_int_equal(write(watched[1], "b", 1), 1);
        wire_answer(wire, true, &answer);
        assert_string_equal(answer.body, "b");
    }
    assert_false(http_server_watch(server, -1, answer_from_watch, NULL, &why));
    wire_close(wire);
    stop(NULL);
    close(watched[0]);
    close(watched[1]);
}

static void start_says_what_is_wrong(void **state)
{
    static const struct {
        const char *listen, *path, *wanted;
    } cases[] = {
        { "5000", "/", "it must be an address and a port" },
        { "127.0.0.1:", "/", "it must be an address and a port" },
        { "127.0.0.1:http", "/", "127.0.0.1:http" },
        { "8.8.8.8:0", "/", "Cannot assign requested address" },
        { "127.0.0.1:0", "calls", "must begin with /" },
        { "127.0.0.1:0", "/1/2/3/4/5/6/7/8/9/a/b/c/d/e/f/g/h", "at most" },
    };

    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct http_server_settings settings = usual_settings();
        struct problem why = { 0 };
        settings.listen = cases[i].listen;
        assert_null(http_server_start(&settings,
                                      (struct http_route[]){ { "GET", cases[i].path, hello, 0, NULL }, { 0 } }, &why));
        if (strstr(why.text, cases[i].wanted) == NULL)
            fail_msg("%s: %s", cases[i].listen, why.text);
    }
    struct problem why = { 0 };
    struct http_server_settings settings = usual_settings();
    char taken[32];
    snprintf(taken, sizeof(taken), "127.0.0.1:%d", port);
    settings.listen = taken;
    assert_null(http_server_start(&settings, routes, &why));
    assert_non_null(strstr(why.text, "Address already in use"));
}

#define WITH(start_, test_) cmocka_unit_test_setup_teardown(test_, start_, stop)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WITH(start_impatient, slow_requests_end),
        WITH(start_impatient, idle_connections_end_without_a_word),
        WITH(start_impatient, each_request_has_its_own_time),
        WITH(start_impatient, unread_answers_end),
        WITH(start_impatient, kept_exchanges_get_503_in_the_end),
        WITH(start_usual, leaving_clients_are_noticed),
        WITH(start_usual, clients_may_leave_at_any_point),
        WITH(start_narrow, connections_are_limited_per_address),
        WITH(start_narrow, connections_are_limited_in_all),
        WITH(start_cramped, large_bodies_in_flight_are_limited),
        WITH(start_cramped, what_was_only_announced_takes_no_room),
        WITH(start_usual, drain_waits_for_answers),
        WITH(start_usual, drain_gives_up_in_the_end),
        WITH(start_usual, threads_answer_at_once),
        WITH(start_usual, loop_watches_for_its_owner),
        WITH(start_usual, start_says_what_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
