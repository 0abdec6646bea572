/* A model in a C or C++ program: example MODEL.pte INPUT OUTPUT [dotprod [i8mm]]
 * INPUT holds the bytes of the first input of each run, one after the other; OUTPUT gets those of the first output. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "edgeq/edgeq.h"

/* Memory on a boundary of EDGEQ_ALIGNMENT. */
typedef struct {
  void *data, *from_malloc; /* NULL: there is none */
  size_t bytes;
} block;

static block allocate(size_t bytes) {
  block made = {NULL, malloc(bytes + EDGEQ_ALIGNMENT), 0};
  if (made.from_malloc) {
    unsigned char *const at = (unsigned char *)made.from_malloc;
    made.data = at + (EDGEQ_ALIGNMENT - (uintptr_t)at % EDGEQ_ALIGNMENT);
    made.bytes = bytes;
  }
  return made;
}

/* A whole file; no data when it cannot be read. */
static block read_file(const char *path) {
  block file = {NULL, NULL, 0};
  FILE *from = fopen(path, "rb");
  if (!from) return file;
  if (fseek(from, 0, SEEK_END) == 0 && ftell(from) > 0) file = allocate((size_t)ftell(from));
  rewind(from);
  if (file.data && fread(file.data, 1, file.bytes, from) != file.bytes) file.data = NULL;
  fclose(from);
  return file;
}

/* Opens the model, in as much memory as it asks for. */
static eq_model_status open_model(eq_model **model, block pte, block *memory) {
  size_t bytes = 0;
  eq_model_status status = eq_model_open(model, pte.data, pte.bytes, NULL, &bytes);
  while (status == EQ_MODEL_NO_MEMORY) {
    free(memory->from_malloc);
    *memory = allocate(bytes);
    if (!memory->data) break;
    status = eq_model_open(model, pte.data, pte.bytes, memory->data, &bytes);
  }
  return status;
}

static int run(eq_model *model, block samples, FILE *out) {
  eq_tensor_view x, y;
  if (eq_model_input(model, 0, &x) != EQ_MODEL_OK || samples.bytes % x.bytes) return 1;
  for (size_t at = 0; at < samples.bytes; at += x.bytes) {
    memcpy(x.data, (unsigned char *)samples.data + at, x.bytes);
    if (eq_model_run(model) != EQ_MODEL_OK || eq_model_output(model, 0, &y) != EQ_MODEL_OK) return 1;
    if (fwrite(y.data, 1, y.bytes, out) != y.bytes) return 1;
  }
  return 0;
}

int main(int argc, char **argv) {
  if (argc < 4) {
    fprintf(stderr, "usage: %s MODEL.pte INPUT OUTPUT [dotprod [i8mm]]\n", argv[0]);
    return 2;
  }
  if (argc > 4) eq_model_allow_dotprod();
  if (argc > 5) eq_model_allow_i8mm();
  block pte = read_file(argv[1]), samples = read_file(argv[2]), memory = {NULL, NULL, 0};
  FILE *out = fopen(argv[3], "wb");
  int failed = 1;
  if (pte.data && samples.data && out && eq_version() >> 16 == EDGEQ_VERSION_MAJOR) {
    eq_model *model = NULL;
    const eq_model_status status = open_model(&model, pte, &memory);
    if (status == EQ_MODEL_OK)
      failed = run(model, samples, out);
    else
      fprintf(stderr, "%s: %s\n", argv[1], eq_model_status_text(status));
    eq_model_close(model);
  }
  printf("%s\n", eq_model_isa());
  if (out) failed |= fclose(out) != 0;
  free(memory.from_malloc);
  free(samples.from_malloc);
  free(pte.from_malloc);
  return failed;
}
