/* signature.c: the schemes of signature.h over the hashes of crypto.h. */
#include "common/signature.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/crypto.h"
#include "common/form.h"

_Static_assert(SIGNATURE_FORM_FIELDS_MAX == FORM_FIELDS_MAX, "a form that can be read can be verified");

/* --- shared by all schemes ---------------------------------------------------------------------------------------- */

enum hash { HASH_NONE, HASH_SHA1, HASH_SHA256 };

static struct text trim(struct text text)
{
    while (text.bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.bytes--;
    }
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

/* Takes what stands before the next comma off `list`; false when nothing is left.  The last item leaves the absent
 * text. */
static bool next_item(struct text *list, struct text *ret)
{
    if (list->at == NULL)
        return false;
    const char *comma = list->bytes > 0 ? memchr(list->at, ',', list->bytes) : NULL;
    size_t bytes = comma != NULL ? (size_t)(comma - list->at) : list->bytes;
    *ret = trim((struct text){ list->at, bytes });
    *list = comma != NULL ? (struct text){ comma + 1, list->bytes - bytes - 1 } : (struct text){ NULL, 0 };
    return true;
}

enum printed { IN_BASE64, IN_HEX };

static size_t print_code(enum printed printed, const uint8_t *code, size_t code_bytes, char *ret)
{
    if (printed == IN_HEX) {
        hex_print(code, code_bytes, ret);
        return 2 * code_bytes;
    }
    base64_print(code, code_bytes, ret);
    return BASE64_BYTES(code_bytes) - 1;
}

/* An empty secret signs for everybody, so an empty item is passed over (and counted as a place in the list). */
static int find_signer(enum hash hash, enum printed printed, struct text secrets, struct text signature,
                       const struct text *parts, size_t count)
{
    uint8_t code[SHA256_BYTES] = { 0 };
    char expected[2 * SHA256_BYTES + 1];
    size_t code_bytes = hash == HASH_SHA1 ? SHA1_BYTES : SHA256_BYTES;
    int signer = SIGNATURE_WRONG;
    struct text secret;

    if (signature.at == NULL || signature.bytes != print_code(printed, code, code_bytes, expected))
        return SIGNATURE_WRONG;
    for (int place = 0; next_item(&secrets, &secret); place++) {
        if (secret.bytes == 0)
            continue;
        (hash == HASH_SHA1 ? hmac_sha1 : hmac_sha256)(secret, parts, count, code);
        size_t expected_bytes = print_code(printed, code, code_bytes, expected);
        if (secret_equal(signature.at, expected, expected_bytes) && signer == SIGNATURE_WRONG)
            signer = place;
    }
    return signer;
}

/* --- CallRail ----------------------------------------------------------------------------------------------------- */

int signature_callrail(struct text secrets, struct text header, struct text body)
{
    return find_signer(HASH_SHA1, IN_BASE64, secrets, header, &body, 1);
}

/* --- Twilio ------------------------------------------------------------------------------------------------------- */

/* "key=<id>,algorithm=HMAC_SHA256"; absent, or without an algorithm, is the classic form. */
static enum hash twilio_hash(struct text settings)
{
    struct text item;

    while (next_item(&settings, &item)) {
        if (!text_starts(item, "algorithm="))
            continue;
        size_t prefix = sizeof("algorithm=") - 1;
        struct text name = trim((struct text){ item.at + prefix, item.bytes - prefix });
        if (name.bytes == sizeof("HMAC_SHA256") - 1 && strncasecmp(name.at, "HMAC_SHA256", name.bytes) == 0)
            return HASH_SHA256;
        if (name.bytes == sizeof("HMAC_SHA1") - 1 && strncasecmp(name.at, "HMAC_SHA1", name.bytes) == 0)
            return HASH_SHA1;
        if (name.bytes > 0)
            return HASH_NONE;
    }
    return HASH_SHA1;
}

/* The URL in the three pieces that are signed one after the other. */
struct url_pieces {
    struct text before; /* scheme and host */
    struct text port;   /* with its colon; empty when there is none */
    struct text after;  /* path and query */
    bool https;
};

static bool url_split(struct text url, struct url_pieces *ret)
{
    const char *end = url.at + url.bytes;
    const char *colon = url.bytes > 0 ? memmem(url.at, url.bytes, "://", 3) : NULL;

    if (colon == NULL)
        return false;
    const char *host_end = colon + 3;
    const char *port = NULL;
    for (; host_end < end && strchr("/?#", *host_end) == NULL; host_end++) {
        if (*host_end == ':')
            port = host_end;
        else if (port != NULL && (*host_end < '0' || *host_end > '9'))
            port = NULL; /* it was in the user name, or in an IPv6 address */
    }
    if (port == NULL || port + 1 == host_end)
        port = host_end;
    ret->before = (struct text){ url.at, (size_t)(port - url.at) };
    ret->port = (struct text){ port, (size_t)(host_end - port) };
    ret->after = (struct text){ host_end, (size_t)(end - host_end) };
    ret->https = colon - url.at == 5 && strncasecmp(url.at, "https", 5) == 0;
    return true;
}

/* The value in the query behind `name`, which ends in an equals sign, as written; absent when it is not there. */
static struct text query_value(struct text url, const char *name)
{
    const char *fragment = memchr(url.at, '#', url.bytes);
    const char *end = fragment != NULL ? fragment : url.at + url.bytes;
    const char *at = memchr(url.at, '?', (size_t)(end - url.at));

