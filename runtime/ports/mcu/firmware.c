/* The agent on a microcontroller: the conversation of proto/frames.def over the board's serial line. */
#include "board.h"
#include "engine.h"
#include "memory.h"

enum { PAYLOAD = 4096, QUIET = 2 /* waits in the middle of a frame until it is given up */ };

static slots programs;
static engine runner;

/* A transfer may overwrite what is loaded. */
static bool begin(void *context, const eq_entry *entry, size_t *have, eq_failure *failure) {
  engine_reset(&runner);
  return slots_begin(context, entry, have, failure);
}

static const eq_store store = {&programs,   begin,       slots_append, slots_read_back, slots_commit, slots_close,
                               slots_count, slots_entry, slots_find,   slots_read,      slots_erase,  slots_free_bytes};
static const eq_engine machine = {
    .context = &runner,
    .load = engine_load,
    .unload = engine_unload,
    .describe = engine_describe,
    .tensor = engine_tensor,
    .input = engine_input,
    .run = engine_run,
    .output = engine_output,
    .peak_bytes = engine_peak_bytes,
    .reset = engine_reset,
};

static bool erase(uint8_t *at) {
  board_feed();
  return board_flash_erase(at);
}

static void send(void *context, const uint8_t *bytes, size_t count) {
  (void)context;
  board_send(bytes, count);
}

int main(void) {
  static uint8_t request[PAYLOAD], answer[PAYLOAD + EQ_AGENT_EXTRA];
  static eq_agent agent;
  memory_paint_stack();
  const slots_flash flash = {programs_start, (size_t)(programs_end - programs_start), board.page, erase,
                             board_flash_write};
  slots_start(&programs, &flash);
  runner.programs = &programs;
  runner.free_start = free_start;
  runner.free_end = stack_limit;
  engine_reset(&runner);
  const char *const targets[] = {board.target, NULL};
  const eq_device device = {.nets = 1,
                            .threads = 1,
                            .memory_bytes = (size_t)(stack_limit - free_start),
                            .kind = "mcu",
                            .name = board.name,
                            .arch = board.arch,
                            .cpu = board.cpu,
                            .isa = board.isa,
                            .tick = board.tick,
                            .targets = targets,
                            .code_bytes = (size_t)(flash_end - flash_start)};
  eq_agent_init(&agent, &store, &machine, &device, send, NULL, request, answer, PAYLOAD);
  for (int quiet = 0;;) {
    uint8_t byte;
    board_feed();
    if (board_receive(&byte)) {
      eq_agent_feed(&agent, &byte, 1);
      quiet = 0;
    } else if (!board_wait() && ++quiet >= QUIET) {
      eq_agent_idle(&agent);
      quiet = 0;
    }
  }
}
