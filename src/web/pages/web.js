// boardhand's pages stay up to date by themselves: what stands in #live is asked for again, and a console goes on where it
// ended. Without this script every page still shows everything; a reload does the rest.
"use strict";
const el = (id) => document.getElementById(id);
const news = (text) => { if (el("news").textContent !== text) el("news").textContent = text; };
const LINES_MAX = 50000;

// ---- filters
function filter(input) {
  const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of document.querySelectorAll(input.dataset.filter)) {
    const text = row.textContent.toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
}
const filters = [...document.querySelectorAll("[data-filter]")];
for (const input of filters) input.addEventListener("input", () => filter(input));

// ---- times in the reader's own zone
function local(root) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    time.textContent = at.toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  }
}
local(document);

// ---- what is live
const log = el("log");
let finished = false;
async function page() {
  const answer = await fetch(location.href, { cache: "no-store", redirect: "error" });
  if (!answer.ok) throw new Error(answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}
async function refresh() {
  const now = el("live");
  if (!now || !now.dataset.every) return;
  let every = Number(now.dataset.every);
  if (!document.hidden) {
    try {
      const fresh = (await page()).getElementById("live");
      local(fresh);
      const selected = String(getSelection()) !== "";
      if (fresh.innerHTML !== now.innerHTML && !selected) {
        const at = now.contains(document.activeElement) && document.activeElement.getAttribute("href");
        now.replaceChildren(...document.adoptNode(fresh).childNodes);
        if (at) now.querySelector(`[href="${CSS.escape(at)}"]`)?.focus();
        filters.forEach(filter);
      }
      if (!fresh.dataset.every) {
        delete now.dataset.every;
        // It has ended. A console reads to its end first; then the whole page is as it stays.
        finished = true;
        if (!log?.dataset.live) location.reload();
        return;
      }
      // It has come to a board: there is a console now.
      if (!log && fresh.querySelector("table")) { location.reload(); return; }
      news("");
    } catch { news("Not reached; trying again."); every = Math.max(every, 5); }
  }
  setTimeout(refresh, every * 1000);
}
if (el("live")?.dataset.every) setTimeout(refresh, Number(el("live").dataset.every) * 1000);

// ---- a console
const rows = (html) => { const t = document.createElement("template"); t.innerHTML = html; return t.content; };
async function piece(query) {
  const answer = await fetch(log.dataset.piece + query, { cache: "no-store" });
  if (!answer.ok) throw new Error(answer.status);
  return answer.json();
}
function follow() { if (el("follow").checked) log.scrollTop = log.scrollHeight; }
async function grow() {
  let wait = 1000;
  if (!document.hidden) {
    try {
      const was = finished;
      const more = await piece(`from=${log.dataset.next}&line=${log.dataset.line}`);
      log.append(rows(more.html));
      while (log.children.length > LINES_MAX) log.firstElementChild.remove();
      el("open").textContent = rows(more.open).textContent;
      log.dataset.next = more.next;
      log.dataset.line = more.line;
      if (more.html) { follow(); wait = 200; }
      else if (was) { location.reload(); return; }
    } catch { wait = 5000; }
  }
  setTimeout(grow, wait);
}
async function earlier(event) {
  event.preventDefault();
  const height = log.scrollHeight;
  const more = await piece(`before=${log.dataset.from}`);
  log.prepend(rows(more.html));
  log.dataset.from = more.from;
  el("earlier").hidden = more.from === 0;
  log.scrollTop += log.scrollHeight - height;
}
if (log) {
  el("earlier").addEventListener("click", (event) => earlier(event).catch(() => { location.href = el("earlier").href; }));
  log.addEventListener("wheel", () => { if (log.scrollTop + log.clientHeight < log.scrollHeight - 40) el("follow").checked = false; });
  el("follow").addEventListener("change", follow);
  if (location.hash.startsWith("#L")) el("follow").checked = false;
  follow();
  if (log.dataset.live) grow();
}

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
