// Loads damaged copies of a program, runs those that load, and counts what came: node hostile.mjs PACKAGE PTE ROUNDS SEED
// A trap, or an error that is none of EdgeQ's, ends it.
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, file, rounds, seed] = process.argv.slice(2);
const { EdgeQ, InputError, ProgramError } = await import(pathToFileURL(`${folder}/index.js`));
const MOST = 8 * 2 ** 20, SMALL = 2 ** 20; // a program that takes more than SMALL may run for long
const WORDS = [0, 1, 2, 3, 4, 8, 16, 64, 255, 0x10000, 0x7fffffff, 0x80000000, 0xfffffffc, 0xffffffff];
let state = Number(seed);
const draw = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

const original = readFileSync(file), met = {};
for (let round = 0; round < Number(rounds); round++) {
  const bytes = new Uint8Array(draw(32) ? original : original.subarray(0, draw(original.length))), view = new DataView(bytes.buffer);
  for (let k = draw(4); k >= 0 && bytes.length === original.length; k--) {
    if (draw(2)) bytes[draw(bytes.length)] ^= 1 << draw(8);
    else view.setUint32(4 * draw(bytes.length / 4), WORDS[draw(WORDS.length)], true);
  }
  let code = 'OK';
  try {
    const model = await EdgeQ.load(bytes, { simd: round % 2 === 0, mostMemoryBytes: MOST });
    if (model.memoryBytes < SMALL) model.runAll(...model.inputs.map(({ bytes }) => new Float32Array(bytes >> 2)));
  } catch (error) {
    if (!(error instanceof ProgramError || error instanceof InputError)) throw error;
    code = error.code;
  }
  met[code] = (met[code] ?? 0) + 1;
}
console.log(JSON.stringify(met));
