/* page.c: the page in the browser, the three files of ingest/page/.  It is a client of the API like any other: here it
 * holds nothing of anybody, and may be given to whoever asks. */
#include "ingest/ingest.h"

/* ingest/page/, compiled in. */
extern const char page_html[], page_css[], page_js[];

/* It loads its own files alone, asks this server alone, and may be framed by none.  What comes from outside can become
 * no script: the browser refuses it even where the page would. */
static const struct http_answer_header headers[] = {
    { "Content-Security-Policy",
      "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; media-src blob:; img-src data:;"
      " base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'" },
    { "X-Content-Type-Options", "nosniff" },
    { "Referrer-Policy", "no-referrer" },
    { "Cache-Control", "no-cache" },
    { 0 },
};

static void show_page(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/html; charset=utf-8", text_of(page_html), headers);
}

static void show_style(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/css; charset=utf-8", text_of(page_css), headers);
}

static void show_script(struct http_exchange *exchange, void *context)
{
    (void)context;
    http_answer(exchange, 200, "text/javascript; charset=utf-8", text_of(page_js), headers);
}

const struct http_route page_routes[] = {
    { "GET", "/", show_page, 0, NULL },
    { "GET", "/page.css", show_style, 0, NULL },
    { "GET", "/page.js", show_script, 0, NULL },
    { 0 },
};
