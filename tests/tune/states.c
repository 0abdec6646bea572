/* The state after 100 steps of every method, as sha256: one line each. The same program on every platform. */
#include "net.h"

#ifdef ON_BOARD
#include "board.h"
static void say(const char *text) { board_put(text); }
static void say_hex(const uint8_t *bytes) { board_put_hex(bytes, 32); }
#else
#include <stdio.h>
static void say(const char *text) { fputs(text, stdout); }
static void say_hex(const uint8_t *bytes) {
  for (int i = 0; i < 32; i++) printf("%02x", bytes[i]);
}
#endif

int main(void) {
  static const char *const names[] = {"auto ", "stats ", "solve ", "head ",    "t0 ",
                                      "t1 ",   "t2 ",    "t3 ",    "zeroqat ", "mezo "};
  static _Alignas(8) uint8_t memory[NET_MEMORY];
  static net_store store;
  static net_plan net;
  for (int method = 0; method < EQ_TUNE_METHODS; method++) {
    eq_tune *tune;
    eq_tune_request last;
    uint8_t digest[32];
    net_make(&net, (eq_tune_method)method);
    net_store_new(&store);
    if (eq_tune_open(&tune, &net.plan, memory, sizeof memory) != EQ_TUNE_OK || !net_run(tune, &store, &last)) return 1;
    if (last.outcome == EQ_TUNE_FAILED) return 2 + (int)last.status;
    eq_tune_state_hash(tune, digest);
    say(names[method]);
    say_hex(digest);
    say(last.outcome == EQ_TUNE_COMMITTED  ? " committed\n"
        : last.outcome == EQ_TUNE_REJECTED ? " rejected\n"
                                           : " other\n");
  }
  return 0;
}
