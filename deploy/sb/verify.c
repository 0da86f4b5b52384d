/* sb verify: would the door let this request in?  With which key, or why not: then what is usually changed on the way
 * is changed back, and it is told with which of those changes a key would have matched.
 *
 * The signature is looked at by the door's own functions (ingest/keys.h, callrail_hooks.h, twilio_hooks.h,
 * shunya_hooks.h, outlook_hooks.h). */
#include "deploy/sb/verify.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "common/json.h"
#include "deploy/sb/command.h"
#include "deploy/sb/terminal.h"

#define ARENA_BYTES_MAX ((size_t)256 * 1024 * 1024)
#define JSON_BYTES_MAX  (256 * 1024)

static const struct verify_provider *const providers[] = { &verify_callrail, &verify_twilio, &verify_shunya,
                                                           &verify_outlook };

#define AT(field) offsetof(struct verify_settings, field)
static const struct setting settings_table[] = {
    { "PUBLIC_URL", SET_URL, AT(public_url), NULL, .help = "the address providers see" },
    { "CALLRAIL_SIGNING_KEY", SET_SECRET, AT(callrail_signing_key), NULL, .help = "signs CallRail's webhooks" },
    { "TWILIO_AUTH_TOKEN", SET_SECRET, AT(twilio_auth_token), NULL, .help = "signs Twilio's callbacks" },
    { "OUTLOOK_WEBHOOK_SECRET", SET_SECRET, AT(outlook_webhook_secret), NULL,
      .help = "the header X-Webhook-Secret of Outlook's webhooks" },
    { "SHUNYA_WEBHOOK_SECRET", SET_SECRET, AT(shunya_webhook_secret), NULL, .help = "signs Shunya's webhooks" },
    { "SHUNYA_SIGNATURE_LEGACY", SET_SWITCH, AT(shunya_signature_legacy), "off",
      .help = "on: Shunya's older signatures are taken too" },
    { "DEFAULT_REGION", SET_TEXT, AT(default_region), "US",
      .help = "the region of phone numbers written without a country" },
    { 0 },
};

/* --- options ------------------------------------------------------------------------------------------------- */

struct options {
    const char *url, *body;
    bool json, pieces; /* given by --url, --header and --body instead of on standard input */
};

static int read_options(struct options *options, struct request *request, int argc, char **argv)
{
    static const struct option names[] = {
        { "url", required_argument, NULL, 'u' },
        { "header", required_argument, NULL, 'h' },
        { "body", required_argument, NULL, 'b' },
        { "json", no_argument, NULL, 'j' },
        { 0 },
    };
    struct problem why;

    for (int option; (option = getopt_long(argc, argv, "", names, NULL)) != -1;) {
        if (option == '?')
            return command_misused(argv, NULL);
        options->pieces |= option != 'j';
        if (option == 'u')
            options->url = optarg;
        else if (option == 'b')
            options->body = optarg;
        else if (option == 'j')
            options->json = true;
        else if (!request_add_header(request, text_of(optarg), &why))
            return command_fail(argv, EXIT_WRONG, "--header \"%s\": %s", optarg, why.text);
    }
    return -1;
}

static const struct verify_provider *provider_find(const char *name)
{
    for (size_t i = 0; i < LENGTH(providers); i++)
        if (strcmp(providers[i]->name, name) == 0)
            return providers[i];
    return NULL;
}

static bool read_file(const char *path, struct buf *ret, struct problem *why)
{
    char part[16384];
    ssize_t bytes;
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : STDIN_FILENO;

    if (file < 0)
        return fail(why, "could not open %s: %s", path, strerror(errno));
    while ((bytes = read(file, part, sizeof(part))) > 0 && !ret->overflowed)
        buf_add(ret, part, (size_t)bytes);
    int error = errno;
    if (path)
        close(file);
    if (bytes < 0)
        return fail(why, "could not read %s: %s", path ? path : "standard input", strerror(error));
    return !ret->overflowed || fail(why, "the request is larger than %d bytes", REQUEST_BYTES_MAX);
}

/* From standard input, or put together from the options. */
static bool read_input(const struct options *options, struct request *request, struct buf *input, struct problem *why)
{
    if (options->pieces) {
        request->target = text_of(options->url);
        request->body = TEXT("");
        if (options->body && !read_file(options->body, input, why))
            return false;
        if (options->body)
            request->body = buf_text(input);
        return true;
    }
    return read_file(NULL, input, why) && request_read(buf_text(input), request, why);
}

/* --- what would have matched ----------------------------------------------------------------------------------- */

static struct candidate candidate_make(struct verify *verify, const int *at)
{
    const struct dimension *all = verify->dimensions;
    struct text piece[DIMENSIONS];

