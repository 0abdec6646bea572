#include "frame.h"

#include "wire.h"

uint32_t eq_crc32(uint32_t crc, const uint8_t *bytes, size_t count) {
  /* reflected polynomial EDB88320, four bits at a time: 64 bytes of table suit a microcontroller */
  static const uint32_t nibble[16] = {
      0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
      0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
  };
  crc = ~crc;
  for (size_t i = 0; i < count; i++) {
    crc ^= bytes[i];
    crc = crc >> 4 ^ nibble[crc & 15];
    crc = crc >> 4 ^ nibble[crc & 15];
  }
  return ~crc;
}

size_t eq_frame_seal(uint8_t *frame, uint8_t type, uint16_t seq, uint32_t length) {
  frame[0] = EQ_MAGIC_0;
  frame[1] = EQ_MAGIC_1;
  frame[2] = type;
  eq_store_le(frame + 3, seq, 2);
  eq_store_le(frame + 5, length, 4);
  const uint32_t crc = eq_crc32(0, frame + 2, EQ_FRAME_HEADER - 2 + (size_t)length);
  eq_store_le(frame + EQ_FRAME_HEADER + length, crc, 4);
  return EQ_FRAME_HEADER + (size_t)length + EQ_FRAME_TAIL;
}

void eq_parser_init(eq_parser *parser, uint8_t *payload, uint32_t capacity) {
  parser->payload = payload;
  parser->capacity = capacity;
  parser->have = parser->length = parser->crc = 0;
}

static void take_header_byte(eq_parser *p, uint8_t byte) {
  if (p->have == 0) {
    if (byte == EQ_MAGIC_0) p->have = 1;
  } else if (p->have == 1) {
    p->have = byte == EQ_MAGIC_1 ? 2 : byte == EQ_MAGIC_0 ? 1 : 0;
  } else {
    p->header[p->have++] = byte;
  }
}

static eq_parse finish(eq_parser *p, eq_frame *frame) {
  p->have = 0;
  if (p->crc != eq_load_le(p->tail, 4)) return EQ_PARSE_BAD_CRC;
  frame->type = p->header[2];
  frame->seq = (uint16_t)eq_load_le(p->header + 3, 2);
  frame->length = p->length;
  frame->crc = p->crc;
  frame->payload = p->payload;
  return EQ_PARSE_FRAME;
}

eq_parse eq_parser_feed(eq_parser *p, const uint8_t *bytes, size_t count, size_t *used, eq_frame *frame) {
  size_t i = 0;
  while (i < count) {
    if (p->have < EQ_FRAME_HEADER) {
      take_header_byte(p, bytes[i++]);
      if (p->have == EQ_FRAME_HEADER) {
        p->length = eq_load_le(p->header + 5, 4);
        p->crc = eq_crc32(0, p->header + 2, EQ_FRAME_HEADER - 2);
        if (p->length > p->capacity) {
          p->have = 0;
          *used = i;
          return EQ_PARSE_TOO_LONG;
        }
      }
      continue;
    }
    const uint32_t at = p->have - EQ_FRAME_HEADER;
    if (at < p->length) {
      const size_t left = p->length - at, n = left < count - i ? left : count - i;
      eq_copy(p->payload + at, bytes + i, n);
      p->crc = eq_crc32(p->crc, bytes + i, n);
      p->have += (uint32_t)n;
      i += n;
      continue;
    }
    p->tail[at - p->length] = bytes[i++];
    p->have++;
    if (at - p->length == EQ_FRAME_TAIL - 1) {
      *used = i;
      return finish(p, frame);
    }
  }
  *used = count;
  return EQ_PARSE_MORE;
}
