// One method of one .tflite, run by LiteRT's compiled models with EdgeQ's operators. Both libraries are loaded when the
// first such program is: an agent that never sees one does not need them.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "loaded.h"

namespace edgeq {

// Where LiteRT's library lies, and how many threads an operator may use; call once, early. Programs are refused before.
void use_litert(const std::string &library, unsigned threads);

class LitertProgram : public Loaded {
public:
  static std::unique_ptr<LitertProgram> load(const std::string &path, const char *method, uint64_t limit_bytes,
                                             const LitertProgram *sibling, eq_failure *failure);
  ~LitertProgram() override;
  LitertProgram(const LitertProgram &) = delete;
  LitertProgram &operator=(const LitertProgram &) = delete;

  const std::vector<eq_tensor> &inputs() const override { return inputs_; }
  const std::vector<eq_tensor> &outputs() const override { return outputs_; }
  uint64_t planned_bytes() const override { return 0; }
  uint64_t program_bytes() const override { return program_bytes_; }
  uint8_t *input(size_t index) const override { return input_bytes_[index].data(); }
  const uint8_t *output(size_t index) const override { return output_bytes_[index].data(); }
  bool run(eq_failure *failure) override;

private:
  using Bytes = std::vector<uint8_t>;
  // A tensor of the signature and what it is exchanged with.
  struct Port {
    void *buffer;
    Bytes *bytes;
  };

  LitertProgram() = default;
  bool open(const std::string &path, const char *method, eq_failure *failure);
  bool find_method(const char *method, eq_failure *failure);
  bool bind(bool output, uint64_t limit_bytes, eq_failure *failure);
  bool why(eq_failure *failure, const char *what, int status) const;

  std::vector<eq_tensor> inputs_, outputs_;
  mutable std::vector<Bytes> input_bytes_; // the caller writes
  std::vector<Bytes> output_bytes_;
  std::shared_ptr<std::map<std::string, Bytes>> states_; // of all methods of the file
  std::vector<Port> in_, out_;                           // in the signature's order
  std::vector<void *> in_buffers_, out_buffers_;
  void *model_ = nullptr, *options_ = nullptr, *operators_ = nullptr, *compiled_ = nullptr, *signature_ = nullptr;
  size_t signature_index_ = 0;
  uint64_t program_bytes_ = 0, taken_bytes_ = 0;
};

} // namespace edgeq
