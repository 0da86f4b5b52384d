#include "deploy/sb/when.h"

#include <stdlib.h>
#include <string.h>

#define NUMBER_MAX 100000

bool when_read(const char *text, int64_t *ret_us)
{
    static const struct {
        char unit;
        int64_t seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 } };
    char *end;

    if (time_read(text_of(text), ret_us))
        return true;
    long number = strtol(text, &end, 10);
    if (end == text || number <= 0 || number > NUMBER_MAX || strlen(end) != 1)
        return false;
    for (size_t i = 0; i < LENGTH(units); i++)
        if (*end == units[i].unit) {
            *ret_us = now_us() - number * units[i].seconds * 1000000;
            return true;
        }
    return false;
}
