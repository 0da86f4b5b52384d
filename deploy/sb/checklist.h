/* checklist.h: what an operator hands over in a file or on standard input: a company's steps of a call, and its signing
 * keys, which no command line and no list of processes shall show. */
#pragma once

#include "common/buf.h"

#define CHECKLIST_STEPS_MAX        20 /* as the table sop_steps has it … */
#define CHECKLIST_STEP_BYTES_MAX   200
#define CHECKLIST_PHRASES_MAX      50
#define CHECKLIST_PHRASE_BYTES_MAX 200
#define CHECKLIST_KEYS_MAX         5 /* while they are rotated there are two */
#define CHECKLIST_KEY_BYTES_MAX    256
#define CHECKLIST_KEYS_BYTES       (CHECKLIST_KEYS_MAX * (CHECKLIST_KEY_BYTES_MAX + 1))
#define CHECKLIST_FILE_BYTES_MAX   (64 * 1024)

/* The file's text into `ret` (CHECKLIST_FILE_BYTES_MAX); "-" is standard input. */
bool checklist_file(const char *path, char *ret, struct problem *why);

/* Lines of "step: phrase, phrase" as a JSON array of {number, step, phrases}; empty lines and those that begin with #
 * do not count. */
bool checklist_steps(const char *text, struct buf *ret_json, struct problem *why);

/* Lines of a key each as the database keeps them, with commas between; empty when there is none.  Wipe `ret` after
 * use. */
bool checklist_keys(const char *text, char ret[CHECKLIST_KEYS_BYTES], struct problem *why);
