-- That a dead letter was dropped is told where its conversation is asked about; what stood in it is not.
GRANT SELECT (stage, event_id, action, done_at) ON letter_actions TO switchboard_ingest;
