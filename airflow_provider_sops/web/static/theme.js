// SPDX-License-Identifier: Apache-2.0
// Airflow's page around this one says whether it is light or dark; by itself, the page follows the browser.
"use strict";

(() => {
  const follow = () => {
    try {
      const outer = window.parent.document.documentElement;
      const theme = outer.classList.contains("dark") ? "dark" : outer.classList.contains("light") ? "light" : "";
      if (theme) document.documentElement.dataset.theme = theme;
      return outer;
    } catch {
      return null; // framed by what is not of this host
    }
  };
  if (window.parent === window) return;
  const outer = follow();
  if (outer) new MutationObserver(follow).observe(outer, { attributes: true, attributeFilter: ["class"] });
})();
