/* A pin for instruments on the board's rail: its file (boards/FAMILY/board.toml, `marker`) says which, as writes to
 * registers. Two features of the firmware use it, each in its own way:
 *
 * marker         high while a network runs: the window of a power capture (PPK2's logic inputs, Joulescope's IN0)
 * mlperf-energy  high, with a falling edge for every time stamp of the MLPerf Tiny runner */
#ifndef EQ_MCU_MARKER_H
#define EQ_MCU_MARKER_H

#include "board.h"

#if defined(EQ_WITH_MARKER) || defined(EQ_WITH_MLPERF_ENERGY)

/* One register: the bits to clear, then those to set. Nothing to clear: it is written whole. */
typedef struct {
  uint32_t address, clear, set;
} marker_write;

static inline void marker_change(marker_write w) {
  volatile uint32_t *const at = (volatile uint32_t *)(uintptr_t)w.address;
  *at = (w.clear ? *at & ~w.clear : 0) | w.set;
}

static inline void marker_drive(bool high) {
  marker_change(high ? (marker_write){MARKER_HIGH} : (marker_write){MARKER_LOW});
}

/* Once, after board_start. */
static inline void marker_start(void) {
  static const marker_write setup[] = {MARKER_SETUP};
  for (size_t i = 0; i < sizeof setup / sizeof setup[0]; i++) {
    marker_change(setup[i]);
    (void)*(volatile uint32_t *)(uintptr_t)setup[i].address; /* a clock that was switched on takes a moment */
  }
#ifdef EQ_WITH_MLPERF_ENERGY
  marker_drive(true);
#else
  marker_drive(false);
#endif
}

#else
static inline void marker_start(void) {}
#endif

/* Around each inference. */
static inline void marker_running(bool running) {
#ifdef EQ_WITH_MARKER
  marker_drive(running);
#else
  (void)running;
#endif
}

#endif
