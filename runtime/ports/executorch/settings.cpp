#include "settings.h"

#include <executorch/runtime/kernel/thread_parallel_interface.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <string>
#include <system_error>

#include "../kernels_file.h"
#include "../optional_isas.h"
#include "edgeq_executorch.h"

// ExecuTorch exports its pool, but the wheel has no header for it.
namespace executorch::extension::threadpool {
class ThreadPool {
public:
  bool _unsafe_reset_threadpool(uint32_t threads);
};
ThreadPool *get_threadpool();
} // namespace executorch::extension::threadpool

namespace edgeq {
namespace {

constexpr unsigned kMostThreads = 256;

// Each worker takes one run of consecutive indices.
void share(void *context, eq_task task, void *arg, size_t count) {
  const size_t workers = std::min<size_t>(static_cast<eq_threads *>(context)->workers, count);
  if (workers == 0) return;
  const auto part = [&](int64_t begin, int64_t end) {
    for (auto i = static_cast<size_t>(begin); i < static_cast<size_t>(end); i++)
      task(arg, count * i / workers, count * (i + 1) / workers, static_cast<unsigned>(i));
  };
  if (!executorch::extension::parallel_for(0, static_cast<int64_t>(workers), 1, part)) task(arg, 0, count, 0);
}

struct Settings {
  eq_threads threads{1, share, nullptr};
  std::string error; // empty, or which environment variable cannot be obeyed

  Settings() {
    threads.context = &threads;
    if (const char *text = std::getenv("EDGEQ_THREADS")) count(text);
    eq_allow_optional_isas();
    if (const char *text = std::getenv("EDGEQ_ISA")) select(text);
    eq_use_kernels_file();
  }

  static unsigned clamp(unsigned long threads) {
    return static_cast<unsigned>(std::clamp<unsigned long>(threads, 1, kMostThreads));
  }

  void count(const std::string &text) {
    const char *const end = text.data() + text.size();
    unsigned number = 0;
    const auto [rest, fault] = std::from_chars(text.data(), end, number);
    if (fault == std::errc() && rest == end && number >= 1 && number <= kMostThreads)
      threads.workers = number;
    else
      error = "EDGEQ_THREADS=" + text + " is not a number from 1 to " + std::to_string(kMostThreads);
  }

  void select(const std::string &name) {
    std::string usable;
    for (int i = 0; i < EQ_ISA_COUNT; i++) {
      const auto isa = static_cast<eq_isa>(i);
      if (name == eq_isa_name(isa) && eq_isa_select(isa) == EQ_OK) return;
      if (eq_isa_usable(isa)) usable += std::string(" ") + eq_isa_name(isa);
    }
    error = "EDGEQ_ISA=" + name + " cannot be used on this machine; usable are:" + usable;
  }
};

Settings &settings() {
  static Settings instance;
  return instance;
}

} // namespace

const eq_threads *threads_for(uint64_t multiply_adds) {
  const eq_threads &threads = settings().threads;
  if (threads.workers == 1) return nullptr;
  const uint64_t worth =
      eq_choice_get(eq_isa_current(), EQ_CHOICE_SHARED); // waking the pool costs some ten microseconds
  return multiply_adds >> 10 >= worth ? &threads : nullptr;
}

} // namespace edgeq

const char *edgeq_isa(void) {
  (void)edgeq::settings();
  return eq_isa_name(eq_isa_current());
}

const char *edgeq_settings_error(void) { return edgeq::settings().error.c_str(); }

void edgeq_set_threads(unsigned threads) {
  edgeq::settings().threads.workers = edgeq::Settings::clamp(threads);
  executorch::extension::threadpool::get_threadpool()->_unsafe_reset_threadpool(edgeq::settings().threads.workers);
}
