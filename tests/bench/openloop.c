/* openloop: how long a request waits for its answer, at a steady rate.
 *
 *     openloop --port 5000 --key SECRET --rate 200 --seconds 3 --warm-seconds 1 --prefix run1
 *     openloop --port 5000 --token sb_… --targets FILE --rate 50
 *
 * With --key, CALLRAIL_SIGNING_KEY, CallRail's webhooks of 1 KiB, signed, each of another call.  With --token, what the
 * file has, a path with its query a line, is asked for in turns.  Open loop: a request is due every 1/rate seconds
 * whatever became of those before, and the time runs from when it was due until its answer is
 * whole, so a stall shows in all that were due meanwhile.  Kept connections, opened before; the one that was idle the
 * longest is next.  Requests are made and signed before the first is due.  What was due in the warm seconds does not
 * count. */
#include "tests/bench/tool.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <strings.h>
#include <unistd.h>

#define BODY_BYTES 1024
#define REQUEST_BYTES_MAX 2048
#define HEAD_BYTES_MAX 8192             /* of an answer, with what came of its body at once */
#define TARGETS_MAX 1000
#define CONNECTIONS_MAX 256
#define PATH "/api/v1/callrail/call.completed"
#define ANSWERS_WAIT_MS 10000           /* for the last ones */

struct options {
    const char *key, *prefix, *token, *targets_path;
    long port, rate, seconds, warm_seconds, connections;
};

struct request {
    size_t bytes;
    char text[REQUEST_BYTES_MAX];
};

struct connection {
    struct connection *next;            /* while idle */
    int fd;
    long n;                             /* what it waits for; 0: idle */
    long status;                        /* 0: the head of the answer is not whole */
    size_t bytes, left;                 /* of the head so far; of the body, once the head is whole */
    char head[HEAD_BYTES_MAX + 1];
};

static struct request *requests;        /* by n, from 1 */
static int64_t *due_us;
static long count, sent, answered, refused;
static struct connection *connections;
static struct connection *idle_first, *idle_last;
static char targets[TARGETS_MAX][REQUEST_BYTES_MAX / 2];
static long target_count;

/* --- requests ----------------------------------------------------------------------------------------------------- */

static void read_targets(const char *path)
{
    FILE *file = fopen(path, "re");
    if (!file)
        stop("openloop: could not open %s: %s", path, strerror(errno));
    while (target_count < TARGETS_MAX && fgets(targets[target_count], sizeof(targets[0]), file)) {
        char *line = targets[target_count];
        line[strcspn(line, "\n")] = '\0';
        target_count += *line == '/';
    }
    fclose(file);
    if (target_count == 0)
        stop("openloop: there is no path in %s", path);
}

static void make_question(struct request *request, const struct options *options, long n)
{
    request->bytes = (size_t)snprintf(request->text, sizeof(request->text),
                                      "GET %s HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer %s\r\n\r\n",
                                      targets[n % target_count], options->token);
    if (request->bytes >= sizeof(request->text))
        stop("openloop: a path or the token is too long");
}

static void make_webhook(struct request *request, const struct options *options, long n)
{
    char body[BODY_BYTES + 1], signature[BASE64_BYTES(SHA1_BYTES)];
    uint8_t code[SHA1_BYTES];
    int bytes = snprintf(body, sizeof(body),
                         "{\"call_id\":\"%s-%ld\",\"tracking_number\":\"+15550100009\","
                         "\"caller_number\":\"+1555%07ld\",\"answered\":true,\"duration\":\"61\",\"direction\":\"inbound\","
                         "\"recording_url\":\"https://recordings.example.test/%s-%ld.wav\","
                         "\"timestamp\":\"2026-11-21T07:00:00.000Z\",\"note\":\"",
                         options->prefix, n, n, options->prefix, n);
    if (bytes < 0 || bytes > BODY_BYTES - 2)
        stop("openloop: the prefix is too long");
    memset(body + bytes, 'x', (size_t)(BODY_BYTES - 2 - bytes));
    memcpy(body + BODY_BYTES - 2, "\"}", 3);
    hmac_sha1(text_of(options->key), &(struct text){ body, BODY_BYTES }, 1, code);
    request->bytes = (size_t)snprintf(request->text, sizeof(request->text),
                                      "POST " PATH " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
                                      "Signature: %s\r\nContent-Length: %d\r\n\r\n%s",
                                      base64_print(code, sizeof(code), signature), BODY_BYTES, body);
}

/* --- connections -------------------------------------------------------------------------------------------------- */

static void idle_add(struct connection *connection)
{
    connection->n = connection->status = 0;
    connection->bytes = connection->left = 0;
    connection->next = NULL;
    *(idle_last ? &idle_last->next : &idle_first) = connection;
    idle_last = connection;
}

