# SPDX-License-Identifier: Apache-2.0
"""How a call gets to SOPS, and its answer back."""
