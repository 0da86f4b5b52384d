/* probe.h: asks a part on this machine whether it is there: a connection, or GET of a path.  Never blocks; the caller
 * polls. */
#pragma once

#include "common/buf.h"

#define PROBE_TIMEOUT_MS 2000

enum probe_result {
    PROBE_PENDING,
    PROBE_GOOD, /* connected; or status 200 */
    PROBE_BAD,  /* `said` tells: no connection, no answer in time, or what the answer said */
};

struct probe {
    int socket; /* -1: nothing under way */
    bool connected;
    const char *listen; /* address:port; 0.0.0.0 and [::] are asked on loopback */
    const char *path;   /* NULL: a connection is enough */
    size_t sent;
    struct buf answer;
    int64_t deadline_us;
    enum probe_result result;
    char said[256];
};

/* `probe` was zeroed once; one whose socket is open is ended first. */
enum probe_result probe_start(struct probe *probe, const char *listen, const char *path, size_t answer_bytes_max);
short probe_events(const struct probe *probe);      /* for poll() on `socket` */
enum probe_result probe_go_on(struct probe *probe); /* after poll, or when the deadline has come */
void probe_end(struct probe *probe);
/* The body of a good answer. */
struct text probe_body(const struct probe *probe);

/* Goes on with all that were started until each has its result. */
void probe_wait(struct probe *const *probes, size_t count);

/* The port of address:port, and the address as one connects to it. */
int listen_port(const char *listen);
void listen_address(const char *listen, char *ret, size_t room); /* "127.0.0.1" */
