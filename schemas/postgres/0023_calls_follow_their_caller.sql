-- Who called may be told differently, or only later: the call then goes to the other contact, and the rows are as if it had always been there.

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
    UPDATE contact_cards cc SET updated_at = now(), name = (SELECT c.customer_name FROM calls c
        WHERE c.tenant = cc.tenant AND c.contact_id = cc.contact_id AND c.customer_name IS NOT NULL ORDER BY c.call_at, c.call_id LIMIT 1)
        WHERE cc.tenant = OLD.tenant AND cc.contact_id = OLD.contact_id AND cc.name = OLD.customer_name;
    RETURN NULL;
END $$;
CREATE TRIGGER call_caller_changed AFTER UPDATE ON calls FOR EACH ROW
    WHEN (OLD.lead_id IS DISTINCT FROM NEW.lead_id AND OLD.tenant = NEW.tenant) EXECUTE FUNCTION call_caller_changed();

-- What an analysis does to the lead and the appointment it does to those of the call: whoever changes the call waits for it.
CREATE FUNCTION analysis_holds_call() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    PERFORM FROM calls WHERE tenant = NEW.tenant AND call_id = NEW.call_id FOR SHARE;
    RETURN NEW;
END $$;
CREATE TRIGGER analysis_holds_call BEFORE INSERT OR UPDATE ON call_analyses FOR EACH ROW EXECUTE FUNCTION analysis_holds_call();

REVOKE EXECUTE ON FUNCTION call_caller_changed(), analysis_holds_call() FROM PUBLIC;
