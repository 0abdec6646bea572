// Painted memory, for tests (--guard FILE): every arena and every piece of a run of the tuning module lies between
// guard bytes that nobody may touch, and how much of it was used is told when it is given back, a line each:
//   arena|tune BYTES USED intact|broken        USED: up to the last byte that is no longer paint
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

namespace edgeq {

// Before anything is loaded; empty: no guards.
void guard_into(const std::string &file);

// Bytes of paint on either side; 0 without --guard.
size_t guard_bytes();

// memory: guard_bytes(), size bytes, guard_bytes().
void guard_paint(uint8_t *memory, size_t size);
void guard_tell(const char *what, const uint8_t *memory, size_t size);

} // namespace edgeq
