/* What an API request's address says, where a page ends, how far a call has come, and what a token looks like. */
#include "ingest/api.h"

#include <string.h>

#include "common/crypto.h"
#include "ingest/api_calls.h"
#include "ingest/api_list.h"
#include "ingest/byte_range.h"
#include "ingest/tokens.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)8 << 20)
#define TEN_TIMES(s)    s s s s s s s s s s
#define LIST            "/api/v1/calls"
#define FIRST_PAGE(most) .page = { most, { "infinity", "", "" } }

static int start(void **state)
{
    struct problem why;
    assert_true(crypto_init(&why));
    *state = arena_new(ARENA_BYTES_MAX);
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

/* --- parameters ------------------------------------------------------------------------------------------ */

static const struct {
    const char *name, *url;
    struct calls_query wanted;
} readable[] = {
    { "nothing said", LIST, { FIRST_PAGE(50) } },
    { "an empty query", LIST "?", { FIRST_PAGE(50) } },
    { "all of them, empty",
      LIST "?limit=&cursor=&status=&from=&to=&q=",
      { FIRST_PAGE(50) } },
    { "the least", LIST "?limit=1", { FIRST_PAGE(1) } },
    { "the most", LIST "?limit=200", { FIRST_PAGE(200) } },
    { "leading zeros", LIST "?limit=0020", { FIRST_PAGE(20) } },
    { "to be called back",
      LIST "?status=missed&callback=open",
      { FIRST_PAGE(50), .status = "missed", .callback = "open" } },
    { "a status", LIST "?status=in_progress", { FIRST_PAGE(50), .status = "in_progress" } },
    { "days",
      LIST "?from=2024-02-29&to=2024-02-29",
      { FIRST_PAGE(50), .from = "2024-02-29", .to = "2024-02-29" } },
    { "the last day there is", LIST "?to=9999-12-31", { FIRST_PAGE(50), .to = "9999-12-31" } },
    { "words",
      LIST "?q=water+heater%20%22caf%C3%A9%22",
      { FIRST_PAGE(50), .search = "water heater \"café\"" } },
    { "words with what SQL is made of",
      LIST "?q=%27%3B+DROP+TABLE+calls%3B--",
      { FIRST_PAGE(50), .search = "'; DROP TABLE calls;--" } },
    { "escaped names", LIST "?l%69mit=7&&", { FIRST_PAGE(7) } },
};

static void assert_same(const char *a, const char *b)
{
    if (a && b)
        assert_string_equal(a, b);
    else
        assert_ptr_equal(a, b);
}

static void reads_parameters(void **state)
{
    for (size_t i = 0; i < LENGTH(readable); i++) {
        struct calls_query query;
        struct problem why = { 0 };
        if (!calls_query_read(readable[i].url, *state, &query, &why))
            fail_msg("%s: %s: %s", readable[i].name, why.pointer, why.text);
        assert_int_equal(query.page.limit, readable[i].wanted.page.limit);
        assert_same(query.status, readable[i].wanted.status);
        assert_same(query.from, readable[i].wanted.from);
        assert_same(query.to, readable[i].wanted.to);
        assert_same(query.search, readable[i].wanted.search);
        assert_same(query.callback, readable[i].wanted.callback);
        assert_same(query.page.after.at, readable[i].wanted.page.after.at);
        assert_same(query.page.after.id, "");
    }
}

static const struct {
    const char *url, *parameter, *reason;
} unreadable[] = {
    { "?limit=0", "limit", "from 1 to 200" },
    { "?limit=201", "limit", "from 1 to 200" },
    { "?limit=-1", "limit", "from 1 to 200" },
    { "?limit=+5", "limit", "from 1 to 200" }, /* a blank in front */
    { "?limit=5.0", "limit", "from 1 to 200" },
    { "?limit=5%0A", "limit", "from 1 to 200" },
    { "?limit=99999999999999999999", "limit", "from 1 to 200" },
    { "?limit=4294967297", "limit", "from 1 to 200" },
    { "?limit=ten", "limit", "from 1 to 200" },
    { "?limit=5&limit=5", "limit", "given twice" },
    { "?limit=&limit=5", "limit", "given twice" },
    { "?limit=5%00", "limit", "zero byte" },
    { "?status=COMPLETED", "status", "ringing" },
    { "?status=completed,missed", "status", "ringing" },
    { "?status=x%27+OR+1=1", "status", "ringing" },
    { "?callback=yes", "callback", "open or done" },
    { "?from=2026-02-29", "from", "a day" },
    { "?from=2026-13-01", "from", "a day" },
    { "?from=2026-1-1", "from", "a day" },
    { "?from=0000-01-01", "from", "a day" },
    { "?from=infinity", "from", "a day" },
    { "?from=today", "from", "a day" },
    { "?from=2026-01-01T00:00:00Z", "from", "a day" },
    { "?from=%202026-01-1", "from", "a day" },
    { "?to=20260101aa", "to", "a day" },
    { "?from=2026-01-02&to=2026-01-01", "to", "before from" },
    { "?q=" TEN_TIMES("aaaaaaaaaaaaaaaaaaaaa"), "q", "at most 200" },
    { "?q=a%00b", "q", "zero byte" },
    { "?q=%zz", "", "two hex digits" },
    { "?Limit=5", "Limit", "no parameter" },
    { "?offset=10", "offset", "no parameter" },
    { "?tenant=other", "tenant", "no parameter" },
    { "?=5", "", "no parameter" },
    { "?limit", NULL, NULL }, /* no value: as if it were not there */
    { "?cursor=x", "cursor", "next_cursor" },
    { "?cursor=AAAA", "cursor", "next_cursor" },
    { "?cursor=AAAAAAAAAAAA", "cursor", "next_cursor" },
    { "?cursor=" TEN_TIMES(TEN_TIMES("AAAAAAAAAAAA")), "cursor", "next_cursor" },
    { "?cursor=%00", "cursor", "zero byte" },
};

static void names_the_wrong_parameter(void **state)
{
    for (size_t i = 0; i < LENGTH(unreadable); i++) {
        struct calls_query query;
        struct problem why = { 0 };
        const char *url = arena_printf(*state, LIST "%s", unreadable[i].url);
        bool read = calls_query_read(url, *state, &query, &why);
        if (read != !unreadable[i].parameter)
            fail_msg("%s", url);
        if (read)
            continue;
        assert_string_equal(why.pointer, unreadable[i].parameter);
        if (!strstr(why.text, unreadable[i].reason))
            fail_msg("%s: %s", url, why.text);
    }
}

static void refuses_too_many_parameters(void **state)
{
    struct problem why = { 0 };
    struct calls_query query;
    struct buf url;

    buf_init(&url, 1 << 20);
    buf_add_string(&url, LIST "?");
    for (int i = 0; i < 600; i++)
        buf_add_string(&url, "limit&");
    assert_false(calls_query_read(url.at, *state, &query, &why));
    buf_done(&url);
}

/* --- cursors --------------------------------------------------------------------------------------------- */

static const struct api_cursor cursors[] = {
    { "2026-11-21T06:29:49.123456Z", "CAL0123456789abcdef", "acme" },
    { "1970-01-01T00:00:00.000000Z", "a", "b" },
    { "2026-11-21T06:29:49.000000Z", "id with \xC3\xA4, ~ and /", "a_company-with-63-characters" },
};

static void cursors_come_back(void **state)
{
    for (size_t i = 0; i < LENGTH(cursors); i++) {
        struct api_cursor read;
        struct problem why;
        const char *word = api_cursor_print(&calls_order, &cursors[i], *state);
        assert_int_equal(strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         strlen(word));
        assert_true(api_cursor_read(&calls_order, text_of(word), *state, &read, &why));
        assert_string_equal(read.at, cursors[i].at);
        assert_string_equal(read.id, cursors[i].id);
        assert_string_equal(read.tenant, cursors[i].tenant);
    }
}

static void the_longest_cursor_is_read(void **state)
{
    char *call_id = arena_alloc(*state, 4 * 128 + 1), tenant[64]; /* characters of four bytes */
    struct api_cursor read;
    struct problem why;

    for (int i = 0; i < 128; i++)
        memcpy(call_id + 4 * i, "\xF0\x9F\x93\x9E", 4);
    memset(tenant, 'a', sizeof(tenant) - 1);
    tenant[sizeof(tenant) - 1] = '\0';
    const char *word = api_cursor_print(&calls_order, &(struct api_cursor){ cursors[0].at, call_id, tenant }, *state);
    assert_true(api_cursor_read(&calls_order, text_of(word), *state, &read, &why));
    assert_string_equal(read.id, call_id);
}

/* Every letter changed, every cut, and something behind. */
static void a_changed_cursor_is_refused(void **state)
{
    const char *word = api_cursor_print(&calls_order, &cursors[0], *state);
    size_t bytes = strlen(word);
    struct api_cursor read;
    struct problem why;

    for (size_t i = 0; i < bytes; i++) {
        char *other = arena_copy(*state, word);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_false(api_cursor_read(&calls_order, text_of(other), *state, &read, &why));
        assert_string_equal(why.pointer, "cursor");
        assert_false(api_cursor_read(&calls_order, (struct text){ word, i }, *state, &read, &why));
    }
    assert_false(api_cursor_read(&calls_order, text_of(arena_printf(*state, "%sA", word)), *state, &read, &why));
    assert_false(api_cursor_read(&calls_order, text_of(arena_printf(*state, "%s=", word)), *state, &read, &why));
    assert_false(api_cursor_read(&calls_order, text_of(arena_printf(*state, " %s", word)), *state, &read, &why));
}

static void a_cursor_needs_a_time_and_an_id_of_its_kind(void **state)
{
    static const struct {
        const struct api_order *order;
        struct api_cursor cursor;
        bool good;
    } cases[] = {
        { &calls_order, { "infinity", "a", "b" }, false },
        { &calls_order, { "soon", "a", "b" }, false },
        { &calls_order, { "0000-01-01T00:00:00.000000Z", "a", "b" }, false },
        { &calls_order, { "0001-01-01T00:00:00.000000Z", "a", "b" }, true },
        { &calls_order, { "2026-11-21T06:29:49.000000Z", "\xFF", "b" }, false },
        { &calls_order, { "2026-11-21T06:29:49.000000Z", "a", "\xC3" }, false },
        { &leads_order, { "2026-11-21T06:29:49.000000Z", "a", "b" }, false },
        { &leads_order, { "2026-11-21T06:29:49.000000Z", "886313e1-3b8a-5372-9b90-0c9aee199e5d", "b" }, true },
        { &appointments_order, { "9999-12-31T00:00:00.000000Z", "886313e1-3b8a-5372-9b90-0c9aee199e5d", "b" }, true },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct api_cursor read;
        struct problem why;
        const char *word = api_cursor_print(cases[i].order, &cases[i].cursor, *state);
        assert_int_equal(api_cursor_read(cases[i].order, text_of(word), *state, &read, &why), cases[i].good);
    }
}

static void a_cursor_of_another_list_is_refused(void **state)
{
    const struct api_cursor cursor = { cursors[0].at, "886313e1-3b8a-5372-9b90-0c9aee199e5d", "acme" };
    struct api_cursor read;
    struct problem why;
    const char *word = api_cursor_print(&leads_order, &cursor, *state);
    assert_true(api_cursor_read(&leads_order, text_of(word), *state, &read, &why));
    assert_false(api_cursor_read(&sessions_order, text_of(word), *state, &read, &why));
    assert_string_equal(why.pointer, "cursor");
}

/* --- the other lists ------------------------------------------------------------------------------------- */

static void reads_what_other_lists_take(void **state)
{
    struct leads_query leads;
    struct appointments_query appointments;
    struct sessions_query sessions;
    struct problem why;

    assert_true(leads_query_read("/x?status=new,warm,hot&limit=7", *state, &leads, &why));
    assert_string_equal(leads.statuses, "{new,warm,hot}");
    assert_int_equal(leads.page.limit, 7);
    assert_true(leads_query_read("/x", *state, &leads, &why));
    assert_null(leads.statuses);
    static const char *const wrong[] = { "new,", ",new", "new,,hot", "New", "new%20,hot", "{new}", "new;hot", "won" };
    for (size_t i = 0; i < LENGTH(wrong); i++) {
        const char *url = arena_printf(*state, "/x?status=%s", wrong[i]);
        if (leads_query_read(url, *state, &leads, &why))
            fail_msg("%s", url);
        assert_string_equal(why.pointer, "status");
    }
    assert_true(appointments_query_read("/x?date=2026-11-21", *state, &appointments, &why));
    assert_string_equal(appointments.date, "2026-11-21");
    assert_string_equal(appointments.page.after.at, "-infinity");
    assert_false(appointments_query_read("/x?date=today", *state, &appointments, &why));
    assert_string_equal(why.pointer, "date");
    assert_false(appointments_query_read("/x?from=2026-11-21", *state, &appointments, &why));
    assert_true(sessions_query_read("/x?status=stale", *state, &sessions, &why));
    assert_string_equal(sessions.status, "stale");
    assert_false(sessions_query_read("/x?status=open", *state, &sessions, &why));
}

/* --- JSON or CSV ----------------------------------------------------------------------------------------- */

static const struct {
    const char *accept; /* NULL: there is no such header */
    bool csv;
} accepted[] = {
    { NULL, false },
    { "", false },
    { "*/*", false },
    { "application/json", false },
    { "application/xml", false },
    { "text/html, */*", false },
    { "text/csv", true },
    { "TEXT/CSV;charset=utf-8", true },
    { " text/csv ; q=0.5 , application/json;q=0.4", true },
    { "application/json, text/csv", false },
    { "application/json;q=0.9, text/csv", true },
    { "text/csv;q=0.1, application/json", false },
    { "text/*", true },
    { "text/csv;q=0", false },
    { "*/*;q=0.1, text/csv", true },
    { "application/*, text/csv;q=0.2", false },
    { ",,;,text/csv,;", true },
    { "text/csv;q=nonsense", false },
    { "text/csvx", false },
};

static void csv_is_given_to_who_wants_it_more(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(accepted); i++)
        if (api_wants_csv(text_of(accepted[i].accept)) != accepted[i].csv)
            fail_msg("%s", accepted[i].accept);
}

