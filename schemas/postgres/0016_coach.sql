-- Sales coach: salespeople, their meetings, and what is said about them.  Each table's owner, and who else may write it, stands beside it.

-- When a person registered last, by the time it was received; null: never.  Owner: ingest.
ALTER TABLE users ADD COLUMN registered_at timestamptz;

-- Whom a meeting is with.  Owner: ingest.
CREATE TABLE clients (
    tenant              text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    client_id           uuid        NOT NULL,           -- of the address, else of organizer, name and company
    email               text        CHECK (email = lower(email) AND email LIKE '%_@_%'),
    name                text,
    company             text,
    phone               text        CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    hubspot_contact_id  text        CHECK (hubspot_contact_id ~ '^[0-9]{1,20}$'),
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, client_id),
    UNIQUE (tenant, email)
);

-- The numbers a salesperson writes from: users.phone is the one last written from, which receives.
-- Owner: ingest; the notifier sets stopped_at.
CREATE TABLE user_phones (
    tenant              text        NOT NULL,
    phone               text        NOT NULL CHECK (phone ~ '^\+[1-9][0-9]{6,14}$'),
    email               text        NOT NULL,
    last_received_at    timestamptz,                    -- the last message from it: free text may be sent for 24 hours more
    stopped_at          timestamptz,                    -- the person wants no messages there, or the provider says so
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, phone),
    FOREIGN KEY (tenant, email) REFERENCES users (tenant, email) ON UPDATE CASCADE
);
CREATE INDEX user_phones_phone ON user_phones (phone);
CREATE INDEX user_phones_user ON user_phones (tenant, email);

-- Owner: ingest.  The notifier sets what becomes of it: status, last_client_reply, plan_state, plan_sent_version, next_check_at.
CREATE TABLE meetings (
    tenant              text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    meeting_id          uuid        NOT NULL UNIQUE,
    outlook_event_id    text,                           -- the calendar's; null: known by organizer, client and start
    salesperson_email   text        NOT NULL CHECK (salesperson_email = lower(salesperson_email)),  -- the organizer
    salesperson_phone   text        CHECK (salesperson_phone ~ '^\+[1-9][0-9]{6,14}$'),     -- null: nobody knows the organizer
    client_id           uuid        NOT NULL,           -- the first of meeting_clients
    title               text        NOT NULL,
    description         text        NOT NULL DEFAULT '',        -- the invitation's own words
    start_time          timestamptz NOT NULL,
    end_time            timestamptz NOT NULL,
    revision            integer     NOT NULL DEFAULT 1, -- of its time
    plan_version        integer     NOT NULL DEFAULT 1, -- of what a plan is made from
    planned_at          timestamptz NOT NULL,           -- when its start was heard of
    status              text        NOT NULL DEFAULT 'scheduled',
    last_client_reply   text,
    plan_state          text        CHECK (plan_state IN ('announced', 'sent')),    -- announced: it follows when the person writes
    plan_sent_version   integer,
    next_check_at       timestamptz,                    -- when something is due: the plan once more, the reminder, or a note that waits
    source_time         timestamptz NOT NULL,           -- of the news it was last told by: older news changes nothing
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, meeting_id),
    UNIQUE (tenant, outlook_event_id),
    FOREIGN KEY (tenant, client_id) REFERENCES clients (tenant, client_id) ON UPDATE CASCADE,
    CHECK (end_time >= start_time)
);
-- What tells titles apart: not case, not blanks.
CREATE FUNCTION meeting_title(title text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN lower(btrim(regexp_replace(title, '\s+', ' ', 'g')));
CREATE INDEX meetings_due ON meetings (next_check_at) WHERE next_check_at IS NOT NULL;
CREATE INDEX meetings_salesperson ON meetings (tenant, salesperson_email, start_time);
CREATE UNIQUE INDEX meetings_without_id ON meetings (tenant, salesperson_email, client_id, start_time)
    WHERE outlook_event_id IS NULL AND status <> 'cancelled';

-- Within a revision a status only moves forward; a new time begins anew.
CREATE FUNCTION meeting_status_rank(status text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN array_position(ARRAY['scheduled', 'reminder_sent', 'completed', 'cancelled'], status);
ALTER TABLE meetings ADD CHECK (meeting_status_rank(status) IS NOT NULL);
CREATE FUNCTION meetings_forward() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.revision < OLD.revision
       OR (NEW.revision = OLD.revision AND meeting_status_rank(NEW.status) < meeting_status_rank(OLD.status)) THEN
        RAISE EXCEPTION 'meeting % cannot go from % back to %', OLD.meeting_id, OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER meetings_forward BEFORE UPDATE OF status, revision ON meetings FOR EACH ROW EXECUTE FUNCTION meetings_forward();

-- All who come to it from outside.  Owner: ingest.
CREATE TABLE meeting_clients (
    tenant      text        NOT NULL,
    meeting_id  uuid        NOT NULL,
    client_id   uuid        NOT NULL,
    number      integer     NOT NULL CHECK (number >= 1),       -- 1 leads
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, meeting_id, client_id),
    UNIQUE (tenant, meeting_id, number),
    FOREIGN KEY (tenant, meeting_id) REFERENCES meetings (tenant, meeting_id) ON UPDATE CASCADE ON DELETE CASCADE,
    FOREIGN KEY (tenant, client_id) REFERENCES clients (tenant, client_id) ON UPDATE CASCADE
);

-- Owner: analyze.
CREATE TABLE meeting_plans (
    tenant          text        NOT NULL,
    meeting_id      uuid        NOT NULL,
    plan_version    integer     NOT NULL,
    summary         text        NOT NULL,
    steps           jsonb       NOT NULL CHECK (jsonb_typeof(steps) = 'array' AND jsonb_array_length(steps) = 3),
    language        text        NOT NULL DEFAULT 'en',
    provider        text        NOT NULL,               -- 'rules': made from the meeting's own words, and said to be
    model           text,
    prompt_version  text,
    source_time     timestamptz NOT NULL,
    run             integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, meeting_id),
    FOREIGN KEY (tenant, meeting_id) REFERENCES meetings (tenant, meeting_id) ON UPDATE CASCADE ON DELETE CASCADE
);

