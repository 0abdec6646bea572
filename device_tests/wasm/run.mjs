// Runs a program on inputs and writes its outputs: node run.mjs PACKAGE PTE INPUTS simd|plain
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [folder, pte, inputs, kind] = process.argv.slice(2);
const { EdgeQ } = await import(pathToFileURL(`${folder}/index.js`));
const model = await EdgeQ.load(readFileSync(pte), { simd: kind === 'simd' });
const bytes = readFileSync(inputs);
const all = new Float32Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const each = model.inputs[0].bytes / Float32Array.BYTES_PER_ELEMENT;
const outputs = [];
for (let at = 0; at < all.length; at += each) outputs.push(Buffer.from(model.run(all.subarray(at, at + each)).buffer));
process.stdout.write(Buffer.concat(outputs));
