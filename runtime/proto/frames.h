/* The constants of frames.def as C enumerations. */
#ifndef EDGEQ_FRAMES_H
#define EDGEQ_FRAMES_H

#include <stdint.h>

#define EQ_CONST(name, value) EQ_##name = (value),
#define EQ_DTYPE(name, code, bytes)
#define EQ_STRUCT(name, layout)
#define EQ_FRAME(name, type, request, answer)
#define EQ_CODE(name, code)
enum {
#include "frames.def"
};
#undef EQ_CONST
#undef EQ_FRAME
#undef EQ_CODE

#define EQ_CONST(name, value)
#define EQ_FRAME(name, type, request, answer) EQ_TYPE_##name = (type),
#define EQ_CODE(name, code)
enum {
#include "frames.def"
};
#undef EQ_FRAME
#undef EQ_CODE

#define EQ_FRAME(name, type, request, answer)
#define EQ_CODE(name, code) EQ_CODE_##name = (code),
typedef enum {
#include "frames.def"
} eq_code;
#undef EQ_CODE
#undef EQ_DTYPE

#define EQ_CODE(name, code)
#define EQ_DTYPE(name, code, bytes) EQ_DTYPE_##name = (code),
enum {
#include "frames.def"
};
#undef EQ_DTYPE

/* Bytes of one element, 0 for an unknown type. */
static inline uint32_t eq_dtype_bytes(uint8_t dtype) {
  switch (dtype) {
#define EQ_DTYPE(name, code, bytes)                                                                                    \
  case (code): return (bytes);
#include "frames.def"
#undef EQ_DTYPE
  default: return 0;
  }
}

#undef EQ_CONST
#undef EQ_STRUCT
#undef EQ_FRAME
#undef EQ_CODE

#endif
