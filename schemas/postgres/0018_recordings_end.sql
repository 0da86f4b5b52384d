-- Recordings are kept for as long as their company wants; what was said and found in them stays.

-- Owner: ingest, written by sb.
ALTER TABLE companies ADD COLUMN recordings_days integer        -- after so many days the copy of a recording is removed; null: never
    CHECK (recordings_days BETWEEN 1 AND 36500);
GRANT SELECT (recordings_days) ON companies
    TO switchboard_api, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;
GRANT SELECT (recordings_days), INSERT (recordings_days), UPDATE (recordings_days) ON companies TO switchboard_operator;

-- Owner: transcribe.
ALTER TABLE recordings ADD COLUMN removed_at timestamptz;           -- the copy was removed then, as its time was over
ALTER TABLE session_recordings ADD COLUMN removed_at timestamptz;   -- the same
-- what the sweep looks for
CREATE INDEX recordings_kept ON recordings (tenant, created_at) WHERE removed_at IS NULL;
CREATE INDEX session_recordings_kept ON session_recordings (tenant, created_at) WHERE removed_at IS NULL;
