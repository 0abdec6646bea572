/* A small tunable network in C, the same bits everywhere, and a run of the module over it. Freestanding. */
#ifndef TESTS_TUNE_NET_H
#define TESTS_TUNE_NET_H

#include "edgeq/tune.h"

enum { NET_SAMPLES = 60, NET_MEMORY = 96 << 10, NET_AREA = 16 << 10, NET_ROWS = 128 };

typedef struct {
  eq_tune_plan plan;
  eq_tune_model model;
  eq_tune_data data;
} net_plan;

/* Plan of `method` over the network: 100 steps of 16 samples. */
void net_make(net_plan *net, eq_tune_method method);
/* The answer to a FORWARD request, valid until the next one. `broken`: every output is NaN. */
eq_tune_outputs net_forward(const eq_tune_request *request, bool broken);

/* Storage in memory that loses power after so many written bytes. */
typedef struct {
  uint8_t bytes[EQ_TUNE_AREAS][NET_AREA], flushed[EQ_TUNE_AREAS][NET_AREA];
  uint32_t size[EQ_TUNE_AREAS], flushed_size[EQ_TUNE_AREAS];
  uint64_t budget; /* bytes until the cut; UINT64_MAX: none */
  uint64_t written;
  bool cut, lose; /* lose: what was not flushed is gone */
} net_store;
void net_store_new(net_store *store);
/* false: power went */
bool net_serve(net_store *store, eq_tune *tune, const eq_tune_request *request);

/* Until it is done, or power goes (false). */
bool net_run(eq_tune *tune, net_store *store, eq_tune_request *last);

#endif
