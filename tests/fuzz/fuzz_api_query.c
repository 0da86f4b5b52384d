/* Whatever the address of a list says, what is read of it is within its limits, and what is refused has a
 * reason. */
#include "tests/fuzz/fuzz.h"

#include "ingest/api_query.h"

#include "common/crypto.h"
#include "common/form.h"
#include "events.h"

#define URL_BYTES_MAX (64 * 1024)

static void check_query(const struct calls_query *query, struct arena *arena)
{
    struct api_cursor again;
    struct problem why;

    require(query->page.limit >= 1 && query->page.limit <= API_LIMIT_MAX);
    require(!query->status || call_status_rank(query->status) >= 0);
    require(!query->from || strlen(query->from) == 10);
    require(!query->to || strlen(query->to) == 10);
    require(!query->search || (query->search[0] && text_is_utf8(text_of(query->search))));
    if (strcmp(query->page.after.at, "infinity") == 0)
        return;
    struct text printed = text_of(api_cursor_print(&calls_order, &query->page.after, arena));
    require(api_cursor_read(&calls_order, printed, arena, &again, &why));
    require(strcmp(again.at, query->page.after.at) == 0 && strcmp(again.id, query->page.after.id) == 0);
}

/* Every letter of a Postgres array is one of those that statuses have. */
static void check_others(const char *url, struct arena *arena)
{
    struct leads_query leads;
    struct appointments_query appointments;
    struct sessions_query sessions;
    struct metrics_query metrics;
    struct problem why;

    if (leads_query_read(url, arena, &leads, &why) && leads.statuses)
        require(strspn(leads.statuses, "{,}abcdefghijklmnopqrstuvwxyz") == strlen(leads.statuses));
    if (appointments_query_read(url, arena, &appointments, &why))
        require(!appointments.date || strlen(appointments.date) == 10);
    if (sessions_query_read(url, arena, &sessions, &why))
        require(sessions.page.limit >= 1 && sessions.page.limit <= API_LIMIT_MAX);
    for (int of_self = 0; of_self <= 1; of_self++)
        if (metrics_query_read(url, of_self, arena, &metrics, &why)) {
            require(!metrics.from || strlen(metrics.from) == 10);
            require(!metrics.to || strlen(metrics.to) == 10);
            require(!of_self || !metrics.tenant);
        }
}

/* A word that is read is the one word for what it says. */
static void check_cursor(struct text word, struct arena *arena)
{
    struct api_cursor cursor;
    struct problem why = { .text = "" };

    if (api_cursor_read(&calls_order, word, arena, &cursor, &why))
        require(text_is(word, api_cursor_print(&calls_order, &cursor, arena)));
    else
        require(why.text[0] != '\0');
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct calls_query query;
    struct problem why = { .text = "" };

    if (size > URL_BYTES_MAX || !crypto_init(&why))
        return 0;
    CLEANUP(arena_freep) struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(URL_BYTES_MAX) + (1 << 20));
    struct text input = { (const char *)data, size };
    const char *url = arena_printf(arena, "/api/v1/calls?%s", arena_copy_text(arena, input));
    check_others(url, arena);
    if (calls_query_read(url, arena, &query, &why))
        check_query(&query, arena);
    else
        require(why.text[0] != '\0');
    check_cursor(input, arena);
    return 0;
}
