#include "deploy/sb/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define NAMES_BYTES_MAX 256 /* of a command's actions, in a sentence */
int command_fail(char **argv, int code, const char *format, ...)
{
    char sentence[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(sentence, sizeof(sentence), format, arguments);
    va_end(arguments);
    fprintf(stderr, "%s: %s\n", argv[0], sentence);
    return code;
}

int command_misused(char **argv, const char *what)
{
    if (what)
        fprintf(stderr, "%s: %s\n", argv[0], what);
    fprintf(stderr, "try \"%s --help\"\n", argv[0]);
    return EXIT_WRONG;
}

int command_act(const struct command_action *actions, int argc, char **argv)
{
    char names[NAMES_BYTES_MAX] = "";

    for (const struct command_action *action = actions; action->name; action++) {
        if (argc > 1 && strcmp(argv[1], action->name) == 0) {
            argv[1] = argv[0];
            return action->run(argc - 1, argv + 1);
        }
        size_t used = strlen(names);
        snprintf(names + used, sizeof(names) - used, "%s%s", used == 0 ? "" : action[1].name ? ", " : " or ",
                 action->name);
    }
    fprintf(stderr, "%s: it takes %s\n", argv[0], names);
    return command_misused(argv, NULL);
}
