#include "common/daemon_parts.h"
#include "common/crypto.h"
#include "common/log.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#define EXIT_WRONG      2
#define CHECK_BYTES_MAX (256 * 1024)
#define FILES_WANTED    65536 /* connections are files: a thousand calls in flight pass the usual soft limit of 1,024 */
#define FILES_MIN       4096

static bool load_settings(const struct daemon *daemon, const struct daemon_options *options, struct problem *why)
{
    if (options->env_file && access(options->env_file, F_OK) != 0)
        return fail(why, "could not open %s, given by --env-file: %s", options->env_file, strerror(errno));
    return settings_load_file(options->env_file ? options->env_file : ".env", why) &&
           settings_read(daemon->settings, daemon->context, why) &&
           (!daemon->stage_settings || settings_read(daemon->stage_settings, daemon->stage_context, why)) &&
           daemon_settings_read(daemon->name, why);
}

/* With the folders above it. */
static bool make_folder(const char *path, struct problem *why)
{
    char part[PATH_MAX];
    if (strlen(path) >= sizeof(part))
        return fail(why, "could not make the folder STATE_DIR: its name is too long");
    strcpy(part, path);
    for (char *slash = part; (slash = strchr(slash + 1, '/'));) {
        *slash = 0;
        mkdir(part, 0750); /* when it fails, so does the last one */
        *slash = '/';
    }
    if (mkdir(part, 0750) != 0 && errno != EEXIST)
        return fail(why, "could not make the folder STATE_DIR \"%s\": %s", path, strerror(errno));
    if (access(part, W_OK | X_OK) != 0)
        return fail(why, "cannot write to the folder STATE_DIR \"%s\": %s", path, strerror(errno));
    return true;
}

static bool check_state_dir(struct buf *out)
{
    struct problem why;
    const char *path = daemon_settings()->state_dir;
    bool good = make_folder(path, &why);
    buf_printf(out, good ? "ok   state_dir %s\n" : "bad  state_dir %s\n", good ? path : why.text);
    return good;
}

static _Noreturn void check_and_exit(const struct daemon *daemon, const struct problem *wrong_setting)
{
    struct buf out;
    bool good = !wrong_setting;
    buf_init(&out, CHECK_BYTES_MAX);
    if (wrong_setting) {
        buf_printf(&out, "bad  settings %s\n", wrong_setting->text);
    } else {
        buf_add_string(&out, "ok   settings\n");
        settings_print(daemon->settings, daemon->context, &out);
        if (daemon->stage_settings)
            settings_print(daemon->stage_settings, daemon->stage_context, &out);
        settings_print(daemon_settings_table(daemon->name), daemon_settings(), &out);
        good = check_state_dir(&out);
        if (daemon->check && !daemon->check(daemon->context, &out))
            good = false;
    }
    fwrite(out.at, 1, out.bytes, stdout);
    exit(fflush(stdout) == 0 && good ? 0 : 1);
}

/* As many as the hard limit lets us; fewer than FILES_MIN will do for a quiet day. */
static void allow_files(void)
{
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur >= FILES_WANTED)
        return;
    files.rlim_cur = files.rlim_max < FILES_WANTED ? files.rlim_max : FILES_WANTED;
    if (setrlimit(RLIMIT_NOFILE, &files) != 0 || files.rlim_cur < FILES_MIN)
        log_warning("few files may be open, and so few connections: raise the hard limit (ulimit -Hn, LimitNOFILE=)",
                    LOG_INT("files", (int64_t)files.rlim_cur));
}

static bool get_ready(const struct daemon *daemon, struct problem *why)
{
    const struct daemon_settings *settings = daemon_settings();
    return make_folder(settings->state_dir, why) && daemon_signals_start(settings->drain_deadline_ms, why) &&
           daemon_crash_catch(daemon->name, settings->instance, settings->state_dir, why);
}

void daemon_start(const struct daemon *daemon, int argc, char **argv)
{
    struct daemon_options options;
    struct problem why;
    daemon_options_read(daemon, argc, argv, &options);
    log_init(daemon->name, LOG_INFO);
    if (!load_settings(daemon, &options, &why)) {
        if (options.check)
            check_and_exit(daemon, &why);
        log_error(why.text);
        exit(EXIT_WRONG);
    }
    log_init(daemon->name, (enum log_level)daemon_settings()->log_level);
    settings_report_unknown();
    bool ready = crypto_init(&why);
    if (ready && options.check)
        check_and_exit(daemon, NULL);
    if (ready && options.dry_run)
        exit(daemon->dry_run(daemon->context));
    if (!ready || !get_ready(daemon, &why)) {
        log_error(why.text);
        exit(EXIT_WRONG);
    }
    allow_files();
    log_info("started", LOG_TEXT("instance", daemon_settings()->instance));
}

int daemon_finish(void)
{
    daemon_http_stop();
    int code = daemon_failed() ? 1 : 0;
    log_info("ended", LOG_INT("exit_code", code));
    return code;
}
