/* recordings.h: where the copies of recordings are kept: a folder that every instance sees, or an S3-compatible bucket.
 *
 * A copy has a path, <tenant>/<sha256 of its call's or visit's id>.<format>, the same in the folder as in the bucket,
 * so that a folder may be copied into a bucket as it is.  What has a path is whole: a file gets its name, and a bucket
 * shows an object, only when all of it is there.  Keeping the same twice, and removing what is not there, changes
 * nothing.
 *
 * A bucket is asked by path (https://endpoint/bucket/path), signed by AWS Signature Version 4.  Its key must be allowed
 * to put, get and delete objects and to list the bucket: else S3 says 403, and not 404, of what is not there.  Nothing
 * is held in memory but the pieces asked for; `dir` then has what is being worked on, in files without a name.
 *
 * Threads: any; all but the two for playback block.  Errors: `why`, unless RECORDINGS_DONE. */
#pragma once

#include "common/http_client.h"
#include "common/settings.h"

#define RECORDINGS_UPLOAD_BYTES_MAX (INT64_C(5) << 30) /* S3 takes no more at once */
#define RECORDINGS_PIECE_BYTES_MAX  (1024 * 1024)      /* of recordings_piece() */

struct recordings {
    const char *dir;
    const char *bucket; /* NULL: the copies lie in `dir` */
    const char *url;    /* NULL: Amazon's, of the region */
    const char *region, *access_key, *secret_key;
    int64_t timeout_ms, stall_timeout_ms; /* of a whole recording, also from where it is copied from */
};
/* Rows of a program's table of settings; `offset` is of its struct recordings. */
#define RECORDINGS_SETTINGS(offset)                                                                                    \
    { "RECORDINGS_DIR", SET_TEXT, (offset) + offsetof(struct recordings, dir), ".run/recordings",                      \
      .help = "folder of the copied recordings; with a bucket, of what is being worked on" },                          \
        { "RECORDINGS_S3_BUCKET", SET_TEXT, (offset) + offsetof(struct recordings, bucket), NULL,                      \
          .help = "the S3-compatible bucket the copies are kept in, instead of the folder" },                          \
        { "RECORDINGS_S3_URL", SET_URL, (offset) + offsetof(struct recordings, url), NULL,                             \
          .help = "its endpoint, which is asked by path; without it Amazon's, of the region" },                        \
        { "RECORDINGS_S3_REGION", SET_TEXT, (offset) + offsetof(struct recordings, region), "us-east-1",               \
          .help = "its region" },                                                                                      \
        { "AWS_ACCESS_KEY_ID", SET_TEXT, (offset) + offsetof(struct recordings, access_key), NULL,                     \
          .help = "the key that may put, get, delete and list there" },                                                \
        { "AWS_SECRET_ACCESS_KEY", SET_SECRET, (offset) + offsetof(struct recordings, secret_key), NULL,               \
          .help = "its secret" },                                                                                      \
        { "RECORDING_TIMEOUT", SET_DURATION, (offset) + offsetof(struct recordings, timeout_ms), "10m", 1000,          \
          3600000, .help = "fetching or keeping a recording, end to end" },                                            \
        { "RECORDING_STALL_TIMEOUT", SET_DURATION, (offset) + offsetof(struct recordings, stall_timeout_ms), "30s",    \
          100, 600000, .help = "without a byte for so long it is given up and tried again" }

enum recordings_result {
    RECORDINGS_DONE,
    RECORDINGS_ABSENT,  /* there is no such copy */
    RECORDINGS_AWAY,    /* another time it may be done */
    RECORDINGS_REFUSED, /* nothing can be done for anybody until a setting is mended: the key, the bucket, its region */
};

/* Do the settings go together? */
bool recordings_ready(const struct recordings *recordings, struct problem *why);
/* Is the bucket there, and does it know the key?  Of a folder: is there one? */
enum recordings_result recordings_reach(const struct recordings *recordings, struct http_client *client,
                                        struct arena *arena, struct problem *why);

/* Asks that, with a client of its own, and appends a line that tells of it, as --check does. */
bool recordings_check(const struct recordings *recordings, struct buf *out);

/* What a copy may be, and the ending of its path; NULL ends them. */
extern const char *const recording_formats[];
/* "audio/wav" */
const char *recording_content_type(const char *format);
/* An open file in the folder that has no name and is gone when it is closed; -1: `why`. */
int recordings_scratch(const struct recordings *recordings, struct problem *why);

enum recordings_result recordings_look(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const char *path, struct problem *why);
/* Opens the copy for reading: the file itself, or what was fetched of the bucket, whole.  The descriptor is the
 * caller's. */
enum recordings_result recordings_open(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const char *path, int *ret_fd, struct problem *why);

/* What is to be kept: an open file, durable and not changed any more. */
struct recordings_file {
    int fd;
    const char *name;   /* in the folder of the path; NULL: it has none, and goes into a bucket */
    int64_t bytes;
    const char *sha256; /* hex */
    const char *format;
};
enum recordings_result recordings_keep(const struct recordings *recordings, struct http_client *client,
                                       struct arena *arena, const struct recordings_file *file, const char *path,
                                       struct problem *why);
enum recordings_result recordings_remove(const struct recordings *recordings, struct http_client *client,
                                         struct arena *arena, const char *path, struct problem *why);

/* Playback from a bucket: the request for `bytes` from `first` on, at most RECORDINGS_PIECE_BYTES_MAX; its memory is
 * `arena`'s.  And what its answer means; one of another size is RECORDINGS_AWAY. */
struct http_request recordings_piece(const struct recordings *recordings, struct arena *arena, const char *path,
                                     int64_t first, int64_t bytes);
enum recordings_result recordings_judge_piece(const struct recordings *recordings, const struct http_reply *reply,
                                              int64_t bytes, struct problem *why);
