/* Any body of CallRail's: it is read or refused with a reason and a place; what is read is the same after it was a
 * row; and folded, alone or twice, it has a status that a call may have. */
#include "tests/fuzz/fuzz.h"

#include "ingest/call_facts.h"

#include "events.h"

#define ARENA_BYTES_MAX ((size_t)64 << 20)

static bool same(const char *a, const char *b)
{
    return !a == !b && (!a || strcmp(a, b) == 0);
}

static void check_same(const struct call_facts *a, const struct call_facts *b)
{
    require(same(a->customer_number, b->customer_number) && same(a->tracking_number, b->tracking_number));
    require(same(a->customer_name, b->customer_name) && same(a->direction, b->direction));
    require(same(a->recording_url, b->recording_url));
    require(same(a->agent_email, b->agent_email) && same(a->answered_number, b->answered_number));
    require(a->has_answered == b->has_answered && a->answered == b->answered);
    require(a->has_voicemail == b->has_voicemail && a->voicemail == b->voicemail);
    require(a->duration_s == b->duration_s);
    require(a->started_us == b->started_us || (a->started_us < 0 && b->started_us < 0)); /* before 1970: not said */
}

static void check_fold(const struct call_facts *facts)
{
    struct call_facts twice[2] = { *facts, *facts };
    struct call_state once_state, twice_state;

    twice[0].event_id = "a";
    twice[1].event_id = "b";
    twice[0].reported_us = twice[1].reported_us = 1700000000000000;
    call_fold(twice, 1, &once_state);
    call_fold(twice, 2, &twice_state);
    require(call_status_rank(once_state.status) >= 0 && strcmp(once_state.status, twice_state.status) == 0);
    check_same(&once_state.facts, &twice_state.facts);
}

/* The first byte chooses hook and content type, the rest is the body. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const hooks[] = { "call.incoming", "call.answered", "call.completed" };
    static const char *const types[] = { "application/json", "application/x-www-form-urlencoded" };
    struct arena *arena = arena_new(ARENA_BYTES_MAX);
    struct problem why = { .text = "" };
    struct call_facts facts, restored;
    struct buf row;

    buf_init(&row, EVENT_BYTES_MAX);
    if (size > 0) {
        struct text body = { (const char *)data + 1, size - 1 };
        if (call_facts_read(hooks[data[0] / 2 % 3], types[data[0] % 2], body, arena, &facts, &why)) {
            call_facts_write(&row, &facts);
            require(!row.overflowed && call_facts_restore(buf_text(&row), arena, &restored, &why));
            check_same(&facts, &restored);
            check_fold(&facts);
        } else {
            require(why.text[0] != '\0' && text_is_utf8(text_of(why.text)));
            require(why.pointer[0] == '\0' || why.pointer[0] == '/');
        }
    }
    buf_done(&row);
    arena_free(arena);
    return 0;
}
