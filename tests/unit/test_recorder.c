/* The recorder of calls by its effects.  A few variables stand in for the database, so that webhooks of one call can
 * follow each other in any order. */
#include "ingest/call_facts.h"
#include "ingest/recorder.h"

#include <stdlib.h>

#include "tests/unit/handler_fixture.h"

static struct ingest ingest = { .default_region = "US" };
static const struct stage stage = { .name = "ingest", .context = &ingest };

#define CONTACT "22222222-2222-4222-8222-222222222222"
#define LEAD "11111111-1111-4111-8111-111111111111"

/* --- the database ------------------------------------------------------------------------------------------------- */

enum { CALL, NUMBER, REPORTS, CONTACTS, CSR, TABLES };
enum { TENANT, VERSION, CONTACT_ID, LEAD_ID, PHONE, REGION };        /* of CALL */
static const struct query_rows empty[TABLES + 1] = {
    [CALL] = { "find_call",
               { "tenant", "version", "contact_id", "lead_id", "phone", "default_region" },
               { 0 },
               0 },
    [NUMBER] = { "find_number", { "tenant", "default_region" }, { "acme", "US" }, 1 },
    [REPORTS] = { "find_reports", { "event_id", "hook", "via", "reported_us", "facts" }, { 0 }, 0 },
    [CONTACTS] = { "find_contact", { "contact_id", "lead_id" }, { 0 }, 0 },
    [CSR] = { "find_csr", { "user_id" }, { "carol" }, 1 },
};
static struct query_rows tables[TABLES + 1];
static char *call_row;                  /* the call's columns as last written, without its version */
static int recorded, leads;             /* events and rows seen so far */

#define PARAMETERS_MAX 17
#define REPORT_COLUMNS 5

/* Puts what was described into the tables, as the committer would. */
static void commit_row(char *line)
{
    char *parameter[PARAMETERS_MAX], *rest = strchr(line + 4, ' ');
    int count = 0;
    *rest++ = '\0';
    call_row = strstr(line, "_call") ? arena_copy(arena, rest) : call_row;
    while (rest && count < PARAMETERS_MAX) {
        char *next = strsep(&rest, "|");
        parameter[count] = next;
        parameter[count] = strcmp(parameter[count], "NULL") == 0 ? NULL : parameter[count];
        count++;
    }
    struct query_rows *call = &tables[CALL], *reports = &tables[REPORTS];
    if (strcmp(line, "row insert_call") == 0 || strcmp(line, "row update_call") == 0) {
        bool is_new = strcmp(line, "row insert_call") == 0;
        assert_int_equal(call->rows, !is_new);
        if (!is_new) {
            assert_string_equal(parameter[16], call->values[VERSION]);
            *strrchr(call_row, '|') = '\0';
        }
        const char *const values[] = { parameter[0],
                                       is_new ? "1" : arena_printf(arena, "%d", atoi(call->values[VERSION]) + 1),
                                       parameter[7],
                                       parameter[8],
                                       parameter[7] ? parameter[5] : NULL,
                                       "US" };
        memcpy(call->values, values, sizeof(values));
        call->rows = 1;
    } else if (strcmp(line, "row insert_report") == 0) {
        int64_t us;
        assert_true(time_read(text_of(parameter[4]), &us));
        for (int i = 0; i < reports->rows; i++)
            if (strcmp(reports->values[REPORT_COLUMNS * i], parameter[2]) == 0)
                return;
        const char *const values[REPORT_COLUMNS] = { parameter[2], parameter[3], parameter[6],
                                                     arena_printf(arena, "%lld", (long long)us), parameter[5] };
        memcpy(reports->values + REPORT_COLUMNS * reports->rows++, values, sizeof(values));
    } else if (strcmp(line, "row insert_contact") == 0 || strcmp(line, "row insert_lead") == 0) {
        bool is_lead = strcmp(line, "row insert_lead") == 0;
        leads += is_lead;
        tables[CONTACTS].rows = 1;
        tables[CONTACTS].values[is_lead] = parameter[1];
    }
}

