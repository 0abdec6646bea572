// edgeq-agent: lets this machine be a device.
#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "../executorch/edgeq_executorch.h"
#include "engine.h"
#include "guard.h"
#include "kernel_choices.h"
#include "link.h"
#include "litert_program.h"
#include "runtime_log.h"
#include "store.h"
#include "system.h"
#include "tuner.h"

namespace {

constexpr uint32_t kPayload = 1 << 20;

const char kHelp[] =
    "usage: edgeq-agent --store DIR [--listen 127.0.0.1:PORT [--once SECONDS]] [--threads N] [--cores LIST]\n"
    "                   [--memory-limit BYTES] [--patience SECONDS] [--name TEXT] [--kind linux|phone] [--guard FILE]\n"
    "       edgeq-agent --kernels\n"
    "       edgeq-agent --fastest ISA CHOICE\n"
    "Speaks EdgeQ's device protocol on standard input and output, or to clients that connect.\n"
    "  --store DIR           where programs are kept (made when missing)\n"
    "  --listen ADDRESS      serve connections; prints the address, port 0 takes a free one\n"
    "  --once SECONDS        serve one connection and end; end too when none comes in so many seconds\n"
    "  --threads N           threads of one inference, 1 unless told\n"
    "  --cores LIST          run on these cores only, like 4-7 or 0,2; where that is not allowed, on all\n"
    "  --memory-limit BYTES  refuse programs that plan more, three quarters of the machine's memory unless told\n"
    "  --litert FILE         LiteRT's library, libLiteRt.so: then .tflite programs run too\n"
    "  --patience SECONDS    close a transfer in which nothing comes for so long, 60 unless told\n"
    "  --name TEXT           what the machine is called, its host name unless told\n"
    "  --kind KIND           what sort of device it is\n"
    "  --guard FILE          for tests: guard bytes around arenas and learning, and what was used of them in FILE\n"
    "  --kernels             print which kernels are in force: ISA CHOICE VALUE BUILT_IN LEAST MOST\n"
    "  --fastest ISA CHOICE  measure on this machine, and print the fastest value of such a choice\n"
    "environment: EDGEQ_ISA instruction set (ref, avx2, ...), EDGEQ_LOG shows the runtime's log on standard error\n";

struct Options {
  std::string store, listen, cores, litert, name = edgeq::machine_name(), kind = "linux";
  uint64_t memory_limit = edgeq::memory_bytes() / 4 * 3;
  unsigned threads = 1;
  unsigned once_seconds = 0, patience_seconds = 60;
};

uint64_t number(const std::string &option, const std::string &text, uint64_t least, uint64_t most) {
  char *end = nullptr;
  const uint64_t value = std::strtoull(text.c_str(), &end, 10);
  if (text.empty() || *end || value < least || value > most)
    throw std::runtime_error(option + " takes a number from " + std::to_string(least) + " to " + std::to_string(most) +
                             ", got \"" + text + "\"");
  return value;
}

Options parse(const std::vector<std::string> &words) {
  Options options;
  for (size_t i = 0; i < words.size(); i += 2) {
    const std::string &option = words[i];
    if (i + 1 == words.size()) throw std::runtime_error("unknown option or missing value: " + option);
    const std::string &value = words[i + 1];
    if (option == "--store") {
      options.store = value;
    } else if (option == "--listen") {
      options.listen = value;
    } else if (option == "--threads") {
      options.threads = static_cast<unsigned>(number(option, value, 1, 256));
    } else if (option == "--once") {
      options.once_seconds = static_cast<unsigned>(number(option, value, 1, 3600));
    } else if (option == "--patience") {
      options.patience_seconds = static_cast<unsigned>(number(option, value, 1, 3600));
    } else if (option == "--cores") {
      options.cores = value;
    } else if (option == "--litert") {
      options.litert = value;
    } else if (option == "--name") {
      options.name = value;
    } else if (option == "--kind") {
      options.kind = value;
    } else if (option == "--guard") {
      edgeq::guard_into(value);
    } else if (option == "--memory-limit") {
      options.memory_limit = number(option, value, 1, UINT64_MAX);
    } else {
      throw std::runtime_error("unknown option " + option + " (see --help)");
    }
  }
  if (options.store.empty()) throw std::runtime_error("--store DIR is needed (see --help)");
  return options;
}

void run(const Options &options, int in, int out) {
  std::signal(SIGPIPE, SIG_IGN);
  edgeq::capture_runtime_log();
  if (!options.cores.empty()) edgeq::pin_to_cores(options.cores);
  edgeq_set_threads(options.threads);
  if (!options.litert.empty()) edgeq::use_litert(options.litert, options.threads);
  edgeq::Store store(options.store);
  edgeq::Engine engine(store, options.memory_limit);

  const std::string cpu = edgeq::cpu_name(), arch = edgeq::architecture();
  const char *const targets[] = {"executorch", options.litert.empty() ? nullptr : "litert", nullptr};
  const eq_device device{edgeq::Engine::kNets,
                         static_cast<uint16_t>(options.threads),
                         edgeq::memory_bytes(),
                         options.kind.c_str(),
                         options.name.c_str(),
                         arch.c_str(),
                         cpu.c_str(),
                         edgeq_isa(),
                         "ns",
                         targets,
                         0};

  std::vector<uint8_t> request(kPayload + EQ_FRAME_EXTRA), answer(kPayload + EQ_FRAME_EXTRA);
  edgeq::Link link(options.patience_seconds);
  eq_agent agent;
  if (!eq_agent_init(&agent, store.table(), engine.table(), &device, edgeq::Link::send, &link, request.data(),
                     answer.data(), kPayload))
    throw std::logic_error("frame buffers are too small");
  const edgeq::Tuner tuner(store.table(), options.memory_limit);
  agent.run.port = tuner.table();
  if (options.listen.empty())
    link.serve(agent, in, out);
  else
    link.serve_clients(agent, options.listen, options.once_seconds);
}

} // namespace

int main(int argc, char **argv) {
  const std::vector<std::string> words(argv + 1, argv + argc);
  if (words.size() == 1 && words[0] == "--help") {
    std::fputs(kHelp, stdout);
    return 0;
  }
  try {
    if (*edgeq_settings_error()) throw std::runtime_error(edgeq_settings_error());
    if (words.size() == 1 && words[0] == "--kernels") {
      std::fputs(edgeq::kernel_choices().c_str(), stdout);
      return 0;
    }
    if (words.size() == 3 && words[0] == "--fastest") {
      std::printf("%u\n", edgeq::fastest_choice(words[1], words[2]));
      return 0;
    }
    const Options options = parse(words);
    // What a library prints must not end up between frames: standard output becomes standard error.
    const int out = ::fcntl(STDOUT_FILENO, F_DUPFD_CLOEXEC, 3);
    if (options.listen.empty()) ::dup2(STDERR_FILENO, STDOUT_FILENO);
    run(options, STDIN_FILENO, out);
  } catch (const std::exception &error) {
    std::fprintf(stderr, "edgeq-agent: %s\n", error.what());
    return 1;
  }
  return 0;
}
