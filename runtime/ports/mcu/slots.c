#include "slots.h"

#include "board.h"
#include "memory.h"
#include "proto/wire.h"

enum { MAGIC = 0x31535145 /* EQS1 */, BLANK = 0xff, RECORD_BYTES = 4 * SLOTS_UNIT };

/* RECORD_BYTES at the start of a slot. */
typedef struct {
  size_t magic;
  eq_entry entry;
  uint8_t blank[RECORD_BYTES - sizeof(size_t) - sizeof(eq_entry)];
} record;

typedef enum { COMMITTED, TRIED, GOOD, DEAD } mark;

static const record *record_of(const uint8_t *slot) { return (const record *)(const void *)slot; }
static uint8_t *unit_of(const uint8_t *slot, mark m) {
  return (uint8_t *)(uintptr_t)slot + RECORD_BYTES + m * SLOTS_UNIT;
}

static bool blank(const uint8_t *at, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (at[i] != BLANK) return false;
  return true;
}

static bool marked(const uint8_t *slot, mark m) { return !blank(unit_of(slot, m), SLOTS_UNIT); }

/* Number of the update that a slot holds, from 1; 0: it holds no program. */
static uint32_t update_of(const uint8_t *slot) {
  const uint32_t *unit = (const uint32_t *)(void *)unit_of(slot, COMMITTED);
  return record_of(slot)->magic == MAGIC && unit[0] == ~unit[1] && !marked(slot, DEAD) ? unit[0] : 0;
}

static size_t slot_bytes(void) { return (size_t)(programs_end - programs_start) / SLOTS; }
static uint8_t *slot_at(int i) { return programs_start + (i ? slot_bytes() : 0); }
static uint8_t *other(const uint8_t *slot) { return slot_at(slot == programs_start); }