static const struct api_member cell_members[] = { { "text", API_STRING }, { "count", API_INTEGER },
                                                  { "score", API_NUMBER }, { "is", API_BOOLEAN },
                                                  { "list", API_JSON },   { 0 } };
static const struct api_part cell_parts[] = { { NULL, "", cell_members, NULL },
                                              { "part", "part_", cell_members, NULL },
                                              { 0 } };
static const char *const cell_columns[] = { "text",      "count",      "score",   "is",       "list",
                                            "part_text", "part_count", "part_score", "part_is", "part_list" };

static const char *csv_line(struct arena *arena, const char *const values[])
{
    const struct rows rows = { 1, LENGTH(cell_columns), values, cell_columns };
    struct buf out;

    buf_init(&out, 4096);
    api_write_csv_line(&out, &rows, 0, cell_parts);
    const char *line = arena_copy_text(arena, buf_text(&out));
    buf_done(&out);
    return line;
}

static void cells_are_quoted_and_harmless(void **state)
{
    struct buf head;

    buf_init(&head, 4096);
    api_write_csv_head(&head, cell_parts);
    assert_string_equal(head.at, "text,count,score,is,list,part_text,part_count,part_score,part_is,part_list\r\n");
    buf_done(&head);
    assert_string_equal(csv_line(*state, (const char *const[]){ "plain", "-3", "-0.5", "t", "[1,2]", NULL, NULL, NULL,
                                                                NULL, NULL }),
                        "plain,-3,-0.5,true,\"[1,2]\",,,,,\r\n");
    assert_string_equal(csv_line(*state, (const char *const[]){ "say \"hi\", you", NULL, NULL, "f", "{}", "=1+1", "1",
                                                                "1", "t", "two\nlines" }),
                        "\"say \"\"hi\"\", you\",,,false,{},'=1+1,1,1,true,\"two\nlines\"\r\n");
    static const char *const formulas[] = { "=A1", "+15550100001", "-1", "@SUM", "\t=A1", "\r=A1" };
    for (size_t i = 0; i < LENGTH(formulas); i++) {
        const char *const values[LENGTH(cell_columns)] = { formulas[i] };
        const char *line = csv_line(*state, values);
        assert_true(line[0] == '\'' || strncmp(line, "\"'", 2) == 0);
    }
}

