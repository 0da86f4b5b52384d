/* A private Postgres cluster: FOLDER/data, with a role and a database "switchboard" and one way in (pg_hba.conf).
 *
 * Postgres refuses to run as root, so root lends it to the user "postgres" (or to whoever the cluster belongs to). That
 * user must be able to reach the cluster: a checkout below /root cannot hold it, and then it lies in /var/lib and
 * .run/postgres is a symbolic link.  Everything inside FOLDER is done as that user.
 *
 * It is made under the name `new` and gets its own when it is whole, so that an interruption leaves nothing half made.
 */
#include <dirent.h>
#include <errno.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/crypto.h"
#include "deploy/sb/local.h"

#include <sodium.h>

#define INSTALLED        "/usr/lib/postgresql" /* Debian's: one folder a major version */
#define ELSEWHERE        "/var/lib/switchboard-XXXXXX"
#define STEP_TIMEOUT_MS  120000 /* initdb writes 40 MB and waits for the disk */
#define OUTPUT_BYTES_MAX (256 * 1024)
#define PASSWORD_BYTES   16

/* Runs a program as the cluster's user, in /, where every user can be. */
static bool as_user(const struct local_postgres *postgres, char *const *argv, struct text input, struct problem *why)
{
    struct child child = { .argv = argv, .user = postgres->user, .folder = "/", .input = -1, .output = -1 };
    struct buf output;

    buf_init(&output, OUTPUT_BYTES_MAX);
    bool good = child_run(&child, input, STEP_TIMEOUT_MS, &output, why);
    /* `postgres --single` tells of errors and goes on */
    const char *error = good && output.at ? strstr(output.at, "ERROR:") : NULL;
    if (error)
        good = fail(why, "%s: %.*s", argv[0], (int)strcspn(error, "\n"), error);
    buf_done(&output);
    return good;
}

static bool write_as_user(const struct local_postgres *postgres, const char *folder, const char *name,
                          struct text content, struct problem *why)
{
    char path[PATH_MAX], script[] = "umask 077 && cat > \"$0\"";
    path_print(path, "%s/%s", folder, name);
    char *argv[] = { "sh", "-c", script, path, NULL };
    return as_user(postgres, argv, content, why);
}

/* --- where it is and who runs it ----------------------------------------------------------------------------- */

static bool choose_user(struct local_postgres *ret, struct problem *why)
{
    struct stat state;
    bool exists = stat(ret->folder, &state) == 0;
    struct passwd *entry = exists && state.st_uid != 0 ? getpwuid(state.st_uid) : getpwnam("postgres");

    if (geteuid() != 0) {
        if (exists && state.st_uid != geteuid())
            return fail(why,
                        "the Postgres cluster %s belongs to another user: run as that user (or root), or remove .run "
                        "to begin anew",
                        ret->folder);
        ret->user = NULL;
        return true;
    }
    if (entry == NULL)
        return fail(why,
                    "Postgres refuses to run as root and there is no user \"postgres\" to run it: install the package "
                    "postgresql (make deps), or set DATABASE_URL to use your own");
    ret->user_memory = (struct user){ .uid = entry->pw_uid, .gid = entry->pw_gid, .name = must_copy(entry->pw_name) };
    ret->user = &ret->user_memory;
    return true;
}

static bool is_reachable(const struct local_postgres *postgres, const char *folder)
{
    char path[PATH_MAX], script[] = "cd \"$0\"";
    path_print(path, "%s", folder);
    char *argv[] = { "sh", "-c", script, path, NULL };
    return as_user(postgres, argv, (struct text){ 0 }, NULL);
}

static bool make_folder(const struct place *place, struct local_postgres *ret, struct problem *why)
{
    char link[PATH_MAX];

    path_print(link, "%s/postgres", place->run);
    if (is_reachable(ret, place->run)) {
        if (mkdir(link, 0700) != 0)
            return fail(why, "could not make the folder %s: %s", link, strerror(errno));
    } else {
        path_print(ret->folder, "%s", ELSEWHERE);
        if (mkdtemp(ret->folder) == NULL)
            return fail(why, "could not make a folder in /var/lib for Postgres, which cannot reach %s: %s", place->run,
                        strerror(errno));
        if (symlink(ret->folder, link) != 0)
            return fail(why, "could not make %s: %s", link, strerror(errno));
        fprintf(stderr, "Postgres runs as \"%s\", who cannot reach %s: its cluster is in %s\n", ret->user->name,
                place->run, ret->folder);
    }
    if (ret->user && chown(ret->folder, ret->user->uid, ret->user->gid) != 0)
        return fail(why, "could not give %s to \"%s\": %s", ret->folder, ret->user->name, strerror(errno));
    return true;
}

static bool find_folder(const struct place *place, struct local_postgres *ret, struct problem *why)
{
    char link[PATH_MAX];
    struct stat state;

    path_print(link, "%s/postgres", place->run);
    bool there = realpath(link, ret->folder) != NULL;
    if (!there && lstat(link, &state) == 0 && unlink(link) != 0) /* a link to what is no more */
        return fail(why, "could not remove %s, which leads nowhere: %s", link, strerror(errno));
    if (!there)
        path_print(ret->folder, "%s", link);
    if (!choose_user(ret, why))
        return false;
    return there || make_folder(place, ret, why);
}

/* --- the program
 * ------------------------------------------------------------------------------------------------------- */

