"use strict";
// Rows are told by their number. compact.py says how the data are packed; everything becomes text, never markup.

const PAGE = 50; // rows drawn at a time
const POLL = 2000; // milliseconds
const SEARCHED = ["method", "dataset", "model", "threat", "checkpoint", "verdict", "why", "source"];
const FINDING = 6; // texts of a finding: seed, code, severity, message, evidence, advice
const byName = new Intl.Collator("en", { numeric: true });
const find = (id) => document.getElementById(id);
const heads = [...document.querySelectorAll("th[data-key]")];
const filters = [...document.querySelectorAll("select[data-filter]")];
const grid = document.querySelector("table");
const state = { key: "worst-case", descending: true, page: 0, rows: [] };
let table = JSON.parse(find("data").textContent);
let places = {}; // of a column's words in their order
let keys = {}; // of all rows, by column and direction

// Reading the data

function read(name, row) {
  const column = table.columns[name];
  if (!column) return null;
  const word = column.at[row];
  return column.lists ? column.lists[word].map((at) => column.words[at]) : column.words[word];
}

function scoreIn(head, row) {
  for (const attack of head.dataset.attacks.split(" ")) {
    const score = read(`score:${attack}`, row);
    if (score) return { attack, score };
  }
  return null;
}

function sortable(head, row) {
  const key = head.dataset.key;
  if (head.dataset.attacks) return scoreIn(head, row)?.score[0] ?? null;
  if (key === "seeds") return read(key, row).length || null;
  if (key === "gap" || key === "rank") return read(key, row);
  const word = table.columns[key].at[row];
  return read(key, row) ? placesOf(key)[word] : null;
}

function placesOf(key) {
  if (!places[key]) {
    const words = table.columns[key].words;
    const order = words.map((_, at) => at).sort((a, b) => byName.compare(words[a] ?? "", words[b] ?? ""));
    places[key] = [];
    order.forEach((at, place) => { places[key][at] = place; });
  }
  return places[key];
}

// Choosing and sorting

function choose() {
  const tests = filters.filter((each) => each.value !== "").map((each) => {
    const { at } = table.columns[each.dataset.filter], wanted = Number(each.value);
    return (row) => at[row] === wanted;
  });
  tests.push(...find("search").value.toLowerCase().split(/\s+/).filter(Boolean).map(mentions));
  const rows = [];
  for (let row = 0; row < table.rows; row++) if (tests.every((test) => test(row))) rows.push(row);
  state.rows = sort(rows);
}

function mentions(term) {
  const hits = SEARCHED.map((name) => {
    const { words, at } = table.columns[name], hit = words.map((word) => (word ?? "").toLowerCase().includes(term));
    return (row) => hit[at[row]];
  });
  return (row) => hits.some((hit) => hit(row));
}

// What was measured comes before what was published, whatever is sorted by; an empty cell comes last.
function sort(rows) {
  const chosen = heads.find((head) => head.dataset.key === state.key);
  const ties = heads.filter((head) => head.dataset.attacks && head !== chosen);
  const order = [keysOf(chosen, state.descending ? -1 : 1), ...ties.map((head) => keysOf(head, -1))];
  const measured = table.columns.measured;
  return rows.sort((a, b) => {
    if (measured.at[a] !== measured.at[b]) return measured.words[measured.at[a]] ? -1 : 1;
    for (const key of order) if (key[a] !== key[b]) return key[a] - key[b];
    return a - b;
  });
}

// What the rows are compared by, the smallest first.
function keysOf(head, sign) {
  const name = `${head.dataset.key} ${sign}`;
  keys[name] ??= Float64Array.from({ length: table.rows }, (_, row) => sign * (sortable(head, row) ?? sign * Number.MAX_VALUE));
  return keys[name];
}

// Drawing

