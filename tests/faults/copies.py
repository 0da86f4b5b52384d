"""The copies of recordings, in the folder or in the bucket: each there once, as its row says, and none without one."""

import hashlib

from checker import Observed

PATHS = "SELECT path FROM recordings UNION SELECT path FROM session_recordings"


def observe_copies(world, identities, rows):
    """Of these calls or visits, {id: identity}.  `rows`: (id, path, bytes, sha256) each; one that its copy does not bear out is none."""
    kept = world.copies()
    names = {hashlib.sha256(id.encode()).hexdigest(): id for id in identities}
    for path in kept:
        id = names.get(path.rpartition("/")[2].partition(".")[0])
        if id:
            yield Observed("copy", id, identities[id], path)
    for id, path, *facts in rows:
        if kept.get(path) == tuple(facts):
            yield Observed("recording", id, identities[id], path)


def observe_copies_without_a_row(world, database):
    """Whosever they are."""
    told = {path for path, in database.execute(PATHS)}
    for path in world.copies():
        if path not in told:
            yield Observed("copy without a row", path, path, path)
