-- A note that the CRM did not take is tried again in its own time: a meeting that is moved forgets it no more.

ALTER TABLE meeting_notes
    ADD COLUMN next_check_at timestamptz;               -- when one that waits is tried again; null: not any more
UPDATE meeting_notes n SET next_check_at = greatest(now(), least(m.next_check_at, now() + interval '1 hour'))
    FROM meetings m WHERE m.tenant = n.tenant AND m.meeting_id = n.meeting_id AND n.state = 'waiting';
CREATE INDEX meeting_notes_due ON meeting_notes (next_check_at) WHERE state = 'waiting';
