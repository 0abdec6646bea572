/* Updates a model over the device protocol, and cuts the power at every erase and every write of flash, for all of
 * them: power_loss TEAR. TEAR: bytes of the interrupted unit or page that still change, the others do not.
 *
 * Prints "cuts N old A new B resumed C": after how many cuts which program was the one to start, and how many of the
 * repeated updates did not begin at 0. Aborts when neither is there, when its bytes are not what they should be, or
 * when the update cannot be done again. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ports/mcu/board.h"
#include "ports/mcu/memory.h"
#include "ports/mcu/slots.h"
#include "proto/wire.h"

#define REQUIRE(x)                                                                                                     \
  do {                                                                                                                 \
    if (!(x)) {                                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold, cut %d\n", __FILE__, __LINE__, #x, cut);                               \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

enum { PAGE = 1024, HALF = 8 * PAGE, OLD_BYTES = 3001, NEW_BYTES = 5000, PAYLOAD = 512 };

static int cut, operations;
static size_t tear;
static jmp_buf dead;

/* ---- flash: erased to ones, written to zeros */
__asm__(".pushsection .bss\n .balign 16\n .globl programs_start, programs_end\n"
        "programs_start: .skip 16384\n programs_end:\n .popsection\n");
_Static_assert(2 * HALF == 16384, "the size above");
const board_info board = {.page = PAGE};

static size_t allowed(size_t count) {
  operations++;
  return cut && operations == cut ? (tear < count ? tear : count) : count;
}

void board_feed(void) {}

bool board_flash_erase(uint8_t *at) {
  REQUIRE((at - programs_start) % PAGE == 0);
  memset(at, 0xff, allowed(PAGE));
  if (cut && operations == cut) longjmp(dead, 1);
  return true;
}

bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count) {
  REQUIRE((at - programs_start) % SLOTS_UNIT == 0 && count % SLOTS_UNIT == 0);
  const size_t most = allowed(count);
  for (size_t i = 0; i < most; i++) {
    REQUIRE((at[i] & bytes[i]) == bytes[i]); /* nothing is written that was not erased */
    at[i] &= bytes[i];
  }
  if (cut && operations == cut) longjmp(dead, 1);
  return true;
}

/* ---- a device */
static slots programs;
static eq_agent agent;
static uint8_t request[PAYLOAD + EQ_FRAME_EXTRA], answer[PAYLOAD + EQ_FRAME_EXTRA], said[PAYLOAD + EQ_FRAME_EXTRA];

static void hear(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  memcpy(said, bytes, count);
}

static size_t peak(void *context) {
  (void)context;
  return 0;
}

static void power_on(void) {
  static const eq_store store = {.context = &programs,
                                 .begin = slots_begin,
                                 .append = slots_append,
                                 .read_back = slots_read_back,
                                 .commit = slots_commit,
                                 .close = slots_close,
                                 .entry = slots_entry,
                                 .erase = slots_erase,
                                 .free_bytes = slots_free_bytes};
  static const eq_engine engine = {.peak_bytes = peak};
  static const char *const targets[] = {NULL};
  static const eq_device device = {.texts = {"", "", "", "", "", ""}, .targets = targets};
  slots_start(&programs);
  REQUIRE(eq_agent_init(&agent, &store, &engine, &device, hear, NULL, request, answer, PAYLOAD));
}

/* ---- a client */
static uint8_t frame[PAYLOAD + EQ_FRAME_EXTRA];
static uint16_t seq;

static eq_writer payload(void) {
  return (eq_writer){frame + EQ_FRAME_HEADER, frame + sizeof frame - EQ_FRAME_TAIL, false};
}

/* Sends; the answer's payload. */
static const uint8_t *ask(uint8_t type, const eq_writer *w) {
  const size_t bytes = eq_frame_seal(frame, type, ++seq, (uint32_t)(w->at - frame - EQ_FRAME_HEADER));
  eq_agent_feed(&agent, frame, bytes);
  REQUIRE(said[2] == (type | EQ_ANSWER));
  return said + EQ_FRAME_HEADER;
}

