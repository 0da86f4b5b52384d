/* What CallRail's webhooks say of a call, one by one and together: ingest/call_facts.c. */
#include "ingest/call_facts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#define ARENA_BYTES_MAX ((size_t)96 << 20)
#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"

static int start(void **state)
{
    *state = arena_new(ARENA_BYTES_MAX);
    return 0;
}

static int finish(void **state)
{
    arena_free(*state);
    return 0;
}

/* All that was said, as "name=value" in a fixed order. */
static const char *print(const struct call_facts *facts, struct arena *arena)
{
    struct buf out;
    char time[TIME_BYTES];
    buf_init(&out, 1 << 20);
    const struct {
        const char *name, *value;
    } strings[] = { { "customer", facts->customer_number },
                    { "tracking", facts->tracking_number },
                    { "name", facts->customer_name },
                    { "direction", facts->direction },
                    { "recording", facts->recording_url },
                    { "agent", facts->agent_email },
                    { "number", facts->answered_number },
                    { "answered", facts->has_answered ? facts->answered ? "yes" : "no" : NULL },
                    { "voicemail", facts->has_voicemail ? facts->voicemail ? "yes" : "no" : NULL } };
    for (size_t i = 0; i < LENGTH(strings); i++)
        if (strings[i].value)
            buf_printf(&out, "%s=%s ", strings[i].name, strings[i].value);
    if (facts->duration_s >= 0)
        buf_printf(&out, "duration=%lld ", (long long)facts->duration_s);
    if (facts->started_us >= 0)
        buf_printf(&out, "started=%.19s ", time_print(facts->started_us, time));
    const char *copy = arena_copy_text(arena, (struct text){ out.at ? out.at : "", out.bytes ? out.bytes - 1 : 0 });
    buf_done(&out);
    return copy;
}

/* --- one webhook -------------------------------------------------------------------------------------------------- */

#define TEN(x) x x x x x x x x x x

