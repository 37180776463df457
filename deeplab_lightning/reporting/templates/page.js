"use strict";

// Light and dark: what the system wants, until the reader chooses.
const root = document.documentElement;
const theme = document.getElementById("theme");
const isDark = () => root.dataset.theme
  ? root.dataset.theme === "dark"
  : matchMedia("(prefers-color-scheme: dark)").matches;
const sayTheme = () => { theme.textContent = isDark() ? "Light colours" : "Dark colours"; };
try { const kept = localStorage.getItem("theme"); if (kept) root.dataset.theme = kept; } catch { /* not allowed here */ }
theme.hidden = false;
sayTheme();
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", sayTheme);
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  try { localStorage.setItem("theme", root.dataset.theme); } catch { /* not kept, then */ }
  sayTheme();
});

// A slider fades from each layer of an image to the next. The first layer stays below the others.
function show(image, value) {
  const layers = image.querySelectorAll(".stack img");
  layers.forEach((layer, place) => {
    layer.style.opacity = place === 0 ? 1 : Math.max(0, 1 - Math.abs(value - place));
  });
  // Two half-transparent masks would let the image shine through: the one that goes stays while the next one comes.
  const below = layers[Math.floor(value)];
  if (Math.floor(value) > 0 && !layers[Math.ceil(value)].dataset.seeThrough) below.style.opacity = 1;
  const slider = image.querySelector("input");
  slider.value = value;
  const nearest = layers[Math.round(value)].dataset.layer;
  slider.setAttribute("aria-valuetext", Number.isInteger(Number(value)) ? nearest : `near ${nearest}`);
}

for (const viewer of document.querySelectorAll(".viewer")) {
  const list = viewer.querySelector(".images");
  const images = [...list.children];
  const [sorting, ofClass, layer] = ["sort", "class", "layer"].map((name) => viewer.querySelector(`[data-control=${name}]`));
  const said = viewer.querySelector("[role=status]");
  viewer.querySelector(".controls").hidden = false;

  for (const image of images) {
    const slider = image.querySelector("input");
    slider.addEventListener("input", () => show(image, Number(slider.value)));
    // Arrow keys go from layer to layer; with Shift, little by little.
    slider.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1 }[event.key];
      if (!step || event.shiftKey) return;
      event.preventDefault();
      const to = Math.min(Number(slider.max), Math.max(0, Math.round(Number(slider.value)) + step));
      show(image, to);
    });
    show(image, Number(slider.value));
  }

  const scores = new Map(images.map((image) => [image, JSON.parse(image.dataset.scores)]));
  function arrange() {
    const chosen = ofClass.value;
    const key = (image) => {
      const value = chosen ? scores.get(image)[chosen] : Number(image.dataset.score);
      return value === undefined || value === null || Number.isNaN(value) ? Infinity : value;
    };
    const byName = (a, b) => a.dataset.name.localeCompare(b.dataset.name, undefined, { numeric: true });
    const order = {
      lowest: (a, b) => key(a) - key(b) || byName(a, b),
      highest: (a, b) => (key(b) === Infinity) - (key(a) === Infinity) || key(b) - key(a) || byName(a, b),
      name: byName,
    }[sorting.value];
    let shown = 0;
    for (const image of [...images].sort(order)) {
      image.hidden = Boolean(chosen) && !(chosen in scores.get(image));
      shown += !image.hidden;
      list.append(image);
    }
    said.textContent = `${shown} of ${images.length} images`;
  }
  sorting.addEventListener("change", arrange);
  ofClass.addEventListener("change", arrange);
  layer.addEventListener("change", () => images.forEach((image) => show(image, Number(layer.value))));
  arrange();
}
