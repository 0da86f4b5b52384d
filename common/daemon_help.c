#include "common/daemon_parts.h"

#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>

#define HELP_BYTES_MAX (256 * 1024)
#define EXIT_WRONG     2

static void print_help(const struct daemon *daemon)
{
    struct buf out;
    buf_init(&out, HELP_BYTES_MAX);
    buf_printf(&out, "%s: %s\n\nUsage: %s [--check] [--env-file FILE]\n       %s --help | --version\n\n", daemon->name,
               daemon->summary, daemon->name, daemon->name);
    buf_add_string(&out, "Options\n"
                         "  --check          show the configuration, try whatever it reaches, one line each, and exit\n"
                         "  --dry-run        of a stage: read events, a line each, and write what they would change, and exit\n"
                         "  --env-file FILE  read settings from FILE instead of .env\n"
                         "  --help           show this and exit\n"
                         "  --version        show the version and exit\n\n"
                         "Settings come from the environment, else from .env; an empty value counts as not set.\n"
                         "Durations are 250ms, 30s, 5m, 2h, 7d; sizes 64KiB, 16MiB, 1GiB.\n\n");
    buf_printf(&out, "Settings of %s, what they take, and their defaults\n", daemon->name);
    settings_print(daemon->settings, NULL, &out);
    if (daemon->stage_settings) {
        buf_add_string(&out, "\nSettings of every stage\n");
        settings_print(daemon->stage_settings, NULL, &out);
    }
    buf_add_string(&out, "\nSettings of every daemon\n");
    settings_print(daemon_settings_table(daemon->name), NULL, &out);
    buf_add_string(
        &out, "\nSignals\n"
              "  SIGTERM, SIGINT  finish what has begun, within DRAIN_DEADLINE, and end; a second one ends at once\n\n"
              "Exit codes\n"
              "  0  ended as asked; with --check: all is well\n"
              "  1  ended for the reason logged last: a fatal error, DRAIN_DEADLINE, a second signal;\n"
              "     with --check: something is bad\n"
              "  2  an option or a setting is wrong\n");
    fwrite(out.at, 1, out.bytes, stdout);
    buf_done(&out);
}

static _Noreturn void exit_wrong(const struct daemon *daemon)
{
    fprintf(stderr, "try \"%s --help\"\n", daemon->name);
    exit(EXIT_WRONG);
}

/* Prints are lost when standard output is a closed pipe or a full disk; a script must be able to tell. */
static _Noreturn void exit_printed(void)
{
    exit(fflush(stdout) == 0 ? 0 : 1);
}

void daemon_options_read(const struct daemon *daemon, int argc, char **argv, struct daemon_options *ret)
{
    static const struct option options[] = {
        { "check", no_argument, NULL, 'c' },
        { "dry-run", no_argument, NULL, 'd' },
        { "env-file", required_argument, NULL, 'e' },
        { "help", no_argument, NULL, 'h' },
        { "version", no_argument, NULL, 'v' },
        { 0 },
    };
    *ret = (struct daemon_options){ 0 };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 'c':
            ret->check = true;
            break;
        case 'd':
            ret->dry_run = true;
            break;
        case 'e':
            ret->env_file = optarg;
            break;
        case 'h':
            print_help(daemon);
            exit_printed();
        case 'v':
            printf("%s (Switchboard %s)\n", daemon->name, SWITCHBOARD_VERSION);
            exit_printed();
        default:
            exit_wrong(daemon); /* getopt has said what is wrong */
        }
    }
    if (ret->dry_run && !daemon->dry_run) {
        fprintf(stderr, "%s: it has no --dry-run\n", daemon->name);
        exit_wrong(daemon);
    }
    if (optind < argc) {
        fprintf(stderr, "%s: it takes no argument such as \"%s\"\n", daemon->name, argv[optind]);
        exit_wrong(daemon);
    }
}
