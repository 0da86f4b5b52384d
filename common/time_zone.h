/* time_zone.h: names of time zones.  Microsoft's calendars say "India Standard Time" where everybody else says Asia/Kolkata; which is
 * which, CLDR keeps (windowsZones.xml), in ICU.
 *
 * Threads: any.  ICU is loaded with the first name that may be Microsoft's (late.h). */
#pragma once

#include <stdbool.h>

#define TIME_ZONE_BYTES 64

/* IANA's name of a zone of Microsoft's, as it is in `region` ("IN"; NULL: anywhere).  False: it is none of theirs, and may be IANA's. */
bool time_zone_of_microsoft(const char *name, const char *region, char ret[TIME_ZONE_BYTES]);
