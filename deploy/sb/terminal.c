#include "deploy/sb/terminal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "common/utf8.h"

static const char *const codes[] = {
    [PLAIN] = "",          [BOLD] = "\x1b[1m",  [FAINT] = "\x1b[2m",    [RED] = "\x1b[31m",  [GREEN] = "\x1b[32m",
    [YELLOW] = "\x1b[33m", [BLUE] = "\x1b[34m", [MAGENTA] = "\x1b[35m", [CYAN] = "\x1b[36m",
};

bool terminal_is(void)
{
    static int known = -1;
    if (known < 0)
        known = isatty(STDOUT_FILENO) == 1;
    return known == 1;
}

int terminal_columns(void)
{
    struct winsize size;
    if (!terminal_is())
        return 0;
    return ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20 ? size.ws_col : 120;
}

static bool coloured(void)
{
    const char *no_color = getenv("NO_COLOR");
    return terminal_is() && (no_color == NULL || *no_color == '\0');
}

const char *colour_begin(enum colour colour)
{
    return coloured() ? codes[colour] : "";
}

const char *colour_end(void)
{
    return coloured() ? "\x1b[0m" : "";
}

void terminal_add(struct buf *out, struct text text, int columns)
{
    const char *end = text.at + text.bytes;
    int shown = 0;

    for (const char *at = text.at; at < end; shown++) {
        size_t bytes = utf8_sequence(at, end);
        unsigned char c = (unsigned char)*at;
        if (columns > 0 && shown == columns - 1 && at + (bytes ? bytes : 1) < end) {
            buf_add_string(out, UTF8_ELLIPSIS);
            return;
        }
        if (bytes == 0)
            buf_add_string(out, UTF8_REPLACEMENT);
        else if (c < ' ' || c == 0x7F ||
                 (c == 0xC2 && (unsigned char)at[1] < 0xA0)) /* C1 controls drive terminals too */
            buf_add_char(out, ' ');
        else
            buf_add(out, at, bytes);
        at += bytes ? bytes : 1;
    }
}

void terminal_add_cell(struct buf *out, struct text text, int columns)
{
    size_t before = out->bytes;
    int shown = 0;

    terminal_add(out, text, terminal_is() ? columns : 0);
    for (size_t i = before; i < out->bytes; i++)
        shown += ((unsigned char)out->at[i] & 0xC0) != 0x80;
    buf_printf(out, "%*s", columns > shown ? columns - shown : 0, "");
}

const char *plural(int64_t count, const char *one, const char *more)
{
    return count == 1 ? one : more;
}

char *age_print(int64_t us, char ret[AGE_BYTES])
{
    static const struct {
        const char *unit;
        int64_t seconds;
    } units[] = { { "d", 86400 }, { "h", 3600 }, { "min", 60 }, { "s", 1 } };
    int64_t seconds = us > 0 ? us / 1000000 : 0;
    size_t i = 0;

    while (i < LENGTH(units) - 1 && seconds < 2 * units[i].seconds)
        i++;
    snprintf(ret, AGE_BYTES, "%lld %s", (long long)(seconds / units[i].seconds), units[i].unit);
    return ret;
}

char *took_print(int64_t us, char ret[AGE_BYTES])
{
    if (us < 1000)
        snprintf(ret, AGE_BYTES, "%lld us", (long long)(us > 0 ? us : 0));
    else if (us < 1000000)
        snprintf(ret, AGE_BYTES, "%lld ms", (long long)(us / 1000));
    else if (us < 120 * INT64_C(1000000))
        snprintf(ret, AGE_BYTES, "%.1f s", (double)us / 1e6);
    else
        age_print(us, ret);
    return ret;
}

char *clock_print(int64_t us, char ret[CLOCK_BYTES])
{
    time_t seconds = (time_t)(us / 1000000), now = (time_t)(now_us() / 1000000);
    struct tm then, today;

    localtime_r(&seconds, &then);
    localtime_r(&now, &today);
    bool is_today = then.tm_yday == today.tm_yday && then.tm_year == today.tm_year;
    strftime(ret, CLOCK_BYTES, is_today ? "%H:%M:%S" : "%Y-%m-%d %H:%M:%S", &then);
    return ret;
}

char *clock_ms(int64_t us, char ret[CLOCK_BYTES])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm then;

    strftime(ret, CLOCK_BYTES, "%H:%M:%S", localtime_r(&seconds, &then));
    snprintf(ret + strlen(ret), CLOCK_BYTES - strlen(ret), ".%03d", (int)(us / 1000 % 1000));
    return ret;
}

char *day_print(int64_t us, char ret[CLOCK_BYTES])
{
    time_t seconds = (time_t)(us / 1000000);
    struct tm then;

    strftime(ret, CLOCK_BYTES, "%Y-%m-%d", localtime_r(&seconds, &then));
    return ret;
}
