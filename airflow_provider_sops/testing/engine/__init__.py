# SPDX-License-Identifier: Apache-2.0
"""The engine of the fake SOPS: tasks and their nodes as a state machine over time, without threads and I/O.

A task keeps its coming events in a heap; whoever looks at a task first lets it handle those that are due.
"""
