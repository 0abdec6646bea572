#include "mlperf.h"

#include "wire.h"

enum { PRINTED = 8 /* bytes a line of `db print` */, WARMUP = 10, MAX_RUNS = 1000000 };

static void say(const eq_mlperf *d, const char *text) {
  size_t count = 0;
  while (text[count]) count++;
  d->port->send(d->port->context, (const uint8_t *)text, count);
}

static void say_number(const eq_mlperf *d, uint64_t number) {
  char digits[21];
  size_t at = sizeof digits - 1;
  digits[at] = 0;
  do {
    digits[--at] = (char)('0' + number % 10);
    number /= 10;
  } while (number);
  say(d, digits + at);
}

static void say_byte(const eq_mlperf *d, uint8_t byte) {
  static const char hex[] = "0123456789abcdef";
  const char text[] = {'-', hex[byte >> 4], hex[byte & 15], 0};
  say(d, text);
}

/* Three decimals, rounded; what is beyond 32 bits is cut to them. */
static void say_float(const eq_mlperf *d, float value) {
  if (value != value) {
    say(d, "nan");
    return;
  }
  if (value < 0) say(d, "-");
  const float size = value < 0 ? -value : value;
  uint32_t whole = size < 4294967040.0f ? (uint32_t)size : 4294967040u;
  uint32_t thousandths = size < 4294967040.0f ? (uint32_t)((size - (float)whole) * 1000.0f + 0.5f) : 0;
  if (thousandths == 1000) {
    whole++;
    thousandths = 0;
  }
  const char decimals[] = {'.', (char)('0' + thousandths / 100), (char)('0' + thousandths / 10 % 10),
                           (char)('0' + thousandths % 10), 0};
  say_number(d, whole);
  say(d, decimals);
}

static void say_line(const eq_mlperf *d, const char *text) {
  say(d, text);
  say(d, "\r\n");
}

static void say_count(const eq_mlperf *d, const char *before, size_t count, const char *after) {
  say(d, before);
  say_number(d, count);
  say_line(d, after);
}

static bool fail(const eq_mlperf *d, const char *why) {
  say(d, "e-[");
  say(d, why);
  say_line(d, "]");
  return false;
}

/* The next word of the line, terminated; NULL at its end. */
static char *next_word(char **line) {
  char *at = *line;
  while (*at == ' ') at++;
  char *const word = at;
  while (*at && *at != ' ') at++;
  if (*at) *at++ = 0;
  *line = at;
  return *word ? word : NULL;
}

static bool is(const char *word, const char *known) {
  while (*word && *word == *known) word++, known++;
  return *word == *known;
}

/* A number up to `most`; false for anything else. */
static bool number_of(const char *word, size_t most, size_t *number) {
  *number = 0;
  if (!word) return false;
  for (; *word; word++) {
    if (*word < '0' || *word > '9') return false;
    *number = *number * 10 + (size_t)(*word - '0');
    if (*number > most) return false;
  }
  return true;
}

