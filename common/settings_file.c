#include "common/settings_file.h"

#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static char *skip_blanks(char *at)
{
    while (is_blank(*at))
        at++;
    return at;
}

static bool is_name_char(char c, bool first)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_' || (!first && c >= '0' && c <= '9');
}

/* After a value nothing may follow but blanks and a comment. */
static bool ends_well(char *at)
{
    char *rest = skip_blanks(at);
    return *rest == 0 || (*rest == '#' && rest > at);
}

/* Up to the end of the line or a blank and a hash; blanks at the end go. */
static bool read_plain(char *at)
{
    char *end = at;
    while (*end && !(*end == '#' && (end == at || is_blank(end[-1]))))
        end++;
    while (end > at && is_blank(end[-1]))
        end--;
    *end = 0;
    return true;
}

static bool read_single_quoted(char *at, int line, struct problem *why)
{
    char *end = strchr(at, '\'');
    if (!end)
        return fail(why, "line %d: the single quote is not closed on its line", line);
    if (!ends_well(end + 1))
        return fail(why, "line %d: something follows the closing quote", line);
    *end = 0;
    return true;
}

static bool read_double_quoted(char *at, int line, struct problem *why)
{
    static const char escapes[] = "nrt\"\\$", meanings[] = "\n\r\t\"\\$";
    char *to = at;
    for (; *at != '"'; at++) {
        const char *escape = *at == '\\' && at[1] ? strchr(escapes, at[1]) : NULL;
        if (!*at)
            return fail(why, "line %d: the double quote is not closed on its line", line);
        *to++ = escape ? meanings[escape - escapes] : *at;
        at += escape != NULL;
    }
    if (!ends_well(at + 1))
        return fail(why, "line %d: something follows the closing quote", line);
    *to = 0;
    return true;
}

static bool add_entry(struct settings_file *file, const struct settings_entry *entry, struct problem *why)
{
    for (size_t i = 0; i < file->count; i++)
        if (strcmp(file->entries[i].name, entry->name) == 0)
            return fail(why, "line %d: %s is set already on line %d; keep one", entry->line, entry->name,
                        file->entries[i].line);
    if (file->count == SETTINGS_FILE_NAMES_MAX)
        return fail(why, "line %d: there are more than %d settings", entry->line, SETTINGS_FILE_NAMES_MAX);
    file->entries[file->count++] = *entry;
    return true;
}

static bool read_line(char *at, int line, struct settings_file *file, struct problem *why)
{
    at = skip_blanks(at);
    if (*at == 0 || *at == '#')
        return true;
    if (strncmp(at, "export", 6) == 0 && is_blank(at[6]))
        at = skip_blanks(at + 6);
    struct settings_entry entry = { .name = at, .line = line };
    while (is_name_char(*at, at == entry.name))
        at++;
    char *name_end = at;
    at = skip_blanks(at);
    if (name_end == entry.name || *at != '=') /* what stands there is not repeated: it may be half a secret */
        return fail(why, "line %d: expected NAME=value, the name of letters, digits and _", line);
    *name_end = 0;
    at = skip_blanks(at + 1);
    bool quoted = *at == '\'' || *at == '"';
    entry.value = quoted ? at + 1 : at;
    bool good = *at == '\''  ? read_single_quoted(at + 1, line, why)
                : *at == '"' ? read_double_quoted(at + 1, line, why)
                             : read_plain(at);
    return good && add_entry(file, &entry, why);
}

bool settings_file_parse(char *content, size_t bytes, struct settings_file *ret, struct problem *why)
{
    ret->count = 0;
    content[bytes] = 0;
    char *at = content, *end = content + bytes;
    if (text_starts((struct text){ content, bytes }, "\xef\xbb\xbf")) /* a byte order mark */
        at += 3;
    for (int line = 1; at < end; line++) {
        char *line_end = memchr(at, '\n', (size_t)(end - at));
        char *next = line_end ? line_end + 1 : end;
        if (!line_end)
            line_end = end;
        if (memchr(at, 0, (size_t)(line_end - at)) || !text_is_utf8((struct text){ at, (size_t)(line_end - at) }))
            return fail(why, "line %d: it is not UTF-8 text", line);
        if (line_end > at && line_end[-1] == '\r')
            line_end[-1] = 0;
        *line_end = 0;
        if (!read_line(at, line, ret, why))
            return false;
        at = next;
    }
    return true;
}
