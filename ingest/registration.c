#include "ingest/registration.h"

#include <string.h>

#include "common/form.h"
#include "common/utf8.h"
#include "requests.h"

const char *const registration_names[REGISTRATION_FIELDS] = { "name", "email", "phone" };

bool registration_read_form(struct text body, struct arena *arena, struct registration *ret, struct problem *why)
{
    struct form *form = arena_alloc(arena, sizeof(*form));
    if (!form_read(body, arena, form, why))
        return false;
    *ret = (struct registration){ 0 };
    for (int i = 0; i < REGISTRATION_FIELDS; i++) {
        const char *value = form_get(form, registration_names[i]);
        ret->entered[i] = value && strlen(value) <= REGISTRATION_FIELD_BYTES_MAX ? value : "";
    }
    return true;
}

bool registration_read_json(struct text body, struct arena *arena, struct registration *ret, struct problem *why)
{
    struct create_registration wanted;
    if (!create_registration_read(body, arena, &wanted, why))
        return false;
    *ret = (struct registration){ .entered = { wanted.name, wanted.email, wanted.phone } };
    return true;
}

/* On one line, without blanks around it. */
static char *one_line(const char *text, struct arena *arena)
{
    char *line = arena_alloc(arena, strlen(text) + 1), *to = line;
    for (; *text; text++) {
        bool blank = (unsigned char)*text <= ' ' || *text == '\x7f';
        if (!blank)
            *to++ = *text;
        else if (to > line && to[-1] != ' ')
            *to++ = ' ';
    }
    if (to > line && to[-1] == ' ')
        to--;
    *to = '\0';
    return line;
}

static size_t count_characters(const char *text)
{
    size_t count = 0;
    for (; *text; text++)
        count += ((unsigned char)*text & 0xC0) != 0x80;
    return count;
}

static const char *check_name(struct registration *registration, struct arena *arena)
{
    registration->name = one_line(registration->entered[REGISTRATION_NAME], arena);
    if (*registration->name == '\0')
        return "Enter your name.";
    if (count_characters(registration->name) > REGISTRATION_NAME_CHARACTERS_MAX)
        return "This is too long: a name may have 200 characters.";
    return NULL;
}

static const char *check_email(struct registration *registration)
{
    const char *entered = registration->entered[REGISTRATION_EMAIL];
    if (entered[strspn(entered, " \t\r\n")] == '\0')
        return "Enter the e-mail address of your calendar.";
    if (!email_read(entered, registration->email))
        return "This is not an e-mail address. It looks like ana@example.com.";
    return NULL;
}

static const char *check_phone(struct registration *registration, const char *region)
{
    const char *entered = registration->entered[REGISTRATION_PHONE];
    if (entered[strspn(entered, " \t\r\n")] == '\0')
        return "Enter the phone number of your WhatsApp.";
    if (!phone_typed(entered, region, registration->phone))
        return "This cannot be a phone number. Check its digits and its country code.";
    return NULL;
}

void registration_check(struct registration *registration, const char *region, struct arena *arena)
{
    registration->errors[REGISTRATION_NAME] = check_name(registration, arena);
    registration->errors[REGISTRATION_EMAIL] = check_email(registration);
    registration->errors[REGISTRATION_PHONE] = check_phone(registration, region);
    registration->error_count = 0;
    for (int i = 0; i < REGISTRATION_FIELDS; i++)
        registration->error_count += registration->errors[i] != NULL;
}
