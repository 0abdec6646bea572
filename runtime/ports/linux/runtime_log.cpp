#include "runtime_log.h"

#include <executorch/runtime/platform/platform.h>

#include <cstdio>
#include <cstdlib>

namespace edgeq {
namespace {

std::string &last() {
  static thread_local std::string line;
  return line;
}

void emit(et_timestamp_t, et_pal_log_level_t level, const char *file, const char *, size_t line, const char *message,
          size_t length) {
  if ((level == et_pal_log_level_t::kError || level == et_pal_log_level_t::kFatal) && last().empty())
    last().assign(message, length); // the first error is the cause, those after it are its echoes
  static const bool shown = std::getenv("EDGEQ_LOG") != nullptr;
  if (shown)
    std::fprintf(stderr, "%c %s:%zu %.*s\n", static_cast<char>(level), file, line, static_cast<int>(length), message);
}

} // namespace

void capture_runtime_log() { executorch::runtime::register_pal(executorch::runtime::PalImpl::create(emit, __FILE__)); }
const std::string &last_runtime_error() { return last(); }
void clear_runtime_error() { last().clear(); }

} // namespace edgeq
