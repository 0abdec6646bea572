/* What EdgeQ keeps of a node between calls: scratch, and weights tiled for the machine at hand. */
#ifndef EDGEQ_LITERT_NODE_H
#define EDGEQ_LITERT_NODE_H

#include "operators.h"

typedef struct {
  void *data; /* 64-byte aligned, or NULL */
  size_t bytes;
} eql_memory;

/* c holds params, inputs and the outputs' element types. Learns the outputs' shapes, tiles weights that are known,
 * and sees to it that there is scratch. False: c->fault says why. */
bool eql_node_prepare(eql_memory *scratch, eql_memory *tiles, eql_operator run, eql_call *c);
/* c holds params, inputs and outputs, all with data. False: c->fault says why. */
bool eql_node_run(const eql_memory *scratch, const eql_memory *tiles, eql_operator run, eql_call *c);
void eql_release(eql_memory *memory);

/* size bytes at a multiple of 64; NULL: there are none. Released by free(). */
void *eql_aligned(size_t size);

#endif
