/* The tuned convolutions of ops_binary.c. */
#define EQM_TUNED
#include "micro/ops_binary.c"
