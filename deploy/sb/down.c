/* sb down: ends the `sb up` of this checkout, and waits until all of it has ended. */
#include "deploy/sb/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "deploy/sb/lock.h"

#define DOWN_MS 120000 /* every phase has a deadline; together they are below this */

static int down(int argc, char **argv)
{
    struct place place;

    if (argc > 1)
        return command_misused(argv, "it takes no arguments");
    place_find(&place);
    if (place.root[0] == '\0')
        return command_fail(argv, EXIT_FAILED, "this is no checkout of Switchboard: run it inside of one");
    pid_t holder = lock_holder(&place);
    if (holder == 0 && lock_wait_free(&place, 0)) {
        printf("nothing runs in %s\n", place.root);
        return EXIT_FINE;
    }
    int64_t start_us = monotonic_us();
    if (holder != 0 && kill(holder, SIGTERM) != 0 && errno != ESRCH)
        return command_fail(argv, EXIT_FAILED, "could not stop process %d: %s", (int)holder, strerror(errno));
    if (!lock_wait_free(&place, DOWN_MS))
        return command_fail(argv, EXIT_FAILED,
                            "not all of it has ended after %d s: \"fuser %s/sb.lock\" lists what is left",
                            DOWN_MS / 1000, place.run);
    printf("ended after %.1f s\n", (double)(monotonic_us() - start_us) / 1e6);
    return EXIT_FINE;
}

const struct command command_down = {
    .name = "down",
    .summary = "ends what `sb up` runs in this checkout",
    .help =
        "Usage: sb down\n\n"
        "Asks the running `sb up` to end and waits until all its parts have: the daemons finish what they have begun.\n"
        "When nothing runs, that is fine too.\n\n"
        "Examples\n"
        "  sb down\n"
        "  sb down && sb up        start again\n\n"
        "Exit codes: 0 nothing runs any more, 1 something still does, 2 the command line is wrong\n",
    .run = down,
};