-- What is said between a salesperson and the coach.  Owner: ingest (incoming); the notifier writes what went out, transcribe
-- a voice note's words.
CREATE TABLE messages (
    tenant      text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    message_id  text        NOT NULL,                   -- the provider's of an incoming one, the delivery's of an outgoing one
    email       text,                                   -- the salesperson's; null: nobody knows the number
    phone       text        NOT NULL,
    client_id   uuid,                                   -- of the meeting it is about
    meeting_id  uuid,
    direction   text        NOT NULL CHECK (direction IN ('incoming', 'outgoing')),
    purpose     text        NOT NULL,                   -- text, voice, media; welcome, plan, answer, …
    message     text        NOT NULL,                   -- of a voice note '' until its words are known
    "timestamp" timestamptz NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, message_id),
    FOREIGN KEY (tenant, client_id) REFERENCES clients (tenant, client_id) ON UPDATE CASCADE
);
CREATE INDEX messages_salesperson ON messages (tenant, email, "timestamp");
CREATE INDEX messages_phone ON messages (tenant, phone, "timestamp");

-- What was made of each message of a salesperson; the latest before a message says where the chat stands when it comes.
-- Owner: analyze.
CREATE TABLE chat_answers (
    tenant          text        NOT NULL,
    message_id      text        NOT NULL,               -- as in messages
    email           text        NOT NULL,
    act             text        NOT NULL CHECK (act IN ('answer', 'plan', 'complete', 'amend', 'undo', 'stop', 'start')),
    meeting_id      uuid,                               -- which it is about
    mode            text        NOT NULL DEFAULT 'advice' CHECK (mode IN ('advice', 'roleplay')),   -- from here on
    language        text        NOT NULL DEFAULT 'en',
    waiting         text,                               -- the words that wait until the person has said which meeting they are about …
    choices         uuid[]      CHECK ((choices IS NULL) = (waiting IS NULL)),                      -- … of these
    provider        text,                               -- null: a command, which nobody has to be asked about
    model           text,
    prompt_version  text,
    source_time     timestamptz NOT NULL,               -- when the message came
    run             integer     NOT NULL DEFAULT 0,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, message_id),
    FOREIGN KEY (tenant, email) REFERENCES users (tenant, email) ON UPDATE CASCADE
);
CREATE INDEX chat_answers_salesperson ON chat_answers (tenant, email, source_time);
CREATE INDEX chat_answers_meeting ON chat_answers (tenant, meeting_id, source_time) WHERE act IN ('complete', 'amend', 'undo');

