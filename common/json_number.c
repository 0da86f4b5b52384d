/* json_number.c: numbers in JSON, read and written. */
#include <locale.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/json.h"

#define JSON_NUMBER_BYTES_MAX 1100 /* every double written out in full fits */

bool json_integer(struct json_value value, int64_t *ret)
{
    int64_t number = 0;

    if (value.kind != JSON_NUMBER)
        return false;
    bool negative = value.raw.at[0] == '-';
    for (size_t i = negative ? 1 : 0; i < value.raw.bytes; i++) {
        if (value.raw.at[i] < '0' || value.raw.at[i] > '9')
            return false;
        int digit = value.raw.at[i] - '0';
        if (__builtin_mul_overflow(number, 10, &number) ||
            __builtin_add_overflow(number, negative ? -digit : digit, &number))
            return false;
    }
    *ret = number;
    return true;
}

void json_write_integer(struct buf *buf, int64_t number)
{
    char digits[sizeof("-9223372036854775808")];
    char *at = digits + sizeof(digits);
    uint64_t left = number < 0 ? -(uint64_t)number : (uint64_t)number;

    do {
        *--at = (char)('0' + left % 10);
        left /= 10;
    } while (left > 0);
    if (number < 0)
        *--at = '-';
    buf_add(buf, at, (size_t)(digits + sizeof(digits) - at));
}

/* Numbers are read and written with a point whatever the process' locale says. */
static locale_t c_locale;

static void make_c_locale(void)
{
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
}

static locale_t enter_c_locale(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_c_locale);
    return uselocale(c_locale);
}

bool json_number(struct json_value value, double *ret)
{
    char text[JSON_NUMBER_BYTES_MAX + 1];

    if (value.kind != JSON_NUMBER || value.raw.bytes > JSON_NUMBER_BYTES_MAX)
        return false;
    memcpy(text, value.raw.at, value.raw.bytes);
    text[value.raw.bytes] = '\0';
    locale_t before = enter_c_locale();
    double number = strtod(text, NULL);
    uselocale(before);
    if (!isfinite(number))
        return false;
    *ret = number;
    return true;
}

void json_write_number(struct buf *buf, double number)
{
    char text[32];

    if (!isfinite(number)) {
        buf_add(buf, "null", 4); /* JSON has no other word for it */
        return;
    }
    locale_t before = enter_c_locale();
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof(text), "%.*g", digits, number);
        if (strtod(text, NULL) == number)
            break;
    }
    uselocale(before);
    buf_add_string(buf, text);
}
