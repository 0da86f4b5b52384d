#include "ingest/register_page.h"

#include <stdio.h>
#include <string.h>

#include "common/crypto.h"

static const char style[] =
    ":root{color-scheme:light dark;--paper:#f3f6f4;--card:#fff;--ink:#14201a;--soft:#4d5b54;--line:#7b8a82;"
    "--accent:#0a6b4c;--on-accent:#fff;--bad:#b3261e;--bad-paper:#fdf0ee;--tint:#e3f1ea}"
    "@media(prefers-color-scheme:dark){:root{--paper:#0f1412;--card:#19211d;--ink:#e7eeea;--soft:#aab8b0;"
    "--line:#74837b;--accent:#63d3a6;--on-accent:#05261a;--bad:#ffa198;--bad-paper:#33201e;--tint:#1d3229}}"
    "*{box-sizing:border-box}"
    "body{margin:0;background:var(--paper);color:var(--ink);font:1.0625rem/1.5 system-ui,sans-serif;"
    "overflow-wrap:anywhere;-webkit-text-size-adjust:100%}"
    "main{max-inline-size:30rem;margin-inline:auto;padding:1.5rem 1rem 2.5rem}"
    "header{display:flex;gap:.75rem;align-items:center;margin-block-end:1.25rem}"
    "header svg{flex:none;inline-size:2.75rem;block-size:2.75rem}"
    "header p{margin:0;min-inline-size:0;line-height:1.3}header b{display:block}header span{color:var(--soft)}"
    "h1{font-size:1.625rem;line-height:1.2;margin:0 0 .5rem}h1:focus{outline:none}"
    ".lead{color:var(--soft);margin:0 0 1.25rem}"
    "form,.card{background:var(--card);border-radius:1rem;padding:1.25rem 1rem;"
    "box-shadow:0 1px 3px rgb(0 0 0/.12)}"
    ".field{margin-block-end:1.125rem}"
    "label{display:block;font-weight:600}"
    ".hint{color:var(--soft);font-size:.9375rem;margin:0}"
    ".error{color:var(--bad);font-weight:600;font-size:.9375rem;margin:.25rem 0 0}"
    "input{display:block;inline-size:100%;margin-block-start:.375rem;padding:.75rem .875rem;min-block-size:3rem;"
    "font:inherit;color:inherit;background:transparent;border:1px solid var(--line);border-radius:.625rem}"
    "input[type=tel],input[type=email]{text-align:start}"
    "[aria-invalid]{border:2px solid var(--bad);background:var(--bad-paper)}"
    "input:focus-visible,button:focus-visible,a:focus-visible{outline:3px solid var(--accent);outline-offset:2px}"
    "button{inline-size:100%;min-block-size:3.25rem;margin-block-start:.25rem;padding:.75rem 1rem;border:0;"
    "border-radius:.625rem;background:var(--accent);color:var(--on-accent);font:inherit;font-weight:700;cursor:pointer}"
    ".small{color:var(--soft);font-size:.875rem;margin:1rem 0 0}"
    ".notice{background:var(--bad-paper);border-inline-start:.25rem solid var(--bad);border-radius:.5rem;"
    "padding:.75rem .875rem;margin:0 0 1.25rem}"
    ".next{list-style:none;margin:0;padding:0;counter-reset:step}"
    ".next li{counter-increment:step;position:relative;padding-inline-start:2.75rem;margin-block-end:1.125rem}"
    ".next li:last-child{margin-block-end:0}"
    ".next li::before{content:counter(step);position:absolute;inset-inline-start:0;inset-block-start:0;"
    "inline-size:1.875rem;block-size:1.875rem;line-height:1.875rem;text-align:center;border-radius:50%;"
    "background:var(--tint);color:var(--accent);font-weight:700}"
    ".number{font-weight:700;white-space:nowrap}"
    "a{color:var(--accent)}";

