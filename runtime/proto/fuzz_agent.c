/* Throws hostile frames at the agent: fuzz_agent [frames] [seed]. Build with sanitizers:
 *   cc -std=c11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all frame.c sha256.c agent*.c fuzz_agent.c
 * The store and the engine live in memory and abort when the agent breaks their contract. The harness aborts when what
 * the agent sends is not a sequence of sound frames, when a sound request has not exactly one answer, or when the agent
 * no longer answers. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "wire.h"

#define REQUIRE(x)                                                                                                     \
  do {                                                                                                                 \
    if (!(x)) {                                                                                                        \
      fprintf(stderr, "%s:%d: %s does not hold (frame %lu, seed %lu)\n", __FILE__, __LINE__, #x, frames_done, seed);   \
      abort();                                                                                                         \
    }                                                                                                                  \
  } while (0)

static unsigned long frames_done, seed = 1;

/* ---- random numbers (splitmix64) ---- */
static uint64_t state;
static uint64_t next(void) {
  uint64_t z = (state += 0x9E3779B97F4A7C15u);
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
  z = (z ^ z >> 27) * 0x94D049BB133111EBu;
  return z ^ z >> 31;
}
static uint32_t below(uint32_t bound) { return (uint32_t)(next() % bound); }
static bool once_in(uint32_t n) { return below(n) == 0; }

/* ---- a store of a few small files ---- */
enum { FILES = 4, FILE_BYTES = 2048 };
static struct {
  eq_entry entry;
  uint8_t bytes[FILE_BYTES];
  bool used;
} files[FILES];
static struct {
  eq_entry entry;
  uint8_t bytes[FILE_BYTES];
  uint64_t have;
  bool open;
} put;

static bool store_begin(void *c, const eq_entry *entry, size_t *have, eq_failure *f) {
  (void)c;
  REQUIRE(!put.open && strlen(entry->name) <= EQ_NAME_MAX && entry->name[0] != '.' && entry->name[0]);
  if (entry->size > FILE_BYTES) return eq_fail(f, EQ_CODE_TOO_LARGE, "too large");
  const bool same = memcmp(put.entry.sha256, entry->sha256, EQ_SHA256_BYTES) == 0 && put.have <= entry->size;
  if (!same) put.have = 0;
  put.entry = *entry;
  put.open = true;
  *have = put.have;
  return true;
}
static bool store_append(void *c, size_t offset, const uint8_t *bytes, size_t count, eq_failure *f) {
  (void)c;
  REQUIRE(put.open && offset == put.have && count <= put.entry.size - offset);
  if (once_in(50)) return eq_fail(f, EQ_CODE_STORE_FAILED, "worn out");
  if (count > 0) memcpy(put.bytes + offset, bytes, count);
  put.have += count;
  return true;
}
static bool store_read_back(void *c, size_t offset, uint8_t *bytes, size_t count, eq_failure *f) {
  (void)c;
  (void)f;
  REQUIRE(put.open && offset <= put.have && count <= put.have - offset);
  memcpy(bytes, put.bytes + offset, count);
  return true;
}
static int file_of(const char *name) {
  for (int i = 0; i < FILES; i++)
    if (files[i].used && strcmp(files[i].entry.name, name) == 0) return i;
  return -1;
}
static bool store_commit(void *c, eq_failure *f) {
  (void)c;
  REQUIRE(put.open && put.have == put.entry.size);
  int at = file_of(put.entry.name);
  for (int i = 0; at < 0 && i < FILES; i++)
    if (!files[i].used) at = i;
  if (at < 0) return eq_fail(f, EQ_CODE_TOO_LARGE, "full");
  files[at].entry = put.entry;
  files[at].used = true;
  memcpy(files[at].bytes, put.bytes, FILE_BYTES);
  return true;
}
static void store_close(void *c, bool drop) {
  (void)c;
  REQUIRE(put.open);
  put.open = false;
  if (drop) put.have = 0;
}
static const eq_entry *store_entry(void *c, unsigned index) {
  (void)c;
  for (int i = 0; i < FILES; i++)
    if (files[i].used && index-- == 0) return &files[i].entry;
  return NULL;
}
static const eq_entry *store_find(void *c, const char *name, eq_failure *f) {
  (void)c;
  const int i = file_of(name);
  if (i >= 0) return &files[i].entry;
  eq_fail(f, EQ_CODE_NOT_FOUND, "no such file");
  return NULL;
}
static bool store_read(void *c, const eq_entry *entry, size_t offset, uint8_t *bytes, size_t count, eq_failure *f) {
  (void)c;
  (void)f;
  const int i = file_of(entry->name);
  REQUIRE(i >= 0 && offset <= files[i].entry.size && count <= files[i].entry.size - offset);
  if (count > 0) memcpy(bytes, files[i].bytes + offset, count);
  return true;
}
static bool store_erase(void *c, const char *name, eq_failure *f) {
  (void)c;
  const int i = file_of(name);
  if (i < 0) return eq_fail(f, EQ_CODE_NOT_FOUND, "no such file");
  files[i].used = false;
  return true;
}
static size_t store_free(void *c) {
  (void)c;
  return FILE_BYTES;
}

