#include "common/http_sockets.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define SOCKETS_COUNT_MIN 256

static struct http_socket *socket_at(struct http_sockets *sockets, int fd)
{
    if ((size_t)fd >= sockets->count) {
        size_t count = sockets->count > 0 ? sockets->count : SOCKETS_COUNT_MIN;
        while (count <= (size_t)fd)
            count *= 2;
        sockets->at = must_realloc(sockets->at, count * sizeof(*sockets->at));
        memset(sockets->at + sockets->count, 0, (count - sockets->count) * sizeof(*sockets->at));
        sockets->count = count;
    }
    return &sockets->at[fd];
}

static void register_events(struct http_sockets *sockets, int fd, uint32_t events)
{
    struct http_socket *socket = socket_at(sockets, fd);
    if (events == socket->registered)
        return;
    struct epoll_event event = { .events = events, .data.fd = fd };
    int action = events == 0 ? EPOLL_CTL_DEL : socket->registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD;
    /* a failure here (out of memory or of watches) leaves the call to its time-out */
    epoll_ctl(sockets->epoll_fd, action, fd, &event);
    socket->registered = events;
}

/* A CURLMOPT_SOCKETFUNCTION. */
static int socket_changed(CURL *easy, curl_socket_t fd, int what, void *context, void *unused)
{
    (void)easy, (void)unused;
    struct http_sockets *sockets = context;
    struct http_socket *socket = socket_at(sockets, fd);

    socket->wanted = 0;
    if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
        socket->wanted |= EPOLLIN;
    if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
        socket->wanted |= EPOLLOUT;

    bool already = (socket->wanted & ~socket->registered) == 0;
    if (!socket->ours || !already)
        register_events(sockets, fd, socket->wanted);
    return 0;
}

void http_socket_ready(struct http_sockets *sockets, int fd, uint32_t events)
{
    struct http_socket *socket = socket_at(sockets, fd);
    uint32_t broken = events & (EPOLLERR | EPOLLHUP);

    if (socket->wanted == 0 || (events & ~(socket->wanted | EPOLLERR | EPOLLHUP)) != 0)
        register_events(sockets, fd, socket->wanted);
    if (socket->wanted == 0 || ((events & socket->wanted) == 0 && broken == 0))
        return;

    int ready = broken != 0 ? CURL_CSELECT_ERR : 0;
    if (events & EPOLLIN)
        ready |= CURL_CSELECT_IN;
    if (events & EPOLLOUT)
        ready |= CURL_CSELECT_OUT;
    int running;
    curl_multi_socket_action(sockets->multi, fd, ready, &running);
}

curl_socket_t http_socket_new(struct http_sockets *sockets, const struct curl_sockaddr *address)
{
    int fd = socket(address->family, address->socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address->protocol);
    if (fd < 0)
        return CURL_SOCKET_BAD;
    *socket_at(sockets, fd) = (struct http_socket){ .ours = true };
    return fd;
}

int http_socket_close(void *context, curl_socket_t fd)
{
    struct http_sockets *sockets = context;
    *socket_at(sockets, fd) = (struct http_socket){ 0 }; /* closing takes it out of the epoll set */
    return close(fd);
}

bool http_sockets_open(struct http_sockets *sockets, CURLM *multi, struct problem *why)
{
    *sockets = (struct http_sockets){ .multi = multi, .epoll_fd = epoll_create1(EPOLL_CLOEXEC) };
    if (sockets->epoll_fd < 0)
        return fail(why, "could not create an epoll set: %s", strerror(errno));
    curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_changed);
    curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, sockets);
    return true;
}

void http_sockets_done(struct http_sockets *sockets)
{
    if (sockets->epoll_fd >= 0)
        close(sockets->epoll_fd);
    free(sockets->at);
}
