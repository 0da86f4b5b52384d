#include "deploy/sb/probe.h"

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/json.h"

#define PROBES_MAX             32
#define DETAIL_ARENA_BYTES_MAX (256 * 1024)

int listen_port(const char *listen)
{
    return atoi(strrchr(listen, ':') + 1);
}

void listen_address(const char *listen, char *ret, size_t room)
{
    const char *colon = strrchr(listen, ':');
    bool bracketed = *listen == '[';
    const char *start = listen + bracketed;
    snprintf(ret, room, "%.*s", (int)(colon - bracketed - start), start);
    if (strcmp(ret, "0.0.0.0") == 0)
        snprintf(ret, room, "127.0.0.1");
    else if (strcmp(ret, "::") == 0)
        snprintf(ret, room, "::1");
}

static enum probe_result finish(struct probe *probe, enum probe_result result)
{
    if (probe->socket >= 0)
        close(probe->socket);
    probe->socket = -1;
    return probe->result = result;
}

static enum probe_result bad(struct probe *probe, const char *what, const char *reason)
{
    snprintf(probe->said, sizeof(probe->said), "%s%s%s", what, *reason ? ": " : "", reason);
    return finish(probe, PROBE_BAD);
}

void probe_end(struct probe *probe)
{
    if (probe->listen && probe->socket >= 0)
        close(probe->socket);
    probe->socket = -1;
    buf_done(&probe->answer);
}

enum probe_result probe_start(struct probe *probe, const char *listen, const char *path, size_t answer_bytes_max)
{
    char host[128], port[8];
    struct addrinfo *address = NULL;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM };

    probe_end(probe);
    *probe = (struct probe){
        .socket = -1, .listen = listen, .path = path, .deadline_us = monotonic_us() + PROBE_TIMEOUT_MS * INT64_C(1000)
    };
    buf_init(&probe->answer, answer_bytes_max);
    listen_address(listen, host, sizeof(host));
    snprintf(port, sizeof(port), "%d", listen_port(listen));
    int wrong = getaddrinfo(host, port, &hints, &address);
    if (wrong != 0)
        return bad(probe, host, gai_strerror(wrong));
    probe->socket = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int connected = probe->socket < 0 ? -1 : connect(probe->socket, address->ai_addr, address->ai_addrlen);
    freeaddrinfo(address);
    if (connected < 0 && errno != EINPROGRESS)
        return bad(probe, "no connection", strerror(errno));
    return PROBE_PENDING;
}

short probe_events(const struct probe *probe)
{
    return probe->connected && probe->path && probe->sent == SIZE_MAX ? POLLIN : POLLOUT;
}

static enum probe_result check_connection(struct probe *probe)
{
    int error = 0;
    socklen_t bytes = sizeof(error);
    struct sockaddr_storage peer;
    socklen_t peer_bytes = sizeof(peer);

    if (getsockopt(probe->socket, SOL_SOCKET, SO_ERROR, &error, &bytes) != 0 || error != 0)
        return bad(probe, "no connection", strerror(error));
    if (getpeername(probe->socket, (struct sockaddr *)&peer, &peer_bytes) != 0)
        return PROBE_PENDING;
    probe->connected = true;
    return PROBE_GOOD;
}

static enum probe_result send_request(struct probe *probe)
{
    char request[512];
    int bytes = snprintf(request, sizeof(request), "GET %s HTTP/1.0\r\nHost: %s\r\nUser-Agent: sb\r\n\r\n", probe->path,
                         probe->listen);
    /* smaller than any socket's buffer: it goes at once or not at all */
    if (send(probe->socket, request, (size_t)bytes, MSG_NOSIGNAL) != bytes)
        return bad(probe, "the connection broke", strerror(errno));
    probe->sent = SIZE_MAX;
    return PROBE_PENDING;
}

struct text probe_body(const struct probe *probe)
{
    struct text all = buf_text(&probe->answer);
    const char *body = memmem(all.at, all.bytes, "\r\n\r\n", 4);
    return body ? (struct text){ body + 4, all.bytes - (size_t)(body + 4 - all.at) } : TEXT("");
}

/* The sentence of a problem document (RFC 9457), else the status line. */
static enum probe_result judge(struct probe *probe)
{
    struct text all = buf_text(&probe->answer);
    struct json_value value, detail;
    struct problem why;

    if (all.bytes < sizeof("HTTP/1.0 200") - 1 || strncmp(all.at, "HTTP/1.", 7) != 0)
        return bad(probe, "it answers, but not with HTTP", "");
    if (strncmp(all.at + 8, " 200", 4) == 0)
        return finish(probe, PROBE_GOOD);
    CLEANUP(arena_freep) struct arena *arena = arena_new(DETAIL_ARENA_BYTES_MAX);
    if (json_parse(probe_body(probe), &value, &why) && json_find(value, "detail", &detail) &&
        detail.kind == JSON_STRING)
        return bad(probe, json_string(detail, arena), "");
    return bad(probe, "status", arena_copy_text(arena, (struct text){ all.at + 9, strcspn(all.at + 9, "\r\n") }));
}

static enum probe_result take_answer(struct probe *probe)
{
    char piece[16384];
    for (;;) {
        ssize_t bytes = recv(probe->socket, piece, sizeof(piece), 0);
        if (bytes < 0 && errno == EAGAIN)
            return PROBE_PENDING;
        if (bytes < 0 && errno != EINTR)
            return bad(probe, "the connection broke", strerror(errno));
        if (bytes == 0)
            return judge(probe);
        buf_add(&probe->answer, piece, bytes > 0 ? (size_t)bytes : 0);
    }
}

enum probe_result probe_go_on(struct probe *probe)
{
    if (monotonic_us() >= probe->deadline_us)
        return bad(probe, probe->connected ? "no answer in time" : "no connection in time", "");
    if (!probe->connected) {
        enum probe_result connected = check_connection(probe);
        if (connected != PROBE_GOOD)
            return connected;
        if (probe->path == NULL)
            return finish(probe, PROBE_GOOD);
    }
    return probe->sent == SIZE_MAX ? take_answer(probe) : send_request(probe);
}

void probe_wait(struct probe *const *probes, size_t count)
{
    struct pollfd waits[PROBES_MAX];

    assert(count <= PROBES_MAX);
    for (;;) {
        int64_t deadline_us = INT64_MAX;
        for (size_t i = 0; i < count; i++) {
            bool open = probes[i]->socket >= 0;
            waits[i] = (struct pollfd){ .fd = probes[i]->socket, .events = open ? probe_events(probes[i]) : 0 };
            if (open && probes[i]->deadline_us < deadline_us)
                deadline_us = probes[i]->deadline_us;
        }
        if (deadline_us == INT64_MAX)
            return;
        int64_t left_ms = (deadline_us - monotonic_us()) / 1000 + 1;
        poll(waits, count, left_ms > 0 ? (int)left_ms : 0);
        for (size_t i = 0; i < count; i++)
            if (probes[i]->socket >= 0 && (waits[i].revents || monotonic_us() >= probes[i]->deadline_us))
                probe_go_on(probes[i]);
    }
}
