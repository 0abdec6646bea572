/* The MLPerf Tiny dialect over standard input and output, with a program that negates and halves three numbers. The
 * name of the stored program is the first argument; without one nothing is stored. A second argument is energy mode:
 * the clock at each edge of the pin goes to that file. Byte 1 unloads the program, as the other conversation on the
 * line may. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "proto/mlperf.h"

enum { NUMBERS = 3, ROOM = 64, GUARD = 0x5a };

static struct {
  uint8_t room[ROOM], guard[16];
} spare = {.guard = {GUARD}};
static const char *name;
static float input[NUMBERS], output[NUMBERS];
static bool loaded;
static uint16_t net_number;
static uint64_t clock_us;
static FILE *edges;

static const eq_entry *entry_of(void *c, unsigned index) {
  static eq_entry entry;
  (void)c;
  if (!name || index) return NULL;
  strncpy(entry.name, name, sizeof entry.name - 1);
  return &entry;
}
static bool load(void *c, const char *n, const char *method, uint16_t *net, eq_failure *f) {
  (void)c, (void)f;
  loaded = !strcmp(n, name) && !strcmp(method, "forward");
  *net = ++net_number;
  return loaded;
}
static bool describe(void *c, uint16_t net, eq_net *out, eq_failure *f) {
  (void)c, (void)f;
  out->tensors[0] = out->tensors[1] = 1;
  return loaded && net == net_number;
}
static void tensor(void *c, uint16_t net, bool out, unsigned index, eq_tensor *t) {
  (void)c, (void)net, (void)index;
  t->dtype = EQ_DTYPE_f32;
  t->bytes = sizeof input;
  t->data = (uint8_t *)(out ? output : input);
}
static bool run(void *c, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *f) {
  (void)c, (void)net, (void)f;
  if (!fresh) return false; /* a run uses its inputs up */
  for (int i = 0; i < NUMBERS; i++) output[i] = -input[i] / 2;
  memset(input, 0xff, sizeof input);
  clock_us += 1000;
  *ticks = 1;
  return true;
}
static void send(void *c, const uint8_t *bytes, size_t count) {
  (void)c;
  fwrite(bytes, 1, count, stdout);
}
static uint64_t now(void *c) {
  (void)c;
  return clock_us;
}
static uint8_t *room(void *c, size_t *bytes) {
  (void)c;
  *bytes = ROOM;
  return spare.room;
}

static void edge(void *c) {
  (void)c;
  fprintf(edges, "%llu\n", (unsigned long long)clock_us);
  fflush(edges);
}

int main(int argc, char **argv) {
  static const eq_store store = {.entry = entry_of};
  static const eq_engine engine = {.load = load, .describe = describe, .tensor = tensor, .run = run};
  static eq_mlperf_port port = {&store, &engine, send, now, room, NULL, NULL};
  static eq_mlperf dialect;
  name = argc > 1 ? argv[1] : NULL;
  if (argc > 2 && (edges = fopen(argv[2], "w"))) port.edge = edge;
  eq_mlperf_init(&dialect, &port);
  fflush(stdout);
  uint8_t byte;
  while (read(0, &byte, 1) == 1) {
    if (byte == 1) loaded = false;
    eq_mlperf_feed(&dialect, byte);
    fflush(stdout);
  }
  if (edges) fclose(edges);
  return spare.guard[0] == GUARD ? 0 : 1;
}
