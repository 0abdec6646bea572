/* Runs a `.pte` program in place: from flash, in memory that the caller owns, without libc, heap, recursion or globals.
 *
 *   eqm_program program;
 *   eqm_method method;
 *   eqm_open(&program, pte, bytes, eqm_operators, eqm_operator_count);
 *   eqm_find(&method, &program, "forward");          sizes: method.arena_bytes[], method.workspace_bytes
 *   eqm_prepare(&method, arenas, workspace, bytes);  everything is proven now; size: method.scratch_bytes
 *   eqm_input(&method, 0)->data                      written before every run: the planner reuses it
 *   eqm_run(&method, scratch, bytes);
 *   eqm_output(&method, 0)->data
 *
 * The file is hostile until eqm_prepare says EQM_OK, and must not change after that. Start-up writes nothing outside
 * the structures and the workspace. Targets are little-endian. The file, the arenas, the workspace and the scratch
 * memory lie on 16-byte boundaries. Layout of the file: ExecuTorch's program schema, identifier ET12. */
#ifndef EDGEQ_MICRO_H
#define EDGEQ_MICRO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
  EQM_ARENAS = 4,         /* memory ids 1..4 of the planner */
  EQM_MOST_DIMS = 6,      /* of a tensor */
  EQM_MOST_ARGS = 24,     /* of a call */
  EQM_MOST_ITEMS = 64,    /* of a list, and inputs or outputs of a method */
  EQM_MOST_VALUES = 4096, /* of a method */
  EQM_MOST_CALLS = 4096,
  EQM_ALIGNMENT = 16,
};

typedef enum {
  EQM_OK = 0,
  EQM_BAD_HEADER,   /* not a program of a known version, or cut short */
  EQM_BAD_FORMAT,   /* a position, count or number points outside of what it should */
  EQM_TOO_LARGE,    /* past a limit above */
  EQM_NOT_FOUND,    /* no such method */
  EQM_NOT_MICRO,    /* sound, but outside the micro profile: delegate, control flow, dynamic shape, other layout */
  EQM_NO_OPERATOR,  /* the firmware's table does not have it */
  EQM_BAD_ARGUMENT, /* a value that its operator does not take: kind, element type, extents, range */
  EQM_NO_MEMORY,    /* an arena, the workspace or scratch is missing or too small */
  EQM_UNALIGNED,    /* memory, or data in the file, that does not lie where it must */
} eqm_status;

/* One line of English, never NULL. */
const char *eqm_status_text(eqm_status status);

/* Element types as the file numbers them. */
enum { EQM_U8 = 0, EQM_I8 = 1, EQM_I16 = 2, EQM_I32 = 3, EQM_I64 = 4, EQM_F16 = 5, EQM_F32 = 6, EQM_BOOL = 11 };

/* Kinds of values as the file numbers them; 0 is a value that nobody refers to. */
enum {
  EQM_NULL = 1,
  EQM_INT = 2,
  EQM_BOOLEAN = 3,
  EQM_DOUBLE = 4,
  EQM_TENSOR = 5,
  EQM_INT_LIST = 7,
  EQM_TENSOR_LIST = 10,
};

/* A value of a method: 16 bytes on a 32-bit machine. */
typedef struct {
  uint8_t kind;
  uint8_t type, rank; /* of a tensor; type also: bytes of an item of a list */
  bool writable;      /* a tensor in an arena; others lie in the file and are constant */
  union {
    uint8_t *data;        /* tensor, NULL when it has no elements */
    const uint8_t *items; /* list: value numbers, in the file */
    int32_t integer;      /* int, boolean */
    float number;         /* double */
  };
  const int32_t *size; /* tensor: [rank] extents, in the file */
  uint32_t count;      /* elements of a tensor, items of a list */
} eqm_value;

struct eqm_call;

/* An operator of the firmware: "namespace::name.overload" and what it does with a call (call.h). */
typedef struct {
  const char *name;
  void (*execute)(struct eqm_call *call);
} eqm_operator;

/* Everything of the EdgeQ core, for firmware that does not pick. */
extern const eqm_operator eqm_operators[];
extern const uint32_t eqm_operator_count;

/* The fields below are read by the caller where a comment above says so; the rest belongs to the runtime. */
typedef struct {
  const uint8_t *base;
  uint32_t end;      /* of the tables */
  eqm_status status; /* the first fault; whatever is read after it is 0 */
} eqm_reader;

typedef uint32_t eqm_vector; /* position of its count, 0: absent */

typedef struct {
  eqm_reader reader;
  uint32_t length, segments_at; /* of the file; 0: no segments */
  eqm_vector plans, segments;
  uint32_t constants, states; /* tables of offsets into a segment, 0: none */
  const eqm_operator *operators;
  uint32_t operator_count;
} eqm_program;

typedef struct {
  const eqm_program *program;
  eqm_reader reader;
  eqm_vector values, inputs, outputs, operators, instructions;
  uint32_t arena_bytes[EQM_ARENAS]; /* of memory id i + 1; 0: not used */
  uint8_t *arena[EQM_ARENAS];
  uint32_t workspace_bytes, scratch_bytes;
  uint32_t failed_call; /* the call that eqm_prepare refused */
  eqm_value *records;   /* [of values] */
  uint16_t *calls;      /* [of instructions]: operator, arguments, the value number of each argument */
} eqm_method;

/* Checks the header and the outermost table. */
eqm_status eqm_open(eqm_program *program, const void *pte, size_t bytes, const eqm_operator *operators,
                    uint32_t operator_count);
/* Finds a method and tells how much memory it wants. */
eqm_status eqm_find(eqm_method *method, const eqm_program *program, const char *name);
/* Proves every call against its operator. arenas [EQM_ARENAS]: memory of at least arena_bytes[i], NULL where that is
 * 0. Methods may share arena 0 when no result is kept across runs; state lies in the others. */
eqm_status eqm_prepare(eqm_method *method, void *const arenas[EQM_ARENAS], void *workspace, size_t workspace_bytes);
/* Gives mutable buffers their first values. */
eqm_status eqm_reset(eqm_method *method);
/* Executes the method; after eqm_prepare it can fail only for scratch. */
eqm_status eqm_run(const eqm_method *method, void *scratch, size_t scratch_bytes);
/* How many there are. */
uint32_t eqm_input_count(const eqm_method *method);
uint32_t eqm_output_count(const eqm_method *method);
/* Tensor i of a prepared method; NULL: there is none. */
const eqm_value *eqm_input(const eqm_method *method, uint32_t i);
const eqm_value *eqm_output(const eqm_method *method, uint32_t i);

/* Bytes of one element, 0 for a type outside the profile. */
uint32_t eqm_type_bytes(uint32_t type);

#endif