static const struct {
    const char *name, *type, *body;
    const char *facts;                  /* NULL: it fails … */
    const char *pointer, *reason;       /* … there, for that */
} bodies[] = {
    { "our spelling", JSON,
      "{\"call_id\":\"C\",\"caller_number\":\"+15550100001\",\"tracking_number\":\"+15550100009\","
      "\"recording_url\":\"https://r.test/1\","
      "\"duration\":61,\"answered\":true,\"timestamp\":\"2026-11-21T09:30:00Z\"}",
      "customer=+15550100001 tracking=+15550100009 recording=https://r.test/1 answered=yes duration=61", 0, 0 },
    { "CallRail's spelling", JSON,
      "{\"resource_id\":\"C\",\"customer_phone_number\":\"+15550100001\",\"tracking_phone_number\":\"+15550100009\","
      "\"recording\":"
      "\"https://r.test/1\",\"duration\":\"61\",\"answered\":false,\"voicemail\":true,\"customer_name\":\"Ana\","
      "\"direction\":\"inbound\","
      "\"start_time\":\"2026-11-21T09:30:00.123-05:00\",\"agent_email\":\"ann@x.test\","
      "\"business_phone_number\":\"+15550100002\"}",
      "customer=+15550100001 tracking=+15550100009 name=Ana direction=inbound recording=https://r.test/1"
      " agent=ann@x.test "
      "number=+15550100002 answered=no voicemail=yes duration=61 started=2026-11-21T14:30:00",
      0, 0 },
    { "the webhooks' other name of the caller", JSON, "{\"customer_number\":\"+15550100001\"}", "customer=+15550100001",
      0, 0 },
    { "both spellings: ours counts", JSON,
      "{\"customer_number\":\"3\",\"customer_phone_number\":\"2\",\"caller_number\":\"1\","
      "\"recording\":\"http://b\",\"recording_url\":\"http://a\"}",
      "customer=1 recording=http://a", 0, 0 },
    { "ours says nothing: theirs counts", JSON,
      "{\"caller_number\":\"\",\"customer_phone_number\":null,\"customer_number\":\"3\"}", "customer=3", 0, 0 },
    { "a form", FORM,
      "caller_number=%2B15550100001&duration=61&answered=true&recording_url=https%3A%2F%2Fr.test%2F1%3Fa%3Db"
      "&customer_name=Ana+S",
      "customer=+15550100001 name=Ana S recording=https://r.test/1?a=b answered=yes duration=61", 0, 0 },
    { "a form in CallRail's spelling", FORM "; charset=utf-8",
      "customer_phone_number=1&tracking_phone_number=2&answered=0&voicemail=1",
      "customer=1 tracking=2 answered=no voicemail=yes", 0, 0 },
    { "a form with empty fields", FORM, "caller_number=&duration=&answered=&timestamp=&start_time=", "", 0, 0 },
    { "nulls", JSON,
      "{\"duration\":null,\"answered\":null,\"recording\":null,\"start_time\":null,\"customer_name\":null}", "", 0, 0 },
    { "nothing", JSON, "{}", "", 0, 0 },
    { "nothing in a form", FORM, "", "", 0, 0 },
    { "members it does not know", JSON, "{\"tags\":[{\"a\":[]}],\"changes\":[\"note\"],\"value\":{}}", "", 0, 0 },
    { "a number as a number", JSON, "{\"caller_number\":15550100001}", "customer=15550100001", 0, 0 },
    { "switches in any letters", JSON, "{\"answered\":\"TRUE\",\"voicemail\":\"False\"}", "answered=yes voicemail=no",
      0, 0 },
    { "switches as numbers", JSON, "{\"answered\":1,\"voicemail\":0}", "answered=yes voicemail=no", 0, 0 },
    { "part of a second", JSON, "{\"duration\":61.5}", "duration=62", 0, 0 },
    { "no duration at all", JSON, "{\"duration\":0}", "duration=0", 0, 0 },
    { "the longest duration", JSON, "{\"duration\":604800}", "duration=604800", 0, 0 },
    { "escapes and letters", JSON, "{\"customer_name\":\"Jos\\u00e9 \\\"\xe6\x9d\x8e\\\" \\ud83d\\ude00\"}",
      "name=Jos\xc3\xa9 \"\xe6\x9d\x8e\" \xf0\x9f\x98\x80", 0, 0 },
    { "before 1970", JSON, "{\"start_time\":\"1969-07-20T20:17:40Z\"}", "", 0, 0 },
    { "a name of the largest size", JSON, "{\"customer_name\":\"" TEN(TEN("ab")) TEN("abcde") "abcdef\"}",
      "name=" TEN(TEN("ab")) TEN("abcde") "abcdef", 0, 0 },

    { "a caller that is an object", JSON, "{\"caller_number\":{}}", NULL, "/caller_number",
      "must be text, a number, true or false" },
    { "a caller that is a list", JSON, "{\"customer_number\":[1]}", NULL, "/customer_number", "must be text" },
    { "a caller too long", JSON, "{\"customer_phone_number\":\"" TEN("1234567") "\"}", NULL, "/customer_phone_number",
      "at most 64 bytes" },
    { "a tracking number too long", FORM, "tracking_number=" TEN("1234567"), NULL, "/tracking_number",
      "at most 64 bytes" },
    { "a name too long", JSON, "{\"customer_name\":\"" TEN(TEN("abc")) "\"}", NULL, "/customer_name",
      "at most 256 bytes" },
    { "an agent too long", JSON, "{\"agent_email\":\"" TEN(TEN("abc")) "\"}", NULL, "/agent_email",
      "at most 256 bytes" },
    { "a direction too long", FORM, "direction=" TEN("1234567"), NULL, "/direction", "at most 64 bytes" },
    { "an answering number too long", FORM, "business_phone_number=" TEN("1234567"), NULL, "/business_phone_number",
      "at most 64 bytes" },
    { "a duration that is none", JSON, "{\"duration\":\"1:01\"}", NULL, "/duration",
      "a number of seconds from 0 to 604800" },
    { "a negative duration", JSON, "{\"duration\":-1}", NULL, "/duration", "a number of seconds" },
    { "too long a duration", JSON, "{\"duration\":604801}", NULL, "/duration", "a number of seconds" },
    { "a duration beyond all numbers", JSON, "{\"duration\":1e999}", NULL, "/duration", "a number of seconds" },
    { "a duration that is no number", FORM, "duration=nan", NULL, "/duration", "a number of seconds" },
    { "an endless duration", FORM, "duration=inf", NULL, "/duration", "a number of seconds" },
    { "a duration in hex", FORM, "duration=0x3d", NULL, "/duration", "a number of seconds" },
    { "a duration and more", FORM, "duration=61s", NULL, "/duration", "a number of seconds" },
    { "a duration behind a blank", FORM, "duration=+61", NULL, "/duration", "a number of seconds" },
    { "a duration that is true", JSON, "{\"duration\":true}", NULL, "/duration", "a number of seconds" },
    { "answered perhaps", JSON, "{\"answered\":\"perhaps\"}", NULL, "/answered", "must be true or false" },
    { "answered twice over", JSON, "{\"answered\":2}", NULL, "/answered", "must be true or false" },
    { "voicemail in words", FORM, "voicemail=yes", NULL, "/voicemail", "must be true or false" },
    { "a recording elsewhere", JSON, "{\"recording\":\"ftp://r.test/1\"}", NULL, "/recording",
      "begins with http:// or https://" },
    { "a recording in a file", FORM, "recording_url=file:///etc/passwd", NULL, "/recording_url",
      "begins with http://" },
    { "a recording with a blank", JSON, "{\"recording\":\"http://r.test/a b\"}", NULL, "/recording", "without blanks" },
    { "a recording with a line break", JSON, "{\"recording\":\"http://r.test/a\\nHost: x\"}", NULL, "/recording",
      "without blanks" },
    { "a recording beyond ASCII", JSON, "{\"recording\":\"http://r.test/\xc3\xa9\"}", NULL, "/recording",
      "beyond ASCII" },
    { "a time that is none", JSON, "{\"timestamp\":\"yesterday\"}", NULL, "/timestamp", "a time like" },
    { "a time without offset", JSON, "{\"start_time\":\"2026-11-21T09:30:00\"}", NULL, "/start_time", "a time like" },
    { "a day that is none", FORM, "start_time=2026-02-30T00:00:00Z", NULL, "/start_time", "a time like" },
    { "a time as a number", JSON, "{\"timestamp\":1700000000}", NULL, "/timestamp", "a time like" },
    { "a time beyond all years", JSON, "{\"timestamp\":\"9999-12-31T23:59:59-01:00\"}", NULL, "/timestamp",
      "a time like" },
    { "a field twice", JSON, "{\"duration\":61,\"note\":1,\"duration\":62}", NULL, "/duration", "is given twice" },
    { "a field twice, once of nothing", JSON, "{\"answered\":null,\"answered\":true}", NULL, "/answered",
      "is given twice" },
    { "a field twice, in a form", FORM, "duration=61&note=1&duration=61", NULL, "/duration", "is given twice" },
    { "not JSON", JSON, "{\"duration\":", NULL, "", "" },
    { "a list", JSON, "[]", NULL, "", "not an object" },
    { "text", JSON, "\"x\"", NULL, "", "not an object" },
    { "nothing at all", JSON, "", NULL, "", "" },
    { "not UTF-8", JSON, "{\"customer_name\":\"\xff\"}", NULL, "", "" },
    { "a zero byte", JSON, "{\"customer_name\":\"a\\u0000b\"}", NULL, "", "" },
    { "a broken escape in a form", FORM, "duration=%zz", NULL, "", "" },
};

