/* The firmware as a process: board.h over standard input and output, flash in the file that FLASH names, answers held
 * back by SLOW_MS milliseconds. */
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "ports/mcu/board.h"
#include "ports/mcu/memory.h"

enum { PAGE = 4096, WAIT_MS = 200, FLASH_BYTES = 917504 };

/* sections.ld of a host */
__asm__(".pushsection .bss\n .balign 4096\n"
        ".globl ram_start, free_start, stack_limit, stack_top, programs_start, programs_end, flash_start, flash_end\n"
        "ram_start: free_start: .skip 262144\n stack_limit: .skip 4096\n stack_top:\n"
        "programs_start: .skip 917504\n programs_end: flash_start: flash_end:\n .popsection\n");

const board_info board = {.device = {.nets = 1,
                                     .threads = 1,
                                     .texts = {"mcu", "host board", "host", "host", "none", "ns"},
                                     .targets = (const char *const[]){"micro:cortex-m4", NULL}},
                          .ns_256 = 256,
                          .page = PAGE};

void memory_paint_stack(void) {}
size_t memory_in_use(void) { return 1; }

static int slow_ms;

__attribute__((constructor)) void board_start(void) {
  const char *file = getenv("FLASH"), *slow = getenv("SLOW_MS");
  slow_ms = slow ? atoi(slow) : 0;
  const int fd = file ? open(file, O_RDWR | O_CREAT, 0600) : -1;
  if (fd < 0 || ftruncate(fd, FLASH_BYTES) != 0 ||
      mmap(programs_start, FLASH_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED)
    _exit(2);
}

void board_stop(int code) { _exit(code); }
void board_feed(void) {}
uint32_t board_cycles(void) { return 0; }

static bool poll_input(int ms) {
  struct pollfd in = {.fd = 0, .events = POLLIN};
  return poll(&in, 1, ms) > 0;
}

bool board_wait(void) { return poll_input(WAIT_MS); }

bool board_receive(uint8_t *byte) {
  if (!poll_input(0)) return false;
  if (read(0, byte, 1) != 1) _exit(0);
  return true;
}

void board_send(const uint8_t *bytes, size_t count) {
  if (slow_ms) usleep((useconds_t)slow_ms * 1000);
  while (count > 0) {
    const ssize_t sent = write(1, bytes, count);
    if (sent <= 0) _exit(0);
    bytes += sent;
    count -= (size_t)sent;
  }
}

bool board_flash_erase(uint8_t *at) {
  for (size_t i = 0; i < PAGE; i++) at[i] = 0xff;
  return true;
}

bool board_flash_write(uint8_t *at, const uint8_t *bytes, size_t count) {
  for (size_t i = 0; i < count; i++) at[i] &= bytes[i];
  return true;
}