/* ---- an engine whose nets have two inputs and two outputs, each in a block of its own that ASan guards ---- */
enum { NETS = 3, TENSOR_BYTES = 96 };
static struct {
  bool loaded;
  uint8_t *tensors[2][2]; /* inputs, outputs */
} nets[NETS];
static uint8_t trace[300];
static bool traced;

static bool loaded(uint16_t net, eq_failure *f) {
  return (net < NETS && nets[net].loaded) || eq_fail(f, EQ_CODE_BAD_NET, "no such net");
}
static bool engine_load(void *c, const char *name, const char *method, uint16_t *net, eq_failure *f) {
  (void)c;
  (void)method;
  if (file_of(name) < 0) return eq_fail(f, EQ_CODE_NOT_FOUND, "no such file");
  for (*net = 0; *net < NETS; ++*net) {
    if (nets[*net].loaded) continue;
    nets[*net].loaded = true;
    for (int i = 0; i < 4; i++) {
      nets[*net].tensors[i / 2][i % 2] = calloc(1, TENSOR_BYTES);
      REQUIRE(nets[*net].tensors[i / 2][i % 2]);
    }
    return true;
  }
  return eq_fail(f, EQ_CODE_TOO_MANY, "full");
}
static bool engine_unload(void *c, uint16_t net, eq_failure *f) {
  (void)c;
  if (!loaded(net, f)) return false;
  nets[net].loaded = false;
  for (int i = 0; i < 4; i++) free(nets[net].tensors[i / 2][i % 2]);
  return true;
}
static bool engine_describe(void *c, uint16_t net, eq_net *out, eq_failure *f) {
  (void)c;
  if (!loaded(net, f)) return false;
  *out = (eq_net){1, 2, 3, 4, {2, 2}};
  return true;
}
static void engine_tensor(void *c, uint16_t net, bool output, unsigned index, eq_tensor *out) {
  (void)c;
  REQUIRE(index < 2 && net < NETS && nets[net].loaded);
  *out = (eq_tensor){
      output && net == 0 ? EQ_DTYPE_f32 : EQ_DTYPE_u8, 2, {4, 24}, TENSOR_BYTES, nets[net].tensors[output][index]};
  if (out->dtype == EQ_DTYPE_f32) out->shape[1] = 6;
}
static bool engine_run(void *c, uint16_t net, bool fresh, uint64_t *ticks, eq_failure *f) {
  (void)c;
  (void)fresh;
  if (!loaded(net, f)) return false;
  if (once_in(20)) return eq_fail(f, EQ_CODE_RUN_FAILED, "bad day");
  for (int i = 0; i < 2; i++) memcpy(nets[net].tensors[1][i], nets[net].tensors[0][i], TENSOR_BYTES);
  *ticks = next();
  return true;
}
static bool engine_profile(void *c, uint16_t net, uint32_t runs, size_t *size, eq_failure *f) {
  (void)c;
  (void)runs;
  traced = loaded(net, f);
  *size = sizeof trace;
  return traced;
}
static bool engine_profile_read(void *c, size_t offset, uint8_t *bytes, size_t count, eq_failure *f) {
  (void)c;
  (void)f;
  REQUIRE(traced && offset <= sizeof trace && count <= sizeof trace - offset);
  if (count > 0) memcpy(bytes, trace + offset, count);
  return true;
}
static size_t engine_profile_size(void *c) {
  (void)c;
  return traced ? sizeof trace : 0;
}
static size_t engine_peak(void *c) {
  (void)c;
  return 1;
}
static void engine_reset(void *c) {
  eq_failure ignored;
  for (uint16_t net = 0; net < NETS; net++) engine_unload(c, net, &ignored);
}

static const eq_store store = {NULL,        store_begin, store_append, store_read_back, store_commit, store_close,
                               store_entry, store_find,  store_read,   store_erase,     store_free};
static const eq_engine engine = {NULL,        engine_load,    engine_unload,       engine_describe,     engine_tensor,
                                 engine_run,  engine_profile, engine_profile_read, engine_profile_size, engine_peak,
                                 engine_reset};
static const char *const targets[] = {"fuzz", NULL};
static const eq_device device = {NETS, 1, 0, {"fuzz", "fuzz", "none", "none", "ref", "ns"}, targets, 0};

