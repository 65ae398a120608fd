"use strict";

const $ = (id) => document.getElementById(id);
let form = null, fields = [], tabs = [];
const percent = (share) => (share * 100).toFixed(share > 0.0995 && share < 0.9995 ? 0 : 1) + " %";
const shortName = (file) => file.replace(/\.joblib$/, "");

// --- what stands in the form ---

const findFields = () => [...document.querySelectorAll(".field[data-name]")].map((box) => {
  const [main, other] = [box.querySelector("select, input"), box.querySelector(".other")];
  const error = box.querySelector(".error");
  const writesOther = () => other !== null && main.selectedOptions[0].hasAttribute("data-other");
  return {
    name: box.dataset.name,
    input: () => (writesOther() ? other : main),
    value() {
      const text = this.input().value;
      if (box.dataset.kind === "category") return text === "" && !writesOther() ? null : text;
      return text === "" ? null : Number(text);
    },
    fill(value) {
      if (other === null) main.value = value === null ? "" : value;
      else {
        const known = [...main.options].find((option) => !option.hasAttribute("data-other") && option.value === (value ?? ""));
        main.selectedIndex = known ? known.index : main.options.length - 1;
        other.value = known ? "" : value;
      }
      this.showOther();
    },
    isEmpty: () => main.value === "" || (box.dataset.kind === "category" && main.selectedIndex === 0),
    showOther() {
      if (other !== null) other.hidden = !writesOther();
    },
    complain(message) {
      error.textContent = message;
      for (const input of [main, other]) if (input) input.toggleAttribute("aria-invalid", false);
      if (message) this.input().setAttribute("aria-invalid", "true");
    },
  };
});

const isEmpty = () => fields.every((field) => field.isEmpty());
const readForm = () => Object.fromEntries(fields.map((field) => [field.name, field.value()]));
const apiKey = () => ($("api-key") ? $("api-key").value : "");
const keyHeader = () => (apiKey() ? { "X-API-Key": apiKey() } : {});

// --- ask ---

async function ask(event) {
  event.preventDefault();
  clearErrors();
  $("ask").disabled = true;
  try {
    const response = await fetch("predict", {
      method: "POST",
      headers: { "Content-Type": "application/json", ...keyHeader() },
      body: JSON.stringify(readForm()),
    });
    const content = await response.json();
    if (response.ok) showAnswer(content);
    else showProblem(response.status, content.detail);
  } catch (error) {
    showFailure("The service does not answer. Is it still running?");
  } finally {
    $("ask").disabled = false;
  }
}

function clearErrors() {
  for (const field of fields) field.complain("");
  if ($("api-key-error")) $("api-key-error").textContent = "";
  $("failure").hidden = true;
}

function showAnswer(answer) {
  const leaves = answer.prediction === 1;
  $("empty").hidden = true;
  $("answer").hidden = false;
  $("answer").className = leaves ? "leaves" : "stays";
  $("probability").textContent = percent(answer.probability);
  $("verdict").textContent = leaves ? "will probably leave" : "will probably stay";
  $("needle").style.left = answer.probability * 100 + "%";
  const mark = $("threshold-mark");
  mark.style.left = answer.threshold * 100 + "%";
  mark.className = "mark" + (answer.threshold < 0.2 ? " left" : answer.threshold > 0.8 ? " right" : "");
  $("threshold-label").textContent = "threshold " + percent(answer.threshold);
  $("why").textContent = `The probability of leaving is ${percent(answer.probability)}. ` +
    `From ${percent(answer.threshold)} on, this model calls it leaving.`;
  const [unseen, beyond] = [answer.unseen || [], answer.beyond || []];
  const warnings = [];
  if (unseen.length) warnings.push(`Never seen in training: ${unseen.join(", ")}. The model answered without knowing what that means.`);
  if (beyond.length) warnings.push(`Beyond all customers of the training data: ${beyond.join(", ")}. The model answered as for the farthest one it knows.`);
  $("unseen").hidden = warnings.length === 0;
  $("unseen").textContent = warnings.join(" ");
  $("by").textContent = shortName(answer.model_version);
  $("request-id").textContent = answer.request_id === null ? "without an id" : answer.request_id;
  $("latency").textContent = answer.latency_ms.toFixed(2) + " ms";
  $("spoken").textContent = `${percent(answer.probability)}: ${$("verdict").textContent}. ${$("unseen").textContent}`;
  if (matchMedia("(max-width: 46rem)").matches) {
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    $("result").scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "nearest" });
  }
}

function showProblem(status, detail) {
  if (status === 401 && $("api-key")) {
    $("api-key-error").textContent = "This key is not the right one.";
    $("api-key").focus();
    return showFailure("The service asks for its key.");
  }
  if (!Array.isArray(detail)) return showFailure(detail);
  const homeless = [];
  let first = null;
  for (const problem of detail) {
    const field = fields.find((candidate) => candidate.name === problem.loc[1]);
    if (!field) homeless.push(problem.loc.slice(1).join(" ") + ": " + problem.msg);
    else {
      field.complain(problem.msg.replace(/^Input should/, "Should"));
      first = first || field;
    }
  }
  showFailure(first ? "Please look at the marked fields." : homeless.join("; "));
  if (first) first.input().focus();
}

function showFailure(message) {
  $("answer").hidden = true;
  $("empty").hidden = true;
  $("failure").textContent = message;
  $("failure").hidden = false;
}

// --- the same request as code ---

const url = () => new URL("predict", location.href).href;
const single = (text) => "'" + text.replaceAll("'", "'\\''") + "'";
const python = (value) => (value === null ? "None" : JSON.stringify(value));

