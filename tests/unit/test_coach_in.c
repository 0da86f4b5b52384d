/* What comes in for the coach, by its effects: record_registration and record_outlook; and what they stand on:
 * addresses, how often one may ask, the page. */
#include "common/email.h"
#include "ingest/coach.h"
#include "ingest/rate.h"
#include "ingest/register_page.h"

#include <stdlib.h>

#include "tests/unit/handler_fixture.h"

static struct ingest ingest = { .default_region = "US", .default_tenant = "acme", .coach_mailbox = "coach@x.example" };
static const struct stage stage = { .name = "ingest", .context = &ingest };

/* --- registrations ------------------------------------------------------------------------------------------------ */

static const struct query_rows nobody[] = {
    { "find_salesperson",
      { "user_id", "first", "registered_since", "knows_phone", "id_taken", "replaces" },
      { NULL, "t", NULL, "f", "f", NULL },
      1 },
    { 0 },
};

static enum outcome register_with(const struct query_rows *rows)
{
    return try_event(
        &stage, record_registration,
        &(struct event){ .type = "registration.received",
                         .subject = "ana@x.example",
                         .data = TEXT("{\"tenant\":\"acme\",\"name\":\"Ana\",\"email\":\"ana@x.example\","
                                      "\"phone\":\"+12025550100\",\"received_at\":\"2026-11-26T07:00:00Z\"}") },
        rows, NULL);
}

static void somebody_new_registers(void **state)
{
    (void)state;
    expect(register_with(nobody), DONE);
    expect_text(effects.at, "row write_salesperson acme|ana@x.example|");
    expect_text(effects.at, "|Ana|+12025550100|2026-11-26T07:00:00Z\n"
                            "row write_user_phone acme|+12025550100|ana@x.example\n"
                            "row claim_meetings acme|ana@x.example|+12025550100|2026-11-26T07:00:00Z\n"
                            "event salesperson.registered ana@x.example ");
    expect_text(effects.at, "\"first\":true,\"phone_is_new\":true}");
    expect_no_text(effects.at, "meeting.changed");
}

static void who_is_known_keeps_the_id(void **state)
{
    static const struct query_rows known[] = {
        { "find_salesperson",
          { "user_id", "first", "registered_since", "knows_phone", "id_taken", "replaces" },
          { "ana-1", "f", "f", "t", "f", "+12025550199" },
          1 },
        { "find_unclaimed_meetings",
          { "meeting_id", "revision", "plan_version" },
          { "11111111-1111-4111-8111-111111111111", "2", "3", "22222222-2222-4222-8222-222222222222", "1", "1" },
          2 },
        { 0 },
    };
    (void)state;
    expect(register_with(known), DONE);
    expect_text(effects.at, "row write_salesperson acme|ana@x.example|ana-1|Ana|");
    expect_text(effects.at, "\"first\":false,\"phone_is_new\":false,\"replaces\":\"+12025550199\"}");
    expect_text(effects.at,
                "event meeting.changed ana@x.example {\"meeting_id\":\"11111111-1111-4111-8111-111111111111\","
                "\"change\":\"claimed\",\"salesperson\":\"ana@x.example\",\"known\":true,\"revision\":2,"
                "\"plan_version\":3}\n");
    expect_text(effects.at, "22222222-2222-4222-8222-222222222222");
}

static void an_id_of_somebody_erased_is_not_taken_again(void **state)
{
    static const struct query_rows erased[] = {
        { "find_salesperson",
          { "user_id", "first", "registered_since", "knows_phone", "id_taken", "replaces" },
          { NULL, "t", NULL, "f", "t", NULL },
          1 },
        { 0 },
    };
    (void)state;
    expect(register_with(nobody), DONE);
    const char *first = arena_copy(arena, effects.at);
    expect(register_with(erased), DONE);
    assert_string_not_equal(first, effects.at);
}

static void who_registered_again_since_is_left_alone(void **state)
{
    static const struct query_rows since[] = {
        { "find_salesperson",
          { "user_id", "first", "registered_since", "knows_phone", "id_taken" },
          { "ana-1", "f", "t", "t", "f" },
          1 },
        { 0 },
    };
    static const struct query_rows no_company[] = { { 0 } };
    (void)state;
    expect(register_with(since), DONE);
    assert_string_equal(effects.at, "skip the person has registered again since\n");
    expect(register_with(no_company), REJECT);
    assert_string_equal(why.text, "there is no company \"acme\"");
}

/* --- meetings ----------------------------------------------------------------------------------------------------- */

