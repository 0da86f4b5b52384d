/* replay.h: what the parts of `sb replay` share. */
#pragma once

#include "deploy/sb/rerun.h"

struct replay {
    const char *stage;
    const char *id, *key, *type;
    int64_t since_us, until_us; /* 0: not said */
    struct rerun_flags flags;
    int64_t rate;
    const char *as;
    bool dry_run, yes, no_wait, json;
    char **argv;
};

/* An event that was handled, and where its records stand: of its last run, then of those before it. */
struct replayed {
    const char *event_id, *key, *type;
    int run; /* to be */
    const struct replay_place {
        const char *topic;
        int32_t partition;
        int64_t offset;
    } * places;
    size_t place_count;
};

/* Called for each event whose record is still there, with its record's key and itself, of the run to be. */
typedef bool replay_each(void *context, const struct replayed *event, struct text key, struct text message,
                         struct problem *why);

/* What the dry run of the stage's own program says.  Gives the exit code. */
struct replay_dry;
struct replay_dry *replay_dry_start(const struct replay *replay, struct session *session, struct problem *why);
bool replay_dry_event(void *dry, const struct replayed *event, struct text key, struct text message,
                      struct problem *why); /* a replay_each */
/* Prints the summary and ends the program; `gone` events could not be read.  Also after a failure (`why` given). */
int replay_dry_end(struct replay_dry *dry, int64_t gone, const struct problem *why);
