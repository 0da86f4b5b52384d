/* findings.h: what an analysis lists beside its values: each item with the words it rests on; and how that stands in
 * the database. */
#pragma once

#include "common/stage.h"

struct finding {
    const char *label;              /* an objection's category, or the field the words are evidence for */
    const char *quote;
};
struct findings {
    struct finding *items;
    size_t count;
};

/* Takes a list of a generated struct, whose items have the member `label_member` and `quote`. */
#define FINDINGS_TAKE(findings, arena, list, list_count, label_member)                                                 \
    do {                                                                                                               \
        (findings)->items = arena_alloc((arena), ((list_count) + 1) * sizeof(struct finding));                         \
        for ((findings)->count = 0; (findings)->count < (list_count); (findings)->count++)                             \
            (findings)->items[(findings)->count] = (struct finding){ (list)[(findings)->count].label_member,           \
                                                                     (list)[(findings)->count].quote };                \
    } while (0)

struct evidence;
/* Keeps those whose words were said; gives how many were dropped. */
int findings_drop_unsaid(struct findings *findings, const struct evidence *evidence, struct arena *arena);
bool findings_have(const struct findings *findings, const char *label);

/* [{"<label_name>": label, "quote": quote}] */
const char *findings_json(struct work *work, const struct findings *findings, const char *label_name);
const char *texts_json(struct work *work, const char *const *texts, size_t count);
const char *number_text(struct work *work, double number);
