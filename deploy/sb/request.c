#include "deploy/sb/request.h"

#include <string.h>
#include <strings.h>

/* What may stand in a header's name and in a method (RFC 9110, token). */
static bool is_token(struct text text)
{
    static const char allowed[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    for (size_t i = 0; i < text.bytes; i++)
        if (text.at[i] == '\0' || strchr(allowed, text.at[i]) == NULL)
            return false;
    return text.bytes > 0;
}

static struct text trim(struct text text)
{
    while (text.bytes > 0 && (*text.at == ' ' || *text.at == '\t'))
        text = (struct text){ text.at + 1, text.bytes - 1 };
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

/* What stands before `separator`, which is taken off `rest` with it; all of it, when there is none. */
static struct text cut(struct text *rest, char separator)
{
    const char *found = rest->bytes > 0 ? memchr(rest->at, separator, rest->bytes) : NULL;
    struct text before = { rest->at, found ? (size_t)(found - rest->at) : rest->bytes };
    size_t taken = before.bytes + (found != NULL);
    *rest = (struct text){ rest->at + taken, rest->bytes - taken };
    return before;
}

static struct text next_line(struct text *rest)
{
    struct text line = cut(rest, '\n');
    if (line.bytes > 0 && line.at[line.bytes - 1] == '\r')
        line.bytes--;
    return line;
}

/* "POST /path HTTP/1.1" */
static bool read_request_line(struct text line, struct text *ret_target)
{
    struct text method = cut(&line, ' '), target = cut(&line, ' ');
    if (!is_token(method) || target.bytes == 0 || !text_starts(line, "HTTP/"))
        return false;
    *ret_target = target;
    return true;
}

bool request_add_header(struct request *request, struct text line, struct problem *why)
{
    struct text value = line, name = cut(&value, ':');
    if (name.bytes == line.bytes || !is_token(name))
        return fail(why, "it is no header, which is \"Name: value\"");
    if (request->header_count == REQUEST_HEADERS_MAX)
        return fail(why, "there are more than %d headers", REQUEST_HEADERS_MAX);
    request->headers[request->header_count++] = (struct request_header){ name, trim(value) };
    return true;
}

bool request_read(struct text input, struct request *ret, struct problem *why)
{
    struct problem of_line;
    struct text rest = input;

    for (int number = 1; rest.bytes > 0; number++) {
        struct text line = next_line(&rest);
        if (line.bytes == 0)
            break;
        if (line.bytes > REQUEST_LINE_BYTES_MAX)
            return fail(why, "line %d is longer than %d bytes", number, REQUEST_LINE_BYTES_MAX);
        if (number == 1 && read_request_line(line, &ret->target))
            continue;
        if (!request_add_header(ret, line, &of_line))
            return fail(why, "line %d cannot be used: %s; an empty line stands before the body", number, of_line.text);
    }
    ret->body = rest;
    return true;
}

struct text request_header(const struct request *request, const char *name)
{
    for (size_t i = 0; i < request->header_count; i++) {
        struct text found = request->headers[i].name;
        if (found.bytes == strlen(name) && strncasecmp(found.at, name, found.bytes) == 0)
            return request->headers[i].value;
    }
    return (struct text){ NULL, 0 };
}

/* The port's colon: the last one behind the brackets of an IPv6 address. */
static void split_authority(struct text authority, struct url *ret)
{
    const char *bracket = authority.bytes > 0 ? memrchr(authority.at, ']', authority.bytes) : NULL;
    const char *from = bracket ? bracket : authority.at, *end = authority.at + authority.bytes;
    const char *colon = end > from ? memrchr(from, ':', (size_t)(end - from)) : NULL;
    const char *host_end = colon ? colon : end;
    ret->host = (struct text){ authority.at, (size_t)(host_end - authority.at) };
    if (colon)
        ret->port = (struct text){ colon, (size_t)(end - colon) };
}

void url_split(struct text url, struct url *ret)
{
    const char *scheme_end = url.bytes > 0 ? memmem(url.at, url.bytes, "://", 3) : NULL;
    const char *end = url.at + url.bytes, *at = url.at;

    *ret = (struct url){ 0 };
    if (scheme_end && !memchr(url.at, '/', (size_t)(scheme_end - url.at))) {
        ret->scheme = (struct text){ url.at, (size_t)(scheme_end - url.at) };
        at = scheme_end + 3;
        const char *authority = at;
        while (at < end && *at != '/' && *at != '?')
            at++;
        split_authority((struct text){ authority, (size_t)(at - authority) }, ret);
    }
    const char *question = at < end ? memchr(at, '?', (size_t)(end - at)) : NULL;
    const char *path_end = question ? question : end;
    ret->path = (struct text){ at, (size_t)(path_end - at) };
    if (question)
        ret->query = (struct text){ question, (size_t)(end - question) };
}
