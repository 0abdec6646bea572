/* Snapshots made up by somebody who can compute a checksum: the run may refuse them or go on, never leave its memory.
 *
 *   forge METHOD ROUNDS */
#include "net.h"
#include "tune/journal.h"
#include "tune/random.h"
#include "tune/state.h"

#include <stdio.h>
#include <stdlib.h>

static uint64_t state = 1;
static uint32_t below(uint32_t n) { return eq_pick(eq_mix(++state * EQ_STREAM_STRIDE), n); }

/* One to four bytes or words of a slot changed, its checksums put right. */
static void forge(net_store *store, uint32_t slot) {
  uint8_t *bytes = store->bytes[slot];
  static const uint32_t words[] = {0, 1, 2, 7, 0x7f800000, 0x7fc00000, 0xffffffff, 0x80000000, 1000};
  if (store->size[slot] < EQ_SNAPSHOT_HEADER + 8) return;
  const uint32_t payload = store->size[slot] - EQ_SNAPSHOT_HEADER;
  for (uint32_t k = 1 + below(4); k; k--) {
    const uint32_t most = below(2) ? payload : sizeof(eq_tune_saved);
    eq_put32(bytes, EQ_SNAPSHOT_HEADER + below(most / 4) * 4, words[below(sizeof words / sizeof *words)]);
  }
  eq_put32(bytes, 164, payload);
  eq_put32(bytes, 168, eq_tune_crc(0, bytes + EQ_SNAPSHOT_HEADER, payload));
  eq_put32(bytes, 172, eq_tune_crc(0, bytes, 172));
}

int main(int count, char **arguments) {
  static net_store whole, store;
  static net_plan net;
  eq_tune *tune;
  eq_tune_request last;
  uint32_t outcomes[5] = {0};
  if (count != 3) return 2;
  net_make(&net, (eq_tune_method)atoi(arguments[1]));
  net.plan.settings.steps = net.plan.settings.head_steps = 20;
  net.plan.settings.evaluate_every = 5;
  const size_t bytes = eq_tune_bytes(&net.plan);
  uint8_t *memory = aligned_alloc(8, bytes);
  net_store_new(&whole);
  eq_tune_open(&tune, &net.plan, memory, bytes);
  net_run(tune, &whole, &last);
  for (int round = atoi(arguments[2]); round; round--) {
    net_store_new(&store);
    store.budget = below((uint32_t)whole.written);
    eq_tune_open(&tune, &net.plan, memory, bytes);
    net_run(tune, &store, &last);
    store.budget = UINT64_MAX;
    for (uint32_t slot = 0; slot < 2; slot++) forge(&store, slot);
    eq_tune_open(&tune, &net.plan, memory, bytes);
    if (!net_run(tune, &store, &last)) return 1;
    outcomes[last.outcome]++;
  }
  free(memory);
  printf("committed %u rejected %u diverged %u failed %u\n", outcomes[0], outcomes[1], outcomes[3], outcomes[4]);
  return 0;
}
