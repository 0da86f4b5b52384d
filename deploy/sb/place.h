/* place.h: where sb is: the checkout, its .run folder, its programs, and the settings that hold there. */
#pragma once

#include <limits.h>

#include "common/settings.h"

struct place {
    char root[PATH_MAX];     /* of the checkout, without a slash at the end; empty when sb is not in one */
    char run[PATH_MAX];      /* root/.run */
    char programs[PATH_MAX]; /* the folder sb itself is in: the daemons are beside it */
};

/* Settings of what is running, wherever that is. */
struct place_settings {
    const char *database_url;
    const char *kafka_brokers;
    const char *ingest_listen, *transcribe_listen, *analyze_listen, *notifier_listen;
    const char *default_region; /* of phone numbers written without a country */
};
extern const struct setting place_settings_table[];

/* Finds the checkout: from the working directory upwards, else from the program upwards; makes it the working
 * directory. */
void place_find(struct place *ret);
/* `.env`, then what `sb up` wrote into .run/env for names that are set in neither the environment nor `.env`. */
bool place_settings_read(const struct place *place, struct place_settings *ret, struct problem *why);
/* Is `name` set by the user: in the environment or `.env`?  The value, or NULL. */
const char *place_given(const char *name);

/* snprintf that ends the program when it does not fit: paths have PATH_MAX. */
void path_print(char ret[PATH_MAX], const char *format, ...) PRINTF_LIKE(2, 3);
/* Makes a folder unless it is there. */
bool folder_make(const char *path, int mode, struct problem *why);
/* Reads a small file, terminated, into `ret` of `room` bytes; false when it is not there or too large. */
bool file_read(const char *path, char *ret, size_t room);
/* Replaces a file wholly or not at all. */
bool file_write(const char *path, struct text content, int mode, struct problem *why);
