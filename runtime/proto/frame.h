/* Framing: sealing a frame, and an incremental parser that survives any bytes. The layout is in frames.def. */
#ifndef EDGEQ_FRAME_H
#define EDGEQ_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "frames.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { EQ_FRAME_HEADER = 9, EQ_FRAME_TAIL = 4, EQ_FRAME_EXTRA = EQ_FRAME_HEADER + EQ_FRAME_TAIL };

/* CRC-32 as in zlib; start with 0, go on with the value returned. */
uint32_t eq_crc32(uint32_t crc, const uint8_t *bytes, size_t count);

/* Puts header and tail around length bytes of payload that already lie at frame + EQ_FRAME_HEADER.
 * frame   EQ_FRAME_HEADER + length + EQ_FRAME_TAIL bytes
 * return  bytes of the whole frame */
size_t eq_frame_seal(uint8_t *frame, uint8_t type, uint16_t seq, uint32_t length);

typedef struct {
  uint8_t type;
  uint16_t seq;
  uint32_t length, crc;
  const uint8_t *payload; /* [length], valid until the parser is fed again */
} eq_frame;

typedef struct {
  uint8_t *frame;          /* [capacity + EQ_FRAME_EXTRA], the caller's */
  uint32_t capacity, have; /* the longest payload; bytes of the current frame */
} eq_parser;

typedef enum { EQ_PARSE_MORE = 0, EQ_PARSE_FRAME, EQ_PARSE_TOO_LONG, EQ_PARSE_BAD_CRC } eq_parse;

/* frame  [capacity + EQ_FRAME_EXTRA] */
void eq_parser_init(eq_parser *parser, uint8_t *frame, uint32_t capacity);

/* Reads until something is to be told or the bytes are used up; *used says how many were. After any result but
 * EQ_PARSE_MORE the parser looks for the next magic. Bytes that belong to no frame are skipped in silence. */
eq_parse eq_parser_feed(eq_parser *parser, const uint8_t *bytes, size_t count, size_t *used, eq_frame *frame);

/* Is a frame begun but not complete? Then a pause of the sender is a fault: */
static inline bool eq_parser_pending(const eq_parser *parser) { return parser->have > 0; }
/* forget it and look for the next magic. */
static inline void eq_parser_drop(eq_parser *parser) { parser->have = 0; }

#ifdef __cplusplus
}
#endif
#endif
