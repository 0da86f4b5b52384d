/* Short texts from outside, each by its own reader; the first byte chooses which.  What is read is within its limits,
 * and reads the same when it is written again; what is refused has a reason. */
#include "tests/fuzz/fuzz.h"

#include "analyze/sop.h"
#include "analyze/spoken_time.h"
#include "common/address_guard.h"
#include "common/crypto.h"
#include "common/event.h"
#include "common/fault.h"
#include "common/form.h"
#include "common/phone.h"
#include "common/settings_file.h"
#include "common/settings_value.h"
#include "common/shunya.h"
#include "deploy/sb/document.h"
#include "deploy/sb/request.h"
#include "deploy/sb/terminal.h"
#include "deploy/sb/when.h"
#include "ingest/byte_range.h"
#include "ingest/call_facts.h"
#include "ingest/callrail_list.h"
#include "ingest/keys.h"
#include "ingest/shunya_hooks.h"
#include "ingest/tokens.h"
#include "transcribe/transcribe.h"

#include <sys/stat.h>

#define INPUT_BYTES_MAX (64 * 1024)
#define ARENA_BYTES_MAX ((size_t)16 << 20)
#define TRACE_ID_DIGITS 32

/* --- forms -------------------------------------------------------------------------------------------------------- */

/* Encodes both texts of each field; false when one holds a NUL, which form_encode cannot be given. */
static bool encode(const struct form *form, struct buf *ret)
{
    for (size_t i = 0; i < form->count; i++) {
        const struct text texts[] = { form->fields[i].name, form->fields[i].value };
        for (size_t j = 0; j < LENGTH(texts); j++) {
            require(text_is_utf8(texts[j]) && texts[j].at[texts[j].bytes] == '\0');
            if (strlen(texts[j].at) != texts[j].bytes)
                return false;
            buf_add_char(ret, j == 0 ? '&' : '=');
            form_encode(ret, texts[j].at);
        }
    }
    return true;
}

static void try_form(struct text input, struct arena *arena)
{
    static struct form form, again;
    struct problem why = { .text = "" };
    struct buf body;

    if (!form_read(input, arena, &form, &why)) {
        check_reason(&why);
        return;
    }
    buf_init(&body, 3 * input.bytes + 2 * FORM_FIELDS_MAX);
    if (encode(&form, &body)) {
        require(!body.overflowed && form_read(buf_text(&body), arena, &again, &why) && again.count == form.count);
        for (size_t i = 0; i < form.count; i++) {
            require(text_equal(form.fields[i].name, again.fields[i].name));
            require(text_equal(form.fields[i].value, again.fields[i].value));
            require(form_get(&form, form.fields[i].name.at) != NULL);
        }
    }
    buf_done(&body);
}

/* --- settings ----------------------------------------------------------------------------------------------------- */

static const char *const choices[] = { "local", "openai", "", NULL };
static const struct setting settings[] = {
    { .name = "TEXT", .kind = SET_TEXT },
    { .name = "URL", .kind = SET_URL },
    { .name = "CHOICE", .kind = SET_CHOICE, .choices = choices },
    { .name = "COUNT", .kind = SET_COUNT, .least = -7, .most = 1000000 },
    { .name = "BYTES", .kind = SET_BYTES },
    { .name = "DURATION", .kind = SET_DURATION, .fallback = "5s", .least = 1, .most = INT64_MAX },
    { .name = "SWITCH", .kind = SET_SWITCH },
    { .name = "LISTEN", .kind = SET_LISTEN },
};

