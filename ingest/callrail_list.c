#include "ingest/callrail_list.h"

#include <string.h>

#include "ingest/call_facts.h"

#define SECOND INT64_C(1000000)

bool callrail_account_is(struct text account)
{
    static const char letters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-";
    for (size_t i = 0; i < account.bytes; i++)
        if (!memchr(letters, account.at[i], sizeof(letters) - 1))
            return false;
    return account.bytes <= CALLRAIL_ACCOUNT_LENGTH_MAX;
}

bool callrail_page_read(struct text body, struct callrail_page *ret, struct problem *why)
{
    struct json_value whole, pages, records;
    if (!json_parse(body, &whole, why))
        return false;
    return (json_find(whole, "calls", &ret->calls) && ret->calls.kind == JSON_ARRAY &&
            json_find(whole, "total_pages", &pages) && json_integer(pages, &ret->pages) &&
            json_find(whole, "total_records", &records) && json_integer(records, &ret->records) && ret->records >= 0) ||
           fail(why, "it has no calls, total_pages or total_records");
}

/* --- a call ---------------------------------------------------------------------------------------------------- */

static void identify(struct callrail_listed *listed)
{
    uuid_of(listed->event_id, "callrail", listed->call_id, CALLRAIL_LAST_HOOK,
            listed->recording_url ? "fetched, recorded" : "fetched", NULL);
}

/* A call that was answered and has no length is still talking, or was longer than any. */
static int64_t over_us(const struct call_facts *facts)
{
    bool talking = facts->duration_s <= 0 && (facts->answered || facts->duration_s < 0);
    return facts->started_us + (talking ? CALLRAIL_CALL_S_MAX : facts->duration_s) * SECOND;
}

bool callrail_listed_read(struct text object, struct arena *arena, struct callrail_listed *ret, struct problem *why)
{
    struct callrail_call call;
    struct call_facts facts;
    if (!callrail_read(TEXT("application/json"), object, arena, &call, why))
        return false;
    *ret = (struct callrail_listed){ .body = object, .started_us = -1 };
    memcpy(ret->call_id, call.call_id, sizeof(call.call_id));
    if (call_facts_read(CALLRAIL_LAST_HOOK, "application/json", object, arena, &facts, why) && facts.started_us >= 0) {
        ret->started_us = facts.started_us;
        ret->over_us = over_us(&facts);
        ret->recording_url = facts.recording_url;
    }
    identify(ret);
    return true;
}

/* The object, member by member, but for its recording. */
static void write_with(struct buf *out, struct text object, const char *recording_url)
{
    struct json_value whole, value;
    struct json_scan scan;
    struct text member;
    json_parse(object, &whole, NULL);
    json_enter(&scan, whole);
    buf_add_char(out, '{');
    while (json_member(&scan, &member, &value)) {
        json_separate(out);
        buf_add_text(out, member);
        buf_add_char(out, ':');
        if (json_string_is(member, "recording"))
            json_write_string(out, recording_url);
        else
            buf_add_text(out, value.raw);
    }
    buf_add_char(out, '}');
}

void callrail_listed_record(struct callrail_listed *listed, const char *recording_url, struct arena *arena)
{
    struct buf out;
    buf_init(&out, WEBHOOK_BYTES_MAX);
    write_with(&out, listed->body, recording_url);
    listed->body = (struct text){ arena_copy_text(arena, buf_text(&out)), out.bytes };
    listed->recording_url = recording_url;
    identify(listed);
    buf_done(&out);
}

/* --- a recording's link ---------------------------------------------------------------------------------------- */

bool callrail_link_is(struct text body, struct problem *why)
{
    struct json_value whole, url;
    if (!json_parse(body, &whole, why))
        return false;
    return (json_find(whole, "url", &url) && url.kind == JSON_STRING) || fail(why, "it has no url");
}

const char *callrail_link_read(struct text body, struct arena *arena)
{
    struct json_value whole, url;
    return json_parse(body, &whole, NULL) && json_find(whole, "url", &url) ? json_string(url, arena) : NULL;
}
