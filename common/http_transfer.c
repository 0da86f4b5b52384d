#include "common/http_transfer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

struct transfer *transfer_new(struct http_engine *engine)
{
    struct transfer *transfer = must_alloc(sizeof(*transfer));
    transfer->engine = engine;
    return transfer;
}

void transfer_free(struct transfer *transfer)
{
    buf_done(&transfer->body);
    free(transfer);
}

/* --- where to ---------------------------------------------------------------------------------------------------- */

static const char *call_url(const struct call *call)
{
    return call->redirected_to != NULL ? call->redirected_to : call->request->url;
}

/* One part of engine->address, to be freed by curl_free(). */
static char *url_part(const struct http_engine *engine, CURLUPart part)
{
    char *text = NULL;
    curl_url_get(engine->address, part, &text, CURLU_DEFAULT_PORT);
    return text;
}

bool call_origin(struct http_engine *engine, const struct call *call, char ret[HTTP_ORIGIN_BYTES], struct problem *why)
{
    CURLUcode code = curl_url_set(engine->address, CURLUPART_URL, call_url(call), CURLU_NON_SUPPORT_SCHEME);
    if (code != CURLUE_OK) /* the URL itself may hold a secret */
        return fail(why, "could not read the address of the request: %s", curl_url_strerror(code));

    char *scheme = url_part(engine, CURLUPART_SCHEME);
    char *host = url_part(engine, CURLUPART_HOST);
    char *port = url_part(engine, CURLUPART_PORT);
    bool web = scheme != NULL && (strcmp(scheme, "http") == 0 || strcmp(scheme, "https") == 0);
    bool good = false;
    if (!web)
        fail(why, "may not request an address of the scheme \"%.16s\": only http and https", scheme ? scheme : "");
    else if (host == NULL || port == NULL ||
             snprintf(ret, HTTP_ORIGIN_BYTES, "%s://%s:%s", scheme, host, port) >= HTTP_ORIGIN_BYTES)
        fail(why, "could not read the address of the request: its host is missing or too long");
    else
        good = true;
    for (char *at = ret; good && *at != '\0'; at++)
        *at = (char)tolower((unsigned char)*at);
    curl_free(scheme);
    curl_free(host);
    curl_free(port);
    return good;
}

static const char *authority_of(const char *origin)
{
    return strstr(origin, "://") + 3;
}

/* --- libcurl asks ------------------------------------------------------------------------------------------------ */

static bool guard_allows(struct transfer *transfer, const struct sockaddr *address)
{
    if (!transfer->call->request->outside ||
        address_guard_allows(transfer->engine->guard, address, authority_of(transfer->origin)))
        return true;
    const void *number = address->sa_family == AF_INET6
                             ? (const void *)&((const struct sockaddr_in6 *)address)->sin6_addr
                             : (const void *)&((const struct sockaddr_in *)address)->sin_addr;
    if (inet_ntop(address->sa_family, number, transfer->refused, sizeof(transfer->refused)) == NULL)
        transfer->refused[0] = '\0';
    return false;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address)
{
    (void)purpose;
    struct transfer *transfer = context;
    if (!guard_allows(transfer, &address->addr)) {
        transfer->addresses_refused++;
        return CURL_SOCKET_BAD;
    }
    transfer->addresses_tried++;
    return http_socket_new(&transfer->engine->sockets, address);
}

static bool peer_read(const char *ip, int port, struct sockaddr_storage *ret)
{
    *ret = (struct sockaddr_storage){ 0 };
    struct sockaddr_in *ipv4 = (struct sockaddr_in *)ret;
    if (inet_pton(AF_INET, ip, &ipv4->sin_addr) == 1) {
        ipv4->sin_family = AF_INET;
        ipv4->sin_port = htons((uint16_t)port);
        return true;
    }
    struct sockaddr_in6 *ipv6 = (struct sockaddr_in6 *)ret;
    ipv6->sin6_family = AF_INET6;
    ipv6->sin6_port = htons((uint16_t)port);
    return inet_pton(AF_INET6, ip, &ipv6->sin6_addr) == 1;
}

