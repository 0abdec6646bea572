/* Power that goes after every byte that a run writes: whatever it leaves, the run ends in the same delta and state.
 *
 *   faults METHOD STRIDE [lose]     lose: what was not flushed is lost with it
 * Also: the memory is exactly what eq_tune_bytes says, with poisoned bytes around it. */
#include "net.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { GUARD = 64, POISON = 0xa5 };

static uint8_t *memory;
static size_t bytes;
static net_plan net;

static void fail(const char *what, uint64_t at) {
  fprintf(stderr, "%s, cut after byte %llu\n", what, (unsigned long long)at);
  exit(1);
}

/* One life: from the store as it is to the end or the cut. */
static bool live(net_store *store, eq_tune **tune, eq_tune_request *last) {
  memset(memory, POISON, bytes + 2 * GUARD);
  if (eq_tune_open(tune, &net.plan, memory + GUARD, bytes) != EQ_TUNE_OK) fail("does not open", store->budget);
  const bool lived = net_run(*tune, store, last);
  for (int i = 0; i < GUARD; i++)
    if (memory[i] != POISON || memory[GUARD + bytes + (size_t)i] != POISON)
      fail("wrote beside its memory", store->budget);
  return lived;
}

int main(int count, char **arguments) {
  static net_store whole, cut;
  const int method = count > 1 ? atoi(arguments[1]) : 0;
  const uint64_t stride = count > 2 ? strtoull(arguments[2], NULL, 10) : 1;
  eq_tune *tune;
  eq_tune_request last;
  uint8_t expected[32], digest[32];
  net_make(&net, (eq_tune_method)method);
  net.plan.settings.steps = net.plan.settings.head_steps = 20;
  net.plan.settings.evaluate_every = 5;
  net.plan.settings.flags |= EQ_TUNE_UNGUARDED;
  bytes = eq_tune_bytes(&net.plan);
  memory = aligned_alloc(8, bytes + 2 * GUARD);
  net_store_new(&whole);
  if (eq_tune_open(&tune, &net.plan, memory + GUARD, bytes - 1) != EQ_TUNE_NO_MEMORY) fail("took less memory", 0);
  if (!live(&whole, &tune, &last) || last.outcome != EQ_TUNE_COMMITTED) fail("the whole run did not commit", 0);
  eq_tune_state_hash(tune, expected);
  uint64_t cuts = 0;
  for (uint64_t at = 0; at < whole.written; at += stride, cuts++) {
    net_store_new(&cut);
    cut.budget = at;
    cut.lose = count > 3;
    if (live(&cut, &tune, &last)) fail("power did not go", at);
    cut.budget = UINT64_MAX;
    if (!live(&cut, &tune, &last) || last.outcome != EQ_TUNE_COMMITTED) fail("the second life did not commit", at);
    eq_tune_state_hash(tune, digest);
    if (memcmp(digest, expected, 32) != 0) fail("another state", at);
    if (cut.size[EQ_TUNE_DELTA] != whole.size[EQ_TUNE_DELTA] ||
        memcmp(cut.bytes[EQ_TUNE_DELTA], whole.bytes[EQ_TUNE_DELTA], whole.size[EQ_TUNE_DELTA]) != 0)
      fail("another delta", at);
  }
  printf("%llu cuts in %llu bytes, %zu bytes of memory\n", (unsigned long long)cuts, (unsigned long long)whole.written,
         bytes);
  free(memory);
  return 0;
}
