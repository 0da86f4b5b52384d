#include "deploy/sb/local.h"

#include <string.h>

#define NAME_BYTES_MAX 64

static const char *value_of(struct text name, const char *const *names, const char *const *values)
{
    for (size_t i = 0; names[i]; i++)
        if (text_is(name, names[i]))
            return values[i];
    return NULL;
}

static bool fill(const char *at, const char *const *names, const char *const *values, struct buf *out,
                 struct problem *why)
{
    for (const char *open; (open = strstr(at, "{{")) != NULL;) {
        const char *close = strstr(open, "}}");
        struct text name = { open + 2, close ? (size_t)(close - open - 2) : 0 };
        const char *value = value_of(name, names, values);
        if (value == NULL)
            return fail(why, "{{%.*s}} is no name that is filled in",
                        (int)(name.bytes < NAME_BYTES_MAX ? name.bytes : NAME_BYTES_MAX), name.at);
        buf_add(out, at, (size_t)(open - at));
        buf_add_string(out, value);
        at = close + 2;
    }
    buf_add_string(out, at);
    return true;
}

bool template_fill(const char *path, const char *const *names, const char *const *values, struct buf *out,
                   struct problem *why)
{
    static char content[TEMPLATE_BYTES_MAX];
    struct problem inside;

    if (!file_read(path, content, sizeof(content)))
        return fail(why, "could not read %s", path);
    return fill(content, names, values, out, &inside) || fail(why, "cannot use %s: %s", path, inside.text);
}
