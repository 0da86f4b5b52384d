/* recording.h: a call's or visit's audio, copied once into the folder or the bucket (common/recordings.h).
 *
 * Addresses of recordings expire, so whoever comes later, a replay too, reads the copy.  It is written to a file of its
 * own, made durable, looked at, and only then kept under its name: what has the name is whole and can be heard. */
#pragma once

#include "common/recordings.h"
#include "common/stage.h"
#include "transcribe/audio.h"

#define RECORDINGS_PROVIDER "s3" /* the bucket, to circuits, pauses and metrics */

struct recording_settings {
    struct recordings store;
    int64_t bytes_max;
    int64_t duration_ms_max;
};

struct recording {
    const char *path; /* in the store */
    const char *file; /* an open file's, to be read: recording_bring() */
    int fd;           /* the file, or -1: nobody has opened it yet */
    bool removed;     /* at the end of its company's retention time: there is no file */
    int64_t bytes;
    const char *sha256;
    const char *format;
    int channels;
    int sample_rate_hz;
    double duration_s;
};
void recording_done(struct recording *recording); /* closes it */

struct recording_wanted {
    const struct recording_settings *settings;
    const char *tenant, *id, *url; /* of the call or visit */
    const char *known_path; /* of an earlier copy, or NULL; it stays where it is when the call gets another tenant */
    bool removed;           /* the earlier copy was removed at the end of its company's retention time */
};

/* Are the settings sound?  Makes the folder, tries whether it can be written to, and removes what a crash left
 * half-written. */
bool recordings_prepare(const struct recordings *store, struct problem *why);

/* The copy: an existing one, else fetched now.  It is asked as "recording" of the address's host, so that a host
 * that is down holds up its own recordings only; a bucket has a circuit.  REJECT when the address has expired, or what
 * is there is no audio.  recording_done() is the caller's, also when it is not DONE; `ret` was { .fd = -1 }. */
enum outcome recording_get(struct work *work, const struct recording_wanted *wanted, struct recording *ret);

/* Opens the file, when it is not open. */
enum outcome recording_bring(struct work *work, const struct recordings *store, struct recording *recording);

/* What it means for the event that a recording could not be read: REJECT when it is the recording, RETRY when it is the
 * disk. */
enum outcome recording_refuse(struct work *work, enum audio_result result, const struct problem *why);
/* What the store said, but for RECORDINGS_ABSENT, which is the caller's: DONE, or RETRY with the reason.  What is wrong
 * for everybody opens the bucket's circuit. */
enum outcome recording_judge(struct work *work, const struct recordings *store, enum recordings_result result,
                             const struct problem *why);
