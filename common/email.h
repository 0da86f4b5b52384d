/* email.h: e-mail addresses in one form: lower case, without blanks around them.
 *
 * Threads: any. */
#pragma once

#include <stdbool.h>

#define EMAIL_BYTES 255             /* 254 (RFC 5321) and the end */

/* False when `text` (which may be NULL) is no address that a person would be reached at: it must have the form
 * name@host.domain, in ASCII (what has other letters is not compared alike everywhere), without quotes. */
bool email_read(const char *text, char ret[EMAIL_BYTES]);