static int newest_version(void)
{
    int newest = 0;
    char path[PATH_MAX];
    DIR *versions = opendir(INSTALLED);

    for (struct dirent *entry; versions && (entry = readdir(versions));) {
        path_print(path, INSTALLED "/%s/bin/postgres", entry->d_name);
        if (atoi(entry->d_name) > newest && access(path, X_OK) == 0)
            newest = atoi(entry->d_name);
    }
    if (versions)
        closedir(versions);
    return newest;
}

/* What the cluster was made with; else the newest there is. */
static bool find_program(struct local_postgres *ret, struct problem *why)
{
    char path[PATH_MAX];

    path_print(path, "%s/data/PG_VERSION", ret->folder);
    bool made = file_read(path, ret->version, sizeof(ret->version));
    if (made)
        ret->version[strcspn(ret->version, "\n")] = '\0';
    else
        snprintf(ret->version, sizeof(ret->version), "%d", newest_version());
    path_print(ret->program, INSTALLED "/%s/bin/postgres", ret->version);
    if (access(ret->program, X_OK) == 0)
        return true;
    if (made)
        return fail(why,
                    "the cluster in .run/postgres was made by Postgres %s, which is not installed: install "
                    "postgresql-%s, or remove "
                    ".run to begin anew",
                    ret->version, ret->version);
    return fail(why, "there is no Postgres in " INSTALLED
                     ": install the package postgresql (make deps), or set DATABASE_URL to use your own");
}

/* --- the cluster
 * ------------------------------------------------------------------------------------------------------- */

static bool initialise(const struct local_postgres *postgres, char *data, struct problem *why)
{
    char initdb[PATH_MAX];

    path_print(initdb, INSTALLED "/%s/bin/initdb", postgres->version);
    char *remove[] = { "rm", "-rf", data, NULL };
    char *make[] = { initdb, "-D", data, "--username=postgres", "--auth=reject", "--encoding=UTF8", "--locale=C.UTF-8",
                     NULL };
    return as_user(postgres, remove, (struct text){ 0 }, why) && as_user(postgres, make, (struct text){ 0 }, why);
}

/* The role owns the database and may make the stages' roles, and is no superuser: as on a managed Postgres. */
static bool make_database(struct local_postgres *postgres, char *data, const char *password, struct problem *why)
{
    char statements[512];
    snprintf(statements, sizeof(statements),
             "CREATE ROLE switchboard LOGIN CREATEROLE PASSWORD '%s'\n"
             "CREATE DATABASE switchboard OWNER switchboard\n",
             password);
    char *argv[] = { postgres->program, "--single", "-D", data, "postgres", NULL };
    bool good = as_user(postgres, argv, text_of(statements), why);
    sodium_memzero(statements, sizeof(statements));
    return good;
}

static bool make_cluster(const struct place *place, struct local_postgres *postgres, struct problem *why)
{
    char fresh[PATH_MAX], data[PATH_MAX], password[2 * PASSWORD_BYTES + 1], hba[PATH_MAX], hba_text[4096];
    unsigned char random[PASSWORD_BYTES];

    fprintf(stderr, "making a Postgres %s cluster in .run/postgres\n", postgres->version);
    path_print(fresh, "%s/new", postgres->folder);
    path_print(data, "%s/data", postgres->folder);
    path_print(hba, "%s/deploy/local/postgres/pg_hba.conf", place->root);
    randombytes_buf(random, sizeof(random));
    hex_print(random, sizeof(random), password);
    char *finish[] = { "mv", fresh, data, NULL };
    return (file_read(hba, hba_text, sizeof(hba_text)) || fail(why, "could not read %s", hba)) &&
           initialise(postgres, fresh, why) && make_database(postgres, fresh, password, why) &&
           write_as_user(postgres, fresh, "pg_hba.conf", text_of(hba_text), why) &&
           write_as_user(postgres, fresh, "password", text_of(password), why) &&
           as_user(postgres, finish, (struct text){ 0 }, why);
}

static bool write_settings(const struct place *place, const struct local_postgres *postgres, int port,
                           struct problem *why)
{
    char from[PATH_MAX], data[PATH_MAX], port_text[16];
    struct buf settings;

    path_print(from, "%s/deploy/local/postgres/postgresql.conf.in", place->root);
    path_print(data, "%s/data", postgres->folder);
    snprintf(port_text, sizeof(port_text), "%d", port);
    buf_init(&settings, TEMPLATE_BYTES_MAX);
    bool good =
        template_fill(from, (const char *[]){ "PORT", NULL }, (const char *[]){ port_text, NULL }, &settings, why) &&
        write_as_user(postgres, data, "postgresql.conf", buf_text(&settings), why);
    buf_done(&settings);
    return good;
}

bool local_postgres_make(const struct place *place, int port, struct local_postgres *ret, struct problem *why)
{
    char path[PATH_MAX], password[2 * PASSWORD_BYTES + 1];
    struct problem inside;

    if (!find_folder(place, ret, why) || !find_program(ret, why))
        return false;
    path_print(path, "%s/data/password", ret->folder);
    if (access(path, F_OK) != 0 && !make_cluster(place, ret, &inside))
        return fail(why, "could not make the Postgres cluster: %s", inside.text);
    if (!file_read(path, password, sizeof(password)))
        return fail(why, "could not read %s", path);
    if (!write_settings(place, ret, port, &inside))
        return fail(why, "could not write the settings of Postgres: %s", inside.text);
    snprintf(ret->url, sizeof(ret->url), "postgresql://switchboard:%s@127.0.0.1:%d/switchboard", password, port);
    return true;
}