#define MEETING "33333333-3333-4333-8333-333333333333"
#define BODY(more)                                                                                                     \
    "{\"meeting\":{\"id\":\"AAMk\",\"title\":\"Talk\",\"start_time\":\"2026-11-27T10:00:00Z\","                        \
    "\"end_time\":\"2026-11-27T11:00:00Z\",\"organizer\":{\"address\":\"Ana@x.example\"}" more "},"                    \
    "\"client\":{\"name\":\"Carl\",\"email\":\"carl@y.example\"}}"

enum { ORGANIZER, COLLEAGUES, KNOWN, TABLES };
static const struct query_rows unknown_meeting[TABLES + 1] = {
    [ORGANIZER] = { "find_organizer",
                    { "tenant", "default_region", "phone", "start_time", "end_time" },
                    { "acme", "US", "+12025550100", "2026-11-27T10:00:00.000000Z", "2026-11-27T11:00:00.000000Z" },
                    1 },
    [COLLEAGUES] = { "find_colleagues", { "email" }, { "ben@x.example" }, 1 },
    [KNOWN] = { "find_meeting",
                { "meeting_id", "salesperson_email", "status", "revision", "plan_version", "client_id", "without_id",
                  "start_time", "told_since", "same_organizer", "same_client", "same_start", "same_end",
                  "same_spelling", "same_title", "same_description", "over", "same_clients" },
                { MEETING, "ana@x.example", "scheduled", "1", "1", "44444444-4444-4444-8444-444444444444", "f",
                  "2026-11-27T09:00:00.000000Z", "f", "t", "t", "t", "t", "t", "t", "t", "f", "t" },
                0 },
};
static struct query_rows tables[TABLES + 1];

static enum outcome tell(const char *body)
{
    struct buf data;
    buf_init(&data, EVENT_INBOUND_BYTES_MAX);
    outlook_meeting_received_write(&data, &(struct outlook_meeting_received){ .received_at = "2026-11-26T07:00:00Z",
                                                                              .content_type = "application/json",
                                                                              .encoding = "text",
                                                                              .body = text_of(body) });
    enum outcome outcome = try_event(
        &stage, record_outlook,
        &(struct event){ .type = "outlook.meeting.received", .subject = "ana@x.example", .data = buf_text(&data) },
        tables, NULL);
    buf_done(&data);
    return outcome;
}

static void known_as(const char *column, const char *value)
{
    struct query_rows *known = &tables[KNOWN];
    for (int i = 0; i < COLUMNS_MAX && known->columns[i]; i++)
        if (strcmp(known->columns[i], column) == 0) {
            known->values[i] = value;
            known->rows = 1;
            return;
        }
    fail_msg("there is no column %s", column);
}

static int start(void **state)
{
    memcpy(tables, unknown_meeting, sizeof(tables));
    return handlers_start(state);
}

static void a_new_meeting(void **state)
{
    (void)state;
    expect(tell(BODY("")), DONE);
    expect_text(queries.at,
                "find_organizer NULL|ana@x.example|acme|2026-11-27T10:00:00Z|NULL|2026-11-27T11:00:00Z|NULL\n");
    expect_text(effects.at, "row write_client acme|");
    expect_text(effects.at, "|carl@y.example|Carl|NULL|NULL|NULL\nrow insert_meeting acme|");
    expect_text(effects.at, "|AAMk|ana@x.example|+12025550100|");
    expect_text(effects.at, "|Talk||2026-11-27T10:00:00.000000Z|2026-11-27T11:00:00.000000Z|2026-11-26T07:00:00Z\n"
                            "row forget_meeting_clients acme|");
    expect_text(effects.at, "|1\nevent meeting.changed ana@x.example ");
    expect_text(effects.at, "\"change\":\"scheduled\",\"salesperson\":\"ana@x.example\",\"known\":true,\"revision\":1,"
                            "\"plan_version\":1}\n");
    tables[ORGANIZER].values[2] = NULL;
    expect(tell(BODY("")), DONE);
    expect_text(effects.at, "|ana@x.example|NULL|");
    expect_text(effects.at, "\"known\":false");
}

