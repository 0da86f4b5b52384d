// libphonenumber.cc: the shim around libphonenumber.
#include <string>

#include <phonenumbers/phonenumberutil.h>

// Writes the number as E.164 into `ret` of `room` bytes; false when it is none, or does not fit.
extern "C" bool phone_parse(const char *text, const char *region, char *ret, size_t room)
{
    using i18n::phonenumbers::PhoneNumber;
    using i18n::phonenumbers::PhoneNumberUtil;

    const PhoneNumberUtil *util = PhoneNumberUtil::GetInstance();
    PhoneNumber number;
    if (util->Parse(text, region, &number) != PhoneNumberUtil::NO_PARSING_ERROR || !util->IsPossibleNumber(number))
        return false;
    std::string formatted;
    util->Format(number, PhoneNumberUtil::E164, &formatted);
    if (formatted.size() >= room)
        return false;
    formatted.copy(ret, formatted.size());
    ret[formatted.size()] = '\0';
    return true;
}

// Whether numbers of this region are known: two letters of ISO 3166.
extern "C" bool phone_region(const char *region)
{
    return i18n::phonenumbers::PhoneNumberUtil::GetInstance()->GetCountryCodeForRegion(region) != 0;
}
