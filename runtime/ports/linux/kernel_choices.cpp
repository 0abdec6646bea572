#include "kernel_choices.h"

#include <time.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include "edgeq/binary.h"
#include "edgeq/choices.h"
#include "edgeq/integer.h"

namespace edgeq {
namespace {

constexpr double kGain = 0.97; // of the time of what is built in
constexpr int kRounds = 15;
constexpr uint64_t kSampleNs = 100000;  // a timing holds calls for so long
constexpr uint32_t kGroup = 32;         // 4-bit weights under one scale
constexpr uint16_t kHalfScale = 0x211f; // 0.01

struct Shape {
  uint32_t rows, inputs, outputs;
};

// Bytes at a multiple of 64.
class Memory {
public:
  explicit Memory(size_t size = 0) : size_((size + 63) / 64 * 64) {
    if (size_) bytes_.reset(static_cast<uint8_t *>(std::aligned_alloc(64, size_)));
    if (size_ && !bytes_) throw std::bad_alloc();
    std::memset(bytes_.get(), 0, size_);
  }
  static Memory random(size_t size) {
    Memory made(size);
    std::minstd_rand draw(static_cast<unsigned>(size));
    for (size_t i = 0; i < size; i++) made.data()[i] = static_cast<uint8_t>(draw() >> 8);
    return made;
  }
  uint8_t *data() const { return bytes_.get(); }
  int8_t *codes() const { return reinterpret_cast<int8_t *>(data()); }
  size_t size() const { return size_; }

private:
  struct Free {
    void operator()(uint8_t *p) const { std::free(p); }
  };
  size_t size_;
  std::unique_ptr<uint8_t, Free> bytes_;
};

// A product and all that it reads and writes, laid out under the choices of when it was made.
struct Product {
  eq_linear op;
  std::vector<float> out;
  eq_epilogue e{};
  Memory x, w, scale, tiles, scratch;
  eq_weights_i4 i4{};
  std::function<eq_status()> run;

  explicit Product(Shape shape) : op{shape.rows, shape.inputs, shape.outputs}, out(size_t{shape.rows} * shape.outputs) {
    e.out = out.data();
  }
  Product(const Product &) = delete;
  Product &operator=(const Product &) = delete;

