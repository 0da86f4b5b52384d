/* wire.h: a client that sends exactly the bytes a test wants and reads answers as they come.  Every wait ends after
 * WIRE_MS. */
#pragma once

#include "common/base.h" /* before cmocka.h, which has a macro of the name fail */

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define WIRE_MS        10000
#define WIRE_BYTES_MAX (64 * 1024)

struct wire {
    int fd;
    size_t bytes; /* read and not yet taken */
    char at[WIRE_BYTES_MAX + 1];
};

struct wire_answer {
    int status;
    size_t body_bytes;
    char head[8 * 1024];
    char body[WIRE_BYTES_MAX + 1];
};

static inline struct wire *wire_open_from(uint16_t port, const char *from)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons(port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in own = { .sin_family = AF_INET, .sin_addr.s_addr = inet_addr(from) };
    struct wire *wire = calloc(1, sizeof(*wire));

    assert_non_null(wire);
    wire->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(wire->fd, (struct sockaddr *)&own, sizeof(own)), 0);
    assert_int_equal(connect(wire->fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(wire->fd, IPPROTO_TCP, TCP_NODELAY, &(int){ 1 }, sizeof(int));
    return wire;
}

static inline struct wire *wire_open(uint16_t port)
{
    return wire_open_from(port, "127.0.0.1");
}

static inline void wire_close(struct wire *wire)
{
    close(wire->fd);
    free(wire);
}

/* False when the other side has gone. */
static inline bool wire_try_send(struct wire *wire, const void *at, size_t bytes)
{
    const char *from = at;

    while (bytes > 0) {
        ssize_t sent = send(wire->fd, from, bytes, MSG_NOSIGNAL);
        if (sent < 0)
            return false;
        from += sent;
        bytes -= (size_t)sent;
    }
    return true;
}

static inline void wire_send(struct wire *wire, const char *string)
{
    assert_true(wire_try_send(wire, string, strlen(string)));
}

static inline bool wire_readable(struct wire *wire, int ms)
{
    return poll(&(struct pollfd){ .fd = wire->fd, .events = POLLIN }, 1, ms) == 1;
}

/* Reads once more; 0 at the end, which a reset is too. */
static inline size_t wire_more(struct wire *wire)
{
    assert_true(wire_readable(wire, WIRE_MS));
    assert_true(wire->bytes < WIRE_BYTES_MAX);
    ssize_t bytes = recv(wire->fd, wire->at + wire->bytes, WIRE_BYTES_MAX - wire->bytes, 0);
    if (bytes <= 0)
        return 0;
    wire->bytes += (size_t)bytes;
    wire->at[wire->bytes] = '\0';
    return (size_t)bytes;
}

static inline void wire_need(struct wire *wire, size_t bytes)
{
    while (wire->bytes < bytes)
        assert_true(wire_more(wire) > 0);
}

static inline void wire_take(struct wire *wire, size_t bytes)
{
    memmove(wire->at, wire->at + bytes, wire->bytes - bytes + 1);
    wire->bytes -= bytes;
}

static inline void wire_answer(struct wire *wire, bool has_body, struct wire_answer *ret)
{
    const char *end;

    while ((end = strstr(wire->at, "\r\n\r\n")) == NULL)
        assert_true(wire_more(wire) > 0);
    size_t head_bytes = (size_t)(end - wire->at) + 4;
    assert_true(head_bytes < sizeof(ret->head));
    memcpy(ret->head, wire->at, head_bytes);
    ret->head[head_bytes] = '\0';
    assert_int_equal(sscanf(ret->head, "HTTP/1.%*d %d", &ret->status), 1);
    const char *length = strcasestr(ret->head, "\r\nContent-Length: ");
    ret->body_bytes = length != NULL && has_body ? strtoul(length + 18, NULL, 10) : 0;
    wire_need(wire, head_bytes + ret->body_bytes);
    memcpy(ret->body, wire->at + head_bytes, ret->body_bytes);
    ret->body[ret->body_bytes] = '\0';
    wire_take(wire, head_bytes + ret->body_bytes);
}

/* One request, one answer. */
static inline int wire_ask(struct wire *wire, const char *request, struct wire_answer *ret)
{
    wire_send(wire, request);
    wire_answer(wire, strncmp(request, "HEAD", 4) != 0, ret);
    return ret->status;
}

static inline void wire_ends(struct wire *wire)
{
    while (wire_more(wire) > 0)
        wire->bytes = 0;
}