    for (int i = 0; i < DIMENSIONS; i++)
        piece[i] = all[i].count ? all[i].choices[at[i]].value : TEXT("");
    struct candidate candidate = { .signature = piece[D_SIGNATURE],
                                   .settings = piece[D_SETTINGS],
                                   .body = piece[D_BODY],
                                   .path = piece[D_PATH] };
    candidate.url = text_of(arena_printf(
        verify->arena, "%.*s%.*s%.*s%.*s%.*s%.*s", (int)piece[D_SCHEME].bytes, piece[D_SCHEME].at,
        (int)piece[D_HOST].bytes, piece[D_HOST].at, (int)piece[D_PORT].bytes, piece[D_PORT].at,
        (int)piece[D_PATH].bytes, piece[D_PATH].at, (int)piece[D_SLASH].bytes, piece[D_SLASH].at,
        (int)piece[D_QUERY].bytes, piece[D_QUERY].at));
    return candidate;
}

/* The next combination; false after the last. */
static bool step(const struct verify *verify, int *at)
{
    for (int i = 0; i < DIMENSIONS; i++) {
        if (++at[i] < verify->dimensions[i].count)
            return true;
        at[i] = 0;
    }
    return false;
}

static int changes_of(const int *at)
{
    int changes = 0;
    for (int i = 0; i < DIMENSIONS; i++)
        changes += at[i] > 0;
    return changes;
}

/* Every combination is tried, the fewest changes win; false when none matches. */
static bool find_match(struct verify *verify, struct match *ret)
{
    int at[DIMENSIONS] = { 0 };
    int fewest = CHANGES_MAX + 1;

    while (step(verify, at)) {
        int changes = changes_of(at);
        if (changes >= fewest)
            continue;
        struct candidate candidate = candidate_make(verify, at);
        struct verdict verdict = verify->provider->check(verify, &candidate);
        if (verdict.key == VERIFY_NO_KEY)
            continue;
        fewest = changes;
        ret->candidate = candidate;
        ret->verdict = verdict;
        ret->change_count = 0;
        for (int i = 0; i < DIMENSIONS; i++)
            if (at[i] > 0)
                ret->changes[ret->change_count++] = verify->dimensions[i].choices[at[i]].change;
    }
    return fewest <= CHANGES_MAX;
}

void choice_add(struct verify *verify, enum dimension_name name, struct text value, const char *change)
{
    struct dimension *dimension = &verify->dimensions[name];

    for (int i = 0; i < dimension->count; i++)
        if (text_equal(dimension->choices[i].value, value))
            return;
    if (dimension->count < CHOICES_MAX)
        dimension->choices[dimension->count++] = (struct choice){ value, change };
}

/* --- the answer ---------------------------------------------------------------------------------------------- */

struct report {
    struct candidate as_given;
    struct verdict verdict;
    bool matched;
    struct match match;
};

static void print_key(const struct verdict *verdict)
{
    printf("key %d of %s", verdict->key + 1, verdict->keys_of);
}

static void print_readable(const struct verify *verify, const struct report *report)
{
    const struct verdict *verdict = &report->verdict;

    printf("%s%s%s  %s: ", colour_begin(verdict->accepted ? GREEN : RED), verdict->accepted ? "ok " : "bad",
           colour_end(), verify->provider->name);
    if (verdict->key != VERIFY_NO_KEY) {
        print_key(verdict);
        printf(" signed it%s%s\n", verdict->reason ? "; " : "", verdict->reason ? verdict->reason : "");
    } else {
        printf("refused: %s\n", verdict->reason);
    }
    if (verify->provider->signs_url)
        printf("     address  %s\n", report->as_given.url.at);
    size_t bytes = report->as_given.body.bytes;
    printf("     body     %zu %s\n", bytes, plural((int64_t)bytes, "byte", "bytes"));
    if (report->matched) {
        printf("     would match ");
        print_key(&report->match.verdict);
        for (int i = 0; i < report->match.change_count; i++)
            printf("%s %s", i ? "," : " with", report->match.changes[i]);
        printf("\n");
        if (verify->provider->signs_url && !text_equal(report->match.candidate.url, report->as_given.url))
            printf("     address  %s\n", report->match.candidate.url.at);
    } else if (verdict->key == VERIFY_NO_KEY && verify->tried) {
        printf("     nothing that is usually changed on the way makes a known key match\n");
    }
    if (verdict->mend)
        printf("mend %s\n", verdict->mend);
}

static void write_key(struct buf *out, const struct verdict *verdict)
{
    json_name(out, "key");
    if (verdict->key == VERIFY_NO_KEY) {
        buf_add_string(out, "null");
        return;
    }
    buf_add_string(out, "{");
    json_name(out, "of");
    json_write_string(out, verdict->keys_of);
    json_name(out, "number");
    json_write_integer(out, verdict->key + 1);
    buf_add_char(out, '}');
}

static void write_match(struct buf *out, const struct match *match)
{
    buf_add_char(out, '{');
    write_key(out, &match->verdict);
    json_name(out, "url");
    json_write_text(out, match->candidate.url);
    json_name(out, "changes");
    buf_add_char(out, '[');
    for (int i = 0; i < match->change_count; i++) {
        json_separate(out);
        json_write_string(out, match->changes[i]);
    }
    buf_add_string(out, "]}");
}