/* --- how far a call has come ----------------------------------------------------------------------------- */

#define FINISHED "done"
static const struct {
    const char *name;
    struct call_progress progress;
    struct call_processing wanted;
} stations[] = {
    { "ringing", { .status = "ringing" }, { "waiting", NULL, "the call is not over" } },
    { "talking, with a recording announced",
      { .status = "in_progress", .recorded = true },
      { "waiting", NULL, "the call is not over" } },
    { "over, without a recording", { .status = "completed" }, { "none", NULL, "there is no recording" } },
    { "missed", { .status = "missed" }, { "none", NULL, "there is no recording" } },
    { "missed, with a voicemail", { .status = "missed", .recorded = true }, { "transcribing", NULL, NULL } },
    { "over", { .status = "completed", .recorded = true }, { "transcribing", NULL, NULL } },
    { "never came to be", { .status = "failed", .recorded = true }, { "none", NULL, "there is no recording" } },
    { "the recording was HTML",
      { .status = "completed", .recorded = true, .transcribe_outcome = "rejected", .transcribe_why = "it is HTML" },
      { "failed", "transcribe", "it is HTML" } },
    { "transcription waits",
      { .status = "completed", .recorded = true, .transcribe_outcome = "parked", .transcribe_why = "HTTP status 503" },
      { "waiting", "transcribe", "HTTP status 503" } },
    { "not transcribed on purpose",
      { .status = "completed", .recorded = true, .transcribe_outcome = "skipped", .transcribe_why = "too short" },
      { "none", NULL, "too short" } },
    { "transcribed",
      { .status = "completed", .recorded = true, .transcribed = true, .transcribe_outcome = FINISHED },
      { "transcribed", NULL, NULL } },
    { "transcribed, though an earlier try failed",
      { .status = "completed", .transcribed = true, .transcribe_outcome = "rejected", .transcribe_why = "it is HTML" },
      { "transcribed", NULL, NULL } },
    { "silence",
      { .status = "completed",
        .transcribed = true,
        .analyze_outcome = "skipped",
        .analyze_why = "nobody said anything" },
      { "transcribed", NULL, "nobody said anything" } },
    { "the model spoke nonsense",
      { .status = "completed", .transcribed = true, .analyze_outcome = "rejected", .analyze_why = "not JSON" },
      { "failed", "analyze", "not JSON" } },
    { "the model is away",
      { .status = "completed", .transcribed = true, .analyze_outcome = "parked", .analyze_why = "HTTP status 429" },
      { "waiting", "analyze", "HTTP status 429" } },
    { "analyzed",
      { .status = "completed", .transcribed = true, .analyzed = true, .analyze_outcome = FINISHED },
      { "analyzed", NULL, NULL } },
    { "analyzed, and a replay failed",
      { .status = "completed", .analyzed = true, .analyze_outcome = "rejected", .analyze_why = "x" },
      { "analyzed", NULL, NULL } },
};

