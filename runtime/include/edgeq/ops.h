/* The operators of the core, by theme. Every operator exists in a readable _ref version and in versions per instruction
 * set that give the same bits; the plain name dispatches. Scratch is 64-byte aligned memory of at least the asked size;
 * a size of 0 means that the operator will refuse these arguments. */
#ifndef EDGEQ_OPS_H
#define EDGEQ_OPS_H

#include "attention.h"
#include "binary.h"
#include "choices.h"
#include "floating.h"
#include "glue.h"
#include "integer.h"
#include "isa.h"
#include "tokens.h"

#endif
