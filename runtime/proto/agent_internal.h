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
bool eq_read_name(eq_agent *agent, eq_reader *r, char name[EQ_NAME_MAX + 1]);

/* eq_fail with a number behind the text. */
bool eq_fail_at(eq_agent *agent, eq_code code, const char *text, size_t number);

/* What a refusal says beyond its code. A microcontroller sends the code and the number alone: frames.def tells clients
 * what the codes mean. */
#ifdef EQ_MICRO
#define EQ_TEXT(text) ""
#else
#define EQ_TEXT(text) (text)
#endif

/* Space in the answer for a piece of something: its total size, then at most *count bytes from offset. NULL: refused.
 */
uint8_t *eq_give_piece(eq_agent *agent, eq_writer *w, size_t total, size_t offset, size_t *count);
/* GET of the last trace; the source has been read. */
bool eq_get_trace(eq_agent *agent, eq_reader *r, eq_writer *w);

void eq_close_put(eq_agent *agent, bool drop);

#endif
