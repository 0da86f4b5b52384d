/* supervisor_parts.h: one part's life, for supervisor*.c alone.  Each function tells the user what happened. */
#pragma once

#include "deploy/sb/supervisor.h"

/* Starts the process; PART_STARTING, or false and PART_ENDED. */
bool part_start(struct part *part, const char *log_folder, struct problem *why);
/* Reads what it said, as far as there is anything. */
void part_read_output(struct part *part);
/* What is due now: a probe.  True when it became ready. */
bool part_check(struct part *part);
/* Its process ended by itself: true when it may start again (PART_BACKING_OFF), else PART_ENDED. */
bool part_died(struct part *part, int status);
void part_stop(struct part *part); /* asks it to end: PART_STOPPING */
void part_kill(struct part *part);
void part_ended(struct part *part, int status); /* as asked: PART_ENDED */
/* "exit code 1: its last words; all it said is in FILE" */
void part_words(const struct part *part, char *ret, size_t room);

void state_write(const struct supervisor *supervisor);
