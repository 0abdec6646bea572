/* From a value in the file to its record. */
#include "program.h"

enum { VALUE_KIND = 0, VALUE_TABLE = 1, VALUE_CONTENT = 0 };
enum {
  TENSOR_TYPE = 0,
  TENSOR_OFFSET,
  TENSOR_SIZES,
  TENSOR_ORDER,
  TENSOR_BUFFER = 5,
  TENSOR_PLACE,
  TENSOR_DYNAMISM = 8,
  TENSOR_EXTRA
};
enum { PLACE_MEMORY = 0, PLACE_OFFSET, PLACE_OFFSET_HIGH };
enum { EXTRA_LOCATION = 2 };
enum { SUBSEGMENT_INDEX = 0, SUBSEGMENT_OFFSETS = 1, SEGMENT_OFFSET = 0, SEGMENT_BYTES = 1 };
enum { MOST_ELEMENTS = 1 << 27 };

uint32_t eqm_type_bytes(uint32_t type) {
  static const uint8_t bytes[] = {[EQM_U8] = 1,  [EQM_I8] = 1,  [EQM_I16] = 2, [EQM_I32] = 4,
                                  [EQM_I64] = 8, [EQM_F16] = 2, [EQM_F32] = 4, [EQM_BOOL] = 1};
  return type < sizeof bytes ? bytes[type] : 0;
}

/* Position of entry `index` of a table of offsets into a segment, with `bytes` readable. */
static uint32_t in_segment(eqm_reader *r, const eqm_program *p, uint32_t table, uint32_t index, uint32_t bytes) {
  const uint32_t segment = eqm_u32(r, table, SUBSEGMENT_INDEX);
  const eqm_vector offsets = eqm_vector_of(r, table, SUBSEGMENT_OFFSETS, EQM_ELEMENTS(8, EQM_ANY));
  if (p->segments_at == 0 || segment >= eqm_count(r, p->segments) || index >= eqm_count(r, offsets))
    return eqm_fault(r, EQM_BAD_FORMAT);
  const uint32_t description = eqm_table_at(r, p->segments, segment);
  const uint32_t start = eqm_u64(r, description, SEGMENT_OFFSET), size = eqm_u64(r, description, SEGMENT_BYTES);
  const uint32_t offset = eqm_u64_at(r, offsets, index), room = p->length - p->segments_at;
  if (start > room || size > room - start || offset > size || bytes > size - offset)
    return eqm_fault(r, EQM_BAD_FORMAT);
  return p->segments_at + start + offset;
}

static void read_shape(eqm_reader *r, uint32_t table, eqm_value *v) {
  const eqm_vector sizes = eqm_vector_of(r, table, TENSOR_SIZES, EQM_ELEMENTS(4, EQM_MOST_DIMS)),
                   order = eqm_vector_of(r, table, TENSOR_ORDER, EQM_ELEMENTS(1, EQM_MOST_DIMS));
  const uint32_t rank = eqm_count(r, sizes), first = sizes + 4;
  if (eqm_count(r, order) != rank) eqm_fault(r, EQM_NOT_MICRO);
  if (first % sizeof(int32_t)) eqm_fault(r, EQM_UNALIGNED);
  if (r->status != EQM_OK) return;
  v->rank = (uint8_t)rank;
  v->size = (const int32_t *)(const void *)(r->base + first);
  v->count = 1;
  for (uint32_t i = 0; i < rank; i++) {
    const uint32_t extent = eqm_u32_at(r, sizes, i);
    if (r->base[order + 4 + i] != i) eqm_fault(r, EQM_NOT_MICRO); /* only rows in order */
    if (v->count && extent > MOST_ELEMENTS / v->count)
      eqm_fault(r, EQM_TOO_LARGE);
    else
      v->count *= extent;
  }
}

static void read_tensor(eqm_method *m, uint32_t table, eqm_value *v) {
  eqm_reader *r = &m->reader;
  v->type = (uint8_t)eqm_u8(r, table, TENSOR_TYPE);
  const uint32_t width = eqm_type_bytes(v->type);
  if (width == 0 || eqm_u32(r, table, TENSOR_OFFSET) || eqm_u8(r, table, TENSOR_DYNAMISM)) eqm_fault(r, EQM_NOT_MICRO);
  read_shape(r, table, v);
  const uint32_t buffer = eqm_u32(r, table, TENSOR_BUFFER), place = eqm_table(r, table, TENSOR_PLACE);
  if (r->status != EQM_OK) return;
  const uint32_t bytes = v->count * width; /* at most 2^30 */
  uint8_t *data;
  if (place) {
    const uint32_t memory = eqm_u32(r, place, PLACE_MEMORY) - 1, offset = eqm_u32(r, place, PLACE_OFFSET);
    if (eqm_u32(r, place, PLACE_OFFSET_HIGH) || memory >= EQM_ARENAS || offset > m->arena_bytes[memory] ||
        bytes > m->arena_bytes[memory] - offset) {
      eqm_fault(r, EQM_BAD_FORMAT);
      return;
    }
    data = m->arena[memory] + offset;
    v->writable = true;
  } else {
    const uint32_t extra = eqm_table(r, table, TENSOR_EXTRA);
    if (buffer == 0 || (extra && eqm_u8(r, extra, EXTRA_LOCATION))) eqm_fault(r, EQM_NOT_MICRO); /* not in the file */
    data = (uint8_t *)(uintptr_t)(r->base + in_segment(r, m->program, m->program->constants, buffer, bytes));
  }
  if (r->status == EQM_OK && (uintptr_t)data % width) eqm_fault(r, EQM_UNALIGNED);
  v->data = v->count ? data : NULL;
}