static void tells_how_far_a_call_has_come(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(stations); i++) {
        struct call_processing processing = call_processing_of(&stations[i].progress);
        if (strcmp(processing.state, stations[i].wanted.state) != 0)
            fail_msg("%s: %s", stations[i].name, processing.state);
        assert_same(processing.stage, stations[i].wanted.stage);
        assert_same(processing.reason, stations[i].wanted.reason);
    }
}

/* --- a range of bytes ------------------------------------------------------------------------------------- */

static const struct {
    const char *header; /* NULL: there is none */
    int64_t bytes;
    enum byte_range range;
    int64_t first, last;
} ranges[] = {
    { NULL, 100, RANGE_NONE, 0, 0 },
    { "bytes=0-0", 100, RANGE_PART, 0, 0 },
    { "bytes=0-99", 100, RANGE_PART, 0, 99 },
    { "bytes=10-", 100, RANGE_PART, 10, 99 },
    { "bytes=99-100", 100, RANGE_PART, 99, 99 },
    { "bytes=-1", 100, RANGE_PART, 99, 99 },
    { "bytes=-100", 100, RANGE_PART, 0, 99 },
    { "bytes=-101", 100, RANGE_PART, 0, 99 },
    { "bytes=-0", 100, RANGE_OUTSIDE, 0, 0 },
    { "bytes=100-", 100, RANGE_OUTSIDE, 0, 0 },
    { "bytes=0-", 0, RANGE_OUTSIDE, 0, 0 },
    { "bytes=-1", 0, RANGE_OUTSIDE, 0, 0 },
    { "bytes=999999999999999999-", 100, RANGE_OUTSIDE, 0, 0 },
    { "bytes=9999999999999999999-", 100, RANGE_NONE, 0, 0 },
    { "bytes=0-9999999999999999999", 100, RANGE_NONE, 0, 0 },
    { "bytes=5-4", 100, RANGE_NONE, 0, 0 },
    { "bytes=-", 100, RANGE_NONE, 0, 0 },
    { "bytes=", 100, RANGE_NONE, 0, 0 },
    { "bytes", 100, RANGE_NONE, 0, 0 },
    { "bytes=1-2,4-5", 100, RANGE_NONE, 0, 0 },
    { "bytes= 1-2", 100, RANGE_NONE, 0, 0 },
    { "bytes=+1-2", 100, RANGE_NONE, 0, 0 },
    { "items=1-2", 100, RANGE_NONE, 0, 0 },
};

