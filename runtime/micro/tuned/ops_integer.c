/* The tuned convolutions of ops_integer.c. */
#define EQM_TUNED
#include "micro/ops_integer.c"
