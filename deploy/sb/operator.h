/* operator.h: what all commands that act have in common: who does it, that it is recorded, and that many events are not
 * sent by mistake. */
#pragma once

#include "deploy/sb/session.h"

#define OPERATOR_BYTES_MAX 200

/* As session_open(), under ROLE_OPERATOR, for commands that need Kafka too. */
int operator_open(struct session *ret, char **argv);

/* Is there a stage of that name? */
bool operator_stage_is(const char *name);

/* What a user or a token may be. */
#define OPERATOR_ROLES "platform, admin, exec, csr, rep, owner or station"
bool operator_role_is(const char *name);

/* `as` (--as), else $SUDO_USER or $USER and the host. */
const char *operator_name(const char *as, char ret[OPERATOR_BYTES_MAX + 1]);

/* Adds a row to operator_actions; `detail` is a JSON object.  `ret_id` (may be NULL) is in the session's arena. */
bool operator_record(struct session *session, const char *as, const char *command, const char *what, const char *detail,
                     const char **ret_id, struct problem *why);
/* Adds to the detail of an action how it ended. */
bool operator_record_end(struct session *session, const char *id, const char *detail, struct problem *why);

/* At a terminal asks, and is true when the answer is "y"; elsewhere true: scripts do what they say. */
bool operator_confirms(const char *question);

/* -1 unless `text` is a whole number between `least` and `most`. */
int64_t operator_number(const char *text, int64_t least, int64_t most);
