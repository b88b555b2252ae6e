# SPDX-License-Identifier: Apache-2.0
"""Templates of the fake SOPS: read from a TOML file, or from a pipeline tree that a caller sends."""
