/* coach_columns.h: the columns that the sales coach's statements give, for tests that stand in for the database. */
#pragma once

#define FIND_MEETING_COLUMNS                                                                                           \
    "tenant", "meeting_id", "client_id", "title", "description", "revision", "plan_version", "status",                 \
        "salesperson_email", "salesperson_phone", "ended", "client", "company", "starts", "ends", "minutes_left",      \
        "others", "salesperson", "own_company", "time_zone", "language", "plan"
#define FIND_CHAT_COLUMNS                                                                                              \
    "name", "company", "time_zone", "stopped", "now", "mode", "language", "meeting_id", "waiting", "choices",          \
        "source_time"
#define FIND_CHAT_MEETINGS_COLUMNS                                                                                     \
    "meeting_id", "client_id", "title", "description", "client", "company", "starts_us", "ends_us", "starts", "ends",  \
        "today", "summary", "steps", "plan_announced", "noted", "awaiting", "noted_us"
#define FIND_KNOWN_COLUMNS "day", "title", "outcome"
#define FIND_MESSAGES_COLUMNS "direction", "message", "in_roleplay"
