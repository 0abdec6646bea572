#include "engine.h"

#include <executorch/devtools/etdump/etdump_flatcc.h>
#include <executorch/extension/threadpool/threadpool_guard.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>

#include "program.h"
#include "system.h"

namespace edgeq {
namespace {

constexpr unsigned kTrialSeconds = 120;

Engine &self(void *context) { return *static_cast<Engine *>(context); }

} // namespace

Engine::Engine(const Store &store, uint64_t limit_bytes) : store_(store), limit_bytes_(limit_bytes) {
  table_.context = this;
  table_.load = [](void *c, const char *name, const char *method, uint16_t *net, eq_failure *f) {
    return self(c).load(name, method, net, f);
  };
  table_.unload = [](void *c, uint16_t net, eq_failure *f) { return self(c).unload(net, f); };
  table_.describe = [](void *c, uint16_t net, eq_net *out, eq_failure *f) {
    const Net *n = self(c).find(net, f);
    if (!n) return false;
    *out = {n->load_ns,
            n->program->planned_bytes(),
            n->program->program_bytes(),
            n->before_bytes,
            {static_cast<uint16_t>(n->program->inputs().size()), static_cast<uint16_t>(n->program->outputs().size())}};
    return true;
  };
  table_.tensor = [](void *c, uint16_t net, bool output, unsigned index, eq_tensor *out) {
    const Net &n = self(c).nets_.at(net);
    *out = (output ? n.program->outputs() : n.program->inputs()).at(index);
    out->data = !output ? n.program->input(index)
                : n.ran ? const_cast<uint8_t *>(n.program->output(index)) // read only, by the agent's contract
                        : nullptr;
  };
  table_.run = [](void *c, uint16_t net, bool, uint64_t *ticks, eq_failure *f) { return self(c).run(net, ticks, f); };
  table_.profile = [](void *c, uint16_t net, uint32_t runs, uint64_t *size, eq_failure *f) {
    return self(c).profile(net, runs, size, f);
  };
  table_.profile_read = [](void *c, uint64_t offset, uint8_t *bytes, size_t count, eq_failure *) {
    if (count > 0) std::memcpy(bytes, self(c).trace_.data() + offset, count);
    return true;
  };
  table_.profile_size = [](void *c) -> uint64_t { return self(c).trace_.size(); };
  table_.peak_bytes = [](void *) { return peak_bytes(); };
  table_.reset = [](void *c) { self(c).reset(); };
}

Engine::Net *Engine::find(uint16_t net, eq_failure *failure) {
  const auto found = nets_.find(net);
  if (found != nets_.end()) return &found->second;
  eq_fail(failure, EQ_CODE_BAD_NET, "no net is loaded as ");
  eq_fail_number(failure, net);
  return nullptr;
}

// Programs are hostile until they have loaded and run once (on zeros) in a child process: a file made to crash the
// runtime takes the child down, not the agent.
bool Engine::survives(const std::string &path, const char *method, eq_failure *failure) {
  int pipe_ends[2];
  if (::pipe(pipe_ends) != 0) return eq_fail(failure, EQ_CODE_NO_MEMORY, "cannot make a pipe for the trial run");
  const pid_t child = ::fork();
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::alarm(kTrialSeconds);
    const executorch::extension::threadpool::NoThreadPoolGuard alone; // the pool's threads were not forked
    eq_failure result{};
    const auto program = Loaded::load(path, method, limit_bytes_, nullptr, &result);
    if (program) program->run(&result);
    const bool told = ::write(pipe_ends[1], &result, sizeof result) == static_cast<ssize_t>(sizeof result);
    ::_exit(told ? 0 : 1);
  }
  ::close(pipe_ends[1]);
  if (child < 0) {
    ::close(pipe_ends[0]);
    return eq_fail(failure, EQ_CODE_NO_MEMORY, "cannot fork for the trial run");
  }
  eq_failure result{};
  ssize_t n;
  do n = ::read(pipe_ends[0], &result, sizeof result);
  while (n < 0 && errno == EINTR);
  ::close(pipe_ends[0]);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  if (n == static_cast<ssize_t>(sizeof result)) {
    if (result.code == 0) return true;
    *failure = result;
    return false;
  }
  eq_fail(failure, EQ_CODE_BAD_PROGRAM, "the program crashed the runtime in a trial run, signal ");
  return eq_fail_number(failure, WIFSIGNALED(status) ? static_cast<uint64_t>(WTERMSIG(status)) : 0);
}

bool Engine::load(const char *name, const char *method, uint16_t *net, eq_failure *failure) {
  if (nets_.size() >= kNets) {
    eq_fail(failure, EQ_CODE_TOO_MANY, "unload a net first: loaded are ");
    return eq_fail_number(failure, nets_.size());
  }
  eq_entry entry{};
  if (!store_.find(name, &entry, failure)) return false;
  const std::string path = store_.object_path(entry.sha256), key = path + " " + method;
  if (trusted_.count(key) == 0) {
    if (!survives(path, method, failure)) return false;
    trusted_.insert(key);
  }
  restart_peak();
  const uint64_t before = resident_bytes(), start = monotonic_ns();
  const auto sibling = std::find_if(nets_.begin(), nets_.end(), [&](const auto &n) { return n.second.path == path; });
  std::unique_ptr<Loaded> program = Loaded::load(
      path, method, limit_bytes_, sibling == nets_.end() ? nullptr : sibling->second.program.get(), failure);
  if (!program) return false;
  const uint64_t load_ns = monotonic_ns() - start;
  while (next_ == 0 || nets_.count(next_) > 0) next_++;
  *net = next_++;
  nets_[*net] = Net{std::move(program), path, method, load_ns, before};
  return true;
}

bool Engine::unload(uint16_t net, eq_failure *failure) {
  if (!find(net, failure)) return false;
  nets_.erase(net);
  return true;
}

bool Engine::run(uint16_t net, uint64_t *ns, eq_failure *failure) {
  Net *n = find(net, failure);
  if (!n) return false;
  const uint64_t start = monotonic_ns();
  n->ran = n->program->run(failure);
  *ns = monotonic_ns() - start;
  return n->ran;
}

bool Engine::profile(uint16_t net, uint32_t runs, uint64_t *size, eq_failure *failure) {
  const Net *n = find(net, failure);
  if (!n) return false;
  const auto *program = dynamic_cast<const Program *>(n->program.get());
  if (!program) return eq_fail(failure, EQ_CODE_UNSUPPORTED, "a .tflite cannot be traced; profile the model's .pte");
  executorch::etdump::ETDumpGen tracer;
  tracer.create_event_block("Default");
  const std::unique_ptr<Program> traced =
      Program::load(n->path, n->method.c_str(), limit_bytes_, program, &tracer, failure);
  if (!traced) return false;
  for (size_t i = 0; i < traced->inputs().size(); i++)
    std::memcpy(traced->input(i), n->program->input(i), traced->inputs()[i].bytes);
  for (uint32_t i = 0; i < runs; i++) {
    tracer.create_event_block("Execute");
    if (!traced->run(failure)) return false;
  }
  const executorch::etdump::ETDumpResult result = tracer.get_etdump_data();
  if (!result.buf) return eq_fail(failure, EQ_CODE_NO_MEMORY, "the trace could not be written");
  trace_.assign(static_cast<uint8_t *>(result.buf), static_cast<uint8_t *>(result.buf) + result.size);
  std::free(result.buf);
  *size = trace_.size();
  return true;
}

void Engine::reset() {
  nets_.clear();
  trace_.clear();
}

} // namespace edgeq
