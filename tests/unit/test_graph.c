/* Microsoft Graph's notices at the door: which items are ours, what they say, and what becomes of them. */
#include "ingest/graph_hooks.h"

#include "common/signature.h"

#include <cjson/cJSON.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <cmocka.h> /* last: it has macros named fail and skip */

#include "tests/unit/vectors.h"

#define VECTORS_LEAST 7

static struct arena *arena;

static int start(void **state)
{
    struct problem why;
    (void)state;
    arena = arena_new(64 * 1024 * 1024);
    return crypto_init(&why) ? 0 : -1;
}

static int finish(void **state)
{
    (void)state;
    arena_free(arena);
    return 0;
}

/* --- the documents' vectors --------------------------------------------------------------------------------------- */

static const char *member(const cJSON *object, const char *name)
{
    return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(object, name));
}

static void each_item_is_known_by_its_state(void **state)
{
    (void)state;
    char *content = read_vectors();
    if (content == NULL)
        skip();
    cJSON *vectors = cJSON_Parse(content);
    const cJSON *vector, *expected;
    int tried = 0;
    free(content);
    cJSON_ArrayForEach(vector, vectors)
    {
        struct json_value items, item;
        struct json_scan scan;
        struct problem why;
        if (!member(vector, "scheme") || strcmp(member(vector, "scheme"), "graph-client-state") != 0)
            continue;
        print_message("%s\n", member(vector, "why"));
        assert_true(graph_notices_find(text_of(member(vector, "body")), &items, &why));
        json_enter(&scan, items);
        cJSON_ArrayForEach(expected, cJSON_GetObjectItem(vector, "per_item"))
        {
            struct graph_notice notice;
            assert_true(json_element(&scan, &item));
            assert_true(graph_notice_read(item, arena, &notice, &why));
            int wanted = cJSON_IsTrue(expected) ? 0 : SIGNATURE_WRONG;
            const char *given = graph_notice_state(item, arena);
            assert_int_equal(graph_state_find(member(vector, "secret"), given), wanted);
            const char *several = arena_printf(arena, "another,%s,third", member(vector, "secret"));
            assert_int_equal(graph_state_find(several, given), wanted == 0 ? 1 : SIGNATURE_WRONG);
            assert_null(strstr(notice.item.at, "clientState"));
        }
        assert_false(json_element(&scan, &item));
        tried++;
    }
    cJSON_Delete(vectors);
    assert_true(tried >= VECTORS_LEAST);
}

/* --- states ------------------------------------------------------------------------------------------------------- */

static void a_state_is_of_secret_company_and_mailbox(void **state)
{
    char one[GRAPH_STATE_BYTES], other[GRAPH_STATE_BYTES], all[GRAPH_STATES_BYTES_MAX];
    (void)state;
    graph_client_state(TEXT("secret"), "acme", "coach@acme.test", one);
    assert_int_equal(strlen(one), 64);
    assert_string_not_equal(one, graph_client_state(TEXT("secre"), "acme", "coach@acme.test", other));
    assert_string_not_equal(one, graph_client_state(TEXT("secret"), "acm", "ecoach@acme.test", other));
    assert_string_not_equal(one, graph_client_state(TEXT("secret"), "acme", "coach@acme.tes", other));
    graph_client_states(" new, secret,", "acme", "coach@acme.test", all);
    assert_int_equal(strlen(all), 129);
    assert_int_equal(graph_state_find(all, one), 1);
    assert_int_equal(graph_state_find(graph_client_states("", "acme", "x", all), one), SIGNATURE_WRONG);
    assert_int_equal(graph_state_find(all, ""), SIGNATURE_WRONG);
    struct buf many;
    buf_init(&many, 4096);
    for (int i = 0; i < 100; i++)
        buf_printf(&many, "secret%d,", i);
    graph_client_states(many.at, "acme", "x", all);
    assert_true(strlen(all) < GRAPH_STATES_BYTES_MAX && strlen(all) % 65 == 64);
    buf_done(&many);
}

/* --- items -------------------------------------------------------------------------------------------------------- */

#define ITEM(rest) "{\"subscriptionId\":\"S\",\"clientState\":\"c\"," rest "}"

static void what_an_item_says(void **state)
{
    static const struct {
        const char *json, *change, *event_id, *etag, *pointer; /* pointer: of one that cannot be understood */
    } cases[] = {
        { ITEM("\"changeType\":\"created\",\"resourceData\":{\"id\":\"E\",\"@odata.etag\":\"W/\\\"1\\\"\"}"),
          "created", "E", "W/\"1\"", NULL },
        { ITEM("\"changeType\":\"deleted\",\"resource\":\"Users/u/Events/E2\""), "deleted", "E2", NULL, NULL },
        { ITEM("\"changeType\":\"updated\",\"resource\":\"Users/u/Events/E2\",\"resourceData\":null"), "updated", "E2",
          NULL, NULL },
        { ITEM("\"lifecycleEvent\":\"missed\",\"resource\":\"Users/u/Events\""), "missed", NULL, NULL, NULL },
        { ITEM("\"lifecycleEvent\":\"subscriptionRemoved\",\"changeType\":\"updated\""), "removed", NULL, NULL, NULL },
        { ITEM("\"lifecycleEvent\":\"reauthorizationRequired\""), "reauthorize", NULL, NULL, NULL },
        { ITEM("\"lifecycleEvent\":\"a new one\""), "updated", NULL, NULL, "" },
        { ITEM("\"changeType\":\"moved\",\"resourceData\":{\"id\":\"E\"}"), "updated", NULL, NULL, "" },
        { ITEM("\"changeType\":\"created\""), "created", NULL, NULL, "/resourceData/id" },
        { ITEM("\"changeType\":\"created\",\"resource\":\"Users/u/Events/\""), "created", NULL, NULL,
          "/resourceData/id" },
        { "{\"changeType\":\"created\",\"resourceData\":{\"id\":\"E\"}}", "updated", NULL, NULL, "/subscriptionId" },
        { "{\"subscriptionId\":7,\"changeType\":\"created\"}", "updated", NULL, NULL, "/subscriptionId" },
        { "[]", "updated", NULL, NULL, "" },
        { "null", "updated", NULL, NULL, "" },
    };
    (void)state;
    for (size_t i = 0; i < LENGTH(cases); i++) {
        struct json_value value;
        struct graph_notice notice;
        struct problem why = { 0 };
        print_message("%s\n", cases[i].json);
        assert_true(json_parse(text_of(cases[i].json), &value, &why));
        bool read = graph_notice_read(value, arena, &notice, &why);
        assert_int_equal(read, cases[i].pointer == NULL);
        if (!read)
            assert_string_equal(why.pointer, cases[i].pointer);
        assert_string_equal(notice.change, cases[i].change);
        assert_true(cases[i].event_id ? notice.event_id && strcmp(notice.event_id, cases[i].event_id) == 0
                                      : notice.event_id == NULL);
        assert_true(cases[i].etag ? notice.etag && strcmp(notice.etag, cases[i].etag) == 0 : notice.etag == NULL);
    }
}

