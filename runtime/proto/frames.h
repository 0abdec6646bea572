/* The constants of frames.def as C enumerations. */
#ifndef EDGEQ_FRAMES_H
#define EDGEQ_FRAMES_H

#include <stdint.h>

enum {
#define EQ_CONST(name, value) EQ_##name = (value),
#include "frames.def"
};

enum {
#define EQ_FRAME(name, type, request, answer) EQ_TYPE_##name = (type),
#include "frames.def"
};

enum {
#define EQ_DTYPE(name, code, bytes) EQ_DTYPE_##name = (code),
#include "frames.def"
};

typedef enum {
#define EQ_CODE(name, code, meaning) EQ_CODE_##name = (code),
#include "frames.def"
} eq_code;

/* Bytes of one element, 0 for an unknown type. */
static inline uint32_t eq_dtype_bytes(uint8_t dtype) {
  switch (dtype) {
#define EQ_DTYPE(name, code, bytes)                                                                                    \
  case (code): return (bytes);
#include "frames.def"
  default: return 0;
  }
}

#endif
