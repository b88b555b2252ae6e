# SPDX-License-Identifier: Apache-2.0
"""Running a SOPS task exactly once, without I/O."""