static void reads_a_range_of_bytes(void **state)
{
    (void)state;
    for (size_t i = 0; i < LENGTH(ranges); i++) {
        int64_t first = 0, last = 0;
        enum byte_range range = byte_range_read(text_of(ranges[i].header), ranges[i].bytes, &first, &last);
        if (range != ranges[i].range || (range == RANGE_PART && (first != ranges[i].first || last != ranges[i].last)))
            fail_msg("%s of %lld: %d, %lld to %lld", ranges[i].header, (long long)ranges[i].bytes, range,
                     (long long)first, (long long)last);
    }
}

/* --- tokens and routes ----------------------------------------------------------------------------------- */

static const struct {
    const char *header, *token; /* NULL: none */
} authorizations[] = {
    { "Bearer sb_abcDEF012-_", "sb_abcDEF012-_" },
    { "bearer sb_a", "sb_a" },
    { "BEARER   sb_a", "sb_a" },
    { "Bearer sb_" TEN_TIMES("0123456789ab"), "sb_" TEN_TIMES("0123456789ab") },
    { "", NULL },
    { "Bearer", NULL },
    { "Bearer ", NULL },
    { "Bearer sb_", NULL },
    { "Bearer SB_abc", NULL },
    { "Bearer abc", NULL },
    { "Basic sb_abc", NULL },
    { "sb_abc", NULL },
    { "Bearer sb_abc ", NULL },
    { "Bearer sb_abc, Bearer sb_def", NULL },
    { "Bearer sb_a'b", NULL },
    { "Bearer sb_\xC3\xA4", NULL },
    { "Bearer sb_" TEN_TIMES("0123456789abc"), NULL },
};

