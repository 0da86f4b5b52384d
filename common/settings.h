/* settings.h: a daemon's configuration, one table per daemon, read from the environment and from `.env`.
 *
 *     static const struct setting transcribe_settings[] = {
 *         { "RECORDINGS_DIR", SET_TEXT, offsetof(struct transcribe, recordings_dir), "recordings", .help = "…" },
 *         { "RECORDING_BYTES_MAX", SET_BYTES, offsetof(struct transcribe, bytes_max), "256MiB", .least = 1,
 *           .most = …, .help = "largest recording that is fetched" },
 *         { 0 } };
 *
 * The environment wins over `.env` in the working directory; an empty value is as if it were not set.  Units are part of
 * the value: durations `250ms`, `30s`, `5m`, `2h`, `7d` (a bare number is in the unit of the default; without a default
 * only 0 is); sizes `64KiB`, `16MiB`, `1GiB` (a bare number is bytes).  A value that is wrong stops the daemon with a
 * sentence that names the setting, what it got, and what it takes.  Names in `.env` that no daemon knows are reported
 * with the nearest known one.  Secrets are held in sodium_malloc memory, are printed as «set», and never logged.
 *
 * `.env` is lines of KEY=value: `#` comments, `export` before the name, 'as it is' or "with \n \t \r \" \\ \$" quotes,
 * LF or CRLF.  Nothing is expanded, a value ends on its line, a name stands once.  What is wrong is told with its line.
 *
 * Threads: main alone, before other threads start; settings_each and settings_print: any. */
#pragma once

#include "common/arena.h"
#include "common/buf.h"

enum setting_kind {
    SET_TEXT,           /* const char * ; default NULL means "not set" */
    SET_SECRET,         /* const char *, in guarded memory */
    SET_URL,            /* const char *, http(s)://host…, without a slash at the end */
    SET_CHOICE,         /* int: the index in `choices` */
    SET_COUNT,          /* int64_t */
    SET_BYTES,          /* int64_t */
    SET_DURATION,       /* int64_t, milliseconds */
    SET_SWITCH,         /* bool: on, off, true, false, 1, 0 */
    SET_LISTEN,         /* const char *, address:port */
};

struct setting {
    const char *name;           /* NULL ends a table */
    enum setting_kind kind;
    size_t offset;              /* of the field in the context given to settings_read */
    const char *fallback;       /* the default, as it would be written; NULL: none */
    int64_t least, most;        /* range, inclusive, in the field's unit; `most` 0: no upper end */
    const char *const *choices; /* SET_CHOICE: NULL-terminated; -1 when not set and without a default */
    bool required;              /* stops at start when not set */
    const char *help;           /* one line */
};

#define SETTINGS_FILE_BYTES_MAX (64 * 1024)
#define SETTINGS_FILE_NAMES_MAX 512
#define SETTINGS_TABLES_MAX 8           /* tables given to settings_read */

/* Reads `.env` (absent is fine) once; must come before settings_read.  Its content is kept in guarded memory; `path`
 * must live as long as the process. */
bool settings_load_file(const char *path, struct problem *why);
/* Fills `context` from `table`.  Strings live as long as the process. */
bool settings_read(const struct setting *table, void *context, struct problem *why);
/* The value of a name that is not in a table (KAFKA_PROP_*): calls `each` for every name with `prefix`. */
void settings_each(const char *prefix, void (*each)(void *context, const char *name, const char *value), void *context);
/* Gives the names in `.env` that are neither in a table read so far nor in any other daemon's (schemas/settings.json,
 * compiled in), with their line and the nearest that is, or NULL; and the names, set anywhere, that are recognised but
 * not used, with a remark: what to give in their place (SUPABASE_URL). */
typedef void settings_unknown_each(void *context, const char *name, int line, const char *nearest, const char *remark);
void settings_unknown(settings_unknown_each *each, void *context);
void settings_report_unknown(void);     /* logs them */
/* The table as `--help` shows it: name, unit, range, default, help.  When `context` is not NULL: one line each, the
 * current value and where it comes from. */
void settings_print(const struct setting *table, const void *context, struct buf *out);
