/* supervisor.h: starts parts in order, keeps them running, stops them in reverse order.
 *
 * Parts of one phase start together; the next phase begins when all of them are ready (or, those that end by
 * themselves, have ended well).  A part that dies later is started again after a back-off.  One that cannot even get
 * ready ends everything, with its last words. One thread; everything waits in one poll(). */
#pragma once

#include "deploy/sb/child.h"
#include "deploy/sb/logfile.h"
#include "deploy/sb/probe.h"

#define PARTS_MAX          16
#define PART_ARGUMENTS_MAX 16

enum part_state {
    PART_WAITING, /* its phase has not come */
    PART_STARTING,
    PART_READY,
    PART_BACKING_OFF, /* died; starts again soon */
    PART_STOPPING,
    PART_ENDED,
};
extern const char *const part_states[]; /* their names */

struct part {
    /* set by whoever makes the table */
    const char *name;
    int phase;
    const char *argv[PART_ARGUMENTS_MAX + 1];
    int (*run)(void *context); /* instead of argv */
    void *context;
    const struct user *user;
    const char *folder;
    bool once;                        /* ends by itself; its exit code 0 is what "ready" is for the others */
    bool to_terminal;                 /* its output goes to the terminal, and a failure of it ends nothing */
    const char *listen, *path;        /* ready when this address answers (path: with 200) … */
    bool (*answers)(const char *url); /* … and, where a connection says too little, this does; must be quick */
    const char *url;
    const char *where; /* shown when it is ready */
    int64_t start_ms;  /* to get ready in */
    int stop_signal;
    int64_t stop_ms; /* to end in, then it is killed */

    /* kept by the supervisor */
    enum part_state state;
    pid_t pid;           /* 0: none */
    int status;          /* how it ended */
    int restarts, tries; /* tries: to get ready for the first time */
    bool was_ready;
    int64_t started_us, ready_us, begin_us; /* begin: of the first try */
    int64_t next_us;                        /* the next thing to do: start again, probe, or kill */
    int64_t backoff_ms;
    struct logfile log;
    int output; /* the pipe it writes to; -1 when closed */
    struct probe probe;
};

struct supervisor {
    struct part parts[PARTS_MAX];
    size_t count;
    const char *log_folder;
    const char *state_path; /* what `sb status` reads: JSON, written at every change */
    /* called when all parts of a phase are ready */
    void (*phase_done)(void *context, int phase);
    void *context;
    bool stop_after_last; /* when the last phase is done, instead of running on; the exit code is that part's */
};

struct part *supervisor_add(struct supervisor *supervisor, const char *name, int phase);
/* Runs until a signal or the end.  The exit code of sb. */
int supervisor_run(struct supervisor *supervisor);
