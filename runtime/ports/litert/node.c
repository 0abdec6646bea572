#define _POSIX_C_SOURCE 200809L
#include "node.h"

#include <stdlib.h>

enum { LINE = 64 };

void *eql_aligned(size_t size) {
  void *memory = NULL;
  return posix_memalign(&memory, LINE, size ? size : 1) ? NULL : memory;
}

/* Memory of at least `size` bytes in place of what was there. */
static bool grow(void **memory, size_t *have, size_t size) {
  if (size <= *have) return true;
  free(*memory);
  *memory = eql_aligned(size);
  *have = *memory ? size : 0;
  return *memory != NULL;
}

bool eql_node_prepare(eql_node *node, eql_operator run, eql_call *c) {
  c->compute = false;
  const eql_call before = *c;
  run(c);
  if (!c->fault && c->tile_bytes) {
    if (!grow(&node->tiles, &node->tile_bytes, c->tile_bytes)) return eql_fail(c, "no memory for tiled weights");
    *c = before;
    c->tiles_to_make = node->tiles;
    run(c);
  }
  if (c->fault) return false;
  return grow(&node->scratch, &node->scratch_bytes, c->scratch_bytes) || eql_fail(c, "no memory for scratch");
}

bool eql_node_run(const eql_node *node, eql_operator run, eql_call *c) {
  c->compute = true;
  c->scratch = node->scratch;
  c->scratch_bytes = node->scratch_bytes;
  c->tiles = node->tiles;
  run(c);
  return !c->fault;
}

void eql_node_clear(eql_node *node) {
  free(node->scratch);
  free(node->tiles);
  *node = (eql_node){0};
}
