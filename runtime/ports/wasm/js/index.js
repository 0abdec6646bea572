// EdgeQ models in JavaScript: a `.pte` made by `edgeq compile MODEL --target micro`, run by a WebAssembly module.
//
//   const model = await EdgeQ.load(pteBytes);
//   const logits = model.run(new Float32Array(28 * 28));
//
// Each model has an instance of the module, and so memory of its own; it goes when the model is collected.

const CODES = [
  'OK', 'BAD_HEADER', 'BAD_FORMAT', 'TOO_LARGE', 'NOT_FOUND', 'NOT_MICRO', 'NO_OPERATOR', 'BAD_ARGUMENT', 'NO_MEMORY',
  'UNALIGNED',
]; // eqm_status of micro.h, in order
const TYPES = new Map([
  [0, ['uint8', Uint8Array]], [1, ['int8', Int8Array]], [2, ['int16', Int16Array]], [3, ['int32', Int32Array]],
  [4, ['int64', BigInt64Array]], [5, ['float16', Uint16Array]], [6, ['float32', Float32Array]], [11, ['bool', Uint8Array]],
]); // element types of micro.h; float16 travels as its bits
const VALUE = { type: 1, rank: 2, data: 4, size: 8, count: 12 }; // eqm_value, checked in module.c
const MOST_MEMORY = 256 * 2 ** 20;
const NO_SUCH_TENSOR = 0;
// (module (func (result v128) i32.const 0 i8x16.splat i8x16.popcnt))
const SIMD_PROBE = Uint8Array.of(
  0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 10, 1, 8, 0, 65, 0, 253, 15, 253, 98, 11,
);

/** Base of all errors here; `code` says which. */
export class EdgeQError extends Error {
  constructor(code, message) {
    super(message);
    this.name = new.target.name;
    this.code = code;
  }
}
/** The program was refused; `call` is the number of the refused call, or null. */
export class ProgramError extends EdgeQError {
  constructor(code, message, call = null) {
    super(code, message);
    this.call = call;
  }
}
/** What was given to `run` does not fit the model's inputs. */
export class InputError extends EdgeQError {}
/** The WebAssembly module cannot be had, or stopped. */
export class ModuleError extends EdgeQError {}

/** Does this engine know the vector instructions? */
export function hasSimd() {
  return WebAssembly.validate(SIMD_PROBE);
}

export class Model {
  #exports;
  #inputs;
  #outputs;
  #stopped = false;

