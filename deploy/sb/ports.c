/* Who listens on a port: /proc/net/tcp has the socket's inode, /proc/PID/fd the process that holds it. */
#include "deploy/sb/ports.h"

#include <dirent.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "deploy/sb/place.h"
#include "deploy/sb/probe.h"

#define STATE_LISTEN 0x0A

/* The inode of a listening socket on `port`, or 0. */
static unsigned long listening_inode(const char *table, int port)
{
    char line[512];
    unsigned long found = 0;
    FILE *file = fopen(table, "re");

    while (file && found == 0 && fgets(line, sizeof(line), file)) {
        unsigned int local_port, state;
        unsigned long inode;
        /* sl local_address rem_address st tx:rx tr:tm retrnsmt uid timeout inode */
        if (sscanf(line, " %*d: %*[0-9A-F]:%x %*[0-9A-F]:%*x %x %*x:%*x %*x:%*x %*x %*u %*d %lu", &local_port, &state,
                   &inode) == 3 &&
            (int)local_port == port && state == STATE_LISTEN)
            found = inode;
    }
    if (file)
        fclose(file);
    return found;
}

static bool process_has(const char *pid, unsigned long inode)
{
    char folder[PATH_MAX], path[PATH_MAX], target[64], wanted[64];
    bool found = false;

    path_print(folder, "/proc/%s/fd", pid);
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    DIR *files = opendir(folder);
    for (struct dirent *entry; files && !found && (entry = readdir(files));) {
        path_print(path, "%s/%s", folder, entry->d_name);
        ssize_t bytes = readlink(path, target, sizeof(target) - 1);
        target[bytes > 0 ? bytes : 0] = '\0';
        found = strcmp(target, wanted) == 0;
    }
    if (files)
        closedir(files);
    return found;
}

/* "process 1234 (python3)", or "another process" when it is not ours to see. */
static void print_owner(int port, char *ret, size_t room)
{
    char path[PATH_MAX], name[64];
    unsigned long inode = listening_inode("/proc/net/tcp", port);

    if (inode == 0)
        inode = listening_inode("/proc/net/tcp6", port);
    snprintf(ret, room, "another process");
    DIR *processes = inode ? opendir("/proc") : NULL;
    for (struct dirent *entry; processes && (entry = readdir(processes));) {
        if (entry->d_name[0] < '1' || entry->d_name[0] > '9' || !process_has(entry->d_name, inode))
            continue;
        path_print(path, "/proc/%s/comm", entry->d_name);
        if (!file_read(path, name, sizeof(name)))
            name[0] = '\0';
        name[strcspn(name, "\n")] = '\0';
        snprintf(ret, room, "process %.10s (%s)", entry->d_name, name);
        break;
    }
    if (processes)
        closedir(processes);
}

bool port_check(const char *listen, const char *part, const char *setting, struct problem *why)
{
    char host[128], port[8], owner[128];
    struct addrinfo *address = NULL;
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE };

    /* the address as given: 0.0.0.0 collides with more than 127.0.0.1 does */
    snprintf(host, sizeof(host), "%.*s", (int)(strrchr(listen, ':') - listen), listen);
    if (*host == '[' && host[strlen(host) - 1] == ']') {
        memmove(host, host + 1, strlen(host));
        host[strlen(host) - 1] = '\0';
    }
    snprintf(port, sizeof(port), "%d", listen_port(listen));
    if (getaddrinfo(host, port, &hints, &address) != 0)
        return fail(why, "cannot listen on %s for %s: \"%s\" is no address of this machine: change %s", listen, part,
                    host, setting);
    int one = 1;
    int sock = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(sock, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)); /* as the parts do: what lingers is no hindrance */
    bool free_port = bind(sock, address->ai_addr, address->ai_addrlen) == 0;
    int error = errno;
    close(sock);
    freeaddrinfo(address);
    if (free_port)
        return true;
    if (error != EADDRINUSE)
        return fail(why, "cannot listen on %s for %s: %s: change %s", listen, part, strerror(error), setting);
    print_owner(listen_port(listen), owner, sizeof(owner));
    return fail(why, "port %s, which %s needs, is in use by %s: end that, or set %s to another", port, part, owner,
                setting);
}
