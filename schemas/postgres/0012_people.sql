-- Companies, their people, numbers and checklists in the operators' hands, and the way home of calls that found nobody.
-- Owner: ingest; written by sb under the role switchboard_operator.

-- Operators see how many signing keys a company has, and never the keys.
ALTER TABLE companies ADD COLUMN callrail_key_count integer NOT NULL
    GENERATED ALWAYS AS (coalesce(cardinality(string_to_array(callrail_keys, ',')), 0)) STORED;

-- What a company's agents have to do in a call.  A company without any has the steps that analyze comes with.
CREATE TABLE sop_steps (
    tenant      text        NOT NULL REFERENCES companies (tenant) ON UPDATE CASCADE,
    number      integer     NOT NULL CHECK (number BETWEEN 1 AND 20),
    step        text        NOT NULL CHECK (length(step) BETWEEN 1 AND 200),
    phrases     text[]      NOT NULL                    -- an agent who says one of these has done it
        CHECK (cardinality(phrases) BETWEEN 1 AND 50 AND '' <> ALL (phrases) AND array_position(phrases, NULL) IS NULL),
    created_at  timestamptz NOT NULL DEFAULT now(),
    updated_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (tenant, number),
    UNIQUE (tenant, step) DEFERRABLE INITIALLY DEFERRED   -- steps may change places
);
SELECT protect(ARRAY['sop_steps'], ARRAY['switchboard_operator']);
GRANT SELECT ON sop_steps TO switchboard_operator;

-- What sb may do with them.
ALTER TABLE operator_actions DROP CONSTRAINT operator_actions_command_check,
    ADD CONSTRAINT operator_actions_command_check CHECK (command ~ '^[a-z]+(-[a-z]+)*( [a-z]+)?$');
GRANT SELECT (name, time_zone, default_region, callrail_key_count, callrail_account_id, alert_whatsapp, created_at, updated_at),
    INSERT (tenant, name, time_zone, default_region, alert_whatsapp),
    UPDATE (name, time_zone, default_region, callrail_keys, callrail_account_id, callrail_api_key, alert_whatsapp, updated_at)
    ON companies TO switchboard_operator;
CREATE POLICY operator_adds ON companies FOR INSERT TO switchboard_operator WITH CHECK (true);
CREATE POLICY operator_sets ON companies FOR UPDATE TO switchboard_operator USING (tenant <> 'unassigned') WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE (name, phone, role, answers, updated_at) ON users TO switchboard_operator;
CREATE POLICY operator ON users FOR ALL TO switchboard_operator USING (true) WITH CHECK (true);
GRANT SELECT ON tracking_numbers TO switchboard_operator;
CREATE POLICY operator ON tracking_numbers FOR SELECT TO switchboard_operator USING (true);
-- which numbers are called and nobody's
GRANT SELECT (tenant, call_id, tracking_number, call_at) ON calls TO switchboard_operator;
CREATE POLICY operator ON calls FOR SELECT TO switchboard_operator USING (tenant = 'unassigned');
ALTER TABLE tracking_numbers ADD CHECK (tenant <> 'unassigned'), ADD CHECK (length(label) BETWEEN 1 AND 200);

-- A contact's calls, and those of a number without a company.
CREATE INDEX calls_of_contact ON calls (tenant, contact_id);
CREATE INDEX calls_of_nobody ON calls (tracking_number) WHERE tenant = 'unassigned';

-- --- the way home -----------------------------------------------------------------------------------------------------

