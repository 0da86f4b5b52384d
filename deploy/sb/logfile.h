/* logfile.h: what a part says, in .run/log/NAME.log: at most LOG_BYTES_MAX there and as much in NAME.log.1 before it.
 *
 * The last lines are remembered, so that whoever tells that a part died can tell its last words. */
#pragma once

#include <limits.h>

#include "common/buf.h"

#define LOG_BYTES_MAX   (16 * 1024 * 1024)
#define LOG_WORDS_BYTES 400

struct logfile {
    char path[PATH_MAX];
    int file; /* -1: could not be opened; what is said is lost */
    int64_t bytes;
    char line[LOG_WORDS_BYTES]; /* the line being read; longer ones are cut */
    size_t line_bytes;
    char last[LOG_WORDS_BYTES];       /* the last whole line that is not empty */
    char last_error[LOG_WORDS_BYTES]; /* the last that tells of an error; empty when none did */
};

bool logfile_open(struct logfile *log, const char *folder, const char *name, struct problem *why);
void logfile_add(struct logfile *log, struct text text);
void logfile_forget(struct logfile *log); /* the last words: a new process begins */
/* The best last words there are, "" when none; a JSON line gives its message and fields in plain text.  Printable, one
 * line. */
void logfile_words(const struct logfile *log, char ret[LOG_WORDS_BYTES]);
/* "message, field value, field value" of one of our daemons' lines; false when it is none. */
bool log_words(struct text line, struct buf *out);
