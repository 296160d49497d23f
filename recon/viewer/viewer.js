"use strict";
// Fills every <section class="viewer"> with its images. All panels share slice, place, zoom and window.
(() => {
  const GAINS = [1, 2, 5, 10, 20, 50, 100];
  const HELP = "<kbd>↑</kbd> <kbd>↓</kbd> slice · <kbd>+</kbd> <kbd>−</kbd> or wheel: zoom · drag: move · " +
    "<kbd>shift</kbd> or right-button drag, <kbd>←</kbd> <kbd>→</kbd> level, <kbd>,</kbd> <kbd>.</kbd> width: window · " +
    "<kbd>a</kbd> window of this slice · <kbd>0</kbd> all of it · <kbd>d</kbd> difference · <kbd>e</kbd> <kbd>E</kbd> error scale · " +
    "hold <kbd>b</kbd>: reference everywhere · <kbd>m</kbd> fit scale · shift+wheel: slice";
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const short = (value) => Number(value.toPrecision(4)).toString();

  function element(tag, attributes = {}, ...children) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
      else if (name === "class") made.className = value;
      else made.setAttribute(name, value);
    }
    made.append(...children);
    return made;
  }

  // What Series.packed in series.py wrote.
  async function unpacked(series) {
    const bytes = Uint8Array.from(atob(series.data), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const planes = new Uint8Array(await new Response(stream).arrayBuffer());
    const [slices, height, width] = series.shape;
    const values = new Float32Array(slices * height * width);
    let code = 0;
    for (let i = 0; i < values.length; i++) {
      if (i % width === 0) code = 0;
      code = (code + (planes[i] << 8) + planes[values.length + i]) & 0xffff;
      values[i] = series.low + series.step * code;
    }
    return { name: series.name, slices, height, width, spacing: series.spacing, values };
  }

  class Viewer {
    constructor(root, series, options) {
      Object.assign(this, { root, series, options });
      this.slices = Math.max(...series.map((s) => s.slices));
      this.range = [0, 1];
      this.state = {
        slice: Math.floor(this.slices / 2), zoom: 1, u: 0.5, v: 0.5, low: 0, high: 1, gain: 5,
        reference: 0, difference: false, fitted: options.fitScale, blink: false, tool: "move",
      };
      this.pointers = new Map();
      this.build();
      this.refit();
      if (this.panels.some((panel) => panel.factor > 2 || panel.factor < 0.5)) this.state.fitted = true;  // other units
      this.limits();
      if (options.focus) root.focus({ preventScroll: true });
    }

    build() {
      const set = (changes) => () => this.set(changes());
      const slider = (name, low, high, step, change) => {
        const input = element("input", { type: "range", min: low, max: high, step, "aria-label": name, oninput: () => change(Number(input.value)) });
        const output = element("output");
        const label = element("label", {}, name, input, output);
        return { input, output, label };
      };
      this.slice = slider("slice", 0, this.slices - 1, 1, (slice) => this.set({ slice }));
      this.level = slider("level", 0, 1, "any", (level) => this.window(level, this.width));
      this.breadth = slider("width", 0, 1, "any", (width) => this.window(this.middle, width));
      this.slice.label.hidden = this.slices === 1;
      const several = this.series.length > 1;
      this.reference = element("select", { onchange: () => { this.state.reference = Number(this.reference.value); this.refit(); this.limits(); } },
        ...this.series.map((s, i) => element("option", { value: i }, s.name)));
      this.gain = element("select", { "aria-label": "error scale", onchange: () => this.set({ gain: Number(this.gain.value) }) },
        ...GAINS.map((gain) => element("option", { value: gain }, `errors × ${gain}`)));
      this.buttons = {
        difference: element("button", { type: "button", onclick: set(() => ({ difference: !this.state.difference })) }, "Difference"),
        fitted: element("button", { type: "button", onclick: () => this.toggleFit() }, "Fit scale"),
        tool: element("button", { type: "button", onclick: set(() => ({ tool: this.state.tool === "move" ? "window" : "move" })) }, "Drag: window"),
      };
      const bar = element("div", { class: "bar" }, this.slice.label, this.level.label, this.breadth.label,
        element("button", { type: "button", onclick: () => this.autoWindow() }, "Auto"),
        element("button", { type: "button", onclick: () => this.fit() }, "Whole image"),
        this.buttons.tool);
      if (several) bar.append(element("label", {}, "reference", this.reference), this.buttons.difference, this.gain, this.buttons.fitted);
      const help = element("p", { class: "help", hidden: "" });
      help.innerHTML = HELP;
      bar.append(element("button", { type: "button", "aria-label": "keys", onclick: () => { help.hidden = !help.hidden; } }, "?"));
      this.panels = this.series.map((s) => this.panel(s));
      this.colours = element("canvas", { width: 220, height: 1 });
      this.ends = [element("span"), element("span")];
      this.scale = element("div", { class: "scale", hidden: "" }, "minus reference:", this.ends[0], this.colours, this.ends[1]);
      this.root.append(bar, element("div", { class: "panels" }, ...this.panels.map((p) => p.figure)), this.scale, help);
      if (this.options.note) this.root.append(element("p", { class: "help" }, `Shown here: ${this.options.note}.`));
      this.root.addEventListener("keydown", (event) => this.key(event));
      const release = () => { if (this.state.blink) this.set({ blink: false }); };
      this.root.addEventListener("keyup", (event) => { if (event.key === "b") release(); });
      this.root.addEventListener("blur", release);
      new ResizeObserver(() => this.draw()).observe(this.root);
    }

    panel(series) {
      const canvas = element("canvas", { class: "image", "aria-label": series.name });
      const aspect = (series.width * series.spacing[1]) / (series.height * series.spacing[0]);
      canvas.style.aspectRatio = aspect;
      const figures = element("span"), name = element("strong", {}, series.name);
      const source = element("canvas", { width: series.width, height: series.height });
      const figure = element("figure", {}, canvas, element("figcaption", {}, name, figures));
      figure.style.maxWidth = `calc(80vh * ${aspect})`;  // images are not higher than the window
      const panel = { series, canvas, figures, figure, source, factor: 1, ends: [least(series.values), -least(series.values, -1)] };
      canvas.addEventListener("pointerdown", (event) => this.down(event, canvas));
      canvas.addEventListener("pointermove", (event) => this.move(event, panel));
      for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
      canvas.addEventListener("pointerleave", () => { this.probe = null; this.captions(); });
      canvas.addEventListener("contextmenu", (event) => event.preventDefault());
      canvas.addEventListener("dblclick", () => this.fit());
      canvas.addEventListener("wheel", (event) => {
        event.preventDefault();
        const turn = event.deltaY || event.deltaX;
        if (event.shiftKey) this.set({ slice: this.state.slice + Math.sign(turn) });
        else this.zoomAt(panel, event, Math.exp(-0.002 * turn));
      }, { passive: false });
      return panel;
    }

    get middle() { return (this.state.low + this.state.high) / 2; }
    get width() { return this.state.high - this.state.low; }

    set(changes) {
      Object.assign(this.state, changes);
      const s = this.state;
      s.slice = clamp(s.slice, 0, this.slices - 1);
      s.zoom = clamp(s.zoom, 1, 64);
      const half = 0.5 / s.zoom;  // the view stays on the image
      s.u = clamp(s.u, half, 1 - half);
      s.v = clamp(s.v, half, 1 - half);
      this.draw();
    }

    window(level, width) {
      const span = this.range[1] - this.range[0];
      width = clamp(width, span / 1000, span);
      level = clamp(level, ...this.range);
      this.set({ low: level - width / 2, high: level + width / 2 });
    }

    // From the 0.5th to the 99.5th percentile of the reference's slice, as PNG files have it.
    autoWindow() {
      const panel = this.panels[this.state.reference], factor = this.state.fitted ? panel.factor : 1;
      const sorted = Float32Array.from(this.pixels(panel.series)).sort();
      const at = (share) => factor * sorted[Math.round(share * (sorted.length - 1))];
      const [low, high] = [at(0.005), at(0.995)];
      this.set({ low, high: high > low ? high : low + (this.range[1] - this.range[0]) / 1000 });
    }

    toggleFit() {
      this.state.fitted = !this.state.fitted;
      this.limits();
    }

    // The values that there are, as they are shown: what level and width can be.
    limits() {
      const ends = this.panels.flatMap((panel) => panel.ends.map((end) => end * (this.state.fitted ? panel.factor : 1)));
      const low = Math.min(...ends), high = Math.max(...ends);
      this.range = [low, high > low ? high : low + 1];
      Object.assign(this.level.input, { min: this.range[0], max: this.range[1] });
      Object.assign(this.breadth.input, { min: 0, max: this.range[1] - this.range[0] });
      this.autoWindow();
    }

    fit() { this.set({ zoom: 1, u: 0.5, v: 0.5 }); }

    pixels(series) {
      const size = series.height * series.width, slice = Math.min(this.state.slice, series.slices - 1);
      return series.values.subarray(slice * size, (slice + 1) * size);
    }

    same(series) {
      const reference = this.series[this.state.reference];
      return ["slices", "height", "width"].every((side) => series[side] === reference[side]);
    }

    // Least squares: the factor that brings each image nearest to the reference, where that is not dark.
    refit() {
      const reference = this.series[this.state.reference].values;
      const dark = 0.05 * Math.max(-least(reference, -1), -least(reference));
      for (const panel of this.panels) {
        panel.factor = 1;
        if (!this.same(panel.series)) continue;
        let both = 0, own = 0;
        panel.series.values.forEach((value, i) => {
          if (Math.abs(reference[i]) > dark) { both += value * reference[i]; own += value * value; }
        });
        if (own > 0 && both > 0) panel.factor = both / own;
      }
    }

    draw() {
      const s = this.state, reference = this.panels[s.reference];
      const errors = (s.high - s.low) / s.gain;
      for (const panel of this.panels) {
        const shown = s.blink && this.same(panel.series) ? reference : panel;
        const compared = s.difference && panel !== reference && !s.blink && this.same(panel.series);
        this.paint(panel, shown, compared ? reference : null, errors);
      }
      this.captions();
      this.legend(errors);
      this.controls();
    }

    paint(panel, shown, reference, errors) {
      const { low, high, fitted } = this.state, { width, height } = panel.series;
      const pixels = this.pixels(shown.series), factor = fitted ? shown.factor : 1;
      const context = panel.source.getContext("2d"), image = context.createImageData(width, height);
      const target = reference && this.pixels(reference.series), scale = 255 / (high - low);
      for (let i = 0, j = 0; i < pixels.length; i++, j += 4) {
        if (target) colour(image.data, j, (factor * pixels[i] - target[i]) / errors);
        else image.data[j] = image.data[j + 1] = image.data[j + 2] = (factor * pixels[i] - low) * scale;
        image.data[j + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      const { canvas } = panel, ratio = window.devicePixelRatio || 1;
      const box = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
      if (canvas.width !== box[0] || canvas.height !== box[1]) [canvas.width, canvas.height] = box;
      const view = canvas.getContext("2d"), { zoom, u, v } = this.state;
      const [w, h] = [box[0] * zoom, box[1] * zoom];
      view.imageSmoothingEnabled = w < 3 * width;  // single pixels are shown as such
      view.fillRect(0, 0, ...box);
      view.drawImage(panel.source, box[0] / 2 - u * w, box[1] / 2 - v * h, w, h);
    }

    captions() {
      const s = this.state, reference = this.panels[s.reference];
      const target = this.pixels(reference.series);
      for (const panel of this.panels) {
        const pixels = this.pixels(panel.series), factor = s.fitted ? panel.factor : 1, words = [];
        if (this.probe) {
          const x = clamp(Math.floor(this.probe[0] * panel.series.width), 0, panel.series.width - 1);
          const y = clamp(Math.floor(this.probe[1] * panel.series.height), 0, panel.series.height - 1);
          words.push(short(factor * pixels[y * panel.series.width + x]));
        }
        if (panel === reference) { if (this.series.length > 1) words.push("reference"); }
        else if (this.same(panel.series)) {
          let error = 0, norm = 0;
          target.forEach((value, i) => { error += (factor * pixels[i] - value) ** 2; norm += value * value; });
          if (s.fitted && factor !== 1) words.push(`× ${short(factor)}`);
          if (norm > 0) words.push(`NRMSE ${Math.sqrt(error / norm).toFixed(3)}`);
        } else words.push("another grid");
        panel.figures.textContent = words.join(" · ");
      }
    }

    legend(errors) {
      this.scale.hidden = !this.state.difference;
      const context = this.colours.getContext("2d"), image = context.createImageData(220, 1);
      for (let i = 0; i < 220; i++) {
        colour(image.data, 4 * i, (2 * i) / 219 - 1);
        image.data[4 * i + 3] = 255;
      }
      context.putImageData(image, 0, 0);
      this.ends[0].textContent = `−${short(errors)}`;
      this.ends[1].textContent = `+${short(errors)}`;
    }

    controls() {
      const s = this.state;
      this.slice.input.value = s.slice;
      this.slice.output.textContent = `${s.slice + 1} / ${this.slices}`;
      this.level.input.value = this.middle;
      this.level.output.textContent = short(this.middle);
      this.breadth.input.value = this.width;
      this.breadth.output.textContent = short(this.width);
      this.gain.value = s.gain;
      this.reference.value = s.reference;
      for (const [name, on] of [["difference", s.difference], ["fitted", s.fitted], ["tool", s.tool === "window"]]) {
        this.buttons[name].setAttribute("aria-pressed", on);
      }
      for (const name of Object.keys(s)) this.root.dataset[name] = s[name];  // for style sheets and tests
    }

    key(event) {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select")) return;
      const s = this.state, at = GAINS.indexOf(s.gain), nudge = (this.range[1] - this.range[0]) / 100;
      const gain = (step) => this.set({ gain: GAINS[clamp(at + step, 0, GAINS.length - 1)] });
      const keys = {
        ArrowUp: () => this.set({ slice: s.slice + 1 }), ArrowDown: () => this.set({ slice: s.slice - 1 }),
        Home: () => this.set({ slice: 0 }), End: () => this.set({ slice: this.slices - 1 }),
        "+": () => this.set({ zoom: s.zoom * 1.25 }), "=": () => this.set({ zoom: s.zoom * 1.25 }),
        "-": () => this.set({ zoom: s.zoom / 1.25 }), 0: () => this.fit(),
        ArrowLeft: () => this.window(this.middle - nudge, this.width), ArrowRight: () => this.window(this.middle + nudge, this.width),
        ",": () => this.window(this.middle, this.width / 1.1), ".": () => this.window(this.middle, this.width * 1.1),
        a: () => this.autoWindow(), d: () => this.set({ difference: !s.difference }), m: () => this.toggleFit(),
        e: () => gain(1), E: () => gain(-1), b: () => this.set({ blink: true }),
      };
      if (!Object.hasOwn(keys, event.key)) return;
      event.preventDefault();
      keys[event.key]();
    }

    place(canvas, event) {  // of the pointer, as a share of the image's sides
      const box = canvas.getBoundingClientRect(), { zoom, u, v } = this.state;
      return [u + ((event.clientX - box.left) / box.width - 0.5) / zoom, v + ((event.clientY - box.top) / box.height - 0.5) / zoom];
    }

    zoomAt(panel, event, factor) {  // what lies under the pointer stays there
      const [u, v] = this.place(panel.canvas, event), zoom = clamp(this.state.zoom * factor, 1, 64), kept = this.state.zoom / zoom;
      this.set({ zoom, u: u + (this.state.u - u) * kept, v: v + (this.state.v - v) * kept });
    }

    down(event, canvas) {
      this.root.focus({ preventScroll: true });
      canvas.setPointerCapture(event.pointerId);
      this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, window: event.shiftKey || event.button === 2 || this.state.tool === "window" });
    }

    move(event, panel) {
      this.probe = this.place(panel.canvas, event);
      const before = this.pointers.get(event.pointerId), box = panel.canvas.getBoundingClientRect();
      if (!before) { this.captions(); return; }
      const dx = event.clientX - before.x, dy = event.clientY - before.y;
      const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId).map(([, p]) => p);
      Object.assign(before, { x: event.clientX, y: event.clientY });
      if (others.length) {  // two fingers: the distance between them zooms, their middle moves
        const [other] = others, far = (x, y) => Math.hypot(x - other.x, y - other.y) || 1;
        const middle = { clientX: (event.clientX + other.x) / 2, clientY: (event.clientY + other.y) / 2 };
        this.zoomAt(panel, middle, far(event.clientX, event.clientY) / far(event.clientX - dx, event.clientY - dy));
        this.shift(dx / 2, dy / 2, box);
      } else if (before.window) {
        const span = this.range[1] - this.range[0];
        this.window(this.middle - (dy / box.height) * span, this.width * Math.exp((2 * dx) / box.width));
      } else this.shift(dx, dy, box);
    }

    shift(dx, dy, box) {
      const { u, v, zoom } = this.state;
      this.set({ u: u - dx / box.width / zoom, v: v - dy / box.height / zoom });
    }
  }

  function least(values, sign = 1) {
    let found = Infinity;
    for (const value of values) if (sign * value < found) found = sign * value;
    return found;
  }

  // Errors from -1 (blue) over 0 (black) to 1 (orange).
  function colour(data, at, error) {
    const size = Math.min(Math.abs(error), 1), [r, g, b] = error < 0 ? [70, 160, 255] : [255, 150, 40];
    data[at] = r * size; data[at + 1] = g * size; data[at + 2] = b * size;
  }

  async function open(root) {
    const data = JSON.parse(root.querySelector("script").textContent);
    if (typeof DecompressionStream === "undefined") {
      root.append("This browser is too old for the viewer: it lacks DecompressionStream (2023).");
      return;
    }
    root.viewer = new Viewer(root, await Promise.all(data.series.map(unpacked)), data);
  }

  document.querySelectorAll(".viewer").forEach(open);
})();
