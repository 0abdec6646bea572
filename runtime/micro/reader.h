/* Checked access to flatbuffer tables. A position is an offset from the start of the file; 0 stands for what is absent.
 * After the first fault everything reads as 0, so that a step asks for the status once, at its end. */
#ifndef EQM_READER_H
#define EQM_READER_H

#include "micro.h"

/* gcc counts the bytes of a load, and would call a function where one instruction does. */
#define EQM_INLINE __attribute__((always_inline)) static inline

EQM_INLINE uint32_t eqm_load16(const uint8_t *p) { return (uint32_t)p[0] | (uint32_t)p[1] << 8; }
/* Bytewise, since a hostile position may be odd; compilers make one load of it where the machine allows. */
EQM_INLINE uint32_t eqm_load32(const uint8_t *p) {
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
/* A vector of elements of so many bytes, at most `most` of them. */
#define EQM_ELEMENTS(bytes, most) ((bytes) << 16 | (most))
enum { EQM_ANY = 0xffff };
eqm_vector eqm_vector_of(eqm_reader *r, uint32_t table, unsigned id, uint32_t elements);
uint32_t eqm_count(const eqm_reader *r, eqm_vector v);

/* Elements; i < eqm_count(r, v) is the caller's. */
uint32_t eqm_table_at(eqm_reader *r, eqm_vector v, uint32_t i);
uint32_t eqm_u32_at(const eqm_reader *r, eqm_vector v, uint32_t i);
uint32_t eqm_u64_at(eqm_reader *r, eqm_vector v, uint32_t i);

#endif
