/* log.c: builds one line in a fixed buffer and writes it at once.  Nothing here allocates or locks, so that a process
 * that is out of memory can still say so. */
#include "common/log.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/utf8.h"

#define LOG_LINE_BYTES_MAX PIPE_BUF /* taken by a pipe in one piece (POSIX), so lines of several daemons never mix */
#define LOG_TEXT_BYTES_MAX 1000     /* of one value, as printed; the rest is cut */
#define LOG_LEFT_OUT_BYTES sizeof(" \"left_out\":18446744073709551615}\n")

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",
    [LOG_INFO] = "info",
    [LOG_WARNING] = "warning",
    [LOG_ERROR] = "error",
};

/* Set once by log_init, before other threads run. */
static const char *log_daemon;
static enum log_level log_level_least = LOG_INFO;
static bool log_as_text;

struct line {
    char at[LOG_LINE_BYTES_MAX];
    size_t bytes;
    bool full;
};

void log_init(const char *daemon, enum log_level level)
{
    log_daemon = daemon;
    log_level_least = level;
    log_as_text = isatty(STDERR_FILENO) == 1;
}

bool log_level_read(const char *name, enum log_level *ret)
{
    for (size_t i = 0; i < sizeof(level_names) / sizeof(level_names[0]); i++) {
        if (strcmp(name, level_names[i]) == 0) {
            *ret = (enum log_level)i;
            return true;
        }
    }
    return false;
}

/* Adds all of it or nothing; what is added after something did not fit is dropped too. */
static void line_add(struct line *line, const char *at, size_t bytes)
{
    if (line->full || bytes > sizeof(line->at) - LOG_LEFT_OUT_BYTES - line->bytes) {
        line->full = true;
        return;
    }
    memcpy(line->at + line->bytes, at, bytes);
    line->bytes += bytes;
}

static void line_string(struct line *line, const char *string)
{
    line_add(line, string, strlen(string));
}

/* One character as JSON writes it, into `ret` of at least 8 bytes; `*at` moves on.  DEL is escaped for the terminal's
 * sake. */
static size_t escape_character(const char **at, const char *end, char *ret)
{
    size_t bytes = utf8_sequence(*at, end);
    unsigned char c = (unsigned char)**at;

    *at += bytes == 0 ? 1 : bytes;
    if (bytes == 0) {
        memcpy(ret, UTF8_REPLACEMENT, sizeof(UTF8_REPLACEMENT) - 1);
        return sizeof(UTF8_REPLACEMENT) - 1;
    }
    if (c == '"' || c == '\\') {
        ret[0] = '\\';
        ret[1] = (char)c;
        return 2;
    }
    if (c == '\n') {
        memcpy(ret, "\\n", 2);
        return 2;
    }
    if (c == 0xC2 && (unsigned char)(*at)[-1] < 0xA0)
        c = (unsigned char)(*at)[-1]; /* U+0080 to U+009F drive terminals too */
    if (c < 0x20 || (c >= 0x7F && c < 0xA0))
        return (size_t)snprintf(ret, 8, "\\u%04x", c);
    memcpy(ret, *at - bytes, bytes);
    return bytes;
}

static void line_escaped(struct line *line, const char *text)
{
    const char *end = text + strlen(text);
    size_t printed = 0;
    char character[8];

    while (text < end) {
        size_t bytes = escape_character(&text, end, character);
        if (printed + bytes > LOG_TEXT_BYTES_MAX) {
            line_string(line, UTF8_ELLIPSIS);
            return;
        }
        line_add(line, character, bytes);
        printed += bytes;
    }
}

static void line_quoted(struct line *line, const char *text)
{
    if (text == NULL) {
        line_string(line, "null");
        return;
    }
    line_string(line, "\"");
    line_escaped(line, text);
    line_string(line, "\"");
}

static void line_field(struct line *line, const struct log_field *field)
{
    char number[sizeof("-9223372036854775808")];

    line_string(line, log_as_text ? " " : ",\"");
    line_string(line, field->name);
    line_string(line, log_as_text ? "=" : "\":");
    if (field->kind == LOG_FIELD_INT) {
        snprintf(number, sizeof(number), "%" PRId64, field->number);
        line_string(line, number);
    } else if (log_as_text && field->text != NULL && field->text[0] != '\0' && strpbrk(field->text, " \"=") == NULL) {
        line_escaped(line, field->text);
    } else {
        line_quoted(line, field->text);
    }
}

/* A field that does not fit is left out wholly, and the line says how many were. */
static size_t line_fields(struct line *line, const struct log_field *fields)
{
    size_t left_out = 0;

    for (const struct log_field *field = fields; field != NULL && field->name != NULL; field++) {
        size_t before = line->bytes;
        line_field(line, field);
        if (line->full) {
            line->full = false;
            line->bytes = before;
            left_out++;
        }
    }
    return left_out;
}

static void line_head(struct line *line, enum log_level level, const char *message)
{
    char time[TIME_BYTES];
    const char *daemon = log_daemon != NULL ? log_daemon : program_invocation_short_name;

    time_print(now_us(), time);
    if (log_as_text) {
        line_add(line, time + sizeof("2026-11-21"), sizeof("06:29:49.123") - 1);
        line_string(line, level == LOG_WARNING || level == LOG_ERROR ? " " : "  ");
        line_string(line, level == LOG_WARNING ? "WARNING " : level == LOG_ERROR ? "ERROR " : "");
        line_escaped(line, daemon);
        line_string(line, ": ");
        line_escaped(line, message);
        return;
    }
    line_string(line, "{\"time\":\"");
    line_string(line, time);
    line_string(line, "\",\"level\":\"");
    line_string(line, level_names[level]);
    line_string(line, "\",\"daemon\":");
    line_quoted(line, daemon);
    line_string(line, ",\"message\":");
    line_quoted(line, message);
}

void log_write(enum log_level level, const char *message, const struct log_field *fields)
{
    if (level < log_level_least)
        return;
    int error = errno; /* a caller may log before it looks at errno */
    struct line line;
    line.bytes = 0;
    line.full = false;

    line_head(&line, level, message);
    size_t left_out = line_fields(&line, fields);
    char *end = line.at + line.bytes;
    size_t room = sizeof(line.at) - line.bytes;
    if (left_out > 0)
        end += snprintf(end, room, log_as_text ? " left_out=%zu" : ",\"left_out\":%zu", left_out);
    if (!log_as_text)
        *end++ = '}';
    *end++ = '\n';
    while (write(STDERR_FILENO, line.at, (size_t)(end - line.at)) < 0 && errno == EINTR)
        ;
    errno = error;
}
