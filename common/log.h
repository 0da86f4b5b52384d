/* log.h: one line per outcome, as JSON, or as readable text when standard error is a terminal.
 *
 *     log_info("event handled", LOG_TEXT("event_id", id), LOG_INT("took_ms", ms));
 *
 * Ids, outcomes and times belong here; transcripts, phone numbers, tokens and bodies do not.
 * Threads: any.  A line is written with one write(2), so lines never mix. */
#pragma once

#include "common/base.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR };

struct log_field {
    const char *name;           /* NULL ends a list */
    enum { LOG_FIELD_TEXT, LOG_FIELD_INT } kind;
    const char *text;           /* NULL prints null */
    int64_t number;
};
#define LOG_TEXT(name_, text_)  (struct log_field){ .name = (name_), .kind = LOG_FIELD_TEXT, .text = (text_) }
#define LOG_INT(name_, number_) (struct log_field){ .name = (name_), .kind = LOG_FIELD_INT, .number = (int64_t)(number_) }

/* `daemon` is named in every line; `level` is the least that is written. */
void log_init(const char *daemon, enum log_level level);
void log_write(enum log_level level, const char *message, const struct log_field *fields);
bool log_level_read(const char *name, enum log_level *ret);

#define log_at(level, message, ...) \
    log_write(level, message, (const struct log_field[]){ __VA_ARGS__ __VA_OPT__(,) { .name = NULL } })
#define log_debug(message, ...)   log_at(LOG_DEBUG, message __VA_OPT__(,) __VA_ARGS__)
#define log_info(message, ...)    log_at(LOG_INFO, message __VA_OPT__(,) __VA_ARGS__)
#define log_warning(message, ...) log_at(LOG_WARNING, message __VA_OPT__(,) __VA_ARGS__)
#define log_error(message, ...)   log_at(LOG_ERROR, message __VA_OPT__(,) __VA_ARGS__)
