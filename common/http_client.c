/* http_client.c: the calls' way through the engine.
 *
 * A call lives on its caller's stack: pushed onto `inbox`, taken by the engine into its host's queue, given a transfer
 * when there is room, and woken by a futex of its own when it has a result.  A redirect puts it back into a queue, that
 * of the new host. Counting is by call and not by connection, so that waiting is first come, first served for each host
 * and in turn between hosts; libcurl's own limits only make it close idle connections of one host in favour of another.
 */
#include "common/http_client.h"
#include "common/http_transfer.h"

#include <assert.h>
#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#define SWEEP_EVERY_US   INT64_C(50000) /* how late a time-out, a stall or a queue's end may be noticed */
#define EVENTS_PER_WAIT  256
#define STOPPING_WAIT_MS 1 /* between looks whether the last caller has left */

/* One origin, as long as it has calls.  In `hungry` while some of them wait. */
struct http_host {
    TAILQ_ENTRY(http_host) known;
    TAILQ_ENTRY(http_host) hungry;
    TAILQ_HEAD(, call) waiting;
    int64_t under_way;
    char origin[HTTP_ORIGIN_BYTES];
};

struct http_client {
    int64_t connections_max;
    int64_t connections_per_host_max;
    pthread_t thread;
    int wake_fd;

    /* shared with callers */
    _Atomic(struct call *) inbox; /* last in, first out */
    atomic_bool sleeping;         /* the engine must be woken through wake_fd */
    atomic_bool look;             /* a `cancelled` was set */
    atomic_bool hurrying;
    atomic_bool stopping;
    atomic_int_fast64_t in_flight;

    /* the engine's own */
    struct http_engine engine;
    TAILQ_HEAD(, call) calls;
    TAILQ_HEAD(, http_host) hosts, hungry;
    SLIST_HEAD(, transfer) free;
    int64_t under_way; /* calls with a transfer */
    int64_t timer_us;  /* when libcurl wants to be called; -1: it does not */
    int64_t sweep_us;  /* when the calls are looked through next */
};

/* --- the callers' side ------------------------------------------------------------------------------------------- */