static void print_json(const struct verify *verify, const struct report *report)
{
    struct buf out;

    buf_init(&out, JSON_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "provider");
    json_write_string(&out, verify->provider->name);
    json_name(&out, "accepted");
    json_write_bool(&out, report->verdict.accepted);
    write_key(&out, &report->verdict);
    json_name(&out, "reason");
    json_write_string(&out, report->verdict.reason);
    json_name(&out, "url");
    json_write_text(&out, verify->provider->signs_url ? report->as_given.url : (struct text){ NULL, 0 });
    json_name(&out, "body_bytes");
    json_write_integer(&out, (int64_t)report->as_given.body.bytes);
    json_name(&out, "would_match");
    if (report->matched)
        write_match(&out, &report->match);
    else
        buf_add_string(&out, "null");
    json_name(&out, "mend");
    json_write_string(&out, report->verdict.mend);
    printf("%s}\n", buf_text(&out).at);
    buf_done(&out);
}

/* --- the command --------------------------------------------------------------------------------------------- */

static int verify_request(struct verify *verify, bool json)
{
    static const int as_given[DIMENSIONS];
    static struct report report;

    verify->provider->suspect(verify);
    report.as_given = candidate_make(verify, as_given);
    report.verdict = verify->provider->check(verify, &report.as_given);
    /* without a key, or without a signature, there is nothing to match */
    verify->tried = report.verdict.key == VERIFY_NO_KEY && report.verdict.can_match;
    report.matched = verify->tried && find_match(verify, &report.match);
    if (report.matched)
        report.verdict.mend = verify->provider->mend(verify, &report.match);
    if (json)
        print_json(verify, &report);
    else
        print_readable(verify, &report);
    return report.verdict.accepted ? EXIT_FINE : EXIT_FAILED;
}

static int verify_run(int argc, char **argv)
{
    static struct verify verify;
    struct options options = { 0 };
    struct place place;
    struct place_settings place_settings;
    struct problem why;
    struct buf input;

    int wrong = read_options(&options, &verify.request, argc, argv);
    if (wrong >= 0)
        return wrong;
    verify.provider = optind == argc - 1 ? provider_find(argv[optind]) : NULL;
    if (verify.provider == NULL)
        return command_misused(argv, "it takes one provider: callrail, twilio, shunya or outlook");
    buf_init(&input, REQUEST_BYTES_MAX);
    if (!read_input(&options, &verify.request, &input, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    place_find(&place);
    if (!place_settings_read(&place, &place_settings, &why) ||
        !settings_read(settings_table, &verify.settings, &why))
        return command_fail(argv, EXIT_WRONG, "%s", why.text);
    verify.settings.database_url = place_settings.database_url;
    verify.arena = arena_new(ARENA_BYTES_MAX);
    int code = verify.provider->open(&verify, &why) ? verify_request(&verify, options.json)
                                                     : command_fail(argv, EXIT_FAILED, "%s", why.text);
    keyring_close(verify.keyring);
    arena_free(verify.arena);
    buf_done(&input);
    return code;
}

const struct command command_verify = {
    .name = "verify",
    .summary = "tells whether the door would let a webhook in: which key signed it, or why it is refused",
    .help =
        "Usage: sb verify PROVIDER [--json] < REQUEST\n"
        "       sb verify PROVIDER --url URL [--header 'NAME: VALUE']… [--body FILE] [--json]\n\n"
        "PROVIDER is callrail, twilio, shunya or outlook. REQUEST is an HTTP request as it was received: a request line\n"
        "(it may be missing), headers, an empty line, and the body to its last byte. It is looked at as the door does,\n"
        "with the same keys: CALLRAIL_SIGNING_KEY and the companies' own (table companies), TWILIO_AUTH_TOKEN with\n"
        "PUBLIC_URL, SHUNYA_WEBHOOK_SECRET, OUTLOOK_WEBHOOK_SECRET. Keys are told by their place in the setting, never\n"
        "shown.\n\n"
        "When no key matches, what proxies and people usually change is changed back (http and https, host, port, a "
        "slash, the\n"
        "query, line ends, another encoding of the form, …), and the fewest changes that would have matched are "
        "told.\n\n"
        "Options\n"
        "  --url URL               the address the provider called\n"
        "  --header 'NAME: VALUE'  a header; several times\n"
        "  --body FILE             the raw body\n"
        "  --json                  the same as one JSON object\n\n"
        "Examples\n"
        "  sb verify callrail < webhook.http\n"
        "  sb verify twilio --url https://hooks.example.com/twilio-status --header 'X-Twilio-Signature: …' \\\n"
        "     --header 'Content-Type: application/x-www-form-urlencoded' --body body.txt\n"
        "  sb verify twilio --json < webhook.http | jq .would_match.changes\n\n"
        "Exit codes: 0 it would be let in, 1 it is refused, 2 the command line, a setting or the input is wrong\n",
    .run = verify_run,
};
