/* sb: the operators' command.  Commands are in a table; each has a file of its name. */
#include "deploy/sb/command.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/crypto.h"
#include "common/log.h"

#define NAME_BYTES_MAX 64 /* "sb token" */

static const struct command *const commands[] = {
    &command_up,     &command_down,   &command_status, &command_topics, &command_tail,   &command_logs,
    &command_trace,  &command_why,    &command_impact, &command_dlq,    &command_replay, &command_rewind,
    &command_pause,  &command_resume, &command_company, &command_user,  &command_number, &command_token,
    &command_verify, &command_doctor, &command_export, &command_erase,  &command_seed_data,
    &command_cleanup_seed_data,
};

static void print_overview(FILE *to)
{
    fputs("sb: runs Switchboard on this machine, and looks into one that runs anywhere\n\n"
          "Usage: sb COMMAND [OPTION…]\n\nCommands\n",
          to);
    for (size_t i = 0; i < LENGTH(commands); i++)
        fprintf(to, "  %-17s %s\n", commands[i]->name, commands[i]->summary);
    fputs("\n\"sb COMMAND --help\" tells more, with examples.\n"
          "Kafka and Postgres are found by KAFKA_BROKERS and DATABASE_URL: from the environment, else .env, else what\n"
          "`sb up` started in this checkout.\n\n"
          "Exit codes: 0 done, 1 it could not be done or is not well, 2 the command line or a setting is wrong\n",
          to);
}

static const struct command *command_find(const char *name)
{
    for (size_t i = 0; i < LENGTH(commands); i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int print_help(const struct command *command)
{
    printf("sb %s: %s\n\n%s", command->name, command->summary, command->help);
    return fflush(stdout) == 0 ? EXIT_FINE : EXIT_FAILED;
}

static bool asks_for_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}

static int run(const struct command *command, int argc, char **argv)
{
    static char name[NAME_BYTES_MAX];
    struct problem why;

    if (asks_for_help(argc, argv))
        return print_help(command);
    snprintf(name, sizeof(name), "sb %s", command->name);
    argv[0] = name;
    if (!crypto_init(&why))
        return command_fail(argv, EXIT_FAILED, "%s", why.text);
    int code = command->run(argc, argv);
    /* what was printed into a closed pipe or a full disk was not done */
    return fflush(stdout) == 0 || code != EXIT_FINE ? code : EXIT_FAILED;
}

int main(int argc, char **argv)
{
    log_init("sb", LOG_WARNING);
    if (argc < 2) {
        print_overview(stderr);
        return EXIT_WRONG;
    }
    bool help = strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0;
    if (help && argc == 2) {
        print_overview(stdout);
        return EXIT_FINE;
    }
    const char *name = help ? argv[2] : argv[1];
    const struct command *command = command_find(name);
    if (command == NULL) {
        fprintf(stderr, "sb: there is no command \"%s\"\ntry \"sb --help\"\n", name);
        return EXIT_WRONG;
    }
    return help ? print_help(command) : run(command, argc - 1, argv + 1);
}
