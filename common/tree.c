#include "common/tree.h"

#define COUNT_MAX 1e15

static void tree_free(void *tree)
{
    cJSON_Delete(tree);
}

const cJSON *tree_read(struct arena *arena, struct text json)
{
    cJSON *tree = json.at && text_is_utf8(json) ? cJSON_ParseWithLength(json.at, json.bytes) : NULL;
    if (tree)
        arena_defer(arena, tree_free, tree);
    return tree;
}

const cJSON *tree_get(const cJSON *object, const char *name)
{
    return cJSON_GetObjectItemCaseSensitive(object, name);
}

const char *tree_string(const cJSON *object, const char *name)
{
    const cJSON *item = tree_get(object, name);
    return cJSON_IsString(item) ? item->valuestring : NULL;
}

int64_t tree_count(const cJSON *object, const char *name)
{
    const cJSON *item = tree_get(object, name);
    return cJSON_IsNumber(item) && item->valuedouble > 0 && item->valuedouble <= COUNT_MAX ? (int64_t)item->valuedouble : 0;
}
