/* session.h: a command's connection to the database that is in use here, under one role. */
#pragma once

#include "common/postgres.h"
#include "deploy/sb/place.h"

#define ROLE_OPERATOR "switchboard_operator"    /* of the commands that act; may do what migration `operators` grants */

struct session {
    struct place place;
    struct place_settings settings;
    struct pg_pool *pool;
    struct arena *arena;                        /* for rows; lives as long as the session */
};

/* Finds the settings and says what is missing of them.  -1, or the exit code.  Connects with the first query. */
int session_open(struct session *ret, const char *role, char **argv);
/* -1: there is such a company; else the exit code, and it was said that there is none. */
int session_company(struct session *session, const char *tenant, char **argv);
/* Gives `code`. */
int session_close(struct session *session, int code);
bool session_query(struct session *session, const struct statement *statement, struct params params, struct rows *ret,
                   struct problem *why);
