#include "deploy/sb/logfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/json.h"
#include "deploy/sb/place.h"

#define WORDS_ARENA_BYTES_MAX (64 * 1024)

/* How the parts mark an error: our daemons, Kafka (log4j), Postgres. */
static const char *const error_marks[] = { "\"level\":\"error\"", " ERROR ", " FATAL ", "FATAL: ", "PANIC: " };

static bool log_begin(struct logfile *log, struct problem *why)
{
    struct stat state;
    log->file = open(log->path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
    if (log->file < 0)
        return fail(why, "could not open %s: %s", log->path, strerror(errno));
    log->bytes = fstat(log->file, &state) == 0 ? state.st_size : 0;
    return true;
}

static void log_rotate(struct logfile *log)
{
    char old[PATH_MAX];
    path_print(old, "%s.1", log->path);
    close(log->file);
    rename(log->path, old);
    log_begin(log, NULL);
}

bool logfile_open(struct logfile *log, const char *folder, const char *name, struct problem *why)
{
    *log = (struct logfile){ .file = -1 };
    path_print(log->path, "%s/%s.log", folder, name);
    return log_begin(log, why);
}

static void line_end(struct logfile *log)
{
    log->line[log->line_bytes] = '\0';
    if (log->line_bytes > 0) {
        memcpy(log->last, log->line, log->line_bytes + 1);
        for (size_t i = 0; i < LENGTH(error_marks); i++)
            if (strstr(log->line, error_marks[i]))
                memcpy(log->last_error, log->line, log->line_bytes + 1);
    }
    log->line_bytes = 0;
}

void logfile_add(struct logfile *log, struct text text)
{
    for (size_t i = 0; i < text.bytes; i++) {
        if (text.at[i] == '\n')
            line_end(log);
        else if (log->line_bytes < sizeof(log->line) - 1)
            log->line[log->line_bytes++] = text.at[i];
    }
    if (log->file >= 0 && log->bytes > 0 && log->bytes + (int64_t)text.bytes > LOG_BYTES_MAX)
        log_rotate(log);
    if (log->file < 0)
        return;
    ssize_t written = write(log->file, text.at, text.bytes);
    log->bytes += written > 0 ? written : 0; /* a full disk: what does not fit is lost, the part goes on */
}

void logfile_forget(struct logfile *log)
{
    log->line_bytes = 0;
    log->last[0] = log->last_error[0] = '\0';
}

bool log_words(struct text line, struct buf *out)
{
    struct json_value value, message, member;
    struct json_scan scan;
    struct text name;
    struct problem why;
    CLEANUP(arena_freep) struct arena *arena = arena_new(WORDS_ARENA_BYTES_MAX + 2 * line.bytes);

    if (!json_parse(line, &value, &why) || !json_find(value, "message", &message) || message.kind != JSON_STRING)
        return false;
    buf_add_string(out, json_string(message, arena));
    json_enter(&scan, value);
    while (json_member(&scan, &name, &member)) {
        if (json_string_is(name, "time") || json_string_is(name, "level") || json_string_is(name, "daemon") ||
            json_string_is(name, "message"))
            continue;
        buf_printf(out, ", %.*s ", (int)name.bytes - 2, name.at + 1);
        if (member.kind == JSON_STRING)
            buf_add_string(out, json_string(member, arena));
        else
            buf_add_text(out, member.raw);
    }
    return true;
}

void logfile_words(const struct logfile *log, char ret[LOG_WORDS_BYTES])
{
    const char *line = log->last_error[0] != '\0' ? log->last_error : log->last;
    struct buf words;

    buf_init(&words, LOG_WORDS_BYTES - 1);
    snprintf(ret, LOG_WORDS_BYTES, "%s", log_words(text_of(line), &words) ? buf_text(&words).at : line);
    buf_done(&words);
    for (char *c = ret; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7F)
            *c = ' ';
}
