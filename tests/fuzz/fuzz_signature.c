/* The input is secrets, header, settings and URL, each ended by a newline, and the body.  No header found by chance may
 * be right; what is signed here, by a second and plainer implementation, must be. */
#include "tests/fuzz/fuzz.h"

#include "common/signature.h"

#include "common/crypto.h"
#include "common/form.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(crypto_init(NULL));
    return 0;
}

static struct text take_line(struct text *input)
{
    const char *end = input->bytes > 0 ? memchr(input->at, '\n', input->bytes) : NULL;
    size_t bytes = end != NULL ? (size_t)(end - input->at) : input->bytes;
    struct text line = { input->at, bytes };
    input->at += bytes + (end != NULL);
    input->bytes -= bytes + (end != NULL);
    return line;
}

static int order(struct text a, struct text b)
{
    int bytes = memcmp(a.at, b.at, a.bytes < b.bytes ? a.bytes : b.bytes);
    return bytes != 0 ? bytes : (a.bytes > b.bytes) - (a.bytes < b.bytes);
}

static int order_fields(const struct form_field *a, const struct form_field *b)
{
    int names = order(a->name, b->name);
    return names != 0 ? names : order(a->value, b->value);
}

/* Appends the fields by looking for the least one beyond the last, again and again. */
static void append_fields(struct buf *text, const struct form *form)
{
    const struct form_field *last = NULL;

    for (;;) {
        const struct form_field *next = NULL;
        for (size_t i = 0; i < form->count; i++) {
            const struct form_field *field = &form->fields[i];
            if ((last == NULL || order_fields(field, last) > 0) && (next == NULL || order_fields(field, next) < 0))
                next = field;
        }
        if (next == NULL)
            return;
        buf_add_text(text, next->name);
        buf_add_text(text, next->value);
        last = next;
    }
}

static struct text sign(struct text text, char ret[BASE64_BYTES(SHA1_BYTES)])
{
    uint8_t code[SHA1_BYTES];
    hmac_sha1(TEXT("fuzzed secret"), &text, 1, code);
    return text_of(base64_print(code, sizeof(code), ret));
}

static void check_form(struct text url, struct text body)
{
    static struct form form;
    char printed[BASE64_BYTES(SHA1_BYTES)];
    const struct text secrets = TEXT("other,fuzzed secret");
    const struct text absent = { NULL, 0 };
    struct buf text;

    CLEANUP(arena_freep) struct arena *arena = arena_new(FORM_ARENA_BYTES_MAX(body.bytes));
    buf_init(&text, url.bytes + body.bytes + 1);
    buf_add_text(&text, url);
    if (form_read(body, arena, &form, NULL)) {
        append_fields(&text, &form);
        require(!text.overflowed);
        require(signature_twilio(secrets, sign(buf_text(&text), printed), absent, url, body, true) == 1);
        buf_add_char(&text, 'x');
        require(signature_twilio(secrets, sign(buf_text(&text), printed), absent, url, body, true) == SIGNATURE_WRONG);
    }
    buf_done(&text);
}

/* A signature holds for five minutes around the time that it says, and for no other body. */
static void check_shunya(struct text header, struct text body)
{
    const struct text secrets = TEXT("other,fuzzed secret"), parts[] = { TEXT("1795242589"), TEXT("."), body };
    const int64_t signed_s = 1795242589;
    uint8_t code[SHA256_BYTES];
    char hex[2 * SHA256_BYTES + 1], made[128];
    int64_t said_s;

    if (signature_shunya_time(header, &said_s))
        require(said_s >= 0 && signature_shunya(secrets, header, body, said_s, false) == SIGNATURE_WRONG);
    require(signature_shunya(secrets, header, body, signed_s, true) == SIGNATURE_WRONG);
    hmac_sha256(TEXT("fuzzed secret"), parts, LENGTH(parts), code);
    snprintf(made, sizeof(made), "t=1795242589,v1=%s", hex_print(code, sizeof(code), hex));
    require(signature_shunya_time(text_of(made), &said_s) && said_s == signed_s);
    require(signature_shunya(secrets, text_of(made), body, signed_s + SIGNATURE_AGE_S_MAX, false) == 1);
    require(signature_shunya(secrets, text_of(made), body, signed_s + SIGNATURE_AGE_S_MAX + 1, false) ==
            SIGNATURE_WRONG);
    require(signature_shunya(secrets, text_of(made), header, signed_s, true) ==
          (order(header, body) == 0 ? 1 : SIGNATURE_WRONG));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct text input = { size > 0 ? (const char *)data : "", size };
    struct text secrets = take_line(&input), header = take_line(&input), settings = take_line(&input),
                url = take_line(&input);
    struct text body = input;
    char printed[BASE64_BYTES(SHA1_BYTES)];
    const struct text absent = { NULL, 0 };

    (void)signature_callrail(secrets, header, body);
    (void)signature_twilio(secrets, header, settings, url, body, true);
    (void)signature_twilio(secrets, header, settings, url, body, false);
    (void)signature_twilio(secrets, header, settings, url, absent, true);

    require(signature_callrail(TEXT(" fuzzed secret , other"), sign(body, printed), body) == 0);
    require(signature_callrail(TEXT("fuzzed secret"), sign(url, printed), body) ==
          (order(url, body) == 0 ? 0 : SIGNATURE_WRONG));

    /* as they are seen on the wire: without a port, so that the text itself is one of the two that are tried */
    struct buf address;
    buf_init(&address, url.bytes + sizeof("https://h.example.test/"));
    buf_add_string(&address, "https://h.example.test/");
    buf_add_text(&address, url);
    require(signature_twilio(TEXT("fuzzed secret"), sign(buf_text(&address), printed), absent, buf_text(&address),
                             absent, false) == 0);
    check_form(buf_text(&address), body);
    check_shunya(header, body);
    buf_done(&address);
    return 0;
}
