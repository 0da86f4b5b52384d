-- A visit that finds its company takes along what was done for it.

-- A visit moves with its appointment; and with it what the runtime did and asked for it, as with a call (calls_go_home).
CREATE FUNCTION visit_goes_home() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    visit CONSTANT text := NEW.session_id::text;
BEGIN
    UPDATE asks SET tenant = NEW.tenant WHERE tenant = OLD.tenant AND correlation_id = visit;
    UPDATE job_results r SET tenant = NEW.tenant FROM jobs j WHERE j.job_id = r.job_id AND r.tenant = OLD.tenant AND j.subject = visit;
    UPDATE jobs SET tenant = NEW.tenant WHERE tenant = OLD.tenant AND subject = visit;
    UPDATE emitted e SET tenant = NEW.tenant FROM ledger l
        WHERE l.correlation_id = visit AND e.cause_id = l.event_id AND e.stage = l.stage AND e.tenant = OLD.tenant;
    UPDATE ledger SET tenant = NEW.tenant WHERE tenant = OLD.tenant AND correlation_id = visit;
    UPDATE parked SET tenant = NEW.tenant WHERE tenant = OLD.tenant AND subject = visit;
    RETURN NULL;
END $$;
CREATE TRIGGER visit_goes_home AFTER UPDATE ON recording_sessions FOR EACH ROW
    WHEN (OLD.tenant IS DISTINCT FROM NEW.tenant) EXECUTE FUNCTION visit_goes_home();

REVOKE EXECUTE ON FUNCTION visit_goes_home() FROM PUBLIC;
