-- Who called, when, and by what name may be told differently, or only later: the rows are as if it had been told first.

-- The appointment goes along; each lead has the status that its own calls give it; who has no other call was never there.
CREATE FUNCTION call_caller_changed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE appointments SET lead_id = NEW.lead_id, updated_at = now() WHERE tenant = NEW.tenant AND call_id = NEW.call_id;
    UPDATE leads SET status = 'new', status_call_at = NULL, updated_at = now()
        WHERE tenant = OLD.tenant AND lead_id = OLD.lead_id AND status <> 'closed' AND status_call_at = OLD.call_at;
    PERFORM leads_follow_calls(NEW.tenant, ARRAY[OLD.lead_id, NEW.lead_id]);
    DELETE FROM leads l WHERE l.tenant = OLD.tenant AND l.lead_id = OLD.lead_id AND l.status = 'new'
        AND NOT EXISTS (SELECT FROM calls c WHERE c.tenant = l.tenant AND c.lead_id = l.lead_id)
        AND NOT EXISTS (SELECT FROM appointments a WHERE a.tenant = l.tenant AND a.lead_id = l.lead_id);
    DELETE FROM contact_cards cc WHERE cc.tenant = OLD.tenant AND cc.contact_id = OLD.contact_id
        AND NOT EXISTS (SELECT FROM calls c WHERE c.tenant = cc.tenant AND c.contact_id = cc.contact_id)
        AND NOT EXISTS (SELECT FROM leads l WHERE l.tenant = cc.tenant AND l.contact_id = cc.contact_id);
    RETURN NULL;
END $$;
CREATE TRIGGER call_caller_changed AFTER UPDATE ON calls FOR EACH ROW
    WHEN (OLD.lead_id IS DISTINCT FROM NEW.lead_id AND OLD.tenant = NEW.tenant) EXECUTE FUNCTION call_caller_changed();

-- The lead has the status of the latest of its calls, also when it is their order that changed.
CREATE OR REPLACE FUNCTION call_time_followed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE recordings SET recorded_at = NEW.call_at WHERE tenant = NEW.tenant AND call_id = NEW.call_id;
    UPDATE leads SET status_call_at = NEW.call_at WHERE tenant = NEW.tenant AND lead_id = NEW.lead_id AND status_call_at = OLD.call_at;
    PERFORM leads_follow_calls(NEW.tenant, ARRAY[NEW.lead_id]);
    RETURN NULL;
END $$;

-- Which call names a contact; some numbers call thousands of times: a switchboard's.
CREATE INDEX calls_naming ON calls (tenant, contact_id, call_at, call_id) WHERE customer_name IS NOT NULL;

-- A contact is named as the first of its calls that tells a name.  Who names it meanwhile is waited for, so that each sees the calls of the other.
CREATE FUNCTION contact_follows_calls(of_tenant text, of_contact uuid) RETURNS void LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM contact_cards WHERE tenant = of_tenant AND contact_id = of_contact FOR NO KEY UPDATE;
    UPDATE contact_cards cc SET name = first.name, updated_at = now()
        FROM (SELECT (SELECT c.customer_name FROM calls c
                      WHERE c.tenant = of_tenant AND c.contact_id = of_contact AND c.customer_name IS NOT NULL
                      ORDER BY c.call_at, c.call_id LIMIT 1) AS name) first
        WHERE cc.tenant = of_tenant AND cc.contact_id = of_contact AND cc.name IS DISTINCT FROM first.name;
END $$;
CREATE FUNCTION call_names_contact() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND (OLD.tenant, OLD.contact_id) IS DISTINCT FROM (NEW.tenant, NEW.contact_id) THEN
        PERFORM contact_follows_calls(OLD.tenant, OLD.contact_id);
    END IF;
    PERFORM contact_follows_calls(NEW.tenant, NEW.contact_id);
    RETURN NULL;
END $$;
CREATE TRIGGER call_names_contact AFTER INSERT ON calls FOR EACH ROW
    WHEN (NEW.customer_name IS NOT NULL) EXECUTE FUNCTION call_names_contact();
CREATE TRIGGER call_renames_contact AFTER UPDATE ON calls FOR EACH ROW
    WHEN ((OLD.tenant, OLD.contact_id, OLD.call_at, OLD.customer_name) IS DISTINCT FROM (NEW.tenant, NEW.contact_id, NEW.call_at, NEW.customer_name)
          AND (OLD.customer_name IS NOT NULL OR NEW.customer_name IS NOT NULL)) EXECUTE FUNCTION call_names_contact();

-- What an analysis does to the lead and the appointment it does to those of the call: whoever changes the call waits for it.
CREATE FUNCTION analysis_holds_call() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM calls WHERE tenant = NEW.tenant AND call_id = NEW.call_id FOR SHARE;
    RETURN NEW;
END $$;
CREATE TRIGGER analysis_holds_call BEFORE INSERT OR UPDATE ON call_analyses FOR EACH ROW EXECUTE FUNCTION analysis_holds_call();

REVOKE EXECUTE ON FUNCTION call_caller_changed(), contact_follows_calls(text, uuid), call_names_contact(), analysis_holds_call() FROM PUBLIC;
