// The part of the console that runs in the browser: what moves too often, or must work when the server is gone.
"use strict";

const vedette = (window.vedette = { tickAt: Date.now(), sound: false });

// ---------------------------------------------------------------- is this screen live?

const SILENCE_MS = 4000;

vedette.tick = () => {
  vedette.tickAt = Date.now();
};

function watchServer() {
  const age = Date.now() - vedette.tickAt;
  const lost = age > SILENCE_MS;
  document.body.classList.toggle("not-live", lost);
  const banner = document.getElementById("lost");
  if (banner) {
    banner.hidden = !lost;
    if (lost) banner.querySelector("span").textContent = `Last word ${Math.round(age / 1000)} s ago`;
  }
}

function showClock() {
  const clock = document.getElementById("clock");
  if (clock) clock.textContent = new Date().toISOString().slice(11, 19);
}

// ---------------------------------------------------------------- cells of the alarm list

const MINUTE = 60e3, HOUR = 60 * MINUTE, DAY = 24 * HOUR;

vedette.age = (ms) => {
  const age = Math.max(0, Date.now() - ms);
  if (age < MINUTE) return `${Math.floor(age / 1000)} s`;
  if (age < HOUR) return `${Math.floor(age / MINUTE)} min`;
  if (age < DAY) return `${Math.floor(age / HOUR)} h`;
  if (age < 365 * DAY) return `${Math.floor(age / DAY)} d`;
  return `${Math.floor(age / (365 * DAY))} y`;
};

vedette.moment = (ms) => {
  const text = new Date(ms).toISOString();
  return Date.now() - ms < DAY ? text.slice(11, 19) : text.slice(0, 10);
};

function node(tag, name, ...children) {
  const element = document.createElement(tag);
  if (name) element.className = name;
  element.append(...children);
  return element;
}

vedette.cells = {
  when: ({ data }) => node("div", "when", node("b", "", vedette.age(data.at)), node("span", "", vedette.moment(data.at))),
  what: ({ data }) => node("div", "what", node("b", "", data.reason), node("span", "", data.about)),
  state: ({ data }) => node("span", `chip state-${data.state}`, data.state_name),
};

setInterval(() => vedette.grid?.isDestroyed() === false && vedette.grid.refreshCells({ columns: ["at"], force: true }), 1000);

// One event for a choice: of the row that is selected now, not of the one that no longer is.
vedette.chosen = ({ api }) => {
  const [row] = api.getSelectedNodes();
  if (row) emitEvent("chosen", row.data.id);
};

// Rows move when alarms come; the focus is to stay with the chosen alarm and not with its place in the list.
vedette.keepFocus = ({ api }) => {
  const focused = api.getFocusedCell(), [chosen] = api.getSelectedNodes();
  const inside = document.activeElement?.closest(".ag-root-wrapper");
  if (inside && focused && chosen && chosen.rowIndex !== null && chosen.rowIndex !== focused.rowIndex)
    api.setFocusedCell(chosen.rowIndex, focused.column);
};

// ---------------------------------------------------------------- sound and theme

vedette.beep = () => {
  if (!vedette.sound) return;
  const audio = (vedette.audio ??= new AudioContext());
  for (const [at, pitch] of [[0, 740], [0.16, 988]]) {
    const tone = audio.createOscillator(), loudness = audio.createGain();
    tone.frequency.value = pitch;
    loudness.gain.setValueAtTime(0.12, audio.currentTime + at);
    loudness.gain.exponentialRampToValueAtTime(0.001, audio.currentTime + at + 0.3);
    tone.connect(loudness).connect(audio.destination);
    tone.start(audio.currentTime + at);
    tone.stop(audio.currentTime + at + 0.32);
  }
};

vedette.toggleSound = (button) => {
  vedette.sound = !vedette.sound;
  button.setAttribute("aria-pressed", vedette.sound);
  button.title = vedette.sound ? button.dataset.on : button.dataset.off;
  vedette.beep();
};

vedette.toggleTheme = () => {
  const light = !document.body.classList.contains("body--light");
  localStorage.setItem("vedette-theme", light ? "light" : "dark");
  applyTheme();
};

function applyTheme() {
  const light = localStorage.getItem("vedette-theme") === "light";
  if (window.Quasar && Quasar.Dark.isActive === light) Quasar.Dark.set(!light);
  vedette.map?.repaint();
}

// ---------------------------------------------------------------- keys

const TYPING = ["INPUT", "TEXTAREA", "SELECT"];

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(".q-dialog")) return;
  if (TYPING.includes(event.target.tagName)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const wanted = { a: "#acknowledge", r: "#resolve", Escape: "#back", "/": ".search input" }[event.key];
  const target = wanted && document.querySelector(wanted);
  if (!target || target.disabled) return;
  event.preventDefault();
  target.tagName === "INPUT" ? target.focus() : target.click();
});

setInterval(watchServer, 500);
setInterval(showClock, 250);
window.addEventListener("load", () => setTimeout(applyTheme, 0));