static void commit(void)
{
    char *lines = arena_copy(arena, effects.at), *line;
    while ((line = strsep(&lines, "\n"))) {
        recorded += strncmp(line, "event call.recorded ", 20) == 0;
        if (strncmp(line, "row ", 4) == 0)
            commit_row(line);
    }
}

/* --- webhooks ----------------------------------------------------------------------------------------------------- */

struct hook {
    const char *name, *content_type, *body, *company;
    int received_s;
    int run;
};
#define JSON "application/json"
#define FORM "application/x-www-form-urlencoded"

static int came;
static const char *via;                 /* NULL: hook */

static enum outcome record_as(const char *id, const struct hook *hook)
{
    struct buf data;
    char time[TIME_BYTES];
    buf_init(&data, EVENT_INBOUND_BYTES_MAX);
    callrail_call_received_write(
        &data, &(struct callrail_call_received){
                   .hook = hook->name,
                   .company = hook->company,
                   .via = via,
                   .received_at = time_print((1700000000 + hook->received_s) * INT64_C(1000000), time),
                   .content_type = hook->content_type,
                   .signature = "s",
                   .encoding = "text",
                   .body = text_of(hook->body) });
    enum outcome outcome = try_event(
        &stage, record_callrail,
        &(struct event){
            .id = id, .type = "callrail.call.received", .subject = "CAL1", .run = hook->run, .data = buf_text(&data) },
        tables, NULL);
    buf_done(&data);
    if (outcome == DONE)
        commit();
    return outcome;
}

static enum outcome record(const struct hook *hook)
{
    return record_as(arena_printf(arena, "00000000-0000-4000-8000-%012d", came++), hook);
}

static const struct hook incoming = { "call.incoming", JSON,
                                      "{\"caller_number\":\"(555) 010-0001\",\"tracking_number\":\"+1 555 010"
                                      " 0009\",\"answered\":false,\"duration\":0}",
                                      NULL, 0, 0 };
static const struct hook answered = { "call.answered", JSON,
                                      "{\"caller_number\":\"+15550100001\",\"tracking_number\":\"+15550100009\","
                                      "\"agent_email\":\"Ann@x.test\"}",
                                      NULL, 5, 0 };
static const struct hook completed = { "call.completed", FORM,
                                       "customer_phone_number=5550100001&tracking_phone_number=5550100009"
                                       "&duration=61&answered=true"
                                       "&recording=http%3A%2F%2Fr.test%2F1&customer_name=Ana",
                                       NULL, 70, 0 };

static int start(void **state)
{
    memcpy(tables, empty, sizeof(tables));
    call_row = NULL;
    recorded = leads = came = 0;
    via = NULL;
    return handlers_start(state);
}

static void a_new_call(void **state)
{
    expect(record(&incoming), DONE);
    assert_string_equal(queries.at, "find_call CAL1\nfind_number +15550100009\nfind_contact acme|+15550100001\n");
    assert_string_equal(
        effects.at,
        "row insert_contact acme|8e2b4145-1337-50b6-a0be-d105cd36fea8|+15550100001\n"
        "row insert_lead acme|a9ab8d0a-b860-5337-8590-6dec622fb538|8e2b4145-1337-50b6-a0be-d105cd36fea8\n"
        "row insert_call acme|CAL1|ringing|NULL|+15550100009|+15550100001|NULL|8e2b4145-1337-50b6-a0be-d105cd36fea8|"
        "a9ab8d0a-b860-5337-8590-6dec622fb538|NULL|NULL|"
        "2023-11-14T22:13:20.000000Z|NULL|NULL|NULL|hook\n"
        "row insert_report acme|CAL1|00000000-0000-4000-8000-000000000000|call.incoming|2023-11-14T22:13:20.000000Z|"
        "{\"caller_number\":\"(555) 010-0001\",\"tracking_number\":\"+1 555 010"
        " 0009\",\"answered\":\"false\",\"duration\":0}|hook\n"
        "event call.progressed CAL1 {\"call_id\":\"CAL1\",\"status\":\"ringing\",\"tracking_number\":\"+15550100009\","
        "\"customer_number\":\"+15550100001\",\"answered\":null,\"started_at\":\"2023-11-14T22:13:20.000000Z\","
        "\"contact_id\":\"8e2b4145-1337-50b6-a0be-d105cd36fea8\","
        "\"lead_id\":\"a9ab8d0a-b860-5337-8590-6dec622fb538\"}\n");
    (void)state;
}

