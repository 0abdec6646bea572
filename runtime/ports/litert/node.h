/* What EdgeQ keeps of a node between calls: scratch, and weights tiled for the machine at hand. */
#ifndef EDGEQ_LITERT_NODE_H
#define EDGEQ_LITERT_NODE_H

#include "operators.h"

typedef struct {
  void *scratch, *tiles;
  size_t scratch_bytes, tile_bytes;
} eql_node;

/* c holds params, inputs and the outputs' element types. Learns the outputs' shapes, gets scratch, tiles weights.
 * False: c->fault says why. */
bool eql_node_prepare(eql_node *node, eql_operator run, eql_call *c);
/* c holds params, inputs and outputs, all with data. False: c->fault says why. */
bool eql_node_run(const eql_node *node, eql_operator run, eql_call *c);
void eql_node_clear(eql_node *node);

/* size bytes at a multiple of 64; NULL: there are none. Released by free(). */
void *eql_aligned(size_t size);

#endif
