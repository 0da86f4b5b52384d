/* phone.h: phone numbers in one form, E.164 (+15550100001), by libphonenumber.
 *
 * Threads: any.  The first number that is not in that form already loads libphonenumber (late.h). */
#pragma once

#include <stdbool.h>

#define PHONE_BYTES 17              /* a plus sign, 15 digits and the end */

/* `region` ("US") is where a number without a country is from.  False when `text` (which may be NULL) is no phone
 * number: withheld, anonymous, a short code, a name.  Whether somebody answers there is not asked. */
bool phone_e164(const char *text, const char *region, char ret[PHONE_BYTES]);
/* The same for what a person typed: what looks like E.164 must be possible, too (+1 555 is not). */
bool phone_typed(const char *text, const char *region, char ret[PHONE_BYTES]);
/* Whether it is a region's name at all: "GB" is, "UK" is not. */
bool phone_is_region(const char *region);
