/* EdgeQ in a program of your own: a compiled model (`edgeq compile MODEL --target micro`) in memory that you own.
 *
 *   size_t bytes = 0;
 *   eq_model *model = NULL;
 *   while (eq_model_open(&model, pte, pte_bytes, memory, &bytes) == EQ_MODEL_NO_MEMORY)
 *     memory = bigger(memory, bytes);
 *   eq_tensor_view x, y;
 *   eq_model_input(model, 0, &x);
 *   memcpy(x.data, samples, x.bytes);                          before every run: its memory is used again
 *   eq_model_run(model);
 *   eq_model_output(model, 0, &y);
 *
 * C99 and C++. No libc, no threads, no global state but the choice of instruction set. The library never allocates and
 * keeps nothing that close would have to give back: when the memory goes, the model is gone. Different models may run
 * in different threads at the same time, one model in one thread. Nothing is thrown, and no call aborts. */
#ifndef EDGEQ_EDGEQ_H
#define EDGEQ_EDGEQ_H

#include <stddef.h>
#include <stdint.h>

#define EDGEQ_VERSION_MAJOR 1 /* grows when a program that was compiled against the older header must be changed */
#define EDGEQ_VERSION_MINOR 0 /* grows when something is added */
#define EDGEQ_ALIGNMENT 64    /* of the memory; the program needs 16 */
#define EDGEQ_MOST_DIMS 6

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  EQ_MODEL_OK = 0,
  EQ_MODEL_BAD_HEADER,   /* not a program of a known version, or cut short */
  EQ_MODEL_BAD_FORMAT,   /* damaged */
  EQ_MODEL_TOO_LARGE,    /* past a limit of this library */
  EQ_MODEL_NOT_FOUND,    /* no such method */
  EQ_MODEL_NOT_MICRO,    /* not compiled with --target micro */
  EQ_MODEL_NO_OPERATOR,  /* uses an operator that this library does not have */
  EQ_MODEL_BAD_ARGUMENT, /* a value in the program that an operator does not take */
  EQ_MODEL_NO_MEMORY,    /* the memory is too small */
  EQ_MODEL_UNALIGNED,    /* the program or the memory does not lie on its boundary */
  EQ_MODEL_BAD_CALL,     /* a null pointer, a closed model, an index past the end */
} eq_model_status;

enum {
  EQ_TYPE_U8 = 0,
  EQ_TYPE_I8 = 1,
  EQ_TYPE_I16 = 2,
  EQ_TYPE_I32 = 3,
  EQ_TYPE_I64 = 4,
  EQ_TYPE_F16 = 5,
  EQ_TYPE_F32 = 6,
  EQ_TYPE_BOOL = 11
};

typedef struct eq_model eq_model;

/* An input or output: data [shape[0]][shape[1]]..., row by row. It stays where it is as long as the model. */
typedef struct {
  void *data;
  size_t bytes;
  int32_t type; /* EQ_TYPE_ */
  int32_t rank;
  int32_t shape[EDGEQ_MOST_DIMS]; /* unused ones 1 */
} eq_tensor_view;

/* (major << 16) | minor of the library; compare the major with EDGEQ_VERSION_MAJOR. */
uint32_t eq_version(void);
/* One line of English, never NULL. */
const char *eq_model_status_text(eq_model_status status);
/* The instruction set in use: "ref", "avx2", "avx-vnni", "avx512", "amx", "neon", "neon-dotprod", "neon-i8mm". */
const char *eq_model_isa(void);
/* On 64-bit Arm only the operating system knows whether the dot product is there, and whether the products of int8
 * matrices are there too: say so before the first model. */
void eq_model_allow_dotprod(void);
void eq_model_allow_i8mm(void);

/* Checks a program and makes its method "forward" ready to run; what it says is hostile until then.
 * pte            16-byte aligned; stays, unchanged, as long as the model
 * memory         64-byte aligned; NULL when *memory_bytes is 0
 * memory_bytes   in: what there is. EQ_MODEL_NO_MEMORY: out: what to try next (twice at most)
 * model          the handle, inside the memory; NULL unless EQ_MODEL_OK */
eq_model_status eq_model_open(eq_model **model, const void *pte, size_t pte_bytes, void *memory, size_t *memory_bytes);
void eq_model_close(eq_model *model); /* later calls are refused; NULL is allowed */
uint32_t eq_model_inputs(const eq_model *model);
uint32_t eq_model_outputs(const eq_model *model);
eq_model_status eq_model_input(const eq_model *model, uint32_t index, eq_tensor_view *view);
eq_model_status eq_model_output(const eq_model *model, uint32_t index, eq_tensor_view *view);
eq_model_status eq_model_run(eq_model *model);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
