/* Runs methods of a program one after the other, over shared arenas, and writes their outputs to stdout.
 *   host FILE METHOD[:INPUT,INPUT...] ...
 * Sizes go to stderr as "METHOD arenas A B C D workspace W scratch S". Exit code: the eqm_status, 100 for anything
 * else.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "micro/micro.h"

enum { MOST_METHODS = 8, USAGE = 100 };

typedef struct {
  void *bytes;
  size_t count;
} memory;

/* Exactly sized, so that the address sanitizer sees every byte too many. */
static memory allocate(size_t count) {
  memory m = {NULL, count};
  if (posix_memalign(&m.bytes, EQM_ALIGNMENT, count ? count : 1)) exit(USAGE);
  memset(m.bytes, 0xa5, count);
  return m;
}

static memory read_file(const char *path) {
  FILE *file = fopen(path, "rb");
  if (!file || fseek(file, 0, SEEK_END)) exit(USAGE);
  const memory m = allocate((size_t)ftell(file));
  rewind(file);
  if (fread(m.bytes, 1, m.count, file) != m.count) exit(USAGE);
  fclose(file);
  return m;
}

static void expect(eqm_status status, const char *what) {
  if (status == EQM_OK) return;
  fprintf(stderr, "%s: %s\n", what, eqm_status_text(status));
  exit((int)status);
}

static void fill_inputs(const eqm_method *m, char *paths) {
  uint32_t i = 0;
  for (char *path = strtok(paths, ","); path; path = strtok(NULL, ","), i++) {
    const memory input = read_file(path);
    const eqm_value *v = eqm_input(m, i);
    if (!v || input.count != (size_t)v->count * eqm_type_bytes(v->type)) exit(USAGE);
    memcpy(v->data, input.bytes, input.count);
    free(input.bytes);
  }
}

int main(int count, char **arguments) {
  const int methods = count - 2;
  if (methods < 1 || methods > MOST_METHODS) return USAGE;
  const memory file = read_file(arguments[1]);
  eqm_program program;
  expect(eqm_open(&program, file.bytes, file.count, eqm_operators, eqm_operator_count), "open");

  eqm_method method[MOST_METHODS];
  uint32_t need[EQM_ARENAS] = {0};
  char *inputs[MOST_METHODS];
  for (int k = 0; k < methods; k++) {
    char *name = arguments[2 + k];
    inputs[k] = strchr(name, ':');
    if (inputs[k]) *inputs[k]++ = 0;
    expect(eqm_find(&method[k], &program, name), name);
    for (int i = 0; i < EQM_ARENAS; i++)
      if (method[k].arena_bytes[i] > need[i]) need[i] = method[k].arena_bytes[i];
  }
  void *arenas[EQM_ARENAS];
  for (int i = 0; i < EQM_ARENAS; i++) arenas[i] = need[i] ? allocate(need[i]).bytes : NULL;

  for (int k = 0; k < methods; k++) {
    const memory workspace = allocate(method[k].workspace_bytes);
    const eqm_status status = eqm_prepare(&method[k], arenas, workspace.bytes, workspace.count);
    if (status != EQM_OK) fprintf(stderr, "call %u: ", method[k].failed_call);
    expect(status, arguments[2 + k]);
    if (k == 0) expect(eqm_reset(&method[k]), "reset");
    const memory scratch = allocate(method[k].scratch_bytes);
    if (inputs[k]) fill_inputs(&method[k], inputs[k]);
    expect(eqm_run(&method[k], scratch.bytes, scratch.count), arguments[2 + k]);
    const eqm_value *v;
    for (uint32_t i = 0; (v = eqm_output(&method[k], i)) != NULL; i++)
      fwrite(v->data, eqm_type_bytes(v->type), v->count, stdout);
    fprintf(stderr, "%s arenas", arguments[2 + k]);
    for (int i = 0; i < EQM_ARENAS; i++) fprintf(stderr, " %u", method[k].arena_bytes[i]);
    fprintf(stderr, " workspace %u scratch %u\n", method[k].workspace_bytes, method[k].scratch_bytes);
    free(workspace.bytes);
    free(scratch.bytes);
  }
  for (int i = 0; i < EQM_ARENAS; i++) free(arenas[i]);
  free(file.bytes);
  return EQM_OK;
}
