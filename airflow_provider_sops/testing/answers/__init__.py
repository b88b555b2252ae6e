# SPDX-License-Identifier: Apache-2.0
"""From the engine's state to what SOPS says on the wire (shapes measured on SOPS 3.34)."""
