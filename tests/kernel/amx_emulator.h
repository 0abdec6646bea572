/* AMX on processors without it: its instructions are undefined there, and the handler of that signal carries them out.
 *
 * After Intel's Software Developer's Manual, volume 2 (LDTILECFG, TILELOADD, TILESTORED, TILERELEASE, TDPBUSD); what
 * breaks one of its rules, or is none of these, ends the program. State of one thread. */
#ifndef EQ_AMX_EMULATOR_H
#define EQ_AMX_EMULATOR_H

#include <edgeq/isa.h>

#if defined(__x86_64__) && defined(__linux__)
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <unistd.h>

enum { AMX_TILES = 8, AMX_ROWS = 16, AMX_ROW_BYTES = 64 };

typedef struct {
  uint8_t of[AMX_ROWS][AMX_ROW_BYTES];
} amx_tile;
static struct {
  bool configured;
  uint16_t row_bytes[AMX_TILES];
  uint8_t rows[AMX_TILES];
  amx_tile tile[AMX_TILES];
} amx;
static unsigned long amx_instructions;
/* Instructions that were carried out. */
static inline unsigned long amx_emulated(void) { return amx_instructions; }

static inline void amx_fail(const char *why) {
  fprintf(stderr, "AMX: %s\n", why);
  _exit(3);
}
static inline void amx_require(bool condition, const char *otherwise) {
  if (!condition) amx_fail(otherwise);
}

static inline void amx_load_config(const uint8_t *from) {
  memset(&amx, 0, sizeof amx);
  amx_require(from[0] == 1, "palette is not 1");
  for (int i = 1; i < 16; i++) amx_require(!from[i], "a reserved byte or the start row is set");
  for (int t = 0; t < 16; t++) {
    uint16_t bytes;
    memcpy(&bytes, from + 16 + 2 * t, sizeof bytes);
    const uint8_t rows = from[48 + t];
    amx_require(t < AMX_TILES || (!bytes && !rows), "there are eight tiles");
    amx_require(bytes <= AMX_ROW_BYTES && rows <= AMX_ROWS && !bytes == !rows, "no shape of a tile");
    if (t < AMX_TILES) amx.row_bytes[t] = bytes, amx.rows[t] = rows;
  }
  amx.configured = true;
}

static inline void amx_move(unsigned t, uint8_t *at, int64_t stride, bool load) {
  amx_require(amx.configured && amx.rows[t], "a tile without a shape");
  if (load) memset(&amx.tile[t], 0, sizeof amx.tile[t]);
  for (int r = 0; r < amx.rows[t]; r++) {
    uint8_t *memory = at + r * stride;
    memcpy(load ? amx.tile[t].of[r] : memory, load ? memory : amx.tile[t].of[r], amx.row_bytes[t]);
  }
}

/* c += unsigned bytes of a x signed bytes of b, modulo 2^32 */
static inline void amx_products(unsigned c, unsigned a, unsigned b) {
  amx_require(amx.configured && c != a && a != b && c != b, "products need three tiles");
  amx_require(amx.rows[c] && amx.rows[c] == amx.rows[a] && amx.row_bytes[c] == amx.row_bytes[b] &&
                  amx.row_bytes[a] == 4 * amx.rows[b] && amx.row_bytes[c] % 4 == 0,
              "shapes of products do not fit");
  for (int m = 0; m < amx.rows[c]; m++)
    for (int n = 0; n < amx.row_bytes[c] / 4; n++) {
      uint32_t sum;
      memcpy(&sum, amx.tile[c].of[m] + 4 * n, sizeof sum);
      for (int k = 0; k < amx.row_bytes[a] / 4; k++)
        for (int i = 0; i < 4; i++)
          sum += (uint32_t)((int32_t)amx.tile[a].of[m][4 * k + i] * (int8_t)amx.tile[b].of[k][4 * n + i]);
      memcpy(amx.tile[c].of[m] + 4 * n, &sum, sizeof sum);
    }
}

/* The instruction at *rip, three-byte VEX prefix of map 0F38, vector length 128, W 0; then *rip is behind it. */
static inline void amx_step(greg_t *registers) {
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  enum { NONE, P66, PF3, PF2 };
  const uint8_t *at = (const uint8_t *)registers[REG_RIP];
  amx_require(at[0] == 0xc4 && (at[1] & 0x1f) == 2 && !(at[2] & 0x84), "an undefined instruction");
  const unsigned prefix = at[2] & 3, operand = (at[2] >> 3 & 15) ^ 15, operation = at[3], modes = at[4];
  const unsigned high_index = at[1] & 0x40 ? 0 : 8, high_base = at[1] & 0x20 ? 0 : 8;
  const unsigned reg = modes >> 3 & 7, rm = modes & 7, mode = modes >> 6;
  at += 5;
  if (operation == 0x5e && prefix == P66 && mode == 3) {
    amx_products(reg, rm, operand);
  } else if (operation == 0x49 && prefix == NONE && modes == 0xc0) {
    memset(&amx, 0, sizeof amx);
  } else {
    amx_require(mode != 3 && operand == 0, "an undefined instruction");
    int64_t address, stride = 0;
    if (rm == 4) {
      const unsigned index = (*at >> 3 & 7) | high_index, base = *at & 7;
      const bool no_base = base == 5 && mode == 0;
      stride = index == 4 ? 0 : (int64_t)((uint64_t)registers[order[index]] << (*at >> 6));
      at++;
      amx_require(!no_base, "an address without base");
      address = registers[order[base | high_base]];
    } else {
      amx_require(!(rm == 5 && mode == 0), "an address relative to the instruction");
      address = registers[order[rm | high_base]];
    }
    int32_t wide = 0;
    if (mode == 1) wide = (int8_t)*at++;
    if (mode == 2) memcpy(&wide, at, sizeof wide), at += sizeof wide;
    uint8_t *memory = (uint8_t *)(address + wide);
    if (operation == 0x49 && prefix == NONE && reg == 0)
      amx_load_config(memory);
    else if (operation == 0x4b && rm == 4 && (prefix == PF2 || prefix == PF3))
      amx_move(reg, memory, stride, prefix == PF2);
    else
      amx_fail("an undefined instruction");
  }
  amx_instructions++;
  registers[REG_RIP] = (greg_t)at;
}

static inline void amx_handler(int signal, siginfo_t *info, void *context) {
  (void)signal, (void)info;
  amx_step(((ucontext_t *)context)->uc_mcontext.gregs);
}

static inline void emulate_amx(void) {
  struct sigaction action = {.sa_flags = SA_SIGINFO | SA_NODEFER};
  action.sa_sigaction = amx_handler;
  if (sigaction(SIGILL, &action, NULL)) abort();
  eq_isa_allow(EQ_ISA_AMX);
}
#else
static inline unsigned long amx_emulated(void) { return 0; }
static inline void emulate_amx(void) {}
#endif

#endif