static void a_known_call(void **state)
{
    expect(record(&incoming), DONE);
    expect(record(&answered), DONE);
    assert_string_equal(queries.at, "find_call CAL1\nfind_reports acme|CAL1\nfind_csr acme|Ann@x.test|NULL\n");
    expect_text(effects.at, "row update_call acme|CAL1|in_progress|");
    expect_text(effects.at, "|true|NULL|2023-11-14T22:13:20.000000Z|NULL|NULL|carol|hook|1\n");
    expect_no_text(effects.at, "insert_lead");
    expect_no_text(effects.at, "insert_contact");
    expect_no_text(effects.at, "call.recorded");

    expect(record(&completed), DONE);
    expect_text(effects.at, "row update_call acme|CAL1|completed|");
    expect_text(effects.at, "|Ana|");
    expect_text(effects.at, "|true|NULL|2023-11-14T22:13:20.000000Z|61|http://r.test/1|carol|hook|2\n");
    expect_text(
        effects.at,
        "event call.recorded CAL1"
        " {\"call_id\":\"CAL1\",\"recording_url\":\"http://r.test/1\",\"duration_s\":61,\"voicemail\":false}\n");
    (void)state;
}

/* --- every order -------------------------------------------------------------------------------------------------- */

static const struct hook *order[6];
static const char *first_row;
static int orders, recorded_wanted;

static void play(size_t count)
{
    start(NULL);
    for (size_t i = 0; i < count; i++) {
        const struct hook *hook = order[i];
        /* one event's id belongs to its bytes, whenever it comes */
        expect(record_as(arena_printf(arena, "00000000-0000-4000-8000-%012d", hook->received_s), hook), DONE);
    }
    if (!first_row)
        first_row = must_copy(call_row);
    /* the lead is named by the call, the contact by its number: the same whoever comes first */
    assert_string_equal(call_row, first_row);
    assert_int_equal(recorded, recorded_wanted);
    assert_int_equal(leads, 1);
    orders++;
    handlers_end(NULL);
}

static void play_every_order(size_t left, size_t count)
{
    if (left <= 1) {
        play(count);
        return;
    }
    for (size_t i = 0; i < left; i++) {
        play_every_order(left - 1, count);
        const struct hook *kept = order[left % 2 ? 0 : i];
        order[left % 2 ? 0 : i] = order[left - 1];
        order[left - 1] = kept;
    }
}

static void every_order_ends_in_the_same_row(void **state)
{
    static const struct hook modified = {
        "call.completed",
        JSON,
        "{\"answered\":true,\"customer_name\":\"Anna\",\"tracking_number\":\"5550100009\","
        "\"caller_number\":\"5550100001\"}",
        NULL,
        900,
        0
    };
    static const struct hook missed = {
        "call.completed",
        JSON,
        "{\"caller_number\":\"5550100001\",\"tracking_number\":\"5550100009\",\"answered\":false}",
        NULL,
        30,
        0
    };
    static const struct hook voicemail = { "call.completed",
                                           JSON,
                                           "{\"caller_number\":\"5550100001\",\"tracking_number\":\"5550100009\","
                                           "\"answered\":false,\"voicemail\":true,\"recording\":\"http://r.test/v\"}",
                                           NULL,
                                           800,
                                           0 };
    static const struct hook no_voicemail = {
        "call.completed",
        JSON,
        "{\"caller_number\":\"5550100001\",\"tracking_number\":\"5550100009\",\"answered\":false,\"voicemail\":false}",
        NULL,
        900,
        0
    };
    const struct {
        const struct hook *hooks[6];
        int recorded;
        const char *row;
    } sets[] = {
        { { &incoming, &answered, &completed }, 1, "|completed|" },
        { { &incoming, &answered, &completed, &modified }, 1, "|completed|" },
        { { &incoming, &answered, &completed, &completed, &incoming }, 1, "|completed|" },
        { { &incoming, &missed }, 0, "|missed|" },
        { { &incoming, &missed, &voicemail }, 1, "|missed|" },
        { { &incoming, &completed, &no_voicemail }, 1, "|missed|" },
        { { &incoming, &voicemail, &no_voicemail }, 1, "|missed|" },
    };
    handlers_end(NULL);
    for (size_t i = 0; i < LENGTH(sets); i++) {
        size_t count = 0;
        for (; count < LENGTH(order) && sets[i].hooks[count]; count++)
            order[count] = sets[i].hooks[count];
        recorded_wanted = sets[i].recorded;
        play_every_order(count, count);
        expect_text(first_row, sets[i].row);
        free((char *)first_row);
        first_row = NULL;
    }
    print_message("%d orders\n", orders);
    handlers_start(state);
}

