/* coach_text.c: text of others made fit to be read: by a model, and on a phone. */
#include "analyze/coach.h"
#include "common/utf8.h"

#include <assert.h>
#include <string.h>

#define FILLED_BYTES_MAX (64 * 1024)    /* a sentence of ours, and what is filled in has limits of its own */
#define CUT_BACK_PARTS 4                /* a cut looks for a better place in the last quarter */

/* --- cleaning ----------------------------------------------------------------------------------------------------- */

static uint32_t code_point(const char *at, size_t bytes)
{
    static const unsigned char first_bits[] = { 0, 0x7F, 0x1F, 0x0F, 0x07 };
    uint32_t c = (unsigned char)at[0] & first_bits[bytes];
    for (size_t i = 1; i < bytes; i++)
        c = c << 6 | ((unsigned char)at[i] & 0x3F);
    return c;
}

/* What a reader does not see and a model does, or what makes a reader see another order than there is. */
static bool is_hidden(uint32_t c)
{
    return (c < 0x20 && c != '\n' && c != '\t') || (c >= 0x7F && c <= 0x9F) || c == 0xAD || c == 0x200B
           || (c >= 0x202A && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF
           || (c >= 0xFFF9 && c <= 0xFFFB) || (c >= 0xE0000 && c <= 0xE0FFF);
}

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* Where to end instead of at `end`: behind a sentence, else behind a word. */
static size_t cut_place(const char *text, size_t end)
{
    size_t least = end - end / CUT_BACK_PARTS;
    for (size_t at = end; at > least; at--)
        if (text[at - 1] == '\n' || (is_blank(text[at]) && strchr(".!?", text[at - 1])))
            return at;
    for (size_t at = end; at > least; at--)
        if (is_blank(text[at]))
            return at;
    return end;
}

/* Copies what may stay, at most `characters_max` of it; true when that was not all, and then there is room for one
 * more. */
static bool copy_visible(const char *text, size_t characters_max, char *out, size_t *ret_bytes)
{
    const char *end = text + strlen(text);
    size_t used = 0, before_last = 0, count = 0, lines = 0;
    for (size_t bytes; text < end; text += bytes) {
        bytes = utf8_sequence(text, end);
        uint32_t c = bytes ? code_point(text, bytes) : 0xFEFF;
        bytes = bytes ? bytes : 1;
        if (is_hidden(c) || (used == 0 && is_blank(*text)))
            continue;
        lines = c == '\n' ? lines + 1 : is_blank(*text) ? lines : 0;
        if (lines > 2)
            continue;
        if (count++ == characters_max)
            break;
        before_last = used;
        memcpy(out + used, text, bytes);
        out[used] = c == '\t' ? ' ' : out[used];
        used += bytes;
    }
    *ret_bytes = text < end ? before_last : used;
    out[*ret_bytes] = '\0';
    return text < end;
}

const char *coach_clean(struct arena *arena, const char *text, size_t characters_max)
{
    size_t used;
    text = text ? text : "";
    char *out = arena_alloc(arena, strlen(text) + sizeof(UTF8_ELLIPSIS) + 1);
    bool cut = copy_visible(text, characters_max, out, &used);
    if (cut)
        used = cut_place(out, used);
    while (used > 0 && is_blank(out[used - 1]))
        used--;
    strcpy(out + used, cut && used > 0 ? UTF8_ELLIPSIS : "");
    return out;
}

/* --- templates ---------------------------------------------------------------------------------------------------- */

static const char *slot_value(const struct coach_slot *slots, struct text name)
{
    for (; slots->name; slots++)
        if (text_is(name, slots->name))
            return slots->value;
    assert(!"a template names a slot that nobody fills");
    return "";
}

const char *coach_fill(struct arena *arena, const char *template, const struct coach_slot *slots)
{
    struct buf out;
    buf_init(&out, FILLED_BYTES_MAX);
    while (*template) {
        size_t plain = strcspn(template, "{"), name = 0;
        buf_add(&out, template, plain);
        template += plain;
        if (*template) {
            name = strcspn(template, "}");
            buf_add_string(&out, slot_value(slots, (struct text){ template + 1, name - 1 }));
            template += name + 1;
        }
    }
    const char *filled = arena_copy_text(arena, buf_text(&out));
    buf_done(&out);
    return filled;
}

/* --- the style of WhatsApp ---------------------------------------------------------------------------------------- */

static bool is_ruler(const char *line, size_t bytes)
{
    size_t dashes = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (!strchr("|-:=_* \t\r", line[i]))
            return false;
        dashes += line[i] == '-' || line[i] == '=' || line[i] == '_' || line[i] == '*';
    }
    return dashes >= 3;
}

/* **bold** and __bold__ have one mark in WhatsApp; what is code there is plain here. */
static void add_plain(struct buf *out, const char *line, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        bool doubled = i + 1 < bytes && line[i] == line[i + 1] && (line[i] == '*' || line[i] == '_');
        if (line[i] == '`')
            continue;
        buf_add_char(out, doubled ? '*' : line[i]);
        i += doubled;
    }
}

/* The cells of a table's row, parted by commas. */
static void add_cells(struct buf *out, const char *line, size_t bytes)
{
    bool any = false;
    for (size_t at = 0; at < bytes;) {
        size_t cell = 0;
        while (at + cell < bytes && line[at + cell] != '|')
            cell++;
        struct text text = { line + at, cell };
        at += cell + 1;
        while (text.bytes > 0 && is_blank(text.at[0]))
            text.at++, text.bytes--;
        while (text.bytes > 0 && is_blank(text.at[text.bytes - 1]))
            text.bytes--;
        if (text.bytes == 0)
            continue;
        buf_add_string(out, any ? ", " : "");
        add_plain(out, text.at, text.bytes);
        any = true;
    }
}

static void add_line(struct buf *out, const char *line, size_t bytes)
{
    size_t from = 0;
    while (from < bytes && is_blank(line[from]))
        from++;
    size_t hashes = from;
    while (hashes < bytes && line[hashes] == '#')
        hashes++;
    if (from < bytes && line[from] == '|') {
        add_cells(out, line + from, bytes - from);
        return;
    }
    if (hashes > from && hashes < bytes && line[hashes] == ' ')
        from = hashes + 1;
    add_plain(out, line + from, bytes - from);
}

const char *coach_style(struct arena *arena, const char *text, size_t characters_max)
{
    struct buf out;
    buf_init(&out, LLM_ANSWER_BYTES_MAX);
    for (const char *line = text; *line;) {
        size_t bytes = strcspn(line, "\n");
        if (!is_ruler(line, bytes)) {
            add_line(&out, line, bytes);
            buf_add_char(&out, '\n');
        }
        line += bytes + (line[bytes] == '\n');
    }
    const char *styled = coach_clean(arena, buf_text(&out).at, characters_max);
    buf_done(&out);
    return styled;
}
