"use strict";
(() => {
  const form = document.getElementById("filter");
  const search = document.getElementById("search");
  const rule = document.getElementById("rule");
  const matches = document.getElementById("matches");
  const objects = [...document.querySelectorAll("section.object")].map((section) => ({
    section,
    title: section.querySelector("h3").textContent + " " + section.querySelector(".source").textContent,
    findings: [...section.querySelectorAll("article")],
  }));
  const total = objects.reduce((sum, object) => sum + object.findings.length, 0);
  const texts = new Map();
  if (!total) return;
  form.hidden = false;

  const textOf = (finding, title) => {
    if (!texts.has(finding)) texts.set(finding, (title + " " + finding.textContent).toLowerCase());
    return texts.get(finding);
  };

  const apply = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const levels = new Set([...form.querySelectorAll("[name=level]:checked")].map((box) => box.value));
    let shown = 0;
    for (const { section, title, findings } of objects) {
      let visible = 0;
      for (const finding of findings) {
        const fits =
          levels.has(finding.dataset.level) &&
          (!rule.value || finding.dataset.rule === rule.value) &&
          words.every((word) => textOf(finding, title).includes(word));
        finding.hidden = !fits;
        visible += fits;
      }
      section.hidden = !visible;
      shown += visible;
    }
    matches.textContent = `${shown} of ${total} shown`;
  };

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();
})();
