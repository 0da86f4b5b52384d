/* base.h: the few things every file uses: views of bytes, problems, time, clean-up.
 *
 * Threads: everything here may be called from any thread.  Ownership: a `struct text` owns nothing. */
#pragma once

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LENGTH(array) (sizeof(array) / sizeof((array)[0]))
#define CLEANUP(function) __attribute__((__cleanup__(function)))
#define PRINTF_LIKE(format_at, arguments_at) __attribute__((__format__(__printf__, format_at, arguments_at)))

/* Bytes somebody else owns.  Not terminated unless the giver says so; `at` NULL means "absent". */
struct text {
    const char *at;
    size_t bytes;
};
#define TEXT(literal) ((struct text){ (literal), sizeof(literal) - 1 })

struct text text_of(const char *string);                    /* NULL gives the absent text */
bool text_equal(struct text a, struct text b);
bool text_is(struct text text, const char *string);
bool text_starts(struct text text, const char *prefix);
bool text_is_utf8(struct text text);                        /* strict: no surrogates, no overlong forms (RFC 3629) */

/* Why something failed, as one sentence for a person: "could not fetch recording "x": HTTP status 403".
 * Library code fills it and returns false; the program says it once. */
struct problem {
    char pointer[160];      /* JSON pointer (RFC 6901) to the offending place, or empty */
    char text[512];
};

/* Fills `why` (which may be NULL) and returns false, so that a failing function ends in `return fail(why, …)`. */
bool fail(struct problem *why, const char *format, ...) PRINTF_LIKE(2, 3);
bool fail_at(struct problem *why, const char *pointer, const char *format, ...) PRINTF_LIKE(3, 4);

int64_t now_us(void);               /* microseconds since 1970, UTC */
int64_t monotonic_us(void);         /* for durations and deadlines; unaffected by clock jumps */

#define TIME_BYTES sizeof("2026-11-21T06:29:49.123456Z")
/* RFC 3339, UTC, microseconds; `ret` must hold TIME_BYTES; returns `ret`. */
char *time_print(int64_t us, char *ret);
/* Reads RFC 3339 (any offset, any fraction) of the years 1 to 9999 into microseconds UTC; false when it is not one. */
bool time_read(struct text text, int64_t *ret_us);

/* malloc family that ends the process when memory is out: the supervisor restarts it, Kafka delivers again. */
void *must_alloc(size_t bytes);     /* zeroed */
void *must_realloc(void *at, size_t bytes);
char *must_copy(const char *string);
