-- How long a recording is kept counts from the call or visit: what was fetched late goes when the others go.

ALTER TABLE recordings ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();           -- when the call was
ALTER TABLE session_recordings ADD COLUMN recorded_at timestamptz NOT NULL DEFAULT now();   -- when the visit began
UPDATE recordings r SET recorded_at = c.call_at FROM calls c WHERE c.tenant = r.tenant AND c.call_id = r.call_id;
UPDATE session_recordings r SET recorded_at = s.started_at FROM recording_sessions s WHERE s.tenant = r.tenant AND s.session_id = r.session_id;

DROP INDEX recordings_kept;
DROP INDEX session_recordings_kept;
CREATE INDEX recordings_kept ON recordings (tenant, recorded_at) WHERE removed_at IS NULL;
CREATE INDEX session_recordings_kept ON session_recordings (tenant, recorded_at) WHERE removed_at IS NULL;