-- Who took the call, by what its reports say: the agent's address, else the number that answered (which CallRail gives with
-- or without the country).  What ingest does for a call whose company is known from the start.
CREATE FUNCTION call_csr(of_tenant text, of_call text) RETURNS text LANGUAGE sql STABLE SET search_path = public, pg_temp AS $$
    WITH said AS (
        SELECT facts ->> 'agent_email' AS email, regexp_replace(facts ->> 'business_phone_number', '[^0-9]', '', 'g') AS digits,
               array_position(ARRAY['call.incoming', 'call.answered', 'call.completed'], hook) AS rank, reported_at, event_id
        FROM call_reports WHERE tenant = of_tenant AND call_id = of_call),
    last AS (
        SELECT (SELECT lower(email) FROM said WHERE email IS NOT NULL ORDER BY rank DESC, reported_at DESC, event_id DESC LIMIT 1) AS email,
               (SELECT digits FROM said WHERE digits <> '' ORDER BY rank DESC, reported_at DESC, event_id DESC LIMIT 1) AS digits)
    SELECT u.user_id FROM users u, last
    WHERE u.tenant = of_tenant
      AND (u.email = last.email OR (length(last.digits) >= 10 AND right(u.answers, length(last.digits)) = last.digits))
    ORDER BY (u.email = last.email) IS TRUE DESC, u.user_id LIMIT 1
$$;

-- An open lead has the qualification of the latest call of its that was understood.
CREATE FUNCTION leads_follow_calls(of_tenant text, of_leads uuid[]) RETURNS void LANGUAGE sql SET search_path = public, pg_temp AS $$
    UPDATE leads l SET status = latest.lead_qualification, status_call_at = latest.call_at, updated_at = now()
    FROM (SELECT DISTINCT ON (c.lead_id) c.lead_id, a.lead_qualification, c.call_at
          FROM calls c JOIN call_analyses a ON a.tenant = c.tenant AND a.call_id = c.call_id
          WHERE c.tenant = of_tenant AND c.lead_id = ANY (of_leads)
          ORDER BY c.lead_id, c.call_at DESC, c.call_id DESC) latest
    WHERE l.tenant = of_tenant AND l.lead_id = latest.lead_id AND l.status <> 'closed'
      AND (l.status_call_at IS NULL OR l.status_call_at <= latest.call_at)
$$;

-- Moves calls from `unassigned` to their company, with all that hangs on them.  Contacts and leads go along, or join those the company
-- has of the same number: one open lead at a time.  Whoever has others of their calls under `unassigned` stays there too.
-- Handlers that run meanwhile meet another version, or a row that is gone, and run again.
CREATE FUNCTION calls_go_home(of_calls text[], home text) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    nobody CONSTANT text := 'unassigned';
    contacts uuid[];
    leads_before uuid[];
    leads_after uuid[];
