/* What `sb status` shows of the parts: .run/state.json, replaced at every change. */
#include <unistd.h>

#include "common/json.h"
#include "deploy/sb/place.h"
#include "deploy/sb/supervisor_parts.h"

#define STATE_BYTES_MAX (64 * 1024)

static void write_time(struct buf *out, const char *name, int64_t monotonic)
{
    char time[TIME_BYTES];
    json_name(out, name);
    json_write_string(out, monotonic ? time_print(now_us() - (monotonic_us() - monotonic), time) : NULL);
}

static void write_part(struct buf *out, const struct part *part)
{
    json_separate(out);
    buf_add_char(out, '{');
    json_name(out, "name");
    json_write_string(out, part->name);
    json_name(out, "state");
    json_write_string(out, part->once && part->state == PART_ENDED ? (part->status == 0 ? "done" : "failed")
                                                                   : part_states[part->state]);
    json_name(out, "pid");
    json_write_integer(out, part->pid);
    write_time(out, "since", part->started_us);
    json_name(out, "restarts");
    json_write_integer(out, part->restarts);
    json_name(out, "where");
    json_write_string(out, part->where);
    json_name(out, "listen");
    json_write_string(out, part->listen);
    json_name(out, "path");
    json_write_string(out, part->path);
    buf_add_char(out, '}');
}

void state_write(const struct supervisor *supervisor)
{
    struct buf out;

    buf_init(&out, STATE_BYTES_MAX);
    buf_add_char(&out, '{');
    json_name(&out, "pid");
    json_write_integer(&out, getpid());
    json_name(&out, "parts");
    buf_add_char(&out, '[');
    for (size_t i = 0; i < supervisor->count; i++)
        write_part(&out, &supervisor->parts[i]);
    buf_add_string(&out, "]}\n");
    file_write(supervisor->state_path, buf_text(&out), 0644, NULL); /* a full disk: status shows what was before */
    buf_done(&out);
}
