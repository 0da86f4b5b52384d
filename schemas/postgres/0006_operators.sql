-- What operators do with `sb`: pauses, dead letters that were dealt with, and a record of who did what.
-- Owner: deploy/sb, under the role switchboard_operator; the stages read the pauses.

DO $$
BEGIN
    -- roles belong to the whole cluster: another database may be migrating at this moment
    IF NOT EXISTS (SELECT 1 FROM pg_roles WHERE rolname = 'switchboard_operator') THEN
        BEGIN
            CREATE ROLE switchboard_operator NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    -- from Postgres 16 on, whoever makes a role is a member of it and still may not SET ROLE to it
    IF NOT pg_has_role(current_user, 'switchboard_operator',
                       CASE WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET' ELSE 'MEMBER' END) THEN
        GRANT switchboard_operator TO CURRENT_USER;
    END IF;
END $$;

-- Who did what.  Rows are only ever added, but for the number of those that were done, while it is being done.
CREATE TABLE operator_actions (
    action_id   bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL DEFAULT now(),
    who         text        NOT NULL CHECK (length(who) BETWEEN 1 AND 200),
    command     text        NOT NULL CHECK (command ~ '^[a-z]+( [a-z]+)?$'),
    what        text        NOT NULL CHECK (length(what) BETWEEN 1 AND 500),
    detail      jsonb       NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(detail) = 'object')
);
CREATE INDEX operator_actions_at ON operator_actions (at);

-- What is not to be done now.  The stages look every second (common/stage/pause.c).
CREATE TABLE pauses (
    kind    text        NOT NULL CHECK (kind IN ('stage', 'provider', 'tenant')),
    name    text        NOT NULL CHECK (length(name) BETWEEN 1 AND 100),
    by      text        NOT NULL CHECK (length(by) BETWEEN 1 AND 200),
    why     text        NOT NULL DEFAULT '' CHECK (length(why) <= 500),
    since   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (kind, name)
);

-- Dead letters that were dealt with: once each, since an event that fails again is a letter of its own.  A letter whose
-- `done_at` is NULL is still open: its run was chosen, and is used again by whoever sends it.
CREATE TABLE letter_actions (
    letter_id   uuid        PRIMARY KEY,                -- the id of the event.rejected
    stage       text        NOT NULL,
    subject     text        NOT NULL,                   -- its conversation
    event_id    uuid        NOT NULL,                   -- of the event in it, or of where what is none stood
    action      text        NOT NULL CHECK (action IN ('retry', 'edit', 'drop')),
    run         integer     CHECK (run > 0),            -- of the event that was sent
    before      text,                                   -- the event as it was …
    after       text,                                   -- … and as an operator made it
    action_id   bigint      NOT NULL REFERENCES operator_actions,
    done_at     timestamptz,                            -- sent, or dropped
    CHECK ((action = 'drop') = (run IS NULL)),
    CHECK ((action = 'edit') = (before IS NOT NULL AND after IS NOT NULL)),
    CHECK (action <> 'drop' OR done_at IS NOT NULL)
);
CREATE INDEX letter_actions_event ON letter_actions (stage, event_id);

GRANT SELECT, INSERT ON operator_actions TO switchboard_operator;
GRANT UPDATE (detail) ON operator_actions TO switchboard_operator;
GRANT SELECT, INSERT, UPDATE, DELETE ON pauses, letter_actions TO switchboard_operator;
GRANT SELECT ON pauses
    TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;

-- What was done is chosen from the ledger; time behind a pause counts for no limit.
GRANT SELECT ON ledger, asks, parked, instances TO switchboard_operator;
GRANT UPDATE (first_at) ON parked TO switchboard_operator;
CREATE POLICY operator ON ledger FOR SELECT TO switchboard_operator USING (true);
CREATE POLICY operator ON asks FOR SELECT TO switchboard_operator USING (true);
GRANT SELECT (tenant) ON companies TO switchboard_operator;
CREATE POLICY operator ON companies FOR SELECT TO switchboard_operator USING (true);
CREATE POLICY operator ON parked FOR ALL TO switchboard_operator USING (true) WITH CHECK (true);
