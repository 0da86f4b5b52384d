/* registration.h: what a salesperson entered, from a form or from JSON, made one and checked.
 *
 * Threads: any. */
#pragma once

#include "common/arena.h"
#include "common/email.h"
#include "common/phone.h"

#define REGISTRATION_NAME_CHARACTERS_MAX 200    /* as in the schemas */
#define REGISTRATION_FIELD_BYTES_MAX 1024       /* longer is not read, and not shown again */
#define REGISTRATION_BODY_BYTES_MAX (16 * 1024)

enum registration_field { REGISTRATION_NAME, REGISTRATION_EMAIL, REGISTRATION_PHONE, REGISTRATION_FIELDS };
extern const char *const registration_names[REGISTRATION_FIELDS];  /* "name", … */

struct registration {
    const char *entered[REGISTRATION_FIELDS];   /* as the person wrote it, "" when it is missing; in the arena */
    const char *errors[REGISTRATION_FIELDS];    /* NULL: it can be used; else a sentence for the person */
    int error_count;
    const char *name;                           /* without blanks around it, on one line */
    char email[EMAIL_BYTES];
    char phone[PHONE_BYTES];
};

/* False when the body is no form at all; fields nobody asked for are passed over. */
bool registration_read_form(struct text body, struct arena *arena, struct registration *ret, struct problem *why);
/* False, with a pointer, when the body does not hold to schemas/requests/create_registration.json. */
bool registration_read_json(struct text body, struct arena *arena, struct registration *ret, struct problem *why);
/* Fills in all but `entered`.  `region`: of numbers without a country. */
void registration_check(struct registration *registration, const char *region, struct arena *arena);