static void wake_engine(struct http_client *client)
{
    uint64_t one = 1;
    if (atomic_exchange(&client->sleeping, false))
        while (write(client->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
            ;
}

static void hand_over(struct http_client *client, struct call *call)
{
    call->earlier = atomic_load(&client->inbox);
    while (!atomic_compare_exchange_weak(&client->inbox, &call->earlier, call))
        ;
    wake_engine(client);
}

enum http_result http_call(struct http_client *client, const struct http_request *request, struct arena *arena,
                           struct http_reply *ret, struct problem *why)
{
    assert(request->timeout_ms > 0);
    assert(request->answer_bytes_max > 0);
    struct call call = { .request = request, .arena = arena, .reply = ret, .why = why, .called_us = monotonic_us() };
    *ret = (struct http_reply){ .content_type = "", .retry_after_ms = -1 };

    atomic_fetch_add(&client->in_flight, 1);
    hand_over(client, &call);
    while (atomic_load_explicit(&call.done, memory_order_acquire) == 0)
        syscall(SYS_futex, &call.done, FUTEX_WAIT_PRIVATE, 0, NULL, NULL, 0);
    atomic_fetch_sub(&client->in_flight, 1);
    return ret->result;
}

void http_call_begin(struct http_client *client, const struct http_request *request, struct arena *arena,
                     struct http_reply *ret, struct problem *why, void (*told)(void *context), void *context)
{
    assert(request->timeout_ms > 0);
    assert(request->answer_bytes_max > 0);
    struct call *call = must_alloc(sizeof(*call));
    *call = (struct call){ .request = request,
                           .arena = arena,
                           .reply = ret,
                           .why = why,
                           .called_us = monotonic_us(),
                           .told = told,
                           .context = context };
    *ret = (struct http_reply){ .content_type = "", .retry_after_ms = -1 };
    atomic_fetch_add(&client->in_flight, 1);
    hand_over(client, call);
}

bool http_leads_to(const char *url, const char *base)
{
    const char *host = strstr(base, "://");
    size_t origin = host != NULL ? (size_t)(host + 3 - base) + strcspn(host + 3, "/?#") : strlen(base);
    return strncmp(url, base, origin) == 0 && url[origin] == '/';  /* no port, no name that goes on, no "@" */
}

void http_client_wake(struct http_client *client)
{
    atomic_store(&client->look, true);
    wake_engine(client);
}

void http_client_hurry(struct http_client *client)
{
    atomic_store(&client->hurrying, true);
    http_client_wake(client);
}

int64_t http_client_in_flight(const struct http_client *client)
{
    return atomic_load(&client->in_flight);
}

/* --- hosts ------------------------------------------------------------------------------------------------------- */

static struct http_host *host_of(struct http_client *client, const char *origin)
{
    struct http_host *host;
    for (host = TAILQ_FIRST(&client->hosts); host != NULL; host = TAILQ_NEXT(host, known))
        if (strcmp(host->origin, origin) == 0)
            return host;
    host = must_alloc(sizeof(*host));
    strcpy(host->origin, origin);
    TAILQ_INIT(&host->waiting);
    TAILQ_INSERT_HEAD(&client->hosts, host, known);
    return host;
}

static void host_forget_idle(struct http_client *client, struct http_host *host)
{
    if (host->under_way > 0 || !TAILQ_EMPTY(&host->waiting))
        return;
    TAILQ_REMOVE(&client->hosts, host, known);
    free(host);
}

static void host_add_waiting(struct http_client *client, struct http_host *host, struct call *call)
{
    if (TAILQ_EMPTY(&host->waiting))
        TAILQ_INSERT_TAIL(&client->hungry, host, hungry);
    TAILQ_INSERT_TAIL(&host->waiting, call, waiting);
    call->host = host;
}

static void host_remove_waiting(struct http_client *client, struct http_host *host, struct call *call)
{
    TAILQ_REMOVE(&host->waiting, call, waiting);
    if (TAILQ_EMPTY(&host->waiting))
        TAILQ_REMOVE(&client->hungry, host, hungry);
}

/* --- a call's way ------------------------------------------------------------------------------------------------ */

/* The caller runs again, or is told; the call is gone with its next step. */
static void finish(struct http_client *client, struct call *call, enum http_result result)
{
    TAILQ_REMOVE(&client->calls, call, held);
    free(call->redirected_to);
    call->reply->result = result;
    call->reply->took_us = monotonic_us() - call->called_us;
    if (call->told != NULL) {
        call->told(call->context);
        free(call);
        atomic_fetch_sub(&client->in_flight, 1);
        return;
    }
    atomic_store_explicit(&call->done, 1, memory_order_release);
    syscall(SYS_futex, &call->done, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0);
}

static bool is_cancelled(const struct http_client *client, const struct call *call)
{
    const volatile bool *cancelled = call->request->cancelled;
    return atomic_load(&client->stopping) || (call->request->repeatable && atomic_load(&client->hurrying))
           || (cancelled != NULL && __atomic_load_n(cancelled, __ATOMIC_ACQUIRE));
}

/* Into the queue of the host of its current URL. */
static void enqueue(struct http_client *client, struct call *call)
{
    char origin[HTTP_ORIGIN_BYTES];
    if (!call_origin(&client->engine, call, origin, call->why)) {
        finish(client, call, HTTP_FORBIDDEN);
    } else if (is_cancelled(client, call)) {
        fail(call->why, "the request to %s was cancelled", origin);
        finish(client, call, HTTP_CANCELLED);
    } else {
        host_add_waiting(client, host_of(client, origin), call);
    }
}

/* Takes the call out of its queue or off libcurl. */
static void release(struct http_client *client, struct call *call)
{
    struct http_host *host = call->host;
    if (call->transfer != NULL) {
        SLIST_INSERT_HEAD(&client->free, call->transfer, free);
        transfer_end(call->transfer);
        client->under_way--;
        host->under_way--;
    } else {
        host_remove_waiting(client, host, call);
    }
    call->host = NULL;
    host_forget_idle(client, host);
}

static void start(struct http_client *client, struct call *call)
{
    struct http_host *host = call->host;
    struct transfer *transfer = SLIST_FIRST(&client->free);
    if (transfer != NULL)
        SLIST_REMOVE_HEAD(&client->free, free);
    else
        transfer = transfer_new(&client->engine);

    host_remove_waiting(client, host, call);
    client->under_way++;
    host->under_way++;
    if (!transfer_begin(transfer, call, host->origin)) {
        release(client, call);
        finish(client, call, call_was_sent(call) ? HTTP_BROKEN : HTTP_NOT_SENT);
    }
}

/* The next host in turn that may have one more call under way. */
static struct http_host *next_hungry(struct http_client *client)
{
    struct http_host *host = TAILQ_FIRST(&client->hungry);
    while (host != NULL && host->under_way >= client->connections_per_host_max)
        host = TAILQ_NEXT(host, hungry);
    return host;
}

static void start_waiting(struct http_client *client)
{
    struct http_host *host;
    while (client->under_way < client->connections_max && (host = next_hungry(client)) != NULL) {
        TAILQ_REMOVE(&client->hungry, host, hungry);
        TAILQ_INSERT_TAIL(&client->hungry, host, hungry);
        start(client, TAILQ_FIRST(&host->waiting));
    }
}

/* In the order of their coming. */
static void take_inbox(struct http_client *client)
{
    struct call *call = atomic_exchange(&client->inbox, NULL);
    struct call *first = NULL;
    while (call != NULL) {
        struct call *earlier = call->earlier;
        call->earlier = first;
        first = call;
        call = earlier;
    }
    while (first != NULL) {
        call = first;
        first = call->earlier;
        TAILQ_INSERT_TAIL(&client->calls, call, held);
        enqueue(client, call);
    }
}

/* Gives what libcurl is done with its result; how many calls that freed. */
static size_t finish_done(struct http_client *client)
{
    size_t freed = 0;
    CURLMsg *message;
    int more;
    while ((message = curl_multi_info_read(client->engine.multi, &more)) != NULL) {
        char *private = NULL;
        CURLcode code = message->data.result;
        curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &private);
        struct transfer *transfer = (struct transfer *)private;
        struct call *call = transfer->call;

        freed++;
        if (transfer_redirects(transfer, code)) {
            release(client, call);
            enqueue(client, call);
        } else {
            enum http_result result = transfer_result(transfer, code);
            release(client, call);
            finish(client, call, result);
        }
    }
    return freed;
}

/* --- what ends a call from our side ------------------------------------------------------------------------------ */

/* Whether the call must end now, with what, and why. */
static bool must_end(const struct http_client *client, struct call *call, int64_t now, enum http_result *ret)
{
    const struct http_request *request = call->request;
    const char *origin = call->host->origin;
    struct transfer *transfer = call->transfer;

    if (is_cancelled(client, call)) {
        fail(call->why, "the request to %s was cancelled", origin);
        *ret = HTTP_CANCELLED;
        return true;
    }
    bool sent = call_was_sent(call);
    *ret = sent ? HTTP_BROKEN : HTTP_NOT_SENT;
    if (now - call->called_us >= request->timeout_ms * 1000) {
        const char *missed = sent               ? "no whole answer came from"
                             : transfer != NULL ? "could not reach"
                                                : "no connection became free to";
        fail(call->why, "%s %s within %lld ms", missed, origin, (long long)request->timeout_ms);
        return true;
    }
    if (request->stall_timeout_ms > 0 && transfer != NULL && transfer_stalled(transfer, now)) {
        fail(call->why, "nothing moved to or from %s for %lld ms", origin, (long long)request->stall_timeout_ms);
        return true;
    }
    return false;
}

static void sweep(struct http_client *client)
{
    int64_t now = monotonic_us();
    if (!atomic_exchange(&client->look, false) && now < client->sweep_us)
        return;
    client->sweep_us = now + SWEEP_EVERY_US;

    for (struct call *call = TAILQ_FIRST(&client->calls), *next; call != NULL; call = next) {
        enum http_result result;
        next = TAILQ_NEXT(call, held);
        if (must_end(client, call, now, &result)) {
            release(client, call);
            finish(client, call, result);
        }
    }
}

/* --- the loop ---------------------------------------------------------------------------------------------------- */

/* A CURLMOPT_TIMERFUNCTION. */
static int timer_changed(CURLM *multi, long timeout_ms, void *context)
{
    (void)multi;
    struct http_client *client = context;
    client->timer_us = timeout_ms < 0 ? -1 : monotonic_us() + timeout_ms * 1000;
    return 0;
}

static void run_timer(struct http_client *client)
{
    if (client->timer_us < 0 || client->timer_us > monotonic_us())
        return;
    int running;
    client->timer_us = -1;
    curl_multi_socket_action(client->engine.multi, CURL_SOCKET_TIMEOUT, 0, &running);
}

static int wait_ms(const struct http_client *client)
{
    if (atomic_load(&client->stopping))
        return STOPPING_WAIT_MS;
    int64_t until = client->timer_us;
    if (!TAILQ_EMPTY(&client->calls) && (until < 0 || client->sweep_us < until))
        until = client->sweep_us;
    if (until < 0)
        return -1;
    int64_t left_us = until - monotonic_us();
    return left_us > 0 ? (int)((left_us + 999) / 1000) : 0;
}

static void wait_for_events(struct http_client *client)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int timeout_ms = wait_ms(client);

    /* a caller that pushes after our look finds `sleeping` set, and wakes us */
    atomic_store(&client->sleeping, true);
    if (atomic_load(&client->inbox) != NULL || atomic_load(&client->look))
        timeout_ms = 0;
    int count = epoll_wait(client->engine.sockets.epoll_fd, events, EVENTS_PER_WAIT, timeout_ms);
    atomic_store(&client->sleeping, false);

    for (int i = 0; i < count; i++) {
        uint64_t wakes;
        if (events[i].data.fd != client->wake_fd)
            http_socket_ready(&client->engine.sockets, events[i].data.fd, events[i].events);
        else if (read(client->wake_fd, &wakes, sizeof(wakes)) < 0 && errno != EAGAIN)
            abort(); /* a bug: the descriptor is ours alone */
    }
}