-- What was noted of a meeting, in the CRM or, without one, here alone.  Owner: notifier.
CREATE TABLE meeting_notes (
    tenant              text        NOT NULL,
    meeting_id          uuid        NOT NULL,
    revision            integer     NOT NULL,           -- the meeting's
    outcome             text        NOT NULL,           -- in the salesperson's words
    state               text        NOT NULL CHECK (state IN ('logged', 'waiting', 'no_token', 'no_contact', 'refused', 'withdrawn')),
                                                        -- waiting: the CRM did not answer; tried again at meetings.next_check_at
    hubspot_contact_id  text,
    hubspot_note_id     text,
    error               text,
    version             integer     NOT NULL DEFAULT 1, -- one more at each change
    source_time         timestamptz NOT NULL,           -- of the message it was last changed by: older ones change nothing
    created_at          timestamptz NOT NULL DEFAULT now(),
    updated_at          timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, meeting_id, revision),
    FOREIGN KEY (tenant, meeting_id) REFERENCES meetings (tenant, meeting_id) ON UPDATE CASCADE ON DELETE CASCADE
);

-- Calendars whose changes Microsoft Graph tells us of.  Owner: ingest.
CREATE TABLE graph_subscriptions (
    mailbox         text        PRIMARY KEY CHECK (mailbox = lower(mailbox)),
    tenant          text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    subscription_id text        UNIQUE,                 -- the last one; null: there was none
    made            integer     NOT NULL DEFAULT 0,     -- so many were
    state_sha256    text,                               -- of the clientState it was made with: a changed secret makes a new one
    expires_at      timestamptz,                        -- null: it is gone
    renew_at        timestamptz,
    delta_link      text,                               -- where reading the calendar goes on; null: at its beginning
    window_at       timestamptz,                        -- when that reading began: what it sees is days from then on
    missed_at       timestamptz,                        -- since when changes may not have been told of; null: all were
    failures        integer     NOT NULL DEFAULT 0,     -- in a row
    error           text,                               -- of the last one; null: none
    next_check_at   timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now()
);

SELECT protect(ARRAY['clients', 'user_phones', 'meetings', 'meeting_clients', 'messages', 'graph_subscriptions'], ARRAY['switchboard_ingest']);
SELECT protect(ARRAY['meeting_plans', 'chat_answers'], ARRAY['switchboard_analyze']);
SELECT protect(ARRAY['meeting_notes'], ARRAY['switchboard_notifier']);
REVOKE SELECT ON graph_subscriptions FROM switchboard_api, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;
GRANT UPDATE (stopped_at, updated_at) ON user_phones TO switchboard_notifier;
GRANT UPDATE (status, last_client_reply, plan_state, plan_sent_version, next_check_at, updated_at) ON meetings TO switchboard_notifier;
GRANT INSERT ON messages TO switchboard_notifier;
GRANT UPDATE (message) ON messages TO switchboard_transcribe;
CREATE POLICY writer_switchboard_notifier ON user_phones FOR UPDATE TO switchboard_notifier USING (true) WITH CHECK (true);
CREATE POLICY writer_switchboard_notifier ON meetings FOR UPDATE TO switchboard_notifier USING (true) WITH CHECK (true);
CREATE POLICY writer_switchboard_notifier ON messages FOR INSERT TO switchboard_notifier WITH CHECK (true);
CREATE POLICY writer_switchboard_transcribe ON messages FOR UPDATE TO switchboard_transcribe USING (true) WITH CHECK (true);

-- A note in the CRM is a delivery too.
CREATE OR REPLACE VIEW deliveries WITH (security_invoker = true) AS
    SELECT ask_id AS delivery_id, tenant, stage, event_id, correlation_id, provider,
           CASE provider WHEN 'twilio' THEN 'whatsapp' ELSE provider END AS channel, recipient, purpose, subject,
           version, content, state, coalesce(provider_status, state) AS status, provider_id, error_code, error, attempt, created_at, updated_at
    FROM asks WHERE kind = 'once' AND stage = 'notifier';