static void try_value(const struct setting *setting, const char *value, struct arena *arena)
{
    union {
        const char *text;
        int64_t number;
        int choice;
        bool on;
    } first, second;
    struct buf once, twice;

    buf_init(&once, INPUT_BYTES_MAX);
    buf_init(&twice, INPUT_BYTES_MAX);
    if (setting_value_read(setting, value, &first, arena)) {
        setting_value_print(setting, &first, &once);
        require(text_is_utf8(buf_text(&once)));
        require(setting_value_read(setting, once.at ? once.at : "", &second, arena));
        setting_value_print(setting, &second, &twice);
        require(text_equal(buf_text(&once), buf_text(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

static void try_values(struct text input, struct arena *arena)
{
    const char *value = arena_copy_text(arena, input);
    for (size_t i = 0; i < LENGTH(settings); i++)
        try_value(&settings[i], value, arena);
}

/* Of what a file says nothing is repeated in a reason: it may be half a secret. */
static void try_settings_file(struct text input, struct arena *arena)
{
    static struct settings_file file;
    struct problem why = { .text = "" };
    char *content = arena_alloc(arena, input.bytes + 2);

    memcpy(content, input.at, input.bytes);
    if (!settings_file_parse(content, input.bytes, &file, &why)) {
        check_reason(&why);
        require(text_starts(text_of(why.text), "line "));
        return;
    }
    for (size_t i = 0; i < file.count; i++) {
        const struct settings_entry *entry = &file.entries[i];
        require(entry->name[0] &&
              strspn(entry->name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_") ==
                  strlen(entry->name));
        require(text_is_utf8(text_of(entry->value)) && entry->line > 0);
        require(entry->value >= content && entry->value + strlen(entry->value) <= content + input.bytes);
    }
}

/* --- numbers, times, words ---------------------------------------------------------------------------------------- */

static void try_phone(struct text input, struct arena *arena)
{
    static const char *const regions[] = { "US", "IN", "ZZ" };
    char number[PHONE_BYTES], again[PHONE_BYTES];

    for (size_t i = 0; i < LENGTH(regions); i++)
        if (phone_e164(arena_copy_text(arena, input), regions[i], number))
            require(number[0] == '+' && phone_e164(number, "ZZ", again) && strcmp(number, again) == 0);
}

static void try_spoken_time(struct text input, struct arena *arena)
{
    struct spoken_time said = { 0 };
    int64_t us;

    spoken_time_hear(&said, input, false, "2026-11-21T09:30", 6);
    if (spoken_time_is_whole(&said))
        require(time_read(text_of(arena_printf(arena, "%sZ", spoken_time_print(&said, arena))), &us));
}

static void try_time(struct text input, struct arena *arena)
{
    char printed[TIME_BYTES];
    int64_t us, again;

    if (time_read(input, &us))
        require(time_read(text_of(time_print(us, printed)), &again) && again == us);
    if (when_read(arena_copy_text(arena, input), &us))
        require(us < INT64_MAX);
}

static void try_base64(struct text input, struct arena *arena)
{
    size_t bytes;
    char *decoded = arena_alloc(arena, input.bytes + 1);

    if (base64_read(input, decoded, input.bytes, &bytes))
        require(text_is(input, base64_print(decoded, bytes, arena_alloc(arena, BASE64_BYTES(bytes)))));
}

/* The trace is the parent's; what cannot be read begins a new one. */
static void try_trace(struct text input, struct arena *arena)
{
    char next[TRACEPARENT_BYTES];
    const char *parent = arena_copy_text(arena, input);

    traceparent_next(parent, next);
    require(traceparent_is(text_of(next)));
    if (traceparent_is(text_of(parent)))
        require(memcmp(next + 3, parent + 3, TRACE_ID_DIGITS) == 0);
}

/* --- who may come in, and where we may go ------------------------------------------------------------------------- */

static void try_token(struct text input, struct arena *arena)
{
    struct text token;
    (void)arena;
    if (token_read(input, &token))
        require(token.bytes > 3 && token.bytes <= TOKEN_BYTES_MAX && text_starts(token, "sb_") &&
              token.at + token.bytes <= input.at + input.bytes);
}

static void try_guard(struct text input, struct arena *arena)
{
    struct problem why = { .text = "" };
    struct address_guard *guard = address_guard_new(arena_copy_text(arena, input), &why);
    if (guard == NULL)
        check_reason(&why);
    address_guard_free(guard);
}

static const char *write_file(const char *name, struct text content)
{
    static char path[FUZZ_PATH_BYTES], new_path[FUZZ_PATH_BYTES + 8];

    snprintf(path, sizeof(path), "%s/%s", fuzz_folder, name);
    snprintf(new_path, sizeof(new_path), "%s.new", path);
    FILE *file = fopen(new_path, "w");
    require(file && fwrite(content.at, 1, content.bytes, file) == content.bytes && fclose(file) == 0);
    require(rename(new_path, path) == 0);
    return path;
}

/* Whatever the copy says, the shared key is good, and nobody else's word is for it. */
static void try_keys(struct text input, struct arena *arena)
{
    const struct text body = TEXT("{\"call_id\":\"A\"}");
    const struct keyring_settings with = { .shared_keys = "shared key", .copy_path = write_file("keys.json", input) };
    struct problem why = { .text = "" };
    char signature[BASE64_BYTES(SHA1_BYTES)];
    uint8_t code[SHA1_BYTES];

    (void)arena;
    struct keyring *keyring = keyring_open(&with, &why);
    require(keyring != NULL && !keyring_is_known(keyring));
    hmac_sha1(TEXT("shared key"), &body, 1, code);
    base64_print(code, sizeof(code), signature);
    struct signer signer = keyring_signer(keyring, NULL, text_of(signature), body);
    require(signer.kind == SIGNER_SHARED && signer.key == 0);
    require(keyring_signer(keyring, NULL, TEXT("c2lnbmF0dXJl"), body).kind == SIGNER_UNKNOWN);
    signer = keyring_signer(keyring, "acme", text_of(signature), body);
    require(signer.kind == SIGNER_UNKNOWN || strcmp(signer.tenant, "acme") == 0);
    keyring_is_of_another(keyring, "+15550100001", "acme");
    keyring_close(keyring);
}

/* --- providers' documents ------------------------------------------------------------------------------------------
 */

static void try_range(struct text input, struct arena *arena)
{
    static const int64_t lengths[] = { 0, 1, 1000, INT64_MAX };
    int64_t first, last;
    (void)arena;
    for (size_t i = 0; i < LENGTH(lengths); i++)
        if (byte_range_read(input, lengths[i], &first, &last) == RANGE_PART)
            require(first >= 0 && first <= last && last < lengths[i]);
}

/* A call that is given another recording is the same call. */
static void try_listed_call(struct text input, struct arena *arena)
{
    struct callrail_listed listed, again;
    struct problem why = { .text = "" };

    if (!callrail_listed_read(input, arena, &listed, &why)) {
        check_reason(&why);
        return;
    }
    require(listed.call_id[0] && (listed.started_us < 0 || listed.over_us >= listed.started_us));
    struct callrail_listed before = listed;
    callrail_listed_record(&listed, "https://recordings.example.test/1", arena);
    require(callrail_listed_read(listed.body, arena, &again, &why) && strcmp(again.call_id, before.call_id) == 0);
    require(before.started_us < 0 || again.started_us == before.started_us);
}

static void try_list(struct text input, struct arena *arena)
{
    struct callrail_page page;
    struct problem why = { .text = "" };
    struct json_scan scan;
    struct json_value call;

    if (callrail_link_is(input, &why))
        require(text_is_utf8(text_of(callrail_link_read(input, arena))));
    else
        check_reason(&why);
    if (!callrail_page_read(input, &page, &why)) {
        check_reason(&why);
        return;
    }
    json_enter(&scan, page.calls);
    while (json_element(&scan, &call))
        try_listed_call(call.raw, arena);
}

static void try_job(struct text input, struct arena *arena)
{
    struct shunya_webhook webhook;
    struct job_news news;
    const char *job_id, *about;
    struct problem why = { .text = "" };

    if (!shunya_hook_read(TEXT("application/json"), input, arena, &webhook, &why)) {
        check_reason(&why);
        return;
    }
    if (shunya_webhook_news(input, arena, &news, &job_id, &about, &why))
        require(strcmp(job_id, webhook.job_id) == 0 && (news.result.at != NULL) != (news.error != NULL));
    else
        check_reason(&why);
}

/* --- JSON that stands in Postgres: a person may have changed it there ------------------------------------- */

/* What was read of a call's report is written as it was read. */
static void try_facts(struct text input, struct arena *arena)
{
    struct call_facts facts, again;
    struct problem why = { .text = "" };
    struct buf once, twice;

    if (!call_facts_restore(input, arena, &facts, &why)) {
        check_reason(&why);
        return;
    }
    buf_init(&once, EVENT_BYTES_MAX);
    buf_init(&twice, EVENT_BYTES_MAX);
    call_facts_write(&once, &facts);
    require(once.overflowed || call_facts_restore(buf_text(&once), arena, &again, &why));
    if (!once.overflowed) {
        call_facts_write(&twice, &again);
        require(text_equal(buf_text(&once), buf_text(&twice)));
    }
    buf_done(&once);
    buf_done(&twice);
}

/* A recorded answer of whoever transcribes. */
static void try_transcript(struct text input, struct arena *arena)
{
    struct transcript transcript, again;
    struct problem why = { .text = "" };

    if (!transcript_read(input, arena, &transcript, &why)) {
        check_reason(&why);
        return;
    }
    require(transcript_words(&transcript) >= (int)transcript.count);
    require(transcript_speakers(&transcript) <= (int)transcript.count);
    require(transcript_read(transcript_write(&transcript, arena), arena, &again, &why));
    require(again.count == transcript.count);
    require(strcmp(transcript_lines(&again, arena), transcript_lines(&transcript, arena)) == 0);
}

static void try_sop(struct text input, struct arena *arena)
{
    const struct sop *sop = sop_read(arena_copy_text(arena, input), arena);
    require(sop->count > 0 && sop->count <= SOP_STEPS_MAX);
    for (size_t i = 0; i < sop->count; i++)
        require(sop->steps[i].step && sop->steps[i].phrases && text_is_utf8(text_of(sop->steps[i].step)));
}

/* --- what operators give ------------------------------------------------------------------------------------------ */

/* The pieces are the whole. */
static void check_url(struct text target, struct arena *arena)
{
    struct url url;
    struct buf whole;

    (void)arena;
    url_split(target, &url);
    buf_init(&whole, target.bytes + 1);
    buf_add_text(&whole, url.scheme);
    buf_add_string(&whole, url.scheme.at ? "://" : "");
    buf_add_text(&whole, url.host);
    buf_add_text(&whole, url.port);
    buf_add_text(&whole, url.path);
    buf_add_text(&whole, url.query);
    require(text_equal(buf_text(&whole), target));
    buf_done(&whole);
}

static void try_request(struct text input, struct arena *arena)
{
    struct request *request = arena_alloc(arena, sizeof(*request));
    struct problem why = { .text = "" };

    if (!request_read(input, request, &why)) {
        check_reason(&why);
        return;
    }
    require(request->body.at && request->body.at + request->body.bytes == input.at + input.bytes);
    for (size_t i = 0; i < request->header_count; i++)
        require(request_header(request, arena_copy_text(arena, request->headers[i].name)).at != NULL);
    if (request->target.at)
        check_url(request->target, arena);
}

/* Whatever stands in an event, a terminal is not told what to do. */
static void try_terminal(struct text input, struct arena *arena)
{
    static const int widths[] = { 0, 1, 7, 80 };
    (void)arena;
    for (size_t i = 0; i < LENGTH(widths); i++) {
        struct buf shown;
        buf_init(&shown, 4 * INPUT_BYTES_MAX);
        terminal_add(&shown, input, widths[i]);
        struct text text = buf_text(&shown);
        int characters = 0;
        for (size_t at = 0; at < text.bytes; at++) {
            unsigned char byte = (unsigned char)text.at[at];
            require(byte >= ' ' && byte != 0x7f);
            require(byte != 0xc2 || (unsigned char)text.at[at + 1] >= 0xa0); /* nor by a control of Latin-1 */
            characters += (byte & 0xC0) != 0x80;
        }
        require(!shown.overflowed && text_is_utf8(text) && (widths[i] == 0 || characters <= widths[i]));
        buf_done(&shown);
    }
}

/* The pointer, the value and the document, a line each: an edited event is JSON, or the reason is told. */
static void try_document(struct text input, struct arena *arena)
{
    char *pointer = arena_copy_text(arena, input), *value = strchr(pointer, '\n');
    struct problem why = { .text = "" };
    struct json_value whole;
    struct buf out;

    if (strlen(pointer) != input.bytes || !value || !strchr(value + 1, '\n'))
        return;
    *value++ = '\0';
    char *document = strchr(value, '\n');
    *document++ = '\0';
    buf_init(&out, 2 * INPUT_BYTES_MAX);
    if (document_set(&out, text_of(document), pointer, text_of(value), &why)) {
        require(!out.overflowed && json_parse(buf_text(&out), &whole, &why));
        struct buf lines;
        buf_init(&lines, (size_t)INPUT_BYTES_MAX * INPUT_BYTES_MAX);
        document_indent(&lines, buf_text(&out));
        require(json_parse(buf_text(&lines), &whole, &why));
        buf_done(&lines);
    } else {
        check_reason(&why);
    }
    buf_done(&out);
}

/* No rule of the file is for this point, whose name no line can hold. */
static void try_faults(struct text input, struct arena *arena)
{
    (void)arena;
    setenv("FAULT_FILE", write_file("faults", input), 1);
    require(!FAULT_ERROR("none\n"));
}

/* ------------------------------------------------------------------------------------------------------------------ */

static const struct {
    char letter;
    void (*try)(struct text input, struct arena *arena);
} readers[] = {
    { 'f', try_form }, { 'e', try_settings_file }, { 'v', try_values }, { 'p', try_phone }, { 's', try_spoken_time },
    { 't', try_time }, { 'b', try_base64 },        { 'x', try_trace },  { 'a', try_token }, { 'g', try_guard },
    { 'k', try_keys }, { 'r', try_request },       { 'd', try_faults }, { 'y', try_range }, { 'c', try_listed_call },
    { 'l', try_list }, { 'j', try_job }, { 'o', try_document }, { 'z', try_terminal }, { 'q', try_facts },
    { 'w', try_transcript }, { 'u', try_sop },
};

int LLVMFuzzerInitialize(int *count, char ***arguments)
{
    (void)count, (void)arguments;
    require(crypto_init(NULL));
    log_nothing();
    fuzz_folder_make();
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > INPUT_BYTES_MAX)
        return 0;
    CLEANUP(arena_freep) struct arena *arena = arena_new(ARENA_BYTES_MAX);
    for (size_t i = 0; i < LENGTH(readers); i++)
        if (readers[i].letter == (char)data[0])
            readers[i].try((struct text){ (const char *)data + 1, size - 1 }, arena);
    return 0;
}
