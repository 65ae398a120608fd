// Puts each part of the page that has changed in its place; keeps the focus and what was opened.
"use strict";
const live = document.getElementById("live");
const known = {};

function show({ part, html, hash }) {
  const place = document.querySelector(`[data-part="${part}"]`);
  known[part] = hash;
  const focus = document.activeElement && place.contains(document.activeElement) ? document.activeElement.id : "";
  const chosen = Object.fromEntries([...place.querySelectorAll("select")].map((select) => [select.id, select.value]));
  const scrolled = [...place.querySelectorAll(".scroll")].map((box) => box.scrollLeft);
  place.innerHTML = html;
  for (const [id, value] of Object.entries(chosen)) {
    const select = document.getElementById(id);
    if (select && [...select.options].some((option) => option.value === value)) select.value = value;
  }
  place.querySelectorAll(".scroll").forEach((box, n) => { box.scrollLeft = scrolled[n] || 0; });
  if (focus) document.getElementById(focus)?.focus({ preventScroll: true });
}

async function follow() {
  const key = sessionStorage.getItem("key") || "";
  const query = new URLSearchParams(location.search);
  for (const [part, hash] of Object.entries(known)) query.set(`known-${part}`, hash);
  const answer = await fetch(`changes?${query}`, { headers: key ? { "X-API-Key": key } : {} });
  if (!answer.ok) throw new Error((await answer.json()).detail);
  document.getElementById("key-form")?.remove();
  live.textContent = "Live.";
  let rest = "";
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { value, done } = await reader.read();
    if (done) throw new Error("the dashboard has stopped");
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    lines.filter(Boolean).forEach((line) => show(JSON.parse(line)));
  }
}

async function stay() {
  for (;;) {
    try { await follow(); } catch (error) {
      live.textContent = `Not live: ${error.message}.`;
      if (document.getElementById("key-form")) return;
    }
    await new Promise((wake) => setTimeout(wake, 1500));
  }
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) navigator.clipboard?.writeText(button.dataset.copy).then(() => { live.textContent = `Copied: ${button.dataset.copy}`; });
});
document.getElementById("key-form")?.addEventListener("submit", (event) => {
  event.preventDefault();
  sessionStorage.setItem("key", document.getElementById("key").value);
  stay();
});
if (!document.getElementById("key-form") || sessionStorage.getItem("key")) stay();
