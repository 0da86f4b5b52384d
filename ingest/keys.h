/* keys.h: who may knock, and whose number it is: CallRail's signing keys, companies and tracking numbers.
 *
 * Read from Postgres every few seconds and kept in memory, with the last known copy in a file that only its owner
 * may read. A start without Postgres uses that copy; a start without either lets in what the shared key signs.
 *
 * Threads: any; the keyring has a thread of its own that refreshes it. */
#pragma once

#include "common/base.h"

#define TENANT_BYTES 64                     /* a tenant's name and its end: companies.tenant */
#define KEYRING_REFRESH_MS 5000
#define KEYRING_FIRST_REFRESH_MS 500        /* until Postgres has answered once */
#define KEYRING_FIRST_WAIT_MS 3000          /* at start, for Postgres, when there is no copy */
#define KEYRING_BYTES_MAX (32 * 1024 * 1024)        /* of the copy: about half a million numbers */

struct keyring;

struct keyring_settings {
    const char *shared_keys;        /* CALLRAIL_SIGNING_KEY; NULL: none */
    const char *database_url;       /* NULL: the shared keys and no company */
    const char *database_role;      /* NULL: none */
    const char *copy_path;          /* of the last known copy; NULL: there is none, and none is written */
};

struct keyring *keyring_open(const struct keyring_settings *settings, struct problem *why);
void keyring_close(struct keyring *keyring);        /* NULL is fine */

enum signer_kind {
    SIGNER_UNKNOWN, /* nobody we know */
    SIGNER_UNTRIED, /* the body is too long to be hashed with each of so many keys: see KEYS_TRIED_BYTES_MAX */
    SIGNER_NO_KEY,  /* there is no key to check with */
    SIGNER_SHARED,  /* the shared key: speaks for any number */
    SIGNER_COMPANY, /* a company's key, or the shared key on a company's path: speaks for its own numbers */
};

struct signer {
    enum signer_kind kind;
    char tenant[TENANT_BYTES];      /* SIGNER_COMPANY */
    int key;                        /* which of its keys, from 0 */
};

/* Has Postgres answered?  Until it has, the keys are the last known ones, or the shared ones alone. */
bool keyring_is_known(struct keyring *keyring);

/* Whose key made the signature?  `company` NULL: any active key will do (the fixed paths), and each is tried over the
 * whole body, which anybody can send: with 8 keys over one of 16 MiB, with 200 over one of 640 KiB. */
#define KEYS_TRIED_BYTES_MAX (128 * 1024 * 1024)
struct signer keyring_signer(struct keyring *keyring, const char *company, struct text signature, struct text body);

#define COMPANY_NAME_BYTES 256              /* a longer name is cut */
struct company_about {
    char region[3];                 /* of its phone numbers; "": not known */
    char name[COMPANY_NAME_BYTES];  /* "": not known */
};
/* Is there a company of that name?  Who is "unassigned" is none. */
bool keyring_company(struct keyring *keyring, const char *tenant, struct company_about *ret);

/* True when somebody other than `tenant` has the number (E.164).  A number that nobody has is nobody else's. */
bool keyring_is_of_another(struct keyring *keyring, const char *number, const char *tenant);
