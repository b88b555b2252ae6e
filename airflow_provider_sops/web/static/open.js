// SPDX-License-Identifier: Apache-2.0
// The door: Airflow has put the ids behind the "#", encoded or, before 3.2, as they are. The page takes a query.
"use strict";

(() => {
  const decoded = (text) => {
    try {
      return decodeURIComponent(text);
    } catch {
      return text; // it was not encoded
    }
  };
  // as Airflow wrote it: a browser makes "%20" of a space in its own record of the address
  const address = window.frameElement?.getAttribute("src") ?? window.location.href;
  // of all ids only that of a run may hold a "/"
  const [dagId, taskId, mapIndex, ...run] = address.slice(address.indexOf("#") + 1).split("/");
  const runId = run.join("/");
  if (!address.includes("#") || !dagId || !taskId || !runId) {
    document.getElementById("message").textContent =
      "Open this page by the tab SOPS of a task instance: its address names none.";
    return;
  }
  const query = new URLSearchParams();
  query.append("run_id", decoded(runId));
  // "%" may stand in an id by itself; of both spellings, Airflow has one
  if (decoded(runId) !== runId) query.append("run_id", runId);
  query.append("task_id", decoded(taskId));
  query.append("map_index", /^-?\d+$/.test(mapIndex) ? mapIndex : "-1");
  window.location.replace(`page/${encodeURIComponent(decoded(dagId))}?${query}`);
})();
