/* Weights tiled ahead against int8 activations: what a product needs that is the same for every format of weights. */
#ifndef EQ_CORE_LINEAR_TILED_H
#define EQ_CORE_LINEAR_TILED_H

#include "integer.h"
#include "tiled.h"

typedef struct eq_linear_format eq_linear_format;

typedef struct {
  eq_tiled tiled;
  const eq_linear_format *format;
  const eq_integer_kernels *kernels; /* NULL: the reference */
  eq_linear op;
  const void *packed; /* the tiles */
  const int8_t *x;
  size_t pitch;    /* of the activations, whole words of the format */
  size_t own;      /* rows from one worker's activations to the next's; 0: all workers share them */
  uint8_t *bytes;  /* [workers or 1][m][pitch], offset unless dots */
  bool dots;       /* few rows: codes are multiplied as they are, no int8 tile */
  int32_t *sums;   /* [workers or 1][m] of the activations, dots only */
  uint8_t *memory; /* [workers] of room, int8 weights and their starts; NULL: never made */
  size_t room;
  uint32_t *made; /* [workers][EQ_ALIGN / 4] first output + 1 of what a worker's room holds */
} eq_linear_tiled;

struct eq_linear_format {
  uint32_t word;      /* inputs that a row of activations is padded to multiples of */
  uint32_t unit_rows; /* at most, so that sums, activations and a block of weights share the first-level cache */
  bool (*fit)(const void *tiles, const eq_linear *op); /* for the instruction set in use and this shape? */
  eq_weights (*canonical)(const void *tiles);          /* the weights that the reference's tiles are */
  bool (*dots)(const eq_linear_tiled *l);
  size_t (*room)(const eq_linear_tiled *l); /* bytes of a worker; NULL: products take the tiles as they are */
  void (*accumulate)(const void *operands, const eq_tile *tile, void *acc,
                     size_t pitch); /* operands: eq_linear_tiled */
};

/* The first row of a tile in `bytes` and `sums`. */
static inline size_t eq_linear_row(const eq_linear_tiled *l, const eq_tile *tile) {
  return tile->worker * l->own + tile->line;
}

/* A worker's memory; *made is what it holds, 0 at first. */
static inline uint8_t *eq_linear_room(const eq_linear_tiled *l, unsigned worker, uint32_t **made) {
  *made = l->made + worker * (EQ_ALIGN / sizeof(uint32_t));
  return l->memory + worker * l->room;
}

size_t eq_linear_tiled_scratch(const eq_linear_format *format, const eq_linear *op, const void *tiles,
                               const eq_epilogue *e, const eq_threads *threads);
eq_status eq_linear_tiled_run(const eq_linear_format *format, const eq_linear *op, const int8_t *x, const void *tiles,
                              const eq_epilogue *e, const eq_threads *threads, void *scratch, size_t scratch_bytes);

#endif
