/* Reading and writing payloads, little-endian, with one sticky flag instead of a check per field. */
#ifndef EDGEQ_WIRE_H
#define EDGEQ_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void eq_copy(uint8_t *to, const uint8_t *from, size_t count);
uint32_t eq_load_le(const uint8_t *at, unsigned bytes); /* at most 4 */
void eq_store_le(uint8_t *at, uint64_t value, unsigned bytes);

typedef struct {
  const uint8_t *at, *end;
  bool bad; /* something was read past the end */
} eq_reader;

static inline size_t eq_left(const eq_reader *r) { return (size_t)(r->end - r->at); }

/* The next count bytes, or NULL. */
const uint8_t *eq_take(eq_reader *r, size_t count);
/* The rest, which may be empty; *count: its bytes. */
const uint8_t *eq_take_rest(eq_reader *r, size_t *count);
/* A u8, u16 or u32, 0 past the end. */
uint32_t eq_take_le(eq_reader *r, unsigned bytes);
/* A u64 that is a size or an offset; SIZE_MAX for what no memory of this machine can have. */
size_t eq_take_size(eq_reader *r);
/* A text field into a terminated buffer of size bytes; too long a text, or one with a zero in it, is bad. */
void eq_take_text(eq_reader *r, char *out, size_t size);

typedef struct {
  uint8_t *at, *end;
  bool full; /* something did not fit */
} eq_writer;

static inline size_t eq_room(const eq_writer *w) { return (size_t)(w->end - w->at); }

/* Space for count bytes, or NULL. */
uint8_t *eq_give(eq_writer *w, size_t count);
void eq_give_le(eq_writer *w, uint32_t value, unsigned bytes);
void eq_give_u64(eq_writer *w, uint64_t value);
void eq_give_size(eq_writer *w, size_t value);
void eq_give_bytes(eq_writer *w, const uint8_t *bytes, size_t count);
/* At most 255 bytes of it. */
void eq_give_text(eq_writer *w, const char *text);

#ifdef __cplusplus
}
#endif
#endif