static void *run_engine(void *context)
{
    struct http_client *client = context;
    while (!atomic_load(&client->stopping) || atomic_load(&client->in_flight) > 0) {
        wait_for_events(client);
        take_inbox(client);
        sweep(client);
        do {
            start_waiting(client);
            run_timer(client);
        } while (finish_done(client) > 0);
    }
    return NULL;
}

/* --- start and stop ---------------------------------------------------------------------------------------------- */

static bool engine_open(struct http_client *client, const struct http_client_settings *settings, struct problem *why)
{
    struct http_engine *engine = &client->engine;
    engine->user_agent = settings->user_agent != NULL ? must_copy(settings->user_agent) : NULL;
    engine->guard = address_guard_new(settings->allowed_private, why);
    if (engine->guard == NULL)
        return false;

    engine->multi = curl_multi_init();
    engine->share = curl_share_init();
    engine->address = curl_url();
    if (engine->multi == NULL || engine->share == NULL || engine->address == NULL)
        return fail(why, "could not start the HTTP client: out of memory");
    curl_share_setopt(engine->share, CURLSHOPT_SHARE, CURL_LOCK_DATA_SSL_SESSION);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERFUNCTION, timer_changed);
    curl_multi_setopt(engine->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(engine->multi, CURLMOPT_PIPELINING, (long)CURLPIPE_MULTIPLEX);
    curl_multi_setopt(engine->multi, CURLMOPT_MAXCONNECTS, (long)client->connections_max);
    curl_multi_setopt(engine->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)client->connections_max);
    curl_multi_setopt(engine->multi, CURLMOPT_MAX_HOST_CONNECTIONS, (long)client->connections_per_host_max);
    return http_sockets_open(&engine->sockets, engine->multi, why);
}

