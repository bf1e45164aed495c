"use strict";
// Draws the charts, sorts and filters tables. Runs from the page alone: no network, no storage.
const byId = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");

function themed(layout) {
  const css = getComputedStyle(document.documentElement);
  const [ink, line, panel] = ["--ink", "--line", "--panel"].map((name) => css.getPropertyValue(name).trim());
  const axis = (own) => ({ gridcolor: line, zerolinecolor: line, linecolor: line, automargin: true, fixedrange: true, ...own });
  return {
    margin: { l: 52, r: 16, t: 30, b: 44 },
    legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", font: { size: 11 } },
    ...layout,
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: ink, size: 12, family: "system-ui, sans-serif" },
    hoverlabel: { bgcolor: panel, font: { color: ink } },
    xaxis: axis(layout.xaxis),
    yaxis: axis(layout.yaxis),
  };
}

async function drawCharts() {
  const charts = JSON.parse(byId("charts").textContent);
  for (const figure of document.querySelectorAll("[data-chart]")) {
    const { data, layout } = charts[figure.dataset.chart];
    figure.replaceChildren();
    await Plotly.react(figure, data, themed(layout), { responsive: true, displayModeBar: false });
    figure.dataset.drawn = "yes";
  }
}

const valueOf = (cell) => {
  const text = cell.dataset.value ?? cell.textContent.trim();
  return text === "" || text === "–" ? null : isNaN(text) ? text : Number(text);
};

function sortBy(table, header) {
  const column = header.cellIndex;
  const up = header.getAttribute("aria-sort") === "descending";
  const order = (a, b) => {
    const [one, other] = [valueOf(a.cells[column]), valueOf(b.cells[column])];
    if (one === null || other === null) return (one === null) - (other === null);
    const way = typeof one === "number" && typeof other === "number" ? one - other : String(one).localeCompare(String(other));
    return up ? way : -way;
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(order));
  for (const each of table.tHead.rows[0].cells) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
}

function filterRows(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  const rows = [...byId(input.dataset.filters).tBodies[0].rows];
  for (const row of rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  document.querySelector(`[data-counts="${input.dataset.filters}"]`).textContent = `${shown} of ${rows.length}`;
}

for (const table of document.querySelectorAll("table.sortable")) {
  for (const header of table.tHead.rows[0].cells) header.querySelector("button").onclick = () => sortBy(table, header);
}
for (const input of document.querySelectorAll("[data-filters]")) {
  input.oninput = () => filterRows(input);
  filterRows(input);
}
if (byId("charts").textContent !== "{}") {
  dark.addEventListener("change", drawCharts);
  drawCharts();
}

// Contact sheets: marks are kept in this browser under the page's title, and leave it as a CSV.
const MARKS = ["wrong", "odd"];
const photos = [...document.querySelectorAll(".photo")];

function storage(write) {
  try {
    if (write) localStorage.setItem(document.title, JSON.stringify(write));
    return JSON.parse(localStorage.getItem(document.title)) ?? {};
  } catch {
    return {}; // a browser that keeps nothing for files: the marks last as long as the page
  }
}

function mark(photo, word) {
  if (word) photo.dataset.mark = word;
  else delete photo.dataset.mark;
  photo.setAttribute("aria-label", [photo.dataset.id, word].filter(Boolean).join(", marked "));
  const marked = photos.filter((one) => one.dataset.mark);
  byId("marked").textContent = MARKS.map((kind) => `${marked.filter((one) => one.dataset.mark === kind).length} ${kind}`).join(", ");
  storage(Object.fromEntries(marked.map((one) => [one.dataset.id, one.dataset.mark])));
}

function csvOfMarks() {
  const quoted = (text) => `"${text.replaceAll('"', '""')}"`;
  const rows = photos.filter((one) => one.dataset.mark).map((one) => [one.dataset.id, one.dataset.mark, one.dataset.class]);
  return [["image_id", "mark", "class"], ...rows].map((row) => row.map(quoted).join(",")).join("\n") + "\n";
}

if (photos.length) {
  const kept = storage();
  for (const photo of photos) {
    if (MARKS.includes(kept[photo.dataset.id])) mark(photo, kept[photo.dataset.id]);
    photo.onclick = () => mark(photo, MARKS[MARKS.indexOf(photo.dataset.mark) + 1]);
    photo.onkeydown = (event) => {
      const at = ["w", "o", "n"].indexOf(event.key.toLowerCase());
      if (at >= 0 && !event.ctrlKey && !event.metaKey) mark(photo, MARKS[at]);
    };
  }
  byId("save").onclick = () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csvOfMarks()], { type: "text/csv" }));
    link.download = "marks.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  };
}