static void reads_bearer_tokens(void **state)
{
    struct text token;
    (void)state;
    for (size_t i = 0; i < LENGTH(authorizations); i++) {
        bool read = token_read(text_of(authorizations[i].header), &token);
        if (read != !!authorizations[i].token)
            fail_msg("\"%s\"", authorizations[i].header);
        if (read)
            assert_true(text_is(token, authorizations[i].token));
    }
    assert_false(token_read((struct text){ NULL, 0 }, &token));
    assert_false(token_read(TEXT("Bearer sb_a\0b"), &token));
}

static void every_route_is_described(void **state)
{
    static const struct http_route *const tables[] = { ingest_api_routes, callrail_hook_routes, twilio_hook_routes,
                                                       page_routes };

    for (size_t i = 0; i < LENGTH(tables); i++)
        for (const struct http_route *route = tables[i]; route->method; route++) {
            const char *line = arena_printf(*state, "\n  %s:\n", route->path);
            const char *found = strstr(openapi_yaml, line);
            const char *method = strcmp(route->method, "GET") == 0     ? "\n    get:\n"
                                 : strcmp(route->method, "PATCH") == 0 ? "\n    patch:\n"
                                                                       : "\n    post:\n";
            if (!found || !strstr(found, method))
                fail_msg("schemas/openapi.yaml does not describe %s %s", route->method, route->path);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_parameters),
        cmocka_unit_test(names_the_wrong_parameter),
        cmocka_unit_test(refuses_too_many_parameters),
        cmocka_unit_test(cursors_come_back),
        cmocka_unit_test(the_longest_cursor_is_read),
        cmocka_unit_test(a_changed_cursor_is_refused),
        cmocka_unit_test(a_cursor_needs_a_time_and_an_id_of_its_kind),
        cmocka_unit_test(a_cursor_of_another_list_is_refused),
        cmocka_unit_test(reads_what_other_lists_take),
        cmocka_unit_test(csv_is_given_to_who_wants_it_more),
        cmocka_unit_test(cells_are_quoted_and_harmless),
        cmocka_unit_test(tells_how_far_a_call_has_come),
        cmocka_unit_test(reads_a_range_of_bytes),
        cmocka_unit_test(reads_bearer_tokens),
        cmocka_unit_test(every_route_is_described),
    };
    return cmocka_run_group_tests_name("api", tests, start, finish);
}
