# SPDX-License-Identifier: Apache-2.0
"""What SOPS posts by itself when a task ends or fails: callbacks and webhooks."""
