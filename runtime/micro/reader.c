#include "reader.h"

uint32_t eqm_fault(eqm_reader *r, eqm_status status) {
  if (r->status == EQM_OK) r->status = status;
  return 0;
}

/* The table's size, second word of a vtable, is not read: writers share vtables between tables of different sizes. */
uint32_t eqm_field(eqm_reader *r, uint32_t table, unsigned id, uint32_t bytes) {
  if (r->status != EQM_OK) return 0;
  if (table < 8 || table > r->end - 4) return eqm_fault(r, EQM_BAD_FORMAT);
  const uint32_t vtable = table - eqm_load32(r->base + table); /* a signed distance: wraps modulo 2^32 */
  if (vtable < 8 || vtable > r->end - 4 || vtable % 2) return eqm_fault(r, EQM_BAD_FORMAT);
  const uint32_t vtable_bytes = eqm_load16(r->base + vtable), slot = 4 + 2 * id;
  if (vtable_bytes > r->end - vtable) return eqm_fault(r, EQM_BAD_FORMAT);
  const uint32_t offset = slot + 2 <= vtable_bytes ? eqm_load16(r->base + vtable + slot) : 0;
  if (offset == 0) return 0;
  if (offset < 4 || offset + bytes > r->end - table) return eqm_fault(r, EQM_BAD_FORMAT);
  return table + offset;
}

uint32_t eqm_u8(eqm_reader *r, uint32_t table, unsigned id) {
  const uint32_t at = eqm_field(r, table, id, 1);
  return at ? r->base[at] : 0;
}

uint32_t eqm_u32(eqm_reader *r, uint32_t table, unsigned id) {
  const uint32_t at = eqm_field(r, table, id, 4);
  return at ? eqm_load32(r->base + at) : 0;
}

static uint32_t narrow(eqm_reader *r, uint32_t at) {
  return eqm_load32(r->base + at + 4) ? eqm_fault(r, EQM_TOO_LARGE) : eqm_load32(r->base + at);
}

uint32_t eqm_u64(eqm_reader *r, uint32_t table, unsigned id) {
  const uint32_t at = eqm_field(r, table, id, 8);
  return at ? narrow(r, at) : 0;
}

/* References lead forward, never to themselves: they cannot form a cycle. */
static uint32_t follow(eqm_reader *r, uint32_t at) {
  const uint32_t distance = eqm_load32(r->base + at);
  return distance < 4 || distance > r->end - 4 - at ? eqm_fault(r, EQM_BAD_FORMAT) : at + distance;
}

uint32_t eqm_table(eqm_reader *r, uint32_t table, unsigned id) {
  const uint32_t at = eqm_field(r, table, id, 4);
  return at ? follow(r, at) : 0;
}

eqm_vector eqm_vector_of(eqm_reader *r, uint32_t table, unsigned id, uint32_t elements) {
  const eqm_vector v = eqm_table(r, table, id);
  const uint32_t count = eqm_count(r, v);
  if (count > (r->end - 4 - v) / (elements >> 16)) return eqm_fault(r, EQM_BAD_FORMAT);
  return count > (elements & EQM_ANY) ? eqm_fault(r, EQM_TOO_LARGE) : v;
}

uint32_t eqm_count(const eqm_reader *r, eqm_vector v) { return v ? eqm_load32(r->base + v) : 0; }
uint32_t eqm_u32_at(const eqm_reader *r, eqm_vector v, uint32_t i) { return eqm_load32(r->base + v + 4 + 4 * i); }
uint32_t eqm_u64_at(eqm_reader *r, eqm_vector v, uint32_t i) { return narrow(r, v + 4 + 8 * i); }
uint32_t eqm_table_at(eqm_reader *r, eqm_vector v, uint32_t i) { return follow(r, v + 4 + 4 * i); }
