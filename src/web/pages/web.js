// boardhand's pages stay up to date by themselves: what stands in #live is sent anew where it changed, and a console goes on
// where it ended. Without this script every page still shows everything; a reload does the rest.
"use strict";
const el = (id) => document.getElementById(id);
const news = (text) => { if (el("news").textContent !== text) el("news").textContent = text; };
const away = () => news(document.body.dataset.away);
const wait = (ms) => new Promise((done) => setTimeout(done, ms));

// ---- filters
const texts = new WeakMap();
const textOf = (row) => {
  if (!texts.has(row)) texts.set(row, row.textContent.toLowerCase());
  return texts.get(row);
};
function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll(input.dataset.filter)) {
    const hidden = !words.every((word) => textOf(row).includes(word));
    if (row.hidden !== hidden) row.hidden = hidden;
  }
}
const filters = [...document.querySelectorAll("[data-filter]")];
for (const input of filters) {
  let asked = 0;
  // A long table is gone through once for what was typed at once.
  input.addEventListener("input", () => { clearTimeout(asked); asked = setTimeout(filter, 60, input); });
}

// ---- times in the reader's own zone, and how long what goes on has gone on
function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    if (!isNaN(at)) time.textContent = at.toLocaleString(document.documentElement.lang, { dateStyle: "medium", timeStyle: "short" });
  }
}
function tick() {
  for (const cell of document.querySelectorAll("[data-since]")) {
    const took = Math.max(0, Math.floor((Date.now() - new Date(cell.dataset.since)) / 1000));
    cell.textContent = `${Math.floor(took / 60)}:${String(took % 60).padStart(2, "0")}`;
  }
}
local(document);
setInterval(tick, 1000);

// ---- what is live
const log = el("log");
let pending = null;
function show(fresh) {
  const now = el("live");
  // Whoever marks text is not disturbed.
  if (String(getSelection()) !== "") { pending = fresh; return; }
  pending = null;
  local(fresh);
  if (fresh.innerHTML === now.innerHTML) return;
  const focused = now.contains(document.activeElement) ? document.activeElement : null;
  const at = focused && (focused.getAttribute("href") ? `[href="${CSS.escape(focused.getAttribute("href"))}"]`
    : focused.value ? `[value="${CSS.escape(focused.value)}"]` : null);
  now.replaceChildren(...document.adoptNode(fresh).childNodes);
  tick();
  if (at) now.querySelector(at)?.focus();
  filters.forEach(filter);
  // It has come to a board: there is a console now.
  if (!log && now.dataset.console && now.querySelector("table")) location.reload();
}
document.addEventListener("selectionchange", () => { if (pending && String(getSelection()) === "") show(pending); });
const parsed = (html) => {
  const fresh = document.createElement("div");
  fresh.append(rows(html));
  return fresh;
};
const rows = (html) => { const t = document.createElement("template"); t.innerHTML = html; return t.content; };

let source = null;
function listen() {
  const live = el("live");
  if (!live?.dataset.stream || document.hidden || source) return;
  const from = log ? `${live.dataset.stream.includes("?") ? "&" : "?"}from=${seen.next}&line=${seen.line}` : "";
  source = new EventSource(live.dataset.stream + from);
  source.addEventListener("open", () => news(""));
  source.addEventListener("live", (event) => show(parsed(event.data)));
  source.addEventListener("console", (event) => grown(JSON.parse(event.data)));
  source.addEventListener("open-line", (event) => { el("open").textContent = rows(event.data).textContent; });
  source.addEventListener("over", () => { source.close(); location.reload(); });
  source.addEventListener("error", () => {
    away();
    // Where the answer was no stream, a browser does not come again by itself.
    if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 5000); }
  });
}
// A browser has few connections for one server: a page that nobody sees gives its own back.
document.addEventListener("visibilitychange", () => {
  if (document.hidden) { source?.close(); source = null; } else listen();
});

// ---- what is asked for again: pages that are made for one person
async function again() {
  const now = el("live");
  let every = Number(now.dataset.every);
  if (!document.hidden) {
    try {
      const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
      const over = !fresh.dataset.every;
      show(fresh);
      news("");
      if (over) return;
    } catch { away(); every = Math.max(every, 5); }
  }
  setTimeout(again, every * 1000);
}
if (el("live")?.dataset.every) setTimeout(again, Number(el("live").dataset.every) * 1000);

