/* The serial dialect of the MLPerf Tiny runner (mlcommons/tiny), on the same line as the frames: lines of text that end
 * in '%', answers that end in "m-ready". It is fed what lies outside of frames, and answers nothing but whole lines of
 * printable characters, so that neither conversation disturbs the other. Performance and accuracy mode; with a pin,
 * energy mode: a time stamp is then no line but an edge, between two of which the runner's power monitor integrates. */
#ifndef EDGEQ_MLPERF_H
#define EDGEQ_MLPERF_H

#include "agent.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EQ_MLPERF_LINE = 80 }; /* characters of a command, '%' not counted */

typedef struct {
  const eq_store *store;
  const eq_engine *engine;
  void (*send)(void *context, const uint8_t *bytes, size_t count);
  /* Microseconds since some time; what wraps in it is seen to be shorter than one inference. */
  uint64_t (*now_us)(void *context);
  /* Memory that the loaded program leaves, and its size: the input is kept there, for a run uses its inputs up. */
  uint8_t *(*spare)(void *context, size_t *bytes);
  /* A falling edge of the pin that the power monitor watches; NULL: time stamps are told (performance, accuracy). */
  void (*edge)(void *context);
  void *context; /* of the four */
} eq_mlperf_port;

typedef struct {
  const eq_mlperf_port *port;
  char line[EQ_MLPERF_LINE + 1];
  uint8_t length;
  bool too_long, foreign; /* the line so far: longer than a command, holds what no command holds */
  bool loaded;
  uint16_t net;
  uint8_t *input;
  size_t expected, have; /* bytes of the input */
} eq_mlperf;

/* Says "m-init-done" and "m-ready". port outlives it. */
void eq_mlperf_init(eq_mlperf *dialect, const eq_mlperf_port *port);
/* One character that belongs to no frame. */
void eq_mlperf_feed(eq_mlperf *dialect, uint8_t byte);

#ifdef __cplusplus
}
#endif
#endif
