/* Checked access to flatbuffer tables. A position is an offset from the start of the file; 0 stands for what is absent.
 * After the first fault everything reads as 0, so that a step asks for the status once, at its end. */
#ifndef EQM_READER_H
#define EQM_READER_H

#include "micro.h"

static inline uint32_t eqm_load16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
/* Bytewise, since a hostile position may be odd; compilers make one load of it where the machine allows. */
static inline uint32_t eqm_load32(const uint8_t *p) {
  return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* Records the first fault; always 0. */
uint32_t eqm_fault(eqm_reader *r, eqm_status status);

/* Where field `id` of a table lies, with `bytes` readable. Absent table: fault. */
uint32_t eqm_field(eqm_reader *r, uint32_t table, unsigned id, uint32_t bytes);
uint32_t eqm_u8(eqm_reader *r, uint32_t table, unsigned id);
uint32_t eqm_u32(eqm_reader *r, uint32_t table, unsigned id);
/* A 64-bit field that must fit 32 bits. */
uint32_t eqm_u64(eqm_reader *r, uint32_t table, unsigned id);
/* The table or vector that a field refers to. */
uint32_t eqm_table(eqm_reader *r, uint32_t table, unsigned id);
/* A vector of `most` elements at most. */
eqm_vector eqm_vector_of(eqm_reader *r, uint32_t table, unsigned id, uint32_t element_bytes, uint32_t most);

/* Elements; i < v.count is the caller's. */
uint32_t eqm_table_at(eqm_reader *r, eqm_vector v, uint32_t i);
uint32_t eqm_u32_at(const eqm_reader *r, eqm_vector v, uint32_t i);
uint32_t eqm_u64_at(eqm_reader *r, eqm_vector v, uint32_t i);

#endif