static void read_int(eqm_reader *r, uint32_t table, eqm_value *v) {
  const uint32_t at = eqm_field(r, table, VALUE_CONTENT, 8);
  if (at == 0) return;
  const uint32_t low = eqm_load32(r->base + at), high = eqm_load32(r->base + at + 4);
  if (high != (low >> 31 ? UINT32_MAX : 0)) eqm_fault(r, EQM_TOO_LARGE);
  v->integer = (int32_t)low;
}

/* double to float in integers, to nearest even; what is below the normal floats becomes 0. */
static void read_double(eqm_reader *r, uint32_t table, eqm_value *v) {
  const uint32_t at = eqm_field(r, table, VALUE_CONTENT, 8);
  if (at == 0) return;
  const uint32_t low = eqm_load32(r->base + at), high = eqm_load32(r->base + at + 4);
  const uint32_t exponent = high >> 20 & 0x7ff, infinity = 0x7f800000;
  union {
    uint32_t bits;
    float number;
  } f = {0};
  if (exponent > 1023 - 127) {
    const uint32_t dropped = low << 3, half = 0x80000000;
    f.bits = (exponent - (1023 - 127)) << 23 | (high & 0xfffff) << 3 | low >> 29;
    if (dropped > half || (dropped == half && f.bits % 2)) f.bits++;
    if (exponent > 1023 + 127 || f.bits >= infinity) eqm_fault(r, EQM_TOO_LARGE);
  }
  f.bits |= high & 0x80000000;
  v->number = f.number;
}

/* A value that lists no others. wanted: the kind that it must have, 0: any. */
static void read_plain(eqm_method *m, uint32_t number, uint32_t wanted) {
  eqm_reader *r = &m->reader;
  if (number >= eqm_count(r, m->values)) {
    eqm_fault(r, EQM_BAD_FORMAT);
    return;
  }
  eqm_value *v = &m->records[number];
  if (v->kind == 0) {
    const uint32_t entry = eqm_table_at(r, m->values, number), kind = eqm_u8(r, entry, VALUE_KIND);
    const uint32_t table = eqm_table(r, entry, VALUE_TABLE);
    v->kind = (uint8_t)kind;
    switch (kind) {
    case EQM_NULL:
    case EQM_INT_LIST:
    case EQM_TENSOR_LIST: break;
    case EQM_INT: read_int(r, table, v); break;
    case EQM_BOOLEAN: v->integer = eqm_u8(r, table, VALUE_CONTENT) != 0; break;
    case EQM_DOUBLE: read_double(r, table, v); break;
    case EQM_TENSOR: read_tensor(m, table, v); break;
    default: eqm_fault(r, EQM_NOT_MICRO);
    }
  }
  if (wanted && v->kind != wanted) eqm_fault(r, EQM_BAD_FORMAT);
}

void eqm_decode(eqm_method *m, uint32_t number) {
  eqm_reader *r = &m->reader;
  read_plain(m, number, 0);
  if (r->status != EQM_OK) return;
  eqm_value *v = &m->records[number];
  const bool ints = v->kind == EQM_INT_LIST;
  if ((!ints && v->kind != EQM_TENSOR_LIST) || v->items) return;
  const uint32_t table = eqm_table(r, eqm_table_at(r, m->values, number), VALUE_TABLE);
  const uint32_t width = ints ? 8 : 4; /* an item is a value number */
  const eqm_vector items = eqm_vector_of(r, table, VALUE_CONTENT, EQM_ELEMENTS(width, EQM_MOST_ITEMS));
  for (uint32_t i = 0; i < eqm_count(r, items); i++)
    read_plain(m, ints ? eqm_u64_at(r, items, i) : eqm_u32_at(r, items, i), ints ? EQM_INT : EQM_TENSOR);
  v->type = (uint8_t)width;
  v->count = eqm_count(r, items);
  v->items = r->base + items + 4;
}

uint32_t eqm_first_bytes(eqm_method *m, uint32_t number) {
  eqm_reader *r = &m->reader;
  const uint32_t entry = eqm_table_at(r, m->values, number);
  if (eqm_u8(r, entry, VALUE_KIND) != EQM_TENSOR) return 0;
  const uint32_t table = eqm_table(r, entry, VALUE_TABLE), buffer = eqm_u32(r, table, TENSOR_BUFFER);
  if (buffer == 0 || eqm_table(r, table, TENSOR_PLACE) == 0) return 0;
  eqm_decode(m, number);
  const eqm_value *v = &m->records[number];
  return r->status == EQM_OK ? in_segment(r, m->program, m->program->states, buffer, v->count * eqm_type_bytes(v->type))
                             : 0;
}
