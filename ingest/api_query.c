#include "ingest/api_query.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/form.h"
#include "events.h"

#define CHECKSUM_BYTES   8
#define LIMIT_DIGITS_MAX 6

/* --- parameters ------------------------------------------------------------------------------------------ */

static int find_name(const char *const *names, struct text name)
{
    for (int i = 0; names[i]; i++)
        if (text_is(name, names[i]))
            return i;
    return -1;
}

static bool take_field(const struct form_field *field, const char *const *names, const char **values,
                       struct problem *why)
{
    int i = find_name(names, field->name);
    if (i < 0)
        return fail_at(why, field->name.at, "there is no parameter of this name");
    if (memchr(field->value.at, '\0', field->value.bytes))
        return fail_at(why, names[i], "must not hold a zero byte");
    if (values[i])
        return fail_at(why, names[i], "is given twice");
    values[i] = field->value.at;
    return true;
}

bool api_parameters(const char *url, const char *const *names, const char **ret_values, struct arena *arena,
                    struct problem *why)
{
    const char *query = strchr(url, '?');
    struct form *form = arena_alloc(arena, sizeof(*form));

    for (int i = 0; names[i]; i++)
        ret_values[i] = NULL;
    if (!query)
        return true;
    if (!form_read(text_of(query + 1), arena, form, NULL))
        return fail(why, "the query cannot be read: it has a %% without two hex digits, or too many parameters");
    for (size_t i = 0; i < form->count; i++)
        if (!take_field(&form->fields[i], names, ret_values, why))
            return false;
    for (int i = 0; names[i]; i++)
        if (ret_values[i] && !*ret_values[i])
            ret_values[i] = NULL;
    return true;
}

/* --- the cursor ------------------------------------------------------------------------------------------ */

static void checksum(struct text content, unsigned char ret[CHECKSUM_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256(content, hash);
    memcpy(ret, hash, CHECKSUM_BYTES);
}

/* The checksum, then the three texts, each with its end. */
const char *calls_cursor_print(const struct calls_cursor *cursor, struct arena *arena)
{
    const char *const parts[] = { cursor->at, cursor->call_id, cursor->tenant };
    struct buf content;
    unsigned char sum[CHECKSUM_BYTES];

    buf_init(&content, API_CURSOR_BYTES_MAX);
    buf_add(&content, (char[CHECKSUM_BYTES]){ 0 }, CHECKSUM_BYTES);
    for (size_t i = 0; i < LENGTH(parts); i++)
        buf_add(&content, parts[i], strlen(parts[i]) + 1);
    checksum((struct text){ content.at + CHECKSUM_BYTES, content.bytes - CHECKSUM_BYTES }, sum);
    memcpy(content.at, sum, sizeof(sum));
    size_t room = sodium_base64_encoded_len(content.bytes, sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    char *word = arena_alloc(arena, room);
    sodium_bin2base64(word, room, (const unsigned char *)content.at, content.bytes,
                      sodium_base64_VARIANT_URLSAFE_NO_PADDING);
    buf_done(&content);
    return word;
}

/* Takes the text in front of the next zero byte. */
static const char *take_text(struct text *content)
{
    const char *text = content->at, *end = content->bytes > 0 ? memchr(text, '\0', content->bytes) : NULL;
    if (!end)
        return NULL;
    content->bytes -= (size_t)(end + 1 - text);
    content->at = end + 1;
    return text;
}

bool calls_cursor_read(struct text word, struct arena *arena, struct calls_cursor *ret, struct problem *why)
{
    unsigned char *bytes = arena_alloc(arena, API_CURSOR_BYTES_MAX), sum[CHECKSUM_BYTES];
    size_t count = 0;
    int64_t at_us;

    bool good = word.bytes <= API_CURSOR_BYTES_MAX &&
                sodium_base642bin(bytes, API_CURSOR_BYTES_MAX, word.at, word.bytes, NULL, &count, NULL,
                                  sodium_base64_VARIANT_URLSAFE_NO_PADDING) == 0 &&
                count > CHECKSUM_BYTES;
    if (good) {
        struct text content = { (char *)bytes + CHECKSUM_BYTES, count - CHECKSUM_BYTES };
        checksum(content, sum);
        ret->at = take_text(&content);
        ret->call_id = take_text(&content);
        ret->tenant = take_text(&content);
        good = memcmp(sum, bytes, sizeof(sum)) == 0 && content.bytes == 0 && ret->tenant &&
               time_read(text_of(ret->at), &at_us);
    }
    return good || fail_at(why, "cursor", "is not one that a list gave as its next_cursor");
}

/* --- GET /api/v1/calls ----------------------------------------------------------------------------------- */

enum name { LIMIT, CURSOR, STATUS, FROM, TO, SEARCH, NAMES };
static const char *const names[NAMES + 1] = { "limit", "cursor", "status", "from", "to", "q", NULL };

static bool limit_read(const char *value, int *ret, struct problem *why)
{
    size_t digits = value ? strspn(value, "0123456789") : 0;

    *ret = API_LIMIT_DEFAULT;
    if (!value)
        return true;
    if (digits > 0 && digits <= LIMIT_DIGITS_MAX && !value[digits])
        *ret = atoi(value);
    else
        *ret = 0;
    return (*ret >= 1 && *ret <= API_LIMIT_MAX) ||
           fail_at(why, names[LIMIT], "must be a number from 1 to %d", API_LIMIT_MAX);
}

/* A day of the calendar. */
static bool day_read(const char *value, enum name name, struct arena *arena, struct problem *why)
{
    int64_t us;

    if (!value)
        return true;
    const char *midnight = strlen(value) == strlen("2026-11-21") ? arena_printf(arena, "%sT00:00:00Z", value) : "";
    return (time_read(text_of(midnight), &us) && strncmp(value, "0000", 4) != 0) ||
           fail_at(why, names[name], "must be a day, like 2026-11-21");
}

bool calls_query_read(const char *url, struct arena *arena, struct calls_query *ret, struct problem *why)
{
    const char *values[NAMES];

    if (!api_parameters(url, names, values, arena, why) || !limit_read(values[LIMIT], &ret->limit, why) ||
        !day_read(values[FROM], FROM, arena, why) || !day_read(values[TO], TO, arena, why))
        return false;
    if (values[FROM] && values[TO] && strcmp(values[FROM], values[TO]) > 0)
        return fail_at(why, names[TO], "must not be before from");
    if (values[STATUS] && call_status_rank(values[STATUS]) < 0)
        return fail_at(why, names[STATUS], "must be ringing, in_progress, completed, missed or failed");
    if (values[SEARCH] && strlen(values[SEARCH]) > API_SEARCH_BYTES_MAX)
        return fail_at(why, names[SEARCH], "must have at most %d bytes", API_SEARCH_BYTES_MAX);
    ret->status = values[STATUS];
    ret->from = values[FROM];
    ret->to = values[TO];
    ret->search = values[SEARCH];
    ret->after = (struct calls_cursor){ "infinity", "", "" };
    return !values[CURSOR] || calls_cursor_read(text_of(values[CURSOR]), arena, &ret->after, why);
}