/* --- who brought it ----------------------------------------------------------------------------------------------- */

/* CallRail's list says the same as its webhook, and when it comes after or before that, nothing happens twice. */
static void hook_and_fetch_in_either_order_are_one_call(void **state)
{
    static const struct hook listed = { "call.completed", JSON,
                                        "{\"id\":\"CAL1\",\"customer_phone_number\":\"5550100001\",\"answered\":true,"
                                        "\"tracking_phone_number\":\"5550100009\",\"duration\":61,"
                                        "\"recording\":\"http://r.test/1\",\"customer_name\":\"Ana\","
                                        "\"start_time\":\"2023-11-14T22:13:20Z\"}",
                                        NULL, 1600, 0 };
    const char *row = NULL;
    for (int fetch_first = 0; fetch_first < 2; fetch_first++) {
        memcpy(tables, empty, sizeof(tables));
        recorded = leads = 0;
        for (int i = 0; i < 2; i++) {
            bool fetch = i != fetch_first;
            via = fetch ? "fetch" : NULL;
            expect(record(fetch ? &listed : &completed), DONE);
            expect_text(effects.at,
                        i == 1 ? "|both|1\n" : fetch ? "|fetch\nrow insert_report" : "|hook\nrow insert_report");
            expect_text(effects.at, fetch ? "|fetch\nevent" : "|hook\nevent");
        }
        assert_int_equal(recorded, 1);
        assert_int_equal(leads, 1);
        row = row ? row : arena_copy(arena, call_row);
        assert_string_equal(call_row, row);
    }
    (void)state;
}

/* --- whose call --------------------------------------------------------------------------------------------------- */

static void a_number_nobody_owns(void **state)
{
    tables[NUMBER].rows = 0;
    expect(record(&incoming), DONE);
    expect_text(effects.at, "row insert_call unassigned|CAL1|ringing|");
    expect_text(effects.at, "row insert_lead unassigned|");
    /* it was assigned since: the row's company stands until it is moved with all that hangs on it */
    tables[NUMBER].rows = 1;
    expect(record(&completed), DONE);
    expect_text(effects.at, "row update_call unassigned|CAL1|completed|");
    (void)state;
}

static void no_number_at_all(void **state)
{
    static const struct hook bare = { "call.incoming", JSON, "{}", NULL, 0, 0 },
                             short_code = { "call.incoming", JSON, "{\"tracking_number\":\"911\"}", NULL, 0, 0 };
    expect(record(&bare), DONE);
    assert_string_equal(queries.at, "find_call CAL1\n");
    expect_text(effects.at, "row insert_call unassigned|CAL1|ringing|NULL|NULL|NULL|NULL|NULL|NULL|");
    tables[CALL].rows = tables[REPORTS].rows = 0;
    expect(record(&short_code), DONE);
    expect_text(effects.at, "row insert_call unassigned|CAL1|ringing|NULL|NULL|NULL|");
    (void)state;
}

static void a_key_speaks_for_its_own_company(void **state)
{
    struct hook theirs = incoming;
    theirs.company = "other";
    expect(record(&theirs), REJECT);
    assert_string_equal(why.text, "the key of company \"other\" speaks for a call of another company");
    theirs.company = "acme";
    expect(record(&theirs), DONE);
    /* a webhook that names no number does not reach another company's call by its id */
    struct hook bare = { "call.completed", JSON, "{\"recording\":\"http://r.test/theirs\"}", "other", 9, 0 };
    expect(record(&bare), REJECT);
    bare.company = "acme";
    expect(record(&bare), DONE);
    (void)state;
}

