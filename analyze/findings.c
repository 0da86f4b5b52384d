#include "analyze/findings.h"

#include "analyze/analyze.h"
#include "common/json.h"

#include <string.h>

#define LIST_BYTES_MAX ASK_ANSWER_BYTES_MAX        /* an answer cannot hold more */
#define NUMBER_BYTES_MAX 64

int findings_drop_unsaid(struct findings *findings, const struct evidence *evidence, struct arena *arena)
{
    size_t kept = 0, before = findings->count;
    for (size_t i = 0; i < before; i++)
        if (evidence_holds(evidence, findings->items[i].quote, arena))
            findings->items[kept++] = findings->items[i];
    findings->count = kept;
    return (int)(before - kept);
}

bool findings_have(const struct findings *findings, const char *label)
{
    for (size_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].label, label) == 0)
            return true;
    return false;
}

static const char *taken(struct buf *json, struct work *work)
{
    const char *text = arena_copy_text(work_arena(work), buf_text(json));
    buf_done(json);
    return text;
}

const char *findings_json(struct work *work, const struct findings *findings, const char *label_name)
{
    struct buf json;
    buf_init(&json, LIST_BYTES_MAX);
    buf_add_char(&json, '[');
    for (size_t i = 0; i < findings->count; i++) {
        json_separate(&json);
        buf_add_char(&json, '{');
        json_add_string(&json, label_name, findings->items[i].label);
        json_add_string(&json, "quote", findings->items[i].quote);
        buf_add_char(&json, '}');
    }
    buf_add_char(&json, ']');
    return taken(&json, work);
}

const char *texts_json(struct work *work, const char *const *texts, size_t count)
{
    struct buf json;
    buf_init(&json, LIST_BYTES_MAX);
    buf_add_char(&json, '[');
    for (size_t i = 0; i < count; i++) {
        json_separate(&json);
        json_write_string(&json, texts[i]);
    }
    buf_add_char(&json, ']');
    return taken(&json, work);
}

const char *number_text(struct work *work, double number)
{
    struct buf text;
    buf_init(&text, NUMBER_BYTES_MAX);
    json_write_number(&text, number);
    return taken(&text, work);
}