/* Which of the changes make a revision, a plan, and what is said. */
static void what_changed(void **state)
{
    static const struct {
        const char *name, *column, *status, *over, *wanted; /* change, revision, plan_version; NULL: it is as it was */
    } cases[] = {
        { "nothing", "same_start", "scheduled", "f", NULL },
        { "its start", "same_start", "scheduled", "f", "moved 2 2" },
        { "its start, when it was completed", "same_start", "completed", "t", "moved 2 2" },
        { "its end", "same_end", "scheduled", "f", "moved 2 1" },
        { "its end, which is over", "same_end", "scheduled", "t", "moved 2 1" },
        { "its end, after the reminder", "same_end", "reminder_sent", "t", "updated 1 1" },
        { "its end, after the reminder, to later", "same_end", "reminder_sent", "f", "moved 2 1" },
        { "its end, when it was completed", "same_end", "completed", "f", "updated 1 1" },
        { "its title", "same_title", "scheduled", "f", "updated 1 2" },
        { "its title's spelling", "same_spelling", "scheduled", "f", "updated 1 1" },
        { "its description", "same_description", "scheduled", "f", "updated 1 2" },
        { "its client", "same_client", "scheduled", "f", "updated 1 2" },
        { "who else comes", "same_clients", "scheduled", "f", "updated 1 1" },
        { "nothing, but it was cancelled", "same_start", "cancelled", "f", "moved 2 2" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        bool nothing = strncmp(cases[i].name, "nothing", 7) == 0;
        print_message("%s\n", cases[i].name);
        memcpy(tables, unknown_meeting, sizeof(tables));
        known_as(cases[i].column, nothing ? "t" : "f");
        known_as("status", cases[i].status);
        known_as("over", cases[i].over);
        expect(tell(BODY("")), DONE);
        if (!cases[i].wanted) {
            expect_text(effects.at, "row touch_meeting acme|" MEETING "|2026-11-26T07:00:00Z\n");
            expect_no_text(effects.at, "event");
            continue;
        }
        char change[16], text[128];
        int revision, version;
        assert_int_equal(sscanf(cases[i].wanted, "%15s %d %d", change, &revision, &version), 3);
        snprintf(text, sizeof(text), "row update_meeting acme|" MEETING "|%s|1|1|2026-11-26T07:00:00Z|",
                 cases[i].status);
        expect_text(effects.at, text);
        snprintf(text, sizeof(text), "|%d|%d\n", version, revision);
        expect_text(effects.at, text);
        snprintf(text, sizeof(text),
                 "\"change\":\"%s\",\"salesperson\":\"ana@x.example\",\"known\":true,\"revision\":%d,"
                 "\"plan_version\":%d",
                 change, revision, version);
        expect_text(effects.at, text);
        (strcmp(change, "moved") == 0 ? expect_text : expect_no_text)(effects.at, "\"previous_start\":\"2026-11-27T09");
        (strcmp(cases[i].column, "same_clients") == 0 ? expect_text : expect_no_text)(effects.at,
                                                                                      "insert_meeting_client");
    }
    (void)state;
}

static void what_was_heard_later_stands(void **state)
{
    (void)state;
    known_as("told_since", "t");
    known_as("same_start", "f");
    expect(tell(BODY("")), DONE);
    assert_string_equal(effects.at, "skip something later is known of the meeting\n");
    expect(tell(BODY(",\"isCancelled\":true")), DONE);
    assert_string_equal(effects.at, "skip something later is known of the meeting\n");
}

static void cancelling(void **state)
{
    static const struct {
        const char *status, *wanted;
    } cases[] = {
        { "scheduled", "row cancel_meeting acme|" MEETING "|2026-11-26T07:00:00Z|scheduled|1\nevent meeting.changed" },
        { "reminder_sent", "row cancel_meeting acme|" MEETING "|2026-11-26T07:00:00Z|reminder_sent|1\nevent" },
        { "completed", "skip the meeting is completed already\n" },
        { "cancelled", "skip the meeting is cancelled already\n" },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        known_as("status", cases[i].status);
        expect(tell(BODY(",\"status\":\"Canceled\"")), DONE);
        expect_text(effects.at, cases[i].wanted);
    }
    tables[KNOWN].rows = 0;
    expect(tell("{\"meeting\":{\"id\":\"AAMk\",\"organizer\":\"ana@x.example\",\"isCancelled\":true}}"), DONE);
    assert_string_equal(effects.at, "skip a meeting that nobody knows was cancelled\n");
}

/* The clients of the last try, in order: address or name. */
static const char *who_comes(void)
{
    const char *list = "";
    for (const char *at = effects.at; (at = strstr(at, "row write_client acme|")); at++) {
        char email[64], name[64];
        assert_int_equal(sscanf(at, "row write_client acme|%*[^|]|%63[^|]|%63[^|]|", email, name), 2);
        list = arena_printf(arena, "%s%s ", list, strcmp(email, "NULL") == 0 ? name : email);
    }
    return list;
}

static void who_is_a_client(void **state)
{
    static const struct {
        const char *people, *client, *wanted;
    } cases[] = {
        { "", "{\"name\":\"Carl\"}", "Carl " },
        { "", "{\"company\":\"Buyer\"}", "NULL " },
        { "\"a@y.example\",\"b@y.example\"", "null", "a@y.example b@y.example " },
        { "\"a@y.example\",\"b@y.example\"", "{\"email\":\"B@y.example\"}", "b@y.example a@y.example " },
        { "\"a@y.example\",\"A@Y.example\"", "null", "a@y.example " },
        { "\"boss@x.example\",\"a@y.example\"", "null", "a@y.example boss@x.example " },
        { "\"boss@x.example\"", "null", "boss@x.example " },
        { "\"ana@x.example\",\"COACH@x.example\",\"ben@x.example\",\"a@y.example\"", "null", "a@y.example " },
        { "{\"emailAddress\":{\"address\":\"room@y.example\"},\"type\":\"Resource\"},\"a@y.example\"", "null",
          "a@y.example " },
        { "{\"name\":\"By phone\"},{\"address\":\"no address\",\"name\":\"Dora\"}", "null", "By phone Dora " },
        { "{\"address\":\"no address\"}", "{\"name\":\"\",\"email\":\"\"}", "" },
        { "\"ana@x.example\"", "null", "" },
        { NULL, "null,\"attendees\":[\"a@y.example\"]", "a@y.example " },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        const char *people = cases[i].people ? arena_printf(arena, ",\"attendees\":[%s]", cases[i].people) : "";
        expect(tell(arena_printf(arena,
                                 "{\"meeting\":{\"start_time\":\"2026-11-27T10:00:00Z\",\"end_time\":"
                                 "\"2026-11-27T11:00:00Z\",\"organizer\":\"ana@x.example\"%s},\"client\":%s}",
                                 people, cases[i].client)),
               DONE);
        assert_string_equal(who_comes(), cases[i].wanted);
        if (!*cases[i].wanted)
            assert_string_equal(effects.at, "skip nobody comes whom the meeting could be with\n");
    }
    (void)state;
}

static void a_crowd_is_cut_off(void **state)
{
    const char *people = "\"p0@y.example\"";
    for (int i = 1; i < MEETING_ATTENDEES_MAX + 50; i++)
        people = arena_printf(arena, "%s,\"p%d@y.example\"", people, i);
    expect(tell(arena_printf(arena,
                             "{\"meeting\":{\"start_time\":\"2026-11-27T10:00:00Z\",\"end_time\":"
                             "\"2026-11-27T11:00:00Z\",\"organizer\":\"ana@x.example\",\"attendees\":[%s]}}",
                             people)),
           DONE);
    expect_text(effects.at, "|p49@y.example|");
    expect_no_text(effects.at, "|p50@y.example|");
    (void)state;
}

static void what_cannot_be(void **state)
{
    tables[ORGANIZER].values[4] = "2026-11-27T09:00:00.000000Z";
    expect(tell(BODY("")), REJECT);
    assert_string_equal(why.text, "the meeting ends before it starts");
    tables[ORGANIZER].rows = 0;
    expect(tell(BODY("")), REJECT);
    expect_text(why.text, "DEFAULT_TENANT");
    expect(tell("{\"meeting\":{}}"), REJECT);
    assert_string_equal(why.pointer, "/meeting/organizer/address");
    (void)state;
}

/* --- what they stand on ------------------------------------------------------------------------------------------- */

static void addresses(void **state)
{
    static const struct {
        const char *text, *wanted;
    } cases[] = {
        { "ana@x.example", "ana@x.example" },
        { " Ana.B+c@X.Example\r\n", "ana.b+c@x.example" },
        { "o'hara@x-y.example", "o'hara@x-y.example" },
        { "a@1.2.example", "a@1.2.example" },
        { NULL, NULL },
        { "", NULL },
        { " ", NULL },
        { "ana", NULL },
        { "@x.example", NULL },
        { "ana@", NULL },
        { "ana@x", NULL },
        { "ana@.example", NULL },
        { "ana@x..example", NULL },
        { "ana@x.example.", NULL },
        { "ana@-x.example", NULL },
        { "ana@x-.example", NULL },
        { "ana@127.0.0.1", NULL },
        { "a b@x.example", NULL },
        { "a@b@x.example", NULL },
        { "\"a\"@x.example", NULL },
        { "<ana@x.example>", NULL },
        { "änа@x.example", NULL },
        { "ana@x.example,b@x.example", NULL },
    };
    char email[EMAIL_BYTES], long_text[600];
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        bool good = email_read(cases[i].text, email);
        if (good != (cases[i].wanted != NULL) || (good && strcmp(email, cases[i].wanted) != 0))
            fail_msg("\"%s\" is %s", cases[i].text, good ? email : "refused");
    }
    for (size_t bytes = 60; bytes < 70; bytes++) {
        memset(long_text, 'a', bytes);
        strcpy(long_text + bytes, "@x.example");
        assert_int_equal(email_read(long_text, email), bytes <= 64);
    }
    memset(long_text, ' ', 300);
    strcpy(long_text + 300, "a@x.example");
    assert_true(email_read(long_text, email));
    strcpy(long_text, "a@");
    for (int i = 0; i < 84; i++)
        strcat(long_text, "aa.");
    strcat(long_text, "aa");
    assert_false(email_read(long_text, email));
}

