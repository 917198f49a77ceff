"use strict";
(() => {
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Theme: follows the system until somebody chooses.
  const root = document.documentElement;
  const toggle = document.querySelector(".theme");
  const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
  const keep = (value) => { try { localStorage.setItem("eastwest-theme", value); } catch { /* not kept */ } };
  const label = () => { toggle.textContent = isDark() ? "Light" : "Dark"; toggle.setAttribute("aria-label", `Switch to ${toggle.textContent.toLowerCase()} colours`); };
  try { const kept = localStorage.getItem("eastwest-theme"); if (kept === "dark" || kept === "light") root.dataset.theme = kept; } catch { /* not kept */ }
  toggle.hidden = false;
  toggle.addEventListener("click", () => { root.dataset.theme = isDark() ? "light" : "dark"; keep(root.dataset.theme); label(); });
  label();

  // Topologies: one at a time, as tabs; without this script all are shown, and always in print.
  const tabs = all(".tab");
  const panels = all(".topology");
  const select = (index) => {
    panels.forEach((panel, n) => { panel.hidden = n !== index; });
    tabs.forEach((tab, n) => { tab.setAttribute("aria-selected", String(n === index)); tab.tabIndex = n === index ? 0 : -1; });
  };
  const reveal = () => {
    const target = location.hash.length > 1 && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!target) return;
    const panel = panels.indexOf(target.closest(".topology"));
    if (panel >= 0 && tabs.length) select(panel);
    if (target.hidden) target.closest(".requirements").querySelector('.filters [data-verdict=""]').click();
    for (let each = target.closest("details"); each; each = each.parentElement.closest("details")) each.open = true;
    target.scrollIntoView();
  };
  if (tabs.length) {
    tabs[0].parentElement.setAttribute("role", "tablist");
    tabs.forEach((tab, n) => {
      tab.setAttribute("role", "tab");
      tab.setAttribute("aria-controls", panels[n].id);
      panels[n].setAttribute("role", "tabpanel");
      tab.addEventListener("click", (event) => { event.preventDefault(); select(n); history.replaceState(null, "", tab.getAttribute("href")); });
      tab.addEventListener("keydown", (event) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
        if (event.key === " ") { event.preventDefault(); tab.click(); }
        if (!step) return;
        const next = (n + step + tabs.length) % tabs.length;
        tabs[next].focus(); tabs[next].click();
      });
    });
    const troubled = tabs.findIndex((tab) => !tab.classList.contains("r-CONFORMANT"));
    select(Math.max(0, troubled));
  }
  addEventListener("hashchange", reveal);
  reveal();

  // Requirements: by verdict.
  all(".requirements").forEach((section) => {
    const bar = section.querySelector(".filters");
    if (!bar) return;
    bar.hidden = false;
    const rows = all(".requirement", section);
    const filters = all("[data-verdict]", bar);
    filters.forEach((filter) => filter.addEventListener("click", () => {
      filters.forEach((other) => other.setAttribute("aria-pressed", String(other === filter)));
      rows.forEach((row) => { row.hidden = filter.dataset.verdict !== "" && row.dataset.verdict !== filter.dataset.verdict; });
      all(".area", section).forEach((area) => {
        area.hidden = all(".requirement", area).every((row) => row.hidden);
        if (filter.dataset.verdict) area.open = true;
      });
    }));
    const unfold = bar.querySelector(".unfold");
    unfold.addEventListener("click", () => {
      const open = unfold.getAttribute("aria-pressed") !== "true";
      unfold.setAttribute("aria-pressed", String(open));
      unfold.textContent = open ? "fold all" : "unfold all";
      rows.forEach((row) => { row.open = open; });
      if (open) all(".area", section).forEach((area) => { area.open = true; });
    });
  });

  // Commands: to the clipboard.
  if (navigator.clipboard) all(".command").forEach((command) => {
    const button = Object.assign(document.createElement("button"), { type: "button", className: "copy", textContent: "Copy" });
    button.setAttribute("aria-label", "Copy the command");
    button.addEventListener("click", async () => { await navigator.clipboard.writeText(command.textContent); button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 1500); });
    command.after(button);
  });

  // Print: everything is unfolded, and nothing filtered out.
  let folded = [];
  addEventListener("beforeprint", () => {
    all('.filters [data-verdict=""]').forEach((filter) => filter.click());
    folded = [...folded, ...all("details:not([open])")];
    folded.forEach((each) => { each.open = true; });
  });
  addEventListener("afterprint", () => { folded.forEach((each) => { each.open = false; }); folded = []; });
})();
