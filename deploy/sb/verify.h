/* verify.h: what `sb verify` shares with its providers: a request in pieces, and the choices there are for each.
 *
 * The first choice of a piece is what the door would use; every other one is a suspect, with the words for it.
 * Combinations are tried until the fewest changes are found that make a key match. */
#pragma once

#include "deploy/sb/place.h"
#include "deploy/sb/request.h"
#include "ingest/keys.h"

#define CHOICES_MAX   8
#define CHANGES_MAX   3 /* more at once is another request */
#define VERIFY_NO_KEY (-1)

enum dimension_name {
    D_SCHEME, /* with :// */
    D_HOST,
    D_PORT, /* with its colon, or empty */
    D_PATH,
    D_SLASH,
    D_QUERY, /* with its question mark, or empty */
    D_BODY,
    D_SIGNATURE,
    D_SETTINGS,
    DIMENSIONS
};

struct choice {
    struct text value;
    const char *change; /* "http instead of https" */
};
struct dimension {
    struct choice choices[CHOICES_MAX];
    int count;
};

/* One combination: what a provider's function looks at. */
struct candidate {
    struct text url, path, body, signature, settings; /* `url` is terminated */
};

struct verdict {
    bool accepted;
    bool can_match;      /* refused, but there is a signature and a key to compare it with */
    int key;             /* VERIFY_NO_KEY, or its place from 0 in … */
    const char *keys_of; /* … "CALLRAIL_SIGNING_KEY", "company acme" */
    const char *reason;  /* a sentence, or NULL */
    const char *mend;    /* or NULL */
};

struct match {
    struct candidate candidate;
    struct verdict verdict;
    const char *changes[DIMENSIONS];
    int change_count;
};

struct verify_settings {
    const char *database_url, *public_url, *default_region;
    const char *callrail_signing_key, *twilio_auth_token, *shunya_webhook_secret, *outlook_webhook_secret;
    bool shunya_signature_legacy;
};

struct verify {
    const struct verify_provider *provider;
    struct verify_settings settings;
    struct request request;
    struct arena *arena;
    struct keyring *keyring; /* CallRail's */
    struct text target_path; /* of the request, without its query */
    struct dimension dimensions[DIMENSIONS];
    bool tried;
};

struct verify_provider {
    const char *name;
    bool signs_url;
    bool (*open)(struct verify *verify, struct problem *why);
    void (*suspect)(struct verify *verify); /* fills the dimensions */
    struct verdict (*check)(struct verify *verify, const struct candidate *candidate);
    const char *(*mend)(struct verify *verify, const struct match *match);
};
extern const struct verify_provider verify_callrail, verify_twilio, verify_shunya, verify_outlook;

/* A choice that is there already is not added. */
void choice_add(struct verify *verify, enum dimension_name name, struct text value, const char *change);
/* The body as it came, and as it may have been before it was changed. */
void suspect_body(struct verify *verify);
/* The signature as it came, and without what does not belong to it. */
void suspect_signature(struct verify *verify, const char *header);
