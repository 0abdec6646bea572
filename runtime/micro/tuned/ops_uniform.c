/* The tuned convolutions of ops_uniform.c. */
#define EQM_TUNED
#include "micro/ops_uniform.c"
