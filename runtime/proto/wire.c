#include "wire.h"

void eq_copy(uint8_t *to, const uint8_t *from, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = from[i];
}

uint32_t eq_load_le(const uint8_t *at, unsigned bytes) {
  uint32_t value = 0;
  for (unsigned i = bytes; i-- > 0;) value = value << 8 | at[i];
  return value;
}

void eq_store_le(uint8_t *at, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++, value >>= 8) at[i] = (uint8_t)value;
}

const uint8_t *eq_take(eq_reader *r, size_t count) {
  if (r->bad || count > eq_left(r)) {
    r->bad = true;
    return NULL;
  }
  const uint8_t *at = r->at;
  r->at += count;
  return at;
}

const uint8_t *eq_take_rest(eq_reader *r, size_t *count) {
  *count = r->bad ? 0 : eq_left(r);
  return eq_take(r, *count);
}

uint32_t eq_take_le(eq_reader *r, unsigned bytes) {
  const uint8_t *at = eq_take(r, bytes);
  return at ? eq_load_le(at, bytes) : 0;
}

size_t eq_take_size(eq_reader *r) {
  const uint32_t low = eq_take_le(r, 4), high = eq_take_le(r, 4);
#if SIZE_MAX > UINT32_MAX
  return (size_t)high << 32 | low;
#else
  return high ? SIZE_MAX : low;
#endif
}

void eq_take_text(eq_reader *r, char *out, size_t size) {
  const size_t length = eq_take_le(r, 1);
  const uint8_t *at = eq_take(r, length);
  r->bad |= length >= size;
  for (size_t i = 0; i < size; i++) {
    out[i] = !r->bad && i < length ? (char)at[i] : 0;
    r->bad |= i < length && !out[i];
  }
}

uint8_t *eq_give(eq_writer *w, size_t count) {
  if (w->full || count > eq_room(w)) {
    w->full = true;
    return NULL;
  }
  uint8_t *at = w->at;
  w->at += count;
  return at;
}

void eq_give_le(eq_writer *w, uint32_t value, unsigned bytes) {
  uint8_t *at = eq_give(w, bytes);
  if (at) eq_store_le(at, value, bytes);
}

void eq_give_u64(eq_writer *w, uint64_t value) {
  uint8_t *at = eq_give(w, 8);
  if (at) eq_store_le(at, value, 8);
}

void eq_give_size(eq_writer *w, size_t value) { eq_give_u64(w, value); }

void eq_give_bytes(eq_writer *w, const uint8_t *bytes, size_t count) {
  uint8_t *at = eq_give(w, count);
  if (at) eq_copy(at, bytes, count);
}

void eq_give_text(eq_writer *w, const char *text) {
  size_t length = 0;
  while (length < 255 && text[length]) length++;
  eq_give_le(w, (uint32_t)length, 1);
  eq_give_bytes(w, (const uint8_t *)text, length);
}