/* A speech bubble with a tick. */
static const char mark[] =
    "<svg viewBox=\"0 0 44 44\" aria-hidden=\"true\" focusable=\"false\"><path fill=\"var(--accent)\""
    " d=\"M22 4C11 4 3 11 3 20.500c0 4.600 2.100 8.700 5.500 11.700L6 41l9.500-4.700c2 .500 4.200.700 6.500.700"
    " 11 0 19-7.500 19-16.500S33 4 22 4z\"/><path fill=\"none\" stroke=\"var(--on-accent)\" stroke-width=\"3.500\""
    " stroke-linecap=\"round\" stroke-linejoin=\"round\" d=\"M14.500 21l5.500 5.500 10-11\"/></svg>";

struct field_view {
    const char *label, *hint, *type, *autocomplete, *inputmode, *more;
};
/* What a person enters decides its own direction; numbers and addresses run from left to right. */
static const struct field_view views[REGISTRATION_FIELDS] = {
    [REGISTRATION_NAME] = { "Your name", NULL, "text", "name", "text", "dir=\"auto\" maxlength=\"200\"" },
    [REGISTRATION_EMAIL] = { "E-mail", "The one your meetings are planned with.", "email", "email", "email",
                             "dir=\"ltr\" maxlength=\"254\" autocapitalize=\"none\" spellcheck=\"false\"" },
    [REGISTRATION_PHONE] = { "WhatsApp number", "With the country code, like <bdi>+1&nbsp;202&nbsp;555&nbsp;0100</bdi>.",
                             "tel", "tel", "tel", "dir=\"ltr\" maxlength=\"64\"" },
};

/* --- HTML -------------------------------------------------------------------------------------------------------- */

/* As text or as an attribute in double quotes. */
static void escape(struct buf *out, const char *text)
{
    for (; *text; text++) {
        switch (*text) {
        case '&': buf_add_string(out, "&amp;"); break;
        case '<': buf_add_string(out, "&lt;"); break;
        case '>': buf_add_string(out, "&gt;"); break;
        case '"': buf_add_string(out, "&quot;"); break;
        case '\'': buf_add_string(out, "&#39;"); break;
        default: buf_add_char(out, *text);
        }
    }
}

/* `before`, the text escaped, `after`. */
static void add(struct buf *out, const char *before, const char *text, const char *after)
{
    buf_add_string(out, before);
    escape(out, text);
    buf_add_string(out, after);
}

static void begin(struct buf *out, const char *title, const char *company)
{
    add(out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
        "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n"
        "<meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n<title>",
        title, "</title>\n<style>");
    buf_add_string(out, style);
    buf_add_string(out, "</style>\n</head>\n<body>\n<main>\n<header>");
    buf_add_string(out, mark);
    buf_add_string(out, "<p><b>Sales coach</b>");
    if (company)
        add(out, "<span dir=\"auto\">", company, "</span>");
    buf_add_string(out, "</p></header>\n");
}

static void end(struct buf *out)
{
    buf_add_string(out, "</main>\n</body>\n</html>\n");
}

void register_page_headers(const struct http_answer_header *more,
                           struct http_answer_header ret[REGISTER_PAGE_HEADERS_MAX])
{
    static char policy[256];
    size_t count = 0;
    if (!policy[0]) {
        uint8_t hash[SHA256_BYTES];
        char hash_text[BASE64_BYTES(SHA256_BYTES)];
        sha256(text_of(style), hash);
        snprintf(policy, sizeof(policy),
                 "default-src 'none'; style-src 'sha256-%s'; form-action 'self'; base-uri 'none';"
                 " frame-ancestors 'none'",
                 base64_print(hash, sizeof(hash), hash_text));
    }
    const struct http_answer_header all[] = { { "Content-Security-Policy", policy },
                                              { "X-Content-Type-Options", "nosniff" },
                                              { "Referrer-Policy", "no-referrer" },
                                              { "Cache-Control", "no-store" } };
    for (; more && more->name && count < REGISTER_PAGE_HEADERS_MAX - LENGTH(all) - 1; more++)
        ret[count++] = *more;
    memcpy(&ret[count], all, sizeof(all));
    ret[count + LENGTH(all)] = (struct http_answer_header){ 0 };
}

/* --- the form ---------------------------------------------------------------------------------------------------- */

