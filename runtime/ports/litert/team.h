/* Threads that work on one operator together, and what the environment says about them and about instruction sets. */
#ifndef EDGEQ_LITERT_TEAM_H
#define EDGEQ_LITERT_TEAM_H

#include "edgeq/types.h"

enum { EQL_MOST_THREADS = 256 };

/* workers - 1 threads that wait until eq_threads.run is called, awake for a moment, then asleep; NULL when they cannot
   be had. */
eq_threads *eql_team_open(unsigned workers);
void eql_team_close(eq_threads *team);

/* Obeys EDGEQ_ISA, and looks what the machine has. NULL, or what cannot be obeyed. */
const char *eql_use_environment(void);
/* A number of threads from 1 to EQL_MOST_THREADS, 0: it is none. */
unsigned eql_thread_count(const char *text);

#endif