static void so_often_and_then_one_by_one(void **state)
{
    static struct rate rate = { .burst = 3, .every_ms = 1000 };
    int64_t now = INT64_C(1700000000000000);
    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(&rate, "203.0.113.1", now), 0);
    assert_int_equal(rate_take(&rate, "203.0.113.1", now), 1000);
    assert_int_equal(rate_take(&rate, "203.0.113.1", now + 400000), 600);
    assert_int_equal(rate_take(&rate, "203.0.113.2", now), 0);
    assert_int_equal(rate_take(&rate, "203.0.113.1", now + 1000000), 0);
    assert_int_equal(rate_take(&rate, "203.0.113.1", now + 1000000), 1000);
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(&rate, "203.0.113.1", now + 60000000), 0);
    assert_true(rate_take(&rate, "203.0.113.1", now + 60000000) > 0);
    /* one customer has many addresses of IPv6 */
    for (int i = 0; i < 3; i++)
        assert_int_equal(rate_take(&rate, arena_printf(arena, "2001:db8:1:2::%d", i + 1), now), 0);
    assert_true(rate_take(&rate, "2001:db8:1:2:ffff::9", now) > 0);
    assert_int_equal(rate_take(&rate, "2001:db8:1:3::1", now), 0);
    for (int i = 0; i < 100000; i++)
        assert_int_equal(rate_take(&rate, arena_printf(arena, "10.%d.%d.%d", i >> 16, i >> 8 & 255, i & 255), now), 0);
}

