#include "choices.h"

typedef struct {
  const char *name;
  uint32_t least, most;
} choice;

static const choice choices[EQ_CHOICE_COUNT] = {
    [EQ_CHOICE_B1_ROWS] = {"b1-rows", 0, 63},
    [EQ_CHOICE_B1_UNIT] = {"b1-unit", 64, 1024},
    [EQ_CHOICE_I8_ROWS] = {"i8-rows", 0, 4},
    [EQ_CHOICE_T2_ROWS] = {"t2-rows", 0, 64},
    [EQ_CHOICE_T2_WORDS] = {"t2-words", 4, 512},
    [EQ_CHOICE_I4_ROWS] = {"i4-rows", 0, 8},
    [EQ_CHOICE_I4_TILED_ROWS] = {"i4-tiled-rows", 0, 64},
    [EQ_CHOICE_SHIFT_ROWS] = {"shift-rows", 0, 64},
    [EQ_CHOICE_SHARED] = {"shared", 1, 1 << 20},
};

static uint32_t values[EQ_ISA_COUNT][EQ_CHOICE_COUNT]; /* in force, where CHANGED */

/* x86: what `edgeq bench kernels --tune` chose on a core with AVX-512 VNNI and AVX-VNNI (family 6, model 207). Those of
 * NEON are not measured on a core, nor are those of AMX, whose products need an eighth of AVX-512's cycles. */
static const uint32_t built_in[EQ_ISA_COUNT][EQ_CHOICE_COUNT] = {
    [EQ_ISA_REF] = {3, 256, 4, 4, 24, 1, 2, 0, 1024},          [EQ_ISA_AVX2] = {3, 256, 4, 4, 24, 1, 16, 64, 1024},
    [EQ_ISA_AVX_VNNI] = {3, 256, 4, 32, 24, 1, 32, 32, 1024},  [EQ_ISA_AVX512] = {2, 256, 4, 32, 24, 2, 32, 32, 1024},
    [EQ_ISA_AMX] = {2, 256, 4, 8, 24, 2, 32, 8, 1024},         [EQ_ISA_NEON] = {3, 256, 4, 4, 24, 1, 2, 0, 1024},
    [EQ_ISA_NEON_DOTPROD] = {3, 256, 4, 4, 24, 1, 2, 0, 1024}, [EQ_ISA_NEON_I8MM] = {3, 256, 4, 4, 24, 1, 2, 0, 1024},
};
enum { CHANGED = 1u << 31 }; /* of a value: not what is built in */

static bool known(eq_isa isa, eq_choice_id id) {
  return (unsigned)isa < EQ_ISA_COUNT && (unsigned)id < EQ_CHOICE_COUNT;
}

static bool allowed(eq_choice_id id, uint32_t value) {
  const choice *c = &choices[id];
  return value >= c->least && value <= c->most && (c->least < 2 || value % c->least == 0);
}

const char *eq_choice_name(eq_choice_id id) {
  return (unsigned)id < EQ_CHOICE_COUNT ? choices[id].name : (const char *)0;
}

bool eq_choice_range(eq_choice_id id, uint32_t *least, uint32_t *most) {
  if ((unsigned)id >= EQ_CHOICE_COUNT) return false;
  *least = choices[id].least;
  *most = choices[id].most;
  return true;
}

uint32_t eq_choice_default(eq_isa isa, eq_choice_id id) { return known(isa, id) ? built_in[isa][id] : 0; }

uint32_t eq_choice_get(eq_isa isa, eq_choice_id id) {
  if (!known(isa, id)) return 0;
  const uint32_t value = __atomic_load_n(&values[isa][id], __ATOMIC_RELAXED);
  return value & CHANGED ? value & ~(uint32_t)CHANGED : built_in[isa][id];
}

uint32_t eq_choice(eq_choice_id id) { return eq_choice_get(eq_isa_current(), id); }

eq_status eq_choice_set(eq_isa isa, eq_choice_id id, uint32_t value) {
  if (!known(isa, id) || !allowed(id, value)) return EQ_BAD_ARGUMENT;
  __atomic_store_n(&values[isa][id], value | CHANGED, __ATOMIC_RELAXED);
  return EQ_OK;
}

/* ---- tables as text ---- */

typedef struct {
  const char *at, *end;
} span;

static bool same(span word, const char *name) {
  while (word.at < word.end && *name && *word.at == *name) word.at++, name++;
  return word.at == word.end && !*name;
}

/* Up to the next `stop`, which is skipped. */
static span next(span *from, char stop) {
  const span found = {from->at, from->at};
  span word = found;
  while (word.end < from->end && *word.end != stop) word.end++;
  from->at = word.end < from->end ? word.end + 1 : word.end;
  return word;
}

static bool number(span word, uint32_t *value) {
  if (word.at == word.end || word.end - word.at > 7) return false;
  for (*value = 0; word.at < word.end; word.at++) {
    if (*word.at < '0' || *word.at > '9') return false;
    *value = *value * 10 + (uint32_t)(*word.at - '0');
  }
  return true;
}

/* A line into `to`, where 0 is: not named yet. */
static bool entry(span line, uint32_t to[EQ_ISA_COUNT][EQ_CHOICE_COUNT]) {
  const span isa_name = next(&line, ' '), choice_name = next(&line, ' ');
  int isa = 0, id = 0;
  uint32_t value;
  while (isa < EQ_ISA_COUNT && !same(isa_name, eq_isa_name((eq_isa)isa))) isa++;
  while (id < EQ_CHOICE_COUNT && !same(choice_name, choices[id].name)) id++;
  if (isa == EQ_ISA_COUNT || id == EQ_CHOICE_COUNT || !number(line, &value)) return false;
  if (!allowed((eq_choice_id)id, value) || to[isa][id]) return false;
  to[isa][id] = value | CHANGED;
  return true;
}

eq_status eq_choices_read(const char *text, size_t bytes, uint32_t *line) {
  uint32_t found[EQ_ISA_COUNT][EQ_CHOICE_COUNT] = {{0}};
  *line = 1;
  if (!text || bytes > EQ_CHOICES_BYTES) return EQ_BAD_ARGUMENT;
  span rest = {text, text + bytes};
  if (!same(next(&rest, '\n'), EQ_CHOICES_TITLE)) return EQ_BAD_ARGUMENT;
  for ((*line)++; rest.at < rest.end; (*line)++) {
    const span each = next(&rest, '\n');
    if (each.at < each.end && *each.at != '#' && !entry(each, found)) return EQ_BAD_ARGUMENT;
  }
  for (int isa = 0; isa < EQ_ISA_COUNT; isa++)
    for (int id = 0; id < EQ_CHOICE_COUNT; id++)
      if (found[isa][id]) __atomic_store_n(&values[isa][id], found[isa][id], __ATOMIC_RELAXED);
  return EQ_OK;
}
