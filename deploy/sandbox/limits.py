"""Everything the sandbox keeps or waits for has a limit, and all of them stand here."""

KIB = 1024
MIB = 1024 * KIB

REQUEST_BYTES_MAX = 32 * MIB            # above any provider's own limit, so that theirs is the one that answers
REQUESTS_KEPT_MAX = 20_000              # the oldest go first
REQUESTS_KEPT_BYTES_MAX = 64 * MIB
REQUEST_BODY_KEPT_BYTES_MAX = 256 * KIB     # a longer body is kept as its beginning, size and hash

FILE_BYTES_MAX = 64 * MIB
FILES_BYTES_MAX = 256 * MIB
FILES_MAX = 2_000
FILE_CHUNK_BYTES = 64 * KIB
ENDLESS_BYTES_MAX = 16 * 1024 * MIB     # where /files/_endless ends after all
SLOW_BYTES_PER_S = 1

CALLS_MAX = 50_000
MESSAGES_MAX = 50_000
TEMPLATES_MAX = 1_000
TRANSCRIPTS_MAX = 5_000
FAULT_RULES_MAX = 1_000

WEBHOOKS_KEPT_MAX = 20_000
WEBHOOKS_IN_FLIGHT_MAX = 128
WEBHOOK_RUNS_MAX = 20_000               # messages or calls whose webhooks are still to come
WEBHOOK_ANSWER_KEPT_BYTES_MAX = 4 * KIB
WEBHOOK_COPIES_MAX = 1_000

STALL_S_MAX = 600.0
CONTROL_WAIT_S_MAX = 60.0               # long polling of the control interface
CONTROL_LIST_MAX = 5_000

# --- the providers' own limits, each from its documents ----------------------
TWILIO_BODY_CHARACTERS_MAX = 1_600          # 21617
TWILIO_TEMPLATE_CHARACTERS_MAX = 1_024      # 63021
TWILIO_VARIABLE_CHARACTERS_MAX = 1_600
TWILIO_URL_CHARACTERS_MAX = 4_000           # 21609
TWILIO_MEDIA_MAX = 10
TWILIO_PAGE_MAX = 1_000
TWILIO_WEBHOOK_CONNECT_S = 5.0
TWILIO_WEBHOOK_READ_S = 15.0
TWILIO_WEBHOOK_TOTAL_S = 15.0
WHATSAPP_WINDOW_HOURS = 24.0

CALLRAIL_PAGE_MAX = 250
CALLRAIL_WEBHOOK_TOTAL_S = 10.0             # not published; ours is a guess

OPENAI_AUDIO_BYTES_MAX = 26_214_400         # 25 MiB
OPENAI_SCHEMA_PROPERTIES_MAX = 5_000
OPENAI_SCHEMA_DEPTH_MAX = 10

GEMINI_OUTPUT_TOKENS_MAX = 65_536
GEMINI_STOP_SEQUENCES_MAX = 5
GEMINI_SCHEMA_DEPTH_MAX = 32
CHARACTERS_PER_TOKEN = 4                    # a rough measure; only sums that fit together matter
