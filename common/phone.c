/* phone.c: what is E.164 already is copied; for the rest libphonenumber is loaded, which with its tables and what it needs takes 6 MB. */
#include "common/phone.h"

#include "common/late.h"

#include <pthread.h>
#include <string.h>

#define TEXT_BYTES_MAX 64                   /* longer is no phone number */
#define DIGITS_MIN 7
#define DIGITS_MAX 15

typedef bool phone_parser(const char *text, const char *region, char *ret, size_t room);

static phone_parser *parse;
static bool (*is_region)(const char *region);
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void load(void)
{
    *(void **)&parse = late_function("phone_parse");
    *(void **)&is_region = late_function("phone_region");
}

/* ^\+[1-9][0-9]{6,14}$: most providers write it so. */
static bool is_e164(const char *text)
{
    if (text[0] != '+' || text[1] < '1' || text[1] > '9')
        return false;
    size_t digits = strspn(text + 1, "0123456789");
    return digits >= DIGITS_MIN && digits <= DIGITS_MAX && text[1 + digits] == '\0';
}

bool phone_typed(const char *text, const char *region, char ret[PHONE_BYTES])
{
    char number[PHONE_BYTES];

    if (text == NULL || strlen(text) > TEXT_BYTES_MAX)
        return false;
    pthread_once(&once, load);
    if (!parse(text, region, number, sizeof(number)) || !is_e164(number))
        return false;
    strcpy(ret, number);
    return true;
}

bool phone_e164(const char *text, const char *region, char ret[PHONE_BYTES])
{
    if (text == NULL || !is_e164(text))
        return phone_typed(text, region, ret);
    strcpy(ret, text);
    return true;
}

bool phone_is_region(const char *region)
{
    pthread_once(&once, load);
    return is_region(region);
}