BEGIN
    PERFORM FROM calls WHERE tenant = nobody AND call_id = ANY (of_calls) ORDER BY call_id FOR UPDATE;
    SELECT array_agg(DISTINCT contact_id), array_agg(DISTINCT lead_id ORDER BY lead_id) FILTER (WHERE lead_id IS NOT NULL)
        INTO contacts, leads_before FROM calls WHERE tenant = nobody AND call_id = ANY (of_calls);

    -- a name is what these calls said of it: others may be another company's
    INSERT INTO contact_cards (tenant, contact_id, phone, created_at)
        SELECT home, contact_id, phone, created_at FROM contact_cards WHERE tenant = nobody AND contact_id = ANY (contacts)
        ORDER BY phone ON CONFLICT DO NOTHING;
    UPDATE contact_cards t SET name = said.name, updated_at = now()
        FROM (SELECT DISTINCT ON (cc.phone) cc.phone, c.customer_name AS name
              FROM calls c JOIN contact_cards cc ON cc.tenant = c.tenant AND cc.contact_id = c.contact_id
              WHERE c.tenant = nobody AND c.call_id = ANY (of_calls) AND c.customer_name IS NOT NULL
              ORDER BY cc.phone, c.call_at, c.call_id) said
        WHERE t.tenant = home AND t.phone = said.phone AND t.name IS NULL;

    -- a lead keeps its id, unless the company has an open one or the id is taken by one that was closed since
    INSERT INTO leads (tenant, lead_id, contact_id, status, status_call_at, created_at)
        SELECT home, CASE WHEN l.status <> 'closed' AND taken.lead_id IS NOT NULL THEN gen_random_uuid() ELSE l.lead_id END,
               t.contact_id, CASE l.status WHEN 'closed' THEN 'closed' ELSE 'new' END,
               CASE l.status WHEN 'closed' THEN l.status_call_at END, l.created_at
        FROM leads l JOIN contact_cards cc ON cc.tenant = l.tenant AND cc.contact_id = l.contact_id
        JOIN contact_cards t ON t.tenant = home AND (t.phone = cc.phone OR (cc.phone IS NULL AND t.contact_id = cc.contact_id))
        LEFT JOIN leads taken ON taken.tenant = home AND taken.lead_id = l.lead_id
        WHERE l.tenant = nobody AND l.lead_id = ANY (leads_before)
        ORDER BY l.lead_id ON CONFLICT DO NOTHING;
    SELECT array_agg(coalesce(kept.lead_id, open.lead_id) ORDER BY l.lead_id) INTO leads_after
        FROM leads l JOIN contact_cards cc ON cc.tenant = l.tenant AND cc.contact_id = l.contact_id
        JOIN contact_cards t ON t.tenant = home AND (t.phone = cc.phone OR (cc.phone IS NULL AND t.contact_id = cc.contact_id))
        LEFT JOIN leads kept ON kept.tenant = home AND kept.lead_id = l.lead_id AND (kept.status = 'closed') = (l.status = 'closed')
        LEFT JOIN leads open ON open.tenant = home AND open.contact_id = t.contact_id AND open.status <> 'closed'
        WHERE l.tenant = nobody AND l.lead_id = ANY (leads_before);

    -- what has the key of a call follows it; an appointment's lead cannot before the call has its own
    UPDATE appointments SET lead_id = NULL WHERE tenant = nobody AND call_id = ANY (of_calls);
    UPDATE calls c SET tenant = home, contact_id = t.contact_id, lead_id = moved.after, version = c.version + 1, updated_at = now()
        FROM calls o LEFT JOIN contact_cards cc ON cc.tenant = nobody AND cc.contact_id = o.contact_id
        LEFT JOIN contact_cards t ON t.tenant = home AND (t.phone = cc.phone OR (cc.phone IS NULL AND t.contact_id = cc.contact_id))
        LEFT JOIN unnest(leads_before, leads_after) AS moved (before, after) ON moved.before = o.lead_id
        WHERE o.tenant = nobody AND o.call_id = ANY (of_calls) AND c.tenant = o.tenant AND c.call_id = o.call_id;
    UPDATE appointments a SET lead_id = c.lead_id, updated_at = now() FROM calls c
        WHERE a.tenant = home AND a.call_id = ANY (of_calls) AND c.tenant = a.tenant AND c.call_id = a.call_id;
    UPDATE calls SET csr_user_id = call_csr(home, call_id) WHERE tenant = home AND call_id = ANY (of_calls) AND answered;
    -- an appointment made by hand goes with the last call of its lead
    UPDATE appointments a SET tenant = home, lead_id = moved.after, updated_at = now()
        FROM unnest(leads_before, leads_after) AS moved (before, after)
        WHERE a.tenant = nobody AND a.call_id IS NULL AND a.lead_id = moved.before
          AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.tenant = nobody AND c.lead_id = moved.before);
    PERFORM leads_follow_calls(home, leads_after);

    -- nobody keeps those who have other calls there
    DELETE FROM leads l WHERE l.tenant = nobody AND l.lead_id = ANY (leads_before)
        AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.tenant = nobody AND c.lead_id = l.lead_id)
        AND NOT EXISTS (SELECT 1 FROM appointments a WHERE a.tenant = nobody AND a.lead_id = l.lead_id);
    DELETE FROM contact_cards cc WHERE cc.tenant = nobody AND cc.contact_id = ANY (contacts)
        AND NOT EXISTS (SELECT 1 FROM calls c WHERE c.tenant = nobody AND c.contact_id = cc.contact_id)
        AND NOT EXISTS (SELECT 1 FROM leads l WHERE l.tenant = nobody AND l.contact_id = cc.contact_id);
    UPDATE leads SET status = 'new', status_call_at = NULL
        WHERE tenant = nobody AND lead_id = ANY (leads_before) AND status <> 'closed';
    PERFORM leads_follow_calls(nobody, leads_before);

    -- the runtime's own: what was done and asked for these calls
    UPDATE asks SET tenant = home WHERE tenant = nobody AND correlation_id = ANY (of_calls);
    UPDATE job_results r SET tenant = home FROM jobs j WHERE j.job_id = r.job_id AND r.tenant = nobody AND j.subject = ANY (of_calls);
    UPDATE jobs SET tenant = home WHERE tenant = nobody AND subject = ANY (of_calls);
    UPDATE emitted e SET tenant = home FROM ledger l
        WHERE l.correlation_id = ANY (of_calls) AND e.cause_id = l.event_id AND e.stage = l.stage AND e.tenant = nobody;
    UPDATE ledger SET tenant = home WHERE tenant = nobody AND correlation_id = ANY (of_calls);
    UPDATE parked SET tenant = home WHERE tenant = nobody AND subject = ANY (of_calls);