static uint8_t old_program[OLD_BYTES], new_program[NEW_BYTES];

/* return: where the transfer began */
static size_t put(const uint8_t *program, size_t bytes) {
  eq_sha256 hash;
  uint8_t digest[EQ_SHA256_BYTES];
  eq_sha256_init(&hash);
  eq_sha256_update(&hash, program, bytes);
  eq_sha256_final(&hash, digest);
  eq_writer w = payload();
  eq_give_text(&w, "model.pte");
  eq_give_bytes(&w, digest, sizeof digest);
  eq_give_u64(&w, bytes);
  size_t at = eq_load_le(ask(EQ_TYPE_PUT_BEGIN, &w), 4);
  const size_t begin = at;
  while (at < bytes) {
    const size_t piece = bytes - at < 300 ? bytes - at : 300;
    w = payload();
    eq_give_u64(&w, at);
    eq_give_bytes(&w, program + at, piece);
    at = eq_load_le(ask(EQ_TYPE_PUT_DATA, &w), 4);
  }
  w = payload();
  ask(EQ_TYPE_PUT_COMMIT, &w);
  return begin;
}

/* The program that would start now: false old, true new. */
static bool is_new(void) {
  const uint8_t *slot = slots_newest("model.pte");
  REQUIRE(slot && slot == slots_newest(NULL));
  const size_t bytes = slots_program_bytes(slot);
  REQUIRE(bytes == OLD_BYTES || bytes == NEW_BYTES);
  REQUIRE(memcmp(slots_program(slot), bytes == NEW_BYTES ? new_program : old_program, bytes) == 0);
  return bytes == NEW_BYTES;
}

/* A device whose old program has run; its other slot holds what an earlier update left there. */
static void prepare(void) {
  memset(programs_start, 0x5a, 2 * HALF);
  power_on();
  put(new_program, 100);
  put(old_program, OLD_BYTES);
  uint8_t *slot = slots_newest(NULL);
  slots_tried(slot);
  slots_good(slot);
  power_on();
  REQUIRE(!is_new());
}

/* Update, first start, first run. */
static void update(void) {
  put(new_program, NEW_BYTES);
  uint8_t *slot = slots_newest("model.pte");
  slots_tried(slot);
  slots_good(slot);
}

int main(int argc, char **argv) {
  tear = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
  for (size_t i = 0; i < OLD_BYTES; i++) old_program[i] = (uint8_t)(i * 7 ^ i >> 8);
  for (size_t i = 0; i < NEW_BYTES; i++) new_program[i] = i % 97 < 40 ? 0xff : (uint8_t)(i * 13 + 5); /* runs of ones */
  prepare();
  operations = 0;
  update();
  const int all = operations;
  REQUIRE(is_new());

  volatile int old = 0, new = 0, resumed = 0;
  for (volatile int n = 1; n <= all; n++) {
    cut = 0;
    prepare();
    operations = 0;
    cut = n;
    if (setjmp(dead) == 0) {
      update();
      REQUIRE(false);
    }
    cut = 0;
    power_on();
    if (is_new()) {
      new++;
    } else {
      old++;
    }
    if (put(new_program, NEW_BYTES) > 0) resumed++;
    REQUIRE(is_new());
    slots_good(slots_newest(NULL));
    power_on();
    REQUIRE(is_new());
  }
  printf("cuts %d old %d new %d resumed %d\n", all, old, new, resumed);

  /* an update that starts and never runs: the old one comes back, and stays */
  prepare();
  put(new_program, NEW_BYTES);
  slots_tried(slots_newest(NULL));
  REQUIRE(is_new());
  power_on();
  REQUIRE(!is_new());
  power_on();
  REQUIRE(!is_new());
  /* the only program is kept, even if it never ran */
  memset(programs_start, 0xff, 2 * HALF);
  power_on();
  put(new_program, NEW_BYTES);
  slots_tried(slots_newest(NULL));
  power_on();
  REQUIRE(is_new());
  return 0;
}