static void connection_open(struct connection *connection, long port)
{
    struct sockaddr_in address = { .sin_family = AF_INET,
                                   .sin_port = htons((uint16_t)port),
                                   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int one = 1;
    connection->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (connection->fd < 0 || connect(connection->fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0 ||
        fcntl(connection->fd, F_SETFL, O_NONBLOCK) < 0)
        stop("openloop: could not connect to 127.0.0.1:%ld: %s", port, strerror(errno));
    idle_add(connection);
}

/* Once the head of an answer is whole: its status, and how much of the body is still to come. */
static void read_head(struct connection *connection)
{
    connection->head[connection->bytes] = '\0';
    const char *end = strstr(connection->head, "\r\n\r\n");
    if (!end)
        return;
    const char *length = strcasestr(connection->head, "\r\nContent-Length:");
    size_t body_bytes = length && length < end ? strtoul(length + 17, NULL, 10) : 0;
    connection->left = (size_t)(end + 4 - connection->head) + body_bytes - connection->bytes;
    connection->status = strtol(connection->head + strlen("HTTP/1.1 "), NULL, 10);
}

/* Of a body it only matters that it came. */
static void receive(struct connection *connection, const struct options *options, struct samples *took)
{
    static char body[64 * 1024];
    bool in_head = connection->status == 0;
    ssize_t got = in_head ? recv(connection->fd, connection->head + connection->bytes, HEAD_BYTES_MAX - connection->bytes, 0)
                          : recv(connection->fd, body, sizeof(body), 0);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0 || connection->n == 0)
        stop("openloop: a kept connection was closed, or was answered unasked");
    if (in_head) {
        connection->bytes += (size_t)got;
        read_head(connection);
    } else {
        connection->left -= (size_t)got;
    }
    if (connection->status == 0 || connection->left > 0)
        return;
    answered++;
    if (connection->status < 200 || connection->status > 299)
        refused++;
    else if (connection->n > options->rate * options->warm_seconds)
        samples_add(took, monotonic_us() - due_us[connection->n]);
    idle_add(connection);
}

static void send_due(int64_t now_us, struct samples *late)
{
    while (sent < count && due_us[sent + 1] <= now_us && idle_first) {
        struct connection *connection = idle_first;
        const struct request *request = &requests[++sent];
        idle_first = connection->next;
        if (!idle_first)
            idle_last = NULL;
        connection->n = sent;
        samples_add(late, monotonic_us() - due_us[sent]);
        if (send(connection->fd, request->text, request->bytes, MSG_NOSIGNAL) != (ssize_t)request->bytes)
            stop("openloop: could not send: %s", strerror(errno));
    }
}

/* --- the measurement ---------------------------------------------------------------------------------------------- */

static void wait_for_any(int64_t until_us, const struct options *options, struct samples *took)
{
    struct pollfd polled[CONNECTIONS_MAX];
    int64_t left_us = until_us - monotonic_us();
    struct timespec left = { .tv_sec = left_us / 1000000, .tv_nsec = left_us % 1000000 * 1000 };
    if (left_us < 0)
        left = (struct timespec){ 0 };
    for (long i = 0; i < options->connections; i++)
        polled[i] = (struct pollfd){ .fd = connections[i].fd, .events = POLLIN };
    if (ppoll(polled, (nfds_t)options->connections, &left, NULL) <= 0)
        return;
    for (long i = 0; i < options->connections; i++)
        if (polled[i].revents)
            receive(&connections[i], options, took);
}

static void measure(const struct options *options)
{
    struct samples took = { 0 }, late = { 0 };
    count = options->rate * (options->warm_seconds + options->seconds);
    requests = must_alloc((size_t)(count + 1) * sizeof(*requests));
    due_us = must_alloc((size_t)(count + 1) * sizeof(*due_us));
    connections = must_alloc((size_t)options->connections * sizeof(*connections));
    for (long n = 1; n <= count; n++)
        (options->token ? make_question : make_webhook)(&requests[n], options, n);
    for (long i = 0; i < options->connections; i++)
        connection_open(&connections[i], options->port);
    int64_t began = monotonic_us();
    for (long n = 1; n <= count; n++)
        due_us[n] = began + n * 1000000 / options->rate;
    int64_t end = due_us[count] + ANSWERS_WAIT_MS * 1000;
    while (answered < count && monotonic_us() < end) {
        send_due(monotonic_us(), &late);
        wait_for_any(sent < count && idle_first ? due_us[sent + 1] : end, options, &took);
    }
    printf("{\"sent\":%ld,\"answered\":%ld,\"not_2xx\":%ld,", sent, answered, refused);
    samples_print(&took, "ack");
    printf(",");
    samples_print(&late, "late");
    printf("}\n");
}

int main(int argc, char **argv)
{
    static const struct option names[] = {
        { "port", required_argument, NULL, 'p' },    { "key", required_argument, NULL, 'k' },
        { "rate", required_argument, NULL, 'r' },    { "seconds", required_argument, NULL, 's' },
        { "prefix", required_argument, NULL, 'x' },  { "warm-seconds", required_argument, NULL, 'w' },
        { "connections", required_argument, NULL, 'c' }, { "token", required_argument, NULL, 't' },
        { "targets", required_argument, NULL, 'g' },
        { 0 },
    };
    struct options options = { .rate = 200, .seconds = 3, .warm_seconds = 1, .connections = 16, .prefix = "openloop" };
    struct problem why;
    int option;
    while ((option = getopt_long(argc, argv, "", names, NULL)) != -1) {
        switch (option) {
        case 'p': options.port = number_of(optarg, 1, UINT16_MAX); break;
        case 'k': options.key = optarg; break;
        case 't': options.token = optarg; break;
        case 'g': options.targets_path = optarg; break;
        case 'r': options.rate = number_of(optarg, 1, 100000); break;
        case 's': options.seconds = number_of(optarg, 1, 3600); break;
        case 'w': options.warm_seconds = number_of(optarg, 0, 3600); break;
        case 'x': options.prefix = optarg; break;
        case 'c': options.connections = number_of(optarg, 1, CONNECTIONS_MAX); break;
        default: return EXIT_USAGE;
        }
    }
    bool asks = options.token && options.targets_path;
    if (!options.key == !asks || options.port == 0 || optind != argc) {
        fprintf(stderr, "usage: openloop --port PORT (--key KEY [--prefix TEXT] | --token TOKEN --targets FILE) [--rate N] "
                        "[--seconds N] [--warm-seconds N] [--connections N]\n");
        return EXIT_USAGE;
    }
    if (!crypto_init(&why))
        stop("openloop: %s", why.text);
    if (asks)
        read_targets(options.targets_path);
    measure(&options);
    return 0;
}
