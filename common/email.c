#include "common/email.h"

#include <string.h>

#define NAME_BYTES_MAX 64           /* RFC 5321 section 4.5.3.1; of a label: RFC 1035 */
#define LABEL_BYTES_MAX 63

#define LETTERS "abcdefghijklmnopqrstuvwxyz"
#define DIGITS  "0123456789"

/* Labels of letters, digits and inner hyphens; at least two, and the last one is no number. */
static bool is_domain(const char *domain)
{
    size_t labels = 0;
    const char *label = domain;
    for (;; label++) {
        size_t bytes = strspn(label, LETTERS DIGITS "-");
        labels++;
        if (bytes == 0 || bytes > LABEL_BYTES_MAX || label[0] == '-' || label[bytes - 1] == '-')
            return false;
        if (label[bytes] == '\0')
            return labels >= 2 && strspn(label, DIGITS) < bytes;
        label += bytes;
        if (*label != '.')
            return false;
    }
}

bool email_read(const char *text, char ret[EMAIL_BYTES])
{
    static const char blanks[] = " \t\r\n";
    char address[EMAIL_BYTES];

    if (text == NULL)
        return false;
    text += strspn(text, blanks);
    size_t bytes = strlen(text);
    while (bytes > 0 && strchr(blanks, text[bytes - 1]))
        bytes--;
    if (bytes == 0 || bytes >= sizeof(address))
        return false;
    for (size_t i = 0; i < bytes; i++)
        address[i] = text[i] >= 'A' && text[i] <= 'Z' ? (char)(text[i] - 'A' + 'a') : text[i];
    address[bytes] = '\0';
    size_t name = strspn(address, LETTERS DIGITS "!#$%&'*+-/=?^_`{|}~.");
    if (name == 0 || name > NAME_BYTES_MAX || address[name] != '@' || !is_domain(address + name + 1))
        return false;
    memcpy(ret, address, bytes + 1);
    return true;
}
