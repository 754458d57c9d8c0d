"use strict";
// Reading values off charts, by pointer or keyboard; the rest of the page works without scripts.
for (const chart of document.querySelectorAll(".chart")) {
  const reader = chart.querySelector(".reader"), svg = chart.querySelector("svg");
  const cursor = svg.querySelector(".cursor"), readout = chart.querySelector(".readout");
  const { series } = JSON.parse(chart.querySelector("script").textContent);
  const frame = JSON.parse(svg.dataset.frame);
  const stops = [...new Set(series.flatMap((each) => each.smoothed.map((point) => point[0])))].sort((a, b) => a - b);
  const percent = frame.y_max <= 1;
  let at = -1;

  const mode = () => (chart.closest("figure")?.querySelector("input[value=raw]")?.checked ? "raw" : "smoothed");
  const text = (value) =>
    percent ? `${Math.round(100 * value)} %` : Math.round(value).toLocaleString("en").replace("-", "−");

  function lines(stop) {
    const found = [];
    for (const each of series) {
      const point = (each[mode()] || each.smoothed).find((candidate) => candidate[0] === stop);
      if (point) {
        let range = `[${text(point[2])}, ${text(point[3])}]`;
        if (point[2] === null || each.runs === 1) range = "(one run)";
        else if (mode() === "raw") range = `(${text(point[2])} – ${text(point[3])})`;
        found.push([each, `${each.label} ${text(point[1])} ${range}`]);
      }
    }
    return found;
  }

  function show(index) {
    at = Math.max(0, Math.min(stops.length - 1, index));
    const stop = stops[at], found = lines(stop);
    const x = frame.left + ((frame.right - frame.left) * stop) / frame.x_max;
    cursor.setAttribute("transform", `translate(${x} 0)`);
    cursor.setAttribute("visibility", "visible");
    const heading = document.createElement("b");
    heading.textContent = `${chart.dataset.x}: ${Math.round(stop).toLocaleString("en")}`;
    readout.replaceChildren(heading, ...found.map(([each, line]) => {
      const row = document.createElement("span");
      row.className = `s${each.slot}`;
      row.textContent = line;
      return row;
    }));
    readout.classList.toggle("left", x > (frame.left + frame.right) / 2);
    readout.hidden = false;
    reader.setAttribute("aria-valuenow", String(Math.round(stop)));
    reader.setAttribute("aria-valuetext", `${heading.textContent}. ${found.map(([, line]) => line).join("; ")}`);
  }

  function hide() {
    readout.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  }

  function nearest(event) {
    const box = svg.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * svg.viewBox.baseVal.width;
    const value = ((x - frame.left) / (frame.right - frame.left)) * frame.x_max;
    return stops.reduce((best, stop, index) => (Math.abs(stop - value) < Math.abs(stops[best] - value) ? index : best), 0);
  }

  if (!stops.length) continue;
  svg.addEventListener("pointermove", (event) => show(nearest(event)));
  svg.addEventListener("pointerdown", (event) => show(nearest(event)));
  svg.addEventListener("pointerleave", () => document.activeElement === reader || hide());
  reader.addEventListener("focus", () => reader.matches(":focus-visible") && show(at < 0 ? stops.length - 1 : at));
  reader.addEventListener("blur", hide);
  reader.addEventListener("keydown", (event) => {
    const moves = { ArrowLeft: at - 1, ArrowDown: at - 1, ArrowRight: at + 1, ArrowUp: at + 1,
      PageDown: at - 5, PageUp: at + 5, Home: 0, End: stops.length - 1 };
    if (event.key === "Escape") hide();
    if (!(event.key in moves)) return;
    event.preventDefault();
    show(moves[event.key]);
  });
  chart.closest("figure")?.addEventListener("change", () => readout.hidden || show(at));
}

// On paper everything is open.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details:not([open])")) {
    closed.push(details);
    details.open = true;
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
});
