/* A model in five calls, for firmware that runs one and has one piece of memory for it.
 *
 *   static _Alignas(EQM_ALIGNMENT) uint8_t memory[MEMORY];
 *   eqm_model model;
 *   eqm_status status = eqm_model_init(&model, pte, sizeof pte, memory, sizeof memory);
 *   if (status != EQM_OK) say(eqm_status_text(status), eqm_model_memory(&model));
 *   memcpy(eqm_model_input(&model, 0, NULL), samples, sizeof samples);      before every run
 *   status = eqm_model_run(&model);
 *   const float *logits = eqm_model_output(&model, 0, &bytes);
 *
 * The file and the memory lie on 16-byte boundaries; `edgeq compile --target micro` tells the size beforehand. For
 * several methods, kept state or memory in pieces use micro.h, which this is made of. */
#ifndef EDGEQ_MICRO_MODEL_H
#define EDGEQ_MICRO_MODEL_H

#include "micro.h"

typedef struct {
  eqm_program program;
  eqm_method method;
  size_t needed;
  void *scratch;
} eqm_model;

/* Checks the file and makes its method "forward" ready to run. EQM_NO_MEMORY: see eqm_model_memory. */
eqm_status eqm_model_init(eqm_model *model, const void *pte, size_t bytes, void *memory, size_t memory_bytes);
/* Bytes of memory that the model takes. After EQM_NO_MEMORY at least so many; 0: the file is not sound. */
size_t eqm_model_memory(const eqm_model *model);
/* Where input or output i lies, and how many bytes it has (bytes may be NULL). NULL: there is none. */
void *eqm_model_input(const eqm_model *model, uint32_t i, size_t *bytes);
const void *eqm_model_output(const eqm_model *model, uint32_t i, size_t *bytes);
eqm_status eqm_model_run(const eqm_model *model);
/* Words for a status: eqm_status_text (micro.h). */

#endif
