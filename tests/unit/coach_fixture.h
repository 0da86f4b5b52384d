/* coach_fixture.h: a model that says what the test wants, for the sales coach's handlers.  Include once, instead of
 * handler_fixture.h. */
#pragma once

#include "analyze/coach.h"

#include "tests/coach_columns.h"
#include "tests/unit/handler_fixture.h"

#define EMAIL "ana@acme.test"
#define PHONE "+12025550101"
#define ACME "11111111-1111-4111-8111-111111111111"
#define CLIENT "33333333-3333-4333-8333-333333333333"

static struct analyze analyze;
static const struct stage stage = { .name = "analyze", .context = &analyze };

static const char *answers[2];
static int asked;
static struct buf prompts;

static inline enum outcome give_answer(void *context, const char *name, const struct ask *asking, struct arena *of,
                                struct answer *ret)
{
    const struct llm_request *request = asking->request;
    (void)context, (void)of, (void)name;
    assert_int_equal(asking->kind, ASK_AGAIN);
    assert_true(asked < 2 && answers[asked]);
    buf_printf(&prompts, "%s\n", request->content);
    *ret = (struct answer){ .body = text_of(answers[asked++]), .model = "test" };
    return DONE;
}

static inline void model_says(const char *first, const char *second)
{
    analyze.llm_provider = LLM_GEMINI;
    answers[0] = first;
    answers[1] = second;
    asked = 0;
    buf_clear(&prompts);
}

static inline int coach_start(void **state)
{
    buf_init(&prompts, 1 << 20);
    analyze = (struct analyze){ .llm_provider = LLM_GEMINI };
    return handlers_start(state);
}

static inline int coach_end(void **state)
{
    buf_done(&prompts);
    return handlers_end(state);
}