/* The number belongs to somebody else now: the call stays where it was. */
static void a_number_that_moved(void **state)
{
    expect(record(&incoming), DONE);
    tables[NUMBER].values[0] = "other";
    expect(record(&completed), DONE);
    expect_text(effects.at, "row update_call acme|CAL1|completed|");
    (void)state;
}

/* --- who called, and who took it ---------------------------------------------------------------------------------- */

static void a_withheld_number(void **state)
{
    static const char *const callers[] = { "anonymous", "+266696687", "+7378742833", "Restricted", "0", "" };
    for (size_t i = 0; i < LENGTH(callers); i++) {
        memcpy(tables, empty, sizeof(tables));
        struct hook hook = incoming;
        hook.body = arena_printf(
            arena, "{\"caller_number\":\"%s\",\"tracking_number\":\"+15550100009\",\"customer_name\":\"X\"}",
            callers[i]);
        expect(record(&hook), DONE);
        expect_text(effects.at, "row insert_call acme|CAL1|ringing|NULL|+15550100009|NULL|X|NULL|NULL|");
        expect_no_text(effects.at, "contact_id");
        expect_no_text(effects.at, "row insert_contact");
    }
    (void)state;
}

static void a_second_call_has_the_same_open_lead(void **state)
{
    tables[CONTACTS].rows = 1;
    tables[CONTACTS].values[0] = CONTACT;
    tables[CONTACTS].values[1] = LEAD;
    expect(record(&incoming), DONE);
    expect_text(effects.at, "|NULL|" CONTACT "|" LEAD "|");
    expect_no_text(effects.at, "insert_contact");
    expect_no_text(effects.at, "insert_lead");
    (void)state;
}

static void a_closed_lead_is_followed_by_another(void **state)
{
    tables[CONTACTS].rows = 1;
    tables[CONTACTS].values[0] = CONTACT;
    expect(record(&incoming), DONE);
    expect_no_text(effects.at, "row insert_contact");
    expect_text(effects.at, "row insert_lead acme|");
    expect_text(effects.at, "|" CONTACT "\n");
    (void)state;
}

/* The contact of the number that counts; the row of the other is the database's to clean up. */
static void a_number_that_is_told_otherwise_is_another_contact(void **state)
{
    struct hook later = incoming;
    later.name = "call.answered";
    later.body = "{\"caller_number\":\"+15550100002\"}";
    expect(record(&incoming), DONE);
    tables[CONTACTS].rows = 0;
    expect(record(&later), DONE);
    expect_text(effects.at, "|+15550100002\n");
    assert_int_equal(leads, 2);
    expect_text(queries.at, "find_contact acme|+15550100002\n");
    later.body = "{\"caller_number\":\"anonymous\"}";
    later.received_s = 60;
    expect(record(&later), DONE);
    expect_no_text(effects.at, "contact_id");
    assert_int_equal(leads, 2);
    (void)state;
}

static void who_took_it(void **state)
{
    static const struct {
        const char *body, *asked, *csr;
    } cases[] = {
        { "{\"answered\":true,\"agent_email\":\"a@b.c\",\"business_phone_number\":\"5550100002\"}",
          "find_csr unassigned|a@b.c|+15550100002\n", "carol" },
        { "{\"answered\":true,\"business_phone_number\":\"5550100002\"}", "find_csr unassigned|NULL|+15550100002\n",
          "carol" },
        { "{\"answered\":true,\"business_phone_number\":\"front desk\"}", NULL, "NULL" },
        { "{\"answered\":false,\"agent_email\":\"a@b.c\"}", NULL, "NULL" },
        { "{\"agent_email\":\"a@b.c\"}", NULL, "NULL" },
    };
    for (size_t i = 0; i < LENGTH(cases); i++) {
        memcpy(tables, empty, sizeof(tables));
        expect(record(&(struct hook){ "call.completed", JSON, cases[i].body, NULL, 0, 0 }), DONE);
        expect_text(effects.at, arena_printf(arena, "|NULL|%s|hook\nrow insert_report", cases[i].csr));
        if (cases[i].asked)
            expect_text(queries.at, cases[i].asked);
        else
            expect_no_text(queries.at, "find_csr");
    }
    memcpy(tables, empty, sizeof(tables));
    tables[CSR].rows = 0;
    expect(record(&answered), DONE);            /* nobody of ours: unattributed, not dropped */
    expect_text(effects.at, "|NULL|NULL|NULL|hook\nrow insert_report");
    (void)state;
}

