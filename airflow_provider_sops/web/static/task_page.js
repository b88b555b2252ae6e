// SPDX-License-Identifier: Apache-2.0
// Renews the page while its task runs, and opens its own links without loading all of it. It works without, too.
"use strict";

(() => {
  const main = () => document.getElementById("main");
  const renewal = document.getElementById("renewal");
  let timer = 0;
  let asked = performance.now();
  let current = 0;

  // A frame cannot open pages; by itself, the page can.
  const showAddress = () => {
    if (window.parent !== window) return;
    for (const place of document.querySelectorAll("[data-address]")) {
      const link = document.createElement("a");
      link.href = place.dataset.address;
      link.textContent = place.textContent;
      link.target = "_blank";
      link.rel = "noopener noreferrer";
      place.replaceWith(link);
    }
    for (const help of document.querySelectorAll(".address-help")) help.hidden = true;
  };

  // What a person looks for first: the chosen node, else one that failed, else one that runs.
  const showNode = () => {
    const picture = document.querySelector(".picture");
    const node = [".chosen", ".look-failed", ".look-running", ".look-suspended"]
      .map((look) => picture?.querySelector(`.node${look}`))
      .find(Boolean);
    if (!node) return;
    const [frame, box] = [picture.getBoundingClientRect(), node.getBoundingClientRect()];
    if (box.left >= frame.left && box.right <= frame.right && box.top >= frame.top && box.bottom <= frame.bottom) return;
    picture.scrollBy(
      (box.left + box.right - frame.left - frame.right) / 2,
      (box.top + box.bottom - frame.top - frame.bottom) / 2,
    );
  };

  const replaceMain = (fresh) => {
    const scrolled = [...document.querySelectorAll(".picture, .log")].map((one) => [one.className, one.scrollLeft, one.scrollTop]);
    const focused = document.activeElement;
    const link = focused?.closest?.("a");
    const [href, label] = [link?.getAttribute("href"), link?.getAttribute("aria-label")];
    const [x, y] = [window.scrollX, window.scrollY];
    main().replaceWith(document.adoptNode(fresh));
    for (const [name, left, top] of scrolled) {
      const one = document.querySelector(`.${name}`);
      if (one) one.scrollTo(left, top);
    }
    window.scrollTo(x, y);
    if (href) {
      const again = [...document.querySelectorAll("a")].find(
        (one) => one.getAttribute("href") === href && one.getAttribute("aria-label") === label,
      );
      again?.focus({ preventScroll: true });
    }
    showAddress();
  };

  const load = async (address, chosen) => {
    const mine = ++current;
    asked = performance.now();
    try {
      const answer = await fetch(address, { credentials: "same-origin", cache: "no-store" });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const fresh = page.getElementById("main");
      if (mine !== current) return; // something else was chosen meanwhile
      if (!fresh) throw new Error(`${answer.status}`);
      if (fresh.outerHTML !== lastShown) {
        lastShown = fresh.outerHTML;
        document.title = page.title;
        replaceMain(fresh);
        if (chosen) showNode();
      }
      renewal.hidden = true;
      if (chosen) window.history.replaceState(null, "", address);
    } catch {
      if (mine === current) renewal.hidden = false;
    }
    plan();
  };
  let lastShown = main().outerHTML;

  const seconds = () => Number(main().dataset.refresh || (renewal.hidden ? 0 : 10));
  const plan = () => {
    clearTimeout(timer);
    if (!seconds() || document.hidden) return;
    const left = seconds() * 1000 - (performance.now() - asked);
    timer = setTimeout(() => load(window.location.href, false), Math.max(0, left));
  };

  document.addEventListener("visibilitychange", plan);
  document.addEventListener("click", (event) => {
    const link = event.target.closest?.("a");
    const href = link?.getAttribute("href");
    if (!href?.startsWith("?") || event.ctrlKey || event.metaKey || event.shiftKey || event.button) return;
    event.preventDefault();
    load(new URL(href, window.location.href).href, true);
  });
  showAddress();
  showNode();
  plan();
})();
