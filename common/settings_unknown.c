#include "common/log.h"
#include "common/settings_source.h"

#include <stdlib.h>
#include <string.h>

/* Generated from schemas/settings.json: the names of all daemons, NULL at the end, and beside each a remark or NULL. */
extern const char *const settings_known[];
extern const char *const settings_remarks[];

#define NAME_BYTES_MAX 64 /* of a name that is compared with others */
#define NEAR_EDITS_MAX 3  /* a name further away is another name */

/* "KAFKA_PROP_*" stands for every name with that beginning. */
static bool name_matches(const char *known, const char *name)
{
    size_t bytes = strlen(known);
    if (bytes > 0 && known[bytes - 1] == '*')
        return strncmp(known, name, bytes - 1) == 0;
    return strcmp(known, name) == 0;
}

static bool is_known(const char *name)
{
    size_t table_count;
    const struct setting *const *tables = settings_tables(&table_count);
    for (size_t i = 0; i < table_count; i++)
        for (const struct setting *setting = tables[i]; setting->name; setting++)
            if (strcmp(setting->name, name) == 0)
                return true;
    for (size_t i = 0; settings_known[i]; i++)
        if (name_matches(settings_known[i], name))
            return true;
    return false;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Levenshtein's distance: how many letters to add, leave out or change. */
static size_t edits(const char *from, const char *to)
{
    size_t row[NAME_BYTES_MAX + 1];
    size_t to_bytes = strlen(to);
    if (strlen(from) > NAME_BYTES_MAX || to_bytes > NAME_BYTES_MAX)
        return SIZE_MAX;
    for (size_t i = 0; i <= to_bytes; i++)
        row[i] = i;
    for (size_t i = 1; from[i - 1]; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= to_bytes; j++) {
            size_t changed = diagonal + (from[i - 1] != to[j - 1]);
            diagonal = row[j];
            row[j] = least(changed, least(row[j - 1], row[j]) + 1);
        }
    }
    return row[to_bytes];
}

/* Compares with one name; keeps it when it is the nearest so far. */
static void try_nearest(const char *name, const char *candidate, size_t *best, const char **nearest)
{
    size_t distance = edits(name, candidate);
    if (distance < *best) {
        *best = distance;
        *nearest = candidate;
    }
}

static const char *nearest_to(const char *name)
{
    const char *nearest = NULL;
    size_t best = NEAR_EDITS_MAX + 1;
    size_t table_count;
    const struct setting *const *tables = settings_tables(&table_count);
    for (size_t i = 0; i < table_count; i++)
        for (const struct setting *setting = tables[i]; setting->name; setting++)
            try_nearest(name, setting->name, &best, &nearest);
    for (size_t i = 0; settings_known[i]; i++)
        try_nearest(name, settings_known[i], &best, &nearest);
    return nearest;
}

void settings_unknown(settings_unknown_each *each, void *context)
{
    const struct settings_file *file = settings_env_file();
    for (size_t i = 0; i < file->count; i++) {
        const struct settings_entry *entry = &file->entries[i];
        if (!is_known(entry->name))
            each(context, entry->name, entry->line, nearest_to(entry->name), NULL);
    }
    int line;
    for (size_t i = 0; settings_known[i]; i++)
        if (settings_remarks[i] && settings_find(settings_known[i], &line))
            each(context, settings_known[i], line, NULL, settings_remarks[i]);
}

static void log_unknown(void *context, const char *name, int line, const char *nearest, const char *remark)
{
    (void)context;
    if (remark)
        log_warning("a setting that is recognised and not used", LOG_TEXT("setting", name), LOG_TEXT("remark", remark));
    else
        log_warning("a name in .env is no setting", LOG_TEXT("setting", name), LOG_INT("line", line),
                    LOG_TEXT("nearest", nearest));
}

void settings_report_unknown(void)
{
    settings_unknown(log_unknown, NULL);
}