static void bodies_are_read(void **state)
{
    for (size_t i = 0; i < LENGTH(bodies); i++) {
        struct call_facts facts;
        struct problem why = { 0 };
        print_message("%s\n", bodies[i].name);
        bool good = call_facts_read("call.completed", bodies[i].type, text_of(bodies[i].body), *state, &facts, &why);
        if (good != (bodies[i].facts != NULL))
            fail_msg("%s %s", why.pointer, why.text);
        if (good) {
            assert_string_equal(print(&facts, *state), bodies[i].facts);
            continue;
        }
        assert_string_equal(why.pointer, bodies[i].pointer);
        assert_non_null(strstr(why.text, bodies[i].reason));
        assert_true(why.text[0] != '\0');
    }
}

static void a_huge_address_is_refused(void **state)
{
    char *body = arena_alloc(*state, 8192);
    struct call_facts facts;
    struct problem why;
    int used = sprintf(body, "recording_url=http://r.test/");
    memset(body + used, 'x', 4096 - strlen("http://r.test/"));
    assert_true(call_facts_read("call.completed", FORM, text_of(body), *state, &facts, &why));
    strcat(body, "x");
    assert_false(call_facts_read("call.completed", FORM, text_of(body), *state, &facts, &why));
    assert_string_equal(why.pointer, "/recording_url");
    assert_string_equal(why.text, "must have at most 4096 bytes");
}