static bool same_text(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static bool same_bytes(const uint8_t *a, const uint8_t *b, size_t count) {
  for (size_t i = 0; i < count; i++)
    if (a[i] != b[i]) return false;
  return true;
}

uint8_t *slots_newest(const char *name) {
  uint8_t *newest = NULL;
  uint32_t update = 0;
  for (int i = 0; i < SLOTS; i++) {
    uint8_t *slot = slot_at(i);
    if (update_of(slot) <= update || (name && !same_text(name, record_of(slot)->entry.name))) continue;
    update = update_of(slot);
    newest = slot;
  }
  return newest;
}

const uint8_t *slots_program(const uint8_t *slot) { return slot + SLOTS_HEADER; }
size_t slots_program_bytes(const uint8_t *slot) { return record_of(slot)->entry.size; }

static bool erase(uint8_t *at) {
  board_feed();
  return board_flash_erase(at);
}

static bool set(uint8_t *slot, mark m, uint32_t value) {
  const uint32_t unit[SLOTS_UNIT / 4] = {value, ~value};
  return marked(slot, m) || board_flash_write(unit_of(slot, m), (const uint8_t *)unit, SLOTS_UNIT);
}

void slots_tried(uint8_t *slot) { set(slot, TRIED, 0); }
void slots_good(uint8_t *slot) { set(slot, GOOD, 0); }
/* The only program is kept: a bad one is better looked at than none. */
void slots_failed(uint8_t *slot) {
  if (update_of(other(slot)) && !marked(slot, GOOD)) set(slot, DEAD, 0);
}

void slots_start(slots *s) {
  s->open = NULL;
  uint8_t *newest = slots_newest(NULL);
  if (newest && marked(newest, TRIED)) slots_failed(newest);
}

size_t slots_free_bytes(void *context) {
  (void)context;
  return slot_bytes() - SLOTS_HEADER;
}

/* ---- a transfer */
static bool worn(eq_failure *failure) { return eq_fail(failure, EQ_CODE_STORE_FAILED, ""); }

/* Is this the slot of exactly that content? */
static bool holds(const uint8_t *slot, const eq_entry *entry) {
  const record *r = record_of(slot);
  return r->magic == MAGIC && same_bytes((const uint8_t *)&r->entry, (const uint8_t *)entry, sizeof *entry);
}

/* Bytes of an interrupted transfer that need not come again: all before the page where the last one was written,
 * which is erased. */
static bool resume(slots *s, const uint8_t *slot, size_t *have) {
  size_t end = SLOTS_HEADER + record_of(slot)->entry.size;
  while (end > SLOTS_HEADER && slot[end - 1] == BLANK) end--;
  const size_t page = (end - 1) / board.page * board.page;
  *have = page > SLOTS_HEADER ? page - SLOTS_HEADER : 0;
  return *have > 0 && erase(s->open + page);
}

static bool start_over(slots *s, const eq_entry *entry) {
  /* the first page first: from then on there is nothing in the slot */
  for (size_t at = 0; at < SLOTS_HEADER + entry->size; at += board.page)
    if (!erase(s->open + at)) return false;
  const record r = {.magic = MAGIC, .entry = *entry};
  return board_flash_write(s->open, (const uint8_t *)&r, sizeof r);
}

bool slots_begin(void *context, const eq_entry *entry, size_t *have, eq_failure *failure) {
  slots *s = context;
  if (entry->size > slots_free_bytes(s)) {
    return eq_fail_with(failure, EQ_CODE_TOO_LARGE, "", slots_free_bytes(s));
  }
  uint8_t *newest = slots_newest(NULL);
  s->held = newest && holds(newest, entry);
  s->open = s->held ? newest : newest ? other(newest) : programs_start;
  *have = s->held ? entry->size : 0;
  const bool begun = !s->held && holds(s->open, entry) && !marked(s->open, COMMITTED);
  if (!s->held && !(begun && resume(s, s->open, have))) {
    *have = 0;
    if (!start_over(s, entry)) return worn(failure);
  }
  s->length = *have;
  return true;
}

bool slots_append(void *context, size_t offset, const uint8_t *bytes, size_t count, eq_failure *failure) {
  slots *s = context;
  (void)offset;
  for (size_t i = 0; i < count; i++) {
    s->unit[s->length++ % SLOTS_UNIT] = bytes[i];
    if (s->length % SLOTS_UNIT == 0 &&
        !board_flash_write(s->open + SLOTS_HEADER + s->length - SLOTS_UNIT, s->unit, SLOTS_UNIT))
      return worn(failure);
  }
  return true;
}

/* Writes what is left of a unit. */
static bool flush(slots *s) {
  const size_t left = s->held ? 0 : s->length % SLOTS_UNIT;
  if (left == 0) return true;
  for (size_t i = left; i < SLOTS_UNIT; i++) s->unit[i] = BLANK;
  s->length += SLOTS_UNIT - left;
  return board_flash_write(s->open + SLOTS_HEADER + s->length - SLOTS_UNIT, s->unit, SLOTS_UNIT);
}

bool slots_read_back(void *context, size_t offset, uint8_t *bytes, size_t count, eq_failure *failure) {
  slots *s = context;
  if (!flush(s)) return worn(failure);
  eq_copy(bytes, slots_program(s->open) + offset, count);
  return true;
}

bool slots_commit(void *context, eq_failure *failure) {
  slots *s = context;
  const uint8_t *newest = slots_newest(NULL);
  return s->held || set(s->open, COMMITTED, newest ? update_of(newest) + 1 : 1) || worn(failure);
}

void slots_close(void *context, bool drop) {
  slots *s = context;
  if (drop && !s->held) erase(s->open);
  s->open = NULL;
}

/* ---- what is there */

/* Program number index, an older one of the same name left out. */
const eq_entry *slots_entry(void *context, unsigned index) {
  (void)context;
  for (int i = 0; i < SLOTS; i++) {
    const uint8_t *slot = slot_at(i);
    const eq_entry *entry = &record_of(slot)->entry;
    if (update_of(slot) && slots_newest(entry->name) == slot && index-- == 0) return entry;
  }
  return NULL;
}

bool slots_erase(void *context, const char *name, eq_failure *failure) {
  (void)context;
  uint8_t *newest = slots_newest(name);
  if (!newest) return eq_fail(failure, EQ_CODE_NOT_FOUND, "");
  /* the older one of the name first, so that it does not come back */
  uint8_t *older = other(newest);
  if (update_of(older) && same_text(record_of(older)->entry.name, name) && !set(older, DEAD, 0)) return worn(failure);
  return set(newest, DEAD, 0) || worn(failure);
}
