// From what a user gives to a network's input, with the numbers of edgeq.data and edgeq.datasets.features.

/** Bytes [..., channels] to float32: (x * scale - mean) / std, each step rounded to float32. */
export function normalise(bytes, { scale, mean, std }) {
  const f = Math.fround, channels = mean.length;
  return Float32Array.from(bytes, (x, i) => f(f(f(x * f(scale)) - f(mean[i % channels])) / f(std[i % channels])));
}

/** The bytes that `normalise` turns into what is nearest to the float features. */
export function quantised(features, preprocessing) {
  const f = Math.fround, [zero, one] = normalise(Uint8Array.of(0, 1), { ...preprocessing, mean: [preprocessing.mean[0]], std: [preprocessing.std[0]] });
  return Uint8Array.from(features, (x) => Math.min(255, Math.max(0, halfToEven(f(f(x - zero) / f(one - zero))))));
}

function halfToEven(x) {
  const floor = Math.floor(x), rest = x - floor;
  return rest < 0.5 || (rest === 0.5 && floor % 2 === 0) ? floor : floor + 1;
}

/** RGBA pixels to bytes [..., channels]; 1 channel: their luminance. invert: white becomes black. */
export function pixels(rgba, channels, invert) {
  const out = new Uint8Array((rgba.length / 4) * channels), turn = invert ? 255 : 0;
  for (let i = 0; i < out.length; i++) {
    const at = Math.floor(i / channels) * 4, [r, g, b] = [rgba[at], rgba[at + 1], rgba[at + 2]];
    out[i] = turn ^ (channels === 1 ? Math.round((299 * r + 587 * g + 114 * b) / 1000) : rgba[at + (i % channels)]);
  }
  return out;
}

// ---- speech

export const RATE_HZ = 8000, SAMPLES = 8000;
const FRAMES = 49, BANDS = 40, FRAME = 256, HOP = 160, BINS = FRAME / 2 + 1;
const [LOWEST_HZ, HIGHEST_HZ] = [60, 3900], RMS = 0.1, NOISE = 1e-3, SMALLEST = 1e-6, SCALE = 4;

const sum = (values) => values.reduce((a, b) => a + b, 0);
const mean = (values) => sum(values) / values.length;

/** The middle second of a recording at 8 kHz; a shorter one gets zeros on both sides. */
export function middle(wave) {
  const out = new Float64Array(SAMPLES), excess = wave.length - SAMPLES;
  if (excess >= 0) out.set(wave.subarray(Math.floor(excess / 2), Math.floor(excess / 2) + SAMPLES));
  else out.set(wave, Math.floor(-excess / 2));
  return out;
}

/** One second to [49][40] log-mel energies. */
export function logMel(second) {
  const offset = mean(second), centred = second.map((v) => v - offset);
  const gain = RMS / Math.max(Math.sqrt(mean(centred.map((v) => v * v))), 1e-12);
  const hann = Float64Array.from({ length: FRAME }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / FRAME));
  const cosine = Float64Array.from({ length: FRAME }, (_, i) => Math.cos((2 * Math.PI * i) / FRAME));
  const floor = NOISE ** 2 * sum(hann.map((v) => v * v)), filters = triangles();
  const mel = new Float64Array(FRAMES * BANDS), power = new Float64Array(BINS);
  for (let t = 0; t < FRAMES; t++) {
    const frame = hann.map((v, i) => v * gain * centred[t * HOP + i]);
    for (let k = 0; k < BINS; k++) {
      let re = 0, im = 0; // sin x = cos(x - quarter)
      for (let i = 0; i < FRAME; i++) {
        re += frame[i] * cosine[(k * i) % FRAME];
        im += frame[i] * cosine[(k * i + (3 * FRAME) / 4) % FRAME];
      }
      power[k] = re * re + im * im + floor;
    }
    filters.forEach((filter, band) => (mel[t * BANDS + band] = Math.log(sum(filter.map((v, k) => v * power[k])) + SMALLEST)));
  }
  const level = mean(mel);
  return Float32Array.from(mel, (v) => (v - level) / SCALE);
}

/** [BANDS][BINS]: triangles with their corners at equal distances in mel. */
function triangles() {
  const toMel = (f) => 2595 * Math.log10(1 + f / 700), low = toMel(LOWEST_HZ), step = (toMel(HIGHEST_HZ) - low) / (BANDS + 1);
  const corners = Array.from({ length: BANDS + 2 }, (_, i) => 700 * (10 ** ((low + i * step) / 2595) - 1));
  return Array.from({ length: BANDS }, (_, b) =>
    Float64Array.from({ length: BINS }, (_, k) => {
      const f = (k * RATE_HZ) / FRAME;
      const rising = (f - corners[b]) / (corners[b + 1] - corners[b]);
      return Math.max(0, Math.min(rising, (corners[b + 2] - f) / (corners[b + 2] - corners[b + 1])));
    }),
  );
}
