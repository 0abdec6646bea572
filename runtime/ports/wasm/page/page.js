// The page: a picture that is drawn or dropped, or a recording that is dropped, goes through the model at once.
const element = (id) => document.getElementById(id);
const given = JSON.parse(element('model').textContent);
const [HEIGHT, WIDTH, CHANNELS] = given.input;
const SOUND = given.task === 'audio-classification';
const TIMED = 11, BATCH = 5; // clocks of browsers tick every 0.1 ms
const pad = element('pad'), pen = pad.getContext('2d', { willReadFrequently: true });

const decoded = (base64) => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
const kilobytes = (bytes) => `${(bytes / 1000).toFixed(bytes < 100000 ? 1 : 0)} kB`;

/** Runs the model some times; the answer, and the median time of a run in milliseconds. */
function timed(model, input) {
  const times = [];
  let logits;
  for (let i = 0; i < TIMED; i++) {
    const start = performance.now();
    for (let run = 0; run < BATCH; run++) logits = model.run(input);
    times.push((performance.now() - start) / BATCH);
  }
  return { logits, median: times.sort((a, b) => a - b)[TIMED >> 1] };
}

function show(model, bytes) {
  const { logits, median } = timed(model, normalise(bytes, given.preprocessing));
  const top = Math.max(...logits), shares = Array.from(logits, (v) => Math.exp(v - top)), total = shares.reduce((a, b) => a + b);
  const order = shares.map((_, i) => i).sort((a, b) => shares[b] - shares[a]);
  element('answer').textContent = given.labels[order[0]];
  element('classes').replaceChildren(...order.map((i) => row(given.labels[i], shares[i] / total, logits[i])));
  element('latency').textContent = `${median.toFixed(2)} ms, median of ${TIMED * BATCH} runs`;
  element('error').textContent = '';
}

function row(label, share, logit) {
  const item = document.createElement('li'), name = document.createElement('span'), bar = document.createElement('span');
  const fill = document.createElement('i'), number = document.createElement('span');
  item.dataset.label = name.textContent = label;
  item.dataset.logit = logit;
  bar.className = 'bar';
  fill.style.width = `${100 * share}%`;
  number.className = 'share';
  number.textContent = `${(100 * share).toFixed(1)} %`;
  bar.append(fill);
  item.append(name, bar, number);
  return item;
}

function clear() {
  pen.fillStyle = '#000';
  pen.fillRect(0, 0, pad.width, pad.height);
  element('answer').textContent = '';
  element('classes').replaceChildren();
}

// ---- pictures

/** What lies on a canvas or in a picture, scaled to the network's extents; a picture that has them stays as it is. */
function shrunk(picture, width, height) {
  const small = new OffscreenCanvas(WIDTH, HEIGHT).getContext('2d', { willReadFrequently: true });
  const scale = Math.min(WIDTH / width, HEIGHT / height), w = width * scale, h = height * scale;
  small.fillStyle = element('invert').checked ? '#fff' : '#000';
  small.fillRect(0, 0, WIDTH, HEIGHT);
  small.imageSmoothingQuality = 'high';
  small.drawImage(picture, (WIDTH - w) / 2, (HEIGHT - h) / 2, w, h);
  return small.getImageData(0, 0, WIDTH, HEIGHT).data;
}

async function picture(model, file) {
  const bitmap = await createImageBitmap(file);
  const rgba = shrunk(bitmap, bitmap.width, bitmap.height);
  pen.imageSmoothingEnabled = false;
  clear();
  pen.drawImage(await createImageBitmap(new ImageData(rgba, WIDTH, HEIGHT)), 0, 0, pad.width, pad.height);
  show(model, pixels(rgba, CHANNELS, element('invert').checked));
}

function drawing(model) {
  let from = null;
  const at = (event) => [(event.offsetX * pad.width) / pad.clientWidth, (event.offsetY * pad.height) / pad.clientHeight];
  pad.addEventListener('pointerdown', (event) => {
    pad.setPointerCapture(event.pointerId);
    from = at(event);
  });
  pad.addEventListener('pointermove', (event) => {
    if (!from) return;
    pen.strokeStyle = '#ddd';
    pen.lineWidth = 22;
    pen.lineCap = 'round';
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(...(from = at(event)));
    pen.stroke();
  });
  pad.addEventListener('pointerup', () => {
    from = null;
    show(model, pixels(shrunk(pad, pad.width, pad.height), CHANNELS, false));
  });
}

// ---- recordings

async function recording(model, file) {
  const audio = await new OfflineAudioContext(1, 1, RATE_HZ).decodeAudioData(await file.arrayBuffer());
  const wave = new Float64Array(audio.length);
  for (let c = 0; c < audio.numberOfChannels; c++)
    audio.getChannelData(c).forEach((v, i) => (wave[i] += v / audio.numberOfChannels));
  const bytes = quantised(logMel(middle(wave)), given.preprocessing);
  const image = new ImageData(HEIGHT, WIDTH); // time to the right, pitch upwards
  bytes.forEach((v, i) => image.data.set([v, v, v, 255], 4 * ((WIDTH - 1 - (i % WIDTH)) * HEIGHT + Math.floor(i / WIDTH))));
  pen.imageSmoothingEnabled = false;
  pen.drawImage(await createImageBitmap(image), 0, 0, pad.width, pad.height);
  show(model, bytes);
}

// ---- all of it

async function take(model, file) {
  if (!file) return;
  try {
    await (SOUND ? recording : picture)(model, file);
  } catch (error) {
    element('error').textContent = `${file.name}: ${error.message}`;
  }
}

async function start() {
  const simd = EdgeQ.hasSimd(), wasm = decoded(given.wasm[simd ? 'edgeq-simd.wasm' : 'edgeq.wasm']), pte = decoded(given.pte);
  const model = await EdgeQ.load(pte, { simd, wasm });
  document.title = `${given.name} - EdgeQ`;
  element('name').textContent = given.name;
  element('about').textContent = `version ${given.version}, runs in this page; nothing is sent anywhere`;
  element('size').textContent = kilobytes(pte.length);
  element('memory').textContent = kilobytes(model.memoryBytes);
  element('runtime').textContent = `${kilobytes(wasm.length)} WebAssembly${simd ? ', vectors' : ''}`;
  element('hint').textContent = SOUND ? 'Drop a recording of one word.' : 'Draw here, or drop a picture.';
  element('file').accept = SOUND ? 'audio/*' : 'image/*';
  element('turn').hidden = SOUND;
  pad.classList.toggle('sound', SOUND);
  element('clear').addEventListener('click', clear);
  element('file').addEventListener('change', (event) => take(model, event.target.files[0]));
  const drop = element('drop');
  for (const kind of ['dragenter', 'dragover'])
    drop.addEventListener(kind, (event) => (event.preventDefault(), drop.classList.add('over')));
  for (const kind of ['dragleave', 'drop']) drop.addEventListener(kind, () => drop.classList.remove('over'));
  drop.addEventListener('drop', (event) => (event.preventDefault(), take(model, event.dataTransfer.files[0])));
  clear();
  if (!SOUND) drawing(model);
  document.body.dataset.ready = 'yes';
}

start().catch((error) => (element('error').textContent = error.message));
