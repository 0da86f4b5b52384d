/* doctor_machine.c: settings, names, disks and clocks. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "deploy/sb/child.h"
#include "deploy/sb/doctor.h"
#include "topics.h"

#define CHECK_MS           30000
#define CHECK_BYTES_MAX    (256 * 1024)
#define DISK_BYTES_LEAST   (INT64_C(1) << 30)
#define DISK_PERCENT_LEAST 5
#define CLOCK_US_MOST      1000000 /* times of different machines are compared in ledger and leases */

/* --- the daemons' own checks --------------------------------------------------------------------------------- */

static const char *ask_daemon(struct doctor *doctor, const char *name)
{
    char path[PATH_MAX];
    struct buf said;
    struct problem why;

    path_print(path, "%s/%s", doctor->place.programs, name);
    if (access(path, X_OK) != 0)
        return NULL;
    buf_init(&said, CHECK_BYTES_MAX);
    char *argv[] = { path, "--check", NULL };
    child_run(&(struct child){ .argv = argv, .input = -1, .output = -1 }, (struct text){ NULL, 0 }, CHECK_MS, &said,
              &why);
    const char *copy = arena_copy(doctor->arena, buf_text(&said).at);
    buf_done(&said);
    return copy;
}

void doctor_ask_daemons(struct doctor *doctor)
{
    for (const struct stage_topics *stage = stage_topics; stage->stage && doctor->daemon_count < DOCTOR_DAEMONS_MAX;
         stage++)
        doctor->daemons[doctor->daemon_count++] =
            (struct doctor_daemon){ stage->stage, ask_daemon(doctor, stage->stage) };
}

static const char *next_line(struct doctor *doctor, const char **at)
{
    size_t bytes = strcspn(*at, "\n");
    if (**at == '\0')
        return NULL;
    const char *line = arena_copy_text(doctor->arena, (struct text){ *at, bytes });
    *at += bytes + ((*at)[bytes] == '\n');
    return line;
}

/* "  NAME   value (where it is from)", as settings_print writes it; the value may be "not set" */
static const char *value_in(struct doctor *doctor, const char *line, const char *name)
{
    size_t bytes = strlen(name);
    if (strncmp(line, "  ", 2) != 0 || strncmp(line + 2, name, bytes) != 0 || line[2 + bytes] != ' ')
        return NULL;
    const char *value = line + 2 + bytes + strspn(line + 2 + bytes, " ");
    const char *source = strrchr(value, '(');
    if (source == NULL || source == value)
        return NULL;
    return arena_copy_text(doctor->arena, (struct text){ value, (size_t)(source - value) - 1 });
}

const char *doctor_setting(struct doctor *doctor, const char *name)
{
    for (size_t i = 0; i < doctor->daemon_count; i++) {
        const char *at = doctor->daemons[i].said;
        for (const char *line; at && (line = next_line(doctor, &at));) {
            const char *value = value_in(doctor, line, name);
            if (value && strcmp(value, "not set") != 0)
                return value;
        }
    }
    return NULL;
}

/* Kafka and Postgres have checks of their own. */
static bool is_told_elsewhere(const char *what)
{
    return strncmp(what, "postgres ", 9) == 0 || strncmp(what, "kafka ", 6) == 0;
}

static void look_at_settings(struct doctor *doctor)
{
    for (size_t i = 0; i < doctor->daemon_count; i++) {
        const struct doctor_daemon *daemon = &doctor->daemons[i];
        const char *at = daemon->said;
        bool any = false;
        if (at == NULL) {
            doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s is not on this machine: run \"%s --check\" where it is",
                       daemon->name, daemon->name);
            continue;
        }
        for (const char *line; (line = next_line(doctor, &at));)
            if (strncmp(line, "bad  ", 5) == 0 && !is_told_elsewhere(line + 5)) {
                any = true;
                doctor_say(doctor, DOCTOR_BAD,
                           arena_printf(doctor->arena, "\"%s --help\" tells what each setting takes", daemon->name),
                           "%s: %s", daemon->name, line + 5);
            }
        if (!any)
            doctor_say(doctor, DOCTOR_OK, NULL, "%s can use its settings", daemon->name);
    }
}

/* --- names in .env ------------------------------------------------------------------------------------------- */

static void say_unknown(void *context, const char *name, int line, const char *nearest, const char *remark)
{
    struct doctor *doctor = context;
    if (remark)
        doctor_say(doctor, DOCTOR_BAD, arena_copy(doctor->arena, remark), "%s is recognised and not used", name);
    else
        doctor_say(doctor, DOCTOR_BAD,
                   nearest ? arena_printf(doctor->arena, "is it %s?", nearest) : "remove it, or see \"DAEMON --help\"",
                   "%s, on line %d of .env, is no setting", name, line);
}

static void look_at_names(struct doctor *doctor)
{
    size_t before = doctor->line_count;
    settings_unknown(say_unknown, doctor);
    if (doctor->line_count == before)
        doctor_say(doctor, DOCTOR_OK, NULL, "every name in .env is a setting");
}

/* --- disks --------------------------------------------------------------------------------------------------- */

static void look_at_disk(struct doctor *doctor, const char *setting)
{
    const char *folder = doctor_setting(doctor, setting);
    struct statvfs disk;

    if (folder == NULL)
        return;
    if (statvfs(folder, &disk) != 0) {
        doctor_say(doctor, DOCTOR_UNKNOWN, NULL, "%s: %s (%s)", folder, strerror(errno), setting);
        return;
    }
    int64_t left = (int64_t)disk.f_bavail * (int64_t)disk.f_frsize;
    int64_t all = (int64_t)disk.f_blocks * (int64_t)disk.f_frsize;
    bool scarce = left < DISK_BYTES_LEAST || left * 100 < all * DISK_PERCENT_LEAST;
    doctor_say(doctor, scarce ? DOCTOR_BAD : DOCTOR_OK, scarce ? "free some space, or use a larger disk" : NULL,
               "%" PRId64 " MiB are left in %s (%s)", left >> 20, folder, setting);
}

static void look_at_disks(struct doctor *doctor)
{
    static const char *const settings[] = { "STATE_DIR", "SPOOL_DIR", "RECORDINGS_DIR" };
    for (size_t i = 0; i < LENGTH(settings); i++)
        look_at_disk(doctor, settings[i]);
}

/* --- clocks -------------------------------------------------------------------------------------------------- */

static void look_at_clock(struct doctor *doctor)
{
    static const struct statement tell_time = {
        .name = "sb_tell_time",
        .text = "SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS now_us",
    };
    struct rows rows;
    int64_t before_us = now_us();

    if (!doctor_query(doctor, &tell_time, PARAMS(), &rows))
        return;
    int64_t theirs_us = strtoll(row_get(&rows, 0, "now_us"), NULL, 10), after_us = now_us();
    int64_t skew_us = theirs_us - (before_us + after_us) / 2;
    bool bad = llabs(skew_us) > CLOCK_US_MOST + (after_us - before_us);
    doctor_say(doctor, bad ? DOCTOR_BAD : DOCTOR_OK, bad ? "set both clocks by NTP" : NULL,
               "Postgres' clock is %lld ms %s ours", llabs(skew_us) / 1000, skew_us < 0 ? "behind" : "ahead of");
}

const struct doctor_check doctor_machine_checks[] = {
    { "settings", NULL, look_at_settings },
    { "names", NULL, look_at_names },
    { "disk", NULL, look_at_disks },
    { "clock", NULL, look_at_clock },
    { 0 },
};