  void operator()() const {
    if (run() != EQ_OK) throw std::logic_error("the core refuses a product");
  }
};

void bits(Product &p) {
  p.x = Memory::random(p.op.m * eq_row_bytes(p.op.k));
  p.w = Memory::random(p.op.o * eq_row_bytes(p.op.k));
  p.scratch = Memory(eq_linear_b1b1_scratch(&p.op, &p.e, nullptr));
}

void canonical_bits(Product &p) {
  bits(p);
  p.run = [&p] {
    return eq_linear_b1b1(&p.op, p.x.data(), p.w.data(), &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void tiled_bits(Product &p) {
  bits(p);
  p.tiles = Memory(eq_tiles_b1b1_bytes(p.op.o, p.op.k));
  eq_tiles_b1b1(p.op.o, p.op.k, p.w.data(), p.tiles.data());
  p.run = [&p] {
    return eq_linear_b1b1_tiled(&p.op, p.x.data(), p.tiles.data(), &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void ternary(Product &p) {
  const size_t plane = p.op.o * eq_row_bytes(p.op.k);
  p.x = Memory::random(size_t{p.op.m} * p.op.k);
  p.w = Memory::random(2 * plane);
  for (size_t i = 0; i < plane; i++) p.w.data()[i] &= p.w.data()[plane + i]; // no sign where the value is 0
}

void canonical_ternary(Product &p) {
  ternary(p);
  p.scratch = Memory(eq_linear_t2i8_scratch(&p.op, &p.e, nullptr));
  p.run = [&p] {
    return eq_linear_t2i8(&p.op, p.x.codes(), p.w.data(), &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void tiled_ternary(Product &p) {
  ternary(p);
  p.tiles = Memory(eq_tiles_t2_bytes(p.op.o, p.op.k));
  eq_tiles_t2(p.op.o, p.op.k, p.w.data(), p.tiles.data());
  p.scratch = Memory(eq_linear_t2i8_tiled_scratch(&p.op, p.tiles.data(), &p.e, nullptr));
  p.run = [&p] {
    return eq_linear_t2i8_tiled(&p.op, p.x.codes(), p.tiles.data(), &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void tiled_shift(Product &p) {
  p.x = Memory::random(size_t{p.op.m} * p.op.k);
  p.w = Memory::random(3 * p.op.o * eq_row_bytes(p.op.k));
  p.tiles = Memory(eq_tiles_s3_bytes(p.op.o, p.op.k));
  if (p.tiles.size() == 0) { // the set has none: nothing to choose
    p.run = [] { return EQ_OK; };
    return;
  }
  eq_tiles_s3(p.op.o, p.op.k, p.w.data(), p.tiles.data());
  p.scratch = Memory(eq_linear_s3i8_tiled_scratch(&p.op, p.tiles.data(), &p.e, nullptr));
  p.run = [&p] {
    return eq_linear_s3i8_tiled(&p.op, p.x.codes(), p.tiles.data(), &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void four_bits(Product &p) {
  const size_t groups = size_t{p.op.o} * p.op.k / kGroup;
  p.x = Memory::random(size_t{p.op.m} * p.op.k);
  p.w = Memory::random(size_t{p.op.o} * p.op.k / 2);
  p.scale = Memory(groups * sizeof(uint16_t));
  std::fill_n(reinterpret_cast<uint16_t *>(p.scale.data()), groups, kHalfScale);
  p.i4.codes = p.w.data();
  p.i4.scale = reinterpret_cast<const uint16_t *>(p.scale.data());
  p.i4.group = kGroup;
}

void canonical_four_bits(Product &p) {
  four_bits(p);
  p.scratch = Memory(eq_linear_i4i8_scratch(&p.op, &p.i4, &p.e, nullptr));
  p.run = [&p] {
    return eq_linear_i4i8(&p.op, p.x.codes(), nullptr, &p.i4, &p.e, nullptr, p.scratch.data(), p.scratch.size());
  };
}

void tiled_four_bits(Product &p) {
  four_bits(p);
  p.tiles = Memory(eq_tiles_i4_bytes(p.op.o, p.op.k, &p.i4));
  eq_tiles_i4(p.op.o, p.op.k, &p.i4, p.tiles.data());
  p.scratch = Memory(eq_linear_i4i8_tiled_scratch(&p.op, p.tiles.data(), &p.e, nullptr));
  p.run = [&p] {
    return eq_linear_i4i8_tiled(&p.op, p.x.codes(), nullptr, p.tiles.data(), &p.e, nullptr, p.scratch.data(),
                                p.scratch.size());
  };
}

// What a choice acts on. values: none where the choice is the most rows for which one of two kernels runs.
struct Work {
  eq_choice_id choice;
  void (*make)(Product &);
  std::vector<std::pair<uint32_t, uint32_t>> shapes; // inputs, outputs
  std::vector<uint32_t> rows, values;
};

const std::vector<std::pair<uint32_t, uint32_t>> kMiddling{{768, 768}, {768, 3072}};
const std::vector<Work> kWork{
    {EQ_CHOICE_B1_ROWS, canonical_bits, kMiddling, {1, 2, 3, 4, 6, 8, 12, 16}, {}},
    {EQ_CHOICE_B1_UNIT, tiled_bits, kMiddling, {16, 128}, {64, 128, 256, 512, 1024}},
    {EQ_CHOICE_I8_ROWS, canonical_ternary, kMiddling, {1, 2, 3, 4}, {}},
    {EQ_CHOICE_T2_ROWS, tiled_ternary, kMiddling, {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}, {}},
    {EQ_CHOICE_T2_WORDS, tiled_ternary, {{1536, 768}, {3072, 768}}, {16, 32}, {8, 16, 24, 32, 48, 96, 192}},
    {EQ_CHOICE_I4_ROWS, canonical_four_bits, kMiddling, {1, 2, 3, 4}, {}},
    {EQ_CHOICE_SHIFT_ROWS, tiled_shift, kMiddling, {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}, {}},
    {EQ_CHOICE_I4_TILED_ROWS, tiled_four_bits, kMiddling, {1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64}, {}},
};

uint64_t thread_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1000000000 + static_cast<uint64_t>(now.tv_nsec);
}

// Nanoseconds of a call, under each value.
std::vector<double> least(eq_isa isa, eq_choice_id choice, const std::vector<uint32_t> &values,
                          const std::vector<std::unique_ptr<Product>> &products) {
  std::vector<double> found(values.size(), std::numeric_limits<double>::infinity());
  uint64_t repeat = 1;
  for (int turn = 0; turn <= kRounds; turn++) // the first one only tells how often to repeat
    for (size_t i = 0; i < values.size(); i++) {
      eq_choice_set(isa, choice, values[i]);
      (*products[i])();
      const uint64_t start = thread_ns();
      for (uint64_t n = 0; n < repeat; n++) (*products[i])();
      const double taken = static_cast<double>(thread_ns() - start) / static_cast<double>(repeat);
      if (turn)
        found[i] = std::min(found[i], taken);
      else if (i + 1 == values.size())
        repeat = std::max<uint64_t>(1, static_cast<uint64_t>(kSampleNs / std::max(taken, 1.0)));
    }
  return found;
}

// Geometric mean over the shapes.
std::vector<double> costs(eq_isa isa, const Work &work, const std::vector<uint32_t> &rows,
                          const std::vector<uint32_t> &values) {
  std::vector<double> logs(values.size(), 0.0);
  for (const uint32_t m : rows)
    for (const auto &[k, o] : work.shapes) {
      std::vector<std::unique_ptr<Product>> products;
      for (const uint32_t value : values) {
        eq_choice_set(isa, work.choice, value); // scratch is that of the value
        products.push_back(std::make_unique<Product>(Shape{m, k, o}));
        work.make(*products.back());
        (*products.back())();
        if (products.back()->out != products.front()->out)
          throw std::runtime_error(std::string(eq_isa_name(isa)) + " " + eq_choice_name(work.choice) +
                                   ": values give different bits; please report it");
      }
      const std::vector<double> taken = least(isa, work.choice, values, products);
      for (size_t i = 0; i < values.size(); i++) logs[i] += std::log(taken[i]);
    }
  const auto shapes = static_cast<double>(rows.size() * work.shapes.size());
  for (double &total : logs) total = std::exp(total / shapes);
  return logs;
}

uint32_t best_value(eq_isa isa, const Work &work, uint32_t built_in) {
  const std::vector<double> cost = costs(isa, work, work.rows, work.values);
  const auto best = static_cast<size_t>(std::min_element(cost.begin(), cost.end()) - cost.begin());
  const auto usual = std::find(work.values.begin(), work.values.end(), built_in);
  const bool gains =
      usual == work.values.end() || cost[best] < kGain * cost[static_cast<size_t>(usual - work.values.begin())];
  return gains ? work.values[best] : built_in;
}

uint32_t best_limit(eq_isa isa, const Work &work, uint32_t built_in, uint32_t lowest, uint32_t highest) {
  uint32_t limit = lowest;
  for (const uint32_t rows : work.rows) {
    if (rows > highest) break;
    const std::vector<double> cost = costs(isa, work, {rows}, {rows - 1, rows});
    if (cost[1] > cost[0] * (rows <= built_in ? 1 / kGain : kGain)) break; // what is built in wins a tie
    limit = rows;
  }
  return limit;
}

template <typename Id>
Id named(const std::string &name, int count, const char *(*name_of)(Id), const char *what) {
  for (int i = 0; i < count; i++)
    if (name == name_of(static_cast<Id>(i))) return static_cast<Id>(i);
  throw std::runtime_error(std::string("no ") + what + " " + name);
}

} // namespace

std::string kernel_choices() {
  std::string lines;
  for (int i = EQ_ISA_COUNT - 1; i > EQ_ISA_REF; i--) {
    const auto isa = static_cast<eq_isa>(i);
    if (!eq_isa_usable(isa)) continue;
    for (int j = 0; j < EQ_CHOICE_COUNT; j++) {
      const auto choice = static_cast<eq_choice_id>(j);
      uint32_t lowest = 0, highest = 0;
      eq_choice_range(choice, &lowest, &highest);
      lines += std::string(eq_isa_name(isa)) + " " + eq_choice_name(choice);
      for (const uint32_t number : {eq_choice_get(isa, choice), eq_choice_default(isa, choice), lowest, highest})
        lines += " " + std::to_string(number);
      lines += "\n";
    }
  }
  return lines;
}

uint32_t fastest_choice(const std::string &isa_name, const std::string &choice_name) {
  const auto isa = named<eq_isa>(isa_name, EQ_ISA_COUNT, eq_isa_name, "instruction set");
  const auto choice = named<eq_choice_id>(choice_name, EQ_CHOICE_COUNT, eq_choice_name, "choice of kernels");
  if (eq_isa_select(isa) != EQ_OK) throw std::runtime_error("this machine has no " + isa_name);
  uint32_t lowest = 0, highest = 0;
  eq_choice_range(choice, &lowest, &highest);
  const uint32_t built_in = eq_choice_default(isa, choice);
  for (const Work &work : kWork)
    if (work.choice == choice)
      return work.values.empty() ? best_limit(isa, work, built_in, lowest, highest) : best_value(isa, work, built_in);
  return eq_choice_get(isa, choice); // no product tells: of threads
}

} // namespace edgeq
