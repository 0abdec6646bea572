/* The agent on a microcontroller: the conversation of proto/frames.def over the board's serial line. */
#include "board.h"
#include "engine.h"
#include "marker.h"
#include "memory.h"

#ifdef EQ_WITH_MLPERF_ENERGY
#define EQ_WITH_MLPERF
#endif
#ifdef EQ_WITH_MLPERF
#include "proto/mlperf.h"
#endif
#ifdef EQ_WITH_TUNE
#include "tune/tuner.h"
#endif

enum { PAYLOAD = 4096, QUIET = 2 /* waits in the middle of a frame until it is given up */ };

static slots programs;
static engine runner;

/* A transfer may overwrite what is loaded. */
static bool begin(void *context, const eq_entry *entry, size_t *have, eq_failure *failure) {
  engine_reset(&runner);
  return slots_begin(context, entry, have, failure);
}

static const eq_store store = {
    .context = &programs,
    .begin = begin,
    .append = slots_append,
    .read_back = slots_read_back,
    .commit = slots_commit,
    .close = slots_close,
    .entry = slots_entry,
    .erase = slots_erase,
    .free_bytes = slots_free_bytes,
};
static const eq_engine machine = {
    .context = &runner,
    .load = engine_load,
    .unload = engine_unload,
    .describe = engine_describe,
    .tensor = engine_tensor,
    .run = engine_run,
    .peak_bytes = engine_peak_bytes,
    .reset = engine_reset,
};

#ifdef EQ_WITH_TUNE
static const eq_tuner tuner = {&runner, tuner_plan, tuner_take, tuner_borrow, tuner_close, tuner_ticks};
#endif

static void send(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  board_send(bytes, count);
}

#ifdef EQ_WITH_MLPERF
static uint64_t now_us(void *context) {
  static uint64_t ticks;
  static uint32_t last;
  (void)context;
  const uint32_t now = board_cycles();
  ticks += (uint64_t)(now - last) * board.ns_256 >> 8;
  last = now;
  return ticks / 1000;
}

static uint8_t *spare(void *context, size_t *bytes) {
  (void)context;
  *bytes = (size_t)(runner.free_end - runner.free_at);
  return runner.free_at;
}

#ifdef EQ_WITH_MLPERF_ENERGY
enum { EDGE_US = 100 };

/* Low for EDGE_US, so that every power monitor sees it. */
static void edge(void *context) {
  marker_drive(false);
  for (const uint64_t begin = now_us(context); now_us(context) - begin < EDGE_US;) {
  }
  marker_drive(true);
}
#else
#define edge NULL
#endif

static const eq_mlperf_port dialect_port = {&store, &machine, send, now_us, spare, edge, NULL};
static eq_mlperf dialect;
#endif

int main(void) {
  static uint8_t request[PAYLOAD + EQ_FRAME_EXTRA], answer[PAYLOAD + EQ_FRAME_EXTRA];
  static eq_agent agent;
  memory_paint_stack();
  marker_start();
  slots_start(&programs);
  runner.free_start = free_start;
  runner.free_end = stack_limit;
#ifdef EQ_WITH_TUNE
  runner.memory_end = stack_limit;
#endif
  engine_reset(&runner);
  eq_device device = board.device;
  device.memory_bytes = (size_t)(stack_limit - free_start);
  device.code_bytes = (size_t)(flash_end - flash_start);
  eq_agent_init(&agent, &store, &machine, &device, send, NULL, request, answer, PAYLOAD);
#ifdef EQ_WITH_TUNE
  agent.run.port = &tuner;
#endif
#ifdef EQ_WITH_MLPERF
  eq_mlperf_init(&dialect, &dialect_port);
#endif
  for (int quiet = 0;;) {
    uint8_t byte;
    board_feed();
    if (board_receive(&byte)) {
#ifdef EQ_WITH_MLPERF
      const bool framed = eq_agent_pending(&agent);
      eq_agent_feed(&agent, &byte, 1);
      if (!framed && !eq_agent_pending(&agent)) eq_mlperf_feed(&dialect, byte);
#else
      eq_agent_feed(&agent, &byte, 1);
#endif
      quiet = 0;
    } else if (!board_wait() && ++quiet >= QUIET) {
      eq_agent_idle(&agent);
      quiet = 0;
    }
  }
}