function element(tag, properties, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (name in made) made[name] = value;
    else made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const percent = (hundredths) => (hundredths / 100).toFixed(2);
const missing = (why) => element("small", {}, why);

function cell(head, row) {
  const key = head.dataset.key, measured = read("measured", row);
  if (head.dataset.attacks) return scoreCell(key, scoreIn(head, row), measured, row);
  const value = read(key, row);
  if (key === "verdict") return verdictCell(value, measured, row);
  if (key === "gap") return value === null ? [missing(measured ? "not run" : "not given")] : [(value > 0 ? "+" : "") + percent(value)];
  if (key === "rank") return [value === null ? missing(measured ? "not compared" : "not tested") : String(value)];
  if (key === "seeds") return [value.length ? String(value.length) : missing("not given")];
  return [value || missing("not given")];
}

function scoreCell(key, found, measured, row) {
  if (!found) return [missing(measured ? "not run" : "not given")];
  const [accuracy, , , , deviation, , inflated] = found.score;
  const classes = [inflated ? "inflated" : "", key === "worst-case" ? "worst" : ""].join(" ");
  const parts = [element("span", { className: classes.trim() }, percent(accuracy))];
  if (deviation != null) parts.push(element("small", {}, ` ±${percent(deviation)}`));
  if (found.attack === "autoattack-fast") parts.push(element("small", {}, " fast"));
  if (key === "worst-case") parts.push(profile(accuracy, row));
  return parts;
}

function profile(worst, row) {
  const tried = scoreIn(heads.find((head) => head.dataset.key === "autoattack"), row)?.score[0] ?? worst;
  const line = element("div", { className: "profile", "aria-hidden": "true" });
  line.style.setProperty("--to-worst", `${percent(worst)}%`);
  line.style.setProperty("--to-tried", `${percent(Math.max(worst, tried))}%`);
  return line;
}

function verdictCell(verdict, measured, row) {
  if (!verdict) return [missing(measured ? "not diagnosed" : "published")];
  const undiagnosed = read("findings", row).includes("not diagnosed");
  return [element("span", { className: verdict }, verdict), undiagnosed ? element("small", {}, " not diagnosed") : null];
}

function rowOf(row) {
  const line = element("tr", { className: "row" });
  for (const head of heads) {
    const first = head.dataset.key === "method";
    const shown = first ? named(row) : cell(head, row).filter(Boolean);
    line.append(element(first ? "th" : "td", { className: head.className, ...(first && { scope: "row" }) }, ...shown));
  }
  return line;
}

function named(row) {
  const opened = { type: "button", className: "open", "aria-expanded": "false", "aria-controls": `row-${row}` };
  const button = element("button", opened, read("method", row));
  button.addEventListener("click", () => toggle(button, row));
  const where = ["dataset", "model", "threat", "checkpoint"].map((name) => read(name, row)).filter(Boolean).join(" · ");
  const source = read("source", row);
  return [button, element("span", { className: "where" }, where), source && element("div", { className: "why" }, source)];
}

function toggle(button, row) {
  const line = button.closest("tr"), open = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!open));
  if (open) line.nextElementSibling.remove();
  else line.after(element("tr", { className: "details", id: `row-${row}` }, element("td", { colSpan: heads.length }, details(row))));
}

function draw() {
  const shown = state.rows.slice(state.page * PAGE, (state.page + 1) * PAGE);
  grid.querySelectorAll("tbody").forEach((body) => body.remove());
  for (const [measured, title] of [[true, "Measured here"], [false, "Published by others, not measured here"]]) {
    const own = shown.filter((row) => read("measured", row) === measured);
    if (!own.length) continue;
    const heading = element("tr", {}, element("th", { className: "kind", scope: "rowgroup", colSpan: heads.length }, title));
    grid.append(element("tbody", {}, heading, ...own.map(rowOf)));
  }
  for (const head of heads) {
    if (head.dataset.key === state.key) head.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  find("sorted").value = state.key;
  drawPlace(shown.length);
}

function drawPlace(shown) {
  const pages = Math.max(1, Math.ceil(state.rows.length / PAGE));
  const measured = state.rows.filter((row) => read("measured", row)).length;
  const first = state.page * PAGE + 1, head = heads.find((each) => each.dataset.key === state.key);
  const said = `${measured} measured and ${state.rows.length - measured} published rows of ${table.rows}`;
  const span = pages > 1 ? `; ${first} to ${first + shown - 1} are shown` : "";
  find("count").textContent = `${said}, by ${head.textContent}, ${state.descending ? "highest" : "lowest"} first${span}.`;
  find("pages").hidden = pages === 1;
  find("place").textContent = `Page ${state.page + 1} of ${pages}`;
  find("previous").disabled = state.page === 0;
  find("next").disabled = state.page === pages - 1;
}

// What a row unfolds to

function details(row) {
  const parts = read("measured", row)
    ? [reasons(row), scores(row), again(row), settings(row), paper(row), examples(row)]
    : [scores(row), section("Source", read("source", row))];
  return element("div", { className: "details-grid" }, ...parts.filter(Boolean));
}

const section = (title, ...content) => element("section", {}, element("h3", {}, title), ...content);

function reasons(row) {
  const texts = read("findings", row), found = [];
  for (let at = 0; at < texts.length; at += FINDING) found.push(texts.slice(at, at + FINDING));
  const items = found.map(([seed, code, severity, message, evidence, advice]) => element("li", {},
    element("p", {}, element("span", { className: severity }, severity), ` ${seed && `seed ${seed}: `}${message}`, evidence && ` (${evidence})`),
    element("p", { className: "why" }, code, advice && `: ${advice}`)));
  const verdict = read("verdict", row) ?? "not diagnosed";
  const said = items.length ? element("ul", { className: "findings" }, ...items) : "None of the checks found anything.";
  return section(`Why it is ${verdict}`, said);
}

function scores(row) {
  const names = Object.keys(table.columns).filter((name) => name.startsWith("score:") && read(name, row));
  const measured = read("measured", row);
  const titles = measured ? ["attack", "accuracy", "95 %", "± over seeds", "examples"] : ["attack", "as published", "note"];
  const lines = names.map((name) => {
    const [accuracy, low, high, examples, deviation, whole, inflated, note] = read(name, row);
    const shown = element("span", { className: inflated ? "inflated" : "" }, percent(accuracy), whole != null ? ` [${percent(whole)}, ${percent(accuracy)}]` : "");
    const rest = [low != null ? `${percent(low)} to ${percent(high)}` : "not known", deviation != null ? percent(deviation) : "one seed", String(examples ?? "")];
    return [name.slice(6), shown, ...(measured ? rest : [note || "none"])];
  });
  const head = element("tr", {}, ...titles.map((title) => element("th", { scope: "col", className: "text" }, title)));
  const body = lines.map(([name, ...values]) => element("tr", {}, element("th", { scope: "row", className: "text" }, name), ...values.map((value) => element("td", {}, value))));
  const seeds = read("seeds", row);
  const note = seeds.length ? element("p", { className: "why" }, `seed${seeds.length > 1 ? "s" : ""} ${seeds.join(", ")}`) : null;
  return section("Under each attack", element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)), note);
}