/* A report's row gives the report back. */
static void rows_give_reports_back(void **state)
{
    for (size_t i = 0; i < LENGTH(bodies); i++) {
        struct call_facts facts, restored;
        struct problem why = { 0 };
        struct buf row;
        if (!bodies[i].facts)
            continue;
        assert_true(call_facts_read("call.completed", bodies[i].type, text_of(bodies[i].body), *state, &facts, &why));
        buf_init(&row, 1 << 20);
        call_facts_write(&row, &facts);
        if (!call_facts_restore(buf_text(&row), *state, &restored, &why))
            fail_msg("%s: %s %s", row.at, why.pointer, why.text);
        assert_string_equal(print(&restored, *state), bodies[i].facts);
        buf_done(&row);
    }
}

static void hooks_have_their_order(void **state)
{
    assert_int_equal(call_hook_rank("call.incoming"), 0);
    assert_int_equal(call_hook_rank("call.answered"), 1);
    assert_int_equal(call_hook_rank("call.completed"), 2);
    assert_int_equal(call_hook_rank("call.modified"), -1);
    assert_int_equal(call_hook_rank(""), -1);
    (void)state;
}

/* --- together ----------------------------------------------------------------------------------------------------- */

struct hook {
    const char *name, *body;
    int reported_s;
};

#define HOOKS_MAX 6
static const struct {
    const char *name;
    struct hook hooks[HOOKS_MAX];
    const char *status, *facts;
} calls[] = {
    { "it rings",
      { { "call.incoming", "{\"caller_number\":\"1\",\"tracking_number\":\"2\",\"answered\":false,\"duration\":0}",
          100 } },
      "ringing",
      "customer=1 tracking=2 started=1970-01-01T00:01:40" },
    { "somebody picks up",
      { { "call.incoming", "{\"caller_number\":\"1\",\"answered\":false}", 100 },
        { "call.answered", "{\"answered\":true}", 105 } },
      "in_progress",
      "customer=1 answered=yes started=1970-01-01T00:01:40" },
    { "answered, in our spelling",
      { { "call.incoming", "{\"caller_number\":\"1\",\"tracking_number\":\"2\",\"answered\":false}", 100 },
        { "call.answered", "{\"caller_number\":\"1\",\"tracking_number\":\"2\",\"answered\":true}", 105 },
        { "call.completed",
          "{\"caller_number\":\"1\",\"answered\":true,\"duration\":61,\"recording_url\":\"http://r/1\"}", 170 } },
      "completed",
      "customer=1 tracking=2 recording=http://r/1 answered=yes duration=61 started=1970-01-01T00:01:40" },
    { "the same in both spellings at once",
      { { "call.incoming", "{\"caller_number\":\"1\",\"tracking_number\":\"2\",\"answered\":false}", 100 },
        { "call.incoming", "{\"customer_phone_number\":\"1\",\"tracking_phone_number\":\"2\",\"answered\":false}",
          100 },
        { "call.completed",
          "{\"customer_phone_number\":\"1\",\"answered\":true,\"duration\":\"61\",\"recording\":\"http://r/1\"}", 170 },
        { "call.completed",
          "{\"caller_number\":\"1\",\"answered\":true,\"duration\":61,\"recording_url\":\"http://r/1\"}", 170 } },
      "completed",
      "customer=1 tracking=2 recording=http://r/1 answered=yes duration=61 started=1970-01-01T00:01:40" },
    { "a duplicate of each",
      { { "call.incoming", "{\"caller_number\":\"1\"}", 100 },
        { "call.incoming", "{\"caller_number\":\"1\"}", 100 },
        { "call.answered", "{}", 105 },
        { "call.answered", "{}", 105 },
        { "call.completed", "{\"duration\":5,\"answered\":true}", 110 },
        { "call.completed", "{\"duration\":5,\"answered\":true}", 110 } },
      "completed",
      "customer=1 answered=yes duration=5 started=1970-01-01T00:01:40" },
    { "missed",
      { { "call.incoming", "{\"answered\":false}", 100 },
        { "call.completed", "{\"answered\":false,\"duration\":12}", 112 } },
      "missed",
      "answered=no duration=12 started=1970-01-01T00:01:40" },
    { "missed, with a voicemail that comes later",
      { { "call.incoming", "{}", 100 },
        { "call.completed", "{\"answered\":false,\"voicemail\":true}", 112 },
        { "call.completed", "{\"answered\":false,\"voicemail\":true,\"recording\":\"http://r/v\"}", 900 } },
      "missed",
      "recording=http://r/v answered=no voicemail=yes started=1970-01-01T00:01:40" },
    { "missed, with a recording: that there was no voicemail yet when it rang says nothing",
      { { "call.incoming", "{\"answered\":false,\"voicemail\":false}", 100 },
        { "call.completed", "{\"answered\":false,\"recording\":\"http://r/v\"}", 112 } },
      "missed",
      "recording=http://r/v answered=no started=1970-01-01T00:01:40" },
    { "modified later: the later value counts, what it leaves out stays",
      { { "call.completed",
          "{\"answered\":true,\"customer_name\":\"Ana\",\"duration\":61,\"recording\":\"http://r/1\"}", 170 },
        { "call.completed", "{\"answered\":true,\"customer_name\":\"Anna\"}", 300 },
        { "call.completed", "{\"answered\":true,\"duration\":62}", 250 } },
      "completed",
      "name=Anna recording=http://r/1 answered=yes duration=62 started=1970-01-01T00:01:48" },
    { "completed does not say whether somebody answered",
      { { "call.answered", "{}", 105 }, { "call.completed", "{\"duration\":5}", 111 } },
      "completed",
      "answered=yes duration=5 started=1970-01-01T00:01:45" },
    { "nobody says whether somebody answered",
      { { "call.completed", "{}", 111 } },
      "completed",
      "started=1970-01-01T00:01:51" },
    { "a report of the end says missed, whatever else is said",
      { { "call.answered", "{\"answered\":true}", 105 },
        { "call.completed", "{\"answered\":false}", 110 },
        { "call.completed", "{\"answered\":true}", 120 } },
      "missed",
      "answered=no started=1970-01-01T00:01:45" },
    { "it tells its own start",
      { { "call.incoming", "{}", 100 },
        { "call.completed", "{\"start_time\":\"1970-01-01T00:00:30Z\",\"duration\":9}", 111 } },
      "completed",
      "duration=9 started=1970-01-01T00:00:30" },
    { "only its end came: it began its length before",
      { { "call.completed", "{\"answered\":true,\"duration\":60}", 160 } },
      "completed",
      "answered=yes duration=60 started=1970-01-01T00:01:40" },
    { "ringing says duration 0, which is no length",
      { { "call.incoming", "{\"duration\":0}", 100 }, { "call.answered", "{\"duration\":0}", 101 } },
      "in_progress",
      "answered=yes started=1970-01-01T00:01:40" },
};

