/* Hostile programs against the reader: each is opened, and every method of the names below proven and run, in memory of
 * exactly the size that was asked for. Build it with the address and undefined behaviour sanitizers.
 *
 *   fuzz_micro FILE COUNT SEED     COUNT seeded mutations of FILE; prints how many met which status
 *
 * With -DEQM_LIBFUZZER and clang -fsanitize=fuzzer, libFuzzer supplies the programs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micro.h"

enum { MOST_ARENA = 1 << 16, STATUSES = EQM_UNALIGNED + 1 };

static void *allocate(size_t bytes) {
  void *memory = NULL;
  if (posix_memalign(&memory, EQM_ALIGNMENT, bytes ? bytes : 1)) abort();
  memset(memory, 0, bytes);
  return memory;
}

static eqm_status try_method(const eqm_program *program, const char *name) {
  eqm_method m;
  eqm_status status = eqm_find(&m, program, name);
  if (status != EQM_OK) return status;
  for (int i = 0; i < EQM_ARENAS; i++)
    if (m.arena_bytes[i] > MOST_ARENA) return EQM_TOO_LARGE;
  void *arenas[EQM_ARENAS];
  for (int i = 0; i < EQM_ARENAS; i++) arenas[i] = allocate(m.arena_bytes[i]);
  void *workspace = allocate(m.workspace_bytes), *scratch = NULL;
  status = eqm_prepare(&m, arenas, workspace, m.workspace_bytes);
  if (status == EQM_OK) status = eqm_reset(&m);
  if (status == EQM_OK && m.scratch_bytes > MOST_ARENA) status = EQM_NO_MEMORY;
  if (status == EQM_OK) {
    scratch = allocate(m.scratch_bytes);
    for (uint32_t i = 0; i < eqm_input_count(&m); i++) {
      const eqm_value *v = eqm_input(&m, i);
      memset(v->data, 0x3f, (size_t)v->count * eqm_type_bytes(v->type));
    }
    if (eqm_run(&m, scratch, m.scratch_bytes) != EQM_OK) abort(); /* what was proven must run */
    for (uint32_t i = 0; i < eqm_output_count(&m); i++) {
      const eqm_value *v = eqm_output(&m, i);
      volatile uint8_t last = v->data[(size_t)v->count * eqm_type_bytes(v->type) - 1];
      (void)last;
    }
  }
  for (int i = 0; i < EQM_ARENAS; i++) free(arenas[i]);
  free(workspace);
  free(scratch);
  return status;
}

/* bytes lie on a boundary of EQM_ALIGNMENT and end where the block ends */
static eqm_status try_program(const void *bytes, size_t count) {
  static const char *const names[] = {"forward", "perturb"};
  eqm_program program;
  eqm_status status = eqm_open(&program, bytes, count, eqm_operators, eqm_operator_count);
  for (size_t i = 0; status == EQM_OK && i < sizeof names / sizeof *names; i++) {
    const eqm_status found = try_method(&program, names[i]);
    if (i == 0 || found != EQM_NOT_FOUND) status = found;
  }
  if (*eqm_status_text(status) == 0) abort();
  return status;
}

#ifdef EQM_LIBFUZZER
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t count) {
  void *bytes = allocate(count);
  if (count) memcpy(bytes, data, count);
  (void)try_program(bytes, count);
  free(bytes);
  return 0;
}
#else
static uint64_t state;

static uint32_t draw(uint32_t below) { /* xorshift64* */
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return (uint32_t)((state * 0x2545f4914f6cdd1du) >> 32) % below;
}

/* One change somewhere in the tables, which is where a reader can be led astray. */
static void mutate(uint8_t *bytes, uint32_t tables) {
  static const uint32_t words[] = {0,  1,   2,       3,          4,          8,          16,
                                   64, 255, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff};
  const uint32_t at = draw(tables);
  uint32_t word;
  switch (draw(5)) {
  case 0: bytes[at] = (uint8_t)draw(256); break;
  case 1: bytes[at] ^= (uint8_t)(1u << draw(8)); break;
  case 2: bytes[at] = (uint8_t)(bytes[at] + draw(9) - 4); break;
  case 3: /* another word of the file: a reference or number that means something elsewhere */
    memcpy(&word, bytes + (draw(tables - 3) & ~3u), sizeof word);
    memcpy(bytes + ((at < tables - 3 ? at : 0) & ~3u), &word, sizeof word);
    break;
  default:
    word = words[draw(sizeof words / sizeof *words)];
    memcpy(bytes + ((at < tables - 3 ? at : 0) & ~3u), &word, sizeof word);
  }
}

int main(int count, char **arguments) {
  if (count != 4) return 2;
  FILE *file = fopen(arguments[1], "rb");
  if (!file || fseek(file, 0, SEEK_END)) return 2;
  const size_t size = (size_t)ftell(file);
  uint8_t *original = allocate(size);
  rewind(file);
  if (size < 64 || fread(original, 1, size, file) != size) return 2;
  fclose(file);
  state = strtoull(arguments[3], NULL, 10) * 2 + 1;
  uint32_t tables = (uint32_t)size;
  if (memcmp(original + 8, "eh00", 4) == 0) memcpy(&tables, original + 16, sizeof tables);
  if (tables < 64 || tables > size) return 2;

  unsigned long met[STATUSES] = {0};
  for (unsigned long left = strtoul(arguments[2], NULL, 10); left > 0; left--) {
    const size_t kept = draw(64) ? size : draw((uint32_t)size + 1);
    uint8_t *bytes = allocate(kept);
    memcpy(bytes, original, kept);
    for (uint32_t k = 1 + draw(4); k > 0 && kept == size; k--) mutate(bytes, tables);
    met[try_program(bytes, kept)]++;
    free(bytes);
  }
  free(original);
  for (int i = 0; i < STATUSES; i++) printf("%lu %s\n", met[i], eqm_status_text((eqm_status)i));
  return 0;
}
#endif
