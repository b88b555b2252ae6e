# SPDX-License-Identifier: Apache-2.0
"""Waiting for the end of one SOPS task, without I/O."""