  /** Use `EdgeQ.load`. */
  constructor(exports, simd) {
    this.#exports = exports;
    this.#inputs = tensors(exports, exports.eqw_input);
    this.#outputs = tensors(exports, exports.eqw_output);
    this.inputs = Object.freeze(this.#inputs.map(described));
    this.outputs = Object.freeze(this.#outputs.map(described));
    this.memoryBytes = exports.eqw_memory();
    this.simd = simd;
    Object.freeze(this);
  }

  /** Runs the model on its inputs, one typed array each, and gives its first output. */
  run(...inputs) {
    return this.runAll(...inputs)[0];
  }

  /** The same, with every output. The arrays are copies: they stay as they are. */
  runAll(...inputs) {
    if (this.#stopped) throw new ModuleError('STOPPED', 'an earlier run of this model stopped it; load it again');
    if (inputs.length !== this.#inputs.length)
      throw new InputError('INPUT_COUNT', `the model takes ${this.#inputs.length} inputs, got ${inputs.length}`);
    this.#inputs.forEach((tensor, i) => checkInput(tensor, inputs[i], i));
    this.#inputs.forEach((tensor, i) => view(this.#exports, tensor).set(inputs[i]));
    this.#stopped = true; // unless it comes back
    const status = guarded(this.#exports.eqw_run);
    this.#stopped = false;
    if (status !== 0) throw new ProgramError(CODES[status] ?? 'UNKNOWN', text(this.#exports, status));
    return this.#outputs.map((tensor) => view(this.#exports, tensor).slice());
  }
}

/** Calls into the module; a trap becomes an error of ours. */
function guarded(call, ...args) {
  try {
    return call(...args);
  } catch (error) {
    throw new ModuleError('STOPPED', `the model stopped: ${error.message}; load it again`);
  }
}

function checkInput(tensor, given, i) {
  const { array, type, shape, count } = tensor;
  if (!(given instanceof array))
    throw new InputError('INPUT_TYPE', `input ${i} is ${type}: give a ${array.name}, got ${kindOf(given)}`);
  if (given.length !== count)
    throw new InputError('INPUT_LENGTH', `input ${i} is [${shape}]: give ${count} elements, got ${given.length}`);
}

function kindOf(value) {
  return value?.constructor?.name ?? String(value);
}

function described({ type, shape, count, array }) {
  return Object.freeze({ type, shape: Object.freeze(shape), bytes: count * array.BYTES_PER_ELEMENT });
}

function tensors(exports, at) {
  const found = [];
  for (let v = at(0); v !== NO_SUCH_TENSOR; v = at(found.length)) {
    const memory = new DataView(exports.memory.buffer);
    const [type, array] = TYPES.get(memory.getUint8(v + VALUE.type));
    const size = memory.getUint32(v + VALUE.size, true);
    const shape = Array.from({ length: memory.getUint8(v + VALUE.rank) }, (_, d) => memory.getInt32(size + 4 * d, true));
    found.push({ type, array, shape, data: memory.getUint32(v + VALUE.data, true), count: memory.getUint32(v + VALUE.count, true) });
  }
  return found;
}

function view(exports, { array, data, count }) {
  return new array(exports.memory.buffer, data, count);
}

function text(exports, status) {
  const bytes = new Uint8Array(exports.memory.buffer, exports.eqw_status_text(status) >>> 0);
  return new TextDecoder().decode(bytes.subarray(0, bytes.indexOf(0)));
}

function asBytes(given, what) {
  if (given instanceof ArrayBuffer) return new Uint8Array(given);
  if (ArrayBuffer.isView(given)) return new Uint8Array(given.buffer, given.byteOffset, given.byteLength);
  throw new InputError('INPUT_TYPE', `${what}: give an ArrayBuffer or a typed array, got ${kindOf(given)}`);
}

// ---- the module: compiled once for all models

const compiled = new Map();

async function beside(file) {
  const url = new URL(file, import.meta.url);
  if (url.protocol === 'file:' && typeof process === 'object') return (await import('node:fs/promises')).readFile(url);
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
  return answer.arrayBuffer();
}

async function moduleFor(simd, wasm) {
  const file = simd ? 'edgeq-simd.wasm' : 'edgeq.wasm';
  try {
    if (wasm) return await WebAssembly.compile(asBytes(wasm, 'wasm'));
    if (!compiled.has(file)) compiled.set(file, beside(file).then((bytes) => WebAssembly.compile(bytes)));
    return await compiled.get(file);
  } catch (error) {
    compiled.delete(file);
    if (error instanceof EdgeQError) throw error;
    throw new ModuleError('NO_MODULE', `the WebAssembly module cannot be had: ${error.message}`);
  }
}

/**
 * Proves a program and makes it ready to run.
 *   pte                       ArrayBuffer or typed array: what `edgeq compile --target micro` wrote
 *   options.simd              false: the module without vector instructions; else what the engine can
 *   options.wasm              the module's bytes, where it does not lie beside this file
 *   options.mostMemoryBytes   the model may not take more in all (256 MB)
 */
async function load(pte, { simd = hasSimd(), wasm = null, mostMemoryBytes = MOST_MEMORY } = {}) {
  const bytes = asBytes(pte, 'pte');
  const { exports } = await WebAssembly.instantiate(await moduleFor(simd, wasm));
  const at = exports.eqw_program(bytes.length, mostMemoryBytes) >>> 0;
  if (at === 0)
    throw new ProgramError('NO_MEMORY', `a program of ${bytes.length} bytes does not fit the ${mostMemoryBytes} that it may take`);
  new Uint8Array(exports.memory.buffer, at, bytes.length).set(bytes);
  const status = guarded(exports.eqw_load);
  if (status !== 0) {
    const code = CODES[status] ?? 'UNKNOWN';
    const more = code === 'NO_MEMORY' ? `: it takes ${exports.eqw_memory() >>> 0} bytes, it may ${mostMemoryBytes} in all` : '';
    throw new ProgramError(code, text(exports, status) + more, code === 'NO_OPERATOR' || code === 'BAD_ARGUMENT' ? exports.eqw_failed_call() : null);
  }
  return new Model(exports, simd);
}

export const EdgeQ = Object.freeze({ load, hasSimd });
