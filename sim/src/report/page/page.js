"use strict";
// The page is complete without this program, which shows details, moves between items and changes the level.
(function () {
  const panel = document.getElementById("details");
  const parse = (id) => JSON.parse(document.getElementById(id + "-details").textContent);
  const details = { messages: parse("messages"), segments: parse("segments") };

  function element(name, text) {
    const made = document.createElement(name);
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Offset, sixteen bytes in hexadecimal, and the same bytes as text where they are text.
  function dump(hex) {
    const lines = [];
    for (let at = 0; at < hex.length; at += 32) {
      const bytes = hex.slice(at, at + 32).match(/../g);
      const text = bytes.map((byte) => parseInt(byte, 16)).map((code) => (code >= 32 && code < 127 ? String.fromCharCode(code) : "."));
      lines.push((at / 2).toString(16).padStart(4, "0") + "  " + bytes.join(" ").padEnd(48) + " " + text.join(""));
    }
    return lines.join("\n");
  }

  function show(item) {
    const { title, at, arrived, fates, fields, size, bytes, text } = item;
    panel.className = "filled";
    panel.replaceChildren(element("h3", title));
    const when = arrived ? `sent at ${at} ms, arrived at ${arrived} ms` : `at ${at} ms` + (arrived === null ? ", never arrived" : "");
    panel.append(element("p", when));
    if (text) {
      panel.append(element("pre", text));
      panel.lastChild.className = "line";
    }
    for (const fate of fates || []) panel.append(element("p", fate));
    if (fields && fields.length) {
      const table = element("table");
      for (const [name, value] of fields) {
        const row = element("tr");
        row.append(element("td", name), element("td", value));
        table.append(row);
      }
      panel.append(table);
    }
    if (bytes) {
      const shown = bytes.length / 2;
      panel.append(element("p", shown < size ? `the first ${shown} of ${size} bytes` : `${size} bytes`));
      panel.append(element("pre", dump(bytes)));
    }
  }

  for (const level of ["messages", "segments"]) {
    const items = Array.from(document.querySelectorAll(`#${level} .item`));
    if (items.length) items[0].tabIndex = 0;
    const choose = (item) => {
      document.querySelectorAll(".chosen").forEach((other) => other.classList.remove("chosen"));
      item.classList.add("chosen");
      show(details[level][Number(item.dataset.n)]);
    };
    const go = (from, to) => {
      if (!to) return;
      from.tabIndex = -1;
      to.tabIndex = 0;
      to.focus();
      to.scrollIntoView({ block: "nearest" });
    };
    items.forEach((item, nth) => {
      item.addEventListener("click", () => choose(item));
      item.addEventListener("keydown", (event) => {
        const targets = { ArrowDown: items[nth + 1], ArrowUp: items[nth - 1], Home: items[0], End: items[items.length - 1] };
        if (event.key in targets) go(item, targets[event.key]);
        else if (event.key === "Enter" || event.key === " ") choose(item);
        else if (event.key === "Escape") panel.replaceChildren();
        else return;
        event.preventDefault();
      });
    });
  }

  document.getElementById("timers").addEventListener("change", (event) => {
    document.body.classList.toggle("without-timers", !event.target.checked);
  });
  document.querySelector(".skip").addEventListener("click", () => { document.getElementById("story").open = true; });
  for (const input of document.querySelectorAll("input[name=level]")) {
    input.addEventListener("change", () => {
      const segments = input.value === "segments" && input.checked;
      document.querySelector("div.messages").hidden = segments;
      document.querySelector("div.segments").hidden = !segments;
    });
  }
  // A page can be sent with a finger on one item: run.html#messages12.
  const named = location.hash && document.getElementById(location.hash.slice(1));
  if (named && named.dataset.n) {
    const level = named.closest("svg").id;
    const input = document.querySelector(`input[value=${level}]`);
    input.checked = true;
    input.dispatchEvent(new Event("change"));
    named.dispatchEvent(new Event("click"));
    named.scrollIntoView({ block: "center" });
  }
  document.documentElement.dataset.ready = "yes";
})();
