/* sop.h: what an agent has to do in a conversation, and which words show that it was done. */
#pragma once

#include "common/arena.h"

#define SOP_STEPS_MAX 20                /* as the table sop_steps has it, and the schemas of the analyses */

struct sop_step {
    const char *step;
    const char *const *phrases;         /* NULL-terminated: the agent says one of them */
};
struct sop {
    struct sop_step steps[SOP_STEPS_MAX];
    size_t count;                       /* at least 1 */
};
#define SOP_PHRASES(...) ((const char *const[]){ __VA_ARGS__, NULL })

extern const struct sop sop_usual;      /* of a call */
/* A company's own, as its rows are read: [{"step", "phrases": […]}]; NULL: it has none, and is held to the usual ones.
 * In `arena`. */
const struct sop *sop_read(const char *json, struct arena *arena);
/* A line each, for a model. */
const char *sop_print(const struct sop *sop, struct arena *arena);
struct conversation;                    /* phrases.h */
/* The steps that were not done, at most as many as there are; in the conversation's arena.  The score is what part was. */
const char **sop_missed(const struct sop *sop, const struct conversation *conversation, size_t *ret_missed,
                        double *ret_score);
