/* fuzz.h: what every fuzzer has.  Include it first. */
#pragma once

#include "common/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int LLVMFuzzerInitialize(int *count, char ***arguments);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* What does not hold is a finding; it is said here, since until the first input nobody else says why a fuzzer ends. */
#define require(holds) require_that(holds, #holds, __FILE__, __LINE__)
static inline void require_that(bool holds, const char *what, const char *file, int line)
{
    if (holds)
        return;
    fprintf(stderr, "%s:%d: does not hold: %s\n", file, line, what);
    abort();
}

/* What is refused says why, and where, in words that can be logged and answered. */
static inline void check_reason(const struct problem *why)
{
    require(why->text[0] != '\0' && text_is_utf8(text_of(why->text)));
    require(text_is_utf8(text_of(why->pointer)) && (why->pointer[0] == '\0' || why->pointer[0] == '/'));
}

/* What is logged of each input would hide what is found. */
static inline void log_nothing(void)
{
    log_init("fuzz", (enum log_level)(LOG_ERROR + 1));
}

/* A folder of this run's own, in memory where that can be had; it is gone when the fuzzer ends. */
#define FUZZ_PATH_BYTES 256
static char fuzz_folder[FUZZ_PATH_BYTES / 2];

static inline void fuzz_folder_remove(void)
{
    char command[FUZZ_PATH_BYTES];
    snprintf(command, sizeof(command), "rm -rf '%s'", fuzz_folder);
    if (system(command) != 0)
        fprintf(stderr, "could not remove %s\n", fuzz_folder);
}

static inline void fuzz_folder_make(void)
{
    snprintf(fuzz_folder, sizeof(fuzz_folder), "%s/switchboard-fuzz.XXXXXX",
             access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    require(mkdtemp(fuzz_folder) != NULL);
    atexit(fuzz_folder_remove);
}
