/* Which of several kernels runs, where all of them give the same bits: limits by the shape of a product, a set of them
 * for each instruction set. They change speed and scratch sizes, never a result. */
#ifndef EDGEQ_CHOICES_H
#define EDGEQ_CHOICES_H

#include "isa.h"

#ifdef __cplusplus
extern "C" {
#endif
#pragma GCC visibility push(default)

typedef enum {
  EQ_CHOICE_B1_ROWS = 0,   /* bits, at most so many rows (pixels of a 1x1 kernel): canonical weights, no tiles */
  EQ_CHOICE_B1_UNIT,       /* bits, a linear layer: outputs that rows meet one after the other */
  EQ_CHOICE_I8_ROWS,       /* int8 x 1 to 8 bits, at most so many rows: canonical weights, no tiles */
  EQ_CHOICE_T2_ROWS,       /* int8 x ternary tiled ahead, at most so many rows: codes as they are; else int8 tiles */
  EQ_CHOICE_T2_WORDS,      /* the same: words of 16 inputs that are made into int8 tiles at once */
  EQ_CHOICE_I4_ROWS,       /* int8 x 4 bits, at most so many rows: canonical weights, no tiles */
  EQ_CHOICE_I4_TILED_ROWS, /* int8 x 4 bits tiled ahead, at most so many rows: codes as they are; else int8 tiles */
  EQ_CHOICE_SHIFT_ROWS, /* int8 x powers of two tiled ahead, at most so many rows: codes as they are; else int8 tiles */
  EQ_CHOICE_SHARED,     /* 2^10 multiply-adds from which ports share an operator out to threads */
  EQ_CHOICE_COUNT
} eq_choice_id;

/* Name as in a table, "b1-rows" and so on; NULL past the last one. */
const char *eq_choice_name(eq_choice_id id);
/* The limits of a value; false: no such choice. A value is a multiple of the least one, unless that is 0 or 1. */
bool eq_choice_range(eq_choice_id id, uint32_t *least, uint32_t *most);
/* What is built in. */
uint32_t eq_choice_default(eq_isa isa, eq_choice_id id);
/* What is in force. */
uint32_t eq_choice_get(eq_isa isa, eq_choice_id id);
/* From the next call on, process-wide. EQ_BAD_ARGUMENT: outside the limits. Scratch sizes that were asked for before
 * may then be too small, which operators refuse; so set choices first. */
eq_status eq_choice_set(eq_isa isa, eq_choice_id id, uint32_t value);

/* Sets all choices that a table names, or none: EQ_BAD_ARGUMENT, and the number of the first wrong line in *line.
 * `text` is any bytes. Its first line is EQ_CHOICES_TITLE; then "ISA CHOICE VALUE", each pair once; empty lines and
 * lines that begin with '#' are skipped. Instruction sets of other machines are allowed. */
#define EQ_CHOICES_TITLE "edgeq kernels 1"
enum { EQ_CHOICES_BYTES = 1 << 14 }; /* largest table */
eq_status eq_choices_read(const char *text, size_t bytes, uint32_t *line);

#pragma GCC visibility pop
#ifdef __cplusplus
}
#endif
#endif