/* Each hook as a report; two that are equal in all are two events still. */
static size_t read_reports(const struct hook *hooks, struct call_facts *ret, struct arena *arena)
{
    size_t count = 0;
    for (; count < HOOKS_MAX && hooks[count].name; count++) {
        struct problem why;
        assert_true(call_facts_read(hooks[count].name, JSON, text_of(hooks[count].body), arena, &ret[count], &why));
        ret[count].reported_us = (int64_t)hooks[count].reported_s * 1000000;
        ret[count].event_id = arena_printf(arena, "00000000-0000-4000-8000-%012zu", count);
    }
    return count;
}

static const char *fold(const struct call_facts *reports, size_t count, struct arena *arena)
{
    struct call_facts *copy = arena_alloc(arena, count * sizeof(*copy));
    struct call_state call;
    memcpy(copy, reports, count * sizeof(*copy));
    call_fold(copy, count, &call);
    return arena_printf(arena, "%s: %s", call.status, print(&call.facts, arena));
}

static void swap(struct call_facts *a, struct call_facts *b)
{
    struct call_facts kept = *a;
    *a = *b;
    *b = kept;
}

/* Heap's algorithm: every order of the first `left`. */
static int fold_every_order(struct call_facts *reports, size_t left, size_t count, const char *wanted,
                            struct arena *arena)
{
    int orders = 0;
    if (left <= 1) {
        assert_string_equal(fold(reports, count, arena), wanted);
        return 1;
    }
    for (size_t i = 0; i < left; i++) {
        orders += fold_every_order(reports, left - 1, count, wanted, arena);
        swap(&reports[left % 2 ? 0 : i], &reports[left - 1]);
    }
    return orders;
}