/* The label, what to enter, what is wrong with it, and the field; the first wrong one has the focus. */
static void add_field(struct buf *out, int number, const struct registration *registration, bool focused)
{
    const struct field_view *view = &views[number];
    const char *name = registration_names[number], *error = registration ? registration->errors[number] : NULL;

    buf_printf(out, "<div class=\"field\">\n<label for=\"%s\">%s</label>\n", name, view->label);
    if (view->hint)
        buf_printf(out, "<p class=\"hint\" id=\"%s-hint\">%s</p>\n", name, view->hint);
    if (error) {
        buf_printf(out, "<p class=\"error\" id=\"%s-error\">", name);
        add(out, "", error, "</p>\n");
    }
    buf_printf(out, "<input id=\"%s\" name=\"%s\" type=\"%s\" autocomplete=\"%s\" inputmode=\"%s\" %s required", name,
               name, view->type, view->autocomplete, view->inputmode, view->more);
    if (error)
        buf_printf(out, " aria-invalid=\"true\" aria-describedby=\"%s-error%s%s%s\"", name, view->hint ? " " : "",
                   view->hint ? name : "", view->hint ? "-hint" : "");
    else if (view->hint)
        buf_printf(out, " aria-describedby=\"%s-hint\"", name);
    if (focused)
        buf_add_string(out, " autofocus");
    add(out, " value=\"", registration ? registration->entered[number] : "", "\">\n</div>\n");
}

void register_page_form(struct buf *out, const struct register_page *page, const struct registration *registration,
                        const char *notice)
{
    bool wrong = registration && registration->error_count > 0, focused = false;

    begin(out, wrong ? "Error: register with the sales coach" : "Register with the sales coach", page->company);
    buf_add_string(out, "<h1>Your coach on WhatsApp</h1>\n<p class=\"lead\">A plan before each client meeting, advice"
                        " whenever you ask, and a reminder after it.</p>\n");
    if (wrong && !notice)
        notice = registration->error_count == 1 ? "One field needs another look." : "Some fields need another look.";
    if (notice)
        add(out, "<p class=\"notice\" role=\"alert\">", notice, "</p>\n");
    buf_add_string(out, "<form method=\"post\" novalidate>\n");
    for (int i = 0; i < REGISTRATION_FIELDS; i++) {
        bool first = wrong && !focused && registration->errors[i];
        add_field(out, i, registration, first);
        focused |= first;
    }
    buf_add_string(out, "<button>Register</button>\n<p class=\"small\">We will write to this number about your"
                        " meetings. Reply STOP at any time to end this.</p>\n</form>\n");
    end(out);
}

/* --- afterwards -------------------------------------------------------------------------------------------------- */

void register_page_done(struct buf *out, const struct register_page *page, const char *name, const char *phone)
{
    begin(out, "You are registered", page->company);
    add(out, "<h1 tabindex=\"-1\" autofocus>You are registered, <bdi>", name, "</bdi></h1>\n");
    buf_add_string(out, "<p class=\"lead\" role=\"status\">This is what happens next.</p>\n<div class=\"card\">\n"
                        "<ol class=\"next\">\n");
    add(out, "<li>We are writing to <bdi class=\"number\" dir=\"ltr\">", phone,
        "</bdi> on WhatsApp. Reply to it, so that we may write to you freely.</li>\n");
    if (page->mailbox)
        add(out, "<li>Invite <b><bdi>", page->mailbox, "</bdi></b> to your meetings with clients.</li>\n");
    else
        buf_add_string(out, "<li>Plan your meetings with clients in your calendar, as ever.</li>\n");
    buf_add_string(out, "<li>Before each one you get a plan. Ask for advice whenever you like, and write what came of"
                        " it afterwards.</li>\n</ol>\n</div>\n<p class=\"small\">Is the number wrong? <a href=\"?\">"
                        "Register once more</a> with the right one.</p>\n");
    end(out);
}

void register_page_absent(struct buf *out, const char *title, const char *text)
{
    begin(out, title, NULL);
    add(out, "<h1>", title, "</h1>\n");
    add(out, "<p class=\"lead\">", text, "</p>\n");
    end(out);
}
