#include "common/phone.h"

#include <cstring>
#include <string>

#include <phonenumbers/phonenumberutil.h>

namespace {

constexpr size_t kTextBytesMax = 64;        // longer is no phone number
constexpr size_t kDigitsMin = 7, kDigitsMax = 15;

// ^\+[1-9][0-9]{6,14}$: most providers write it so, and then it is only copied
bool IsE164(const char *text)
{
    if (text[0] != '+' || text[1] < '1' || text[1] > '9')
        return false;
    size_t digits = std::strspn(text + 1, "0123456789");
    return digits >= kDigitsMin && digits <= kDigitsMax && text[1 + digits] == '\0';
}

} // namespace

bool phone_e164(const char *text, const char *region, char ret[PHONE_BYTES])
{
    using i18n::phonenumbers::PhoneNumber;
    using i18n::phonenumbers::PhoneNumberUtil;

    if (text == nullptr || std::strlen(text) > kTextBytesMax)
        return false;
    if (IsE164(text)) {
        std::strcpy(ret, text);
        return true;
    }
    const PhoneNumberUtil *util = PhoneNumberUtil::GetInstance();
    PhoneNumber number;
    if (util->Parse(text, region, &number) != PhoneNumberUtil::NO_PARSING_ERROR || !util->IsPossibleNumber(number))
        return false;
    std::string formatted;
    util->Format(number, PhoneNumberUtil::E164, &formatted);
    if (!IsE164(formatted.c_str()))
        return false;
    std::strcpy(ret, formatted.c_str());
    return true;
}