static void engine_close(struct http_client *client)
{
    struct http_engine *engine = &client->engine;
    struct transfer *transfer;
    while ((transfer = SLIST_FIRST(&client->free)) != NULL) {
        SLIST_REMOVE_HEAD(&client->free, free);
        transfer_free(transfer);
    }
    curl_multi_cleanup(engine->multi);
    http_sockets_done(&engine->sockets);
    curl_share_cleanup(engine->share);
    curl_url_cleanup(engine->address);
    address_guard_free(engine->guard);
    free(engine->user_agent);
}

static bool thread_start(struct http_client *client, struct problem *why)
{
    struct epoll_event event = { .events = EPOLLIN, .data.fd = client->wake_fd };
    if (client->wake_fd < 0 || epoll_ctl(client->engine.sockets.epoll_fd, EPOLL_CTL_ADD, client->wake_fd, &event) < 0)
        return fail(why, "could not start the HTTP client: %s", strerror(errno));

    static const int crashes[] = { SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP };
    sigset_t others, before; /* these are for the threads that know what to do with them */
    sigfillset(&others);
    for (size_t i = 0; i < LENGTH(crashes); i++)
        sigdelset(&others, crashes[i]);
    pthread_sigmask(SIG_SETMASK, &others, &before);
    int error = pthread_create(&client->thread, NULL, run_engine, client);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (error != 0)
        return fail(why, "could not start the HTTP client's thread: %s", strerror(error));
    pthread_setname_np(client->thread, "http out");
    return true;
}

static void client_free(struct http_client *client)
{
    engine_close(client);
    if (client->wake_fd >= 0)
        close(client->wake_fd);
    free(client);
    curl_global_cleanup();
}

struct http_client *http_client_start(const struct http_client_settings *settings, struct problem *why)
{
    assert(settings->connections_max > 0);
    assert(settings->connections_per_host_max > 0);
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);
    if (code != CURLE_OK) {
        fail(why, "could not start the HTTP client: %s", curl_easy_strerror(code));
        return NULL;
    }
    struct http_client *client = must_alloc(sizeof(*client));
    client->connections_max = settings->connections_max;
    client->connections_per_host_max = settings->connections_per_host_max;
    client->timer_us = -1;
    client->engine.sockets.epoll_fd = -1;
    client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    TAILQ_INIT(&client->calls);
    TAILQ_INIT(&client->hosts);
    TAILQ_INIT(&client->hungry);
    SLIST_INIT(&client->free);
    if (engine_open(client, settings, why) && thread_start(client, why))
        return client;
    client_free(client);
    return NULL;
}

/* The engine goes on, ending every call it is given, until the last caller has left http_call(). */
void http_client_stop(struct http_client *client)
{
    if (client == NULL)
        return;
    atomic_store(&client->stopping, true);
    http_client_wake(client);
    pthread_join(client->thread, NULL);
    client_free(client);
}