/* ---- what comes back ---- */
enum { PAYLOAD = 1024 };
static uint8_t answer_frame[PAYLOAD + EQ_FRAME_EXTRA];
static eq_parser answers;
static unsigned long answered, carried_out[256]; /* by type of the answer */
static eq_frame last_answer;

static void receive(void *c, const uint8_t *bytes, size_t count) {
  (void)c;
  while (count > 0) {
    size_t used = 0;
    REQUIRE(eq_parser_pending(&answers) || bytes[0] == EQ_MAGIC_0);
    const eq_parse result = eq_parser_feed(&answers, bytes, count, &used, &last_answer);
    REQUIRE(result == EQ_PARSE_MORE || result == EQ_PARSE_FRAME);
    answered += result == EQ_PARSE_FRAME;
    carried_out[last_answer.type] += result == EQ_PARSE_FRAME;
    bytes += used;
    count -= used;
  }
  REQUIRE(!eq_parser_pending(&answers)); /* a frame is sent in one go */
}

/* ---- what goes in ---- */
static void put_name(eq_writer *w) {
  static const char *const names[] = {"a", "b", "c", "model.pte", "e", "", ".hidden", "../up", "name with space"};
  eq_give_text(w, names[below(once_in(8) ? 9 : 5)]);
}

static void give(eq_writer *w, uint64_t value, unsigned bytes) {
  uint8_t *at = eq_give(w, bytes);
  if (at) eq_store_le(at, value, bytes);
}

static uint8_t content[FILE_BYTES];
static uint32_t content_size;
static uint64_t small_or_huge(uint32_t bound) { return once_in(10) ? next() : below(bound); }

/* A request that follows the layout of its type, most of the time with sensible values. */
static uint8_t plausible(eq_writer *w) {
  static const uint8_t types[] = {
#define EQ_FRAME(name, type, request, answer) (type),
#include "frames.def"
  };
  uint8_t type = once_in(40) ? (uint8_t)next() : types[below(sizeof types)];
  if (put.open && !once_in(4)) type = put.have < put.entry.size ? EQ_TYPE_PUT_DATA : EQ_TYPE_PUT_COMMIT;
  eq_sha256 hash;
  uint8_t digest[EQ_SHA256_BYTES];
  uint32_t count;
  switch (type) {
  case EQ_TYPE_HELLO: give(w, next(), 2); break;
  case EQ_TYPE_PUT_BEGIN:
    content_size = below(FILE_BYTES);
    for (uint32_t i = 0; i < content_size; i++) content[i] = (uint8_t)(i * content_size);
    eq_sha256_init(&hash);
    eq_sha256_update(&hash, content, content_size);
    eq_sha256_final(&hash, digest);
    put_name(w);
    eq_give_bytes(w, digest, sizeof digest);
    give(w, once_in(10) ? next() : content_size, 8);
    break;
  case EQ_TYPE_PUT_DATA: {
    const size_t offset = once_in(10) ? next() : put.have;
    give(w, offset, 8);
    if (offset > content_size) break;
    count = content_size - (uint32_t)offset;
    if (count > eq_room(w)) count = (uint32_t)eq_room(w);
    if (once_in(3)) count = below(count + 1);
    eq_give_bytes(w, content + offset, count);
    break;
  }
  case EQ_TYPE_LIST: give(w, small_or_huge(6), 2); break;
  case EQ_TYPE_GET:
    give(w, below(3), 1);
    put_name(w);
    give(w, small_or_huge(FILE_BYTES), 8);
    give(w, small_or_huge(4096), 4);
    break;
  case EQ_TYPE_ERASE:
    if (once_in(4)) put_name(w);
    break;
  case EQ_TYPE_LOAD:
    put_name(w);
    eq_give_text(w, "forward");
    break;
  case EQ_TYPE_INPUT:
  case EQ_TYPE_OUTPUT:
    give(w, below(4), 2);
    give(w, small_or_huge(3), 2);
    give(w, small_or_huge(TENSOR_BYTES + 1), 8);
    if (type == EQ_TYPE_OUTPUT)
      give(w, small_or_huge(TENSOR_BYTES + 1), 4);
    else
      eq_give_bytes(w, content, below(TENSOR_BYTES));
    break;
  case EQ_TYPE_RUN:
    give(w, below(4), 2);
    eq_give_bytes(w, content, once_in(2) ? 0 : 2 * TENSOR_BYTES);
    break;
  case EQ_TYPE_BENCH:
    give(w, below(4), 2);
    give(w, below(5), 4);
    give(w, small_or_huge(150), 4);
    break;
  case EQ_TYPE_EVAL:
    count = below(6);
    give(w, below(4), 2);
    give(w, below(3), 1);
    give(w, count, 2);
    eq_give_bytes(w, content, count * 2 * TENSOR_BYTES < eq_room(w) ? count * 2 * TENSOR_BYTES : 0);
    break;
  case EQ_TYPE_PROFILE:
    give(w, below(4), 2);
    give(w, below(5), 4);
    break;
  case EQ_TYPE_UNLOAD: give(w, below(4), 2); break;
  default: break;
  }
  return type;
}

