// icu.cc: the shim around ICU's names of time zones.
#include <string>

#include <unicode/ucal.h>
#include <unicode/unistr.h>

// Writes IANA's name of what Windows calls `name` into `ret` of `room` bytes, as it is in `region` ("IN"; NULL: anywhere); false when it is none of them.
extern "C" bool time_zone_of_windows(const char *name, const char *region, char *ret, size_t room)
{
    const icu::UnicodeString windows = icu::UnicodeString::fromUTF8(name);
    UChar found[128];
    UErrorCode error = U_ZERO_ERROR;
    int32_t length = ucal_getTimeZoneIDForWindowsID(windows.getBuffer(), windows.length(), region, found, 128, &error);
    if (U_FAILURE(error) || length <= 0 || length >= 128)
        return false;
    std::string zone;
    icu::UnicodeString(found, length).toUTF8String(zone);
    if (zone.size() >= room)
        return false;
    zone.copy(ret, zone.size());
    ret[zone.size()] = '\0';
    return true;
}
