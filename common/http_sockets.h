/* http_sockets.h: libcurl's sockets in an epoll set; private to the HTTP client.
 *
 * libcurl lets go of a socket after each answer and takes it up again for the next.  Sockets made by
 * http_socket_new() stay in the epoll set meanwhile, which saves two system calls a request; what fires without being
 * wanted is taken out then.
 * Threads: the engine's only, after http_sockets_open(). */
#pragma once

#include "common/base.h"

#include <curl/curl.h>
#include <sys/epoll.h>

struct http_socket {
    bool ours;              /* made here: its end is told to http_socket_close() */
    uint32_t registered;    /* epoll events it is in the set for; 0: not in it */
    uint32_t wanted;        /* epoll events libcurl waits for */
};

struct http_sockets {
    CURLM *multi;
    int epoll_fd;
    struct http_socket *at; /* by file descriptor */
    size_t count;
};

bool http_sockets_open(struct http_sockets *sockets, CURLM *multi, struct problem *why);
void http_sockets_done(struct http_sockets *sockets);       /* after curl_multi_cleanup() */

/* An epoll event of one of them: libcurl goes on with it. */
void http_socket_ready(struct http_sockets *sockets, int fd, uint32_t events);

curl_socket_t http_socket_new(struct http_sockets *sockets, const struct curl_sockaddr *address);
int http_socket_close(void *sockets, curl_socket_t fd);     /* a CURLOPT_CLOSESOCKETFUNCTION */
