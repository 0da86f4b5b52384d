/* command.h: sb's commands: a table in main.c, a file each.
 *
 * Exit codes are the same everywhere: EXIT_FINE, EXIT_FAILED (what was asked could not be done, or is bad), EXIT_WRONG
 * (the command line or a setting).  Answers go to standard output, everything else to standard error. */
#pragma once

#include "common/base.h"

enum { EXIT_FINE = 0, EXIT_FAILED = 1, EXIT_WRONG = 2 };

struct command {
    const char *name;
    const char *summary; /* one line */
    const char *help;    /* after the summary: usage, options, examples */
    /* `argv[0]` is "sb NAME", as getopt wants to print it; --help was dealt with */
    int (*run)(int argc, char **argv);
};

extern const struct command command_up;
extern const struct command command_down;
extern const struct command command_status;
extern const struct command command_topics;
extern const struct command command_tail;
extern const struct command command_logs;
extern const struct command command_trace;
extern const struct command command_why;
extern const struct command command_impact;
extern const struct command command_token;
extern const struct command command_verify;
extern const struct command command_export;
extern const struct command command_erase;
extern const struct command command_pause;
extern const struct command command_resume;
extern const struct command command_replay;
extern const struct command command_rewind;
extern const struct command command_dlq;
extern const struct command command_doctor;
extern const struct command command_company;
extern const struct command command_user;
extern const struct command command_number;
extern const struct command command_seed_data;
extern const struct command command_cleanup_seed_data;

/* Says it on standard error as "sb NAME: …" and returns the code: `return command_fail(argv, EXIT_FAILED, "%s",
 * why.text)`. */
int command_fail(char **argv, int code, const char *format, ...) PRINTF_LIKE(3, 4);
/* After getopt has said what is wrong; or `what` says it. */
int command_misused(char **argv, const char *what);

/* For commands that do several things ("sb token create"): the first argument says which. */
struct command_action {
    const char *name; /* NULL ends a table */
    /* `argv[0]` is still "sb NAME", for errors, and the action's arguments follow it */
    int (*run)(int argc, char **argv);
};
int command_act(const struct command_action *actions, int argc, char **argv);
