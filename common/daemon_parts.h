/* daemon_parts.h: the pieces daemon_start() is put together from.  For daemon*.c alone. */
#pragma once

#include "common/daemon.h"

/* Sanitizers catch faults themselves and say more than we could. */
#if defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#endif

/* --- daemon_settings.c --- */
/* The table of the settings every daemon has, as `name` has it (its own metrics port).  One daemon per process. */
const struct setting *daemon_settings_table(const char *name);
bool daemon_settings_read(const char *name, struct problem *why);

/* --- daemon_help.c --- */
struct daemon_options {
    bool check, dry_run;
    const char *env_file;       /* NULL: .env, which may be absent */
};
/* Prints and exits for --help, --version (0) and wrong options (2). */
void daemon_options_read(const struct daemon *daemon, int argc, char **argv, struct daemon_options *ret);

/* --- daemon_signals.c --- */
/* Before any other thread starts, so that all inherit the signal mask. */
bool daemon_signals_start(int64_t drain_deadline_ms, struct problem *why);
bool daemon_failed(void);       /* daemon_stop() was called */

/* --- daemon_crash.c --- */
bool daemon_crash_catch(const char *name, const char *instance, const char *state_dir, struct problem *why);

/* --- daemon_http.c --- */
void daemon_http_stop(void);    /* nothing when it does not run */
