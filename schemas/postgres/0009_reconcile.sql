-- Calls whose webhooks never came: ingest asks CallRail's API for them.

-- A company with an account of its own at CallRail; null: the shared one.  The key is ingest's alone.
ALTER TABLE companies
    ADD COLUMN callrail_account_id text UNIQUE CHECK (callrail_account_id ~ '^[A-Za-z0-9_-]{1,64}$'),
    ADD COLUMN callrail_api_key text CHECK (callrail_api_key <> ''),
    ADD CHECK ((callrail_account_id IS NULL) = (callrail_api_key IS NULL));

-- Owner: ingest.  How far each account's list of calls has been looked through, and what that has cost.
CREATE TABLE reconciliations (
    account         text        PRIMARY KEY,
    tenant          text        REFERENCES companies (tenant) ON UPDATE CASCADE,    -- whose account it is; null: the shared one
    complete_until  timestamptz NOT NULL,               -- when the last walk through the list that reached its end began
    walk_began_at   timestamptz NOT NULL,               -- the walk under way, …
    page            integer     NOT NULL DEFAULT 1 CHECK (page > 0),        -- … the page it asks for next …
    records         bigint      NOT NULL DEFAULT 0 CHECK (records >= 0),    -- … and how many calls the list had
    next_check_at   timestamptz NOT NULL,
    failures        integer     NOT NULL DEFAULT 0 CHECK (failures >= 0),   -- in a row …
    why             text,                                                   -- … and the last one's reason
    asked_at        timestamptz,                        -- the last request; the numbers are of its hour and its day
    hour_requests   integer     NOT NULL DEFAULT 0 CHECK (hour_requests >= 0),
    day_requests    integer     NOT NULL DEFAULT 0 CHECK (day_requests >= 0),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);
SELECT protect(ARRAY['reconciliations'], ARRAY['switchboard_ingest']);

-- Whether CallRail's webhooks brought a call, or we fetched it.
ALTER TABLE call_reports ADD COLUMN via text NOT NULL DEFAULT 'hook' CHECK (via IN ('hook', 'fetch'));
ALTER TABLE calls ADD COLUMN brought_by text NOT NULL DEFAULT 'hook' CHECK (brought_by IN ('hook', 'fetch', 'both'));
