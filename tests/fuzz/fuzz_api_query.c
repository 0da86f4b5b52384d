/* Whatever the address of GET /api/v1/calls says, what is read of it is within its limits, and what is refused has a
 * reason. */
#include "tests/fuzz/fuzz.h"

#include "ingest/api_query.h"

#include "common/crypto.h"
#include "common/form.h"
#include "events.h"

#define URL_BYTES_MAX (64 * 1024)

static void check_query(const struct calls_query *query, struct arena *arena)
{
    struct calls_cursor again;
    struct problem why;

    check(query->limit >= 1 && query->limit <= API_LIMIT_MAX);
    check(!query->status || call_status_rank(query->status) >= 0);
    check(!query->from || strlen(query->from) == 10);
    check(!query->to || strlen(query->to) == 10);
    check(!query->search || (query->search[0] && text_is_utf8(text_of(query->search))));
    if (strcmp(query->after.at, "infinity") == 0)
        return;
    check(calls_cursor_read(text_of(calls_cursor_print(&query->after, arena)), arena, &again, &why));
    check(strcmp(again.at, query->after.at) == 0 && strcmp(again.call_id, query->after.call_id) == 0);
}

/* A word that is read is the one word for what it says. */
static void check_cursor(struct text word, struct arena *arena)
{
    struct calls_cursor cursor;
    struct problem why = { .text = "" };

    if (calls_cursor_read(word, arena, &cursor, &why))
        check(text_is(word, calls_cursor_print(&cursor, arena)));
    else
        check(why.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct calls_query query;
    struct problem why = { .text = "" };

    if (size > URL_BYTES_MAX || !crypto_init(&why))
        return 0;
    CLEANUP(arena_freep) struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(URL_BYTES_MAX) + (1 << 20));
    struct text input = { (const char *)data, size };
    if (calls_query_read(arena_printf(arena, "/api/v1/calls?%s", arena_copy_text(arena, input)), arena, &query, &why))
        check_query(&query, arena);
    else
        check(why.text[0] != '\0');
    check_cursor(input, arena);
    return 0;
}
