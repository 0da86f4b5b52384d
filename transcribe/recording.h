/* recording.h: a call's or visit's audio, copied once below RECORDINGS_DIR: <tenant>/<sha256 of its id>.<format>.
 *
 * Addresses of recordings expire, so whoever comes later, a replay too, reads the copy.  It is written to a file of its
 * own in the same folder, made durable, looked at, and only then given its name: what has the name is whole and can be
 * heard. */
#pragma once

#include "common/stage.h"
#include "transcribe/audio.h"

struct recording_settings {
    const char *dir;
    int64_t bytes_max;
    int64_t duration_ms_max;
    int64_t timeout_ms, stall_timeout_ms;
};

struct recording {
    const char *path; /* below the folder */
    const char *file; /* the whole path */
    int64_t bytes;
    const char *sha256;
    const char *format;
    int channels;
    int sample_rate_hz;
    double duration_s;
};

struct recording_wanted {
    const struct recording_settings *settings;
    const char *tenant, *id, *url; /* of the call or visit */
    const char *known_path; /* of an earlier copy, or NULL; it stays where it is when the call gets another tenant */
};

/* Makes the folder, tries whether it can be written to, and removes what a crash left half-written. */
bool recordings_prepare(const char *dir, struct problem *why);

/* The copy: an existing one, else fetched now.  It is asked as "recording" of the address's host, so that a host
 * that is down holds up its own recordings only.  REJECT when the address has expired, or what is there is no audio. */
enum outcome recording_get(struct work *work, const struct recording_wanted *wanted, struct recording *ret);

/* An open file in the recordings' folder that has no name and is gone when it is closed; -1 when it cannot be made. */
int recording_scratch(const struct recording_settings *settings, struct problem *why);

/* What it means for the event that a recording could not be read: REJECT when it is the recording, RETRY when it is the
 * disk. */
enum outcome recording_refuse(struct work *work, enum audio_result result, const struct problem *why);
