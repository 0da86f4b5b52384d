#include "ingest/api_query.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "common/crypto.h"
#include "common/form.h"
#include "events.h"

#define CHECKSUM_BYTES   8
#define LIMIT_DIGITS_MAX 6
#define NO_UUID          "00000000-0000-0000-0000-000000000000"

const struct api_order calls_order = { .list = "calls", .first = "infinity" };
const struct api_order leads_order = { .list = "leads", .first = "infinity", .ids_are_uuids = true };
const struct api_order appointments_order = { .list = "appointments", .first = "-infinity", .ids_are_uuids = true };
const struct api_order sessions_order = { .list = "sessions", .first = "infinity", .ids_are_uuids = true };

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

bool api_no_parameters(const char *url, struct arena *arena, struct problem *why)
{
    static const char *const none[] = { NULL };
    const char *values[1];

    return api_parameters(url, none, values, arena, why);
}

/* --- the cursor ------------------------------------------------------------------------------------------ */

static void checksum(struct text content, unsigned char ret[CHECKSUM_BYTES])
{
    uint8_t hash[SHA256_BYTES];
    sha256(content, hash);
    memcpy(ret, hash, CHECKSUM_BYTES);
}

/* The checksum, then four texts, each with its end. */
const char *api_cursor_print(const struct api_order *order, const struct api_cursor *cursor, struct arena *arena)
{
    const char *const parts[] = { order->list, cursor->at, cursor->id, cursor->tenant };
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

bool api_cursor_read(const struct api_order *order, struct text word, struct arena *arena, struct api_cursor *ret,
                     struct problem *why)
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
        good = text_is_utf8(content); /* anybody can make the checksum */
        checksum(content, sum);
        const char *list = take_text(&content);
        ret->at = take_text(&content);
        ret->id = take_text(&content);
        ret->tenant = take_text(&content);
        good = good && memcmp(sum, bytes, sizeof(sum)) == 0 && content.bytes == 0 && ret->tenant &&
               strcmp(list, order->list) == 0 && time_read(text_of(ret->at), &at_us) &&
               (!order->ids_are_uuids || uuid_is(text_of(ret->id)));
    }
    return good || fail_at(why, "cursor", "is not one that this list gave as its next_cursor");
}

/* --- what many take -------------------------------------------------------------------------------------- */

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
           fail_at(why, "limit", "must be a number from 1 to %d", API_LIMIT_MAX);
}

static bool page_read(const struct api_order *order, const char *limit, const char *cursor, struct arena *arena,
                      struct api_page *ret, struct problem *why)
{
    ret->after = (struct api_cursor){ order->first, order->ids_are_uuids ? NO_UUID : "", "" };
    return limit_read(limit, &ret->limit, why) &&
           (!cursor || api_cursor_read(order, text_of(cursor), arena, &ret->after, why));
}

/* A day of the calendar. */
static bool day_read(const char *value, const char *name, struct arena *arena, struct problem *why)
{
    int64_t us;

    if (!value)
        return true;
    const char *midnight = strlen(value) == strlen("2026-11-21") ? arena_printf(arena, "%sT00:00:00Z", value) : "";
    return time_read(text_of(midnight), &us) || fail_at(why, name, "must be a day, like 2026-11-21");
}

static bool is_one_of(const char *value, const char *const *choices)
{
    for (; *choices; choices++)
        if (strcmp(value, *choices) == 0)
            return true;
    return false;
}

bool page_query_read(const char *url, const struct api_order *order, struct arena *arena, struct api_page *ret,
                     struct problem *why)
{
    enum { LIMIT, CURSOR, NAMES };
    static const char *const names[NAMES + 1] = { "limit", "cursor", NULL };
    const char *values[NAMES];

    return api_parameters(url, names, values, arena, why) &&
           page_read(order, values[LIMIT], values[CURSOR], arena, ret, why);
}

/* --- each list ------------------------------------------------------------------------------------------- */

