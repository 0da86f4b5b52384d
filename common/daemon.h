/* daemon.h: what every program's main shares: options, settings, log, signals, the operators' HTTP port, the end.
 *
 * daemon_start() does, in this order: --help and --version (print and exit 0), `.env`, settings (exit 2 with a sentence
 * when one is wrong), log, crypto, signal mask, crash handler.  Options: --help, --version, --check (configuration and
 * reachability, one line each, exit 0 or 1), --dry-run (of a stage), --env-file FILE.
 *
 * Signals: SIGTERM and SIGINT ask for drain (daemon_stopping() becomes true, daemon_stop_fd() readable); a second one,
 * or the drain deadline, ends the process at once with exit code 1.  SIGPIPE is ignored.  SIGHUP is ignored. */
#pragma once

#include "common/settings.h"

#ifndef SWITCHBOARD_VERSION
#define SWITCHBOARD_VERSION "0.1.0"
#endif

struct daemon {
    const char *name;               /* "transcribe": also the log's `daemon` and the metrics' prefix label */
    const char *summary;            /* one line for --help */
    const struct setting *settings; /* the program's own table */
    void *context;                  /* filled from it */
    const struct setting *stage_settings;   /* those of the stage runtime, into `stage_context`; NULL: none */
    void *stage_context;
    /* --check: append one line per thing tried ("ok   kafka 127.0.0.1:9092", "bad  postgres …: mend"); false when any
     * is bad */
    bool (*check)(void *context, struct buf *out);
    int (*dry_run)(void *context);  /* --dry-run, instead of running: gives the exit code.  NULL: there is none */
};

/* Settings every daemon has, in addition to its own. */
struct daemon_settings {
    const char *database_url;       /* DATABASE_URL */
    const char *kafka_brokers;      /* KAFKA_BROKERS */
    const char *listen;             /* <NAME>_METRICS_LISTEN: of /health, /ready, /metrics; NULL: ingest, which serves them itself */
    const char *instance;           /* INSTANCE, default the host's name: group.instance.id and logs */
    const char *state_dir;          /* STATE_DIR: small files that outlive the process (crash notes) */
    int64_t drain_deadline_ms;      /* DRAIN_DEADLINE, 25s: below Kubernetes' 30 s */
    int log_level;                  /* LOG_LEVEL: an enum log_level */
};
const struct daemon_settings *daemon_settings(void);

/* Returns when everything is ready to run; exits otherwise. */
void daemon_start(const struct daemon *daemon, int argc, char **argv);
bool daemon_stopping(void);
int daemon_stop_fd(void);           /* becomes readable when stopping begins; never read from it */
void daemon_stop(const char *why);  /* begins stopping from inside (a fatal producer error); the exit code will be 1 */
int daemon_finish(void);            /* the exit code; last call of main */

/* The crash handler notes what the crashing thread was working on in STATE_DIR, then lets the process die.  `id` must
 * live until it is replaced, at most CRASH_ID_BYTES_MAX of it count; NULL for nothing.  Per thread; a thread's first call
 * also gives it the stack on which an overflow of its own can be noted. */
#define CRASH_ID_BYTES_MAX 128
void daemon_working_on(const char *id);
/* Calls `each` for the notes found at start, oldest first, then removes them. */
void daemon_crash_notes(void (*each)(void *context, const char *id), void *context);

/* /health (200 while the process lives), /ready (200, or 503 and the sentence `ready` gives; 503 while stopping),
 * /metrics; on `listen`, own thread, until daemon_finish().  `ready` may be NULL; it is called on that thread and must
 * not block. */
bool daemon_serve_metrics(bool (*ready)(void *context, struct problem *why), void *context, struct problem *why);
