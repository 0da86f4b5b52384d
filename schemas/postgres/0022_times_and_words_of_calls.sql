-- What is written down of a call's time is the call's, also when its start is told last.

-- A recording is as old as its call or visit (retention), a lead's status as the call that says it.
CREATE FUNCTION recording_time() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN                                                   -- who changes the time of the call meanwhile is waited for
    SELECT c.call_at INTO NEW.recorded_at FROM calls c WHERE c.tenant = NEW.tenant AND c.call_id = NEW.call_id FOR SHARE;
    NEW.recorded_at := coalesce(NEW.recorded_at, now());
    RETURN NEW;
END $$;
CREATE TRIGGER recording_time BEFORE INSERT ON recordings FOR EACH ROW EXECUTE FUNCTION recording_time();
CREATE FUNCTION session_recording_time() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    SELECT s.started_at INTO NEW.recorded_at FROM recording_sessions s WHERE s.tenant = NEW.tenant AND s.session_id = NEW.session_id;
    NEW.recorded_at := coalesce(NEW.recorded_at, now());
    RETURN NEW;
END $$;
CREATE TRIGGER session_recording_time BEFORE INSERT ON session_recordings FOR EACH ROW EXECUTE FUNCTION session_recording_time();

CREATE FUNCTION call_time_followed() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
BEGIN
    UPDATE recordings SET recorded_at = NEW.call_at WHERE tenant = NEW.tenant AND call_id = NEW.call_id;
    UPDATE leads SET status_call_at = NEW.call_at WHERE tenant = NEW.tenant AND lead_id = NEW.lead_id AND status_call_at = OLD.call_at;
    RETURN NULL;
END $$;
CREATE TRIGGER call_time_followed AFTER UPDATE ON calls FOR EACH ROW
    WHEN (OLD.call_at IS DISTINCT FROM NEW.call_at) EXECUTE FUNCTION call_time_followed();
UPDATE recordings r SET recorded_at = c.call_at FROM calls c
    WHERE c.tenant = r.tenant AND c.call_id = r.call_id AND r.recorded_at <> c.call_at;

REVOKE EXECUTE ON FUNCTION recording_time(), session_recording_time(), call_time_followed() FROM PUBLIC;
