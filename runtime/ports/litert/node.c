#define _POSIX_C_SOURCE 200809L
#include "node.h"

#include <stdlib.h>

enum { LINE = 64 };

void *eql_aligned(size_t size) {
  void *memory = NULL;
  return posix_memalign(&memory, LINE, size ? size : 1) ? NULL : memory;
}

/* At least `size` bytes in place of what was there. */
static bool grow(eql_memory *memory, size_t size) {
  if (size <= memory->bytes) return true;
  free(memory->data);
  memory->data = eql_aligned(size);
  memory->bytes = memory->data ? size : 0;
  return memory->data != NULL;
}

bool eql_node_prepare(eql_memory *scratch, eql_memory *tiles, eql_operator run, eql_call *c) {
  c->compute = false;
  const eql_call before = *c;
  run(c);
  if (!c->fault && c->tile_bytes) {
    if (!grow(tiles, c->tile_bytes)) return eql_fail(c, "no memory for tiled weights");
    *c = before;
    c->tiles_to_make = tiles->data;
    run(c);
  }
  if (c->fault) return false;
  return grow(scratch, c->scratch_bytes) || eql_fail(c, "no memory for scratch");
}

bool eql_node_run(const eql_memory *scratch, const eql_memory *tiles, eql_operator run, eql_call *c) {
  c->compute = true;
  c->scratch = scratch->data;
  c->scratch_bytes = scratch->bytes;
  c->tiles = tiles->data;
  run(c);
  return !c->fault;
}

void eql_release(eql_memory *memory) {
  free(memory->data);
  *memory = (eql_memory){0};
}
