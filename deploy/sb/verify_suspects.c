/* verify_suspects.c: what happens to a body and to a signature on their way from a provider to a file. */
#include <stdlib.h>
#include <string.h>

#include "common/form.h"
#include "common/tree.h"
#include "deploy/sb/verify.h"

#define QUOTES "\"' \t"

/* --- the body ------------------------------------------------------------------------------------------------ */

static struct text without_line_end(struct text body)
{
    if (body.bytes > 0 && body.at[body.bytes - 1] == '\n')
        body.bytes--;
    if (body.bytes > 0 && body.at[body.bytes - 1] == '\r')
        body.bytes--;
    return body;
}

/* A carriage return before every line feed, or before none. */
static struct text with_line_ends(struct text body, bool carriage_return, struct arena *arena)
{
    char *copy = arena_alloc(arena, 2 * body.bytes + 1);
    size_t bytes = 0;

    for (size_t i = 0; i < body.bytes; i++) {
        if (body.at[i] == '\r' && i + 1 < body.bytes && body.at[i + 1] == '\n')
            continue;
        if (body.at[i] == '\n' && carriage_return)
            copy[bytes++] = '\r';
        copy[bytes++] = body.at[i];
    }
    return (struct text){ copy, bytes };
}

/* Fields in their order, escaped as most programs do it. */
static bool encode_again(struct text body, bool plus, struct arena *arena, struct text *ret)
{
    struct form form;
    struct buf encoded, out;

    if (!form_read(body, arena, &form, NULL))
        return false;
    buf_init(&encoded, 3 * REQUEST_BYTES_MAX);
    for (size_t i = 0; i < form.count; i++) {
        buf_add_string(&encoded, i ? "&" : "");
        form_encode(&encoded, form.fields[i].name.at);
        buf_add_char(&encoded, '=');
        form_encode(&encoded, form.fields[i].value.at);
    }
    buf_init(&out, 3 * REQUEST_BYTES_MAX);
    for (const char *c = buf_text(&encoded).at; *c; c++) {
        bool space = plus && strncmp(c, "%20", 3) == 0;
        buf_add_char(&out, space ? '+' : *c);
        c += space ? 2 : 0;
    }
    *ret = text_of(arena_copy(arena, buf_text(&out).at));
    buf_done(&encoded);
    buf_done(&out);
    return true;
}

static bool compact_json(struct text body, struct arena *arena, struct text *ret)
{
    const cJSON *tree = tree_read(arena, body);
    char *printed = tree ? cJSON_PrintUnformatted(tree) : NULL;

    if (printed == NULL)
        return false;
    *ret = text_of(arena_copy(arena, printed));
    free(printed);
    return true;
}

void suspect_body(struct verify *verify)
{
    struct text body = verify->request.body, length = request_header(&verify->request, "Content-Length"), changed;
    struct arena *arena = verify->arena;

    choice_add(verify, D_BODY, body, NULL);
    choice_add(verify, D_BODY, without_line_end(body), "the body without the line end behind it");
    char *digits = arena_copy_text(arena, length);
    size_t said = digits ? strtoul(digits, NULL, 10) : body.bytes;
    if (said < body.bytes)
        choice_add(verify, D_BODY, (struct text){ body.at, said }, "the body cut to its Content-Length");
    choice_add(verify, D_BODY, with_line_ends(body, false, arena), "line ends LF instead of CRLF in the body");
    choice_add(verify, D_BODY, with_line_ends(body, true, arena), "line ends CRLF instead of LF in the body");
    body = without_line_end(body);
    if (compact_json(body, arena, &changed)) {
        choice_add(verify, D_BODY, changed, "the JSON written without white space");
        return;
    }
    if (encode_again(body, true, arena, &changed))
        choice_add(verify, D_BODY, changed, "the form encoded again, blanks as +");
    if (encode_again(body, false, arena, &changed))
        choice_add(verify, D_BODY, changed, "the form encoded again, blanks as %20");
}

/* --- the signature ------------------------------------------------------------------------------------------- */

void suspect_signature(struct verify *verify, const char *header)
{
    struct text signature = request_header(&verify->request, header), bare = signature;

    choice_add(verify, D_SIGNATURE, signature, NULL);
    if (signature.at == NULL)
        return;
    while (bare.bytes > 0 && strchr(QUOTES, *bare.at))
        bare = (struct text){ bare.at + 1, bare.bytes - 1 };
    while (bare.bytes > 0 && strchr(QUOTES, bare.at[bare.bytes - 1]))
        bare.bytes--;
    choice_add(verify, D_SIGNATURE, bare, "the signature without quotes");
    const char *equals = bare.bytes > 0 ? memchr(bare.at, '=', bare.bytes) : NULL;
    if (equals && (text_starts(bare, "sha1=") || text_starts(bare, "sha256=")))
        choice_add(verify, D_SIGNATURE,
                   (struct text){ equals + 1, bare.bytes - (size_t)(equals + 1 - bare.at) },
                   "the signature without its prefix");
}
