/* offsets.c: which offset may be committed: always the lowest that is not finished. */
#include "common/stage/runtime.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS_FIRST 256

struct partition *partition_get(const char *topic, int32_t number)
{
    for (struct partition *partition = runtime.partitions; partition; partition = partition->next)
        if (partition->number == number && strcmp(partition->topic, topic) == 0)
            return partition;
    struct partition *partition = must_alloc(sizeof(*partition));
    partition->topic = must_copy(topic);
    partition->number = number;
    partition->is_replay = strcmp(topic, runtime.replay_topic) == 0;
    partition->stored = -1;
    partition->next = runtime.partitions;
    runtime.partitions = partition;
    return partition;
}

static struct offset_slot *slot(const struct partition *partition, size_t index)
{
    return &partition->slots[(partition->first + index) & (partition->room - 1)];
}

/* The index of `offset` among the unfinished, or `count`. */
static size_t slot_find(const struct partition *partition, int64_t offset)
{
    size_t low = 0, high = partition->count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (slot(partition, middle)->offset < offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low < partition->count && slot(partition, low)->offset == offset ? low : partition->count;
}

static void slots_grow(struct partition *partition)
{
    size_t room = partition->room ? partition->room * 2 : SLOTS_FIRST;
    struct offset_slot *slots = must_alloc(room * sizeof(*slots));
    for (size_t i = 0; i < partition->count; i++)
        slots[i] = *slot(partition, i);
    free(partition->slots);
    partition->slots = slots;
    partition->room = room;
    partition->first = 0;
}

bool offsets_begin(struct partition *partition, int64_t offset)
{
    if (partition->count > 0 && offset <= slot(partition, partition->count - 1)->offset)
        return false;       /* given again after a rebalance: its work goes on, or everything below the lowest is finished */
    if (partition->count == 0 && offset < partition->stored)
        return false;
    if (partition->count == partition->room)
        slots_grow(partition);
    partition->count++;
    *slot(partition, partition->count - 1) = (struct offset_slot){ .offset = offset };
    return true;
}

static void drop_finished(struct partition *partition)
{
    while (partition->count > 0 && slot(partition, 0)->finished) {
        partition->moved = true;
        partition->stored = slot(partition, 0)->offset + 1;
        partition->first = (partition->first + 1) & (partition->room - 1);
        partition->count--;
    }
}

void offsets_finish(struct partition *partition, int64_t offset)
{
    size_t index = slot_find(partition, offset);
    if (index == partition->count)
        return;             /* another instance went past it while we had lost the partition */
    slot(partition, index)->finished = true;
    if (index == 0)
        drop_finished(partition);
}

void offsets_drop_before(struct partition *partition, int64_t offset)
{
    while (partition->count > 0 && slot(partition, 0)->offset < offset) {
        partition->first = (partition->first + 1) & (partition->room - 1);
        partition->count--;
    }
    drop_finished(partition);
    if (partition->stored < offset)
        partition->stored = offset;
}

int64_t offsets_lowest(const struct partition *partition)
{
    return partition->count > 0 ? slot(partition, 0)->offset : partition->stored;
}
