-- What was lost with an older copy of the database, and days that are over.  Owner: the runtime.

-- An older copy of the database was restored: what was asked of providers since is in no table of it, and may have happened.  So events
-- of that time look it up at the provider before they ask (common/stage/ask.c).  The operator writes a row after each restore.
CREATE TABLE restores (
    restored_at timestamptz PRIMARY KEY DEFAULT now(),
    backup_at   timestamptz NOT NULL CHECK (backup_at <= restored_at)   -- the moment whose state the copy holds, or one before
);
ALTER TABLE restores ENABLE ROW LEVEL SECURITY;
CREATE POLICY stages ON restores FOR SELECT USING (true);
GRANT SELECT ON restores TO switchboard_ingest, switchboard_transcribe, switchboard_analyze, switchboard_vision, switchboard_notifier;

-- As before, but for one thing: what stands in the default partitions is deleted before anything is dropped.  A dropped partition locks
-- the whole table until the function ends, a default partition may hold millions of rows (events that were read days late), and every
-- commit waited until they were deleted.
CREATE OR REPLACE FUNCTION runtime_partitions(ledger_days integer, emitted_days integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    of_table text;
    keep_days integer;
    of_day date;
    old_partition regclass;
    in_default boolean;
    today date := (now() AT TIME ZONE 'UTC')::date;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtext('switchboard runtime_partitions')) THEN
        RETURN;
    END IF;
    -- these lock their rows alone, and may take long: before anything that locks the table until this ends
    DELETE FROM ledger_default WHERE day < today - ledger_days;
    DELETE FROM emitted_default WHERE day < today - emitted_days;
    FOR of_table, keep_days IN VALUES ('ledger', ledger_days), ('emitted', emitted_days) LOOP
        FOR of_day IN SELECT today + n FROM generate_series(-1, 2) AS n LOOP
            CONTINUE WHEN to_regclass(format('%I', of_table || to_char(of_day, '_YYYYMMDD'))) IS NOT NULL;
            -- rows that came before their partition stay where they are
            EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I WHERE day = %L)', of_table || '_default', of_day) INTO in_default;
            CONTINUE WHEN in_default;
            EXIT WHEN NOT runtime_partition_try(format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%L) TO (%L)',
                                                       of_table || to_char(of_day, '_YYYYMMDD'), of_table, of_day, of_day + 1));
        END LOOP;
        FOR old_partition IN
            SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
            WHERE i.inhparent = of_table::regclass AND c.relname ~ (of_table || '_\d{8}$')
              AND to_date(right(c.relname, 8), 'YYYYMMDD') < today - keep_days ORDER BY c.relname LOOP
            EXIT WHEN NOT runtime_partition_try(format('DROP TABLE %s', old_partition));
        END LOOP;
    END LOOP;
    -- no topic keeps an event for so long: an address may be forgotten again
    DELETE FROM erased WHERE until < now() - interval '60 days';
END $$;
