/* A loaded net as the requests about it see it. */
#ifndef EDGEQ_AGENT_NET_H
#define EDGEQ_AGENT_NET_H

#include "agent_internal.h"

typedef struct {
  eq_agent *agent;
  uint16_t number;
  eq_net net;
  size_t bytes[2]; /* of all inputs, of all outputs */
} eq_subject;

bool eq_describe(eq_agent *agent, uint16_t number, eq_subject *s);
eq_tensor eq_net_tensor(const eq_subject *s, bool output, unsigned index);

/* All inputs, one after the other: s->bytes[0]. */
void eq_write_inputs(const eq_subject *s, const uint8_t *bytes);
/* Runs once; gives the ticks, unless w is NULL. */
bool eq_execute(const eq_subject *s, eq_writer *w);
/* Gives all outputs, one after the other. */
void eq_give_outputs(const eq_subject *s, eq_writer *w);

/* Refuses inputs of another size; false. */
bool eq_fail_inputs(const eq_subject *s);

#endif
