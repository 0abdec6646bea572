#include "frame.h"

#include "wire.h"

uint32_t eq_crc32(uint32_t crc, const uint8_t *bytes, size_t count) {
  /* reflected polynomial EDB88320; four bits at a time, but for a microcontroller, whose line is slower than its bits
   */
  crc = ~crc;
#ifdef EQ_MICRO
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    for (int bit = 0; bit < 8; bit++) crc = crc >> 1 ^ (0xedb88320 & -(crc & 1));
  }
#else
  static const uint32_t nibble[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
      0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ nibble[crc & 15];
    crc = crc >> 4 ^ nibble[crc & 15];
  }
#endif
  return ~crc;
}

static uint32_t frame_crc(const uint8_t *frame, uint32_t length) {
  return eq_crc32(0, frame + 2, EQ_FRAME_HEADER - 2 + (size_t)length);
}

size_t eq_frame_seal(uint8_t *frame, uint8_t type, uint16_t seq, uint32_t length) {
  frame[0] = EQ_MAGIC_0;
  frame[1] = EQ_MAGIC_1;
  frame[2] = type;
  eq_store_le(frame + 3, seq, 2);
  eq_store_le(frame + 5, length, 4);
  eq_store_le(frame + EQ_FRAME_HEADER + length, frame_crc(frame, length), 4);
  return EQ_FRAME_EXTRA + (size_t)length;
}

void eq_parser_init(eq_parser *parser, uint8_t *frame, uint32_t capacity) {
  parser->frame = frame;
  parser->capacity = capacity;
  parser->have = 0;
}

static eq_parse take(eq_parser *p, uint8_t byte, eq_frame *out) {
  uint8_t *frame = p->frame;
  frame[p->have++] = byte;
  if (p->have <= 2) {
    if (byte != (p->have == 1 ? EQ_MAGIC_0 : EQ_MAGIC_1)) p->have = byte == EQ_MAGIC_0;
    return EQ_PARSE_MORE;
  }
  if (p->have < EQ_FRAME_HEADER) return EQ_PARSE_MORE;
  out->length = eq_load_le(frame + 5, 4);
  if (out->length <= p->capacity && p->have < out->length + EQ_FRAME_EXTRA) return EQ_PARSE_MORE;
  p->have = 0;
  if (out->length > p->capacity) return EQ_PARSE_TOO_LONG;
  out->type = frame[2];
  out->seq = (uint16_t)eq_load_le(frame + 3, 2);
  out->payload = frame + EQ_FRAME_HEADER;
  out->crc = eq_load_le(out->payload + out->length, 4);
  return out->crc == frame_crc(frame, out->length) ? EQ_PARSE_FRAME : EQ_PARSE_BAD_CRC;
}

eq_parse eq_parser_feed(eq_parser *p, const uint8_t *bytes, size_t count, size_t *used, eq_frame *frame) {
  eq_parse found = EQ_PARSE_MORE;
  size_t i = 0;
  while (i < count && found == EQ_PARSE_MORE) found = take(p, bytes[i++], frame);
  *used = i;
  return found;
}