static bool may_repeat(const struct call *call)
{
    static const char *const idempotent[] = { "GET", "HEAD", "PUT", "DELETE", "OPTIONS" };
    for (size_t i = 0; i < LENGTH(idempotent); i++)
        if (strcmp(call->request->method, idempotent[i]) == 0)
            return true;
    return call->turned_to_get;
}

/* Runs each time a connection, new or kept, is about to carry the request; until then surely nothing has left.
 * A kept connection may have been opened for a request without a guard, so its address is looked at again.  A second
 * run means that libcurl lost a kept connection and repeats the request, which the other side may have acted on. */
static int before_request(void *context, char *peer_ip, char *own_ip, int peer_port, int own_port)
{
    (void)own_ip, (void)own_port;
    struct transfer *transfer = context;
    struct sockaddr_storage peer;

    if (transfer->sent && !may_repeat(transfer->call))
        return CURL_PREREQFUNC_ABORT;
    if (transfer->call->request->outside &&
        !(peer_read(peer_ip, peer_port, &peer) && guard_allows(transfer, (struct sockaddr *)&peer))) {
        transfer->reuse_refused = true;
        return CURL_PREREQFUNC_ABORT;
    }
    transfer->sent = true;
    return CURL_PREREQFUNC_OK;
}

static bool is_redirect(long status)
{
    return status == 301 || status == 302 || status == 303 || status == 307 || status == 308;
}

static void decide_body(struct transfer *transfer)
{
    const struct http_request *request = transfer->call->request;
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (request->outside && is_redirect(status))
        transfer->body_goes = BODY_TO_NOWHERE;
    else if (request->to_file && status >= 200 && status < 300)
        transfer->body_goes = BODY_TO_FILE;
    else
        transfer->body_goes = BODY_TO_MEMORY;
}

static bool write_file(struct transfer *transfer, const char *at, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(transfer->call->request->file, at, bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written < 0) {
            transfer->write_errno = errno;
            return false;
        }
        at += written;
        bytes -= (size_t)written;
    }
    return true;
}

static size_t write_body(char *at, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    struct http_reply *reply = transfer->call->reply;
    size_t bytes = size * count;

    if (transfer->body_goes == BODY_UNDECIDED)
        decide_body(transfer);
    if (bytes > transfer->call->request->answer_bytes_max - (size_t)reply->bytes) {
        transfer->too_large = true;
        return CURL_WRITEFUNC_ERROR;
    }
    reply->bytes += (int64_t)bytes;
    if (transfer->body_goes == BODY_TO_MEMORY)
        buf_add(&transfer->body, at, bytes);
    else if (transfer->body_goes == BODY_TO_FILE && !write_file(transfer, at, bytes))
        return CURL_WRITEFUNC_ERROR;
    return bytes;
}

static size_t read_upload(char *at, size_t size, size_t count, void *context)
{
    struct transfer *transfer = context;
    const struct http_request *request = transfer->call->request;
    int64_t left = request->upload_bytes - transfer->uploaded_bytes;
    size_t room = size * count;
    ssize_t got;

    do
        got = pread(request->upload, at, (int64_t)room < left ? room : (size_t)left, transfer->uploaded_bytes);
    while (got < 0 && errno == EINTR);
    if (got < 0) {
        transfer->read_errno = errno;
        return CURL_READFUNC_ABORT;
    }
    transfer->uploaded_bytes += got;
    return (size_t)got;
}

/* A kept connection was lost, and the request is sent once more. */
static int seek_upload(void *context, curl_off_t offset, int origin)
{
    struct transfer *transfer = context;
    if (origin != SEEK_SET)
        return CURL_SEEKFUNC_CANTSEEK;
    transfer->uploaded_bytes = offset;
    return CURL_SEEKFUNC_OK;
}

/* --- what to ask of libcurl -------------------------------------------------------------------------------------- */