// ---- a console: a window on a log that may be longer than any page
const ROWS_MAX = 3000;
const seen = log && { next: Number(log.dataset.next), line: Number(log.dataset.line) };
let length = log && Number(log.dataset.length);
// The pieces that are shown, in order: where each begins and ends, and how many rows it has.
let pieces = log && [{ from: Number(log.dataset.from), next: seen.next, first: Number(log.dataset.first), line: seen.line, rows: log.children.length }];
let busy = false;
const begins = () => pieces[0], ends = () => pieces[pieces.length - 1];
async function piece(query) {
  const answer = await fetch(log.dataset.piece + query, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  const more = await answer.json();
  length = Math.max(length, more.length);
  return more;
}
const count = (content) => content.children.length;
function follow() { if (el("follow").checked) log.scrollTop = log.scrollHeight; }
function settle() {
  el("earlier").hidden = begins().from === 0;
  const place = el("place");
  place.hidden = length <= ends().next - begins().from;
  if (document.activeElement !== place) place.value = String(Math.round(1000 * (begins().from + (ends().next - begins().from) * log.scrollTop / Math.max(1, log.scrollHeight)) / Math.max(1, length)));
}
function append(more) {
  const content = rows(more.html);
  pieces.push({ from: ends().next, next: more.next, first: ends().line, line: more.line, rows: count(content) });
  log.append(content);
  while (pieces.length > 1 && log.children.length > ROWS_MAX + ends().rows) {
    const gone = pieces.shift(), height = log.scrollHeight;
    for (let n = 0; n < gone.rows; n++) log.firstElementChild.remove();
    log.scrollTop -= height - log.scrollHeight;
  }
  settle();
}
function prepend(more) {
  const content = rows(more.html), height = log.scrollHeight;
  pieces.unshift({ from: more.from, next: begins().from, first: more.first, line: begins().first, rows: count(content) });
  log.prepend(content);
  log.scrollTop += log.scrollHeight - height;
  while (pieces.length > 1 && log.children.length > ROWS_MAX + begins().rows) {
    const gone = pieces.pop();
    for (let n = 0; n < gone.rows; n++) log.lastElementChild.remove();
  }
  settle();
}
function instead(more) {
  const content = rows(more.html);
  pieces = [{ from: more.from, next: more.next, first: more.first, line: more.line, rows: count(content) }];
  log.replaceChildren(content);
  settle();
}
// What a live console had more of: shown where its end is in the window.
function grown(more) {
  length = Math.max(length, more.next);
  if (ends().next === seen.next) { append(more); follow(); }
  seen.next = more.next;
  seen.line = more.line;
  settle();
}
async function once(work) {
  if (busy) return;
  busy = true;
  try { await work(); news(""); } catch { away(); await wait(1000); } finally { busy = false; }
}
const near = () => 2 * log.clientHeight;
function scrolled() {
  if (log.scrollTop + log.clientHeight < log.scrollHeight - 40 && ends().next >= seen.next && !busy && log.matches(":hover, :focus-within")) el("follow").checked = false;
  if (log.scrollTop < near() && begins().from > 0) {
    once(async () => prepend(await piece(`before=${begins().from}&line=${begins().first}&few=1`)));
  } else if (log.scrollHeight - log.scrollTop - log.clientHeight < near() && ends().next < seen.next) {
    once(async () => append(await piece(`from=${ends().next}&line=${ends().line}&few=1`)));
  }
  settle();
}
const tail = () => once(async () => { instead(await piece("few=1")); follow(); });
async function to(line) {
  if (!el(`L${line}`)) await once(async () => instead(await piece(`goto=${line}&few=1`)));
  el(`L${line}`)?.scrollIntoView({ block: "center" });
}
if (log) {
  el("earlier").addEventListener("click", (event) => { event.preventDefault(); log.scrollTop = 0; scrolled(); });
  log.addEventListener("scroll", scrolled, { passive: true });
  log.addEventListener("wheel", () => { if (log.scrollTop + log.clientHeight < log.scrollHeight - 40) el("follow").checked = false; }, { passive: true });
  el("follow").addEventListener("change", () => { if (!el("follow").checked) return; if (ends().next < seen.next) tail(); else follow(); });
  el("place").addEventListener("change", () => {
    el("follow").checked = false;
    once(async () => { instead(await piece(`at=${Math.floor(Number(el("place").value) / 1000 * length)}&few=1`)); log.scrollTop = 0; scrolled(); });
  });
  const anchor = () => { const line = /^#L(\d+)$/.exec(location.hash); if (line) { el("follow").checked = false; to(line[1]); } };
  addEventListener("hashchange", anchor);
  settle();
  follow();
  anchor();
}
listen();

// ---- keys: / to the filter, j and k through boards, runs and attempts
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || /^(INPUT|TEXTAREA|SELECT)$/.test(event.target.tagName)) return;
  if (event.key === "/" && filters[0]) { event.preventDefault(); filters[0].focus(); }
  if (event.key === "j" || event.key === "k") {
    const links = [...document.querySelectorAll("#live a[href]")].filter((a) => a.offsetParent);
    const at = links.indexOf(document.activeElement);
    const next = links[event.key === "j" ? at + 1 : Math.max(at - 1, 0)];
    if (next) next.focus();
  }
});