function copied(title, text, ...more) {
  const button = element("button", { type: "button", className: "copy" }, "Copy");
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  });
  return section(title, element("pre", { tabIndex: 0 }, text), button, ...more);
}

const again = (row) => copied("The command that makes it again", read("command", row).join(" "));

function settings(row) {
  const items = read("settings", row).map((text) => element("li", {}, text));
  const trained = read("trained", row);
  return section("Training", trained && element("p", {}, trained), element("ul", { className: "settings" }, ...items));
}

function paper(row) {
  const [title, url, bibtex] = read("paper", row);
  if (!title) return section("Paper", missing("The results name none: the method has none, or an older version trained it."));
  const link = /^https?:\/\//.test(url) ? element("a", { href: url, rel: "noreferrer" }, title) : title;
  return copied("Paper", bibtex, element("p", {}, link));
}

function examples(row) {
  if (!("live" in document.body.dataset)) return null;
  const links = read("trainings", row).map((train, at) => {
    const query = new URLSearchParams({ train, checkpoint: read("checkpoint", row), threat: read("threat", row) });
    return element("li", {}, element("a", { href: `examples?${query}` }, `what broke seed ${read("seeds", row)[at]}`));
  });
  return section("Examples", element("ul", {}, ...links));
}

// What the user does

function fillFilters() {
  const titles = { measured: (word) => (word ? "measured" : "published") };
  for (const filter of filters) {
    const name = filter.dataset.filter, order = [...placesOf(name).keys()].sort((a, b) => placesOf(name)[a] - placesOf(name)[b]);
    const title = titles[name] ?? ((word) => word || "not given");
    const options = order.map((at) => element("option", { value: String(at) }, title(table.columns[name].words[at])));
    filter.replaceChildren(element("option", { value: "" }, "all"), ...options);
  }
}

function update() {
  state.page = 0;
  choose();
  draw();
}

function sortBy(key, descending) {
  Object.assign(state, { key, descending });
  update();
}

function turn(by) {
  state.page += by;
  draw();
  grid.scrollIntoView();
}

for (const head of heads) {
  head.querySelector("button").addEventListener("click", () => {
    const numbers = head.classList.contains("number");
    sortBy(head.dataset.key, head.dataset.key === state.key ? !state.descending : numbers);
  });
}
find("filters").addEventListener("input", (event) => { if (event.target.id !== "sorted") update(); });
find("filters").addEventListener("submit", (event) => event.preventDefault());
find("filters").addEventListener("reset", () => setTimeout(update));
find("sorted").addEventListener("input", (event) => {
  sortBy(event.target.value, heads.find((head) => head.dataset.key === event.target.value).classList.contains("number"));
});
find("previous").addEventListener("click", () => turn(-1));
find("next").addEventListener("click", () => turn(1));

// A page that is served follows the run

let seen = "";

async function follow() {
  try {
    const run = await (await fetch("status.json")).json();
    find("run").textContent = run.text;
    if (seen && run.version !== seen) await renew();
    seen = run.version;
  } catch {
    find("run").textContent = "The server does not answer: this page shows what it last said.";
  }
  setTimeout(follow, POLL);
}

async function renew() {
  const chosen = new Map(filters.map((each) => [each, each.selectedOptions[0].textContent]));
  table = await (await fetch("data.json")).json();
  places = {};
  keys = {};
  fillFilters();
  for (const [filter, text] of chosen) filter.value = [...filter.options].find((option) => option.text === text)?.value ?? "";
  choose();
  state.page = Math.min(state.page, Math.max(0, Math.ceil(state.rows.length / PAGE) - 1));
  draw();
}

fillFilters();
update();
if ("live" in document.body.dataset) follow();
