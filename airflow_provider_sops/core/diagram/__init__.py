# SPDX-License-Identifier: Apache-2.0
"""The picture of a pipeline tree as SOPS draws it: where its nodes and lines are, and in which states."""