const snippets = {
  curl: (body) => [
    `curl ${url()} \\`,
    "  -H 'Content-Type: application/json' \\",
    ...($("api-key") ? ['  -H "X-API-Key: $CHURN_LAB_API_KEY" \\'] : []),
    `  -d ${single(JSON.stringify(body))}`,
  ],
  python: (body) => [
    "import json",
    ...($("api-key") ? ["import os"] : []),
    "from urllib.request import Request, urlopen",
    "",
    "customer = {",
    ...Object.entries(body).map(([name, value]) => `    ${JSON.stringify(name)}: ${python(value)},`),
    "}",
    'headers = {"Content-Type": "application/json"' +
      ($("api-key") ? ', "X-API-Key": os.environ["CHURN_LAB_API_KEY"]}' : "}"),
    `request = Request(${JSON.stringify(url())}, json.dumps(customer).encode(), headers)`,
    "print(json.load(urlopen(request)))",
  ],
  powershell: (body) => [
    "$customer = @'",
    JSON.stringify(body, null, 2),
    "'@",
    `Invoke-RestMethod ${url()} -Method Post -ContentType 'application/json' -Body $customer` +
      ($("api-key") ? " -Headers @{ 'X-API-Key' = $env:CHURN_LAB_API_KEY }" : ""),
  ],
};

function showCode() {
  const tab = tabs.find((candidate) => candidate.getAttribute("aria-selected") === "true");
  $("code").setAttribute("aria-labelledby", tab.id);
  const example = document.querySelector("[data-example]");
  const customer = isEmpty() && example ? JSON.parse(example.dataset.example) : readForm();
  $("code").textContent = snippets[tab.id.slice(4)](customer).join("\n");
}

function chooseTab(tab, focus) {
  for (const other of tabs) {
    other.setAttribute("aria-selected", String(other === tab));
    other.tabIndex = other === tab ? 0 : -1;
  }
  if (focus) tab.focus();
  showCode();
}

function moveTab(event) {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (step) chooseTab(tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length], true);
}

async function copyCode() {
  try {
    await navigator.clipboard.writeText($("code").textContent);
  } catch (error) {  // no permission, or not a secure address: select it for the reader
    getSelection().selectAllChildren($("code"));
    $("copied").textContent = "Selected. Copy it with your keyboard.";
    return;
  }
  $("copied").textContent = "Copied.";
  $("copy").textContent = "Copied";
  setTimeout(() => ($("copy").textContent = "Copy"), 1500);
}

// --- the model in service, as it changes ---

let shown = null;

function showModel(info) {
  for (const place of document.querySelectorAll("[data-figure]")) {
    const value = place.dataset.figure.split(".").reduce((part, key) => (part || {})[key], info);
    place.textContent = value === undefined ? "–" : place.dataset.figure === "trained_at_utc" ? value.slice(0, 10) : value;
  }
  if (!form) return;
  const names = info.contract.features.map((feature) => feature.name);
  $("changed").hidden = names.join("\n") === fields.map((field) => field.name).join("\n");
}

async function readModel() {
  const response = await fetch("model-info", { headers: keyHeader() });
  if (response.ok) showModel(await response.json());
}

async function watchModel() {
  if (document.hidden) return;
  try {
    const health = await (await fetch("health")).json();
    $("status").className = "dot " + { ok: "ok", degraded: "degraded" }[health.status];
    if (health.status === "no model") $("status").className = "dot none";
    const why = health.reason ? `${health.status}: ${health.reason}` : "";
    if ($("status-text").textContent !== why) $("status-text").textContent = why;
    if (health.model_version && health.model_version !== shown) {
      const first = shown === null;
      shown = health.model_version;
      $("model-name").textContent = shortName(shown);
      if (!form && !$("unlock")) return location.reload();
      if (!first && (!$("api-key") || apiKey())) await readModel();
    }
  } catch (error) {
    $("status").className = "dot none";
    $("status-text").textContent = "The service does not answer.";
  }
}

// --- a service that asks for its key before it shows the form ---

async function unlock(event) {
  event.preventDefault();
  const key = $("unlock-key").value;
  const response = await fetch("./", { headers: { "X-API-Key": key } });
  const page = new DOMParser().parseFromString(await response.text(), "text/html");
  if (!page.getElementById("form")) {
    $("unlock-error").textContent = page.getElementById("unlock") ? "This key is not the right one." : "There is no model yet.";
    return $("unlock-key").focus();
  }
  document.querySelector("main").replaceWith(page.querySelector("main"));
  start();
  $("api-key").value = key;
  $("form").focus();
}

// --- start ---

function fillExample(button) {
  const values = JSON.parse(button.dataset.example);
  clearErrors();
  for (const field of fields) field.fill(values[field.name]);
  showCode();
  $("ask").focus();
}

function start() {
  [form, fields, tabs] = [$("form"), findFields(), [...document.querySelectorAll('[role="tab"]')]];
  if ($("unlock-key")) $("unlock").addEventListener("submit", unlock);
  if (!form) return;
  form.addEventListener("submit", ask);
  form.addEventListener("input", () => {
    for (const field of fields) field.showOther();
    showCode();
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => fillExample(button));
  }
  for (const tab of tabs) {
    tab.addEventListener("click", () => chooseTab(tab));
    tab.addEventListener("keydown", moveTab);
  }
  $("copy").addEventListener("click", copyCode);
  $("reload").addEventListener("click", () => location.reload());
  for (const field of fields) field.showOther();
  showCode();
}

start();
watchModel();
setInterval(watchModel, 1000);
