#include "micro.h"

const char *eqm_status_text(eqm_status status) {
  static const char *const texts[] = {
      [EQM_OK] = "ok",
      [EQM_BAD_HEADER] = "not a program of a known version, or cut short",
      [EQM_BAD_FORMAT] = "damaged: a reference leads outside",
      [EQM_TOO_LARGE] = "past a limit of the micro profile",
      [EQM_NOT_FOUND] = "no such method",
      [EQM_NOT_MICRO] = "outside the micro profile",
      [EQM_NO_OPERATOR] = "an operator that this firmware does not have",
      [EQM_BAD_ARGUMENT] = "an argument that its operator does not take",
      [EQM_NO_MEMORY] = "memory is missing or too small",
      [EQM_UNALIGNED] = "memory or data is not aligned",
  };
  return (unsigned)status < sizeof texts / sizeof *texts ? texts[status] : "unknown status";
}