static int digit_of(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

/* Is the program that was loaded still the loaded one? The other conversation may have changed it. */
static bool still_loaded(eq_mlperf *d, eq_net *net) {
  eq_failure failure;
  const eq_engine *e = d->port->engine;
  if (d->loaded && e->describe(e->context, d->net, net, &failure)) return true;
  d->loaded = false;
  d->input = NULL;
  d->expected = d->have = 0;
  return false;
}

/* The first program of the store. */
static const eq_entry *stored(const eq_mlperf *d) { return d->port->store->entry(d->port->store->context, 0); }

static bool load(eq_mlperf *d, eq_net *net) {
  if (still_loaded(d, net)) return true;
  eq_failure failure;
  const eq_engine *e = d->port->engine;
  const eq_entry *entry = stored(d);
  if (!entry) return fail(d, "no program is stored");
  if (!e->load(e->context, entry->name, "forward", &d->net, &failure)) return fail(d, "the program cannot be loaded");
  d->loaded = true;
  return still_loaded(d, net) || fail(d, "the program cannot be described");
}

/* Of the loaded net. */
static eq_tensor tensor(const eq_mlperf *d, bool output, unsigned index) {
  const eq_engine *e = d->port->engine;
  eq_tensor t;
  e->tensor(e->context, d->net, output, index, &t);
  return t;
}

/* Bytes of all inputs, one after the other. */
static size_t input_bytes(const eq_mlperf *d, const eq_net *net) {
  size_t sum = 0;
  for (unsigned i = 0; i < net->tensors[0]; i++) sum += tensor(d, false, i).bytes;
  return sum;
}

static bool run_once(const eq_mlperf *d, const eq_net *net) {
  eq_failure failure;
  uint64_t ticks;
  const eq_engine *e = d->port->engine;
  const uint8_t *at = d->input;
  for (unsigned i = 0; i < net->tensors[0]; i++) {
    const eq_tensor t = tensor(d, false, i);
    eq_copy(t.data, at, t.bytes);
    at += t.bytes;
  }
  d->port->now_us(d->port->context); /* so that its counter wraps once at most before it is looked at */
  return e->run(e->context, d->net, true, &ticks, &failure);
}

static void timestamp(const eq_mlperf *d) {
  if (d->port->edge) {
    d->port->edge(d->port->context);
    return;
  }
  say(d, "m-lap-us-");
  say_number(d, d->port->now_us(d->port->context));
  say(d, "\r\n");
}

static bool results(eq_mlperf *d) {
  eq_net net;
  if (!still_loaded(d, &net) || !net.tensors[1]) return fail(d, "nothing was inferred");
  const eq_tensor t = tensor(d, true, 0);
  if (t.dtype != EQ_DTYPE_f32) return fail(d, "the output is not float32");
  say(d, "m-results-[");
  for (size_t at = 0; t.data && at < t.bytes; at += sizeof(float)) {
    if (at) say(d, ",");
    say_float(d, *(const float *)(const void *)(t.data + at));
  }
  say_line(d, "]");
  return true;
}

static bool infer(eq_mlperf *d, char *rest) {
  eq_net net;
  size_t runs, warmup = WARMUP;
  const char *const first = next_word(&rest), *const second = next_word(&rest);
  if (!number_of(first, MAX_RUNS, &runs) || runs == 0) return fail(d, "infer needs a number of runs");
  if (second && !number_of(second, MAX_RUNS, &warmup)) return fail(d, "infer: no such number of warm-up runs");
  if (!still_loaded(d, &net) || !d->expected || d->have < d->expected) return fail(d, "no input is loaded");
  if (d->expected != input_bytes(d, &net)) {
    say(d, "e-[The input has ");
    say_number(d, input_bytes(d, &net));
    say_count(d, " bytes, not ", d->expected, "]");
    return false;
  }
  say_count(d, "m-warmup-start-", warmup, "");
  while (warmup--)
    if (!run_once(d, &net)) return fail(d, "the inference failed");
  say_line(d, "m-warmup-done");
  say_count(d, "m-infer-start-", runs, "");
  timestamp(d);
  while (runs--)
    if (!run_once(d, &net)) return fail(d, "the inference failed");
  timestamp(d);
  say_line(d, "m-infer-done");
  return results(d);
}

static bool db_load(eq_mlperf *d, const char *word) {
  eq_net net;
  size_t bytes, room = 0;
  if (!number_of(word, SIZE_MAX / 16, &bytes) || bytes == 0) return fail(d, "db load needs a number of bytes");
  d->expected = d->have = 0;
  if (!load(d, &net)) return false;
  d->input = d->port->spare(d->port->context, &room);
  if (bytes > room) {
    say(d, "e-[Room for ");
    say_number(d, room);
    say_count(d, " bytes, not ", bytes, "]");
    return false;
  }
  d->expected = bytes;
  say_count(d, "m-[Expecting ", bytes, " bytes]");
  return true;
}

static bool db_print(eq_mlperf *d) {
  eq_net net;
  if (!still_loaded(d, &net)) return fail(d, "the buffer is empty");
  for (size_t at = 0; at < d->have; at += PRINTED) {
    say(d, "m-buffer");
    for (size_t i = at; i < d->have && i < at + PRINTED; i++) say_byte(d, d->input[i]);
    say_line(d, "");
  }
  return true;
}

static bool db_append(eq_mlperf *d, const char *digits) {
  eq_net net;
  if (!still_loaded(d, &net) || !d->expected) return fail(d, "db load comes first");
  if (d->have == d->expected) return fail(d, "all bytes are here");
  size_t count = 0;
  for (; digits[count]; count++)
    if (digit_of(digits[count]) < 0) return fail(d, "not a hexadecimal digit");
  if (count % 2) return fail(d, "an odd number of digits");
  for (size_t i = 0; i < count && d->have < d->expected; i += 2)
    d->input[d->have++] = (uint8_t)(digit_of(digits[i]) << 4 | digit_of(digits[i + 1]));
  if (d->have == d->expected) say_line(d, "m-load-done");
  return true;
}

static bool db(eq_mlperf *d, char *rest) {
  char *const word = next_word(&rest);
  if (!word) return fail(d, "db needs load, print or hexadecimal digits");
  if (is(word, "load")) return db_load(d, next_word(&rest));
  if (is(word, "print")) return db_print(d);
  return db_append(d, word);
}

/* The runner knows five models by name: a program stored under one of them is announced as that. */
static bool profile(eq_mlperf *d) {
  const eq_entry *entry = stored(d);
  say_line(d, "m-profile-[ULPMark for tinyML Firmware V0.0.1]");
  say(d, "m-model-[");
  if (entry) say(d, entry->name);
  say_line(d, "]");
  return true;
}

static bool unknown(const eq_mlperf *d, const char *word) {
  say(d, "e-[Unknown command: ");
  say(d, word);
  say_line(d, "]");
  return false;
}

static void command(eq_mlperf *d) {
  char *rest = d->line;
  const char *const word = next_word(&rest);
  if (d->too_long) {
    fail(d, "a command has at most 80 characters");
  } else if (!word) {
    fail(d, "Empty command");
  } else if (is(word, "name")) {
    say_line(d, "m-name-dut-[edgeq]");
  } else if (is(word, "profile")) {
    profile(d);
  } else if (is(word, "timestamp")) {
    timestamp(d);
  } else if (is(word, "db")) {
    db(d, rest);
  } else if (is(word, "infer")) {
    infer(d, rest);
  } else if (is(word, "results")) {
    results(d);
  } else if (is(word, "help")) {
    say_line(d, "name% profile% timestamp% db load N% db HEX% db print% infer N W% results% help%");
  } else {
    unknown(d, word);
  }
  say_line(d, "m-ready");
}

void eq_mlperf_init(eq_mlperf *d, const eq_mlperf_port *port) {
  *d = (eq_mlperf){.port = port};
  say_line(d, "m-init-done");
  say_line(d, "m-ready");
}

void eq_mlperf_feed(eq_mlperf *d, uint8_t byte) {
  if (byte == '%') {
    d->line[d->length] = 0;
    if (!d->foreign) command(d);
    d->length = 0;
    d->too_long = d->foreign = false;
  } else if (byte == '\r' || byte == '\n') {
    return; /* a terminal's */
  } else if (byte < ' ' || byte > '~') {
    d->foreign = true; /* what is left of a damaged frame: not meant for us up to the next '%' */
  } else if (d->length < EQ_MLPERF_LINE) {
    d->line[d->length++] = (char)byte;
  } else {
    d->too_long = true;
  }
}
