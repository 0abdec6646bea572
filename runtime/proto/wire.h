/* Reading and writing payloads, little-endian, with one sticky flag instead of a check per field. */
#ifndef EDGEQ_WIRE_H
#define EDGEQ_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline void eq_copy(uint8_t *to, const uint8_t *from, size_t count) {
  for (size_t i = 0; i < count; i++) to[i] = from[i];
}

static inline uint64_t eq_load_le(const uint8_t *at, unsigned bytes) {
  uint64_t value = 0;
  for (unsigned i = bytes; i-- > 0;) value = value << 8 | at[i];
  return value;
}

static inline void eq_store_le(uint8_t *at, uint64_t value, unsigned bytes) {
  for (unsigned i = 0; i < bytes; i++) at[i] = (uint8_t)(value >> 8 * i);
}

typedef struct {
  const uint8_t *at, *end;
  bool bad; /* something was read past the end */
} eq_reader;

static inline size_t eq_left(const eq_reader *r) { return (size_t)(r->end - r->at); }

/* The next count bytes, or NULL. */
static inline const uint8_t *eq_take(eq_reader *r, size_t count) {
  if (r->bad || count > eq_left(r)) {
    r->bad = true;
    return NULL;
  }
  const uint8_t *at = r->at;
  r->at += count;
  return at;
}

static inline uint64_t eq_take_le(eq_reader *r, unsigned bytes) {
  const uint8_t *at = eq_take(r, bytes);
  return at ? eq_load_le(at, bytes) : 0;
}

/* A text field into a terminated buffer of size bytes; too long a text, or one with a zero in it, is bad. */
static inline void eq_take_text(eq_reader *r, char *out, size_t size) {
  const size_t length = (size_t)eq_take_le(r, 1);
  const uint8_t *at = eq_take(r, length);
  out[0] = 0;
  if (!at) return;
  if (length >= size) {
    r->bad = true;
    return;
  }
  for (size_t i = 0; i < length; i++) {
    if (at[i] == 0) r->bad = true;
    out[i] = (char)at[i];
  }
  out[length] = 0;
}

typedef struct {
  uint8_t *at, *end;
  bool full; /* something did not fit */
} eq_writer;

static inline size_t eq_room(const eq_writer *w) { return (size_t)(w->end - w->at); }

/* Space for count bytes, or NULL. */
static inline uint8_t *eq_give(eq_writer *w, size_t count) {
  if (w->full || count > eq_room(w)) {
    w->full = true;
    return NULL;
  }
  uint8_t *at = w->at;
  w->at += count;
  return at;
}

static inline void eq_give_le(eq_writer *w, uint64_t value, unsigned bytes) {
  uint8_t *at = eq_give(w, bytes);
  if (at) eq_store_le(at, value, bytes);
}

static inline void eq_give_bytes(eq_writer *w, const uint8_t *bytes, size_t count) {
  uint8_t *at = eq_give(w, count);
  if (at) eq_copy(at, bytes, count);
}

/* At most 255 bytes of it. */
static inline void eq_give_text(eq_writer *w, const char *text) {
  size_t length = 0;
  while (length < 255 && text[length]) length++;
  eq_give_le(w, length, 1);
  uint8_t *at = eq_give(w, length);
  for (size_t i = 0; at && i < length; i++) at[i] = (uint8_t)text[i];
}

#endif
