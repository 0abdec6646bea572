// Sound to the network's bytes as the page does it: node features.mjs PREPARE_JS WAVE PREPROCESSING > features, bytes
import { readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

const [script, wave, preprocessing] = process.argv.slice(2);
const { logMel, middle, normalise, quantised } = await import(pathToFileURL(script));
const bytes = readFileSync(wave), samples = new Float64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
const features = logMel(middle(samples)), codes = quantised(features, JSON.parse(preprocessing));
for (const part of [features, codes, normalise(codes, JSON.parse(preprocessing))])
  process.stdout.write(Buffer.from(part.buffer));
