/* http_stub: a provider that answers every request with the same small JSON after a fixed delay, and costs next to
 * nothing itself.
 *
 *     http_stub --port 21100 --delay-ms 10
 *
 * HTTP/1.1 with keep-alive, on 127.0.0.1.  One thread: an epoll set, and, as the delay is the same for all, a queue of
 * due answers in the order of their coming.  A client sends its next request after the answer (no pipelining).  SIGTERM
 * ends it. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BACKLOG          4096
#define CONNECTIONS_MAX  8192
#define HEAD_BYTES_MAX   4096
#define BODY_CHUNK_BYTES 16384
#define EVENTS_PER_WAIT  512

#define BODY "{\"id\":\"stub-1\",\"text\":\"a short answer\"}"
static char answer[256]; /* made once, at the start */
static size_t answer_bytes;

struct connection {
    unsigned generation; /* tells a due answer that its connection is gone */
    size_t head_bytes;
    size_t body_left;
    char head[HEAD_BYTES_MAX];
};

struct due {
    int64_t at_us;
    int fd;
    unsigned generation;
};

static struct connection *connections[CONNECTIONS_MAX]; /* by file descriptor */
static struct due due[CONNECTIONS_MAX]; /* a ring: at most one for each connection, and those that left */
static size_t due_first, due_count;
static int64_t delay_us;
static int epoll_fd;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void die(const char *what)
{
    fprintf(stderr, "http_stub: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void hang_up(int fd)
{
    connections[fd]->generation++;
    connections[fd]->head_bytes = connections[fd]->body_left = 0;
    close(fd);
}

static void send_answer(int fd)
{
    /* an idle connection's send buffer takes so little at once */
    if (send(fd, answer, answer_bytes, MSG_NOSIGNAL) != (ssize_t)answer_bytes)
        hang_up(fd);
}

static void request_is_whole(int fd)
{
    if (delay_us == 0) {
        send_answer(fd);
        return;
    }
    if (due_count == CONNECTIONS_MAX) {
        hang_up(fd);
        return;
    }
    due[(due_first + due_count++) % CONNECTIONS_MAX] =
        (struct due){ now_us() + delay_us, fd, connections[fd]->generation };
}

static void answer_due(void)
{
    int64_t now = now_us();
    while (due_count > 0 && due[due_first].at_us <= now) {
        struct due next = due[due_first];
        due_first = (due_first + 1) % CONNECTIONS_MAX;
        due_count--;
        if (connections[next.fd]->generation == next.generation)
            send_answer(next.fd);
    }
}

static void read_head(int fd, struct connection *connection)
{
    ssize_t got = recv(fd, connection->head + connection->head_bytes, HEAD_BYTES_MAX - 1 - connection->head_bytes, 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            hang_up(fd);
        return;
    }
    connection->head_bytes += (size_t)got;
    connection->head[connection->head_bytes] = '\0';
    const char *end = strstr(connection->head, "\r\n\r\n");
    if (end == NULL) {
        if (connection->head_bytes == HEAD_BYTES_MAX - 1)
            hang_up(fd);
        return;
    }
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    size_t body_bytes = length != NULL && length < end ? strtoul(length + 17, NULL, 10) : 0;
    size_t here = connection->head_bytes - (size_t)(end + 4 - connection->head);
    connection->head_bytes = 0;
    connection->body_left = body_bytes > here ? body_bytes - here : 0;
    if (connection->body_left == 0)
        request_is_whole(fd);
}

static void read_body(int fd, struct connection *connection)
{
    static char chunk[BODY_CHUNK_BYTES];
    ssize_t got = recv(fd, chunk, sizeof(chunk), 0);
    if (got <= 0) {
        if (got == 0 || errno != EAGAIN)
            hang_up(fd);
        return;
    }
    connection->body_left -= (size_t)got < connection->body_left ? (size_t)got : connection->body_left;
    if (connection->body_left == 0)
        request_is_whole(fd);
}

static void accept_all(int listener)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        struct epoll_event event = { .events = EPOLLIN, .data.fd = fd };
        if (fd >= CONNECTIONS_MAX) {
            close(fd);
            continue;
        }
        if (connections[fd] == NULL && (connections[fd] = calloc(1, sizeof(struct connection))) == NULL)
            die("out of memory");
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
        if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
            die("epoll_ctl");
    }
}

static int open_listener(uint16_t port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        die("socket");
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, BACKLOG) < 0)
        die("could not listen");
    return fd;
}

static int wait_ms(void)
{
    if (due_count == 0)
        return -1;
    int64_t left_us = due[due_first].at_us - now_us();
    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

static void run(int listener)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    struct epoll_event event = { .events = EPOLLIN, .data.fd = listener };
    epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (epoll_fd < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, listener, &event) < 0)
        die("epoll");
    for (;;) {
        int count = epoll_wait(epoll_fd, events, EVENTS_PER_WAIT, wait_ms());
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == listener)
                accept_all(listener);
            else if (connections[fd]->body_left > 0)
                read_body(fd, connections[fd]);
            else
                read_head(fd, connections[fd]);
        }
        answer_due();
    }
}

static long number_of(const char *text, long most)
{
    char *end;
    long number = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || number < 0 || number > most) {
        fprintf(stderr, "http_stub: \"%s\" is not a number from 0 to %ld\n", text, most);
        exit(2);
    }
    return number;
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        { "port", required_argument, NULL, 'p' },
        { "delay-ms", required_argument, NULL, 'd' },
        { 0 },
    };
    long port = 0;
    int option;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        if (option == 'p')
            port = number_of(optarg, UINT16_MAX);
        else if (option == 'd')
            delay_us = number_of(optarg, 600000) * 1000;
        else
            return 2;
    }
    if (port == 0 || optind != argc) {
        fprintf(stderr, "usage: http_stub --port PORT [--delay-ms MS]\n");
        return 2;
    }
    answer_bytes = (size_t)snprintf(
        answer, sizeof(answer), "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        sizeof(BODY) - 1, BODY);
    struct rlimit files = { CONNECTIONS_MAX, CONNECTIONS_MAX };
    setrlimit(RLIMIT_NOFILE, &files);
    run(open_listener((uint16_t)port));
}
