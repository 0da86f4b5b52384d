/* http_routes.c: plain paths by hash, as nearly all requests are for them; paths with {values} or escapes by segment.
 */
#include "common/http_parts.h"

#include <stdlib.h>
#include <string.h>

struct pattern {
    const struct http_route *route;
    size_t count;
    struct text segments[HTTP_PATH_SEGMENTS_MAX];
    bool plain;                 /* no {values} */
    const struct pattern *next; /* plain, the same path, another method */
};

struct http_router {
    struct pattern *patterns;
    size_t count;
    struct pattern **slots; /* plain ones by the hash of their path; a power of two, at most half full */
    size_t slot_count;
};

static uint32_t path_hash(const char *path)
{
    uint32_t hash = 2166136261u; /* FNV-1a */

    for (; *path != '\0'; path++)
        hash = (hash ^ (uint8_t)*path) * 16777619u;
    return hash;
}

static bool is_value(struct text segment)
{
    return segment.bytes > 2 && segment.at[0] == '{' && segment.at[segment.bytes - 1] == '}';
}

/* "/a/b" has the segments "a" and "b", "/a/" has "a" and "", "/" has "". */
static bool path_split(const char *path, struct text ret[HTTP_PATH_SEGMENTS_MAX], size_t *ret_count)
{
    size_t count = 0;

    while (*path == '/') {
        size_t bytes = strcspn(++path, "/");
        if (count == HTTP_PATH_SEGMENTS_MAX)
            return false;
        ret[count++] = (struct text){ path, bytes };
        path += bytes;
    }
    *ret_count = count;
    return true;
}

static struct pattern **slot_of(const struct http_router *router, const char *path)
{
    size_t at = path_hash(path) & (router->slot_count - 1);

    while (router->slots[at] != NULL && strcmp(router->slots[at]->route->path, path) != 0)
        at = (at + 1) & (router->slot_count - 1);
    return &router->slots[at];
}

static bool pattern_make(struct pattern *pattern, const struct http_route *route, struct problem *why)
{
    *pattern = (struct pattern){ .route = route, .plain = true };
    if (route->path[0] != '/' || !path_split(route->path, pattern->segments, &pattern->count))
        return fail(why, "cannot serve the path \"%s\": it must begin with / and have at most %d segments", route->path,
                    HTTP_PATH_SEGMENTS_MAX);
    for (size_t i = 0; i < pattern->count; i++)
        pattern->plain = pattern->plain && !is_value(pattern->segments[i]);
    return true;
}

struct http_router *router_new(const struct http_route *routes, struct problem *why)
{
    struct http_router *router = must_alloc(sizeof(*router));

    while (routes[router->count].method != NULL)
        router->count++;
    router->slot_count = 2;
    while (router->slot_count < 2 * router->count)
        router->slot_count *= 2;
    router->patterns = must_alloc((router->count + 1) * sizeof(*router->patterns));
    router->slots = must_alloc(router->slot_count * sizeof(*router->slots));
    for (size_t i = 0; i < router->count; i++) {
        struct pattern *pattern = &router->patterns[i];
        if (!pattern_make(pattern, &routes[i], why)) {
            router_free(router);
            return NULL;
        }
        if (pattern->plain) {
            struct pattern **slot = slot_of(router, pattern->route->path);
            pattern->next = *slot;
            *slot = pattern;
        }
    }
    return router;
}

void router_free(struct http_router *router)
{
    if (router == NULL)
        return;
    free(router->patterns);
    free(router->slots);
    free(router);
}

static bool method_fits(const char *asked, const char *served)
{
    return strcmp(asked, served) == 0 || (strcmp(asked, "HEAD") == 0 && strcmp(served, "GET") == 0);
}

static void allow_add(char *allow, const char *method)
{
    size_t bytes = strlen(allow), more = strlen(method);
    const char *also = strcmp(method, "GET") == 0 ? ", HEAD" : "";

    if (strstr(allow, method) != NULL || bytes + more + sizeof(", , HEAD") > HTTP_ALLOW_BYTES)
        return;
    if (bytes > 0)
        bytes = (size_t)(stpcpy(allow + bytes, ", ") - allow);
    stpcpy(stpcpy(allow + bytes, method), also);
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* NULL when an escape is broken, or what it hides is not UTF-8 or holds a control character. */
static const char *segment_decode(struct text segment, struct arena *arena)
{
    char *decoded = arena_alloc(arena, segment.bytes + 1);
    size_t bytes = 0;

    for (size_t i = 0; i < segment.bytes; i++) {
        char c = segment.at[i];
        if (c == '%') {
            if (segment.bytes - i < 3 || hex_value(segment.at[i + 1]) < 0 || hex_value(segment.at[i + 2]) < 0)
                return NULL;
            c = (char)(hex_value(segment.at[i + 1]) << 4 | hex_value(segment.at[i + 2]));
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7F)
            return NULL;
        decoded[bytes++] = c;
    }
    return text_is_utf8((struct text){ decoded, bytes }) ? decoded : NULL;
}

static bool pattern_fits(const struct pattern *pattern, const char *const *segments, size_t count)
{
    if (pattern->count != count)
        return false;
    for (size_t i = 0; i < count; i++) {
        if (is_value(pattern->segments[i]) ? segments[i][0] == '\0' : !text_is(pattern->segments[i], segments[i]))
            return false;
    }
    return true;
}

static void take_values(const struct pattern *pattern, const char *const *segments, struct http_path_values *ret)
{
    ret->count = 0;
    for (size_t i = 0; i < pattern->count; i++) {
        struct text segment = pattern->segments[i];
        if (is_value(segment)) {
            ret->at[ret->count].name = (struct text){ segment.at + 1, segment.bytes - 2 };
            ret->at[ret->count++].value = segments[i];
        }
    }
}

static enum http_found find_by_segments(const struct http_router *router, struct http_exchange *exchange,
                                        char ret_allow[HTTP_ALLOW_BYTES])
{
    struct text raw[HTTP_PATH_SEGMENTS_MAX];
    const char *segments[HTTP_PATH_SEGMENTS_MAX];
    size_t count;

    if (!path_split(exchange->path, raw, &count))
        return HTTP_NO_PATH;
    for (size_t i = 0; i < count; i++) {
        segments[i] = segment_decode(raw[i], http_arena(exchange));
        if (segments[i] == NULL)
            return HTTP_BAD_PATH;
    }
    for (size_t i = 0; i < router->count; i++) {
        const struct pattern *pattern = &router->patterns[i];
        if (!pattern_fits(pattern, segments, count))
            continue;
        if (method_fits(exchange->method, pattern->route->method)) {
            take_values(pattern, segments, &exchange->path_values);
            exchange->route = pattern->route;
            return HTTP_FOUND;
        }
        allow_add(ret_allow, pattern->route->method);
    }
    return ret_allow[0] != '\0' ? HTTP_NO_METHOD : HTTP_NO_PATH;
}

enum http_found router_find(const struct http_router *router, struct http_exchange *exchange,
                            char ret_allow[HTTP_ALLOW_BYTES])
{
    ret_allow[0] = '\0';
    for (const struct pattern *pattern = *slot_of(router, exchange->path); pattern != NULL; pattern = pattern->next) {
        if (method_fits(exchange->method, pattern->route->method)) {
            exchange->route = pattern->route;
            return HTTP_FOUND;
        }
    }
    return find_by_segments(router, exchange, ret_allow);
}
