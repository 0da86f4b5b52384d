#include "analyze/sop.h"

#include "analyze/phrases.h"
#include "common/tree.h"

#define PHRASES_MAX 50 /* as the table sop_steps has it */

const struct sop sop_usual = {
    .steps = {
        { "greets and names the company",
          SOP_PHRASES("thank you for calling", "thanks for calling", "this is", "how can i help", "how may i help",
                  "good morning", "good afternoon") },
        { "asks for the customer's name",
          SOP_PHRASES("your name", "who am i speaking", "who is calling") },
        { "asks what is needed",
          SOP_PHRASES("how can i help", "how may i help", "what can i do for you", "what seems to be",
                  "what is the problem", "tell me") },
        { "asks for the address or a phone number",
          SOP_PHRASES("your address", "the address", "where do you live", "your phone number", "best number",
                  "what street") },
        { "offers an appointment",
          SOP_PHRASES("appointment", "can come", "could come", "can send", "does that work", "would that work",
                  "what time", "schedule") },
        { "repeats what was agreed or thanks",
          SOP_PHRASES("see you", "thank you", "you are all set", "you are booked", "we will be there", "have a good",
                  "have a nice") },
    },
    .count = 6,
};

static const char *const *read_phrases(const cJSON *list, struct arena *arena)
{
    const char **phrases = arena_alloc(arena, (PHRASES_MAX + 1) * sizeof(*phrases));
    size_t count = 0;
    const cJSON *phrase;

    cJSON_ArrayForEach(phrase, list) {
        if (cJSON_IsString(phrase) && count < PHRASES_MAX)
            phrases[count++] = phrase->valuestring;
    }
    return phrases;
}

const struct sop *sop_read(const char *json, struct arena *arena)
{
    const cJSON *list = tree_read(arena, text_of(json)), *item;
    struct sop *sop = arena_alloc(arena, sizeof(*sop));

    cJSON_ArrayForEach(item, list) {
        const char *step = tree_string(item, "step");
        if (step && sop->count < SOP_STEPS_MAX)
            sop->steps[sop->count++] = (struct sop_step){ step, read_phrases(tree_get(item, "phrases"), arena) };
    }
    return sop->count > 0 ? sop : &sop_usual;
}

const char *sop_print(const struct sop *sop, struct arena *arena)
{
    const char *text = "";
    for (size_t i = 0; i < sop->count; i++)
        text = arena_printf(arena, "%s- %s\n", text, sop->steps[i].step);
    return text;
}

static bool is_done(const struct sop_step *step, const struct conversation *conversation)
{
    for (const char *const *phrase = step->phrases; *phrase; phrase++) {
        struct text words = text_of(plain_words(conversation->arena, *phrase));
        if (words.bytes <= 2)
            continue;           /* no words in it */
        const char *bare = arena_copy_text(conversation->arena, (struct text){ words.at + 1, words.bytes - 2 });
        if (phrase_find(conversation, &(struct phrase){ bare, AGENT }, 1).turn)
            return true;
    }
    return false;
}

const char **sop_missed(const struct sop *sop, const struct conversation *conversation, size_t *ret_missed,
                        double *ret_score)
{
    const char **missed = arena_alloc(conversation->arena, sop->count * sizeof(*missed));
    *ret_missed = 0;
    for (size_t i = 0; i < sop->count; i++)
        if (!is_done(&sop->steps[i], conversation))
            missed[(*ret_missed)++] = sop->steps[i].step;
    *ret_score = (double)(sop->count - *ret_missed) / (double)sop->count;
    return missed;
}