static void the_page_lets_nothing_through(void **state)
{
    static const char hostile[] = "\"><script>alert('&amp;')</script><input value='";
    static const struct register_page page = { .company = hostile, .mailbox = hostile };
    const struct registration registration = { .entered = { hostile, hostile, hostile },
                                               .errors = { hostile },
                                               .error_count = 1 };
    struct buf out;
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    register_page_form(&out, &page, &registration, hostile);
    register_page_done(&out, &page, hostile, hostile);
    register_page_absent(&out, hostile, hostile);
    expect_no_text(out.at, "<script");
    expect_no_text(out.at, "alert('");
    expect_text(out.at, "value=\"&quot;&gt;&lt;script&gt;alert(&#39;&amp;amp;&#39;)");
    buf_done(&out);
    (void)state;
}

/* The longest that is read, and all of it markup. */
static void the_page_has_room(void **state)
{
    char *text = arena_alloc(arena, REGISTRATION_FIELD_BYTES_MAX + 1);
    memset(text, '"', REGISTRATION_FIELD_BYTES_MAX);
    struct buf out;
    buf_init(&out, REGISTER_PAGE_BYTES_MAX);
    register_page_form(
        &out, &(struct register_page){ .company = text },
        &(struct registration){ .entered = { text, text, text }, .errors = { "x", "y", "z" }, .error_count = 3 },
        "notice");
    assert_false(out.overflowed);
    buf_done(&out);
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(somebody_new_registers),
        TEST(who_is_known_keeps_the_id),
        TEST(an_id_of_somebody_erased_is_not_taken_again),
        TEST(who_registered_again_since_is_left_alone),
        TEST(a_new_meeting),
        TEST(what_changed),
        TEST(what_was_heard_later_stands),
        TEST(cancelling),
        TEST(who_is_a_client),
        TEST(a_crowd_is_cut_off),
        TEST(what_cannot_be),
        TEST(addresses),
        TEST(so_often_and_then_one_by_one),
        TEST(the_page_lets_nothing_through),
        TEST(the_page_has_room),
    };
    return cmocka_run_group_tests_name("what comes in for the coach", tests, NULL, NULL);
}