    while (at != NULL) {
        at++;
        const char *next = memchr(at, '&', (size_t)(end - at));
        struct text item = { at, (size_t)((next != NULL ? next : end) - at) };
        if (text_starts(item, name))
            return (struct text){ item.at + strlen(name), item.bytes - strlen(name) };
        at = next;
    }
    return (struct text){ NULL, 0 };
}

/* A body that is no form is not signed itself: the signed URL holds its hash. */
static bool url_covers_body(struct text url, struct text body)
{
    struct text hash = query_value(url, "bodySHA256=");
    uint8_t expected[SHA256_BYTES];
    uint8_t actual[SHA256_BYTES];

    if (hash.at == NULL)
        return body.bytes == 0;
    if (!hex_read(hash, expected, sizeof(expected)))
        return false;
    sha256(body, actual);
    return secret_equal(expected, actual, sizeof(actual));
}

static int compare_text(struct text a, struct text b)
{
    int order = memcmp(a.at, b.at, a.bytes < b.bytes ? a.bytes : b.bytes);
    return order != 0 ? order : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

/* By name, then by value; UTF-8 in the order of its bytes is in the order of code points. */
static int compare_fields(const void *a, const void *b)
{
    const struct form_field *left = a;
    const struct form_field *right = b;
    int order = compare_text(left->name, right->name);
    return order != 0 ? order : compare_text(left->value, right->value);
}

/* Sorts the fields and puts each distinct name and value into `parts`; gives their count. */
static size_t sign_fields(struct form *form, struct text *parts)
{
    size_t count = 0;

    qsort(form->fields, form->count, sizeof(form->fields[0]), compare_fields);
    for (size_t i = 0; i < form->count; i++) {
        if (i > 0 && compare_fields(&form->fields[i - 1], &form->fields[i]) == 0)
            continue;
        parts[count++] = form->fields[i].name;
        parts[count++] = form->fields[i].value;
    }
    return count;
}

/* With and without the port, because Twilio itself is not consistent: 443 for https and 80 for everything else, wss
 * included. */
static int find_twilio_signer(enum hash hash, struct text secrets, struct text header, struct url_pieces url,
                              struct text *parts, size_t count)
{
    parts[0] = url.before;
    parts[1] = (struct text){ "", 0 };
    parts[2] = url.after;
    int without = find_signer(hash, IN_BASE64, secrets, header, parts, count);
    parts[1] = url.port.bytes > 0 ? url.port : text_of(url.https ? ":443" : ":80");
    int with = find_signer(hash, IN_BASE64, secrets, header, parts, count);
    return without != SIGNATURE_WRONG ? without : with;
}

int signature_twilio(struct text secrets, struct text header, struct text settings, struct text url, struct text body,
                     bool is_form)
{
    struct text parts[3 + 2 * SIGNATURE_FORM_FIELDS_MAX];
    struct url_pieces pieces;
    enum hash hash = twilio_hash(settings);

    if (hash == HASH_NONE || url.at == NULL || !url_split(url, &pieces))
        return SIGNATURE_WRONG;
    if (body.at == NULL)
        return find_twilio_signer(hash, secrets, header, pieces, parts, 3);
    if (!is_form)
        return url_covers_body(url, body) ? find_twilio_signer(hash, secrets, header, pieces, parts, 3)
                                          : SIGNATURE_WRONG;

    CLEANUP(arena_freep) struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(body.bytes));
    struct form form;
    if (!form_read(body, arena, &form, NULL))
        return SIGNATURE_WRONG;
    return find_twilio_signer(hash, secrets, header, pieces, parts, 3 + sign_fields(&form, parts + 3));
}

/* --- Shunya ------------------------------------------------------------------------------------------------------- */

/* Hex has no letter case, but what is compared in constant time must have one. */
static struct text lower_hex(struct text hex, char ret[2 * SHA256_BYTES])
{
    if (hex.at == NULL || hex.bytes != 2 * SHA256_BYTES)
        return (struct text){ NULL, 0 };
    for (size_t i = 0; i < hex.bytes; i++)
        ret[i] = (char)(hex.at[i] >= 'A' && hex.at[i] <= 'F' ? hex.at[i] - 'A' + 'a' : hex.at[i]);
    return (struct text){ ret, hex.bytes };
}

static bool seconds_read(struct text digits, int64_t *ret)
{
    *ret = 0;
    if (digits.bytes == 0 || digits.bytes > 15)
        return false;
    for (size_t i = 0; i < digits.bytes; i++) {
        if (digits.at[i] < '0' || digits.at[i] > '9')
            return false;
        *ret = *ret * 10 + (digits.at[i] - '0');
    }
    return true;
}

static struct text behind(struct text item, const char *prefix)
{
    size_t bytes = strlen(prefix);
    return text_starts(item, prefix) ? (struct text){ item.at + bytes, item.bytes - bytes } : (struct text){ NULL, 0 };
}

static struct text time_of(struct text header)
{
    struct text item, time = { NULL, 0 };

