/* register_page.h: the page of /register, as HTML.  It has no script and loads nothing; its one style sheet stands in
 * it and is named in the policy by its hash.  Whatever was entered is escaped and comes back in its field.
 *
 * Threads: one at a time; the door's loop thread. */
#pragma once

#include "common/buf.h"
#include "common/http_server.h"
#include "ingest/registration.h"

#define REGISTER_PAGE_TYPE "text/html; charset=utf-8"
#define REGISTER_PAGE_BYTES_MAX (64 * 1024)

struct register_page {
    const char *company;                /* its name */
    const char *mailbox;                /* whom to invite to meetings; NULL: not known here */
};

/* What every answer with a page has; a list for http_answer(), with `more` in front (NULL: nothing). */
#define REGISTER_PAGE_HEADERS_MAX 8
void register_page_headers(const struct http_answer_header *more,
                           struct http_answer_header ret[REGISTER_PAGE_HEADERS_MAX]);

/* The form.  `registration` NULL: nothing was entered yet; `notice` NULL: nothing to say above the fields. */
void register_page_form(struct buf *out, const struct register_page *page, const struct registration *registration,
                        const char *notice);
/* It is kept: what happens next. */
void register_page_done(struct buf *out, const struct register_page *page, const char *name, const char *phone);
/* There is no such page: `text` says what to do. */
void register_page_absent(struct buf *out, const char *title, const char *text);
