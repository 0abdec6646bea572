/** Bytes of a file. */
export type Bytes = ArrayBuffer | ArrayBufferView;
export type ElementType = 'uint8' | 'int8' | 'int16' | 'int32' | 'int64' | 'float16' | 'float32' | 'bool';
/** float16 as its bits in a Uint16Array, bool as 0 and 1 in a Uint8Array. */
export type TensorData = Uint8Array | Int8Array | Int16Array | Int32Array | BigInt64Array | Uint16Array | Float32Array;

export interface Tensor {
  readonly type: ElementType;
  /** Row by row; images are [1, height, width, channels]. */
  readonly shape: readonly number[];
  readonly bytes: number;
}

export type ErrorCode =
  | 'BAD_HEADER' | 'BAD_FORMAT' | 'TOO_LARGE' | 'NOT_FOUND' | 'NOT_MICRO' | 'NO_OPERATOR' | 'BAD_ARGUMENT' | 'NO_MEMORY'
  | 'UNALIGNED' | 'UNKNOWN' | 'INPUT_COUNT' | 'INPUT_TYPE' | 'INPUT_LENGTH' | 'NO_MODULE' | 'STOPPED';

export class EdgeQError extends Error {
  readonly code: ErrorCode;
}
/** The program was refused; `call` is the number of the refused call, or null. */
export class ProgramError extends EdgeQError {
  readonly call: number | null;
}
/** What was given does not fit. */
export class InputError extends EdgeQError {}
/** The WebAssembly module cannot be had, or stopped. */
export class ModuleError extends EdgeQError {}

export class Model {
  private constructor();
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  /** What the model takes beside its program. */
  readonly memoryBytes: number;
  readonly simd: boolean;
  /** The first output, as a copy. */
  run(...inputs: TensorData[]): TensorData;
  /** Every output, as copies. */
  runAll(...inputs: TensorData[]): TensorData[];
}

export interface LoadOptions {
  /** false: the module without vector instructions. Default: what the engine can. */
  simd?: boolean;
  /** The module's bytes, where it does not lie beside index.js. */
  wasm?: Bytes | null;
  /** The model may not take more in all. Default: 256 MB. */
  mostMemoryBytes?: number;
}

/** Does this engine know the vector instructions? */
export function hasSimd(): boolean;

export const EdgeQ: {
  readonly load: (pte: Bytes, options?: LoadOptions) => Promise<Model>;
  readonly hasSimd: typeof hasSimd;
};