static void an_item_is_kept_without_its_state(void **state)
{
    struct json_value value;
    struct graph_notice notice;
    struct problem why;
    (void)state;
    assert_true(json_parse(TEXT("{ \"clientState\":\"c\", \"a\" : [1, {\"clientState\":2}],"
                                " \"client\\u0053tate\":\"c\",\"changeType\":\"created\"}"),
                           &value, &why));
    graph_notice_read(value, arena, &notice, &why);
    assert_string_equal(notice.item.at, "{\"a\":[1, {\"clientState\":2}],\"changeType\":\"created\"}");
    assert_string_equal(graph_notice_state(value, arena), "c");
    char *large = arena_alloc(arena, 70001);
    memset(large, 'x', 70000);
    assert_true(json_parse(text_of(arena_printf(arena, "{\"a\":\"%s\"}", large)), &value, &why));
    graph_notice_read(value, arena, &notice, &why);
    assert_string_equal(notice.item.at, "{}");
}

static void the_same_notice_has_the_same_id(void **state)
{
    struct graph_notice notice = { .subscription_id = "S", .change = "updated", .event_id = "E", .etag = "1" };
    struct graph_notice other = notice;
    char one[UUID_BYTES], two[UUID_BYTES];
    (void)state;
    graph_notice_id(&notice, "2026-11-26T07:00:00Z", one);
    assert_string_equal(one, graph_notice_id(&notice, "2026-11-26T08:00:00Z", two));
    other.etag = "2";
    assert_string_not_equal(one, graph_notice_id(&other, "2026-11-26T07:00:00Z", two));
    other = notice;
    other.change = "deleted";
    assert_string_not_equal(one, graph_notice_id(&other, "2026-11-26T07:00:00Z", two));
    notice.etag = NULL;
    graph_notice_id(&notice, "2026-11-26T07:00:00Z", one);
    assert_string_not_equal(one, graph_notice_id(&notice, "2026-11-26T08:00:00Z", two));
    assert_string_equal(graph_notice_key(&notice, arena), "E");
    char *long_id = arena_alloc(arena, 1001);
    memset(long_id, 'A', 1000);
    notice.event_id = long_id;
    assert_int_equal(strlen(graph_notice_key(&notice, arena)), 64);
    notice.event_id = NULL;
    assert_string_equal(graph_notice_key(&notice, arena), "S");
}

static void a_body_that_is_no_list_of_notices(void **state)
{
    static const char *const bodies[] = { "", "{", "[]", "{}", "{\"value\":{}}", "{\"value\":null}", "\xff" };
    (void)state;
    for (size_t i = 0; i < LENGTH(bodies); i++) {
        struct json_value items;
        struct problem why = { 0 };
        assert_false(graph_notices_find(text_of(bodies[i]), &items, &why));
        assert_true(why.text[0] != '\0');
    }
}

/* What is not looked at must not be acknowledged. */
static void a_list_is_taken_whole_or_not_at_all(void **state)
{
    struct json_value items;
    struct problem why = { 0 };
    struct buf body;
    (void)state;
    buf_init(&body, 64 * 1024);
    buf_add_string(&body, "{\"value\":[");
    for (int i = 0; i < GRAPH_ITEMS_MAX; i++)
        buf_add_string(&body, i > 0 ? ",{}" : "{}");
    size_t bytes = body.bytes;
    buf_add_string(&body, "]}");
    assert_true(graph_notices_find(buf_text(&body), &items, &why));
    body.bytes = bytes;
    buf_add_string(&body, ",{}]}");
    assert_false(graph_notices_find(buf_text(&body), &items, &why));
    assert_string_equal(why.pointer, "/value");
    assert_non_null(strstr(why.text, "at most 1000 notices, has 1001"));
    buf_done(&body);
}

#define TEST_OF(name) cmocka_unit_test_setup_teardown(name, start, finish)
int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST_OF(each_item_is_known_by_its_state),
        TEST_OF(a_state_is_of_secret_company_and_mailbox),
        TEST_OF(what_an_item_says),
        TEST_OF(an_item_is_kept_without_its_state),
        TEST_OF(the_same_notice_has_the_same_id),
        TEST_OF(a_body_that_is_no_list_of_notices),
        TEST_OF(a_list_is_taken_whole_or_not_at_all),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