static void every_order_says_the_same(void **state)
{
    int orders = 0;
    for (size_t i = 0; i < LENGTH(calls); i++) {
        struct call_facts reports[HOOKS_MAX];
        print_message("%s\n", calls[i].name);
        size_t count = read_reports(calls[i].hooks, reports, *state);
        orders += fold_every_order(reports, count, count,
                                   arena_printf(*state, "%s: %s", calls[i].status, calls[i].facts), *state);
    }
    print_message("%d orders\n", orders);
}

/* --- any webhooks at all ------------------------------------------------------------------------------------------ */

#define RANDOM_CALLS 4000
#define RANDOM_REPORTS 9

static const char *any(unsigned *seed, const char *const *choices, size_t count)
{
    return choices[(unsigned)rand_r(seed) % count];
}
#define ANY(seed, ...) any((seed), (const char *const[]){ __VA_ARGS__ }, LENGTH(((const char *const[]){ __VA_ARGS__ })))

static void random_report(unsigned *seed, int number, struct call_facts *ret, struct arena *arena)
{
    struct problem why;
    const char *body = arena_printf(
        arena, "{\"a\":1%s%s%s%s%s%s%s}",
        ANY(seed, "", ",\"caller_number\":\"1\"", ",\"customer_number\":\"2\"", ",\"caller_number\":\"\""),
        ANY(seed, "", ",\"answered\":true", ",\"answered\":false", ",\"answered\":null"),
        ANY(seed, "", ",\"voicemail\":true", ",\"voicemail\":0"),
        ANY(seed, "", ",\"duration\":0", ",\"duration\":7", ",\"duration\":\"8\""),
        ANY(seed, "", ",\"recording\":\"http://a\"", ",\"recording_url\":\"http://b\""),
        ANY(seed, "", ",\"start_time\":\"1970-01-01T00:00:09Z\"", ",\"start_time\":\"1970-01-01T00:00:08Z\""),
        ANY(seed, "", ",\"customer_name\":\"Ana\"", ",\"customer_name\":\"Bob\""));
    const char *hook = ANY(seed, "call.incoming", "call.answered", "call.completed");
    assert_true(call_facts_read(hook, JSON, text_of(body), arena, ret, &why));
    ret->reported_us = (10 + rand_r(seed) % 4) * (int64_t)1000000;
    ret->event_id = arena_printf(arena, "00000000-0000-4000-8000-%012d", number);
}

static int status_rank(const char *folded)
{
    static const char *const statuses[] = { "ringing", "in_progress", "completed", "missed" };
    for (int i = 0; i < (int)LENGTH(statuses); i++)
        if (strncmp(folded, statuses[i], strlen(statuses[i])) == 0)
            return i;
    fail_msg("no status: %s", folded);
    return -1;
}

/* In whatever order webhooks come the end is the same, and on the way the status never goes back, which the database
 * forbids, and what was sent to be heard stays so. */
static void random_calls_end_the_same(void **state)
{
    const char *given = getenv("TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : (unsigned)time(NULL);
    print_message("TEST_SEED=%u\n", seed);
    for (int i = 0; i < RANDOM_CALLS; i++) {
        struct call_facts reports[RANDOM_REPORTS];
        size_t count = 1 + (size_t)rand_r(&seed) % RANDOM_REPORTS;
        for (size_t j = 0; j < count; j++)
            random_report(&seed, (int)j, &reports[j], *state);
        const char *wanted = fold(reports, count, *state);
        bool heard = call_is_recorded(reports, count);
        for (int order = 0; order < 5; order++) {
            for (size_t j = count; j > 1; j--)
                swap(&reports[j - 1], &reports[(size_t)rand_r(&seed) % j]);
            int rank = 0;
            bool sent = false;
            for (size_t came = 1; came <= count; came++) {
                int next = status_rank(fold(reports, came, *state));
                assert_true(next >= rank);
                rank = next;
                assert_true(call_is_recorded(reports, came) >= sent);
                sent = call_is_recorded(reports, came);
            }
            assert_int_equal(sent, heard);
            assert_string_equal(fold(reports, count, *state), wanted);
        }
        arena_reset(*state);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_are_read, start, finish),
        cmocka_unit_test_setup_teardown(a_huge_address_is_refused, start, finish),
        cmocka_unit_test_setup_teardown(rows_give_reports_back, start, finish),
        cmocka_unit_test(hooks_have_their_order),
        cmocka_unit_test_setup_teardown(every_order_says_the_same, start, finish),
        cmocka_unit_test_setup_teardown(random_calls_end_the_same, start, finish),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
