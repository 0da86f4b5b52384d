/* What an API request's address says, where a page ends, how far a call has come, and what a token looks like. */
#include "ingest/api.h"

#include <string.h>

#include "common/crypto.h"
#include "ingest/api_calls.h"
#include "ingest/api_query.h"
#include "ingest/tokens.h"

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)8 << 20)
#define TEN_TIMES(s)    s s s s s s s s s s
#define LIST            "/api/v1/calls"

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
    { "nothing said", LIST, { 50, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "an empty query", LIST "?", { 50, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "all of them, empty",
      LIST "?limit=&cursor=&status=&from=&to=&q=",
      { 50, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "the least", LIST "?limit=1", { 1, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "the most", LIST "?limit=200", { 200, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "leading zeros", LIST "?limit=0020", { 20, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
    { "a status", LIST "?status=in_progress", { 50, "in_progress", NULL, NULL, NULL, { "infinity", "", "" } } },
    { "days",
      LIST "?from=2024-02-29&to=2024-02-29",
      { 50, NULL, "2024-02-29", "2024-02-29", NULL, { "infinity", "", "" } } },
    { "the last day there is", LIST "?to=9999-12-31", { 50, NULL, NULL, "9999-12-31", NULL, { "infinity", "", "" } } },
    { "words",
      LIST "?q=water+heater%20%22caf%C3%A9%22",
      { 50, NULL, NULL, NULL, "water heater \"café\"", { "infinity", "", "" } } },
    { "words with what SQL is made of",
      LIST "?q=%27%3B+DROP+TABLE+calls%3B--",
      { 50, NULL, NULL, NULL, "'; DROP TABLE calls;--", { "infinity", "", "" } } },
    { "escaped names", LIST "?l%69mit=7&&", { 7, NULL, NULL, NULL, NULL, { "infinity", "", "" } } },
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
        assert_int_equal(query.limit, readable[i].wanted.limit);
        assert_same(query.status, readable[i].wanted.status);
        assert_same(query.from, readable[i].wanted.from);
        assert_same(query.to, readable[i].wanted.to);
        assert_same(query.search, readable[i].wanted.search);
        assert_same(query.after.at, readable[i].wanted.after.at);
        assert_same(query.after.call_id, "");
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

static const struct calls_cursor cursors[] = {
    { "2026-11-21T06:29:49.123456Z", "CAL0123456789abcdef", "acme" },
    { "1970-01-01T00:00:00.000000Z", "a", "b" },
    { "2026-11-21T06:29:49.000000Z", "id with \xC3\xA4, ~ and /", "a_company-with-63-characters" },
};

static void cursors_come_back(void **state)
{
    for (size_t i = 0; i < LENGTH(cursors); i++) {
        struct calls_cursor read;
        struct problem why;
        const char *word = calls_cursor_print(&cursors[i], *state);
        assert_int_equal(strspn(word, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"),
                         strlen(word));
        assert_true(calls_cursor_read(text_of(word), *state, &read, &why));
        assert_string_equal(read.at, cursors[i].at);
        assert_string_equal(read.call_id, cursors[i].call_id);
        assert_string_equal(read.tenant, cursors[i].tenant);
    }
}

static void the_longest_cursor_is_read(void **state)
{
    char *call_id = arena_alloc(*state, 4 * 128 + 1), tenant[64]; /* characters of four bytes */
    struct calls_cursor read;
    struct problem why;

    for (int i = 0; i < 128; i++)
        memcpy(call_id + 4 * i, "\xF0\x9F\x93\x9E", 4);
    memset(tenant, 'a', sizeof(tenant) - 1);
    tenant[sizeof(tenant) - 1] = '\0';
    const char *word = calls_cursor_print(&(struct calls_cursor){ cursors[0].at, call_id, tenant }, *state);
    assert_true(calls_cursor_read(text_of(word), *state, &read, &why));
    assert_string_equal(read.call_id, call_id);
}

/* Every letter changed, every cut, and something behind. */
static void a_changed_cursor_is_refused(void **state)
{
    const char *word = calls_cursor_print(&cursors[0], *state);
    size_t bytes = strlen(word);
    struct calls_cursor read;
    struct problem why;

    for (size_t i = 0; i < bytes; i++) {
        char *other = arena_copy(*state, word);
        other[i] = other[i] == 'A' ? 'B' : 'A';
        assert_false(calls_cursor_read(text_of(other), *state, &read, &why));
        assert_string_equal(why.pointer, "cursor");
        assert_false(calls_cursor_read((struct text){ word, i }, *state, &read, &why));
    }
    assert_false(calls_cursor_read(text_of(arena_printf(*state, "%sA", word)), *state, &read, &why));
    assert_false(calls_cursor_read(text_of(arena_printf(*state, "%s=", word)), *state, &read, &why));
    assert_false(calls_cursor_read(text_of(arena_printf(*state, " %s", word)), *state, &read, &why));
}

static void a_cursor_needs_a_time(void **state)
{
    struct calls_cursor read;
    struct problem why;
    const char *word = calls_cursor_print(&(struct calls_cursor){ "infinity", "a", "b" }, *state);
    assert_false(calls_cursor_read(text_of(word), *state, &read, &why));
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
    static const struct http_route *const tables[] = { ingest_api_routes, callrail_hook_routes, twilio_hook_routes };

    for (size_t i = 0; i < LENGTH(tables); i++)
        for (const struct http_route *route = tables[i]; route->method; route++) {
            const char *line = arena_printf(*state, "\n  %s:\n", route->path);
            const char *found = strstr(openapi_yaml, line);
            if (!found || !strstr(found, strcmp(route->method, "GET") == 0 ? "\n    get:\n" : "\n    post:\n"))
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
        cmocka_unit_test(a_cursor_needs_a_time),
        cmocka_unit_test(tells_how_far_a_call_has_come),
        cmocka_unit_test(reads_bearer_tokens),
        cmocka_unit_test(every_route_is_described),
    };
    return cmocka_run_group_tests_name("api", tests, start, finish);
}
