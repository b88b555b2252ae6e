# SPDX-License-Identifier: Apache-2.0
"""Watching for tasks that end, whoever started them, without I/O."""
