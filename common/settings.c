#include "common/settings.h"
#include "common/settings_source.h"
#include "common/settings_value.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SETTINGS_TEXT_BYTES_MAX (16 * 1024 * 1024) /* of all values; the environment's own limit is smaller */
#define TAKES_BYTES_MAX         256
#define SHOWN_BYTES_MAX         60 /* of a wrong value in a sentence */

extern char **environ;

static struct settings_file env_file;
static const struct setting *tables[SETTINGS_TABLES_MAX];
static size_t table_count;
static struct arena *values; /* never freed */

const struct settings_file *settings_env_file(void)
{
    return &env_file;
}

const struct setting *const *settings_tables(size_t *ret_count)
{
    *ret_count = table_count;
    return tables;
}

/* --- .env --------------------------------------------------------------------------------------------------------- */

static ssize_t read_whole(int file, char *content, size_t room)
{
    size_t bytes = 0;
    while (bytes < room) {
        ssize_t got = read(file, content + bytes, room - bytes);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return -1;
        if (got == 0)
            break;
        bytes += (size_t)got;
    }
    return (ssize_t)bytes;
}

static bool load_content(const char *path, int file, char *content, struct problem *why)
{
    ssize_t bytes = read_whole(file, content, SETTINGS_FILE_BYTES_MAX + 1);
    if (bytes < 0)
        return fail(why, "could not read %s: %s", path, strerror(errno));
    if (bytes > SETTINGS_FILE_BYTES_MAX)
        return fail(why, "cannot use %s: it is larger than %d KiB", path, SETTINGS_FILE_BYTES_MAX / 1024);
    struct problem at_line;
    if (!settings_file_parse(content, (size_t)bytes, &env_file, &at_line))
        return fail(why, "cannot use %s: %s", path, at_line.text);
    return true;
}

bool settings_load_file(const char *path, struct problem *why)
{
    env_file.count = 0;
    env_file.path = path;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0 && errno == ENOENT)
        return true;
    if (file < 0)
        return fail(why, "could not open %s: %s", path, strerror(errno));
    char *content = sodium_init() < 0 ? NULL : sodium_malloc(SETTINGS_FILE_BYTES_MAX + 2);
    bool loaded = content ? load_content(path, file, content, why)
                          : fail(why, "could not read %s: no guarded memory to hold it", path);
    close(file);
    if (loaded) {
        sodium_mprotect_readonly(content);
    } else {
        env_file.count = 0;
        sodium_free(content);
    }
    return loaded;
}

/* --- values ------------------------------------------------------------------------------------------------------- */

const char *settings_find(const char *name, int *ret_line)
{
    const char *value = getenv(name);
    *ret_line = 0;
    for (size_t i = 0; !value && i < env_file.count; i++)
        if (strcmp(env_file.entries[i].name, name) == 0) {
            value = env_file.entries[i].value;
            *ret_line = env_file.entries[i].line;
        }
    return value && *value ? value : NULL;
}

/* `REQUEST_TIMEOUT is "5 parsecs" on line 3 of .env; it takes: duration, 1s to 10m`.  A secret's value is not shown. */
static bool fail_value(struct problem *why, const struct setting *setting, const char *value, int line)
{
    struct buf takes;
    buf_init(&takes, TAKES_BYTES_MAX);
    setting_takes(setting, &takes);
    char shown[SHOWN_BYTES_MAX + 1] = "not text";
    if (setting->kind != SET_SECRET && text_is_utf8(text_of(value))) {
        size_t bytes = strnlen(value, SHOWN_BYTES_MAX);
        while (bytes > 0 && ((uint8_t)value[bytes] & 0xc0) == 0x80) /* not in the middle of a character */
            bytes--;
        memcpy(shown, value, bytes);
        shown[bytes] = 0;
    }
    if (line)
        fail(why, "%s is \"%s\" on line %d of %s; it takes: %s", setting->name, shown, line, env_file.path,
             buf_text(&takes).at);
    else
        fail(why, "%s is \"%s\" in the environment; it takes: %s", setting->name, shown, buf_text(&takes).at);
    buf_done(&takes);
    return false;
}

static bool read_setting(const struct setting *setting, void *field, struct problem *why)
{
    int line;
    const char *value = settings_find(setting->name, &line);
    if (value)
        return setting_value_read(setting, value, field, values) || fail_value(why, setting, value, line);
    if (setting->required && !setting->fallback)
        return fail(why, "%s is not set (%s): give it in the environment or in .env", setting->name, setting->help);
    setting_value_clear(setting, field);
    bool fits = !setting->fallback || setting_value_read(setting, setting->fallback, field, values);
    if (!fits)
        fail(why, "the default of %s is wrong", setting->name);
    assert(fits); /* a table with a wrong default is a bug */
    return fits;
}

bool settings_read(const struct setting *table, void *context, struct problem *why)
{
    if (sodium_init() < 0)
        return fail(why, "could not start libsodium: no source of random numbers");
    if (!values)
        values = arena_new(SETTINGS_TEXT_BYTES_MAX);
    for (const struct setting *setting = table; setting->name; setting++)
        if (!read_setting(setting, (char *)context + setting->offset, why))
            return false;
    size_t i = 0;
    while (i < table_count && tables[i] != table)
        i++;
    assert(i < SETTINGS_TABLES_MAX);
    tables[i] = table;
    table_count = i < table_count ? table_count : i + 1;
    return true;
}

void settings_each(const char *prefix, void (*each)(void *context, const char *name, const char *value), void *context)
{
    char name[256];
    for (char **variable = environ; *variable; variable++) {
        const char *equals = strchr(*variable, '=');
        size_t bytes = equals ? (size_t)(equals - *variable) : 0;
        if (!equals || !equals[1] || bytes >= sizeof(name) || strncmp(*variable, prefix, strlen(prefix)) != 0)
            continue;
        memcpy(name, *variable, bytes);
        name[bytes] = 0;
        each(context, name, equals + 1);
    }
    for (size_t i = 0; i < env_file.count; i++) {
        const struct settings_entry *entry = &env_file.entries[i];
        if (*entry->value && !getenv(entry->name) && strncmp(entry->name, prefix, strlen(prefix)) == 0)
            each(context, entry->name, entry->value);
    }
}
