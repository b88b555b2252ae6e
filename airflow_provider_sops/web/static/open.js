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
  // of all ids only that of a run may hold a "/"
  const [dagId, taskId, mapIndex, ...run] = window.location.hash.slice(1).split("/");
  const runId = run.join("/");
  if (!dagId || !taskId || !runId) {
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
