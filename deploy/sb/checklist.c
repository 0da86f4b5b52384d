#include "deploy/sb/checklist.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "common/json.h"

#define BLANKS " \t\r"

bool checklist_file(const char *path, char *ret, struct problem *why)
{
    bool standard_input = strcmp(path, "-") == 0;
    FILE *file = standard_input ? stdin : fopen(path, "re");

    if (file == NULL)
        return fail(why, "could not open %s: %s", path, strerror(errno));
    size_t bytes = fread(ret, 1, CHECKLIST_FILE_BYTES_MAX - 1, file);
    bool whole = feof(file) != 0, readable = ferror(file) == 0;
    if (!standard_input)
        fclose(file);
    ret[bytes] = '\0';
    if (!readable)
        return fail(why, "could not read %s", path);
    if (!whole)
        return fail(why, "%s has more than %d bytes", path, CHECKLIST_FILE_BYTES_MAX - 1);
    return (strlen(ret) == bytes && text_is_utf8(text_of(ret))) || fail(why, "%s is no text in UTF-8", path);
}

static struct text trim(struct text text)
{
    while (text.bytes > 0 && strchr(BLANKS, text.at[0])) {
        text.at++;
        text.bytes--;
    }
    while (text.bytes > 0 && strchr(BLANKS, text.at[text.bytes - 1]))
        text.bytes--;
    return text;
}

/* The part of `rest` in front of `end`, which is passed over. */
static struct text take_until(const char **rest, const char *end)
{
    struct text part = { *rest, strcspn(*rest, end) };
    *rest += part.bytes + ((*rest)[part.bytes] != '\0');
    return trim(part);
}

/* The next line that says something. */
static bool take_line(const char **rest, int *number, struct text *ret)
{
    while (**rest) {
        *ret = take_until(rest, "\n");
        ++*number;
        if (ret->bytes > 0 && ret->at[0] != '#')
            return true;
    }
    return false;
}

/* --- steps --------------------------------------------------------------------------------------------------- */

static bool write_phrases(struct text phrases, int line, struct buf *out, struct problem *why)
{
    const char *rest = phrases.at, *end = phrases.at + phrases.bytes;
    int count = 0;

    json_name(out, "phrases");
    buf_add_char(out, '[');
    while (rest < end) {
        const char *comma = memchr(rest, ',', (size_t)(end - rest)), *to = comma ? comma : end;
        struct text phrase = trim((struct text){ rest, (size_t)(to - rest) });
        rest = comma ? comma + 1 : end;
        if (phrase.bytes == 0)
            continue;
        if (phrase.bytes > CHECKLIST_PHRASE_BYTES_MAX || ++count > CHECKLIST_PHRASES_MAX)
            return fail(why, "line %d: at most %d phrases of at most %d bytes", line, CHECKLIST_PHRASES_MAX,
                        CHECKLIST_PHRASE_BYTES_MAX);
        json_separate(out);
        json_write_text(out, phrase);
    }
    buf_add_char(out, ']');
    return count > 0 || fail(why, "line %d: after the colon stand the words that show that the step was done", line);
}

static bool write_step(struct text line, int line_number, int step_number, struct buf *out, struct problem *why)
{
    const char *colon = memchr(line.at, ':', line.bytes);

    if (colon == NULL)
        return fail(why, "line %d: a step is \"what is to be done: words that show it, other words\"", line_number);
    struct text step = trim((struct text){ line.at, (size_t)(colon - line.at) });
    if (step.bytes == 0 || step.bytes > CHECKLIST_STEP_BYTES_MAX)
        return fail(why, "line %d: a step has 1 to %d bytes", line_number, CHECKLIST_STEP_BYTES_MAX);
    if (step_number > CHECKLIST_STEPS_MAX)
        return fail(why, "line %d: there are at most %d steps", line_number, CHECKLIST_STEPS_MAX);
    json_separate(out);
    buf_add_char(out, '{');
    json_add_integer(out, "number", step_number);
    json_name(out, "step");
    json_write_text(out, step);
    struct text phrases = { colon + 1, (size_t)(line.at + line.bytes - colon - 1) };
    bool good = write_phrases(phrases, line_number, out, why);
    buf_add_char(out, '}');
    return good;
}

bool checklist_steps(const char *text, struct buf *ret_json, struct problem *why)
{
    struct text line;
    int line_number = 0, steps = 0;

    buf_add_char(ret_json, '[');
    while (take_line(&text, &line_number, &line))
        if (!write_step(line, line_number, ++steps, ret_json, why))
            return false;
    buf_add_char(ret_json, ']');
    return true;
}

/* --- keys ---------------------------------------------------------------------------------------------------- */

static bool is_key(struct text key)
{
    for (size_t i = 0; i < key.bytes; i++)
        if (key.at[i] <= ' ' || key.at[i] > '~' || key.at[i] == ',')
            return false;
    return key.bytes <= CHECKLIST_KEY_BYTES_MAX;
}

bool checklist_keys(const char *text, char ret[CHECKLIST_KEYS_BYTES], struct problem *why)
{
    struct text line;
    int line_number = 0, keys = 0;

    *ret = '\0';
    while (take_line(&text, &line_number, &line)) {
        if (!is_key(line))
            return fail(why, "line %d: a key is at most %d printable characters without blanks and commas", line_number,
                        CHECKLIST_KEY_BYTES_MAX);
        if (++keys > CHECKLIST_KEYS_MAX)
            return fail(why, "line %d: there are at most %d keys at a time", line_number, CHECKLIST_KEYS_MAX);
        strcat(ret, keys > 1 ? "," : "");
        strncat(ret, line.at, line.bytes);
    }
    return true;
}