END $$;

CREATE FUNCTION tracking_number_lock(of_number text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN hashtextextended('tracking number ' || of_number, 0);

-- Gives a number to a company; the calls to it that lie under `unassigned` go there too.  Calls of a company that had the number
-- before stay with it.
CREATE FUNCTION number_assign(of_number text, to_company text, new_label text)
    RETURNS TABLE (previous_tenant text, calls_moved bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_calls text[];
BEGIN
    -- from here on no call to it comes under `unassigned` (calls_owned)
    PERFORM pg_advisory_xact_lock(tracking_number_lock(of_number));
    SELECT n.tenant INTO previous_tenant FROM tracking_numbers n WHERE n.number = of_number FOR UPDATE;
    INSERT INTO tracking_numbers AS n (number, tenant, label) VALUES (of_number, to_company, new_label)
        ON CONFLICT (number) DO UPDATE SET tenant = EXCLUDED.tenant, label = coalesce(EXCLUDED.label, n.label), updated_at = now();
    SELECT array_agg(c.call_id) INTO of_calls FROM calls c WHERE c.tenant = 'unassigned' AND c.tracking_number = of_number;
    calls_moved := coalesce(cardinality(of_calls), 0);
    IF calls_moved > 0 THEN
        PERFORM calls_go_home(of_calls, to_company);
    END IF;
    RETURN NEXT;
END $$;

-- A handler that has read before the number was assigned, and writes after: it runs again, and finds the company.
CREATE FUNCTION calls_owned() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM pg_advisory_xact_lock_shared(tracking_number_lock(NEW.tracking_number));
    IF EXISTS (SELECT 1 FROM tracking_numbers WHERE number = NEW.tracking_number) THEN
        RAISE EXCEPTION 'the number % of call % was assigned meanwhile', NEW.tracking_number, NEW.call_id USING ERRCODE = 'SB001';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER calls_owned BEFORE INSERT ON calls FOR EACH ROW
    WHEN (NEW.tenant = 'unassigned' AND NEW.tracking_number IS NOT NULL) EXECUTE FUNCTION calls_owned();

-- A call whose number is only known later goes home with the transaction that tells it.
CREATE FUNCTION calls_known_late() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    home text;
BEGIN
    PERFORM pg_advisory_xact_lock_shared(tracking_number_lock(NEW.tracking_number));
    SELECT tenant INTO home FROM tracking_numbers WHERE number = NEW.tracking_number;
    IF home IS NOT NULL THEN
        PERFORM calls_go_home(ARRAY[NEW.call_id], home);
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER calls_known_late AFTER UPDATE OF tracking_number ON calls DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
    WHEN (NEW.tenant = 'unassigned' AND NEW.tracking_number IS DISTINCT FROM OLD.tracking_number)
    EXECUTE FUNCTION calls_known_late();

REVOKE EXECUTE ON FUNCTION call_csr(text, text), leads_follow_calls(text, uuid[]), calls_go_home(text[], text), calls_known_late(),
    number_assign(text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION number_assign(text, text, text) TO switchboard_operator;
