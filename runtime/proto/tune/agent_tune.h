/* The tuning module behind the agent: TUNE_OPEN to TUNE_CLOSE of frames.def. */
#ifndef EDGEQ_AGENT_TUNE_H
#define EDGEQ_AGENT_TUNE_H

#include "proto/tune/tune_plan.h"

/* What a device gives to a run. */
typedef struct {
  void *context;
  /* A stored object in one piece, 8-byte aligned, for as long as the run lives; NULL with *failure set. */
  const uint8_t *(*plan)(void *context, const char *name, size_t *bytes, eq_failure *failure);
  /* Memory beside what the net uses, 8-byte aligned, until close; NULL: there is not so much. */
  void *(*take)(void *context, size_t bytes);
  /* Input `index` of the net is read at `data` in the next run; false: it has to be written where the net has it. */
  bool (*borrow)(void *context, uint16_t net, unsigned index, const void *data);
  void (*close)(void *context);
  uint64_t (*ticks)(void *context);
} eq_tuner;

enum { EQ_TUNE_REPLIES = 4 }; /* logits, hidden, taps, moments: bit i of a request's outputs is reply i */

typedef struct {
  const eq_tuner *port; /* NULL: this device does not learn */
  eq_tune *tune;        /* NULL: no run is open */
  uint16_t net;
  eq_plan plan;
  eq_tune_request request;
  bool pending;        /* request has no answer yet */
  uint32_t done;       /* of the request: rows, or bytes */
  uint32_t asked;      /* of the client: samples, or bytes */
  unsigned own;        /* inputs of the network itself; ac (with layers) and the head follow */
  size_t sample_bytes; /* of those */
  unsigned outputs[EQ_TUNE_REPLIES];
  uint32_t width[EQ_TUNE_REPLIES]; /* floats of a row; 0: the net does not give it */
  float *rows[EQ_TUNE_REPLIES];    /* [most_rows][width] rows that wait for each other */
  uint32_t most_rows;
  uint64_t net_ticks;
} eq_tune_run;

#endif
