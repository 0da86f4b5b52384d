#include "deploy/sb/command.h"

#include <stdarg.h>
#include <stdio.h>

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
