#include "ingest/api_list.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "common/json.h"

#define LIST_PARAMS 5 /* in front of a list's own */

/* --- JSON or CSV ----------------------------------------------------------------------------------------- */

static struct text trimmed(struct text text)
{
    while (text.bytes > 0 && (text.at[0] == ' ' || text.at[0] == '\t')) {
        text.at++;
        text.bytes--;
    }
    while (text.bytes > 0 && (text.at[text.bytes - 1] == ' ' || text.at[text.bytes - 1] == '\t'))
        text.bytes--;
    return text;
}

/* What is in front of the next `separator`, which is taken too; false at the end. */
static bool take_piece(struct text *rest, char separator, struct text *ret)
{
    if (!rest->at)
        return false;
    const char *end = memchr(rest->at, separator, rest->bytes);
    size_t bytes = end ? (size_t)(end - rest->at) : rest->bytes;
    *ret = trimmed((struct text){ rest->at, bytes });
    *rest = end ? (struct text){ end + 1, rest->bytes - bytes - 1 } : (struct text){ NULL, 0 };
    return true;
}

static bool is_word(struct text text, const char *word)
{
    return text.bytes == strlen(word) && strncasecmp(text.at, word, text.bytes) == 0;
}

/* How much a media type is wanted, by the range that says most about it. */
struct wanted {
    const char *type, *group;
    int specific; /* 0: no range fits */
    double quality;
};

static void consider(struct wanted *wanted, struct text range, double quality)
{
    int specific = is_word(range, wanted->type) ? 3 : is_word(range, wanted->group) ? 2 : is_word(range, "*/*") ? 1 : 0;

    if (specific > wanted->specific) {
        wanted->specific = specific;
        wanted->quality = quality;
    }
}

static double quality_of(struct text parameters)
{
    struct text parameter;
    char number[8];

    while (take_piece(&parameters, ';', &parameter)) {
        if (parameter.bytes < 3 || strncasecmp(parameter.at, "q=", 2) != 0)
            continue;
        if (parameter.bytes - 2 >= sizeof(number))
            return 0; /* no quality is written so long */
        memcpy(number, parameter.at + 2, parameter.bytes - 2);
        number[parameter.bytes - 2] = '\0';
        return strtod(number, NULL);
    }
    return 1;
}

bool api_wants_csv(struct text accept)
{
    struct wanted csv = { .type = "text/csv", .group = "text/*" },
                  json = { .type = "application/json", .group = "application/*" };
    struct text piece, range;

    while (take_piece(&accept, ',', &piece)) {
        if (!take_piece(&piece, ';', &range))
            continue;
        double quality = quality_of(piece);
        consider(&csv, range, quality);
        consider(&json, range, quality);
    }
    return csv.quality > json.quality;
}

/* --- a page ---------------------------------------------------------------------------------------------- */

static bool find_page(struct api_request *request, const struct api_list *list, const struct api_page *page,
                      struct params own, struct rows *ret)
{
    bool all = strcmp(request->tenant, API_ALL_TENANTS) == 0;
    const char *values[STATEMENT_PARAMS_MAX] = { request->tenant, page->after.at, page->after.id, page->after.tenant,
                                                 arena_printf(request->arena, "%d", page->limit + 1) };

    assert(LIST_PARAMS + own.count <= STATEMENT_PARAMS_MAX);
    for (int i = 0; i < own.count; i++)
        values[LIST_PARAMS + i] = own.values[i];
    return api_query(request, all ? list->of_all : list->of_company,
                     (struct params){ LIST_PARAMS + own.count, values }, ret);
}

static const char *next_cursor(struct api_request *request, const struct api_list *list, const struct rows *rows,
                               int row)
{
    const struct api_cursor behind = { .at = row_get(rows, row, list->at),
                                       .id = row_get(rows, row, list->id),
                                       .tenant = row_get(rows, row, "tenant") };
    return api_cursor_print(list->order, &behind, request->arena);
}

static void answer_json(struct api_request *request, const struct api_list *list, const struct rows *rows, int shown,
                        const char *next)
{
    struct buf out;

    buf_init(&out, API_ANSWER_BYTES_MAX);
    buf_add_string(&out, "{\"data\":{\"items\":[");
    for (int row = 0; row < shown; row++) {
        json_separate(&out);
        buf_add_char(&out, '{');
        api_write_parts(&out, rows, row, list->parts);
        buf_add_char(&out, '}');
    }
    buf_add_string(&out, "],\"total\":");
    buf_add_string(&out, row_get(rows, 0, "total"));
    json_add_string(&out, "total_is", row_get(rows, 0, "total_is"));
    json_name(&out, "next_cursor");
    json_write_string(&out, next);
    buf_add_string(&out, "}}\n");
    api_answer(request, 200, &out);
}

static void answer_csv(struct api_request *request, const struct api_list *list, const struct rows *rows, int shown,
                       const char *next)
{
    const struct http_answer_header headers[] = { { "Total-Count", row_get(rows, 0, "total") },
                                                  { "Total-Is", row_get(rows, 0, "total_is") },
                                                  { next ? "Next-Cursor" : NULL, next },
                                                  { 0 } };
    struct buf out;

    buf_init(&out, API_ANSWER_BYTES_MAX);
    api_write_csv_head(&out, list->parts);
    for (int row = 0; row < shown; row++)
        api_write_csv_line(&out, rows, row, list->parts);
    api_answer_as(request, 200, "text/csv; charset=utf-8; header=present", &out, headers);
}

void api_answer_list(struct api_request *request, const struct api_list *list, const struct api_page *page,
                     struct params params)
{
    struct rows rows;

    if (!find_page(request, list, page, params, &rows))
        return;
    /* an empty page still has a row, for the total */
    int found = row_get(&rows, 0, list->id) ? rows.count : 0;
    int shown = found > page->limit ? page->limit : found;
    const char *next = found > shown ? next_cursor(request, list, &rows, shown - 1) : NULL;
    if (api_wants_csv(http_header(request->exchange, "Accept")))
        answer_csv(request, list, &rows, shown, next);
    else
        answer_json(request, list, &rows, shown, next);
}

void api_answer_one(struct api_request *request, const struct rows *rows, const struct api_part *parts,
                    const char *what)
{
    struct buf out;

    if (rows->count == 0) {
        api_refuse_absent(request, what);
        return;
    }
    buf_init(&out, API_ANSWER_BYTES_MAX);
    buf_add_string(&out, "{\"data\":{");
    api_write_parts(&out, rows, 0, parts);
    buf_add_string(&out, "}}\n");
    api_answer(request, 200, &out);
}
