// What goes wrong and how it is called, as JSON lines: node errors.mjs PACKAGE PTE
import { readFileSync, renameSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const { EdgeQ, EdgeQError } = await import(pathToFileURL(`${folder}/index.js`));
const pte = readFileSync(file), model = await EdgeQ.load(pte);
const [{ shape }] = model.inputs, right = new Float32Array(shape.reduce((a, b) => a * b));

/** Room for the program, and not for what it takes besides. */
let enough = 2 ** 16;
for (let fits = false; !fits && enough < 2 ** 20; enough += fits ? 0 : 1024)
  await EdgeQ.load(pte, { mostMemoryBytes: enough }).catch((error) => (fits = !error.message.startsWith('a program')));

async function tell(name, attempt) {
  try {
    await attempt();
    console.log(JSON.stringify({ name }));
  } catch (error) {
    const { name: kind, code, message, call } = error;
    console.log(JSON.stringify({ name, kind, code, message, call, ours: error instanceof EdgeQError }));
  }
}

await tell('fine', () => model.run(right));
await tell('empty', () => EdgeQ.load(new Uint8Array(0)));
await tell('text', () => EdgeQ.load('model.pte'));
await tell('short', () => EdgeQ.load(pte.subarray(0, 1000)));
await tell('foreign', () => EdgeQ.load(readFileSync(file.replace('tiny', 'full'))));
await tell('no memory', () => EdgeQ.load(pte, { mostMemoryBytes: enough }));
await tell('no room', () => EdgeQ.load(new Uint8Array(2 ** 20), { mostMemoryBytes: 2 ** 18 }));
await tell('count', () => model.run());
await tell('type', () => model.run(Array.from(right)));
await tell('length', () => model.run(right.subarray(1)));
await tell('module', () => EdgeQ.load(pte, { wasm: new Uint8Array(8) }));
renameSync(`${folder}/edgeq.wasm`, `${folder}/elsewhere.wasm`);
await tell('no module', () => EdgeQ.load(pte, { simd: false }));
renameSync(`${folder}/elsewhere.wasm`, `${folder}/edgeq.wasm`);
await tell('module again', () => EdgeQ.load(pte, { simd: false }));
