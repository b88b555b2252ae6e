# SPDX-License-Identifier: Apache-2.0
"""How SOPS refuses what its engine does not do: with a whole Python traceback (shortened here) for its message."""

from __future__ import annotations

from airflow_provider_sops.testing.refusals import Refused

PAUSE_PIPELINE, RESUME_PIPELINE = "pause_pipeline(pipeline_id)", "resume_pipeline(pipeline_id)"
#: What can be done to a node: action -> the engine's function for it, with its arguments.
NODE_CALLS = {
    "retry": "retry_node(node_id, data)",
    "skip": "skip_node(node_id)",
    "callback": "callback(node_id, version, data)",
    "forced_fail": "forced_fail_activity(node_id, ex_data, send_post_set_state_signal)",
    "pause": "pause_node_appoint(node_id)",
    "resume": "resume_node_appoint(node_id)",
    "pause_subproc": PAUSE_PIPELINE,
    "resume_subproc": RESUME_PIPELINE,
    "skip_exg": "skip_exclusive_gateway(node_id, flow_id)",
    "skip_cpg": "skip_conditional_parallel_gateway(node_id, flow_ids, converge_gateway_id)",
    "retry_subprocess": "retry_subprocess(node_id)",
}
INVALID = "bamboo_engine.exceptions.InvalidOperationError"


def refused_by_engine(call: str, message: str, error: str = INVALID) -> Refused:
    """What SOPS says when its engine refuses.

    :param call: the engine's function with its arguments.
    """
    function = call.partition("(")[0]
    return Refused(
        "fail: Traceback (most recent call last):\n"
        '  File "/app/site-packages/bamboo_engine/api.py", line 68, in wrapper\n'
        "    data = func(*args, **kwargs)\n"
        "           ^^^^^^^^^^^^^^^^^^^^^\n"
        f'  File "/app/site-packages/bamboo_engine/api.py", line 110, in {function}\n'
        f"    Engine(runtime).{call}\n"
        f"{error}: {message}\n"
    )


def no_transit(call: str, own_id: str, state: str | None, wanted: str) -> Refused:
    """What SOPS says when something cannot come from its state into another one."""
    return refused_by_engine(call, f"can't not transit node({own_id}) state from {state} to {wanted}", "RuntimeError")