bool calls_query_read(const char *url, struct arena *arena, struct calls_query *ret, struct problem *why)
{
    enum { LIMIT, CURSOR, STATUS, CALLBACK, FROM, TO, SEARCH, NAMES };
    static const char *const names[NAMES + 1] = { "limit", "cursor", "status", "callback", "from", "to", "q", NULL };
    static const char *const callbacks[] = { "open", "done", NULL };
    const char *values[NAMES];

    if (!api_parameters(url, names, values, arena, why) ||
        !page_read(&calls_order, values[LIMIT], values[CURSOR], arena, &ret->page, why) ||
        !day_read(values[FROM], names[FROM], arena, why) || !day_read(values[TO], names[TO], arena, why))
        return false;
    if (values[FROM] && values[TO] && strcmp(values[FROM], values[TO]) > 0)
        return fail_at(why, names[TO], "must not be before from");
    if (values[STATUS] && call_status_rank(values[STATUS]) < 0)
        return fail_at(why, names[STATUS], "must be ringing, in_progress, completed, missed or failed");
    if (values[CALLBACK] && !is_one_of(values[CALLBACK], callbacks))
        return fail_at(why, names[CALLBACK], "must be open or done");
    if (values[SEARCH] && strlen(values[SEARCH]) > API_SEARCH_BYTES_MAX)
        return fail_at(why, names[SEARCH], "must have at most %d bytes", API_SEARCH_BYTES_MAX);
    ret->status = values[STATUS];
    ret->callback = values[CALLBACK];
    ret->from = values[FROM];
    ret->to = values[TO];
    ret->search = values[SEARCH];
    return true;
}

bool leads_query_read(const char *url, struct arena *arena, struct leads_query *ret, struct problem *why)
{
    enum { LIMIT, CURSOR, STATUS, NAMES };
    static const char *const names[NAMES + 1] = { "limit", "cursor", "status", NULL };
    static const char *const statuses[] = { "new", "warm", "hot", "cold", "closed", NULL };
    const char *values[NAMES];

    if (!api_parameters(url, names, values, arena, why) ||
        !page_read(&leads_order, values[LIMIT], values[CURSOR], arena, &ret->page, why))
        return false;
    ret->statuses = values[STATUS] ? arena_printf(arena, "{%s}", values[STATUS]) : NULL;
    for (const char *rest = values[STATUS]; rest; rest = strchr(rest, ',') ? strchr(rest, ',') + 1 : NULL)
        if (!is_one_of(arena_copy_text(arena, (struct text){ rest, strcspn(rest, ",") }), statuses))
            return fail_at(why, names[STATUS], "must be some of new, warm, hot, cold and closed, with commas");
    return true;
}

bool appointments_query_read(const char *url, struct arena *arena, struct appointments_query *ret, struct problem *why)
{
    enum { LIMIT, CURSOR, DATE, NAMES };
    static const char *const names[NAMES + 1] = { "limit", "cursor", "date", NULL };
    const char *values[NAMES];

    if (!api_parameters(url, names, values, arena, why))
        return false;
    ret->date = values[DATE];
    return page_read(&appointments_order, values[LIMIT], values[CURSOR], arena, &ret->page, why) &&
           day_read(values[DATE], names[DATE], arena, why);
}

bool sessions_query_read(const char *url, struct arena *arena, struct sessions_query *ret, struct problem *why)
{
    enum { LIMIT, CURSOR, STATUS, NAMES };
    static const char *const names[NAMES + 1] = { "limit", "cursor", "status", NULL };
    static const char *const statuses[] = { "recording", "completed", "failed", "stale", NULL };
    const char *values[NAMES];

    if (!api_parameters(url, names, values, arena, why))
        return false;
    if (values[STATUS] && !is_one_of(values[STATUS], statuses))
        return fail_at(why, names[STATUS], "must be recording, completed, failed or stale");
    ret->status = values[STATUS];
    return page_read(&sessions_order, values[LIMIT], values[CURSOR], arena, &ret->page, why);
}

bool metrics_query_read(const char *url, bool of_self, struct arena *arena, struct metrics_query *ret,
                        struct problem *why)
{
    enum { FROM, TO, TENANT, NAMES };
    static const char *const names[NAMES + 1] = { "from", "to", "tenant", NULL };
    static const char *const names_of_self[] = { "from", "to", NULL };
    static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789-_";
    const char *values[NAMES] = { NULL };

    if (!api_parameters(url, of_self ? names_of_self : names, values, arena, why) ||
        !day_read(values[FROM], names[FROM], arena, why) || !day_read(values[TO], names[TO], arena, why))
        return false;
    if (values[FROM] && values[TO] && strcmp(values[FROM], values[TO]) > 0)
        return fail_at(why, names[TO], "must not be before from");
    if (values[TENANT] && strspn(values[TENANT], letters) != strlen(values[TENANT]))
        return fail_at(why, names[TENANT], "is the short name of no company");
    *ret = (struct metrics_query){ values[TENANT], values[FROM], values[TO] };
    return true;
}
