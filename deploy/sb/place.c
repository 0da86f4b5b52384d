#include "deploy/sb/place.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/settings_file.h"

#define MARK "deploy/local/kafka/pom.xml" /* what makes a folder the checkout */

#define PLACE(field) offsetof(struct place_settings, field)
const struct setting place_settings_table[] = {
    { "DATABASE_URL", SET_SECRET, PLACE(database_url), NULL, .help = "Postgres, anything libpq takes" },
    { "KAFKA_BROKERS", SET_TEXT, PLACE(kafka_brokers), NULL,
      .help = "Kafka's brokers, host:port, separated by commas" },
    { "INGEST_LISTEN", SET_LISTEN, PLACE(ingest_listen), "127.0.0.1:5000",
      .help = "webhooks, API, /metrics of ingest" },
    { "TRANSCRIBE_METRICS_LISTEN", SET_LISTEN, PLACE(transcribe_listen), "127.0.0.1:5001",
      .help = "/metrics of transcribe" },
    { "ANALYZE_METRICS_LISTEN", SET_LISTEN, PLACE(analyze_listen), "127.0.0.1:5002", .help = "/metrics of analyze" },
    { "NOTIFIER_METRICS_LISTEN", SET_LISTEN, PLACE(notifier_listen), "127.0.0.1:5003", .help = "/metrics of notifier" },
    { "DEFAULT_REGION", SET_TEXT, PLACE(default_region), "US",
      .help = "the region of phone numbers written without a country" },
    { 0 },
};

void path_print(char ret[PATH_MAX], const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    int bytes = vsnprintf(ret, PATH_MAX, format, arguments);
    va_end(arguments);
    if (bytes < 0 || bytes >= PATH_MAX) {
        fprintf(stderr, "sb: a path here is longer than %d bytes: use a folder nearer to /\n", PATH_MAX);
        exit(1);
    }
}

static bool find_upwards(char path[PATH_MAX])
{
    char mark[PATH_MAX];

    for (;;) {
        path_print(mark, "%s/" MARK, path);
        if (access(mark, F_OK) == 0)
            return true;
        char *slash = strrchr(path, '/');
        if (slash == NULL)
            return false;
        *slash = '\0';
    }
}

void place_find(struct place *ret)
{
    char program[PATH_MAX] = "";

    if (readlink("/proc/self/exe", program, sizeof(program) - 1) < 0)
        program[0] = '\0';
    path_print(ret->programs, "%s", dirname(program));
    bool found = getcwd(ret->root, sizeof(ret->root)) != NULL && find_upwards(ret->root);
    if (!found) {
        path_print(ret->root, "%s", ret->programs);
        found = find_upwards(ret->root);
    }
    if (!found || chdir(ret->root) != 0) {
        ret->root[0] = ret->run[0] = '\0';
        return;
    }
    path_print(ret->run, "%s/.run", ret->root);
}

/* --- settings ------------------------------------------------------------------------------------------------ */

struct given {
    const char *name;
    const char *value;
};

static void take_given(void *context, const char *name, const char *value)
{
    struct given *given = context;
    if (strcmp(given->name, name) == 0)
        given->value = value;
}

const char *place_given(const char *name)
{
    struct given given = { .name = name };
    settings_each(name, take_given, &given);
    return given.value;
}

/* The environment wins over .env, so what .run/env says goes there, unless the name is set by the user. */
static bool add_run_env(const struct place *place, struct problem *why)
{
    static char content[SETTINGS_FILE_BYTES_MAX + 2];
    static struct settings_file file;
    char path[PATH_MAX];
    struct problem at_line;

    path_print(path, "%s/env", place->run);
    if (!file_read(path, content, sizeof(content) - 1))
        return true;
    if (!settings_file_parse(content, strlen(content), &file, &at_line))
        return fail(why, "cannot use %s: %s", path, at_line.text);
    for (size_t i = 0; i < file.count; i++)
        if (place_given(file.entries[i].name) == NULL)
            setenv(file.entries[i].name, file.entries[i].value, 1);
    return true;
}

bool place_settings_read(const struct place *place, struct place_settings *ret, struct problem *why)
{
    if (!settings_load_file(".env", why))
        return false;
    if (place->root[0] != '\0' && !add_run_env(place, why))
        return false;
    return settings_read(place_settings_table, ret, why);
}

/* --- files --------------------------------------------------------------------------------------------------- */

bool folder_make(const char *path, int mode, struct problem *why)
{
    if (mkdir(path, (mode_t)mode) != 0 && errno != EEXIST)
        return fail(why, "could not make the folder %s: %s", path, strerror(errno));
    return true;
}

bool file_read(const char *path, char *ret, size_t room)
{
    FILE *file = fopen(path, "re");
    if (file == NULL)
        return false;
    size_t bytes = fread(ret, 1, room, file);
    bool whole = bytes < room && ferror(file) == 0;
    fclose(file);
    ret[whole ? bytes : 0] = '\0';
    return whole;
}

static bool write_all(int file, struct text content)
{
    while (content.bytes > 0) {
        ssize_t written = write(file, content.at, content.bytes);
        if (written < 0 && errno == EINTR)
            continue;
        if (written <= 0)
            return false;
        content.at += written;
        content.bytes -= (size_t)written;
    }
    return true;
}

bool file_write(const char *path, struct text content, int mode, struct problem *why)
{
    char fresh[PATH_MAX];

    path_print(fresh, "%s.new", path);
    unlink(fresh);
    int file = open(fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, (mode_t)mode);
    bool good = file >= 0 && write_all(file, content);
    if (file >= 0 && close(file) != 0)
        good = false;
    if (!good || rename(fresh, path) != 0) {
        fail(why, "could not write %s: %s", path, strerror(errno));
        unlink(fresh);
        return false;
    }
    return true;
}