/* --- recordings --------------------------------------------------------------------------------------------------- */

static enum outcome record_body(const char *hook, const char *body, int received_s, int run)
{
    return record(&(struct hook){ hook, JSON, body, NULL, received_s, run });
}

static void a_recording_comes_late_and_once(void **state)
{
    expect(record_body("call.completed", "{\"answered\":true}", 1, 0), DONE);
    assert_int_equal(recorded, 0);
    expect(record_body("call.completed", "{\"answered\":true,\"recording\":\"http://r/1\"}", 2, 0), DONE);
    assert_int_equal(recorded, 1);
    expect(record_body("call.completed", "{\"answered\":true,\"recording\":\"http://r/2\",\"note\":\"x\"}", 3, 0),
           DONE);
    assert_int_equal(recorded, 1);
    expect(record_body("call.incoming", "{}", 4, 0), DONE);
    assert_int_equal(recorded, 1);
    (void)state;
}

static void a_recording_before_the_end_waits_for_it(void **state)
{
    expect(record_body("call.answered", "{\"recording\":\"http://r/1\"}", 1, 0), DONE);
    assert_int_equal(recorded, 0);
    expect(record_body("call.completed", "{}", 2, 0), DONE);
    assert_int_equal(recorded, 1);
    (void)state;
}

static void a_missed_call_is_transcribed_when_it_left_a_voicemail(void **state)
{
    expect(record_body("call.completed", "{\"answered\":false,\"duration\":9}", 1, 0), DONE);
    assert_int_equal(recorded, 0);
    expect(record_body("call.completed", "{\"answered\":false,\"voicemail\":false,\"recording\":\"http://r/ringing\"}",
                       2, 0),
           DONE);
    assert_int_equal(recorded, 0);
    expect(record_body("call.completed", "{\"answered\":false,\"voicemail\":true,\"recording\":\"http://r/v\"}", 3, 0),
           DONE);
    assert_int_equal(recorded, 1);
    expect_text(effects.at, "\"recording_url\":\"http://r/v\",\"duration_s\":9,\"voicemail\":true}");
    expect_text(effects.at, "row update_call unassigned|CAL1|missed|");
    (void)state;
}

/* Nobody says whether it is a voicemail: what a missed call has recorded is one. */
static void a_missed_call_with_a_recording(void **state)
{
    expect(record_body("call.completed", "{\"answered\":false,\"recording\":\"http://r/v\"}", 1, 0), DONE);
    assert_int_equal(recorded, 1);
    (void)state;
}

/* A replay of the webhook that told of the recording goes on downstream, and changes nothing else. */
static void a_replay_tells_of_the_recording_again(void **state)
{
    expect(record(&incoming), DONE);
    expect(record(&completed), DONE);
    const char *before = call_row;
    struct hook again = completed, first = incoming;
    again.run = first.run = 3;
    expect(record_as("00000000-0000-4000-8000-000000000001", &again), DONE);
    assert_int_equal(recorded, 2);
    assert_string_equal(call_row, before);
    assert_int_equal(tables[REPORTS].rows, 2);
    expect(record_as("00000000-0000-4000-8000-000000000000", &first), DONE);
    assert_int_equal(recorded, 2);
    assert_string_equal(call_row, before);
    (void)state;
}

/* --- what cannot be recorded -------------------------------------------------------------------------------------- */

