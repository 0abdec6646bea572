#include "edgeq/types.h"

const char *eq_status_text(eq_status status) {
  switch (status) {
  case EQ_OK: return "ok";
  case EQ_BAD_ARGUMENT: return "a pointer is missing, or a parameter has a value that this operator does not take";
  case EQ_BAD_SHAPE: return "the extents are zero, do not fit together, or have a product past 2^31 - 1";
  case EQ_NO_SCRATCH: return "scratch is missing, smaller than the operator asked for, or not 64-byte aligned";
  }
  return "unknown status";
}
