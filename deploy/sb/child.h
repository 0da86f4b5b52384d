/* child.h: starts other programs so that none outlives sb, whatever ends it.
 *
 * Each child has a process group of its own (so that Ctrl-C at the terminal reaches sb alone, which then stops them in
 * order) and gets `death_signal` from the kernel when sb dies.  sb must have one thread when it starts a child. */
#pragma once

#include <sys/types.h>

#include "common/buf.h"

struct user {
    uid_t uid;
    gid_t gid;
    const char *name;
};

struct child {
    char *const *argv;         /* NULL-terminated; or … */
    int (*run)(void *context); /* … a function whose result is the exit code */
    void *context;
    const struct user *user; /* NULL: as sb itself */
    const char *folder;      /* working directory; NULL: sb's */
    int death_signal;        /* 0: SIGKILL */
    int input;               /* standard input; -1: nothing */
    int output;              /* standard output and error; -1: sb's own */
};

/* The process, or -1: `why` says that it could not be started (not found, not allowed). */
pid_t child_start(const struct child *child, struct problem *why);

/* Runs a program to its end with `input` (absent: nothing) and collects what it says in `output`.  False unless it
 * exits with 0; `why` then ends in its last line. */
bool child_run(const struct child *child, struct text input, int64_t timeout_ms, struct buf *output,
               struct problem *why);

/* "exit code 1", "killed by SIGSEGV" */
void child_ending_print(int status, char *ret, size_t room);