    while (time.at == NULL && next_item(&header, &item))
        time = behind(item, "t=");
    return time;
}

bool signature_shunya_time(struct text header, int64_t *ret_s)
{
    return seconds_read(time_of(header), ret_s);
}

/* Whether one of its v1, which may be several while the sender changes its secret, is what was expected. */
static bool holds_v1(struct text header, const char *expected)
{
    char hex[2 * SHA256_BYTES];
    struct text item;
    bool found = false;

    while (next_item(&header, &item)) {
        struct text signature = lower_hex(behind(item, "v1="), hex);
        found |= signature.at && secret_equal(signature.at, expected, signature.bytes);
    }
    return found;
}

/* Each secret hashes the body once, however many v1 the header has: whoever sends it chooses their number. */
static int find_timed_signer(struct text secrets, struct text header, struct text body, int64_t now_s)
{
    uint8_t code[SHA256_BYTES];
    char expected[2 * SHA256_BYTES + 1];
    struct text secret;
    int64_t time_s;
    int signer = SIGNATURE_WRONG;

    if (!signature_shunya_time(header, &time_s) || llabs(now_s - time_s) > SIGNATURE_AGE_S_MAX)
        return SIGNATURE_WRONG;
    const struct text parts[] = { time_of(header), TEXT("."), body };
    for (int place = 0; next_item(&secrets, &secret); place++) {
        if (secret.bytes == 0)
            continue;
        hmac_sha256(secret, parts, LENGTH(parts), code);
        if (holds_v1(header, hex_print(code, sizeof(code), expected)) && signer == SIGNATURE_WRONG)
            signer = place;
    }
    return signer;
}

int signature_shunya(struct text secrets, struct text header, struct text body, int64_t now_s, bool legacy)
{
    char hex[2 * SHA256_BYTES];

    int signer = find_timed_signer(secrets, header, body, now_s);
    if (signer != SIGNATURE_WRONG || !legacy)
        return signer;
    struct text named = behind(header, "sha256=");
    return find_signer(HASH_SHA256, IN_HEX, secrets, lower_hex(named.at ? named : header, hex), &body, 1);
}

/* --- a secret as it is -------------------------------------------------------------------------------------------- */

/* Hashes are compared, so that the time tells nothing of lengths either. */
int signature_secret(struct text secrets, struct text header)
{
    uint8_t sent[SHA256_BYTES], known[SHA256_BYTES];
    int signer = SIGNATURE_WRONG;
    struct text secret;

    if (header.at == NULL)
        return SIGNATURE_WRONG;
    sha256(trim(header), sent);
    for (int place = 0; next_item(&secrets, &secret); place++) {
        sha256(secret, known);
        if (secret_equal(sent, known, sizeof(known)) && secret.bytes > 0 && signer == SIGNATURE_WRONG)
            signer = place;
    }
    return signer;
}