/* An option that was not taken could mean a request without its guard or limit: then there is none. */
#define SET(option, value)                                                                                             \
    do {                                                                                                               \
        CURLcode set_code_ = curl_easy_setopt(transfer->easy, (option), (value));                                      \
        if (set_code_ != CURLE_OK)                                                                                     \
            return fail(why, "could not prepare a request: %s: %s", #option, curl_easy_strerror(set_code_));           \
    } while (0)

static bool set_engine(struct transfer *transfer, struct problem *why)
{
    struct http_engine *engine = transfer->engine;
    SET(CURLOPT_PRIVATE, transfer);
    SET(CURLOPT_ERRORBUFFER, transfer->error);
    SET(CURLOPT_NOSIGNAL, 1L);
    SET(CURLOPT_QUICK_EXIT, 1L); /* an abandoned DNS look-up must not hold up everybody else */
    SET(CURLOPT_PROXY, "");      /* whatever the environment says */
    SET(CURLOPT_PROTOCOLS_STR, "http,https");
    SET(CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
    SET(CURLOPT_TCP_NODELAY, 1L);
    SET(CURLOPT_OPENSOCKETFUNCTION, open_socket);
    SET(CURLOPT_OPENSOCKETDATA, transfer);
    SET(CURLOPT_CLOSESOCKETFUNCTION, http_socket_close);
    SET(CURLOPT_CLOSESOCKETDATA, &engine->sockets);
    SET(CURLOPT_PREREQFUNCTION, before_request);
    SET(CURLOPT_PREREQDATA, transfer);
    SET(CURLOPT_WRITEFUNCTION, write_body);
    SET(CURLOPT_WRITEDATA, transfer);
    if (engine->user_agent != NULL)
        SET(CURLOPT_USERAGENT, engine->user_agent);
    return true;
}

static bool set_limits(struct transfer *transfer, struct problem *why)
{
    const struct call *call = transfer->call;
    int64_t left_ms = call->request->timeout_ms - (monotonic_us() - call->called_us) / 1000;
    if (left_ms > HTTP_CONNECT_TIMEOUT_MS)
        left_ms = HTTP_CONNECT_TIMEOUT_MS;
    SET(CURLOPT_CONNECTTIMEOUT_MS, (long)(left_ms > 0 ? left_ms : 1)); /* 0 would mean libcurl's own */
    return true;
}

static bool set_parts(struct transfer *transfer, struct problem *why)
{
    transfer->mime = curl_mime_init(transfer->easy);
    for (const struct http_part *part = transfer->call->request->parts; part->name != NULL; part++) {
        curl_mimepart *mimepart = curl_mime_addpart(transfer->mime);
        CURLcode code = curl_mime_name(mimepart, part->name);
        if (code == CURLE_OK && part->file_path != NULL) {
            code = curl_mime_filedata(mimepart, part->file_path);
            if (code == CURLE_READ_ERROR)
                return fail(why, "could not read the file \"%s\" to send: %s", part->file_path, strerror(errno));
        } else if (code == CURLE_OK) {
            code = curl_mime_data(mimepart, part->data, CURL_ZERO_TERMINATED);
        }
        if (code == CURLE_OK && part->file_name != NULL)
            code = curl_mime_filename(mimepart, part->file_name);
        if (code == CURLE_OK && part->content_type != NULL)
            code = curl_mime_type(mimepart, part->content_type);
        if (code != CURLE_OK)
            return fail(why, "could not prepare the part \"%s\": %s", part->name, curl_easy_strerror(code));
    }
    SET(CURLOPT_MIMEPOST, transfer->mime);
    return true;
}

static bool set_upload(struct transfer *transfer, struct problem *why)
{
    SET(CURLOPT_UPLOAD, 1L);
    SET(CURLOPT_EXPECT_100_TIMEOUT_MS, HTTP_EXPECT_100_MS);
    SET(CURLOPT_INFILESIZE_LARGE, (curl_off_t)transfer->call->request->upload_bytes);
    SET(CURLOPT_READFUNCTION, read_upload);
    SET(CURLOPT_READDATA, transfer);
    SET(CURLOPT_SEEKFUNCTION, seek_upload);
    SET(CURLOPT_SEEKDATA, transfer);
    return true;
}

/* The body, and the method where the body does not say it. */
static bool set_body(struct transfer *transfer, struct problem *why)
{
    const struct http_request *request = transfer->call->request;
    const char *method = transfer->call->turned_to_get ? "GET" : request->method;
    bool has_body = !transfer->call->turned_to_get && request->body.at != NULL;
    const char *implied = "GET";

    if (!transfer->call->turned_to_get && request->parts != NULL) {
        if (!set_parts(transfer, why))
            return false;
        implied = "POST";
    } else if (!transfer->call->turned_to_get && request->upload_bytes > 0) {
        if (!set_upload(transfer, why))
            return false;
        implied = "PUT";
    } else if (has_body || strcmp(method, "POST") == 0) {
        SET(CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(has_body ? request->body.bytes : 0));
        SET(CURLOPT_POSTFIELDS, has_body ? request->body.at : "");
        implied = "POST";
    } else if (strcmp(method, "HEAD") == 0) {
        SET(CURLOPT_NOBODY, 1L);
        implied = "HEAD";
    }
    if (strcmp(method, implied) != 0)
        SET(CURLOPT_CUSTOMREQUEST, method);
    if (strcmp(method, "HEAD") != 0) /* there Content-Length is not that of the answer */
        SET(CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)request->answer_bytes_max);
    return true;
}

/* What may follow a redirect to another host: anything else may be a credential. */
static bool header_is_harmless(const char *header)
{
    static const char *const harmless[] = { "accept:", "accept-language:", "content-type:" };
    for (size_t i = 0; i < LENGTH(harmless); i++)
        if (strncasecmp(header, harmless[i], strlen(harmless[i])) == 0)
            return true;
    return false;
}

static bool set_credentials(struct transfer *transfer, struct problem *why)
{
    const struct http_request *request = transfer->call->request;
    if (request->basic_user == NULL || transfer->call->left_origin)
        return true;
    if (request->aws_sigv4 != NULL)
        SET(CURLOPT_AWS_SIGV4, request->aws_sigv4);
    else
        SET(CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
    SET(CURLOPT_USERNAME, request->basic_user);
    SET(CURLOPT_PASSWORD, request->basic_password != NULL ? request->basic_password : "");
    return true;
}

/* Chains the caller's own strings: nothing is copied. */
static bool set_headers(struct transfer *transfer, struct problem *why)
{
    const struct call *call = transfer->call;
    struct curl_slist *header = transfer->headers;
    /* no waiting for "100 Continue" before a large body; but libcurl 7.88 would sign this as if it were sent */
    header->data = (char *)(call->request->aws_sigv4 == NULL ? "Expect:" : "Accept: */*");
    header->next = NULL;

    const char *const *own = call->request->headers;
    for (size_t count = 0; own != NULL && *own != NULL; own++) {
        if (call->left_origin && !header_is_harmless(*own))
            continue;
        if (strpbrk(*own, "\r\n") != NULL)
            return fail(why, "could not prepare a request: a header holds a line break");
        if (++count > HTTP_HEADERS_MAX)
            return fail(why, "could not prepare a request: it has more than %d headers", HTTP_HEADERS_MAX);
        header->next = header + 1;
        header++;
        header->data = (char *)*own;
        header->next = NULL;
    }
    SET(CURLOPT_HTTPHEADER, transfer->headers);
    return set_credentials(transfer, why);
}

/* A handle for each hop: in one that is used again, libcurl before 8.1.1 takes an answer that begins in the middle of a
 * header for more of the last answer's, which it has freed.  Connections and TLS sessions are kept all the same. */
static bool set_all(struct transfer *transfer, struct problem *why)
{
    transfer->easy = curl_easy_init();
    if (transfer->easy == NULL)
        abort(); /* memory is out: as must_alloc() */
    SET(CURLOPT_SHARE, transfer->engine->share);
    if (!set_engine(transfer, why) || !set_limits(transfer, why))
        return false;
    SET(CURLOPT_URL, call_url(transfer->call));
    return set_body(transfer, why) && set_headers(transfer, why);
}

/* --- begin and end ----------------------------------------------------------------------------------------------- */

static void transfer_clear(struct transfer *transfer)
{
    curl_mime_free(transfer->mime);
    transfer->mime = NULL;
    if (transfer->body.room > HTTP_BODY_KEPT_BYTES)
        buf_done(&transfer->body);
    else
        buf_clear(&transfer->body);
    transfer->error[0] = '\0';
    transfer->sent = transfer->too_large = transfer->reuse_refused = false;
    transfer->write_errno = transfer->read_errno = 0;
    transfer->uploaded_bytes = 0;
    transfer->addresses_tried = transfer->addresses_refused = 0;
    transfer->body_goes = BODY_UNDECIDED;
    transfer->moved_bytes = 0;
}

bool call_was_sent(const struct call *call)
{
    return call->redirects > 0 || (call->transfer != NULL && call->transfer->sent);
}

bool transfer_begin(struct transfer *transfer, struct call *call, const char *origin)
{
    transfer->call = call;
    transfer->origin = origin;
    transfer->body.bytes_max = call->request->answer_bytes_max;
    transfer->moved_us = monotonic_us();
    call->transfer = transfer;
    call->reply->bytes = 0;
    if (!set_all(transfer, call->why))
        return false;
    CURLMcode code = curl_multi_add_handle(transfer->engine->multi, transfer->easy);
    return code == CURLM_OK || fail(call->why, "could not start a request: %s", curl_multi_strerror(code));
}

void transfer_end(struct transfer *transfer)
{
    curl_multi_remove_handle(transfer->engine->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
    transfer->call->transfer = NULL;
    transfer->call = NULL;
    transfer_clear(transfer);
}

bool transfer_stalled(struct transfer *transfer, int64_t now)
{
    curl_off_t up = 0, down = 0;
    long head = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_UPLOAD_T, &up);
    curl_easy_getinfo(transfer->easy, CURLINFO_SIZE_DOWNLOAD_T, &down);
    curl_easy_getinfo(transfer->easy, CURLINFO_HEADER_SIZE, &head);

    int64_t moved = up + down + head;
    if (moved != transfer->moved_bytes) {
        transfer->moved_bytes = moved;
        transfer->moved_us = now;
    }
    return now - transfer->moved_us > transfer->call->request->stall_timeout_ms * 1000;
}

/* --- the answer -------------------------------------------------------------------------------------------------- */

/* Whether `url` has another origin than the hop that led to it; also when it cannot be told. */
static bool leaves_origin(struct transfer *transfer)
{
    char origin[HTTP_ORIGIN_BYTES];
    return !call_origin(transfer->engine, transfer->call, origin, NULL) || strcmp(origin, transfer->origin) != 0;
}

/* Where the answer redirects to, or NULL. */
static const char *redirect_target(struct transfer *transfer, CURLcode code, long *ret_status)
{
    char *target = NULL;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, ret_status);
    if (code == CURLE_OK && transfer->call->request->outside && is_redirect(*ret_status))
        curl_easy_getinfo(transfer->easy, CURLINFO_REDIRECT_URL, &target);
    return target;
}

bool transfer_redirects(struct transfer *transfer, CURLcode code)
{
    struct call *call = transfer->call;
    long status = 0;
    const char *to = redirect_target(transfer, code, &status);
    if (to == NULL || call->redirects == HTTP_REDIRECTS_MAX)
        return false;

    free(call->redirected_to);
    call->redirected_to = must_copy(to);
    call->redirects++;
    call->left_origin = call->left_origin || leaves_origin(transfer);
    bool post = strcmp(call->request->method, "POST") == 0;
    bool head = strcmp(call->request->method, "HEAD") == 0;
    if ((status == 303 && !head) || (post && (status == 301 || status == 302))) /* RFC 9110, 15.4 */
        call->turned_to_get = true;
    return true;
}

static const char *header_of(struct transfer *transfer, const char *name)
{
    struct curl_header *header;
    return curl_easy_header(transfer->easy, name, 0, CURLH_HEADER, -1, &header) == CURLHE_OK ? header->value : NULL;
}

static bool digits_read(const char *text, int64_t *ret)
{
    char *end;
    if (!isdigit((unsigned char)*text))
        return false;
    *ret = strtoll(text, &end, 10); /* too large a number gives the largest there is */
    return *end == '\0' || *end == '.';
}

/* Retry-After (RFC 9110, 10.2.3: seconds or a date), or the retry-after-ms of some providers, which is finer. */
static int64_t retry_after_ms(struct transfer *transfer)
{
    int64_t ms, seconds;
    const char *text = header_of(transfer, "retry-after-ms");
    if (text == NULL || !digits_read(text, &ms)) {
        if ((text = header_of(transfer, "retry-after")) == NULL)
            return -1;
        if (!digits_read(text, &seconds)) {
            time_t at = curl_getdate(text, NULL);
            if (at < 0)
                return -1;
            seconds = at - time(NULL);
        }
        if (seconds < 0)
            return 0;
        ms = seconds < HTTP_RETRY_AFTER_MS_MAX / 1000 ? seconds * 1000 : HTTP_RETRY_AFTER_MS_MAX;
    }
    return ms < HTTP_RETRY_AFTER_MS_MAX ? ms : HTTP_RETRY_AFTER_MS_MAX;
}

static void answer(struct transfer *transfer)
{
    struct call *call = transfer->call;
    char *content_type = NULL;
    curl_easy_getinfo(transfer->easy, CURLINFO_CONTENT_TYPE, &content_type);
    call->reply->content_type = content_type != NULL ? arena_copy(call->arena, content_type) : "";
    call->reply->retry_after_ms = retry_after_ms(transfer);
    if (transfer->body_goes != BODY_TO_FILE)
        call->reply->body =
            (struct text){ arena_copy_text(call->arena, buf_text(&transfer->body)), transfer->body.bytes };
}

enum http_result transfer_result(struct transfer *transfer, CURLcode code)
{
    struct call *call = transfer->call;
    const char *said = transfer->error[0] != '\0' ? transfer->error : curl_easy_strerror(code);
    bool refused = transfer->reuse_refused || (transfer->addresses_refused > 0 && transfer->addresses_tried == 0);

    if (redirect_target(transfer, code, &call->reply->status) != NULL) {
        fail(call->why, "gave up on %s after %d redirects", transfer->origin, HTTP_REDIRECTS_MAX);
        return HTTP_FORBIDDEN;
    }
    if (code == CURLE_OK) {
        answer(transfer);
        return HTTP_ANSWERED;
    }
    if (transfer->too_large || code == CURLE_FILESIZE_EXCEEDED) {
        fail(call->why, "the answer of %s is larger than %zu bytes", transfer->origin, call->request->answer_bytes_max);
        return HTTP_TOO_LARGE;
    }
    if (refused) {
        fail(call->why, "may not reach %s: %s is not an address of the public internet", transfer->origin,
             transfer->refused);
        return HTTP_FORBIDDEN;
    }
    if (transfer->write_errno != 0) {
        fail(call->why, "could not store the answer of %s: %s", transfer->origin, strerror(transfer->write_errno));
        return HTTP_BROKEN;
    }
    if (transfer->read_errno != 0) {
        fail(call->why, "could not read the file to send to %s: %s", transfer->origin, strerror(transfer->read_errno));
        return HTTP_BROKEN;
    }
    if (call_was_sent(call)) {
        if (code == CURLE_ABORTED_BY_CALLBACK)
            said = "the connection was lost, and a request of this method is not sent twice";
        if (code == CURLE_OUT_OF_MEMORY) /* what libcurl calls a line beyond its limit of 100 KiB */
            said = "a header of its answer is too long";
        fail(call->why, "%s took the request and gave no whole answer: %s", transfer->origin, said);
        return HTTP_BROKEN;
    }
    fail(call->why, "could not reach %s: %s", transfer->origin, said);
    return HTTP_NOT_SENT;
}
