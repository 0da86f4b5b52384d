"""The load's own record: a file into which every request and every answer is written before anybody acts on it.

What the checker holds the system to is read back from this file, not from memory: a line for what was sent, a line for how it was
answered, each written at once.  A request without an answer's line is one whose answer nobody knows."""

import json
import threading
import time

from checker import OK, REFUSED, UNKNOWN, Operation

WEIGHT = {OK: 2, UNKNOWN: 1, REFUSED: 0}    # of several tries of one operation the best known answer counts


class Record:
    def __init__(self, path):
        self.path, self.lock = path, threading.Lock()
        self.file = open(path, "w", encoding="utf-8")
        self.sent = self.acknowledged = 0

    def write(self, **line):
        text = json.dumps({"at": round(time.time(), 3), **line}) + "\n"
        with self.lock:
            self.file.write(text)
            self.file.flush()

    def send(self, case, key, identity, number, how=""):
        self.write(what="sent", case=case, key=key, identity=identity, number=number, how=how)
        self.sent += 1

    def answer(self, identity, answer, by="", why=""):
        self.write(what=answer, identity=identity, by=by, why=why)
        self.acknowledged += answer == OK

    def close(self):
        self.file.close()


def read(path):
    """The operations of a record.  Several tries of one are one; an order is promised only to those whose key was always answered at
    the first try and by the same door."""
    operations, answers, doors = {}, {}, {}
    with open(path, encoding="utf-8") as lines:
        for line in map(json.loads, lines):
            identity = line["identity"]
            if line["what"] == "sent":
                operations.setdefault(identity, line)
            else:
                known = answers.get(identity)
                answers[identity] = line["what"] if known is None or WEIGHT[line["what"]] > WEIGHT[known] else known
                doors.setdefault(operations[identity]["key"], set()).add(line["by"] if line["what"] == OK else line["what"])
    return [Operation(line["case"], line["key"], identity,
                      line["number"] if len(doors.get(line["key"], ())) == 1 else None,
                      answers.get(identity, UNKNOWN), line["how"])
            for identity, line in operations.items()]
