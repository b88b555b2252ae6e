# SPDX-License-Identifier: Apache-2.0
"""Operating SOPS tasks and their nodes, without I/O."""
