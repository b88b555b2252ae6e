# SPDX-License-Identifier: Apache-2.0
"""What can be asked of SOPS, and how it says no."""