/* Feeds in pieces of random length. */
static void feed(eq_agent *agent, const uint8_t *bytes, size_t count) {
  while (count > 0) {
    const size_t n = once_in(2) ? count : 1 + below((uint32_t)count);
    eq_agent_feed(agent, bytes, n);
    bytes += n;
    count -= n;
  }
}

static void alive(eq_agent *agent) {
  uint8_t frame[EQ_FRAME_EXTRA + 2] = {0};
  eq_agent_idle(agent);
  const unsigned long before = answered;
  const size_t size = eq_frame_seal(frame, EQ_TYPE_HELLO, 7, 2);
  eq_agent_feed(agent, frame, size);
  REQUIRE(answered == before + 1 && last_answer.type == (EQ_TYPE_HELLO | EQ_ANSWER) && last_answer.seq == 7);
}

static void one(eq_agent *agent) {
  static uint8_t frame[PAYLOAD + EQ_FRAME_EXTRA + 64];
  eq_writer w = {frame + EQ_FRAME_HEADER, frame + EQ_FRAME_HEADER + PAYLOAD, false};
  const uint8_t type = plausible(&w);
  uint32_t length = (uint32_t)(w.at - frame - EQ_FRAME_HEADER);
  const uint16_t seq = (uint16_t)(1 + below(0xFFFF));
  if (once_in(3)) /* damaged before it is sealed: a sound frame with a strange payload */
    for (uint32_t i = below(4) + 1; length > 0 && i > 0; i--) frame[EQ_FRAME_HEADER + below(length)] = (uint8_t)next();
  if (once_in(6)) length = below(length + 1);
  size_t size = eq_frame_seal(frame, type, seq, length);
  if (!once_in(3)) {
    /* sound: exactly one answer, of the right kind, unless the parser still waits inside an earlier frame */
    const bool fresh = !eq_agent_pending(agent);
    const unsigned long before = answered;
    feed(agent, frame, size);
    if (once_in(16)) feed(agent, frame, size); /* repeated: the same answer again */
    if (fresh) {
      REQUIRE(answered == before + 1 || answered == before + 2);
      REQUIRE(last_answer.seq == seq && (last_answer.type == EQ_ERROR || last_answer.type == (type | EQ_ANSWER)));
    }
    return;
  }
  switch (below(6)) { /* damaged on the way */
  case 0: size = below((uint32_t)size); break;
  case 1: frame[below((uint32_t)size)] ^= (uint8_t)(1 << below(8)); break;
  case 2: eq_store_le(frame + 5, next(), 4); break;
  case 3:
    for (size_t i = 0; i < size; i++) frame[i] = (uint8_t)next();
    break;
  case 4:
    memmove(frame + 3, frame, size);
    size += 3;
    break;
  default: frame[size++] = EQ_MAGIC_0; break;
  }
  feed(agent, frame, size);
  if (once_in(3)) eq_agent_idle(agent);
  if (once_in(200)) eq_agent_hangup(agent);
}

int main(int argc, char **argv) {
  const unsigned long frames = argc > 1 ? strtoul(argv[1], NULL, 10) : 100000;
  seed = argc > 2 ? strtoul(argv[2], NULL, 10) : 1;
  state = seed;
  uint8_t *request = malloc(PAYLOAD + EQ_FRAME_EXTRA),
          *answer = malloc(PAYLOAD + EQ_FRAME_EXTRA); /* on the heap: guarded */
  eq_agent agent;
  eq_parser_init(&answers, answer_frame, PAYLOAD);
  REQUIRE(request && answer);
  REQUIRE(!eq_agent_init(&agent, &store, &engine, &device, receive, NULL, request, answer, EQ_AGENT_MIN_PAYLOAD - 1));
  REQUIRE(eq_agent_init(&agent, &store, &engine, &device, receive, NULL, request, answer, PAYLOAD));
  for (frames_done = 0; frames_done < frames; frames_done++) {
    one(&agent);
    if (frames_done % 64 == 0) alive(&agent);
  }
  alive(&agent);
  eq_agent_hangup(&agent);
  free(request);
  free(answer);
  /* did it get past the checks, everywhere? */
#define EQ_FRAME(name, type, request, answer) REQUIRE(frames < 10000 || carried_out[(type) | EQ_ANSWER] > 0);
#include "frames.def"
  printf("%lu frames, seed %lu: %lu answers, %lu of them refusals\n", frames, seed, answered, carried_out[EQ_ERROR]);
  return 0;
}
