#ifndef EDGEQ_AGENT_INTERNAL_H
#define EDGEQ_AGENT_INTERNAL_H

#include "agent.h"
#include "wire.h"

/* One handler per request. The reader is over the payload; what is given to the writer is the answer's payload. false:
 * refused, agent->failure says why. A handler reads its whole layout and asks eq_read_all() before it acts. */
#define EQ_FRAME(name, type, request, answer) bool eq_on_##name(eq_agent *agent, eq_reader *r, eq_writer *w);
#include "frames.def"

/* Did the layout end where the payload ends? */
bool eq_read_all(eq_agent *agent, const eq_reader *r);

/* A field of EQ_NAME_MAX characters at most, checked; false and refused otherwise. */
bool eq_read_name(eq_agent *agent, eq_reader *r, char name[EQ_NAME_BYTES]);

void eq_close_put(eq_agent *agent, bool drop);

#ifdef EQ_WITH_TUNE
/* Ends the run of the tuning module, if there is one. */
void eq_close_tune(eq_agent *agent);
/* Would this request take away or overwrite what a run uses? */
bool eq_ends_tune(uint8_t type);
#endif

#endif