static void wrong_bodies_are_dead_letters_with_their_place(void **state)
{
    expect(record_body("call.completed", "{\"duration\":\"long\"}", 0, 0), REJECT);
    assert_string_equal(why.pointer, "/duration");
    expect(record_body("call.completed", "{\"recording\":\"http://r.test/%zz\"}", 0, 0), REJECT);
    assert_string_equal(why.pointer, "/recording_url");
    expect_text(why.text, "must be an absolute URI");
    expect(record_body("call.completed", "{", 0, 0), REJECT);
    expect(
        try_event(&stage, record_callrail,
                  &(struct event){
                      .type = "callrail.call.received",
                      .subject = "CAL1",
                      .data = TEXT(
                          "{\"hook\":\"call.completed\",\"received_at\":\"2026-11-21T09:30:00Z\",\"content_type\":\"\","
                          "\"signature\":\"\",\"encoding\":\"base64\",\"body\":\"not base64\"}") },
                  tables, NULL),
        REJECT);
    assert_string_equal(why.text, "the body is marked as base64 but is not");
    expect(try_event(&stage, record_callrail,
                     &(struct event){ .type = "callrail.call.received",
                                      .subject = "CAL1",
                                      .data = TEXT("{\"hook\":\"call.modified\"}") },
                     tables, NULL),
           REJECT);
    assert_string_equal(why.pointer, "/hook");
    (void)state;
}

static void a_body_kept_as_base64(void **state)
{
    expect(
        try_event(
            &stage, record_callrail,
            &(struct event){
                .type = "callrail.call.received",
                .subject = "CAL1",
                .data = TEXT(
                    "{\"hook\":\"call.completed\",\"received_at\":\"2026-11-21T09:30:00Z\","
                    "\"content_type\":\"application/json\","
                    "\"signature\":\"\",\"encoding\":\"base64\",\"body\":\"eyJkdXJhdGlvbiI6NX0=\"}") },
            tables, NULL),
        DONE);
    expect_text(effects.at, "{\"duration\":5}");
    (void)state;
}

static void a_call_has_so_many_webhooks(void **state)
{
    static struct query_rows full[TABLES + 1];
    memcpy(full, empty, sizeof(full));
    const char *const call[] = { "acme", "ringing", "1", NULL, NULL, NULL, NULL, NULL, "US" };
    memcpy(full[CALL].values, call, sizeof(call));
    full[CALL].rows = 1;
    full[REPORTS].rows = CALL_REPORTS_MAX;
    struct buf data;
    buf_init(&data, 4096);
    callrail_call_received_write(&data, &(struct callrail_call_received){ .hook = "call.incoming",
                                                                          .received_at = "2026-11-21T09:30:00Z",
                                                                          .content_type = JSON,
                                                                          .signature = "",
                                                                          .encoding = "text",
                                                                          .body = TEXT("{}") });
    expect(try_event(&stage, record_callrail,
                     &(struct event){ .type = "callrail.call.received", .subject = "CAL1", .data = buf_text(&data) },
                     full, NULL),
           REJECT);
    assert_string_equal(why.text, "call \"CAL1\" has 500 webhooks already");
    buf_done(&data);
    (void)state;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, start, handlers_end)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_new_call),
        TEST(a_known_call),
        TEST(every_order_ends_in_the_same_row),
        TEST(hook_and_fetch_in_either_order_are_one_call),
        TEST(a_number_nobody_owns),
        TEST(no_number_at_all),
        TEST(a_key_speaks_for_its_own_company),
        TEST(a_number_that_moved),
        TEST(a_withheld_number),
        TEST(a_second_call_has_the_same_open_lead),
        TEST(a_closed_lead_is_followed_by_another),
        TEST(a_number_that_is_told_otherwise_is_another_contact),
        TEST(who_took_it),
        TEST(a_recording_comes_late_and_once),
        TEST(a_recording_before_the_end_waits_for_it),
        TEST(a_missed_call_is_transcribed_when_it_left_a_voicemail),
        TEST(a_missed_call_with_a_recording),
        TEST(a_replay_tells_of_the_recording_again),
        TEST(wrong_bodies_are_dead_letters_with_their_place),
        TEST(a_body_kept_as_base64),
        TEST(a_call_has_so_many_webhooks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
