/* fuzz_http_request.c: any bytes at all, sent to a real server over a real connection.
 *
 * The first byte of the input says how many bytes go out at a time (its low six bits; 0: all at once) and whether a
 * WebSocket is opened first (its highest bit).  The server must not crash, leak, or leave the connection open. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>

#include "tests/fuzz/fuzz.h"

#include "common/http_server.h"

#define END_MS 15000 /* a machine may stand still for a while */
#define UPGRADE                                                                                                        \
    "GET /live HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"      \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

static void echo(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_query_value(exchange, "q");
    http_answer(exchange, 200, "text/plain", http_body(exchange), NULL);
}

static void show(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer_problem(exchange, 400, http_path_value(exchange, "id"), http_url(exchange));
}

static void nothing(struct websocket *websocket, void *context)
{
    (void)websocket;
    (void)context;
}

static void send_back(struct websocket *websocket, struct text message, void *context)
{
    (void)context;
    websocket_send_text(websocket, message);
}

static void was_closed(struct websocket *websocket, int code, void *context)
{
    (void)websocket;
    (void)code;
    (void)context;
}

static const struct websocket_events events = {
    .opened = nothing,
    .text = send_back,
    .closed = was_closed,
    .message_bytes_max = 1000,
    .queued_bytes_max = 10000,
    .idle_ms_max = 1000,
};

static void go_live(struct http_exchange *exchange, void *context)
{
    http_accept_websocket(exchange, &events, context);
}

static uint16_t serve(void)
{
    static const struct http_route routes[] = {
        { "POST", "/echo", echo, 1000, NULL },
        { "GET", "/calls/{id}", show, 0, NULL },
        { "GET", "/live", go_live, 0, &events },
        { 0 },
    };
    struct problem why;
    struct http_server *server = http_server_start(&(struct http_server_settings){ .listen = "127.0.0.1:0",
                                                                                   .connections_max = 10,
                                                                                   .connections_per_address_max = 10,
                                                                                   .request_deadline_ms = 200,
                                                                                   .answer_deadline_ms = 200,
                                                                                   .in_flight_bytes_max = 10000 },
                                                   routes, &why);

    if (server == NULL) {
        fprintf(stderr, "%s\n", why.text);
        exit(1);
    }
    return http_server_port(server);
}

static void send_pieces(int fd, const uint8_t *data, size_t bytes, size_t piece)
{
    for (size_t at = 0; at < bytes; at += piece) {
        size_t now = bytes - at < piece ? bytes - at : piece;
        if (send(fd, data + at, now, MSG_NOSIGNAL) < 0)
            return;
    }
}

static void give_up(const char *what)
{
    fprintf(stderr, "fuzz_http_request: %s\n", what);
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    static uint16_t port;
    char answer[4096];

    if (port == 0)
        port = serve();
    if (bytes == 0)
        return 0;
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) != 0)
        give_up(strerror(errno));
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    /* the ports must not run out: a reset leaves none behind */
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){ .l_onoff = 1 }, sizeof(struct linger));
    if (data[0] & 0x80)
        send_pieces(fd, (const uint8_t *)UPGRADE, sizeof(UPGRADE) - 1, sizeof(UPGRADE));
    size_t piece = data[0] & 0x3F;
    send_pieces(fd, data + 1, bytes - 1, piece > 0 ? piece : bytes);
    /* an end that comes together with data escapes libmicrohttpd until the deadline */
    poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, 1);
    shutdown(fd, SHUT_WR);
    int ready;
    do {
        ready = poll(&(struct pollfd){ .fd = fd, .events = POLLIN }, 1, END_MS);
        if (ready == 0)
            give_up("the server left the connection open");
    } while (ready < 0 || recv(fd, answer, sizeof(answer), 0) > 0); /* libFuzzer's timer interrupts poll */
    close(fd);
    return 0;
}
